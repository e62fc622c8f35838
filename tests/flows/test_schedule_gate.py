"""Take changes of schedules through the gate: who counts, what stands for later runs, what is missed. No Prefect."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from passgate.engine.due import take_due, triggered
from passgate.engine.runtime import Runtime
from passgate.ledger.evidence import Evidence, verify_evidence
from passgate.ledger.verify import Proven
from passgate.model.change import Change, EventType, State
from passgate.model.schedule import Outcome, Schedule
from tests.house import until
from tests.workshop import Workshop, open_workshop


@pytest.fixture
def room(workshop: Workshop) -> Iterator[Workshop]:
    """Lend the workshop, and leave no schedule in it."""
    yield workshop
    for one in workshop.store.schedules.all():
        workshop.call(one.rule.author, "POST", f"/v1/schedules/{one.name}/remove")


@pytest.fixture(scope="module")
def elsewhen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Run a workshop whose ledger may hold times to come: in the shared one a clock would seem to run backwards."""
    with open_workshop(tmp_path_factory.mktemp("elsewhen")) as found:
        yield found


def add(room: Workshop, name: str, person: str = "alice", **over: Any) -> Schedule:
    """Add a schedule that asks to attach the stick on Fridays, in that person's name."""
    body = {
        "name": name, "runbook": "usb-attach", "ask": {"vm": "win-01", "device": "backup-stick"},
        "zone": "Europe/Vienna", "cron": "0 18 * * FRI", **over,
    }  # fmt: skip
    answer = room.call(person, "POST", "/v1/schedules", **body)
    assert answer.status_code == 201, answer.text
    return room.store.schedules.one(name)


def run(room: Workshop, name: str, person: str = "alice") -> Change:
    """Run a schedule by hand."""
    answer = room.call(person, "POST", f"/v1/schedules/{name}/run")
    assert answer.status_code == 201, answer.text
    return room.store.change(answer.json()["id"])


def at(runtime: Runtime, moment: datetime) -> Runtime:
    """Return the same engine at another time."""
    return replace(runtime, clock=lambda: moment)


def withdrawn(room: Workshop, change: Change) -> None:
    """Take a change back, so that the next run is not held up by it."""
    answer = room.call(change.requester.person, "POST", f"/v1/changes/{change.id}/withdraw", reason="enough seen")
    assert answer.status_code == 200, answer.text


def test_neither_author_nor_who_runs_it_counts_as_approver(room: Workshop) -> None:
    """R1: Bob's schedule, run by Carol: both are of the group that approves, and neither may; nobody else is left."""
    add(room, "of-bob", "bob")
    refused = room.call("carol", "POST", "/v1/schedules/of-bob/run")
    assert refused.status_code == 403, refused.text  # two of two are excluded: nobody could ever approve it

    change = run(room, "of-bob", "dave")
    assert (change.requester.person, change.requester.door, change.schedule) == ("bob", "schedule", "of-bob")
    assert change.terms is not None
    assert change.terms.excluded.keys() == {"bob", "dave"}
    assert change.terms.voters == ("carol",)
    assert room.decide("bob", change).status_code == 403
    assert room.decide("dave", change).status_code == 403
    withdrawn(room, change)


def test_one_local_time_is_one_change(elsewhen: Workshop) -> None:
    """R39: whoever comes second for one occurrence, by Prefect or by our own round, files nothing."""
    room = elsewhen
    schedule = add(room, "once", "alice", runbook="usb-census", ask={"shells": False}, cron="30 2 * * *")
    night = datetime(2027, 10, 31, 0, 30, tzinfo=UTC)  # 02:30 comes twice
    schedule = _since(room, schedule, night - timedelta(minutes=1))
    first = room.run(take_due(at(room.runtime, night + timedelta(seconds=5)), schedule))
    assert first is not None
    # The very same look once more, as by a run that Prefect made twice; and an hour later, when 02:30 comes again.
    for later in (timedelta(seconds=6), timedelta(hours=1)):
        assert room.run(take_due(at(room.runtime, night + later), schedule)) is None
        fresh = room.store.schedules.one("once")
        assert room.run(take_due(at(room.runtime, night + later), fresh)) is None
    assert [one.change for one in room.store.schedules.occurrences("once")] == [first.id]


def test_two_at_the_same_moment_file_one_change(elsewhen: Workshop) -> None:
    """R39: two runs that ask in the same moment both plan, and the database lets one of them file."""
    room = elsewhen
    schedule = add(room, "both", "alice", runbook="usb-census", ask={"shells": False}, cron="0 4 * * *")
    due = datetime(2027, 5, 3, 2, 0, tzinfo=UTC)
    schedule = _since(room, schedule, due - timedelta(minutes=1))
    runtime = at(room.runtime, due)

    async def race() -> list[Change | None]:
        return list(await asyncio.gather(*(take_due(runtime, schedule) for _ in range(3))))

    filed = [one for one in room.run(race()) if one is not None]
    assert len(filed) == 1


