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


class Terms(Frozen):
    """Hold what one change needs, frozen into it when it is filed, so that a later edit of config changes nothing.

    `voters` are the person ids that counted as members of `groups` at filing time, without the requester.
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


class Decision(Frozen):
    """Hold one person's verdict on one plan digest. `door` is where it was given (`slack`, `cli`, ...)."""

    change: str
    digest: str
    person: str
    door: str
    verdict: Verdict
    reason: str = ""
    at: datetime
