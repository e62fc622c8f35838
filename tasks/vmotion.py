"""Check what vMotion support of a USB device needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from passgate.engine.steps import Check, Severity
from passgate.model.inventory import Host, Inventory, Power, UsbId, Vm


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
    device: UsbId

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the backings of the VM's other USB devices."""
        own = self.vm.usb_entry(self.device)
        local = [entry.pattern for entry in self.vm.usb if entry is not own and not entry.hostname]
        return (
            not local,
            f"{self.vm.name} has {', '.join(local)} without it" if local else "no device stands in the way",
        )


@dataclass(frozen=True)
class IsAtHome(Check):
    """Refuse to power a VM off that has USB devices of another host: it would lose them until it is moved back."""

    code: ClassVar[str] = "USB-VMO-04"
    rule: ClassVar[str] = "A running VM that has USB devices of another host is not powered off there"
    source: ClassVar[str] = "article, limits of vMotion with USB; vendor documentation (reference vSphere 4)"
    hint: ClassVar[str] = "Migrate the VM to the host of its devices first, then request again."

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare the hosts in the VM's USB backings with the host that it runs on."""
        here = self.vm.host.name
        away = sorted({entry.hostname for entry in self.vm.usb if entry.hostname and entry.hostname != here})
        if self.vm.power is not Power.ON or not away:
            return True, f"{self.vm.name} uses no USB device of another host"
        return False, f"{self.vm.name} runs on {here} and uses USB devices of {', '.join(away)}"
