"""Say for a test which mutating calls may reach the lab, from what the test itself did: a tiny policy of its own.

The oracle knows nothing of the engine's tables and tally. It knows who may vote, how many votes there must be, how long
they are good for, when it is frozen, and that a change acts once, in the order of its plan, on its own VM as that was
when the change was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

VOTERS = frozenset({"bob", "carol"})
"""Who is in the group operations: the only ones whose votes count, and who may let a change through a freeze."""
APPROVE_WITHIN, EXECUTE_WITHIN, GATE_WITHIN = timedelta(hours=8), timedelta(hours=4), timedelta(hours=2)
LONGEST_STANDING = timedelta(days=90)
FITS = timedelta(hours=1)
"""More than any of these changes is expected to take: one that is approved so shortly before a freeze may wait."""
LETTERS = {"PowerOffVM_Task": "F", "ShutdownGuest": "F", "ReconfigVM_Task": "R", "PowerOnVM_Task": "N"}
"""A letter for each call, so that the calls on a VM are a word, and what a change may send is a pattern."""


class Machine(NamedTuple):
    """Hold what a plan for a VM depends on: whether it is on, and whether it has the controller."""

    on: bool
    has: bool = False

    def after(self, call: str) -> Machine:
        """Return it as it is after that call."""
        return Machine({"F": False, "N": True}.get(call, self.on), self.has != (call == "R"))


class Target(NamedTuple):
    """Hold what is asked for a VM, how many must approve it, how it is at first, and whether the freeze is about it."""

    runbook: str
    ask: Mapping[str, str]
    needed: int = 1
    at_first: Machine = Machine(on=False)
    freezes: bool = False

    def calls(self, machine: Machine) -> str:
        """Return the pattern of the calls that carry it out on such a VM, as far as its second gate."""
        if self.runbook == "prove-steps":
            return "FN" if machine.on else "N"
        if machine.has:
            return ""
        if self.runbook == "prove-gate":
            return "FR" if machine.on else "R"
        return "FRN" if machine.on else "R"


ROTA = "lnx-01"
"""The VM that the schedule is about."""
GATED = "win-01"
TARGETS = {
    "lnx-02": Target("usb-controller-add", {"kind": "xhci"}),
    "pair-02": Target("usb-controller-add", {"kind": "ehci"}, needed=2),
    "old-01": Target("usb-controller-add", {"kind": "ehci"}, freezes=True),
    GATED: Target("prove-gate", {}, at_first=Machine(on=True)),
    ROTA: Target("prove-steps", {"steps": "off, on"}, at_first=Machine(on=True), freezes=True),
}
"""VM -> what is asked for it."""


@dataclass(frozen=True)
class Freeze:
    """Hold a freeze that comes again and again, the first time at `first`."""

    first: datetime
    every: timedelta = timedelta(hours=6)
    lasts: timedelta = timedelta(hours=2)

    def holds(self, at: datetime) -> bool:
        """Say whether it holds at that moment."""
        return at >= self.first and (at - self.first) % self.every < self.lasts

    def begins(self, after: datetime) -> datetime:
        """Return when it begins next."""
        return after + (self.every - (after - self.first) % self.every)

    def thaws(self, at: datetime) -> datetime:
        """Return when the one that holds at that moment ends, or else the next one."""
        begun = at - (at - self.first) % self.every if self.holds(at) else self.begins(at)
        return begun + self.lasts


@dataclass
class Gate:
    """Hold what is known of the second gate of a change, and how the VM was left there."""

    until: datetime
    machine: Machine
    passed: bool = False
    shut: bool = False
    disturbed: bool = False
    """Somebody meddled with its steps meanwhile: it may be taken back, and be let go on no easier than before."""

    def may_send(self, now: datetime, machine: Machine) -> str:
        """Return the pattern of what may be sent from there: what is behind it, the way back, or nothing at all."""
        if machine != self.machine:
            return "[RN]*"  # what was done does not hold any more: some of it may be taken back
        ways = ["N"] if self.passed else []
        if self.shut or self.disturbed or (not self.passed and now >= self.until):
            ways.append("RN")
        return "|".join(ways)


@dataclass
class Asked:
    """Hold what is known of one change: `behind` are those who asked for it or stand behind it."""

    id: str
    vm: str
    requester: str
    behind: frozenset[str]
    until: datetime
    machine: Machine
    freeze: Freeze | None = None
    votes: dict[str, str] = field(default_factory=dict)
    stands: dict[str, datetime] = field(default_factory=dict)
    """Person -> until when their approval stands that was given on an earlier run."""
    good_until: datetime | None = None
    over: bool = False
    acted: bool = False
    overridden: bool = False
    gate: Gate | None = None

    @property
    def target(self) -> Target:
        """Return what is asked for."""
        return TARGETS[self.vm]

    @property
    def at_gate(self) -> bool:
        """Say whether it waits at its second gate."""
        return self.gate is not None and not self.over

    @property
    def needed(self) -> int:
        """Return how many must approve: one more where nobody knows who asks."""
        return self.target.needed + (self.requester == "prefect")

    def vote(self, person: str, verdict: str, now: datetime) -> bool:
        """Count a vote on the plan, and say whether it counted: the first one of a person stands."""
        if self.over or self.acted or now >= self.until or self.good_until is not None or not self._may(person):
            return False
        self.votes[person] = verdict
        self.over = verdict == "deny"
        self._tally(now)
        return True

    def rest_on(self, standing: Mapping[str, datetime], now: datetime) -> None:
        """Count the approvals that stand for it at the moment when it is filed: person -> until when they stand."""
        self.stands = {person: until for person, until in standing.items() if now < until and self._may(person)}
        self.votes = dict.fromkeys(self.stands, "approve")
        self._tally(now)

    def revoke(self, now: datetime) -> None:
        """Strike the approvals that stand for it."""
        for person in tuple(self.stands):
            self.take_back(person, now)

    def vote_at_gate(self, person: str, verdict: str, now: datetime) -> None:
        """Count a vote at the second gate: one of somebody else than who asked, or who approved the plan."""
        gate = self.gate
        if gate is None or self.over or gate.passed or gate.shut or now >= gate.until:
            return
        if person in VOTERS - self.behind - self.votes.keys():
            gate.passed, gate.shut = verdict == "approve", verdict == "deny"

    def take_back(self, person: str, now: datetime) -> bool:
        """Strike a vote that is taken back before anything was done; say whether there was one."""
        if self.over or self.acted or not self.votes.pop(person, None):
            return False
        self.stands.pop(person, None)
        self._tally(now)
        return True

    def withdraw(self, person: str) -> None:
        """Take it back; only who asked may, and at the second gate that shuts it."""
        if person != self.requester:
            return
        if self.gate is not None:
            self.gate.shut = self.gate.shut or not self.gate.passed
        elif not self.acted:
            self.over = True

    def may_send(self, now: datetime, machine: Machine) -> str:
        """Return the pattern of the calls of this change that may reach the lab now; empty for none."""
        if self.over:
            return ""
        if self.gate is not None:
            return self.gate.may_send(now, machine)
        good = self.good_until is not None and now < self.good_until
        return self.target.calls(machine) if good and machine == self.machine and not self._is_frozen(now) else ""

    def sends(self, word: str, now: datetime, machine: Machine) -> int:
        """Return how many of the calls, from the first on, are such as this change may send now."""
        found = re.match(self.may_send(now, machine), word)
        return found.end() if found else 0

    def did(self, now: datetime, machine: Machine) -> None:
        """Note that it acted, which left the VM like that: it stands at its gate now, or is over."""
        if self.target.runbook == "prove-gate" and not self.acted:
            self.gate = Gate(now + GATE_WITHIN, machine)
        else:
            self.over = True
        self.acted = True

    def _may(self, person: str) -> bool:
        return person in VOTERS - self.behind - self.votes.keys()

    def _tally(self, now: datetime) -> None:
        enough = len(self.votes) >= self.needed and not self.over
        self.good_until = min([self._opens(now) + EXECUTE_WITHIN, *self.stands.values()]) if enough else None

    def _is_frozen(self, at: datetime) -> bool:
        about_it = self.freeze is not None and self.target.freezes and not self.overridden
        return about_it and self.freeze is not None and self.freeze.holds(at)

    def _opens(self, now: datetime) -> datetime:
        """Return the latest moment that may be its next opening."""
        if self._is_frozen(now) or self._is_frozen(now + FITS):
            assert self.freeze is not None
            return self.freeze.thaws(now)
        return now
