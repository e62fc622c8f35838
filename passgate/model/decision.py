"""Describe decisions and the terms that they have to meet."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import Field

from passgate.model.frozen import Frozen


class Verdict(StrEnum):
    """Name what one person may decide."""

    APPROVE = "approve"
    DENY = "deny"


PLAN = "plan"
"""Name of the gate before the first step, where people decide on the plan as a whole; every plan has it."""


class GateTerms(Frozen):
    """Hold what a second gate needs, such as the one right before a host reboot.

    `others` says that who approved the plan does not count here. The time is never unlimited: a change that is half
    done must not wait for ever.
    """

    approvals: int = Field(default=1, ge=1)
    denials: int = Field(default=1, ge=1)
    groups: tuple[str, ...] = ()
    voters: tuple[str, ...] = ()
    others: bool = False
    approve_within: timedelta


class Terms(Frozen):
    """Hold what one change needs, frozen into it when it is filed, so that a later edit of config changes nothing.

    `voters` are the person ids that counted as members of `groups` at filing time, without the requester. `gates` are
    the second gates of this plan that policy has terms for, by name.
    """

    policy: str
    pre_authorised: bool = False
    approvals: int = Field(default=1, ge=0)
    denials: int = Field(default=1, ge=1)
    groups: tuple[str, ...] = ()
    voters: tuple[str, ...] = ()
    approve_within: timedelta | None = None
    execute_within: timedelta | None = None
    undo_on_failure: bool = True
    gates: dict[str, GateTerms] = Field(default_factory=dict)


class Decision(Frozen):
    """Hold one person's verdict on one plan digest at one gate. `door` is where it was given (`slack`, `cli`, ...)."""

    change: str
    digest: str
    gate: str = PLAN
    person: str
    door: str
    verdict: Verdict
    reason: str = ""
    at: datetime
