"""Keep schedules, what became of each of their occurrences, and the approvals that stand for their later runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from passgate.errors import ConflictError, UnknownNameError
from passgate.ledger.canonical import time_text
from passgate.model.change import ENDS, Actor, Change, Event, EventType
from passgate.model.decision import PLAN, Decision, Verdict
from passgate.model.schedule import Due, Occurrence, Outcome, Schedule
from passgate.settings.schedules import ScheduleRule
from passgate.store import changes, decisions
from passgate.store.refusing import refuse_secret_fields, refuse_secrets
from passgate.store.tables import changes as changes_table
from passgate.store.tables import decisions as decisions_table
from passgate.store.tables import occurrences, schedules
from passgate.store.writing import PASSGATE, Write

Reading = Callable[[], AbstractContextManager[Connection]]
Writing = Callable[[], AbstractContextManager[Write]]


class ScheduleBook:
    """Read and write schedules; each method is one transaction, and the ledger is told in it."""

    def __init__(self, reading: Reading, writing: Writing) -> None:
        self._reading, self._writing = reading, writing

    def all(self) -> tuple[Schedule, ...]:
        """Return all schedules, by name."""
        with self._reading() as connection:
            return tuple(_schedule(row) for row in connection.execute(select(schedules).order_by(schedules.c.name)))

    def one(self, name: str) -> Schedule:
        """Return a schedule, or raise UnknownNameError."""
        with self._reading() as connection:
            return _one(connection, name)

    def find(self, name: str) -> Schedule | None:
        """Return a schedule, if there is one of that name."""
        return next((one for one in self.all() if one.name == name), None)

    def occurrences(self, name: str, limit: int = 20) -> tuple[Occurrence, ...]:
        """Return what became of a schedule's occurrences, the newest first."""
        query = select(occurrences).where(occurrences.c.schedule == name)
        with self._reading() as connection:
            rows = connection.execute(query.order_by(occurrences.c.at.desc()).limit(limit))
            return tuple(Occurrence(**row._asdict() | {"outcome": Outcome(row.outcome)}) for row in rows)

    def busy(self, name: str) -> str:
        """Return the newest change of a schedule that has not ended; empty where all have."""
        ends = [state.value for state in ENDS]
        query = select(changes_table.c.id).where(changes_table.c.schedule == name, changes_table.c.state.not_in(ends))
        with self._reading() as connection:
            return connection.scalar(query.order_by(changes_table.c.number.desc()).limit(1)) or ""

    def put(self, schedule: Schedule, act: str, actor: Actor, at: datetime, *, was: Schedule | None = None) -> None:
        """Write a new schedule down, or as it is now; ConflictError where `was` is not how it stands."""
        rule = schedule.rule
        refuse_secrets(text=rule.text, reason=str(rule.ask.get("reason") or ""))
        refuse_secret_fields(rule.ask)
        values = {**schedule.model_dump(exclude={"rule"}), "rule": rule.model_dump_json()}
        with self._writing() as write:
            row = write.connection.execute(select(schedules).where(schedules.c.name == rule.name)).first()
            if (_schedule(row) if row else None) != was:
                raise _moved_on(rule.name, there=row is not None)
            if was is None:
                write.connection.execute(insert(schedules).values(name=rule.name, **values))
            else:
                write.connection.execute(update(schedules).where(schedules.c.name == rule.name).values(**values))
            data = {"act": act, "name": rule.name, "rule": _told(rule), "origin": schedule.origin}
            data |= {"standing_since": time_text(schedule.standing_since)}
            write.append(Event(type=EventType.SCHEDULE, change="", actor=actor, at=at, data=data))

    def remove(self, name: str, actor: Actor, at: datetime) -> None:
        """Remove a schedule; what it filed stays."""
        with self._writing() as write:
            _one(write.connection, name)
            write.connection.execute(delete(schedules).where(schedules.c.name == name))
            data = {"act": "removed", "name": name}
            write.append(Event(type=EventType.SCHEDULE, change="", actor=actor, at=at, data=data))

    def note(self, found: Occurrence) -> bool:
        """Note what became of an occurrence that made no change; False where that is noted already, or it is filed."""
        with self._writing() as write:
            author = _one(write.connection, found.schedule).rule.author
            there = _occurrence(write.connection, found.schedule, found.local)
            if there is not None:
                same = (there.outcome, there.why) == (found.outcome.value, found.why)
                if same or there.outcome != Outcome.QUEUED.value:
                    return False
            _keep(write.connection, found, there)
            if found.outcome is not Outcome.QUEUED:
                _settle(write.connection, found.schedule, found.at)
            write.append(_event(found, author))
            return True

    def file(
        self, name: str, due: Due, runbook: str, ask: dict[str, Any], requester: Actor, *, behind: tuple[str, ...],
        reason: str, ticket: str | None, at: datetime,
    ) -> Change:  # fmt: skip
        """File the change of an occurrence, once: ConflictError where it was filed or settled before.

        `behind` are the people who stand behind it; they are in the record from its first event on.
        """
        refuse_secrets(reason=reason, ticket=ticket)
        refuse_secret_fields(ask)
        with self._writing() as write:
            _one(write.connection, name)
            there = _occurrence(write.connection, name, due.local)
            if there is not None and there.outcome != Outcome.QUEUED.value:
                said = f"{there.outcome}{f' as {there.change}' if there.change else ''}"
                raise ConflictError(
                    f"The occurrence of schedule {name} at {due.local} was {said} already. Nothing was filed twice.",
                    subject=name,
                )
            about = {"name": name, "occurrence": due.local, "at": time_text(due.at), "behind": list(behind)}
            change = changes.file(write, runbook, ask, requester, reason=reason, ticket=ticket, at=at, schedule=about)
            found = Occurrence(**due.model_dump(), schedule=name, outcome=Outcome.FILED, change=change.id, noted_at=at)
            _keep(write.connection, found, there)
            _settle(write.connection, name, due.at)
            return change

    def standing(self, name: str, digest: str, at: datetime) -> tuple[Decision, ...]:
        """Return the approvals that stand for a run of that schedule with that very plan, at that moment."""
        return tuple(one for one in self.all_standing(name, at) if one.digest == digest)

    def all_standing(self, name: str, at: datetime) -> tuple[Decision, ...]:
        """Return all approvals of that schedule that stand at that moment, whatever the plan."""
        with self._reading() as connection:
            schedule = _one(connection, name)
            query = (
                select(decisions_table.c.change, decisions_table.c.digest)
                .join(changes_table, changes_table.c.id == decisions_table.c.change)
                .where(changes_table.c.schedule == name, decisions_table.c.standing_until > at)
                .distinct()
            )
            rows = list(connection.execute(query))
            given = {row.change: decisions.of_change(connection, row.change) for row in rows}
            every = tuple(one for each in given.values() for one in each)
            digests = dict.fromkeys(row.digest for row in rows)
            return tuple(
                one for digest in digests for one in _standing(iter(every), digest, at, schedule.standing_since)
            )

    def standing_of(self, person: str, at: datetime) -> tuple[tuple[str, Decision], ...]:
        """Return the approvals of a person that stand at that moment, with the schedule of each."""
        query = (
            select(changes_table.c.schedule)
            .join(decisions_table, changes_table.c.id == decisions_table.c.change)
            .join(schedules, schedules.c.name == changes_table.c.schedule)
            .where(decisions_table.c.person == person, decisions_table.c.standing_until > at)
            .distinct()
        )
        with self._reading() as connection:
            names = sorted(connection.scalars(query))
        return tuple((name, one) for name in names for one in self.all_standing(name, at) if one.person == person)

    def approved_for_longer(self, name: str, at: datetime) -> Change | None:
        """Return the newest change of that schedule with an approval that stands at that moment, whatever its plan."""
        found = max(
            (one.change for one in self.all_standing(name, at)), key=lambda each: (len(each), each), default=None
        )
        with self._reading() as connection:
            return changes.one(connection, found) if found else None


