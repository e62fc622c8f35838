"""Let usb-detach, usb-move, hardware-hot-add and the hot attach fail at every step and on their way back.

The judge is the lab: what is undone left it as it was, the stick connected and mounted in the guest that had it, and no
mounted disk was ever pulled.
"""

from __future__ import annotations

from typing import Any

import pytest

from passgate.model.change import Change, State
from tests.house import House
from tests.scenarios.test_honest_end import fail
from tests.workshop import Workshop

ESX_01, STICK, WHERE = "esx-01.lab.example", "0/1/3", "/mnt/backup"
ASKS: dict[str, dict[str, Any]] = {
    "usb-detach": {"vm": "lnx-01", "controller": True},
    "usb-move": {"vm": "lnx-01", "to": "win-01"},
    "hardware-hot-add": {"vm": "lnx-01", "device": None, "cpus": 4},
    "usb-attach": {"vm": "lnx-01", "device": "0781:5583"},
}
RECONFIGURE, ON, SHUTDOWN = "ReconfigVM_Task", "PowerOnVM_Task", "ShutdownGuest"
REFUSALS = [
    ("usb-detach", RECONFIGURE, 1), ("usb-detach", RECONFIGURE, 2),
    ("usb-move", RECONFIGURE, 1), ("usb-move", SHUTDOWN, 1), ("usb-move", RECONFIGURE, 2), ("usb-move", RECONFIGURE, 3),
    ("usb-move", ON, 1),
    ("hardware-hot-add", RECONFIGURE, 1), ("hardware-hot-add", RECONFIGURE, 2),
    ("usb-attach", RECONFIGURE, 1), ("usb-attach", RECONFIGURE, 2),
]  # fmt: skip
"""Each mutating call to vCenter of each runbook: method, and which one of its kind."""


def requested(house: House, runbook: str) -> tuple[Change, dict[str, Any]]:
    """File the change for lnx-01, which runs with the stick mounted; return how the lab was before."""
    control = house.lab.control
    control.set_vm("lnx-01", cpu_hot_add=True)
    control.attach("lnx-01", ESX_01, STICK, local=True)
    control.settle("lnx-01")
    control.guest("lnx-01", STICK, "mount", where=WHERE)
    if runbook == "usb-attach":  # so that the controller is added too
        control.guest("lnx-01", STICK, "unmount")
        control.reset()
    before = lab_of(house)
    change = house.request(runbook=runbook, **ASKS[runbook])
    house.suspended(change)
    return change, before


def lab_of(house: House) -> dict[str, Any]:
    """Return what the lab says of the VMs, without what differs from moment to moment."""
    state = house.lab.control.state()
    return {
        vm["name"]: (
            vm["power"], vm["controllers"], [(one["pattern"], one["connected"]) for one in vm["usb"]],
            [(one["path"], one["where"]) for one in vm["guest_usb"]], vm["cpus"],
        )
        for vm in state["vms"]
    } | {"pulled": state["pulled"]}  # fmt: skip


@pytest.mark.parametrize(("runbook", "method", "nth"), REFUSALS, ids=str)
def test_a_refusal_takes_everything_back(workshop: Workshop, runbook: str, method: str, nth: int) -> None:
    """What was done before is taken back: the device is where it was, connected, and mounted in its guest again."""
    change, before = requested(workshop, runbook)
    fail(workshop, method, nth, in_task=method.endswith("_Task"))
    workshop.decide("bob", change).raise_for_status()
    ended = workshop.ends(change)
    assert ended.state is State.UNDONE, ended.outcome
    assert lab_of(workshop) == before


@pytest.mark.parametrize("runbook", ["usb-detach", "usb-move", "hardware-hot-add"])
def test_a_busy_disk_ends_the_change_with_everything_as_it_was(workshop: Workshop, runbook: str) -> None:
    """A program took hold of it since the plan: nothing is forced, and the outcome names mount and program."""
    change, before = requested(workshop, runbook)
    workshop.lab.control.guest("lnx-01", STICK, "hold", program="rsync")
    workshop.decide("bob", change).raise_for_status()
    ended = workshop.ends(change)
    assert ended.state is State.UNDONE, ended.outcome
    assert WHERE in ended.outcome
    assert "rsync" in ended.outcome
    assert lab_of(workshop) == before


BACK = {
    "the controller's removal, and the device can't be added again": (
        "usb-detach", [(RECONFIGURE, 2), (RECONFIGURE, 3)], ["Remove Verbatim", "Take Verbatim"]),
    "the power-on, and the other VM keeps the device": (
        "usb-move", [(ON, 1), (RECONFIGURE, 4)], ["Add Verbatim STORE N GO to win-01", "Add a USB 3", "Remove Verbatim",
                                                  "Take Verbatim"]),
    "the power-on, and the first VM does not get it again": (
        "usb-move", [(ON, 1), (RECONFIGURE, 6)], ["Remove Verbatim STORE N GO from lnx-01", "Take Verbatim"]),
    "the device after the hardware, which stays": (
        "hardware-hot-add", [(RECONFIGURE, 3)], ["Give lnx-01 4 CPUs and 4096 MiB while it runs"]),
    "the controller of the way back": ("usb-attach", [(RECONFIGURE, 2), (RECONFIGURE, 3)], ["Add a USB 3"]),
}  # fmt: skip
"""What fails: the calls in their order, the last on the way back; and what the outcome says is left."""


@pytest.mark.parametrize("what", BACK)
def test_a_way_back_that_is_refused_stops_and_says_what_is_left(workshop: Workshop, what: str) -> None:
    """The outcome names what is left and nothing else, and the lab shows the same; no mounted disk was pulled."""
    runbook, calls, left = BACK[what]
    change, before = requested(workshop, runbook)
    before_it: tuple[str, int] | None = None
    for method, nth in calls:
        fail(workshop, method, nth, after=before_it, in_task=True)
        before_it = (method, nth)
    workshop.decide("bob", change).raise_for_status()
    ended = workshop.ends(change)
    assert ended.state is State.STOPPED, ended.outcome
    named = ended.outcome.partition(": ")[2]
    assert [title for title in left if title not in named] == []
    now = lab_of(workshop)
    assert now["pulled"] == []
    if "Remove Verbatim" in " ".join(left):
        assert now["lnx-01"][2:4] == ([], [])
    else:
        assert now["lnx-01"][2:4] == before["lnx-01"][2:4]
    assert bool(now["win-01"][2]) is ("win-01" in " ".join(left))
    assert now["lnx-01"][4] == (4 if runbook == "hardware-hot-add" else before["lnx-01"][4])
    assert ("xhci" in now["lnx-01"][1]) is (runbook == "usb-attach" or "xhci" in before["lnx-01"][1])


def test_a_disk_that_nobody_can_look_at_is_not_removed(workshop: Workshop) -> None:
    """The guest stops answering after the device was added: it stays, and a person is told; it might be mounted."""
    change, _ = requested(workshop, "usb-attach")
    workshop.lab.control.fault("StartProgramInGuest", "OperationDisabledByGuest", times=99)
    workshop.decide("bob", change).raise_for_status()
    ended = workshop.ends(change)
    workshop.lab.control.clear_faults()
    assert ended.state is State.STOPPED, ended.outcome
    assert "Add SanDisk Ultra Fit to lnx-01" in ended.outcome
    state = workshop.lab.control.state()
    assert state["pulled"] == []
    assert [one["connected"] for one in workshop.lab.control.vm("lnx-01")["usb"]] == [True]
