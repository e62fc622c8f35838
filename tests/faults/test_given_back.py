"""Give back what is temporary on every end, and carry a remedy out only where it is called for.

The steps are those of tests/content, on the lab's vCenter; the engine runs without Prefect.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from passgate.engine.authority import ENGINE
from passgate.engine.beginning import LEASE
from passgate.engine.carrying import Attempt, Carrying
from passgate.engine.ending import end
from passgate.engine.runtime import Runtime, utc_now
from passgate.errors import PassgateError, SupersededError
from passgate.ledger.verify import Proven
from passgate.model.change import Change, EventType, Gate, GateState, State, StepState
from tests.contract.vsphere_places import Place, lab
from tests.engine_room import approved, begun, engine_on, with_test_content

UNDONE, DONE, NOT_NEEDED, PENDING = StepState.UNDONE, StepState.DONE, StepState.NOT_NEEDED, StepState.PENDING


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


async def carrying_of(runtime: Runtime, steps: str) -> Carrying:
    """Begin a change with these steps."""
    return await begun(runtime, await approved(runtime, "prove-steps", {"vm": "win-01", "steps": steps}))


async def forward(carrying: Carrying) -> str | None:
    """Do the steps in order; return why it can't go on, if so."""
    for planned in carrying.plan.steps:
        try:
            await carrying.step(planned, Attempt())
        except PassgateError as error:
            return error.message
    return None


async def ended(runtime: Runtime, carrying: Carrying, failed: str | None) -> Change:
    """End the change, and see that its record holds."""
    change = await end(runtime, runtime.store.change(carrying.change), failed, carrying.tokens)
    assert isinstance(runtime.store.verify(), Proven)
    return change


def states(runtime: Runtime, carrying: Carrying) -> list[StepState]:
    """Return the state of each step."""
    return [entry.state for entry in runtime.store.journal(carrying.change)]


def controllers(place: Place) -> int:
    """Return how many USB controllers the VM has."""
    return len(place.found()[0].controllers)


def power(place: Place) -> str:
    """Return whether the VM is on."""
    return place.found()[0].power.value


async def test_what_is_temporary_is_given_back_where_policy_leaves_the_rest(runtime: Runtime, place: Place) -> None:
    """The step that failed leaves the VM off, as policy says, but not the controller that was for the way only."""
    carrying = await carrying_of(runtime, "off, held, fail")
    failed = await forward(carrying)
    assert failed is not None
    assert controllers(place) == 2  # the failed step's own call was taken
    await carrying.take_back(only_temporary=True)
    assert states(runtime, carrying) == [DONE, UNDONE, StepState.FAILED]
    assert (controllers(place), power(place)) == (1, "off")
    change = await ended(runtime, carrying, failed)
    assert change.state is State.STOPPED
    assert "Power off win-01: done" in change.outcome
    assert "Add a USB 3 (xHCI) controller" not in change.outcome.partition("Left as it is")[2].partition("EHCI")[0]


async def test_what_a_runbook_does_not_end_is_given_back_on_success(runtime: Runtime, place: Place) -> None:
    """A change that is done holds nothing that was temporary, and one that dies meanwhile goes on giving back."""
    carrying = await carrying_of(runtime, "off, held, restart")
    assert await forward(carrying) is None
    assert controllers(place) == 1
    assert await carrying.give_back() is None
    assert (controllers(place), power(place)) == (0, "off")
    assert states(runtime, carrying) == [DONE, UNDONE, DONE]
    # A process that died right then finds it so, does nothing again, and is not on its way back.
    again = anew(runtime, carrying)
    assert again.why_on_the_way_back() is None
    assert await forward(again) is None
    assert await again.give_back() is None
    assert controllers(place) == 0
    assert (await ended(runtime, again, None)).state is State.DONE


async def test_what_a_step_of_the_plan_gave_back_is_left_alone(runtime: Runtime, place: Place) -> None:
    """After it nothing is given back a second time, on success or on the way back."""
    carrying = await carrying_of(runtime, "off, held until, given back, on, fail")
    failed = await forward(carrying)
    assert failed is not None
    assert await carrying.give_back() is None
    before = len(mutations(place))
    await carrying.take_back()
    # Only the power-on and the power-off are taken back: not the controller that was given back.
    assert mutations(place)[before:] == ["ShutdownGuest", "PowerOnVM_Task"]
    assert states(runtime, carrying) == [UNDONE] * 5
    assert (await ended(runtime, carrying, failed)).state is State.UNDONE


async def test_a_step_that_ends_a_temporary_one_and_fails_is_settled_with_it(runtime: Runtime, place: Place) -> None:
    """The engine gives back itself what the runbook's own step could not."""
    carrying = await carrying_of(runtime, "off, held until, given back")
    for planned in carrying.plan.steps[:2]:
        await carrying.step(planned, Attempt())
    carrying.sent.add(2)
    closing = carrying.plan.steps[2]
    carrying._record(closing, StepState.FAILED, EventType.STEP_INTENT, error="no answer")
    assert carrying.why_on_the_way_back() == f"{closing.title}: no answer"
    await carrying.take_back(only_temporary=True)
    assert states(runtime, carrying) == [DONE, UNDONE, UNDONE]
    assert controllers(place) == 0


