"""Detach, move, hot-add, and attach to a running VM: from the request to the evidence, whatever answers get lost."""

from __future__ import annotations

from collections import Counter

import pytest

from passgate.ledger.evidence import Evidence, verify_evidence
from passgate.model.change import Change, State, StepState
from tests.house import House, until
from tests.workshop import Workshop

ESX_01, STICK, WHERE = "esx-01.lab.example", "0/1/3", "/mnt/backup"


def mounted(house: House) -> None:
    """Let lnx-01 have the stick, mounted."""
    house.lab.control.attach("lnx-01", ESX_01, STICK, local=True)
    house.lab.control.settle("lnx-01")
    house.lab.control.guest("lnx-01", STICK, "mount", where=WHERE)


def carried_out(house: House, runbook: str, **ask: object) -> Change:
    """File the change, approve it, and wait for its end."""
    change = house.request(runbook=runbook, **ask)
    house.decide("bob", change).raise_for_status()
    return house.ends(change)


def lose_answers(house: House, **calls: int) -> None:
    """Lose the answer of so many calls of each method, each right after it has acted."""
    for method, times in calls.items():
        house.lab.control.fault(method, "DisconnectAfter", times=times)


def sent(house: House) -> Counter[str]:
    """Return what was changed at vCenter and inside guests, by method."""
    return Counter(one["method"] for one in house.touched() if one["accepted"])


def done(house: House, change: Change) -> list[str]:
    """Return the titles of the steps that were done."""
    return [one.title for one in house.store.journal(change.id) if one.state is StepState.DONE]


def proven(house: House, change: Change) -> Evidence:
    """Return the change's evidence, once it is written; it verifies with nothing but the key."""
    path = house.home / "evidence" / f"{change.id}.zip"
    until(path.exists, "the evidence is written")
    key = house.store.verifier_key
    assert key is not None
    found = verify_evidence(path, key.text)
    assert isinstance(found, Evidence), found
    return found


def test_detaches_a_mounted_stick_and_its_controller(house: House) -> None:
    """It is unmounted in the guest, removed and seen free; nothing is pulled, and lost answers cost nothing."""
    mounted(house)
    lose_answers(house, ReconfigVM_Task=2)
    ended = carried_out(house, "usb-detach", vm="lnx-01", controller=True)
    assert ended.state is State.DONE, ended.outcome
    assert done(house, ended) == [
        f"Take Verbatim STORE N GO out of use in lnx-01 ({WHERE})",
        "Remove Verbatim STORE N GO from lnx-01",
        "Remove the USB 3 (xHCI) controller of lnx-01",
        f"See Verbatim STORE N GO free on {ESX_01}",
    ]
    assert "no VM uses it" in ended.outcome
    state = house.lab.control.state()
    vm = house.lab.control.vm("lnx-01")
    assert (vm["power"], vm["usb"], vm["controllers"], state["pulled"]) == ("poweredOn", [], ["ehci"], [])
    assert sent(house) == Counter({"sync": 1, f"umount {WHERE}": 1, "ReconfigVM_Task": 2})
    assert proven(house, ended).approved_by == ("bob",)


def test_moves_a_mounted_stick_to_another_vm(house: House) -> None:
    """One change with both VMs: the running one loses it safely, the other is shut down for it, its guest sees it."""
    mounted(house)
    lose_answers(house, ReconfigVM_Task=3, ShutdownGuest=1, PowerOnVM_Task=1)
    ended = carried_out(house, "usb-move", vm="lnx-01", to="win-01")
    assert ended.state is State.DONE, ended.outcome
    assert {"vm:vm-101", "vm:vm-103", "usb:host-11/18a5:0302"} <= set(ended.plan.resources if ended.plan else ())
    old, new = house.lab.control.vm("lnx-01"), house.lab.control.vm("win-01")
    assert (old["usb"], [one["connected"] for one in new["usb"]]) == ([], [True])
    assert [one["where"] for one in new["guest_usb"]] == ["E:"]
    assert house.lab.control.state()["pulled"] == []
    assert sent(house)["ReconfigVM_Task"] == 3
    assert "07A40901A2B3C4D5" in str(house.store.events(change=ended.id))


