"""Keep schedules as people and config ask for: add, pause, resume, run, remove; each act is in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from passgate.engine.authority import ENGINE
from passgate.engine.due import file_occurrence
from passgate.engine.filing import asked, previewed, refuse_past
from passgate.engine.runtime import Runtime
from passgate.engine.standing import revoke
from passgate.engine.steps import Ask, Runbook
from passgate.errors import ConfigError, ConflictError, InputError, PolicyError, WorldError
from passgate.model.change import Actor, Change
from passgate.model.decision import Decision
from passgate.model.schedule import Due, Occurrence, Schedule
from passgate.policy.schedules import local_of, next_ones
from passgate.settings.schedules import ScheduleRule

AHEAD = 5
"""How many occurrences to come are shown."""


@dataclass(frozen=True)
class Shown:
    """Hold a schedule with what comes next, what became of its occurrences, and which approvals stand."""

    schedule: Schedule
    upcoming: tuple[Due, ...] = ()
    occurrences: tuple[Occurrence, ...] = ()
    standing: tuple[Decision, ...] = ()
    warning: str = ""


@dataclass
class Scheduling:
    """Do what people ask about schedules. `start` begins the run of a change; `moved` is set when one changed."""

    runtime: Runtime
    start: Callable[[Change], None]
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def all(self) -> tuple[Shown, ...]:
        """Return all schedules."""
        return tuple(self._shown(one, occurrences=1) for one in self.runtime.store.schedules.all())

    def one(self, name: str) -> Shown:
        """Return one schedule."""
        return self._shown(self.runtime.store.schedules.one(name))

    async def add(self, rule: ScheduleRule, actor: Actor) -> Shown:
        """Add a schedule whose author is the actor. Raises InputError for an ask that its runbook does not take.

        What it would ask for is planned once; what would be refused today is said, and refuses nothing: the world may
        be another one when it is due.
        """
        now = self.runtime.clock()
        rule = rule.model_copy(update={"author": actor.person})
        runbook, ask = self._asked(rule)
        refuse_past(self.runtime, ask)
        if not next_ones(rule, now, 1):
            raise InputError(
                f"{rule.times} never happens after now.", hint="Give other times, or a later end.", subject="cron"
            )
        warning = ""
        try:
            plan, _ = await previewed(self.runtime, runbook, ask, actor, behind=(actor.person,))
            warning = "; ".join(f"{check.code}: {check.saw}" for check in plan.stops)
        except (InputError, PolicyError, WorldError) as error:
            warning = error.message
        self.runtime.store.schedules.put(_new(rule, now, "command"), "added", actor, now)
        self.moved.set()
        shown = self._shown(self.runtime.store.schedules.one(rule.name))
        return Shown(shown.schedule, shown.upcoming, warning=warning)

    def pause(self, name: str, actor: Actor) -> Shown:
        """Let nothing be filed until somebody resumes it. Anybody may: it only keeps things from being done."""
        return self._turned(name, actor, paused=True)

    def resume(self, name: str, actor: Actor) -> Shown:
        """Let it go on from now; what was due meanwhile is not made up for. Only its author may: it is theirs."""
        self._require_author(name, actor, "resume")
        return self._turned(name, actor, paused=False)

    def remove(self, name: str, actor: Actor) -> Schedule:
        """Remove a schedule; what it filed stays. Only its author may; one from config is removed there."""
        schedule = self.runtime.store.schedules.one(name)
        if schedule.origin == "config":
            raise InputError(
                f"The schedule {name} stands in config/schedules/.",
                hint=f"Remove it there and restart the service; `passgate schedule pause {name}` holds at once.",
                subject=name,
            )
        self._require_author(name, actor, "remove")
        self.runtime.store.schedules.remove(name, actor, self.runtime.clock())
        self.moved.set()
        return schedule

    def revoke(self, name: str, actor: Actor) -> tuple[str, ...]:
        """End its standing approvals; return the changes that lose them and wait for decisions again. Anybody may."""
        return revoke(self.runtime, name, actor)

    async def run(self, name: str, actor: Actor) -> Change:
        """File its change now. Who runs it stands behind it, and so can't approve it, as little as its author."""
        book, now = self.runtime.store.schedules, self.runtime.clock()
        schedule = book.one(name)
        if busy := book.busy(name):
            raise ConflictError(
                f"{busy} of the schedule {name} is still open. Nothing was filed.",
                hint=f"Wait for its end (`passgate watch {busy}`), or take it back (`passgate withdraw {busy}`).",
                subject=name,
            )
        due = Due(local=f"{local_of(now, schedule.rule)} by hand", at=now)
        change = await file_occurrence(self.runtime, schedule, due, by=actor.person)
        self.start(change)
        return change

    def take_config(self) -> None:
        """Make the table say what config/schedules/ says, at the start of the service. Raises ConfigError in words.

        A schedule that was paused by hand stays so until its entry in config changes.
        """
        book, now = self.runtime.store.schedules, self.runtime.clock()
        wanted = {rule.name: rule for rule in self.runtime.config.schedules.schedules}
        for one in book.all():
            if one.origin == "config" and one.name not in wanted:
                book.remove(one.name, ENGINE, now)
        for rule in wanted.values():
            try:
                self._asked(rule)
            except InputError as error:
                raise ConfigError(
                    f"config/schedules/: the schedule {rule.name} can't be meant: {error.message}",
                    hint=error.hint,
                    subject=rule.name,
                ) from None
            there = book.find(rule.name)
            if there is None:
                book.put(_new(rule, now, "config"), "added", ENGINE, now)
            elif there.rule != rule or there.origin != "config":
                # Other times, another author or ask: what was approved for longer was another schedule's.
                book.put(_new(rule, now, "config"), "changed", ENGINE, now, was=there)

    def _asked(self, rule: ScheduleRule) -> tuple[Runbook[Any], Ask]:
        runbook, ask = asked(self.runtime, rule.runbook, rule.ask)
        if ask.urgency != "normal":
            raise InputError(
                f"A schedule can't ask with urgency {ask.urgency}: that is for what nobody saw coming.",
                hint="Leave it out.",
                subject="urgency",
            )
        return runbook, ask

    def _turned(self, name: str, actor: Actor, *, paused: bool) -> Shown:
        book, now = self.runtime.store.schedules, self.runtime.clock()
        schedule = book.one(name)
        if schedule.paused != paused:
            turned = schedule.model_copy(update={"paused": paused, "since": max(now, schedule.since)})
            book.put(turned, "paused" if paused else "resumed", actor, now, was=schedule)
            self.moved.set()
        return self._shown(book.one(name))

    def _require_author(self, name: str, actor: Actor, act: str) -> None:
        author = self.runtime.store.schedules.one(name).rule.author
        if actor.person != author:
            raise PolicyError(
                f"The schedule {name} runs in the name of {author}; only they can {act} it.",
                hint=f"Anybody can stop it: `passgate schedule pause {name}`.",
                subject=name,
            )

    def _shown(self, schedule: Schedule, occurrences: int = 10) -> Shown:
        book, now = self.runtime.store.schedules, self.runtime.clock()
        found = book.occurrences(schedule.name, occurrences)
        ahead = () if schedule.paused else next_ones(schedule.rule, now, AHEAD)
        return Shown(schedule, ahead, found, book.all_standing(schedule.name, now))


def _new(rule: ScheduleRule, now: datetime, origin: str) -> Schedule:
    return Schedule.model_validate(
        {
            "rule": rule, "origin": origin, "paused": rule.paused,
            "created_at": now, "since": now, "standing_since": now,
        }
    )  # fmt: skip
