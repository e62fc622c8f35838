"""Fail each check of the shipped content for its own reason, and for nothing else."""

from __future__ import annotations

import importlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flows.usb_attach import PRIVILEGES
from passgate.engine.planning import refuse_stops
from passgate.engine.steps import Check, Severity
from passgate.errors import CheckFailedError
from passgate.model.inventory import (
    Arbitrator,
    ControllerKind,
    GuestFamily,
    Inventory,
    Power,
    UsbController,
    UsbOptions,
)
from tests.scenarios.paper import ELSEWHERE, entry, estate, machine, plan, stick

STOP, WARNING = Severity.STOP, Severity.WARNING
XHCI = UsbController(kind=ControllerKind.XHCI, key=14000)
EHCI = UsbController(kind=ControllerKind.EHCI, key=7000)
HIDDEN = {"offered": False, "path": None}
USB3 = {"speeds": ("superSpeed",)}
VMOTION = {"vmotion": True}
AT_HOME = entry(hostname="esx-01.lab.example")
LINUX = {"guest_family": GuestFamily.LINUX, "guest_id": "ubuntu64Guest", "guest_name": "Ubuntu Linux"}
CROWD = tuple(stick(product=number, path=f"0/9/{number}", used_by="vm-99", used_by_name="x") for number in range(1, 21))


@dataclass(frozen=True)
class Unmet:
    """One way in which one check is not met: the estate, the ask, the severity, and a part of what is said."""

    code: str
    why: str
    said: str
    site: Inventory
    ask: dict[str, Any] = field(default_factory=dict)
    severity: Severity = STOP


def held(*without: str) -> dict[str, Any]:
    """Return privileges without those."""
    return {"privileges": {"vm-7": frozenset(PRIVILEGES) - set(without)}}


