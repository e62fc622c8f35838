"""Check a host before its devices are given away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from passgate.engine.steps import Check
from passgate.model.inventory import Host, Inventory

DEVICES_PER_HOST = 20


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

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Count the devices that VMs use."""
        used = sum(1 for device in self.host.usb if device.used_by)
        return used < DEVICES_PER_HOST, f"{used} USB devices of {self.host.name} are in use"


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
        numbers = [int(part) for part in self.host.version.split(".")[:2] if part.isdigit()]
        return tuple(numbers) >= ((5, 5) if self.usb3 else (4, 1)), f"{self.host.name} runs ESXi {self.host.version}"
