"""Hold changes to windows and freezes, on the lab's vCenter, with a clock that is set; the lab's log is the judge."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from passgate.engine.beginning import begin
from passgate.engine.calendar_desk import explain, override
from passgate.engine.carrying import Attempt, Carrying
from passgate.engine.clockwork import Clockwork
from passgate.engine.filing import file_change
from passgate.engine.gate import settle
from passgate.engine.runtime import Runtime
from passgate.errors import InputError, NotAuthorizedError, PolicyError, UnknownNameError
from passgate.ledger.offline import BadEvidenceError, check
from passgate.model.change import Actor, Door, Event, EventType, State, StepState
from tests.calendar_room import BOB, CAROL, EVENING, HOUR, MINUTE, Room, freeze, window
from tests.contract.vsphere_places import Place, lab
from tests.engine_room import ALICE, engine_on, with_test_content

DONE, UNDONE, PENDING, REFUSED = StepState.DONE, StepState.UNDONE, StepState.PENDING, StepState.REFUSED
STEPS = "off, restart, on"
END = EVENING + 2 * HOUR


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Run the lab's vCenter."""
    with lab(tmp_path) as opened:
        yield opened


@pytest.fixture
def runtime(place: Place, tmp_path: Path) -> Iterator[Runtime]:
    """Open a runtime on it that knows the steps of tests/content."""
    with engine_on(place, tmp_path / "home") as opened:
        yield with_test_content(opened)


def calls(place: Place) -> list[str]:
    """Return the calls that asked the lab to change something."""
    assert place.world is not None
    return [one.method for one in place.world.mutations]


# Waiting for an opening


async def test_an_approved_change_waits_for_its_window_and_begins_in_it(runtime: Runtime, place: Place) -> None:
    """R36: outside of its window nothing is sent, however often the run is woken; in it, the change is carried out."""
    room = Room.with_calendar(runtime, place, window())
    change = await room.approved(STEPS)
    assert (change.state, change.starts_at) == (State.SCHEDULED, EVENING)
    assert (await room.run(change)).state is State.SCHEDULED
    room.now = EVENING - timedelta(seconds=1)
    assert (await room.run(change)).state is State.SCHEDULED
    assert calls(place) == []
    room.now = EVENING
    assert (await room.run(change)).state is State.DONE
    assert len(calls(place)) == 2
    assert f"ended as done at {EVENING:%Y-%m-%d}" in check_evidence(room)


def check_evidence(room: Room) -> str:
    """Return what the evidence of the only change proves, offline."""
    key = room.runtime.store.verifier_key
    assert key is not None
    return check(room.runtime.home / "evidence/CHG-0001.zip", key.text).words


async def test_the_second_clock_runs_from_the_first_opening(runtime: Runtime, place: Place) -> None:
    """An approval never ends before the first window that it could use; from then on it counts (four hours here)."""
    room = Room.with_calendar(runtime, place, window())
    change = await room.approved(STEPS)
    assert change.execute_by == EVENING + 4 * HOUR
    room.now = EVENING - MINUTE
    assert settle(room.runtime, change).state is State.SCHEDULED
    room.now = EVENING + 4 * HOUR
    ended = settle(room.runtime, change)
    assert ended.state is State.EXPIRED
    assert "approved, but not begun by 2026-11-24 02:00 UTC" in ended.outcome
    assert calls(place) == []


async def test_a_window_that_was_missed_is_followed_by_the_next(runtime: Runtime, place: Place) -> None:
    """A change that nobody woke in its window waits for the next one, and says so once."""
    room = Room.with_calendar(runtime, place, window())
    change = await room.approved(STEPS)
    room.now = END
    for _ in range(3):
        change = await room.run(change)
    assert (change.state, change.starts_at) == (State.SCHEDULED, EVENING + 24 * HOUR)
    moved = room.runtime.store.events_of(change.id, EventType.RESCHEDULED)
    assert [one.data["starts_at"][:16] for one in moved] == ["2026-11-24T22:00"]


