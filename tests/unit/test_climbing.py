"""Prove on a real store, with a clock in hand: reminders and escalations are made once, reviews are followed up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from passgate.engine.catalogue import Catalogue
from passgate.engine.climbing import climb
from passgate.engine.desk import Desk
from passgate.engine.ending import evidence_file, write_evidence
from passgate.engine.estate import Estate
from passgate.engine.reviewing import look_after_reviews
from passgate.engine.runtime import Runtime
from passgate.errors import PolicyError
from passgate.ledger.evidence import Evidence, verify_evidence
from passgate.ledger.verify import Proven
from passgate.model.change import Actor, Change, Door, EventType, RecordedEvent, State
from passgate.model.decision import Escalation, Requirement, StandIn, Terms, Verdict
from passgate.model.review import ReviewVerdict
from passgate.settings.load import load_config
from tests.record_story import ALICE, AT, BOB, ENGINE, PLAN, open_store, vote, waiting_change
from tests.unit.test_store_reviews import broken

ROOT = Path(__file__).parents[2]
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
TERMS = Terms(
    policy="usb",
    excluded={"alice": "asks for it"},
    requirements=(
        Requirement(name="operations", rule="usb", needed=2, groups=("operations",), voters=("bob", "carol")),
    ),
    remind=(HOUR, 6 * HOUR),
    escalations=(Escalation(after=2 * HOUR, groups=("managers",), voters=("dave",)),),
    stand_ins=(StandIn(person="dave", of="carol", since=AT, until=AT + 2 * HOUR),),
    approve_within=8 * HOUR,
)


@dataclass
class Room:
    """Hold an engine that never sees an estate, and its clock."""

    runtime: Runtime
    clock: list[datetime] = field(default_factory=lambda: [AT])

    def at(self, at: datetime, change: Change) -> list[RecordedEvent]:
        """Let the clock show a time, let the clockwork look twice, and return what it told."""
        self.clock[0] = at
        before = {event.seq for event in self.runtime.store.events()}
        for _ in range(2):
            climb(self.runtime, self.runtime.store.change(change.id))
        return [event for event in self.runtime.store.events() if event.seq not in before]

    def waiting(self, terms: Terms = TERMS) -> Change:
        """File a change that waits for two approvals."""
        store = self.runtime.store
        change = store.file_change("usb-attach", {"vm": "win-01"}, ALICE, "backup", None, AT)
        store.save_plan(change.id, PLAN, terms, AT + 8 * HOUR, AT)
        return store.move(change.id, State.WAITING, ENGINE, "", AT)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """Open an engine in a folder of its own."""
    config, clock = load_config(ROOT / "config"), [AT]
    store = open_store(tmp_path)
    yield Room(Runtime(tmp_path, config, store, Catalogue(ROOT), Estate(config, tmp_path), lambda: clock[0]), clock)
    store.close()


def people(events: list[RecordedEvent]) -> list[tuple[EventType, list[str]]]:
    """Return what was told, and to whom."""
    return [(event.type, event.data["people"]) for event in events]


def test_each_rung_is_told_once_to_those_who_can_still_decide(room: Room) -> None:
    """Not to who decided, nor to who is away: to who stands in for her (R25, R30)."""
    change = room.waiting()
    assert room.at(AT + 59 * MINUTE, change) == []
    assert people(room.at(AT + HOUR, change)) == [(EventType.REMINDED, ["bob", "dave"])]
    room.runtime.store.decide(vote(change, at=AT + 90 * MINUTE), BOB)
    (escalated,) = room.at(AT + 2 * HOUR, change)
    assert (escalated.type, escalated.data["people"], escalated.data["groups"]) == (
        EventType.ESCALATED, ["dave"], ["managers"],
    )  # fmt: skip
    (last,) = room.at(AT + 7 * HOUR, change)
    assert (last.data["people"], last.data["last"]) == (["carol", "dave"], "yes")
    assert last.data["why"] == "1 of 2 approvals"
    assert room.at(AT + 7.9 * HOUR, change) == []
    assert isinstance(room.runtime.store.verify(), Proven)


def test_a_service_that_was_down_tells_the_newest_reminder_only(room: Room) -> None:
    """And each escalation: people hear of those once, late or not."""
    change = room.waiting()
    assert [event.type for event in room.at(AT + 7 * HOUR, change)] == [EventType.ESCALATED, EventType.REMINDED]


def test_two_services_make_one_reminder(room: Room) -> None:
    """The table is the compare-and-set: whoever comes second records nothing."""
    change = room.waiting()
    other = open_store(room.runtime.home)
    twin = Runtime(
        room.runtime.home, room.runtime.config, other, room.runtime.catalogue, room.runtime.estate, room.runtime.clock
    )
    room.clock[0] = AT + HOUR
    for runtime in (room.runtime, twin, room.runtime, twin):
        climb(runtime, change)
    other.close()
    assert len(room.runtime.store.events_of(change.id, EventType.REMINDED)) == 1


def test_nobody_is_reminded_of_what_is_settled(room: Room) -> None:
    """The store looks once more in the transaction that would tell it: an approval in between stays the last word."""
    change = room.waiting()
    room.runtime.store.move(change.id, State.WITHDRAWN, ALICE, "", AT, outcome="withdrawn")
    room.clock[0] = AT + HOUR
    climb(room.runtime, change)  # as it was read before
    assert room.runtime.store.events_of(change.id, EventType.REMINDED) == ()


def test_overdue_reviews_are_told_every_day(room: Room) -> None:
    """From the day on which they were due, until they are closed."""
    store = room.runtime.store
    change = store.file_change("usb-attach", {"vm": "win-01"}, ALICE, "it burns", None, AT)
    store.save_plan(change.id, PLAN, broken("alice"), None, AT)

    def told(at: datetime) -> int:
        room.clock[0] = at
        for _ in range(2):
            asyncio.run(look_after_reviews(room.runtime))
        return len(store.events_of(change.id, EventType.REVIEW_OVERDUE))

    hours = (71, 72, 80, 95, 96, 120)
    assert [told(AT + one * HOUR) for one in hours] == [0, 1, 1, 1, 2, 3]


class NoBell:
    """Ring nothing: there are no runs here."""

    async def start(self, change: Change) -> None:
        """Make no run."""

    async def ring(self, change: Change) -> None:
        """Wake no run."""


def test_the_evidence_is_written_anew_with_the_review(room: Room) -> None:
    """Both files' SHA-256 are on record; and after a crash in between, the clockwork writes the second one."""
    store, home = room.runtime.store, room.runtime.home
    change = store.file_change("usb-attach", {"vm": "win-01"}, ALICE, "it burns", None, AT)
    store.save_plan(change.id, PLAN, broken("alice"), None, AT)
    for state in (State.APPROVED, State.APPLYING, State.DONE):
        store.move(change.id, state, ENGINE, "", AT, outcome="it ended" if state.is_end else None)
    dave = Actor(person="dave", door=Door.CLI)

    async def go() -> None:
        await write_evidence(room.runtime, store.change(change.id))
        desk = Desk(room.runtime, NoBell())
        carol = Actor(person="carol", door=Door.CLI)
        with pytest.raises(PolicyError, match="carol is not among those who may review"):
            await desk.close_review(change.id, carol, ReviewVerdict.JUSTIFIED, "hm")
        store.reviews.close(change.id, ReviewVerdict.JUSTIFIED, "it did burn", dave, AT)  # and the service dies here
        await look_after_reviews(room.runtime)
        await look_after_reviews(room.runtime)

    asyncio.run(go())
    hashes = [event.data["sha256"] for event in store.events_of(change.id, EventType.EVIDENCE)]
    assert len(set(hashes)) == len(hashes) == 2
    assert store.verifier_key is not None
    found = verify_evidence(evidence_file(home, change.id), store.verifier_key.text)
    assert isinstance(found, Evidence)
    assert "reviewed by dave: justified" in found.words
    assert store.reviews.one(change.id).kept_at is not None
    assert room.runtime.store.reviews.unfinished() == ()


def test_who_has_an_open_review_is_refused_by_the_desk(room: Room) -> None:
    """Bob broke the glass; his approval of another change is refused before it is recorded, his denial is not."""
    store = room.runtime.store
    one = store.file_change("usb-attach", {"vm": "win-01"}, BOB, "it burns", None, AT)
    store.save_plan(one.id, PLAN, broken("bob", ("dave",)), None, AT)
    other = waiting_change(store)

    async def go() -> None:
        desk = Desk(room.runtime, NoBell())
        with pytest.raises(PolicyError, match=f"bob broke the glass for {one.id}, and its review is open"):
            await desk.decide(other.id, BOB, Verdict.APPROVE)
        await desk.decide(other.id, BOB, Verdict.DENY, "not today")

    asyncio.run(go())
    assert store.change(other.id).state is State.DENIED
    assert [one.verdict for one in store.decisions(other.id)] == [Verdict.DENY]
