"""Check a VM before it gets a PCI function, or loses one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from passgate.engine.steps import Check, Severity
from passgate.model.inventory import Host, Inventory, PciFunction, PciId, Power, Vm
from tasks import pci

OLDEST_HARDWARE = 7
OVERHEAD_MB = 4096
"""What ESXi keeps of a host's memory for itself and for the VMs' own overhead; an estimate on the safe side."""
STANDS_IN_THE_WAY = {
    "CreateSnapshot_Task": "snapshot", "CreateSnapshotEx_Task": "snapshot", "SuspendVM_Task": "suspend",
    "MigrateVM_Task": "vMotion", "RelocateVM_Task": "vMotion", "StandbyGuest": "suspend",
}  # fmt: skip
"""WSDL name of a scheduled task's method -> what it does that no VM with a PCI function can."""


@dataclass(frozen=True)
class ApiVersion(Check):
    """Demand an API that knows what is sent; pyVmomi would drop the rest without a word."""

    code: ClassVar[str] = "PCI-API-01"
    rule: ClassVar[str] = "The vSphere API is 5.0 or later, which can lock a VM's memory reservation to its size"
    source: ClassVar[str] = "measured on pyVmomi (reference vSphere 0.1)"
    hint: ClassVar[str] = "Update vCenter."

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare the API version."""
        numbers = tuple(int(part) for part in site.api_version.split(".")[:2] if part.isdigit())
        return numbers >= (5, 0), f"{site.site} speaks API {site.api_version}"


@dataclass(frozen=True)
class IsActive(Check):
    """Demand that the function's passthrough is in effect on the VM's host."""

    code: ClassVar[str] = "PCI-VM-01"
    rule: ClassVar[str] = "Passthrough of the function is active on the VM's own host"
    source: ClassVar[str] = "reference vSphere 2.2: only active functions are handed to VMs"
    hint: ClassVar[str] = "Enable it first: `passgate request pci-enable`; without live rebind that takes a reboot."

    host: Host
    function: PciFunction

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the three states."""
        one = self.function
        state = "active" if one.active else "enabled, but not in effect" if one.enabled else "not enabled"
        return one.active, f"passthrough of {one.words} on {self.host.name} is {state}"


@dataclass(frozen=True)
class IsFree(Check):
    """Refuse a function that another running VM has."""

    code: ClassVar[str] = "PCI-VM-02"
    rule: ClassVar[str] = "No other running VM has the function"
    source: ClassVar[str] = "vendor documentation (reference vSphere 2): one function, one VM"
    hint: ClassVar[str] = "Detach it from that VM first: `passgate request pci-detach`."

    vm: Vm
    function: PciId

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the running VMs of the host."""
        found = [one.name for one in others(site, self.vm, self.function) if one.power is not Power.OFF]
        return not found, f"{', '.join(found)} has it" if found else "no running VM has it"


@dataclass(frozen=True)
class IsNotReserved(Check):
    """Warn of a function that another VM, which is off, names in its configuration: only one of them can run."""

    code: ClassVar[str] = "PCI-VM-03"
    rule: ClassVar[str] = "No other VM names the function in its configuration"
    source: ClassVar[str] = "reference vSphere 2.4: a leftover blocks power-on"
    hint: ClassVar[str] = "Detach it from that VM too, or never run both at once."
    severity: ClassVar[Severity] = Severity.WARNING

    vm: Vm
    function: PciId

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the VMs of the host that are off."""
        found = [one.name for one in others(site, self.vm, self.function) if one.power is Power.OFF]
        return not found, f"{', '.join(found)} is off and names it" if found else "no other VM names it"


@dataclass(frozen=True)
class NoFaultTolerance(Check):
    """Refuse VMs with fault tolerance."""

    code: ClassVar[str] = "PCI-VM-04"
    rule: ClassVar[str] = "The VM is not protected by fault tolerance, which excludes PCI passthrough"
    source: ClassVar[str] = "reference vSphere 2.4"
    hint: ClassVar[str] = "Turn fault tolerance off for this VM first."

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the VM's fault tolerance state."""
        return not self.vm.fault_tolerance, f"fault tolerance is {'on' if self.vm.fault_tolerance else 'off'}"


@dataclass(frozen=True)
class NoMemorySnapshots(Check):
    """Refuse VMs with snapshots that hold memory: they show a machine without the function, that was running."""

    code: ClassVar[str] = "PCI-VM-05"
    rule: ClassVar[str] = "The VM has no snapshot that holds its memory"
    source: ClassVar[str] = "article, limits of PCI passthrough: snapshots; reference vSphere 2.4"
    hint: ClassVar[str] = "Delete these snapshots first, or keep their data by cloning the VM."

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the snapshots."""
        found = [one.name for one in self.vm.snapshots if one.memory]
        return not found, f"with memory: {', '.join(found)}" if found else f"{self.vm.name} has none with memory"


@dataclass(frozen=True)
class NoSnapshots(Check):
    """Warn of snapshots: with a PCI function none can be taken, and to revert takes the function away."""

    code: ClassVar[str] = "PCI-VM-06"
    rule: ClassVar[str] = "The VM has no snapshots; with a PCI function they are not supported"
    source: ClassVar[str] = "article, limits of PCI passthrough: snapshots"
    hint: ClassVar[str] = "Delete them before, or know that reverting to one takes the function away again."
    severity: ClassVar[Severity] = Severity.WARNING

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Name the snapshots that hold no memory; the others have a check of their own."""
        found = [one.name for one in self.vm.snapshots if not one.memory]
        return not found, f"{self.vm.name} has {', '.join(found)}" if found else f"{self.vm.name} has none"