async def test_a_run_that_does_not_fit_any_more_waits_for_the_next_window(runtime: Runtime, place: Place) -> None:
    """The expected time of the plan's steps is held against what is left: two minutes before the end it is too long."""
    room = Room.with_calendar(runtime, place, window())
    change = await room.approved(STEPS)
    room.now = END - 2 * MINUTE
    change = await room.run(change)
    assert (change.state, change.starts_at) == (State.SCHEDULED, EVENING + 24 * HOUR)
    assert calls(place) == []
    told = await explain(room.runtime, change.id, None, ALICE)
    assert "It needs 3 min, and only 2 min are left" in " ".join(told.lines)


async def test_what_steps_took_before_is_believed_more_than_their_class(runtime: Runtime, place: Place) -> None:
    """After enough runs the journal tells how long the same steps take, here no time at all."""
    room = Room.with_calendar(runtime, place)
    for _ in range(5):
        assert (await room.run(await room.approved("restart"))).state is State.DONE
    room.under(window())
    change = await room.approved("restart")
    told = await explain(room.runtime, change.id, None, ALICE)
    assert told.takes is not None
    assert told.takes < timedelta(seconds=1)


async def test_it_begins_no_earlier_than_asked(runtime: Runtime, place: Place) -> None:
    """`not_before` makes a change wait like a window does; without an offset it is meant in the site's zone."""
    room = Room.with_calendar(runtime, place)
    change = await room.approved(STEPS, not_before="2026-11-24T08:00")
    assert (change.state, change.starts_at) == (State.SCHEDULED, EVENING + 10 * HOUR)
    assert change.execute_by == EVENING + 14 * HOUR
    room.now = EVENING + 10 * HOUR
    assert (await room.run(change)).state is State.DONE


async def test_the_clockwork_wakes_what_is_due_and_lets_sleep_what_is_not(runtime: Runtime, place: Place) -> None:
    """Nothing but a doorbell begins a scheduled change: it is rung at its opening, and not before."""
    room = Room.with_calendar(runtime, place, window())
    await room.approved(STEPS)
    _, bell = room.desk()
    clockwork = Clockwork(room.runtime, bell)
    with_run = room.runtime.store.set_flow_run
    with_run("CHG-0001", "run-1")
    await clockwork.round()
    assert bell.rung == []
    room.now = EVENING
    await clockwork.round()
    assert bell.rung == ["CHG-0001"]


async def test_another_calendar_is_looked_at_when_the_service_starts_anew(runtime: Runtime, place: Place) -> None:
    """A window that was added opens what waits, and one freeze more closes it, without anybody touching the change."""
    room = Room.with_calendar(runtime, place, window())
    await room.approved(STEPS)
    _, bell = room.desk()
    room.under(window(), window(name="noon", when=[{"start": "2026-11-23 12:00", "duration": "1h"}]))
    await Clockwork(room.runtime, bell).look_with_this_calendar()
    assert room.runtime.store.change("CHG-0001").starts_at == EVENING - 10 * HOUR
    room.under(window(), freeze())
    await Clockwork(room.runtime, bell).look_with_this_calendar()
    assert room.runtime.store.change("CHG-0001").starts_at == EVENING + 24 * HOUR


async def test_a_scheduled_change_can_be_withdrawn(runtime: Runtime, place: Place) -> None:
    """R33: to take a change back works while it waits for its window, and says what it did."""
    room = Room.with_calendar(runtime, place, window())
    change = await room.approved(STEPS)
    desk, _ = room.desk()
    ended = await desk.withdraw(change.id, ALICE, "not needed any more")
    assert ended.state is State.WITHDRAWN
    assert "withdrawn by alice" in ended.outcome
    room.now = EVENING
    assert (await room.run(change)).state is State.WITHDRAWN
    assert calls(place) == []


# Freezes


async def test_a_freeze_stops_what_policy_authorises_in_advance_too(runtime: Runtime, place: Place) -> None:
    """R38: a freeze stops runs whoever asked, by whichever door: here a standard change, which nobody approves."""
    room = Room.with_calendar(runtime, place, freeze(runbooks=["usb-census"]))
    for door in Door:
        change = await file_change(room.runtime, "usb-census", {}, Actor(person="alice", door=door))
        assert change.state is State.SCHEDULED, door
        assert change.starts_at == EVENING + 2 * HOUR
        assert (await room.run(change)).state is State.SCHEDULED


