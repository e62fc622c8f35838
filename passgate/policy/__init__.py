"""Decide purely which decisions a change needs, who may give them, and whether they are there."""

from passgate.model.target import Target
from passgate.policy.facts import Facts, selects
from passgate.policy.terms import choose
from passgate.policy.votes import (
    Outcome,
    Tally,
    ballot,
    ballot_of,
    may_approve_plan,
    may_decide,
    may_vote,
    standing,
    tally,
    tally_of,
)

__all__ = [
    "Facts",
    "Outcome",
    "Tally",
    "Target",
    "ballot",
    "ballot_of",
    "choose",
    "may_approve_plan",
    "may_decide",
    "may_vote",
    "selects",
    "standing",
    "tally",
    "tally_of",
]
