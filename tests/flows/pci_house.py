"""Ask for PCI changes in a whole house, let them fail, and compare what their ends claim with the lab's own state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from passgate.model.change import Change, EventType, State, StepState
from tests.house import House, until

ESX_02, ESX_03 = "esx-02.lab.example", "esx-03.lab.example"
CARD = "0000:05:00.0"
World = dict[str, Any]
EFFECTS: dict[str, Callable[[World], bool]] = {
    "power.Off": lambda world: world["power"] == "poweredOff",
    "pci.AddDevice": lambda world: world["pci"] == [CARD],
    "pci.RemoveDevice": lambda world: world["pci"] == [],
    "maintenance.Enter": lambda world: world["maintenance"],
}
"""Kind of step -> whether its effect is in the lab."""


def request(house: House, runbook: str, **ask: Any) -> Change:
    """File a change, and wait until its run sleeps at the gate."""
    answer = house.call("alice", "POST", "/v1/changes", runbook=runbook, ask={"reason": "a test", **ask})
    assert answer.status_code < 300, answer.text
    change = house.store.change(str(answer.json().get("change", answer.json())["id"]))
    house.suspended(change)
    return change


def reserve_and_give(house: House, *, vm: str = "lic-01", on: bool = True) -> None:
    """Let a VM run with the card, which got it when it had 512 MiB reserved."""
    set_aside(house)
    house.lab.control.set_vm(vm, power="poweredOff")
    house.lab.control.function(vm, CARD, **{"passgate.pci.memoryBefore": "512"})
    house.lab.control.set_vm(vm, power="poweredOn" if on else "poweredOff")
    if on:
        # How it is shut down follows from its Tools: a plan made while it boots would be void a second later.
        until(lambda: bool(house.lab.control.vm(vm)["tools_running"]), f"the guest of {vm} has booted")


def set_aside(house: House) -> None:
    """Let the card's passthrough be in effect."""
    house.lab.control.passthrough(ESX_02, enable=[CARD], live=True)


def fails(house: House, method: str, fault: str = "NotSupported", *, skip: int = 0, **how: Any) -> None:
    """Let a call fail after so many that pass."""
    for _ in range(skip):
        house.lab.control.fault(method)
    house.lab.control.fault(method, fault, **how)


def world_of(house: House, vm: str = "lic-01") -> World:
    """Return what the lab says of the VM and of the host of the card."""
    machine, host = house.lab.control.vm(vm), house.lab.control.host("esx-02")
    names = ("power", "pci", "memory_reservation_mb", "memory_locked")
    card = next(one for one in host["pci"] if one["id"] == CARD)
    return {
        **{name: machine[name] for name in names},
        "usb": [one["pattern"] for one in machine["usb"]],
        "card": (card["enabled"], card["active"]),
        "maintenance": host["maintenance"],
        "reboot_required": host["reboot_required"],
    }


def sent(house: House) -> Counter[str]:
    """Return how often each mutating call was taken."""
    return Counter(one["method"] for one in house.touched() if one["accepted"])


def done(house: House, change: Change) -> list[str]:
    """Return the titles of the steps that were done."""
    return [one.title for one in house.store.journal(change.id) if one.state is StepState.DONE]


def is_honest(house: House, change: Change, before: World, vm: str = "lic-01") -> None:
    """Compare what the end and the journal claim with what the lab shows, and see that there is evidence."""
    now = world_of(house, vm)
    for one in house.store.journal(change.id):
        if one.kind not in EFFECTS:
            continue
        if one.state is StepState.UNDONE:
            assert not EFFECTS[one.kind](now), one.title
        if change.state is State.STOPPED and one.state is not StepState.NOT_NEEDED:
            assert (one.title in change.outcome.partition(": ")[2]) is EFFECTS[one.kind](now), change.outcome
    if change.state is State.UNDONE:
        assert now == before
    until(lambda: EventType.EVIDENCE in {event.type for event in house.store.events(change=change.id)}, "evidence")
