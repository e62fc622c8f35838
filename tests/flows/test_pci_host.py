"""Set a host's USB card aside for VMs and give it back, from the request through the reboot gate to an honest end."""

from __future__ import annotations

from collections import Counter

import pytest

from passgate.model.change import Change, State
from tests.flows.pci_house import (
    CARD,
    ESX_02,
    ESX_03,
    World,
    done,
    fails,
    is_honest,
    request,
    sent,
    set_aside,
    world_of,
)
from tests.house import House
from tests.workshop import Workshop

NAME = "Renesas Technology Corp. uPD720202 USB 3.0 Host Controller"
GATE = "host-reboot"
REBOOT = {
    "UpdatePassthruConfig": 1, "EnterMaintenanceMode_Task": 1, "RebootHost_Task": 1, "ExitMaintenanceMode_Task": 1,
}  # fmt: skip
"""What a change of an empty host sends, in its order."""


def enable(house: House) -> Change:
    """Ask for the card of esx-02, on which nothing runs."""
    house.lab.control.set_vm("lic-01", power="poweredOff")
    return request(house, "pci-enable", host=ESX_02, function=CARD)


def disable(house: House) -> Change:
    """Ask for the card to go back to esx-02, on which nothing runs."""
    house.lab.control.set_vm("lic-01", power="poweredOff")
    set_aside(house)
    return request(house, "pci-disable", host=ESX_02, function=CARD)


ASKED = {"pci-enable": enable, "pci-disable": disable}
WANTED: dict[str, World] = {"pci-enable": {"card": (True, True)}, "pci-disable": {"card": (False, False)}}


def ends(house: House, change: Change, *, gate: bool = True) -> Change:
    """Approve the plan as Bob and the reboot as Carol, and wait for the end."""
    house.decide("bob", change).raise_for_status()
    if gate:
        house.at_gate(change)
        house.decide("carol", change, gate=GATE).raise_for_status()
    return house.ends(change)


def test_the_controller_of_a_stick_is_set_aside_behind_the_reboot_gate(house: House) -> None:
    """Two people decide; the dongle's VM goes down and comes back with it, the host too, and the card is in effect."""
    change = request(house, "pci-enable", host=ESX_02, device="0951:1666", shut_down=True)
    assert house.touched() == []
    house.decide("bob", change).raise_for_status()
    waiting = house.at_gate(change)
    assert world_of(house)["card"] == (True, False)
    assert "RebootHost_Task" not in sent(house)
    assert house.decide("bob", waiting, gate=GATE).status_code == 403
    house.decide("carol", waiting, gate=GATE).raise_for_status()
    ended = house.ends(change)

    assert ended.state is State.DONE, ended.outcome
    world = world_of(house)
    assert (world["card"], world["maintenance"], world["reboot_required"]) == ((True, True), False, False)
    vm = house.lab.control.vm("lic-01")
    assert (vm["power"], [one["connected"] for one in vm["usb"]]) == ("poweredOn", [True])
    assert f"See passthrough of {NAME} in effect on {ESX_02}" in done(house, change)
    assert sent(house) == {**REBOOT, "ShutdownGuest": 1, "PowerOnVM_Task": 1}


def test_a_denied_reboot_takes_the_setting_back(workshop: Workshop) -> None:
    """Nothing waits for a reboot any more, and the host is open again."""
    change = enable(workshop)
    before = world_of(workshop)
    workshop.decide("bob", change).raise_for_status()
    waiting = workshop.at_gate(change)
    workshop.decide("carol", waiting, "deny", "Not today", gate=GATE).raise_for_status()
    ended = workshop.ends(change)
    assert ended.state is State.UNDONE, ended.outcome
    assert "Not today" in ended.outcome
    assert "RebootHost_Task" not in sent(workshop)
    is_honest(workshop, ended, before)


def test_a_host_that_forgets_it_at_the_reboot_is_told_once_more(workshop: Workshop) -> None:
    """The quirk of ESXi 7: the setting is seen lost after the reboot, set again without one, and seen in effect."""
    workshop.lab.control.passthrough(ESX_02, forgets=True)
    change = enable(workshop)
    ended = ends(workshop, change)
    assert ended.state is State.DONE, ended.outcome
    assert f"Set it once more on {ESX_02}, if it is not in effect after the reboot" in done(workshop, change)
    assert sent(workshop) == {**REBOOT, "UpdatePassthruConfig": 2}
    assert world_of(workshop)["card"] == (True, True)


def test_a_host_that_forgets_it_for_good_is_given_back_as_it_was(workshop: Workshop) -> None:
    """Where setting it once more is refused, the end is not claimed to be well: all is taken back."""
    workshop.lab.control.passthrough(ESX_02, forgets=True)
    change, before = enable(workshop), world_of(workshop)
    fails(workshop, "UpdatePassthruConfig", "HostConfigFault", skip=1, times=2)
    ended = ends(workshop, change)
    assert ended.state is State.UNDONE, ended.outcome
    is_honest(workshop, ended, before)


