"""Decide purely which decisions a change needs, who may give them, and whether they are there."""

from passgate.policy.terms import choose
from passgate.policy.votes import Outcome, Tally, may_vote, tally

__all__ = ["Outcome", "Tally", "choose", "may_vote", "tally"]
