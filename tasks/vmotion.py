"""Check what vMotion support of a USB device needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from passgate.engine.steps import Check, Severity
from passgate.model.inventory import Host, Inventory, Vm


@dataclass(frozen=True)
class PowerManagementOff(Check):
    """Demand that DPM leaves the device's host on."""

    code: ClassVar[str] = "USB-VMO-01"
    rule: ClassVar[str] = (
        "Distributed Power Management is off for the host: it ignores USB and would power the host off"
    )
    source: ClassVar[str] = "article, limits of vMotion with USB"
    hint: ClassVar[str] = (
        "Disable DPM for this host (cluster, Configure, Host Options), or attach without vMotion support."
    )

    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the effective setting."""
        return not self.host.dpm, f"DPM is {'on' if self.host.dpm else 'off'} for {self.host.name}"


@dataclass(frozen=True)
class ManagementNetwork(Check):
    """Demand a management interface, over which the device's data travels."""

    code: ClassVar[str] = "USB-VMO-02"
    rule: ClassVar[str] = "The host has its management interface vmk0; TCP 902 must be open on it between the hosts"
    source: ClassVar[str] = "article, limits of vMotion with USB"
    hint: ClassVar[str] = "Give vmk0 an address, and open TCP 902 both ways between the cluster's hosts."

    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at vmk0's address; whether the port is open can't be seen from here, and the words say so."""
        if not self.host.management_ip:
            return False, f"{self.host.name} has no address on vmk0"
        return True, f"{self.host.name} has vmk0 at {self.host.management_ip}; TCP 902 was not tried"


@dataclass(frozen=True)
class OtherDevicesMove(Check):
    """Warn of locally backed devices, each of which keeps the VM from moving."""

    code: ClassVar[str] = "USB-VMO-03"
    rule: ClassVar[str] = "Every USB device of the VM has vMotion support; one without it stops each migration"
    source: ClassVar[str] = "vendor documentation (reference vSphere 4)"
    hint: ClassVar[str] = "Remove those devices and attach them anew with vMotion support."
    severity: ClassVar[Severity] = Severity.WARNING

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the backings of the VM's other USB devices."""
        local = [entry.pattern for entry in self.vm.usb if not entry.hostname]
        return (
            not local,
            f"{self.vm.name} has {', '.join(local)} without it" if local else "no device stands in the way",
        )