@dataclass(frozen=True)
class NothingScheduled(Check):
    """Warn of scheduled tasks that will fail with a PCI function, such as a nightly snapshot."""

    code: ClassVar[str] = "PCI-VM-07"
    rule: ClassVar[str] = "vCenter has no scheduled snapshot, suspend or migration for the VM"
    source: ClassVar[str] = "article, limits of PCI passthrough: no suspend, no vMotion, no snapshots"
    hint: ClassVar[str] = "Remove these scheduled tasks; look at your backup too, which may take snapshots by itself."
    severity: ClassVar[Severity] = Severity.WARNING

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Name the scheduled tasks; other schedulers, such as a backup's, can't be seen from here."""
        if self.vm.schedules is None:
            return False, "vCenter does not tell its scheduled tasks"
        found = [
            f"{one.name} ({STANDS_IN_THE_WAY[one.method]})"
            for one in self.vm.schedules
            if one.enabled and one.method in STANDS_IN_THE_WAY
        ]
        return not found, f"scheduled: {', '.join(found)}" if found else "vCenter has none; backups were not looked at"


@dataclass(frozen=True)
class MemoryCanBeReserved(Check):
    """Demand as much unreserved memory in the host as the VM has."""

    code: ClassVar[str] = "PCI-VM-08"
    rule: ClassVar[str] = "The host can reserve all of the VM's memory"
    source: ClassVar[str] = "reference vSphere 2.4: passthrough needs a full reservation"
    hint: ClassVar[str] = "Give the VM less memory, or take reservations away from others; see its resource pool too."

    vm: Vm
    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Count what running VMs of the host have reserved; limits of resource pools are vCenter's to check."""
        running = [one for one in site.vms_on(self.host) if one.power is Power.ON and one.ref != self.vm.ref]
        taken = sum(one.memory_mb if one.memory_locked else one.memory_reservation_mb for one in running)
        free = max(0, self.host.memory_mb - OVERHEAD_MB - taken)
        words = f"of {self.host.memory_mb} MiB in {self.host.name} some {free} can be reserved"
        return self.vm.memory_mb <= free, f"{self.vm.name} has {self.vm.memory_mb} MiB; {words}"


@dataclass(frozen=True)
class NoMemoryHotAdd(Check):
    """Refuse memory hot-add, which a full reservation excludes."""

    code: ClassVar[str] = "PCI-VM-09"
    rule: ClassVar[str] = "Memory hot-add of the VM is off"
    source: ClassVar[str] = "reference vSphere 2.4"
    hint: ClassVar[str] = "Turn memory hot-add off while the VM is off (Edit Settings, Memory)."

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the switch."""
        return not self.vm.memory_hot_add, f"memory hot-add is {'on' if self.vm.memory_hot_add else 'off'}"


@dataclass(frozen=True)
class HardwareVersion(Check):
    """Demand virtual hardware that knows PCI passthrough."""

    code: ClassVar[str] = "PCI-VM-10"
    rule: ClassVar[str] = "Virtual hardware version 7 or later"
    source: ClassVar[str] = "article, limits of passthrough; vendor documentation of DirectPath I/O"
    hint: ClassVar[str] = "Upgrade the VM's compatibility while it is off."

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare the hardware version."""
        has = self.vm.hardware_version
        return has >= OLDEST_HARDWARE, f"{self.vm.name} has hardware version {has}"


@dataclass(frozen=True)
class ReservationIsKnown(Check):
    """Warn when nobody knows what was reserved before the function came: then the full reservation stays."""

    code: ClassVar[str] = "PCI-VM-11"
    rule: ClassVar[str] = "It is known what memory the VM had reserved before it got its function"
    source: ClassVar[str] = "pci-attach keeps it in the VM's advanced settings; vSphere itself does not"
    hint: ClassVar[str] = "Say what is to be reserved (--reservation-mb; 0: nothing), else all of it stays reserved."
    severity: ClassVar[Severity] = Severity.WARNING

    vm: Vm
    function: PciId
    asked: int | None

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at what was asked and at the note in the VM."""
        if self.vm.passes(self.function) is None:
            return True, f"{self.vm.name} has no such function"
        if any(one.address != self.function.address for one in self.vm.pci):
            return True, f"{self.vm.name} has another function, which needs the reservation still"
        if self.asked is not None:
            return True, f"{self.asked} MiB were asked for"
        note = pci.kept(self.vm)
        return bool(note), f"{note} was reserved before" if note else f"nothing tells; {pci.reserved(self.vm)}"


def others(site: Inventory, vm: Vm, function: PciId) -> list[Vm]:
    """Return the other VMs of the function's host that name it in their configuration."""
    return [one for one in site.vms_on(function.host) if one.ref != vm.ref and one.passes(function)]
