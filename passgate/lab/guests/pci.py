"""Show a guest's PCI devices: what every VM has, and the functions that were passed through to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from passgate.lab.hardware import LabVm
from passgate.lab.passthrough import held
from passgate.lab.pci import USB_CLASS, PciFunction

Row = dict[str, Any]
_XHCI = 0x30
_OWN = (
    PciFunction("0000:00:00.0", 0x0600, 0x8086, 0x7190, "Intel", "440BX Host Bridge"),
    PciFunction("0000:00:0f.0", 0x0300, 0x15AD, 0x0405, "VMware", "SVGA II Adapter"),
    PciFunction("0000:03:00.0", 0x0107, 0x15AD, 0x07C0, "VMware", "PVSCSI SCSI Controller"),
    PciFunction("0000:0b:00.0", 0x0200, 0x15AD, 0x07B0, "VMware", "VMXNET3 Ethernet Controller"),
)
_CLASSES = {USB_CLASS: "USB", 0x0200: "Net", 0x0300: "Display", 0x0107: "SCSIAdapter", 0x0600: "System"}


def devices(vm: LabVm) -> list[PciFunction]:
    """Return what the guest finds; a passed-through function has an address of the guest's own."""
    passed = [
        PciFunction(
            f"0000:{0x13 + at:02x}:00.0", one.class_id, one.vendor, one.device, one.vendor_name, one.device_name
        )
        for at, one in enumerate(held(vm))
    ]
    return [*_OWN, *passed]


def furnish(root: Path, vm: LabVm) -> None:
    """Lay out the PCI devices in sysfs as Linux does."""
    for one in devices(vm):
        place = root / "sys/bus/pci/devices" / one.id
        place.mkdir(parents=True)
        facts = {
            "vendor": f"0x{one.vendor:04x}",
            "device": f"0x{one.device:04x}",
            "class": f"0x{one.class_id:04x}{_XHCI if one.class_id == USB_CLASS else 0:02x}",
            "subsystem_vendor": f"0x{one.vendor:04x}",
            "subsystem_device": "0x0000",
        }
        for name, value in facts.items():
            (place / name).write_text(f"{value}\n", encoding="utf-8")


def rows(vm: LabVm) -> list[Row]:
    """Return the PCI devices as Get-PnpDevice of a Windows shows them."""
    return [
        {
            "Status": "OK",
            "Class": _CLASSES.get(one.class_id, "System"),
            "FriendlyName": f"{one.vendor_name} {one.device_name}",
            "InstanceId": f"PCI\\VEN_{one.vendor:04X}&DEV_{one.device:04X}&SUBSYS_0000{one.vendor:04X}&REV_01\\"
            f"3&18D45AA6&0&{at:02X}",
            "Present": True,
            "Problem": 0,
        }
        for at, one in enumerate(devices(vm), start=0x78)
    ]