def test_gives_a_vm_cpus_and_memory_around_its_mounted_stick(house: House) -> None:
    """The stick is released, removed, added and mounted again; CPUs and memory are counted in the guest itself."""
    mounted(house)
    house.lab.control.set_vm("lnx-01", cpu_hot_add=True, memory_hot_add=True)
    lose_answers(house, ReconfigVM_Task=3)
    ended = carried_out(house, "hardware-hot-add", vm="lnx-01", device=None, cpus=4, memory_mb=8192)
    assert ended.state is State.DONE, ended.outcome
    vm = house.lab.control.vm("lnx-01")
    assert (vm["power"], vm["cpus"], vm["memory_mb"]) == ("poweredOn", 4, 8192)
    assert [(one["path"], one["where"]) for one in vm["guest_usb"]] == [(STICK, WHERE)]
    assert house.lab.control.state()["pulled"] == []
    assert sent(house)["ReconfigVM_Task"] == 3
    assert "counts 4 CPUs and 8192 MiB" in str(house.store.events(change=ended.id))


def test_gives_a_running_vm_a_pci_function_around_its_dongle(workshop: Workshop) -> None:
    """The dongle, which hot add would cut off, is removed before and connected after; the guest shows the function."""
    workshop.lab.control.passthrough("esx-02.lab.example", enable=["0000:05:00.0"], live=True)
    workshop.lab.control.set_vm("lic-01", pci_hot_plug=True, memory_locked=True)
    lose_answers(workshop, ReconfigVM_Task=3)
    ended = carried_out(workshop, "hardware-hot-add", vm="lic-01", device=None, function="1912:0015")
    assert ended.state is State.DONE, ended.outcome
    vm = workshop.lab.control.vm("lic-01")
    assert (vm["power"], [one["connected"] for one in vm["usb"]]) == ("poweredOn", [True])
    assert sent(workshop) == Counter({"ReconfigVM_Task": 3})
    assert "1912:0015" in ended.outcome


def test_attaches_to_a_running_vm_whose_guest_sees_it_at_once(workshop: Workshop) -> None:
    """No power-off: the device is added, and the remedies are not called for."""
    lose_answers(workshop, ReconfigVM_Task=1)
    ended = carried_out(workshop, "usb-attach", vm="lnx-01")
    assert ended.state is State.DONE, ended.outcome
    assert sent(workshop) == Counter({"ReconfigVM_Task": 1})
    spared = {one.title for one in workshop.store.journal(ended.id) if one.state is StepState.NOT_NEEDED}
    assert "Add Verbatim STORE N GO to lnx-01 once more, if its guest does not see it" in spared
    assert "Reboot the guest of lnx-01, if it still does not see Verbatim STORE N GO" in spared


def test_a_guest_that_misses_the_device_is_rebooted_behind_a_gate(workshop: Workshop) -> None:
    """It is added once more; then the run waits for a decision of its own, and only that reboots the guest."""
    workshop.lab.control.set_vm("lnx-01", blind="until-reboot")
    change = workshop.request(vm="lnx-01")
    workshop.decide("bob", change).raise_for_status()
    workshop.at_gate(change, "guest-reboot")
    assert sent(workshop) == Counter({"ReconfigVM_Task": 3})
    workshop.decide("carol", change, gate="guest-reboot").raise_for_status()
    ended = workshop.ends(change)
    assert ended.state is State.DONE, ended.outcome
    assert sent(workshop) == Counter({"ReconfigVM_Task": 3, "RebootGuest": 1})
    assert [one["path"] for one in workshop.lab.control.vm("lnx-01")["guest_usb"]] == [STICK]


@pytest.mark.parametrize("power", ["poweredOn", "poweredOff"])
def test_removes_the_entry_of_a_device_that_fell_off(workshop: Workshop, power: str) -> None:
    """A device that is not on its host any more is named by its path, and its entry is removed."""
    if power == "poweredOff":  # it runs from the beginning, and setting that again would let its guest boot anew
        workshop.lab.control.set_vm("lic-01", power=power)
    workshop.lab.control.unplug("esx-02.lab.example", "0/1/2")
    ended = carried_out(workshop, "usb-detach", vm="lic-01", device="path:0/1/2")
    assert ended.state is State.DONE, ended.outcome
    vm = workshop.lab.control.vm("lic-01")
    assert (vm["power"], vm["usb"]) == (power, [])