def _standing(given: Iterator[Decision], digest: str, at: datetime, since: datetime) -> Iterator[Decision]:
    """Yield of each person the newest approval that stands; a denial or a retraction that came later ends it."""
    newest: dict[str, Decision] = {}
    for one in sorted(given, key=lambda each: each.at):
        if one.gate == PLAN and one.digest == digest and one.standing_from is None:
            newest[one.person] = one
    for one in newest.values():
        if one.verdict is Verdict.APPROVE and one.standing_until and one.standing_until > at and one.at >= since:
            yield one


def _one(connection: Connection, name: str) -> Schedule:
    row = connection.execute(select(schedules).where(schedules.c.name == name)).first()
    if row is None:
        known = connection.scalars(select(schedules.c.name).order_by(schedules.c.name)).all()
        raise UnknownNameError(
            f"There is no schedule {name!r}.", hint=f"There are: {', '.join(known) or 'none'}.", subject=name
        )
    return _schedule(row)


def _occurrence(connection: Connection, name: str, local: str) -> Row[Any] | None:
    here = (occurrences.c.schedule == name) & (occurrences.c.local == local)
    return connection.execute(select(occurrences).where(here)).first()


def _keep(connection: Connection, found: Occurrence, there: Row[Any] | None) -> None:
    values = found.model_dump() | {"outcome": found.outcome.value}
    if there is None:
        connection.execute(insert(occurrences).values(**values))
    else:
        here = (occurrences.c.schedule == found.schedule) & (occurrences.c.local == found.local)
        connection.execute(update(occurrences).where(here).values(**values))


def _settle(connection: Connection, name: str, at: datetime) -> None:
    """Note until when everything is settled; it never goes back."""
    here = (schedules.c.name == name) & (schedules.c.since < at)
    connection.execute(update(schedules).where(here).values(since=at))


def _event(found: Occurrence, author: str) -> Event:
    data = {
        "name": found.schedule, "author": author, "occurrence": found.local, "at": time_text(found.at),
        "outcome": found.outcome.value, "why": found.why,
    }  # fmt: skip
    return Event(type=EventType.OCCURRENCE, change="", actor=PASSGATE, at=found.noted_at, data=data)


def _told(rule: ScheduleRule) -> dict[str, Any]:
    return rule.model_dump(mode="json", exclude_none=True)


def _schedule(row: Row[Any]) -> Schedule:
    values = row._asdict()
    return Schedule(
        rule=ScheduleRule.model_validate_json(values.pop("rule")),
        **{key: value for key, value in values.items() if key != "name"},
    )


def _moved_on(name: str, *, there: bool) -> ConflictError:
    if there:
        return ConflictError(
            f"The schedule {name} is there already, or was changed meanwhile. Nothing was recorded.",
            hint=f"See `passgate schedule show {name}`.",
            subject=name,
        )
    return ConflictError(f"The schedule {name} was removed meanwhile. Nothing was recorded.", subject=name)
