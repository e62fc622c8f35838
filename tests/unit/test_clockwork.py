"""Promise: thousands of changes wait at no cost, and each one expires in its minute. Clocks are set, not slept."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, insert, select, text, update

from passgate.engine.authority import ENGINE
from passgate.engine.catalogue import Catalogue
from passgate.engine.clockwork import BETWEEN, EVERY, Clockwork
from passgate.engine.ending import evidence_file
from passgate.engine.estate import Estate
from passgate.engine.runtime import Runtime, open_store
from passgate.model.change import Actor, Change, Door, EventType, State
from passgate.model.decision import Decision, Verdict
from passgate.settings.load import load_config
from passgate.store.tables import changes
from tests.lab_site import SHIPPED
from tests.record_story import AT, vote, waiting_change

MANY = 5000
BOB = Actor(person="bob", door=Door.CLI)


@dataclass
class Clock:
    """Tell the time that a test has set."""

    now: datetime = AT

    def __call__(self) -> datetime:
        """Return it."""
        return self.now


@dataclass
class Bell:
    """Note who was rung for; there is no Prefect here."""

    rung: list[str] = field(default_factory=list)

    async def start(self, change: Change) -> None:
        """Note it."""
        self.rung.append(change.id)

    async def ring(self, change: Change) -> None:
        """Note it."""
        self.rung.append(change.id)


@dataclass
class Room:
    """Hold an engine without Prefect and without a vCenter, and its clock."""

    runtime: Runtime
    clock: Clock = field(default_factory=Clock)
    bell: Bell = field(default_factory=Bell)

    @property
    def clockwork(self) -> Clockwork:
        """Return the clockwork of a service that has just started."""
        return Clockwork(self.runtime, self.bell)

    def wait_in_bulk(self, count: int, first: datetime, apart: timedelta) -> None:
        """Let so many changes wait, the first until that moment, each next one that much longer."""
        model = waiting_change(self.runtime.store)
        with self.runtime.store._database.writing() as write:
            row = dict(write.execute(select(changes).where(changes.c.id == model.id)).one()._mapping)
            number = int(row["number"])
            ends = [first + apart * index for index in range(count)]
            write.execute(
                insert(changes),
                [
                    {
                        **row,
                        "number": number + index,
                        "id": f"CHG-{number + index:04}",
                        "plan": None,
                        "flow_run": f"{number + index}",
                    }
                    | {"approve_by": end, "due_at": end}
                    for index, end in enumerate(ends, 1)
                ],
            )
        self.runtime.store.move(model.id, State.WITHDRAWN, ENGINE, "", AT, outcome="")


@pytest.fixture(name="room")
def _room(tmp_path: Path) -> Iterator[Room]:
    config = load_config(SHIPPED)
    store = open_store(tmp_path, config)
    runtime = Runtime(tmp_path, config, store, Catalogue(SHIPPED.parent), Estate(config, tmp_path))
    room = Room(runtime)
    room.runtime = replace(runtime, clock=room.clock)
    yield room
    runtime.estate.close()
    store.close()


async def test_each_of_5000_expires_within_its_minute(room: Room) -> None:
    """R25, R30: after each round all whose time has come are expired and no other; rounds come every 5 s."""
    room.wait_in_bulk(MANY, AT + timedelta(minutes=1), timedelta(seconds=6))
    clockwork = room.clockwork
    for second in range(0, 120, 20):
        room.clock.now = AT + timedelta(seconds=60 + second)
        await clockwork.round()
        expired = {one.approve_by for one in room.runtime.store.changes((State.EXPIRED,), limit=MANY)}
        assert room.runtime.store.due(room.clock.now) == ()
        assert len(expired) == 1 + second // 6
        assert all(end is not None and end <= room.clock.now for end in expired)
    assert timedelta(seconds=EVERY) < timedelta(seconds=60)


async def test_waiting_costs_the_same_however_many_wait(room: Room) -> None:
    """A round in which nothing is due reads the same for 5,000 changes as for one, and wakes nobody."""
    counts = []
    clockwork = room.clockwork
    for many in (1, MANY):
        room.wait_in_bulk(many, AT + timedelta(days=30), timedelta(seconds=1))
        await clockwork.round()
        room.bell.rung.clear()
        statements: list[str] = []

        def note(_: Connection, _cursor: object, text: str, *_rest: object, into: list[str] = statements) -> None:
            into.append(text)

        engine = room.runtime.store._database.engine
        event.listen(engine, "before_cursor_execute", note)
        await clockwork.round()
        event.remove(engine, "before_cursor_execute", note)
        counts.append(len([one for one in statements if one.casefold().startswith("select")]))
    assert counts[0] == counts[1] <= 4
    assert room.bell.rung == []


async def test_a_change_that_waits_thirty_days_is_decided_like_any_other(room: Room) -> None:
    """R30: no upper bound on the wait. A service that starts anew finds it, settles the vote, and rings."""
    room.wait_in_bulk(3, AT + timedelta(days=40), timedelta(0))
    room.clock.now = AT + timedelta(days=30)
    change = room.runtime.store.changes((State.WAITING,))[0]
    room.runtime.store.decide(
        Decision(
            change=change.id,
            digest=change.digest or "",
            person="bob",
            door="cli",
            verdict=Verdict.APPROVE,
            at=room.clock.now,
        ),
        BOB,
    )
    assert room.runtime.store.due(room.clock.now) == (change.id,)
    await room.clockwork.round()
    assert room.runtime.store.change(change.id).state is State.APPROVED
    assert change.id in room.bell.rung


async def test_half_a_quorum_is_looked_at_once(room: Room) -> None:
    """A vote that does not settle it, such as one taken back, leaves the change asleep until its own time."""
    room.wait_in_bulk(1, AT + timedelta(days=1), timedelta(0))
    change = room.runtime.store.changes((State.WAITING,))[0]
    for verdict in (Verdict.APPROVE, Verdict.RETRACT):
        decision = Decision(
            change=change.id, digest=change.digest or "", person="bob", door="cli", verdict=verdict, at=room.clock.now
        )
        room.runtime.store.decide(decision, BOB)
    await room.clockwork.round()
    assert room.runtime.store.due(room.clock.now) == ()
    assert room.runtime.store.due(AT + timedelta(days=1)) == (change.id,)


async def test_what_has_ended_is_closed_once(room: Room) -> None:
    """Its run is rung so that it ends, and then nobody looks at it any more, also after a start anew."""
    room.wait_in_bulk(60, AT, timedelta(0))
    for _ in range(4):
        await room.clockwork.round()
    rung = [one for one in room.bell.rung if one != "CHG-0001"]
    assert len(rung) == len(set(rung)) == 60
    assert room.runtime.store.unclosed() == ()


async def test_evidence_that_a_crash_left_without_its_record_is_written_and_recorded(room: Room) -> None:
    """The process died between the file and the ledger: the next one does both, and the file is the one on record."""
    store = room.runtime.store
    change = waiting_change(store)
    store.move(change.id, State.WITHDRAWN, BOB, "not needed", room.clock())
    file = evidence_file(room.runtime.home, change.id)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"what was written before the crash")
    await room.clockwork.round()
    await room.clockwork.round()
    (recorded,) = store.events_of(change.id, EventType.EVIDENCE)
    assert recorded.data["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert store.unclosed() == ()


@pytest.mark.parametrize("damage", ["terms = '{'", "created_at = 'yesterday'"])
async def test_a_damaged_change_keeps_no_other_from_expiring(
    room: Room, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """R30: one that can't be read stays as it is, and is told of once; those that end with it do end."""
    room.wait_in_bulk(4, AT, timedelta(0))
    ids = room.runtime.store.over(AT)
    with room.runtime.store._database.writing() as write:
        write.execute(text(f"update changes set {damage} where id = :one"), {"one": ids[1]})  # noqa: S608 - our own
    clockwork = room.clockwork
    for _ in range(2):
        await clockwork.settle()
    assert room.runtime.store.over(AT) == (ids[1],)
    assert room.runtime.store.counts()["expired"] == 3
    assert len([one for one in caplog.records if f"a fault with {ids[1]};" in one.message]) == 1


