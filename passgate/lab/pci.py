"""Describe the PCI functions of the lab's hosts, and what is set for passing them through to VMs.

`capable`, `enabled` and `active` are vSphere's three states of passthrough (reference vSphere 2.1). The rules by which
they change are in `passthrough.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

USB_CLASS = 0x0C03
BRIDGE_CLASS = 0x0604
HOST_BRIDGE_CLASS = 0x0600
CLASS_WORDS = {
    0x0106: "SATA controller", 0x0107: "Serial Attached SCSI controller", 0x0108: "Non-Volatile memory controller",
    0x0200: "Ethernet controller", 0x0300: "VGA compatible controller",
    HOST_BRIDGE_CLASS: "Host bridge", BRIDGE_CLASS: "PCI bridge", USB_CLASS: "USB controller",
    0x0C00: "FireWire (IEEE 1394)",
}  # fmt: skip
"""PCI class and subclass -> what lspci calls it."""


@dataclass(frozen=True)
class PciFunction:
    """Hold one PCI function of a host; ids are unsigned here.

    `bridge` is the bridge that it is behind. `dependent` is what the kernel must let go of to pass it through: itself,
    or, behind a bridge that does not keep its functions apart, that bridge, and then all of them go together. `buses`
    are lsusb's numbers of the buses of a USB controller. `alias` is the kernel's name, such as vmnic0.
    """

    id: str
    class_id: int
    vendor: int
    device: int
    vendor_name: str
    device_name: str
    bridge: str | None = None
    dependent: str = ""
    buses: tuple[int, ...] = ()
    alias: str = ""

    @property
    def acts_on(self) -> str:
        """Return the address that a setting of passthrough acts on."""
        return self.dependent or self.id

    @property
    def place(self) -> tuple[int, int, int]:
        """Return bus, slot and function."""
        _, bus, rest = self.id.split(":")
        slot, function = rest.split(".")
        return int(bus, 16), int(slot, 16), int(function, 16)

    @property
    def decimal(self) -> str:
        """Return bus:slot.function in decimal, as the messages of ESXi name a function."""
        bus, slot, function = self.place
        return f"{bus}:{slot}.{function}"

    @property
    def device_id(self) -> str:
        """Return the device id as the .vmx file wants it: hex, without 0x."""
        return f"{self.device:x}"

    @property
    def signed_vendor(self) -> int:
        """Return the vendor id as the signed short that goes over the wire."""
        return self.vendor - 0x10000 if self.vendor > 0x7FFF else self.vendor  # noqa: PLR2004 - largest signed short


@dataclass
class Passthrough:
    """Hold what is set on one host. Addresses are those of `PciFunction.id`."""

    iommu: bool = True
    """Whether the firmware has Intel VT-d or AMD-Vi switched on; without it nothing can be passed through."""
    rebinds_live: bool = False
    """capability.deviceRebindWithoutRebootSupported: a setting may take effect without a reboot."""
    forgets: bool = False
    """A quirk of ESXi 7: after each boot passthrough reads disabled, until it is set once more (reference 2.6)."""
    names_buses: bool = True
    """Whether the serial of a bus's root hub is the address of its controller, as usbutils prints it."""
    system_id: str = ""
    """The host's system id, where it differs from its UUID: it changes when a host is installed anew."""
    enabled: set[str] = field(default_factory=set)
    active: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)
    """What the quirk switched off; no driver has claimed these since the boot, so that they can be set at once."""
