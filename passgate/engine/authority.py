"""Decide, as the last thing before each mutating call, whether it may be sent. There is no second door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from passgate.errors import NotAuthorizedError, PassgateError
from passgate.model.change import Actor, Change, Door, Event, EventType, State, StepState
from passgate.policy.votes import Outcome, tally
from passgate.store.store import Store

Clock = Callable[[], datetime]

ENGINE = Actor(person="passgate", door=Door.ENGINE)


@dataclass(frozen=True)
class Warrant:
    """Hold what one step of one change may rest on; calling it checks all of it anew.

    `tokens` are the fencing tokens of the leases that this run took; `sent` collects the steps that were let through.
    `undoing` is set while steps are taken back: that needs the same decisions, plan and leases, but no open time
    window, for what was begun must be able to end.
    """

    store: Store
    clock: Clock
    change: str
    step: int
    tokens: Mapping[str, int]
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
        return self._terms_refuse(change, now) or self._journal_refuses() or self._lease_refuses(change, now)

    def _terms_refuse(self, change: Change, now: datetime) -> str | None:
        if change.terms is None or change.digest is None:
            return f"{change.id} has no terms"
        verdict = tally(
            change.terms,
            self.store.decisions(change.id),
            digest=change.digest,
            requester=change.requester.person,
            now=now,
            approve_by=change.approve_by,
        )
        if verdict.outcome is not Outcome.APPROVED:
            return f"{change.id} is not approved: {'; '.join(verdict.reasons)}"
        if not self.undoing and change.execute_by is not None and now >= change.execute_by:
            return f"the approval of {change.id} was good until {change.execute_by:%Y-%m-%d %H:%M} UTC"
        return None

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


def words(error: BaseException) -> str:
    """Return what a person is told of an error: our own words, or the kind of a bug, never a traceback."""
    if isinstance(error, PassgateError):
        return f"{error.message} {error.hint}".strip()
    return f"a fault inside Passgate ({type(error).__name__}); the service's log has the details"