UNMET = (
    Unmet("USB-API-01", "one privilege is missing", "VirtualMachine.Interact.PowerOff",
          estate(site=held("VirtualMachine.Interact.PowerOff"))),
    Unmet("USB-API-01", "vCenter can't say", "did not say", estate(site={"privileges": {}})),
    Unmet("USB-API-02", "older than vMotion-backed devices", "4.0",
          estate({"controllers": (EHCI,)}, site={"api_version": "4.0"})),
    Unmet("USB-API-02", "older than xHCI", "4.1", estate(site={"api_version": "4.1"})),
    Unmet("USB-ARB-01", "the shell does not answer", "SSH is off",
          estate(host={"arbitrator": Arbitrator.UNKNOWN, "shell_error": "SSH is off."})),
    Unmet("USB-HOST-02", "not connected", "notResponding", estate(host={"connection": "notResponding"})),
    Unmet("USB-HOST-02", "in maintenance mode", "maintenance", estate(host={"maintenance": True})),
    Unmet("USB-HOST-03", "20 others in use", "20 other", estate(devices=CROWD)),
    Unmet("USB-HOST-04", "before USB passthrough", "ESXi 4.0.0", estate(host={"version": "4.0.0"})),
    Unmet("USB-HOST-04", "no version told", "does not tell", estate(host={"version": ""})),
    Unmet("USB-HOST-04", "before USB 3", "ESXi 5.1.0", estate(host={"version": "5.1.0"}, device=USB3)),
    Unmet("USB-HOST-05", "USB 3.1 before 7.0", "superSpeedPlus",
          estate(host={"version": "6.7.0"}, device={"speeds": ("superSpeedPlus",)}), severity=WARNING),
    Unmet("USB-HOST-01", "16 controllers, and the arbitrator does not say whether it sees the device", "16",
          estate(host={"usb_controllers": 16, "arbitrator": Arbitrator.STOPPED}, device=HIDDEN), severity=WARNING),
    Unmet("USB-VM-01", "its host is away", "disconnected", estate({"connection": "disconnected"})),
    Unmet("USB-VM-01", "a question is open", "Moved or copied?", estate({"question": "Moved or copied?"})),
    Unmet("USB-VM-01", "a template", "template", estate({"template": True}), {"vm": "5000-0007"}),
    Unmet("USB-VM-02", "hardware before USB", "version 4", estate({"hardware_version": 4})),
    Unmet("USB-VM-02", "hardware before xHCI", "version 7", estate({"hardware_version": 7}, device=USB3)),
    Unmet("USB-VM-03", "Windows 7 and a USB 3 device", "Windows 7",
          estate({"guest_id": "windows7_64Guest", "guest_name": "Windows 7"}, device=USB3)),
    Unmet("USB-VM-03", "an old kernel and a USB 3 device", "2.6.32",
          estate({**LINUX, "guest_version": "2.6.32-754"}, device=USB3)),
    Unmet("USB-VM-04", "no room for a controller", "8 USB controllers",
          estate({"controllers": (EHCI,) * 8}, device=USB3)),
    Unmet("USB-VM-04", "none allowed", "allows 0", estate({"options": UsbOptions(max_xhci=0)})),
    Unmet("USB-VM-04", "no USB on this host", "no USB", estate({"options": UsbOptions(usb_supported=False)})),
    Unmet("USB-VM-05", "20 others attached", "20 other",
          estate({"usb": tuple(entry(f"0/8/{n}", key=n) for n in range(20))})),
    Unmet("USB-VM-06", "no Tools", "not installed", estate({"tools_installed": False, "tools_running": False})),
    Unmet("USB-VM-07", "fault tolerance", "on", estate({"fault_tolerance": True})),
    Unmet("USB-VM-08", "no disk but the stick", "no virtual disk", estate({"disks": 0}), severity=WARNING),
    Unmet("USB-VM-08", "disks not read", "could be seen", estate({"disks": None}), severity=WARNING),
    Unmet("USB-VM-09", "suspended", "suspended", estate({"power": Power.SUSPENDED})),
    Unmet("USB-DEV-01", "the boot device", "boots from", estate(device={"boots_host": True})),
    Unmet("USB-DEV-02", "a hub", "hub", estate(device={"families": ("hub",)})),
    Unmet("USB-DEV-03", "a smart-card reader", "smart_card", estate(device={"families": ("smart_card",)})),
    Unmet("USB-DEV-04", "a camera", "video", estate(device={"families": ("video",)}), severity=WARNING),
    Unmet("USB-DEV-04", "a sound card", "audio", estate(device={"families": ("audio", "other")}), severity=WARNING),
    Unmet("USB-DEV-05", "a keyboard", "hid_bootable", estate(device={"families": ("hid_bootable",)}), severity=WARNING),
    Unmet("USB-DEV-05", "a mouse", "hid", estate(device={"families": ("hid",)}), severity=WARNING),
    Unmet("USB-DEV-06", "not offered", "does not offer", estate(device={"offered": False})),
    Unmet("USB-DEV-07", "another VM has it", "lic-01", estate(device={"used_by": "vm-9", "used_by_name": "lic-01"})),
    Unmet("USB-DEV-08", "another VM on the host names its path", "lnx-01",
          estate(others=[machine("lnx-01", 8, usb=(entry("0/1/3 version:2"),))]), severity=WARNING),
    Unmet("USB-DEV-08", "a VM elsewhere names host and path", "lnx-01",
          estate(others=[machine("lnx-01", 8, host=ELSEWHERE, usb=(AT_HOME,))]),
          severity=WARNING),
    Unmet("USB-DEV-08", "another VM takes any device of these ids", "vid:18a5",
          estate(others=[machine("lnx-01", 8, usb=(entry(pattern="vid:18a5 pid:0302 version:2"),))]), severity=WARNING),
    Unmet("USB-DEV-09", "there without vMotion support", "without", estate({"usb": (entry(),)}), VMOTION),
    Unmet("USB-DEV-09", "there with vMotion support", "with vMotion", estate({"usb": (AT_HOME,)})),
    Unmet("USB-VMO-01", "DPM is on", "DPM is on", estate(host={"dpm": True}), VMOTION),
    Unmet("USB-VMO-02", "no vmk0", "vmk0", estate(host={"management_ip": None}), VMOTION),
    Unmet("USB-VMO-03", "a local device keeps the VM", "path:0/1/4",
          estate({"usb": (entry("0/1/4"),)}), VMOTION, WARNING),
    Unmet("USB-VMO-04", "away from its other device", "esx-02",
          estate({"usb": (entry("0/1/4", hostname="esx-02.lab.example"),)})),
)  # fmt: skip


