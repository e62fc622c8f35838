"""Describe decisions and the terms that they have to meet."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import Field, model_validator

from passgate.model.frozen import Frozen
from passgate.model.target import Target


class Verdict(StrEnum):
    """Name what one person may decide. RETRACT takes their own earlier approval or denial back."""

    APPROVE = "approve"
    DENY = "deny"
    RETRACT = "retract"


class Kind(StrEnum):
    """Name the kinds of a change (ITIL). STANDARD is what policy authorises in advance; nobody asks for it."""

    STANDARD = "standard"
    NORMAL = "normal"
    EMERGENCY = "emergency"
    BREAK_GLASS = "break-glass"


PLAN = "plan"
"""Name of the gate before the first step, where people decide on the plan as a whole; every plan has it."""


class Requirement(Frozen):
    """Hold one part of what a gate needs: so many approvals by different people out of these, and who asks for it.

    `voters` are person ids that counted at filing time, without those who are excluded.
    """

    name: str
    rule: str
    needed: int = Field(default=1, ge=1)
    denials: int = Field(default=1, ge=1)
    groups: tuple[str, ...] = ()
    voters: tuple[str, ...] = ()


class Escalation(Frozen):
    """Let others decide too, so long after the decision was asked for."""

    after: timedelta
    groups: tuple[str, ...]
    voters: tuple[str, ...]


class StandIn(Frozen):
    """Let one person decide in the place of another who is away. Both together have one vote."""

    person: str
    of: str
    since: datetime
    until: datetime


class Said(Frozen):
    """Hold what one rule of the policy asked for, in words, for `passgate policy explain`."""

    rule: str
    words: tuple[str, ...]


class GlassBroken(Frozen):
    """Hold the terms of a change that was begun without approval: who broke the glass, and who reviews it by when."""

    by: str
    reviewers: tuple[str, ...]
    groups: tuple[str, ...]
    review_within: timedelta
    overrides_freezes: bool = True


class Asked(Frozen):
    """Hold what a gate needs: all requirements, each by people of its own; one person fills one place."""

    requirements: tuple[Requirement, ...] = ()
    remind: tuple[timedelta, ...] = ()
    escalations: tuple[Escalation, ...] = ()
    reason_required: bool = False

    @model_validator(mode="before")
    @classmethod
    def _of_former_days(cls, given: Any) -> Any:
        """Take what was frozen into changes, and their evidence, before there were several requirements."""
        former = {"approvals", "denials", "groups", "voters"}
        if not isinstance(given, dict) or not former & given.keys():
            return given
        kept = {name: value for name, value in given.items() if name not in former}
        needed = given.get("approvals", 1)
        if not needed or given.get("pre_authorised"):
            return kept
        groups = tuple(given.get("groups", ()))
        one = {
            "needed": needed,
            "denials": given.get("denials", 1),
            "groups": groups,
            "voters": given.get("voters", ()),
        }
        name = " or ".join(groups) or "approvers"
        return {**kept, "requirements": ({"name": name, "rule": str(given.get("policy", "")), **one},)}

    @property
    def approvals(self) -> int:
        """Return how many approvals are needed in all."""
        return sum(one.needed for one in self.requirements)

    @property
    def voters(self) -> tuple[str, ...]:
        """Return all who may decide from the beginning, each once."""
        return tuple(dict.fromkeys(voter for one in self.requirements for voter in one.voters))


class GateTerms(Asked):
    """Hold what a second gate needs, such as the one right before a host reboot.

    `others` says that who approved the plan does not count here. The time is never unlimited: a change that is half
    done must not wait for ever.
    """

    others: bool = False
    approve_within: timedelta


class Terms(Asked):
    """Hold what one change needs, frozen into it when it is filed, so that a later edit of config changes nothing.

    `policy` names the rules that apply, `said` what each asked for. `excluded` says of people why they don't count: who
    asked, who stands behind it, who acts for them. `doors` are where decisions may be given; none means anywhere.
    `gates` are the second gates of this plan that policy has terms for, by name. `standing` is how long an approval may
    stand for later runs of a schedule, `mends` whether changes that mend a drift it found may be filed. `targets` is
    what the rules were told that the change is about.
    """

    policy: str
    kind: Kind = Kind.NORMAL
    pre_authorised: bool = False
    excluded: dict[str, str] = Field(default_factory=dict)
    stand_ins: tuple[StandIn, ...] = ()
    doors: tuple[str, ...] = ()
    approve_within: timedelta | None = None
    execute_within: timedelta | None = None
    undo_on_failure: bool = True
    break_glass: GlassBroken | None = None
    standing: timedelta | None = None
    mends: bool = False
    gates: dict[str, GateTerms] = Field(default_factory=dict)
    said: tuple[Said, ...] = ()
    targets: tuple[Target, ...] = ()

    def asked_at(self, gate: str) -> Asked:
        """Return what that gate needs; one without terms needs nothing, and so can't be passed."""
        return self if gate == PLAN else self.gates.get(gate, Asked())


class Decision(Frozen):
    """Hold one person's verdict on one plan digest at one gate. `door` is where it was given (`slack`, `cli`, ...).

    `standing_until` is how long an approval stands for later runs of the change's schedule that have the same plan. On
    such a run, `standing_from` names the change that it was given on.
    """

    change: str
    digest: str
    gate: str = PLAN
    person: str
    door: str
    verdict: Verdict
    reason: str = ""
    at: datetime
    standing_until: datetime | None = None
    standing_from: str | None = None