async def test_what_nothing_stays_of_counts_as_taken_back_once_it_was_done(runtime: Runtime, place: Place) -> None:
    """A finished restart leaves nothing; one of which nobody knows whether it came to its end is not claimed so."""
    carrying = await carrying_of(runtime, "off, restart, fail")
    failed = await forward(carrying)
    await carrying.take_back()
    entry = runtime.store.journal(carrying.change)[1]
    assert (entry.state, entry.saw) == (UNDONE, "a restart leaves nothing behind")
    assert (await ended(runtime, carrying, failed)).state is State.UNDONE
    assert power(place) == "on"

    cut_off = await carrying_of(runtime, "off, restart, on")
    await cut_off.step(cut_off.plan.steps[0], Attempt())
    cut_off._record(cut_off.plan.steps[1], StepState.INTENT, EventType.STEP_INTENT)
    await cut_off.take_back()
    assert states(runtime, cut_off) == [UNDONE, StepState.UNKNOWN, PENDING]


async def test_a_remedy_is_carried_out_only_where_all_is_not_well(runtime: Runtime, place: Place) -> None:
    """What was seen says why it was not needed; what it told while it looked is in the record."""
    spared = await carrying_of(runtime, "on if off")
    assert await forward(spared) is None
    (entry,) = runtime.store.journal(spared.change)
    assert (entry.state, entry.saw, entry.attempts) == (NOT_NEEDED, "win-01 is on", 0)
    assert mutations(place) == []
    told = [one for one in runtime.store.events(change=spared.change) if one.type is EventType.NOTICED]
    assert [(one.data["saw"], one.data["facts"]) for one in told] == [("looked at win-01", {"on": True})]
    await ended(runtime, spared, None)

    needed = await carrying_of(runtime, "off, on if off")
    assert await forward(needed) is None
    assert states(runtime, needed) == [DONE, DONE]
    assert power(place) == "on"
    assert (await ended(runtime, needed, None)).state is State.DONE


async def test_a_remedy_behind_a_gate_that_policy_does_not_offer_is_not_carried_out(
    runtime: Runtime, place: Place
) -> None:
    """The steps after it judge what that means."""
    carrying = await carrying_of(runtime, "off, on if off behind gate")
    without_terms(runtime, carrying)
    assert await forward(carrying) is None
    entry = runtime.store.journal(carrying.change)[1]
    assert (entry.state, entry.saw) == (NOT_NEEDED, "policy offers no guest-reboot; win-01 is off")
    assert power(place) == "off"


async def test_words_of_a_run_that_was_taken_over_are_not_recorded(runtime: Runtime, place: Place) -> None:
    """A run that lost its leases tells nobody anything."""
    carrying = await carrying_of(runtime, "off, on if off")
    runtime.store.take_leases(carrying.change, carrying.plan.resources, LEASE, utc_now())
    with pytest.raises(SupersededError, match="does not hold"):
        await carrying.is_called_for(carrying.plan.steps[1], Attempt())
    assert EventType.NOTICED not in {one.type for one in runtime.store.events(change=carrying.change)}


async def test_a_gate_that_was_opened_in_the_database_is_worth_nothing(runtime: Runtime, place: Place) -> None:
    """A row that says `passed` has no votes behind it: they are counted before each call."""
    carrying = await carrying_of(runtime, "off, on behind gate")
    await carrying.step(carrying.plan.steps[0], Attempt())
    now = utc_now()
    row = Gate(name="host-reboot", step=1, opened_at=now, approve_by=now + LEASE)
    assert "the gate host-reboot of CHG-0001 was not passed" in (await refused(carrying))
    runtime.store.open_gate(carrying.change, row, ENGINE, keep=LEASE, tokens=carrying.tokens)
    assert "the gate host-reboot of CHG-0001 was not passed" in (await refused(carrying))
    shut = row.model_copy(update={"state": GateState.PASSED})
    runtime.store.settle_gate(carrying.change, shut, ENGINE, now)
    assert "not approved at the gate host-reboot: 0 of 1 approvals" in (await refused(carrying))
    assert mutations(place) == ["PowerOffVM_Task"]
    await carrying.take_back()
    assert power(place) == "on", "what was begun may be taken back without the gate"


async def test_the_restore_point_holds_each_vm_that_the_change_acts_on(runtime: Runtime, place: Place) -> None:
    """How a VM was before is in the record before the first step, in depth."""
    carrying = await carrying_of(runtime, "off, held")
    events = runtime.store.events(change=carrying.change)
    points = [one.data for one in events if one.type is EventType.RESTORE_POINT]
    assert [(one["vm"], one["config"]["power"]) for one in points] == [("win-01", "on")]
    assert points[0]["config"]["change_version"]


async def refused(carrying: Carrying) -> str:
    """Try the second step; return why it was refused, and put the journal back."""
    planned = carrying.plan.steps[1]
    with pytest.raises(PassgateError) as caught:
        await carrying.step(planned, Attempt())
    carrying._record(planned, PENDING, EventType.STEP_OUTCOME)
    return caught.value.message


def anew(runtime: Runtime, carrying: Carrying) -> Carrying:
    """Carry the change on as another process does."""
    tokens = runtime.store.take_leases(carrying.change, carrying.plan.resources, LEASE, utc_now())
    return Carrying(runtime, carrying.change, carrying.plan, tokens)


def without_terms(runtime: Runtime, carrying: Carrying) -> None:
    """Let the change's policy know no gates."""
    terms = runtime.store.change(carrying.change).terms
    assert terms is not None
    plain: Any = terms.model_copy(update={"gates": {}}).model_dump_json()
    with runtime.store._database.writing() as connection:
        connection.exec_driver_sql("update changes set terms = ? where id = ?", (plain, carrying.change))


def mutations(place: Place) -> list[str]:
    """Return the mutating calls that the lab took."""
    assert place.world is not None
    return [one.method for one in place.world.mutations if one.wire == "soap"]
