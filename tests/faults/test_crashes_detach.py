"""Kill the service in changes that take disks out of use: the change goes on, and nothing is pulled or done twice."""

from __future__ import annotations

from collections import Counter

from passgate.model.change import State, StepState
from tests.house import House, until
from tests.scenarios.steps_usb import PLUGGED

ESX_01, ESX_02, STICK, DISK = "esx-01.lab.example", "esx-02.lab.example", "0/1/3", "0/1/8"


def test_a_disk_that_windows_mounts_by_itself_is_no_lost_effect(house: House) -> None:
    """Hot add on Windows: the disk comes back mounted before its turn; a kill right then does not void the change."""
    control = house.lab.control
    for act, how in PLUGGED:
        getattr(control, act)(**how)
    control.attach("win-02", ESX_02, DISK, local=True)
    control.set_vm("win-02", power="poweredOn", cpu_hot_add=True)
    until(lambda: control.vm("win-02")["tools_running"], "the guest has booted")
    control.settle("win-02")
    change = house.request(runbook="hardware-hot-add", vm="win-02", device=None, cpus=4)
    house.suspended(change)
    house.decide("bob", change).raise_for_status()

    def done(kind: str) -> bool:
        return (kind, StepState.DONE) in {(one.kind, one.state) for one in house.store.journal(change.id)}

    until(lambda: done("guest.Release"), "it is released", told=house.told(change))
    control.fault("ReconfigVM_Task", times=2)
    control.fault("ReconfigVM_Task", delay=2.0, times=1)
    until(lambda: done("usb.AddDevice"), "the disk is added again", told=house.told(change))
    house.kill_service()
    assert control.vm("win-02")["guest_usb"][0]["where"] == "E:"

    house.up()
    ended = house.ends(change)

    assert ended.state is State.DONE, ended.outcome
    assert control.state()["pulled"] == []
    assert Counter(one["method"] for one in house.touched() if one["accepted"])["ReconfigVM_Task"] == 3


def test_goes_on_with_a_vm_that_it_had_powered_off(house: House) -> None:
    """Detach with a power-off at once: after a kill the guest can't be asked any more, and need not be."""
    control = house.lab.control
    control.attach("win-01", ESX_01, STICK, local=True)
    control.settle("win-01")
    change = house.request(runbook="usb-detach", force_off=True)
    house.suspended(change)
    control.fault("ReconfigVM_Task", delay=2.0, times=1)
    house.decide("bob", change).raise_for_status()
    until(lambda: "ReconfigVM_Task" in {one["method"] for one in house.touched()}, "it is removed",
          told=house.told(change))  # fmt: skip
    house.kill_service()

    house.up()
    ended = house.ends(change)

    assert ended.state is State.DONE, ended.outcome
    vm = control.vm("win-01")
    assert (vm["power"], vm["usb"], control.state()["pulled"]) == ("poweredOn", [], [])