def test_what_is_missed_or_refused_is_recorded_and_told(elsewhen: Workshop) -> None:
    """A missed occurrence, and one whose checks are not met, leave an event with the author and the reason."""
    room = elsewhen
    schedule = add(room, "unmet", ask={"vm": "win-01", "device": "dead:beef"})
    friday = datetime(2027, 1, 8, 17, 0, tzinfo=UTC)
    schedule = _since(room, schedule, friday - timedelta(days=8))
    assert room.run(take_due(at(room.runtime, friday), schedule)) is None
    newest, missed = room.store.schedules.occurrences("unmet")
    assert (missed.outcome, newest.outcome) == (Outcome.SKIPPED, Outcome.NOT_FILED)
    assert "dead:beef" in newest.why
    told = [one.data for one in room.store.events(limit=10_000) if one.type is EventType.OCCURRENCE]
    assert {(one["name"], one["author"]) for one in told if one["name"] == "unmet"} == {("unmet", "alice")}


def test_a_run_with_a_schedules_looks_and_other_parameters_is_not_the_schedules(room: Workshop) -> None:
    """R1: parameters come from our table; others, and schedules that only Prefect knows, are not obeyed."""
    schedule = add(room, "real")
    asked = schedule.rule.ask
    forged = triggered(room.runtime, "usb-attach", "real", {**asked, "vm": "db-01"}, "11111111")
    assert room.run(forged) is None
    strange = room.run(triggered(room.runtime, "usb-attach", "of-the-ui", asked, "22222222"))
    assert isinstance(strange, str)
    assert "does not know" in strange
    early = room.run(triggered(room.runtime, "usb-attach", "real", asked, "33333333"))
    assert isinstance(early, str)
    assert "Nothing of the schedule real is due" in early
    room.call("dave", "POST", "/v1/schedules/real/pause")
    paused = room.run(triggered(room.runtime, "usb-attach", "real", asked, "44444444"))
    assert paused == "The schedule real is paused."
    assert room.call("dave", "POST", "/v1/schedules/real/resume").status_code == 403


def test_an_approval_stands_for_later_runs_with_the_very_same_plan(room: Workshop) -> None:
    """R34: Carol's approval stands until its day or its revocation, for that digest alone; the evidence says so."""
    add(room, "standing")
    first = run(room, "standing")
    day = datetime.now(UTC) + timedelta(days=30)
    too_long = datetime.now(UTC) + timedelta(days=400)
    assert _approve(room, first, too_long).status_code == 403
    assert _approve(room, first, day).status_code == 200
    assert room.ends(first).state is State.DONE
    room.lab.control.reset()

    again = run(room, "standing")
    assert again.digest == first.digest
    done = room.ends(again)
    assert done.state is State.DONE, done.outcome
    (vote,) = room.store.decisions(again.id)
    assert (vote.person, vote.standing_from) == ("carol", first.id)
    assert done.execute_by is not None
    assert done.execute_by <= day

    path = room.home / "evidence" / f"{again.id}.zip"
    until(path.exists, "the evidence is written")
    key = room.store.verifier_key
    assert key is not None
    proven = verify_evidence(path, key.text)
    assert isinstance(proven, Evidence), proven
    assert f"carol's approval was given on {first.id}" in proven.words

    # The stick is in win-01 now: another plan, which is asked for anew, with the difference.
    other = run(room, "standing")
    assert other.state is State.WAITING
    said = [one.data["why"] for one in room.store.events_of(other.id, EventType.OCCURRENCE)]
    assert said
    assert first.id in said[0] or again.id in said[0]
    withdrawn(room, other)
    room.lab.control.reset()

    assert room.call("dave", "POST", "/v1/schedules/standing/revoke").status_code == 200
    after = run(room, "standing")
    assert after.digest == first.digest
    assert after.state is State.WAITING
    assert room.store.decisions(after.id) == ()
    withdrawn(room, after)
    assert isinstance(room.store.verify(), Proven)


def test_an_approval_stands_only_where_policy_lets_it(room: Workshop) -> None:
    """A change of no schedule, and a policy without `standing`, let nothing stand."""
    change = room.request("alice", device="backup-stick")
    refused = _approve(room, change, datetime.now(UTC) + timedelta(days=1))
    assert refused.status_code == 400
    assert "belongs to no schedule" in refused.text
    withdrawn(room, change)


def _approve(room: Workshop, change: Change, day: datetime) -> Any:
    body = {"verdict": "approve", "standing_until": day.isoformat()}
    return room.call("carol", "POST", f"/v1/changes/{change.id}/decisions", **body)


def _since(room: Workshop, schedule: Schedule, since: datetime) -> Schedule:
    """Return the schedule as it stands when all before that moment is settled."""
    moved = schedule.model_copy(update={"since": since})
    room.sql("update schedules set since = ? where name = ?", since.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), schedule.name)
    return moved