@pytest.mark.parametrize("runbook", ASKED)
def test_where_the_host_can_rebind_there_is_no_reboot_and_no_gate(workshop: Workshop, runbook: str) -> None:
    """One approval, one call; both functions behind the bridge go together, and are seen so."""
    if runbook == "pci-disable":
        workshop.lab.control.passthrough(ESX_03, enable=["0000:07:00.0"], live=True)
    change = request(workshop, runbook, host=ESX_03, function="0000:07:01.0")
    ended = ends(workshop, change, gate=False)
    assert ended.state is State.DONE, ended.outcome
    functions = workshop.lab.control.host("esx-03")["pci"]
    active = [one["id"] for one in functions if one["active"]]
    assert active == (["0000:07:00.0", "0000:07:01.0"] if runbook == "pci-enable" else [])
    assert sent(workshop) == {"UpdatePassthruConfig": 1}


@pytest.mark.parametrize("runbook", ASKED)
@pytest.mark.parametrize(("call", "gate"), [("EnterMaintenanceMode_Task", True), ("UpdatePassthruConfig", False)])
def test_a_refused_step_before_the_reboot_takes_everything_back(
    workshop: Workshop, runbook: str, call: str, *, gate: bool
) -> None:
    """A fault that repeating would not help ends the change as undone: nothing is set, nothing waits, all is open."""
    change = ASKED[runbook](workshop)
    before = world_of(workshop)
    fails(workshop, call)
    ended = ends(workshop, change, gate=gate)
    assert ended.state is State.UNDONE, ended.outcome
    is_honest(workshop, ended, before)


@pytest.mark.parametrize("runbook", ASKED)
def test_a_refused_reboot_takes_the_rest_back_and_is_itself_not_claimed(workshop: Workshop, runbook: str) -> None:
    """Nobody can say that a reboot that failed did nothing, so it is named; setting and maintenance mode are back."""
    change = ASKED[runbook](workshop)
    before = world_of(workshop)
    fails(workshop, "RebootHost_Task")
    ended = ends(workshop, change)
    assert ended.state is State.STOPPED, ended.outcome
    assert f"Left as it is: Reboot {ESX_02}" in ended.outcome
    assert "passthrough of" not in ended.outcome.partition("Left as it is")[2]
    assert world_of(workshop) == before
    is_honest(workshop, ended, before)


@pytest.mark.parametrize("runbook", ASKED)
def test_what_is_in_effect_after_the_reboot_is_never_called_taken_back(workshop: Workshop, runbook: str) -> None:
    """Leaving maintenance mode fails: what was set can be set back, but not be undone without another reboot."""
    change = ASKED[runbook](workshop)
    before = world_of(workshop)
    fails(workshop, "ExitMaintenanceMode_Task")
    ended = ends(workshop, change)
    assert ended.state is State.STOPPED, ended.outcome
    world = world_of(workshop)
    assert world["maintenance"] is False, "maintenance mode was not given back"
    assert f"passthrough of {NAME} on {ESX_02}" in ended.outcome
    assert world["card"][1] is WANTED[runbook]["card"][1]
    is_honest(workshop, ended, before)


@pytest.mark.parametrize("runbook", ASKED)
def test_connections_lost_right_after_each_step_do_nothing_twice(workshop: Workshop, runbook: str) -> None:
    """Every answer is lost, the acts are not: fresh looks find them, and the host is rebooted once."""
    change = ASKED[runbook](workshop)
    before = world_of(workshop)
    for call in REBOOT:
        fails(workshop, call, "DisconnectAfter")
    ended = ends(workshop, change)
    assert ended.state is State.DONE, ended.outcome
    assert sent(workshop) == Counter(REBOOT)
    assert world_of(workshop)["card"] == WANTED[runbook]["card"]
    is_honest(workshop, ended, before)


@pytest.mark.parametrize("runbook", ASKED)
def test_a_way_back_that_fails_stops_with_what_is_left(workshop: Workshop, runbook: str) -> None:
    """The reboot is refused, and so is setting it back: it is left, waits for a reboot, and is named."""
    change = ASKED[runbook](workshop)
    before = world_of(workshop)
    fails(workshop, "RebootHost_Task")
    fails(workshop, "UpdatePassthruConfig", "HostConfigFault", skip=1)
    ended = ends(workshop, change)
    assert ended.state is State.STOPPED, ended.outcome
    assert f"passthrough of {NAME} on {ESX_02}" in ended.outcome
    world = world_of(workshop)
    assert (world["reboot_required"], world["maintenance"]) == (True, False)
    is_honest(workshop, ended, before)