@pytest.mark.parametrize("case", UNMET, ids=lambda case: f"{case.code}: {case.why}")
def test_is_not_met_for_this_reason_alone(case: Unmet) -> None:
    """Of all checks of usb-attach exactly this one is not met, with its severity, and it says what was seen."""
    made = plan(case.site, **case.ask)
    unmet = [check for check in made.checks if not check.met]
    assert [(one.code, one.severity) for one in unmet] == [(case.code, case.severity)], unmet
    assert case.said in unmet[0].saw
    assert unmet[0].hint
    if case.severity is STOP:
        with pytest.raises(CheckFailedError) as refused:
            refuse_stops(made)
        assert case.code in refused.value.message
        assert unmet[0].hint in refused.value.hint
    else:
        refuse_stops(made)


MET = {
    "the plain case": estate(),
    "20 others minus one": estate(devices=CROWD[:19]),
    "the device itself is one of 20": estate(
        {"usb": (entry(), *(entry(f"0/8/{n}", key=n) for n in range(19)))},
        device={"used_by": "vm-7", "used_by_name": "win-01"},
        devices=CROWD[:19],
    ),
    "15 controllers, and the arbitrator does not run": estate(
        host={"usb_controllers": 15, "arbitrator": Arbitrator.STOPPED}, device=HIDDEN
    ),
    "another VM takes devices of other ids": estate(
        others=[machine("lnx-01", 8, usb=(entry(pattern="vid:529 pid:1"),))]
    ),
    "16 controllers, and the device is offered": estate(host={"usb_controllers": 16}),
    "the last API without xHCI, for a VM that needs none": estate(
        {"controllers": (EHCI,)}, site={"api_version": "4.1"}
    ),
    "ESXi 4.1": estate({"controllers": (EHCI,)}, host={"version": "4.1.0"}),
    "hardware version 7 for a USB 2 device": estate({"hardware_version": 7}),
    "Windows 7 for a USB 2 device": estate({"guest_id": "windows7_64Guest"}),
    "Windows 7 with both controllers": estate({"guest_id": "windows7_64Guest", "controllers": (XHCI, EHCI)}),
    "the oldest kernel with a driver": estate({**LINUX, "guest_version": "2.6.35"}, device=USB3),
    "the host of a USB 3.1 device runs 7.0": estate(
        host={"version": "7.0.0"}, device={"speeds": ("high", "superSpeedPlus")}
    ),
    "no disk, and the device is no drive": estate({"disks": 0}, device={"families": ("vendor_specific",)}),
    "off, away from its other device": estate(
        {"power": Power.OFF, "usb": (entry("0/1/4", hostname="esx-02.lab.example"),)}
    ),
    "another host's device at the same path": estate(
        others=[machine("lnx-01", 8, host=ELSEWHERE, usb=(entry(),))]
    ),
    "DPM without vMotion support": estate(host={"dpm": True, "management_ip": None}),
}  # fmt: skip


@pytest.mark.parametrize("why", MET)
def test_meets_every_check(why: str) -> None:
    """Right at a limit, and where a limit does not apply, nothing is refused and nothing is warned of."""
    assert [check for check in plan(MET[why]).checks if not check.met] == []


def test_a_moved_dongle_keeps_its_vm_with_vmotion_support() -> None:
    """The device's own entry counts neither as the one that keeps the VM from moving nor against the limits."""
    made = plan(estate({"usb": (AT_HOME,)}), vmotion=True)
    assert [check.code for check in made.checks if not check.met] == []
    assert [step.title for step in made.todo if step.mutates] == []


def test_every_check_has_a_scenario() -> None:
    """A check without a scenario that fails it is a claim that nobody proved."""
    shipped = {check.code for check in checks()}
    assert shipped == {case.code for case in UNMET}


def test_codes_are_one_per_check_and_every_check_says_where_it_comes_from() -> None:
    """A code means one rule for ever; rule, source and hint are there for people."""
    assert [code for code, times in Counter(check.code for check in checks()).items() if times > 1] == []
    assert [check for check in checks() if not (check.rule and check.source and check.hint)] == []


def checks() -> list[type[Check]]:
    """Return the check classes of tasks/."""
    found: list[type[Check]] = []
    for file in sorted((Path(__file__).parents[2] / "tasks").glob("*.py")):
        module = importlib.import_module(f"tasks.{file.stem}")
        found += [
            one for one in vars(module).values()
            if isinstance(one, type) and issubclass(one, Check) and one.__module__ == module.__name__
        ]  # fmt: skip
    return found
