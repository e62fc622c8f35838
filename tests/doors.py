"""Knock at every door in any order, and hold the lab's own log against a tiny policy of the test's own.

The oracle knows nothing of the engine's tally: who may vote, how many votes there must be, how long they are good for,
and that a change acts once, on its own VM, as the world was when it was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
import hypothesis.strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from passgate.model.change import Change, State
from tests.house import PEOPLE, House, until

VOTERS = frozenset({"bob", "carol"})
"""Who is in the group operations: the only ones whose votes count."""
APPROVE_WITHIN, EXECUTE_WITHIN = timedelta(hours=8), timedelta(hours=4)
TARGETS = {"lnx-02": ("one", "xhci"), "pair-02": ("two", "ehci"), "old-01": ("one", "ehci")}
"""VM -> how many must approve, and the controller that it gets."""
NEEDED = {"one": 1, "two": 2}
FORMER_NAMES = {"pair-02": "win-02"}


class Time:
    """Tell the time that a test has set."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Return it."""
        return self.now


@dataclass
class Asked:
    """What the oracle knows of one change."""

    id: str
    vm: str
    requester: str
    until: datetime
    votes: dict[str, str] = field(default_factory=dict)
    good_until: datetime | None = None
    over: bool = False
    acted: bool = False

    def vote(self, person: str, verdict: str, now: datetime) -> None:
        """Count a vote that counts; the first one of a person stands."""
        if self.over or now >= self.until or self.good_until is not None:
            return
        if person in VOTERS and person != self.requester and person not in self.votes:
            self.votes[person] = verdict
        if "deny" in self.votes.values():
            self.over = True
        elif len(self.votes) >= NEEDED[TARGETS[self.vm][0]]:
            self.good_until = now + EXECUTE_WITHIN

    def take_back(self, person: str) -> None:
        """Strike a vote that is taken back before anything was done."""
        if not self.over and not self.acted and self.votes.pop(person, None):
            self.good_until = None

    def may_act(self, now: datetime) -> bool:
        """Say whether a mutating call of this change may reach the lab now."""
        return not self.over and not self.acted and self.good_until is not None and now < self.good_until


class Doors(RuleBasedStateMachine):
    """All that people, thieves and accidents can do, in any order."""

    changes = Bundle("changes")
    acted = 0
    """How many calls reached the lab in all examples, so that a test can tell that something was let through."""

    def __init__(self, house: House, time: Time) -> None:
        super().__init__()
        self.house, self.time = house, time
        house.restart_world()
        for now, former in FORMER_NAMES.items():
            house.lab.control.rename_vm(former, now)
        self.known: dict[str, Asked] = {}
        self.seen = 0

    def rest(self) -> None:
        """Wait until no run goes on by itself any more."""
        for change_id in self.known:
            self.house.suspended(self.house.store.change(change_id))

    def change(self, asked: Asked) -> Change:
        """Return the change as the store has it."""
        return self.house.store.change(asked.id)

    @rule(target=changes, person=st.sampled_from(PEOPLE), vm=st.sampled_from(sorted(TARGETS)))
    def ask(self, person: str, vm: str) -> Asked | Any:
        """Ask for a change through the API."""
        body = {"vm": vm, "kind": TARGETS[vm][1], "reason": "a test"}
        answer = self.house.call(person, "POST", "/v1/changes", runbook="usb-controller-add", ask=body)
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            return multiple()  # such as a policy that nobody could satisfy, or a VM that has it already
        filed = answer.json()
        asked = Asked(filed["id"], vm, person, self.time.now + APPROVE_WITHIN)
        asked.over = State(filed["state"]) is not State.WAITING
        self.known[asked.id] = asked
        return asked

    @rule(
        asked=changes,
        person=st.sampled_from((*PEOPLE, *sorted(VOTERS), *sorted(VOTERS))),
        verdict=st.sampled_from(("approve", "approve", "approve", "deny")),
        digest=st.sampled_from((None, None, None, "sha256:another")),
    )
    def decide(self, asked: Asked, person: str, verdict: str, digest: str | None) -> None:
        """Decide through the API, perhaps on another plan than the one that is there."""
        body = {"verdict": verdict, "reason": "because", **({"digest": digest} if digest else {})}
        if digest is None:
            asked.vote(person, verdict, self.time.now)
        self.house.call(person, "POST", f"/v1/changes/{asked.id}/decisions", **body)
        if asked.may_act(self.time.now):
            waits = {State.WAITING, State.APPROVED}
            until(lambda: self.change(asked).state not in waits, f"{asked} is taken up, as it may be")
        self.rest()

    @rule(asked=changes, person=st.sampled_from(PEOPLE))
    def retract(self, asked: Asked, person: str) -> None:
        """Take a decision back."""
        asked.take_back(person)
        self.house.call(person, "POST", f"/v1/changes/{asked.id}/retract", reason="a second thought")
        self.rest()

    @rule(asked=consumes(changes), person=st.sampled_from(PEOPLE))
    def withdraw(self, asked: Asked, person: str) -> None:
        """Take a change back; only who asked may."""
        if person == asked.requester:
            asked.over = True
        self.house.call(person, "POST", f"/v1/changes/{asked.id}/withdraw", reason="not now")
        self.rest()

    @rule(vm=st.sampled_from(sorted(TARGETS)))
    def change_the_world(self, vm: str) -> None:
        """Power a VM on behind Passgate's back: no plan for it as it was may be carried out."""
        self.house.lab.control.set_vm(vm, power="poweredOn")
        for asked in self.known.values():
            asked.over = asked.over or asked.vm == vm

    @invariant()
    def nothing_was_done_without_authority(self) -> None:
        """R1, R2, R5, R6, R7: each mutating call that the lab took is of a change that was let do it, once."""
        touched = self.house.touched()
        for vm in sorted({call["object"] for call in touched[self.seen :]}):
            of_it = [one for one in self.known.values() if one.vm == vm]
            allowed = [one for one in of_it if one.may_act(self.time.now)]
            assert allowed, f"{touched[self.seen :]} reached the lab, and nobody let it: {of_it}"
            doers = [one for one in allowed if self.change(one).state not in {State.WAITING, State.APPROVED}]
            assert doers, f"{touched[self.seen :]} reached the lab, and no change says that it did it: {allowed}"
            doers[0].acted = True
            Doors.acted += 1
        self.seen = len(touched)
