"""Decide purely which decisions a change needs, who may give them, and whether they are there."""

from passgate.policy.terms import choose
from passgate.policy.votes import Outcome, Tally, ballot, may_approve_plan, may_vote, tally

__all__ = ["Outcome", "Tally", "ballot", "choose", "may_approve_plan", "may_vote", "tally"]