async def test_what_was_decided_in_time_does_not_expire_with_the_others(room: Room) -> None:
    """R30: a vote that came in time counts, though Passgate died before it was settled and its time is over now."""
    room.wait_in_bulk(3, AT + timedelta(seconds=1), timedelta(0))
    _, voted, _ = room.runtime.store.over(AT + timedelta(seconds=1))
    room.runtime.store.decide(vote(room.runtime.store.change(voted)), BOB)
    room.clock.now = AT + timedelta(seconds=1)
    await room.clockwork.round()
    assert room.runtime.store.change(voted).state is State.APPROVED
    assert room.runtime.store.counts()["expired"] == 2
    assert voted in room.bell.rung


async def test_what_expires_waits_for_no_reminders(room: Room) -> None:
    """R30: reminders of many changes go out one by one; a change whose time is over meanwhile does not wait for all."""
    room.wait_in_bulk(BETWEEN + 5, AT + timedelta(hours=8), timedelta(0))
    room.wait_in_bulk(1, AT + timedelta(hours=6, seconds=1), timedelta(0))
    with room.runtime.store._database.writing() as write:
        write.execute(update(changes).values(due_at=AT + timedelta(hours=6)).where(changes.c.state == "waiting"))
    room.clock.now = AT + timedelta(hours=6)
    clockwork, store = room.clockwork, room.runtime.store
    store.listeners.append(lambda: setattr(room.clock, "now", AT + timedelta(hours=6, seconds=1)))
    await clockwork.settle()
    told = [one for one in store.events(limit=MANY) if one.type in {EventType.REMINDED, EventType.STATE}]
    assert [one.data.get("to") for one in told].count("expired") == 1
    assert [one.type for one in told[-5:]] == [EventType.REMINDED] * 5


async def test_what_expires_waits_for_no_prefect(room: Room) -> None:
    """R30: while Prefect does not answer for a change that ended, others end in their time."""

    class Deaf(Bell):
        async def ring(self, change: Change) -> None:
            self.rung.append(change.id)
            rings.set()
            await asyncio.Event().wait()

    rings, ends, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()
    room.wait_in_bulk(1, AT + timedelta(hours=1), timedelta(0))
    clockwork = Clockwork(room.runtime, Deaf())
    running = asyncio.create_task(clockwork.run())
    await asyncio.wait_for(rings.wait(), 60)
    room.runtime.store.listeners.append(lambda: loop.call_soon_threadsafe(ends.set))
    room.clock.now = AT + timedelta(hours=1)
    clockwork.wake()
    await asyncio.wait_for(ends.wait(), 60)
    running.cancel()
    assert room.runtime.store.counts() == {"expired": 1, "withdrawn": 1}