async def test_a_call_in_a_freeze_is_refused_whatever_the_state_says(runtime: Runtime, place: Place) -> None:
    """R38: the last look before each call asks the calendar, so that a state forced by hand lets nothing through."""
    room = Room.with_calendar(runtime, place, freeze())
    change = await room.approved("off")
    store, plan = room.runtime.store, change.plan
    assert plan is not None
    tokens = store.take_leases(change.id, plan.resources, timedelta(minutes=2), room.now)
    store.begin(change.id, plan.steps, (), ALICE, "forced", room.now, tokens)  # a door that only tests have
    with pytest.raises(NotAuthorizedError, match=r"freeze 'stop' .* holds until"):
        await Carrying(room.runtime, change.id, plan, tokens).step(plan.steps[0], Attempt())
    assert calls(place) == []
    refused = store.events_of(change.id, EventType.REFUSED)
    assert "the calendar is closed for CHG-0001" in refused[0].data["why"]


async def test_an_override_needs_a_named_role_and_a_reason_and_is_on_record(runtime: Runtime, place: Place) -> None:
    """R37: who asked, who is not named, and no reason are refused; an override is told, shown, and in the evidence."""
    room = Room.with_calendar(runtime, place, freeze(), freeze(name="other", vms=["db-*"]))
    change = await room.approved(STEPS)
    desk, bell = room.desk()
    dave = BOB.model_copy(update={"person": "dave"})
    for who, name, reason, error, words in (
        (CAROL, "stop", " ", InputError, "needs a reason"),
        (CAROL, "stopp", "fire", UnknownNameError, "There is no freeze 'stopp'"),
        (CAROL, "other", "fire", InputError, "not about this change"),
        (ALICE, "stop", "fire", PolicyError, "alice, who asks for it, can't"),
        (dave, "stop", "fire", PolicyError, "dave is not among those"),
    ):
        with pytest.raises(error, match=words):
            await desk.override(change.id, who, name, reason)
    assert (await room.run(change)).state is State.SCHEDULED
    let = await desk.override(change.id, CAROL, "stop", "The till of the emergency room is down")
    await asyncio.sleep(0)
    assert (let.starts_at, bell.rung) == (room.now, [change.id])
    assert [(one.freeze, one.person) for one in let.overrides] == [("stop", "carol")]
    assert (await desk.override(change.id, CAROL, "stop", "again")).overrides == let.overrides
    told = room.runtime.store.events_of(change.id, EventType.OVERRIDDEN)
    assert [(one.actor, one.data["freeze"]) for one in told] == [(CAROL, "stop")]
    assert (await room.run(change)).state is State.DONE
    assert "carol let it through the freeze stop" in check_evidence(room)


async def test_an_override_is_for_one_change_only(runtime: Runtime, place: Place) -> None:
    """R37: what one change was let through stops the next one."""
    room = Room.with_calendar(runtime, place, freeze())
    first, second = await room.approved(STEPS), await room.approved(STEPS)
    override(room.runtime, first.id, CAROL, "stop", "The till is down")
    assert (await room.run(second)).state is State.SCHEDULED
    assert (await room.run(first)).state is State.DONE


async def test_evidence_with_an_override_by_who_asked_is_refused_offline(runtime: Runtime, place: Place) -> None:
    """R37: whoever writes such an event past the engine is found out by who checks the evidence."""
    room = Room.with_calendar(runtime, place)
    change = await room.approved(STEPS)
    data = {"freeze": "stop", "reason": "because", "digest": change.digest or ""}
    event = Event(type=EventType.OVERRIDDEN, change=change.id, actor=ALICE, at=room.now, data=data)
    room.runtime.store.append(event)
    with pytest.raises(AssertionError):
        await room.run(change)  # the ledger does not verify
    with pytest.raises(BadEvidenceError, match="alice overrode the freeze stop for a change of their own"):
        check_evidence(room)


