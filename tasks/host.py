"""Check a host before its devices are given away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from passgate.engine.steps import Check, Severity
from passgate.model.inventory import Host, HostUsbDevice, Inventory

DEVICES_PER_HOST = 20
FASTER_THAN_USB_3 = frozenset({"superSpeedPlus", "superSpeed20Gbps"})


@dataclass(frozen=True)
class IsConnected(Check):
    """Demand a host that vCenter can act on."""

    code: ClassVar[str] = "USB-HOST-02"
    rule: ClassVar[str] = "The host is connected and not in maintenance mode"
    source: ClassVar[str] = "reference vSphere 6.2"
    hint: ClassVar[str] = "Reconnect the host, or take it out of maintenance mode."

    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the connection and at maintenance mode."""
        if self.host.maintenance:
            return False, f"{self.host.name} is in maintenance mode"
        return self.host.connection == "connected", f"{self.host.name} is {self.host.connection}"


@dataclass(frozen=True)
class DevicesInUse(Check):
    """Demand room for one more device in use."""

    code: ClassVar[str] = "USB-HOST-03"
    rule: ClassVar[str] = "At most 20 USB devices of a host are connected to VMs"
    source: ClassVar[str] = "article, physical USB device"
    hint: ClassVar[str] = "Detach a device of this host that is no longer needed, or use another host."

    host: Host
    device: HostUsbDevice

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Count the devices that VMs use, without the one that is asked for."""
        used = sum(1 for one in self.host.usb if one.used_by and one != self.device)
        return used < DEVICES_PER_HOST, f"{used} other USB devices of {self.host.name} are in use"


@dataclass(frozen=True)
class VersionEnough(Check):
    """Demand an ESXi version that has USB passthrough."""

    code: ClassVar[str] = "USB-HOST-04"
    rule: ClassVar[str] = "ESXi 4.1 or later; 5.5 or later for USB 3"
    source: ClassVar[str] = "article, what USB passthrough is; requirements of USB 3.0 (5.5 patch 3)"
    hint: ClassVar[str] = "Update the host."

    host: Host
    usb3: bool

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare the host's version."""
        oldest = (5, 5) if self.usb3 else (4, 1)
        return _version(self.host) >= oldest, _runs(self.host)


@dataclass(frozen=True)
class FullSpeed(Check):
    """Warn of a device that the host can't drive at its own speed."""

    code: ClassVar[str] = "USB-HOST-05"
    rule: ClassVar[str] = "ESXi 7.0 or later for the full speed of a USB 3.1 device"
    source: ClassVar[str] = "article, requirements of USB 3.0"
    hint: ClassVar[str] = "The device works at a lower speed; update the host if that is not enough."
    severity: ClassVar[Severity] = Severity.WARNING

    host: Host
    device: HostUsbDevice

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare the host's version with the device's speeds."""
        faster = FASTER_THAN_USB_3.intersection(self.device.speeds)
        speed = f"; {self.device.words} runs at {', '.join(sorted(faster))}" if faster else ""
        return not faster or _version(self.host) >= (7, 0), _runs(self.host) + speed


def _version(host: Host) -> tuple[int, ...]:
    return tuple(int(part) for part in host.version.split(".")[:2] if part.isdigit())


def _runs(host: Host) -> str:
    return f"{host.name} runs ESXi {host.version or 'of a version that vCenter does not tell'}"
