"""Ways in which the checks of usb-attach are not met."""

from __future__ import annotations

from typing import Any

from flows.usb_attach import PRIVILEGES
from passgate.model.inventory import Arbitrator, ControllerKind, GuestFamily, Power, UsbController, UsbOptions
from tasks import access
from tests.scenarios.paper import ELSEWHERE, entry, estate, machine, stick
from tests.scenarios.unmet import WARNING, Unmet

XHCI = UsbController(kind=ControllerKind.XHCI, key=14000)
EHCI = UsbController(kind=ControllerKind.EHCI, key=7000)
HIDDEN = {"offered": False, "path": None}
USB3 = {"speeds": ("superSpeed",)}
VMOTION = {"vmotion": True}
AT_HOME = entry(hostname="esx-01.lab.example")
LINUX = {"guest_family": GuestFamily.LINUX, "guest_id": "ubuntu64Guest", "guest_name": "Ubuntu Linux"}
CROWD = tuple(stick(product=number, path=f"0/9/{number}", used_by="vm-99", used_by_name="x") for number in range(1, 21))


def held(*without: str) -> dict[str, Any]:
    """Return privileges without those."""
    return {"privileges": {"vm-7": frozenset(PRIVILEGES) - set(without)}}


UNMET = (
    Unmet("USB-API-01", "one privilege is missing", "VirtualMachine.Interact.PowerOff",
          estate(site=held("VirtualMachine.Interact.PowerOff"))),
    Unmet("USB-API-01", "vCenter can't say", "did not say", estate(site={"privileges": {}})),
    Unmet("HOST-API-01", "one privilege is missing", "Host.Config.Maintenance",
          estate(site={"privileges": {"host-11": frozenset()}}),
          check=lambda site: access.HoldsHostPrivileges(site.hosts[0], ("Host.Config.Maintenance",))),
    Unmet("HOST-API-01", "vCenter can't say", "did not say", estate(),
          check=lambda site: access.HoldsHostPrivileges(site.hosts[0], ("Host.Config.Maintenance",))),
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
