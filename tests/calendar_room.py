"""Run changes under a calendar on the lab's vCenter, without Prefect, with a clock that a test sets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from passgate.engine.beginning import LEASE
from passgate.engine.carrying import Attempt, Carrying
from passgate.engine.course import go_on
from passgate.engine.desk import Desk
from passgate.engine.filing import file_change
from passgate.engine.gate import settle
from passgate.engine.runtime import Runtime
from passgate.ledger.verify import Proven
from passgate.model.change import Actor, Change, Door, JournalEntry, StepState
from passgate.model.decision import Decision, Verdict
from passgate.model.plan import PlannedStep
from passgate.settings.calendar import Calendar, Freeze, Window
from passgate.settings.people import People
from tests.contract.vsphere_places import Place
from tests.engine_room import ALICE

EVENING = datetime(2026, 11, 23, 22, 0, tzinfo=UTC)
"""When the window opens; it is two hours long."""
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
BOB, CAROL = (Actor(person=name, door=Door.CLI) for name in ("bob", "carol"))


def window(**over: Any) -> Window:
    """Return a window of two hours every evening."""
    when = {"start": "2026-01-01 22:00", "duration": "2h", "rrule": "FREQ=DAILY"}
    return Window.model_validate({"name": "evenings", "zone": "UTC", "when": [when], **over})


def freeze(start: str = "2026-11-23 00:00", duration: str = "1d", **over: Any) -> Freeze:
    """Return a freeze, by default of that day, that operations may override."""
    entry = {"name": "stop", "text": "Stocktaking, CHG0031000", "zone": "UTC", "override": ["operations"]}
    return Freeze.model_validate({**entry, "when": [{"start": start, "duration": duration}], **over})


class Asleep(BaseException):
    """Raised where a run would be suspended: nothing of it is left in memory."""


class SilentBell:
    """Start and wake nothing; tests call the course of a change themselves."""

    def __init__(self) -> None:
        self.rung: list[str] = []

    async def start(self, change: Change) -> None:
        """Note it."""
        self.rung.append(change.id)

    async def ring(self, change: Change) -> None:
        """Note it."""
        self.rung.append(change.id)


@dataclass
class Room:
    """Hold a runtime with a calendar and a clock. `after` is called when a step has ended, with its index."""

    runtime: Runtime
    place: Place
    now: datetime = EVENING - 12 * HOUR
    after: Callable[[int], None] = field(default=lambda _: None)
    dies_on_the_way_back: bool = False

    @classmethod
    def with_calendar(cls, runtime: Runtime, place: Place, *entries: Window | Freeze) -> Room:
        """Give the runtime that calendar and a clock of the room's own, and let nobody need a shell."""
        calendar = Calendar(
            windows=tuple(one for one in entries if isinstance(one, Window)),
            freezes=tuple(one for one in entries if isinstance(one, Freeze)),
        )
        config = runtime.config.model_copy(update={"calendar": calendar})
        room: Room = cls(replace(runtime, config=config, clock=lambda: room.now), place)
        return room

    def under(self, *entries: Window | Freeze) -> None:
        """Let the service start anew with another calendar."""
        now, self.runtime = self.now, Room.with_calendar(self.runtime, self.place, *entries).runtime
        self.runtime = replace(self.runtime, clock=lambda: self.now)
        self.now = now

    @property
    def people(self) -> People:
        """Return who may speak."""
        return self.runtime.config.people

    @property
    def on_call(self) -> str:
        """Return somebody whom the shipped policy lets break the glass."""
        rules = (rule.break_glass for rule in self.runtime.config.policy.rules)
        groups = {group for glass in rules if glass for group in glass.groups}
        return next(one.id for one in self.people.people if groups & set(one.groups))

    def desk(self) -> tuple[Desk, SilentBell]:
        """Return the desk that all doors lead to, and its bell."""
        bell = SilentBell()
        return Desk(self.runtime, bell), bell

    async def file(self, steps: str, **ask: Any) -> Change:
        """File a change as Alice."""
        return await file_change(self.runtime, "prove-steps", {"vm": "win-01", "steps": steps, **ask}, ALICE)

    async def approved(self, steps: str, **ask: Any) -> Change:
        """File a change as Alice, and approve it as Bob."""
        return self.approve(await self.file(steps, **ask))

    def approve(self, change: Change, gate: str = "plan", by: Actor = BOB) -> Change:
        """Approve a change, and see how it stands."""
        decision = Decision(
            change=change.id, digest=change.digest or "", gate=gate, person=by.person, door="cli",
            verdict=Verdict.APPROVE, at=self.now,
        )  # fmt: skip
        self.runtime.store.decide(decision, by)
        return settle(self.runtime, self.runtime.store.change(change.id))

    async def run(self, change: Change) -> Change:
        """Take the change as far as it can go now, and return how it stands."""
        with suppress(Asleep):
            await go_on(self.runtime, self.runtime.store.change(change.id), self)
        assert isinstance(self.runtime.store.verify(), Proven)
        return self.runtime.store.change(change.id)

    async def sleep(self, change: Change, key: str) -> None:
        """Leave."""
        raise Asleep(f"{change.id} {key}")

    async def step(self, carrying: Carrying, planned: PlannedStep) -> None:
        """Do a step at once; then the clock may go on, with the leases renewed as they are all the time."""
        await carrying.step(planned, Attempt())
        self.after(planned.index)
        self.runtime.store.renew_leases(carrying.change, LEASE, self.now, tokens=carrying.tokens)

    async def take_back(self, carrying: Carrying, *, whole: bool) -> None:
        """Take back what was done, or only what is temporary."""
        if self.dies_on_the_way_back:
            raise SystemExit
        await carrying.take_back(only_temporary=not whole)

    def goes_on_to(self, moment: datetime, after: int = 0) -> None:
        """Let the clock show that moment once the step of that index has ended."""

        def after_it(index: int) -> None:
            if index == after:
                self.now = moment

        self.after = after_it

    def journal(self, change: Change) -> tuple[JournalEntry, ...]:
        """Return the state of each step."""
        return self.runtime.store.journal(change.id)

    def states(self, change: Change) -> list[StepState]:
        """Return the states alone."""
        return [entry.state for entry in self.journal(change)]

    def power(self) -> str:
        """Return whether the VM is on, as vCenter says."""
        return self.place.found()[0].power.value
