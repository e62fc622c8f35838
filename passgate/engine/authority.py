"""Decide, as the last thing before each mutating call, whether it may be sent. There is no second door."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from passgate.errors import NotAuthorizedError, PassgateError
from passgate.model.change import Actor, Change, Door, Event, EventType, GateState, State, StepState
from passgate.model.decision import PLAN
from passgate.policy.votes import Outcome, tally_of
from passgate.store.store import Store

Clock = Callable[[], datetime]

ENGINE = Actor(person="passgate", door=Door.ENGINE)


@dataclass(frozen=True)
class Warrant:
    """Hold what one step of one change may rest on; calling it checks all of it anew.

    `tokens` are the fencing tokens of the leases that this run took; `sent` collects the steps that were let through.
    `calendar` says why windows and freezes let no call of a step be sent at a moment (`engine/opening.py` `refuses`).
    `undoing` is set while steps are taken back: that needs the same decisions on the plan, and leases, but no open time
    window and no second gate, for what was begun must be able to end.
    """

    store: Store
    clock: Clock
    change: str
    step: int
    tokens: Mapping[str, int]
    calendar: Callable[[Change, int, datetime], str | None]
    sent: set[int] = field(default_factory=set)
    undoing: bool = False

    def __call__(self, action: str, subject: str) -> None:
        """Return if the mutating call may be sent now. Raises NotAuthorizedError, after recording the refusal."""
        change = self.store.change(self.change)
        why = self._why_not(change, subject)
        if why is None:
            self.sent.add(self.step)
            return
        data = {"action": action, "subject": subject, "why": why, "step": str(self.step)}
        self.store.append(Event(type=EventType.REFUSED, change=self.change, actor=ENGINE, at=self.clock(), data=data))
        raise NotAuthorizedError(
            f"{action} on {subject} was not sent: {why}.",
            hint=f"Nothing was changed by this step. See `passgate show {self.change}`.",
            subject=subject,
        )

    def _why_not(self, change: Change, subject: str) -> str | None:
        """Return the first reason against it. The order is from the cheapest look to the dearest."""
        now = self.clock()
        if change.state is not State.APPLYING:
            return f"{change.id} is {change.state}, not applying"
        if change.plan is None or change.plan.digest != change.digest:
            return f"the stored plan of {change.id} is not the one whose digest was approved"
        if subject not in change.plan.resources:
            return f"{subject} is not part of the approved plan"
        return (
            self._terms_refuse(change, now)
            or self._journal_refuses()
            or (None if self.undoing else self.calendar(change, self.step, now))
            or self._lease_refuses(change, now)
        )

    def _terms_refuse(self, change: Change, now: datetime) -> str | None:
        if change.terms is None or change.digest is None:
            return f"{change.id} has no terms"
        gates = () if self.undoing else self._gates(change)
        for gate in (PLAN, *gates):
            if why := self._gate_refuses(change, gate, now):
                return why
        until = _good_until(change, gates)
        if not self.undoing and until is not None and now >= until:
            return f"the approval of {change.id} was good until {until:%Y-%m-%d %H:%M} UTC"
        return None

    def _gate_refuses(self, change: Change, name: str, now: datetime) -> str | None:
        """Count the votes at one gate anew: its row alone, which says that it was passed, is worth nothing."""
        if change.terms is None or change.digest is None:
            return f"{change.id} has no terms"
        at = change.gate(name)
        if name != PLAN and (at is None or at.state is not GateState.PASSED):
            return f"the gate {name} of {change.id} was not passed"
        verdict = tally_of(change, self.store.decisions(change.id), now, name)
        if verdict.outcome is not Outcome.APPROVED:
            where = "" if name == PLAN else f" at the gate {name}"
            return f"{change.id} is not approved{where}: {'; '.join(verdict.reasons)}"
        return None

    def _gates(self, change: Change) -> tuple[str, ...]:
        """Return the gates that policy has terms for before this step: its own, and those of earlier steps.

        The gate of a step that turned out to have nothing to do was never opened.
        """
        if change.terms is None or not change.terms.gates:
            return ()
        states = {entry.index: entry.state for entry in self.store.journal(change.id)}
        return tuple(
            dict.fromkeys(
                step.gate
                for step in (change.plan.steps if change.plan else ())
                if step.gate
                and step.index <= self.step
                and step.gate in change.terms.gates
                and (step.index == self.step or states.get(step.index) is not StepState.NOT_NEEDED)
            )
        )

    def _journal_refuses(self) -> str | None:
        entry = next((one for one in self.store.journal(self.change) if one.index == self.step), None)
        if entry is None or (entry.state is not StepState.INTENT and not self.undoing):
            return f"no intent is recorded for step {self.step + 1}"
        return None

    def _lease_refuses(self, change: Change, now: datetime) -> str | None:
        resources = change.plan.resources if change.plan else ()
        lost = [one for one in resources if not self._holds(one, now)]
        return f"the lease on {', '.join(lost)} is not held by this run any more" if lost else None

    def _holds(self, resource: str, now: datetime) -> bool:
        token = self.tokens.get(resource)
        return token is not None and self.store.lease_holds(self.change, resource, token, now)


def _good_until(change: Change, gates: Iterable[str]) -> datetime | None:
    """Return until when steps may be begun: an approval at a second gate is as fresh as one of the plan."""
    within = change.terms.execute_within if change.terms else None
    if change.execute_by is None or within is None:
        return change.execute_by
    settled = [gate.settled_at for name in gates if (gate := change.gate(name)) and gate.settled_at]
    return max([change.execute_by, *(at + within for at in settled)])


def words(error: BaseException) -> str:
    """Return what a person is told of an error: our own words, or the kind of a bug, never a traceback."""
    if isinstance(error, PassgateError):
        return f"{error.message} {error.hint}".strip()
    return f"a fault inside Passgate ({type(error).__name__}); the service's log has the details"
