"""Let usb-attach fail at every step and on its way back: what the end claims is what the lab's own state shows.

The judge is `is_honest`: a step that is named as left behind has its effect in the lab, a step that is said to be taken
back has none, and a change that is `done` or `undone` left the lab exactly so.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from passgate.model.change import Change, EventType, State, StepState
from tests.house import House, until
from tests.workshop import Workshop

SENT_ONCE = Counter({"ShutdownGuest": 1, "ReconfigVM_Task": 2, "PowerOnVM_Task": 1})
CALLS = {"the shutdown": ("ShutdownGuest", 1), "the controller": ("ReconfigVM_Task", 1),
         "the device": ("ReconfigVM_Task", 2), "the power-on": ("PowerOnVM_Task", 1)}  # fmt: skip
"""Mutating calls of an attach to win-01: method, and which one of its kind."""


@pytest.mark.parametrize("call", CALLS)
def test_a_refusal_takes_everything_back(workshop: Workshop, call: str) -> None:
    """A fault that repeating would not help ends the change as undone, and the lab is as it was."""
    change, before = requested(workshop), lab_of(workshop)
    fail(workshop, *CALLS[call])
    workshop.decide("bob", change)
    ended = workshop.ends(change)
    assert ended.state is State.UNDONE, ended.outcome
    assert "NotSupported" in ended.outcome
    assert lab_of(workshop) == before
    assert sum(not one["accepted"] for one in workshop.touched()) <= 1, "a refusal was repeated"
    is_honest(workshop, ended, before)


@pytest.mark.parametrize("call", CALLS)
def test_a_connection_lost_right_after_a_call_does_nothing_twice(workshop: Workshop, call: str) -> None:
    """The answer is lost, the act is not: a fresh look finds it, and it is not sent again."""
    change, before = requested(workshop), lab_of(workshop)
    fail(workshop, *CALLS[call], fault="DisconnectAfter", in_task=False)
    workshop.decide("bob", change)
    ended = workshop.ends(change)
    assert ended.state is State.DONE, ended.outcome
    assert Counter(one["method"] for one in workshop.touched() if one["accepted"]) == SENT_ONCE
    is_honest(workshop, ended, before)


BACK = {
    "the power-on of the way back": (("ReconfigVM_Task", 1), ("PowerOnVM_Task", 1), ["Shut down the guest"]),
    "the device": (("PowerOnVM_Task", 1), ("ReconfigVM_Task", 3), ["Add Verbatim", "Add a USB 3"]),
    "the controller": (("PowerOnVM_Task", 1), ("ReconfigVM_Task", 4), ["Add a USB 3"]),
}
"""What is not taken back: the call that fails first, the call of the way back that fails, and what is left then."""


@pytest.mark.parametrize("what", BACK)
def test_a_way_back_that_is_refused_stops_and_says_what_is_left(workshop: Workshop, what: str) -> None:
    """A person is needed, and learns exactly what is and what isn't so; the rest is taken back all the same."""
    first, then, left = BACK[what]
    change, before = requested(workshop), lab_of(workshop)
    fail(workshop, *first)
    fail(workshop, *then, after=first)
    workshop.decide("bob", change)
    ended = workshop.ends(change)
    assert ended.state is State.STOPPED, ended.outcome
    assert all(title in ended.outcome for title in left)
    assert "A person is needed" in ended.outcome
    is_honest(workshop, ended, before)


def test_a_way_back_over_a_bad_line_is_tried_again(house: House) -> None:
    """Connections that break while Prefect's run takes steps back cost time, not the way back."""
    change, before = requested(house), lab_of(house)
    fail(house, "PowerOnVM_Task", 1)
    fail(house, "ReconfigVM_Task", 3, after=("PowerOnVM_Task", 1), fault="Disconnect", in_task=False)
    fail(house, "ReconfigVM_Task", 1, fault="DisconnectAfter", in_task=False)
    house.decide("bob", change)
    ended = house.ends(change)
    assert ended.state is State.UNDONE, ended.outcome
    assert lab_of(house) == before
    is_honest(house, ended, before)


def test_a_shell_that_refuses_leaves_the_vm_alone(workshop: Workshop) -> None:
    """The arbitrator can't be started, so nothing after it is begun."""
    change, before = requested(workshop, vm="lnx-02"), lab_of(workshop)
    fail(workshop, "ssh:exec", 3, fault="exit 1", message="usbarbitrator: no memory")  # after two readings
    workshop.decide("bob", change)
    ended = workshop.ends(change)
    assert ended.state is State.UNDONE, ended.outcome
    assert "usbarbitrator: no memory" in ended.outcome
    assert lab_of(workshop) == before


def test_a_stick_that_is_pulled_out_on_the_way_takes_everything_back(workshop: Workshop) -> None:
    """The VM is powered on without the device: the change does not claim it, and gives the VM back as it was."""
    change, before = requested(workshop), lab_of(workshop)
    workshop.lab.control.fault("PowerOnVM_Task", delay=1.0)
    workshop.decide("bob", change)
    until(
        lambda: "PowerOnVM_Task" in {one["method"] for one in workshop.touched()},
        "power-on",
        told=workshop.told(change),
    )
    workshop.lab.control.unplug("esx-01.lab.example", "0/1/3")
    ended = workshop.ends(change)
    assert ended.state is State.UNDONE, ended.outcome
    assert lab_of(workshop) == before
    is_honest(workshop, ended, before)


def requested(house: House, **ask: Any) -> Change:
    """File a change, and wait until its run sleeps at the gate."""
    change = house.request(**ask)
    house.suspended(change)
    return change


def fail(house: House, method: str, nth: int, *, after: tuple[str, int] | None = None, **how: Any) -> None:
    """Let the nth call of a method fail, the ones before pass; `after` skips what an earlier fault already counts."""
    seen = nth - 1 if after is None or after[0] != method else nth - 1 - after[1]
    for _ in range(seen):
        house.lab.control.fault(method)
    house.lab.control.fault(method, **{"fault": "NotSupported", **how})


def lab_of(house: House) -> dict[str, Any]:
    """Return what the lab says of the VMs and arbitrators, without what differs from moment to moment."""
    state = house.lab.control.state()
    vms = {
        vm["name"]: (vm["power"], vm["controllers"], [(one["pattern"], one["hostname"]) for one in vm["usb"]])
        for vm in state["vms"]
    }
    return {**vms, **{host["name"]: host["arbitrator"] for host in state["hosts"]}}


def is_honest(house: House, change: Change, before: dict[str, Any]) -> None:
    """Compare what the end and the journal claim of win-01 with what the lab shows."""
    power, controllers, devices = lab_of(house)["win-01"]
    effects = {
        "power.Off": power == "poweredOff",
        "usb.AddController": bool(controllers),
        "usb.AddDevice": bool(devices),
    }
    for one in house.store.journal(change.id):
        if one.kind not in effects:
            continue
        if change.state is State.STOPPED:
            assert (one.title in change.outcome.partition(": ")[2]) is effects[one.kind], (one.title, change.outcome)
        if one.state is StepState.UNDONE:
            assert not effects[one.kind], one.title
    if change.state is State.DONE:
        vm = house.lab.control.vm("win-01")
        assert (vm["power"], [entry["connected"] for entry in vm["usb"]]) == ("poweredOn", [True])
    if change.state is State.UNDONE:
        assert lab_of(house) == before
    until(lambda: EventType.EVIDENCE in {event.type for event in house.store.events(change=change.id)}, "evidence")
