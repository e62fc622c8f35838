"""Give a VM a PCI function and take it away, from the request to the evidence, and end honestly."""

from __future__ import annotations

from collections import Counter

import pytest

from passgate.model.change import EventType, State
from tests.flows.pci_house import (
    CARD,
    done,
    fails,
    is_honest,
    request,
    reserve_and_give,
    sent,
    set_aside,
    world_of,
)
from tests.house import House
from tests.workshop import Workshop

NAME = "Renesas Technology Corp. uPD720202 USB 3.0 Host Controller"
STICK = "0951:1666,serial:E0D55EA573F1"
FORWARD = {"ShutdownGuest": 1, "ReconfigVM_Task": 1, "PowerOnVM_Task": 1}
CALLS = tuple(FORWARD)
"""Mutating calls of an attach to the running lic-01, and of a detach from it, in their order."""


def test_a_vm_gets_the_card_and_sees_the_stick_behind_it(house: House) -> None:
    """The guest itself shows the controller and the device on it; all memory is reserved, in the same change."""
    set_aside(house)
    change = request(house, "pci-attach", vm="win-02", function=CARD, usb=STICK)
    assert house.touched() == []
    house.decide("bob", change)
    ended = house.ends(change)

    assert ended.state is State.DONE, ended.outcome
    assert done(house, change) == [
        f"Add {NAME} to win-02", "Ask vCenter whether win-02 can be powered on", "Power on win-02",
        f"See {NAME} in the guest of win-02", "See 0951:1666 in the guest of win-02",
    ]  # fmt: skip
    vm = house.lab.control.vm("win-02")
    assert (vm["power"], vm["pci_held"], vm["memory_locked"]) == ("poweredOn", [CARD], True)
    proof = [event for event in house.store.events(change=change.id) if event.type is EventType.GUEST_PROOF]
    assert "guest_pci" in str(proof[0].data["facts"])
    assert "E0D55EA573F1" in str(proof[-1].data["facts"])
    assert sent(house) == {"ReconfigVM_Task": 1, "PowerOnVM_Task": 1}


def test_a_vm_loses_the_card_and_has_its_former_reservation(house: House) -> None:
    """What was reserved before the card came is reserved again, and nothing is left of the note."""
    reserve_and_give(house)
    change = request(house, "pci-detach", vm="lic-01", function="1912:0015")
    house.decide("bob", change)
    ended = house.ends(change)

    assert ended.state is State.DONE, ended.outcome
    world = world_of(house)
    assert (world["power"], world["pci"]) == ("poweredOn", [])
    assert (world["memory_reservation_mb"], world["memory_locked"]) == (512, False)
    assert world["card"] == (True, True)
    assert sent(house) == FORWARD


@pytest.mark.parametrize("call", CALLS)
def test_a_refused_step_of_an_attach_takes_everything_back(workshop: Workshop, call: str) -> None:
    """A fault that repeating would not help ends the change as undone, and VM and reservation are as they were."""
    set_aside(workshop)
    change, before = request(workshop, "pci-attach", vm="lic-01", function=CARD), world_of(workshop)
    fails(workshop, call)
    workshop.decide("bob", change)
    ended = workshop.ends(change)
    assert ended.state is State.UNDONE, ended.outcome
    is_honest(workshop, ended, before)


def test_a_guest_that_can_not_be_asked_takes_an_attach_back(workshop: Workshop) -> None:
    """Without the guest's own word nothing is claimed: the card is taken away again."""
    set_aside(workshop)
    change, before = request(workshop, "pci-attach", vm="lic-01", function=CARD), world_of(workshop)
    fails(workshop, "StartProgramInGuest", "InvalidGuestLogin", times=10)
    workshop.decide("bob", change)
    ended = workshop.ends(change)
    assert ended.state is State.UNDONE, ended.outcome
    is_honest(workshop, ended, before)


@pytest.mark.parametrize("call", CALLS)
def test_a_refused_step_of_a_detach_takes_everything_back(workshop: Workshop, call: str) -> None:
    """The VM has its card again, with its memory reserved as it was."""
    reserve_and_give(workshop)
    change, before = request(workshop, "pci-detach", vm="lic-01", function=CARD), world_of(workshop)
    fails(workshop, call)
    workshop.decide("bob", change)
    ended = workshop.ends(change)
    assert ended.state is State.UNDONE, ended.outcome
    is_honest(workshop, ended, before)


@pytest.mark.parametrize("runbook", ["pci-attach", "pci-detach"])
def test_connections_lost_right_after_each_step_do_nothing_twice(workshop: Workshop, runbook: str) -> None:
    """Every answer is lost, the acts are not: fresh looks find them, and nothing is sent again."""
    (set_aside if runbook == "pci-attach" else reserve_and_give)(workshop)
    change, before = request(workshop, runbook, vm="lic-01", function=CARD), world_of(workshop)
    for call in CALLS:
        fails(workshop, call, "DisconnectAfter")
    workshop.decide("bob", change)
    ended = workshop.ends(change)
    assert ended.state is State.DONE, ended.outcome
    assert sent(workshop) == Counter(FORWARD)
    assert world_of(workshop)["pci"] == ([CARD] if runbook == "pci-attach" else [])
    is_honest(workshop, ended, before)


@pytest.mark.parametrize(
    ("runbook", "left"),
    [("pci-attach", f"Add {NAME} to lic-01"), ("pci-detach", f"Remove {NAME} from lic-01")],
)
def test_a_way_back_that_fails_stops_with_what_is_left(workshop: Workshop, runbook: str, left: str) -> None:
    """The power-on is refused, and so is the way back of the reconfiguration: it is left, and named."""
    (set_aside if runbook == "pci-attach" else reserve_and_give)(workshop)
    change, before = request(workshop, runbook, vm="lic-01", function=CARD), world_of(workshop)
    fails(workshop, "PowerOnVM_Task")
    fails(workshop, "ReconfigVM_Task", skip=1)
    workshop.decide("bob", change)
    ended = workshop.ends(change)
    assert ended.state is State.STOPPED, ended.outcome
    assert left in ended.outcome
    assert "A person is needed" in ended.outcome
    is_honest(workshop, ended, before)
