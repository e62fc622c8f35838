"""Move a VM with its USB device away and bring it home, from the requests to the evidence, and end honestly."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from passgate.model.change import Change, EventType, State, StepState
from tests.house import House, until
from tests.workshop import Workshop

ESX_01, ESX_02 = "esx-01.lab.example", "esx-02.lab.example"
EFFECTS = {
    "cluster.KeepPoweredOn": lambda lab: lab["dpm"] is False,
    "vmotion.Move": lambda lab: lab["host"] == lab["asked"],
    "power.On": lambda lab: lab["power"] == "poweredOn",
    "power.Resume": lambda lab: lab["power"] == "poweredOn",
}
"""Kind of step -> whether its effect is in the lab."""


@pytest.fixture
def dongle(workshop: Workshop) -> Workshop:
    """Give win-01 a stick with vMotion support, on a cluster that powers idle hosts off."""
    with_dongle(workshop)
    return workshop


def with_dongle(house: House) -> None:
    """Give win-01 that stick, on that cluster."""
    house.lab.control.attach("win-01", ESX_01, "0/1/3")
    house.lab.control.dpm(on=True)


def request(house: House, runbook: str, **ask: Any) -> Change:
    """File a change for win-01, and wait until its run sleeps at the gate."""
    answer = house.call(
        "alice", "POST", "/v1/changes", runbook=runbook, ask={"vm": "win-01", "reason": "a test", **ask}
    )
    assert answer.status_code < 300, answer.text
    change = house.store.change(str(answer.json().get("change", answer.json())["id"]))
    house.suspended(change)
    return change


def migrate(house: House) -> Change:
    """Ask for win-01 to move to the second host."""
    return request(house, "usb-migrate", to=ESX_02)


def away(house: House, power: str) -> None:
    """Let win-01 be on the second host, in that power state."""
    house.lab.control.set_vm("win-01", host=ESX_02, power=power)


def lab_of(house: House, asked: str) -> dict[str, Any]:
    """Return what the lab says of win-01 and of the host of its stick."""
    vm, host = house.lab.control.vm("win-01"), house.lab.control.host("esx-01")
    return {"host": vm["host"], "power": vm["power"], "dpm": host["dpm"], "asked": asked}


def fails(house: House, method: str, fault: str = "NotSupported", *, skip: int = 0, **how: Any) -> None:
    """Let a call fail after so many that pass."""
    for _ in range(skip):
        house.lab.control.fault(method)
    house.lab.control.fault(method, fault, **how)


def is_honest(house: House, change: Change, before: dict[str, Any]) -> None:
    """Compare what the end and the journal claim with what the lab shows, and see that there is evidence."""
    now = lab_of(house, before["asked"])
    for one in house.store.journal(change.id):
        if one.kind in EFFECTS and one.state is StepState.DONE:
            assert EFFECTS[one.kind](now), one.title
        if one.kind in EFFECTS and one.state is StepState.UNDONE:
            assert not EFFECTS[one.kind](now), one.title
        if one.kind in EFFECTS and change.state is State.STOPPED and one.state is not StepState.NOT_NEEDED:
            assert (one.title in change.outcome.partition(": ")[2]) is EFFECTS[one.kind](now), change.outcome
    if change.state is State.UNDONE:
        assert now == before
    until(lambda: EventType.EVIDENCE in {event.type for event in house.store.events(change=change.id)}, "evidence")


def test_goes_away_with_its_stick_and_comes_home(house: House) -> None:
    """Moved with the device connected and seen by the guest, the host kept on; then home again, and DPM stays off."""
    with_dongle(house)
    change = migrate(house)
    assert house.touched() == []
    house.decide("bob", change)
    ended = house.ends(change)
    assert ended.state is State.DONE, ended.outcome
    vm = house.lab.control.vm("win-01")
    assert (vm["host"], [one["connected"] for one in vm["usb"]]) == (ESX_02, [True])
    assert house.lab.control.host("esx-01")["dpm"] is False
    proof = [event for event in house.store.events(change=change.id) if event.type is EventType.GUEST_PROOF]
    assert "07A40901A2B3C4D5" in str(proof[-1].data["facts"])
    assert Counter(one["method"] for one in house.touched()) == {
        "ReconfigureComputeResource_Task": 1, "RelocateVM_Task": 1,
    }  # fmt: skip

    back = request(house, "usb-return-home")
    house.decide("bob", back)
    ended = house.ends(back)
    assert ended.state is State.DONE, ended.outcome
    vm = house.lab.control.vm("win-01")
    assert (vm["host"], [one["connected"] for one in vm["usb"]]) == (ESX_01, [True])
    assert house.lab.control.host("esx-01")["dpm"] is False


@pytest.mark.parametrize("power", ["poweredOff", "suspended"])
def test_a_vm_that_lost_its_stick_away_gets_it_back_at_home(dongle: Workshop, power: str) -> None:
    """Off or suspended away from home: brought home, started or resumed there, connected and seen again."""
    house = dongle
    away(house, power)
    change = request(house, "usb-return-home")
    house.decide("bob", change)
    ended = house.ends(change)
    assert ended.state is State.DONE, ended.outcome
    vm = house.lab.control.vm("win-01")
    assert (vm["host"], vm["power"], [one["connected"] for one in vm["usb"]]) == (ESX_01, "poweredOn", [True])


def test_a_vm_that_was_started_away_is_restarted_only_if_its_stick_does_not_connect(dongle: Workshop) -> None:
    """At home the stick connects by itself: the restart that people approved is not carried out."""
    house = dongle
    away(house, "poweredOff")
    house.lab.control.set_vm("win-01", power="poweredOn")
    # How it would be shut down follows from its Tools: a plan made while it boots would be void a second later.
    until(lambda: bool(house.lab.control.vm("win-01")["tools_running"]), "the guest has booted")
    change = request(house, "usb-return-home")
    house.decide("bob", change)
    ended = house.ends(change)
    assert ended.state is State.DONE, ended.outcome
    assert [one["method"] for one in house.touched()] == ["RelocateVM_Task"]
    assert [one["connected"] for one in house.lab.control.vm("win-01")["usb"]] == [True]


def test_a_port_that_does_not_answer_stops_before_anything_is_touched(dongle: Workshop) -> None:
    """TCP 902 is tried first; where it is closed nothing is sent at all."""
    house = dongle
    change = migrate(house)
    house.lab.control.set_host(ESX_02, answers_902=False)
    house.decide("bob", change)
    ended = house.ends(change)
    assert ended.state is State.UNDONE, ended.outcome
    assert "902" in ended.outcome
    assert house.touched() == []


def test_a_device_that_does_not_come_along_takes_the_vm_home(dongle: Workshop) -> None:
    """The move works, the device is lost on the way: the VM is moved back, and DPM is as it was."""
    house = dongle
    change, before = migrate(house), lab_of(house, ESX_02)
    house.lab.control.fault("RelocateVM_Task", delay=1.0)
    house.decide("bob", change)
    until(lambda: "RelocateVM_Task" in {one["method"] for one in house.touched()}, "the move", told=house.told(change))
    house.lab.control.unplug(ESX_01, "0/1/3")
    ended = house.ends(change, within=120)
    assert ended.state is State.UNDONE, ended.outcome
    is_honest(house, ended, before)


def test_a_vm_that_can_not_be_moved_back_is_left_where_it_is_and_named(dongle: Workshop) -> None:
    """The device is lost on the way and the way back is refused: the VM stays away, and the end says so."""
    house = dongle
    change, before = migrate(house), lab_of(house, ESX_02)
    house.lab.control.fault("RelocateVM_Task", delay=1.0)
    house.lab.control.fault("RelocateVM_Task", "NotSupported")
    house.decide("bob", change)
    until(lambda: "RelocateVM_Task" in {one["method"] for one in house.touched()}, "the move", told=house.told(change))
    house.lab.control.unplug(ESX_01, "0/1/3")
    ended = house.ends(change, within=120)
    assert ended.state is State.STOPPED, ended.outcome
    assert "Move win-01 to esx-02.lab.example" in ended.outcome
    is_honest(house, ended, before)


CALLS = ("ReconfigureComputeResource_Task", "RelocateVM_Task")


@pytest.mark.parametrize("method", CALLS)
def test_a_refused_step_of_a_migration_takes_everything_back(dongle: Workshop, method: str) -> None:
    """A fault that repeating would not help ends the change as undone, and the lab is as it was."""
    house = dongle
    change, before = migrate(house), lab_of(house, ESX_02)
    fails(house, method)
    house.decide("bob", change)
    ended = house.ends(change)
    assert ended.state is State.UNDONE, ended.outcome
    is_honest(house, ended, before)


@pytest.mark.parametrize("method", CALLS)
def test_a_connection_lost_right_after_a_step_of_a_migration_does_nothing_twice(dongle: Workshop, method: str) -> None:
    """The answer is lost, the act is not: a fresh look finds it."""
    house = dongle
    change, before = migrate(house), lab_of(house, ESX_02)
    fails(house, method, "DisconnectAfter")
    house.decide("bob", change)
    ended = house.ends(change)
    assert ended.state is State.DONE, ended.outcome
    assert Counter(one["method"] for one in house.touched() if one["accepted"]) == dict.fromkeys(CALLS, 1)
    is_honest(house, ended, before)


def test_a_way_back_that_fails_stops_with_what_is_left(dongle: Workshop) -> None:
    """The move is refused, and so is putting DPM back: the override is left, and named; the VM never moved."""
    house = dongle
    change, before = migrate(house), lab_of(house, ESX_02)
    fails(house, "RelocateVM_Task")
    fails(house, "ReconfigureComputeResource_Task", skip=1)
    house.decide("bob", change)
    ended = house.ends(change)
    assert ended.state is State.STOPPED, ended.outcome
    assert "Keep esx-01.lab.example powered on" in ended.outcome
    is_honest(house, ended, before)


HOMEWARD = ("RelocateVM_Task", "PowerOnVM_Task")


@pytest.mark.parametrize(("method", "power"), [("RelocateVM_Task", "poweredOff"), ("PowerOnVM_Task", "suspended")])
def test_a_refused_step_of_a_return_takes_everything_back(dongle: Workshop, method: str, power: str) -> None:
    """Where it can't be moved or started, it is again where and how it was."""
    house = dongle
    away(house, power)
    change, before = request(house, "usb-return-home"), lab_of(house, ESX_01)
    fails(house, method)
    house.decide("bob", change)
    ended = house.ends(change)
    assert ended.state is State.UNDONE, ended.outcome
    is_honest(house, ended, before)