async def test_an_entry_may_be_about_some_kinds_of_changes_only(runtime: Runtime, place: Place) -> None:
    """A freeze of normal changes does not stop an emergency; it waits for its approvals, and for nothing else."""
    room = Room.with_calendar(runtime, place, freeze(kinds=["normal"]))
    assert (await room.approved(STEPS)).state is State.SCHEDULED
    assert (await room.approved(STEPS, urgency="emergency", reason="The till is down")).state is State.APPROVED


async def test_broken_glass_passes_by_windows_and_freezes_where_policy_says_so(runtime: Runtime, place: Place) -> None:
    """As shipped, who breaks the glass is not held up by a freeze, and what the calendar says names that."""
    room = Room.with_calendar(runtime, place, freeze())
    change = await file_change(
        room.runtime,
        "prove-steps",
        {"vm": "win-01", "steps": STEPS, "urgency": "break-glass", "reason": "The ward has no labels"},
        Actor(person=room.on_call, door=Door.CLI),
    )
    assert change.state is State.APPROVED
    told = await explain(room.runtime, change.id, None, ALICE)
    assert "The glass was broken, and policy lets that pass by windows and freezes" in " ".join(told.lines)
    assert (await room.run(change)).state is State.DONE


# A run that is still going


@pytest.mark.parametrize(
    ("overrun", "state", "journal", "power"),
    [
        ("finish-run", State.DONE, [DONE, DONE, DONE], "on"),
        ("finish-step", State.STOPPED, [DONE, REFUSED, PENDING], "off"),
        ("take-back", State.UNDONE, [UNDONE, REFUSED, PENDING], "on"),
    ],
)
@pytest.mark.parametrize("by", ["window", "freeze"])
async def test_what_becomes_of_a_run_that_is_caught_is_policy(  # noqa: PLR0917 - the parts of one case
    runtime: Runtime, place: Place, by: str, overrun: str, state: State, journal: list[StepState], power: str
) -> None:
    """R36: at the border of the next step a run goes on, stops with its exact state, or takes back what was done."""
    night = freeze("2026-11-23 23:00", "2h", overrun=overrun)
    room = Room.with_calendar(runtime, place, *((window(overrun=overrun),) if by == "window" else (night,)))
    room.now = EVENING
    change = await room.approved(STEPS)
    room.goes_on_to(END if by == "window" else EVENING + HOUR)
    ended = await room.run(change)
    assert (ended.state, room.states(change), room.power()) == (state, journal, power)
    if overrun == "finish-step":
        assert "Power off win-01: done" in ended.outcome
        assert "the calendar is closed" in ended.outcome
    assert check_evidence(room)


async def test_what_is_temporary_is_given_back_when_a_run_stops(runtime: Runtime, place: Place) -> None:
    """R36: a run that stops at a border leaves what it was for as it is, but nothing that was for the way only."""
    room = Room.with_calendar(runtime, place, window(overrun="finish-step"))
    room.now = EVENING
    change = await room.approved("off, held, restart, on")
    room.goes_on_to(END, after=1)
    ended = await room.run(change)
    assert ended.state is State.STOPPED
    assert room.states(change) == [DONE, UNDONE, REFUSED, PENDING]
    assert place.found()[0].controllers == ()


async def test_a_step_that_was_begun_in_time_is_ended(runtime: Runtime, place: Place) -> None:
    """R36: a run that died in the middle of a step ends that step after the window, and begins no further one."""
    room = Room.with_calendar(runtime, place, window(overrun="finish-step"))
    room.now = EVENING
    change = await room.approved(STEPS)
    room.goes_on_to(END)
    store = room.runtime.store
    taken = await begin(room.runtime, change)
    assert taken is not None
    event = Event(type=EventType.STEP_INTENT, change=change.id, actor=ALICE, at=room.now, data={"step": "0"})
    store.step(change.id, 0, StepState.INTENT, event, attempt=True)
    room.now = END + MINUTE
    ended = await room.run(change)
    assert (ended.state, room.states(change)) == (State.STOPPED, [DONE, REFUSED, PENDING])


