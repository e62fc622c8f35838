"""Whether a VM is powered off for a device follows from its power, its host's options, and what is asked."""

from __future__ import annotations

from typing import Any

import pytest

from passgate.model.inventory import Power, UsbOptions
from tests.scenarios.paper import estate, plan
from tests.scenarios.unmet_usb import XHCI

HOT = UsbOptions(hot_add=True, hot_remove=True, max_xhci=1, max_ehci=1)
REMEDIES = ["usb.AddOnceMore", "guest.Reboot"]


def kinds(vm: dict[str, Any], **ask: Any) -> list[str]:
    """Return the kinds of the steps that have something to do, for a stick."""
    return [step.kind for step in plan(estate({"controllers": (XHCI,), **vm}), **ask).todo]


def test_a_running_vm_gets_the_device_while_it_runs() -> None:
    """No power step; remedies for a guest that misses it stand before the proof, and the last has its own gate."""
    made = plan(estate({"options": HOT, "controllers": (XHCI,)}))
    assert [step.kind for step in made.todo] == ["usb.AddDevice", "usb.Connected", *REMEDIES, "guest.SeesUsb"]
    assert [step.gate for step in made.todo] == ["", "", "", "guest-reboot", ""]


@pytest.mark.parametrize(
    ("vm", "ask"),
    [
        ({"options": HOT}, {"power_cycle": True}),
        ({"options": HOT}, {"force_off": True}),
        ({"options": HOT.model_copy(update={"hot_add": False})}, {}),
        ({"options": HOT.model_copy(update={"hot_remove": False})}, {}),
        ({"options": HOT.model_copy(update={"hot_add": None})}, {}),
        ({"options": None}, {}),
    ],
    ids=["asked for", "asked for, at once", "can't be added", "can't be removed again", "not told", "no options"],
)
def test_else_it_is_powered_off_and_on(vm: dict[str, Any], ask: dict[str, Any]) -> None:
    """The article's way, with no remedies: a guest that boots finds what is connected."""
    ways = ["power.Off", "usb.AddDevice", "power.On", "usb.Connected", "guest.SeesUsb"]
    assert kinds(vm, **ask) == ways


def test_a_vm_that_is_off_is_no_hot_case() -> None:
    """It gets the device, and is powered on."""
    found = kinds({"options": HOT, "power": Power.OFF, "tools_running": False, "guest_ready": False})
    assert found == ["usb.AddDevice", "power.On", "usb.Connected", "guest.SeesUsb"]