@pytest.mark.parametrize("method", HOMEWARD)
def test_a_connection_lost_right_after_a_step_of_a_return_does_nothing_twice(dongle: Workshop, method: str) -> None:
    """The answer is lost, the act is not: a fresh look finds it."""
    house = dongle
    away(house, "poweredOff")
    change, before = request(house, "usb-return-home"), lab_of(house, ESX_01)
    fails(house, method, "DisconnectAfter")
    house.decide("bob", change)
    ended = house.ends(change)
    assert ended.state is State.DONE, ended.outcome
    assert Counter(one["method"] for one in house.touched() if one["accepted"]) == dict.fromkeys(HOMEWARD, 1)
    is_honest(house, ended, before)


def test_a_return_whose_way_back_fails_stops_with_what_is_left(dongle: Workshop) -> None:
    """It can't be started at home, nor be moved back: it is left at home, and that is what the end says."""
    house = dongle
    away(house, "poweredOff")
    change, before = request(house, "usb-return-home"), lab_of(house, ESX_01)
    fails(house, "PowerOnVM_Task")
    fails(house, "RelocateVM_Task", skip=1)
    house.decide("bob", change)
    ended = house.ends(change)
    assert ended.state is State.STOPPED, ended.outcome
    assert "Move win-01 to esx-01.lab.example" in ended.outcome
    is_honest(house, ended, before)