async def test_a_run_that_dies_on_its_way_back_goes_on_back(runtime: Runtime, place: Place) -> None:
    """R36: what the calendar said becomes of the run is on record: a process that goes on takes back as well."""
    room = Room.with_calendar(runtime, place, window(overrun="take-back"))
    room.now = EVENING
    change = await room.approved(STEPS)
    room.goes_on_to(END)
    room.dies_on_the_way_back = True
    with pytest.raises(SystemExit):
        await room.run(change)
    room.dies_on_the_way_back = False
    assert room.power() == "off"
    ended = await room.run(change)
    assert (ended.state, room.power()) == (State.UNDONE, "on")


async def test_nothing_begins_when_the_window_ends_right_after_the_change_was_begun(
    runtime: Runtime, place: Place
) -> None:
    """R36: where no step was begun in time, finish-run has no run to finish: nothing is changed."""
    room = Room.with_calendar(runtime, place, window())
    room.now = EVENING
    change = await room.approved(STEPS)
    assert await begin(room.runtime, change) is not None
    room.now = END
    ended = await room.run(change)
    assert ended.state is State.UNDONE
    assert "Nothing was changed" in ended.outcome
    assert calls(place) == []


async def test_a_second_gate_closes_with_the_window(runtime: Runtime, place: Place) -> None:
    """Nobody's word may let a reboot happen outside of its window: what is open then expires, and is taken back."""
    room = Room.with_calendar(runtime, place, window())
    room.now = EVENING + HOUR
    change = await room.approved("off, on behind gate")
    change = await room.run(change)
    assert change.open_gate is not None
    assert change.open_gate.approve_by == END
    room.now = END
    ended = await room.run(settle(room.runtime, change))
    assert (ended.state, room.power()) == (State.UNDONE, "on")


# Explaining


async def test_the_calendar_is_explained_in_plain_words(runtime: Runtime, place: Place) -> None:
    """R36: for a runbook on a host or VM, at any time, with what to do."""
    room = Room.with_calendar(runtime, place, window(hosts=["esx-01.*"]), freeze(text="Stocktaking"))
    told = await explain(room.runtime, "usb-attach@esx-01.lab.example", "2026-11-23 22:30", ALICE)
    assert told.lines == (
        "usb-attach on esx-01.lab.example at Mon 2026-11-23 22:30 UTC: closed, until Tue 2026-11-24 22:00 UTC.",
        "  Freeze 'stop' (Stocktaking) holds until Tue 2026-11-24 00:00 UTC.",
        "  Window 'evenings' is open until Tue 2026-11-24 00:00 UTC.",
        "  How long it takes is known once there is a plan; it has to fit into what is left.",
        "  It may begin at Tue 2026-11-24 22:00 UTC.",
        "  The freeze 'stop' can be overridden by members of operations, with a reason, never for their own change.",
    )
    on_vm = await explain(room.runtime, "usb-attach@vm:win-01", "2026-11-24T23:30+01:00", ALICE)
    assert on_vm.lines[0].startswith("usb-attach on win-01 at Tue 2026-11-24 22:30 UTC: it may begin")
    assert on_vm.opening.until == datetime.fromisoformat("2026-11-25T00:00+00:00")


@pytest.mark.parametrize(
    ("about", "at", "error", "words"),
    [
        ("usb-attach@esx-09", None, UnknownNameError, "There is no host or VM 'esx-09'"),
        ("usb-attach@vm:esx-01.lab.example", None, UnknownNameError, "There is no vm 'esx-01.lab.example'"),
        ("usb-attach@rack:7", None, InputError, "names no VM and no host"),
        ("usb-atach", None, UnknownNameError, "usb-atach"),
        ("CHG-0099", None, UnknownNameError, "CHG-0099"),
        ("usb-attach", "tomorrow", InputError, "'tomorrow' is no time"),
    ],
)  # fmt: skip
async def test_what_cannot_be_explained_is_said(  # noqa: PLR0917 - the parts of one case
    runtime: Runtime, place: Place, about: str, at: str | None, error: type[Exception], words: str
) -> None:
    """A name or time that can't be used is named, with what is accepted."""
    room = Room.with_calendar(runtime, place)
    with pytest.raises(error, match=words):
        await explain(room.runtime, about, at, ALICE)
