"""Give a running VM more CPUs and memory, and check what that needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from passgate.engine.steps import Check, Confirmation, Effect, Saw, Severity, Step, Systems
from passgate.errors import RefusedError
from passgate.model.inventory import Host, Inventory, Power, Vm, VmId
from tasks.usb_entry import Attached


@dataclass(frozen=True)
class Size:
    """Hold CPUs and memory (MiB) of a VM."""

    cpus: int
    memory_mb: int

    @property
    def words(self) -> str:
        """Return both in words."""
        return wanted(self.cpus, self.memory_mb)


@dataclass(frozen=True)
class HotAdd(Step):
    """Give a VM more CPUs and memory while it runs; `former` is what it had."""

    takes: ClassVar[timedelta] = timedelta(seconds=30)
    vm: VmId
    size: Size
    former: Size

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Give {self.vm.name} {self.size.words} while it runs"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when the VM has as much."""
        return _resized(site, self.vm, self.size, impact=f"{self.vm.name} can be given less again only while it is off")

    def apply(self, systems: Systems) -> None:
        """Set it, unless it is so."""
        systems.vsphere.set_hardware(self.vm, cpus=self.size.cpus, memory_mb=self.size.memory_mb)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the VM's configuration."""
        return _has(systems, self.vm, self.size)

    def undo(self) -> Step:
        """Set it back, which a running VM does not allow."""
        return SetBack(self.vm, self.former, self.size)


@dataclass(frozen=True)
class SetBack(Step):
    """Set CPUs and memory of a VM back to what it had; a running VM can't be given less, and keeps what it has."""

    takes: ClassVar[timedelta] = timedelta(seconds=30)
    vm: VmId
    size: Size
    former: Size

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Set {self.vm.name} back to {self.size.words} (only while it is off)"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when the VM has just that."""
        return _resized(site, self.vm, self.size)

    def apply(self, systems: Systems) -> None:
        """Set it back, unless it is so; refuse for a VM that runs."""
        vm = systems.vsphere.vm(self.vm)
        has = Size(vm.cpus, vm.memory_mb)
        if has != self.size and vm.power is not Power.OFF:
            raise RefusedError(
                f"{vm.name} keeps {has.words}: CPUs and memory can't be taken from a VM that is {vm.power}.",
                fault="NoHotRemove",
                hint=f"Set it back to {self.size.words} when it is off, if it shall not keep them.",
                subject=vm.name,
            )
        systems.vsphere.set_hardware(self.vm, cpus=self.size.cpus, memory_mb=self.size.memory_mb)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the VM's configuration."""
        return _has(systems, self.vm, self.size)

    def undo(self) -> Step:
        """Give it the hardware again."""
        return HotAdd(self.vm, self.former, self.size)


def _resized(site: Inventory, of: VmId, size: Size, impact: str = "") -> Effect:
    vm = site.vm(of.uuid)
    has = Size(vm.cpus, vm.memory_mb)
    if has == size:
        return Effect.nothing(f"{vm.name} has {has.words}", site)
    return Effect(
        needed=True,
        before=f"{vm.name} has {has.words}",
        after=f"{vm.name} has {size.words}",
        then=site.with_vm(vm.model_copy(update={"cpus": size.cpus, "memory_mb": size.memory_mb})),
        impact=impact,
    )


def _has(systems: Systems, of: VmId, size: Size) -> Confirmation:
    vm = systems.vsphere.vm(of)
    has = Size(vm.cpus, vm.memory_mb)
    facts = {"cpus": has.cpus, "memory_mb": has.memory_mb}
    return Confirmation(Saw.YES if has == size else Saw.NO, f"{vm.name} has {has.words}", facts)


@dataclass(frozen=True)
class IsOn(Check):
    """Demand a running VM: one that is off has nothing to lose, and is changed in the vSphere Client."""

    code: ClassVar[str] = "HW-VM-01"
    rule: ClassVar[str] = "The VM is on: hardware is hot-added to running VMs only"
    source: ClassVar[str] = "article, limits of USB passthrough: hot add"
    hint: ClassVar[str] = "Set CPUs and memory of a VM that is off in its settings; no USB device is cut off by that."

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the power state."""
        return self.vm.power is Power.ON, f"{self.vm.name} is {self.vm.power}"


@dataclass(frozen=True)
class IsAllowed(Check):
    """Demand the VM's own switches for hot add, which can be set only while it is off."""

    code: ClassVar[str] = "HW-VM-02"
    rule: ClassVar[str] = "CPU hot add is enabled for the VM if it gets CPUs, memory hot add if it gets memory"
    source: ClassVar[str] = "API of VirtualMachineConfigInfo: cpuHotAddEnabled, memoryHotAddEnabled"
    hint: ClassVar[str] = "Enable CPU or memory hot add in the VM's settings while it is off."

    vm: Vm
    cpus: int | None
    memory_mb: int | None

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the switches of what is asked for."""
        missing = [
            name
            for name, asked, enabled in (
                ("CPU", self.cpus, self.vm.cpu_hot_add),
                ("memory", self.memory_mb, self.vm.memory_hot_add),
            )
            if asked is not None and not enabled
        ]
        said = f"{' and '.join(missing)} hot add is off" if missing else "what is asked for can be hot-added"
        return not missing, f"{self.vm.name}: {said}"


@dataclass(frozen=True)
class Grows(Check):
    """Demand more than the VM has: hot add takes nothing away."""

    code: ClassVar[str] = "HW-VM-03"
    rule: ClassVar[str] = "CPUs, memory or both are asked for, and none of them is less than the VM has"
    source: ClassVar[str] = "vendor documentation of hot add; measured on the API's faults"
    hint: ClassVar[str] = "Ask for at least as many CPUs and as much memory as the VM has, and for more of one of them."

    vm: Vm
    cpus: int | None
    memory_mb: int | None

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare what is asked for with what is there."""
        asked = [(self.cpus, self.vm.cpus), (self.memory_mb, self.vm.memory_mb)]
        given = [(want, has) for want, has in asked if want is not None]
        grows = bool(given) and all(want >= has for want, has in given)
        has = wanted(self.vm.cpus, self.vm.memory_mb)
        return grows, f"{self.vm.name} has {has}; asked for: {wanted(self.cpus, self.memory_mb) or 'nothing'}"


@dataclass(frozen=True)
class HostHasMemory(Check):
    """Refuse more memory than the host has at all."""

    code: ClassVar[str] = "HW-HOST-01"
    rule: ClassVar[str] = "The host has at least as much memory as the VM shall have"
    source: ClassVar[str] = "measured: a VM that is larger than its host swaps without end"
    hint: ClassVar[str] = "Ask for less, or move the VM to a larger host."

    host: Host
    memory_mb: int | None

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare with the host's whole memory; a host that does not tell is not refused for that."""
        has = self.host.memory_mb
        return not has or (self.memory_mb or 0) <= has, f"{self.host.name} has {has or 'an unknown number of'} MiB"


@dataclass(frozen=True)
class PciComesHot(Check):
    """Demand a VM that is made ready for a PCI function while it runs, which is set only while it is off."""

    code: ClassVar[str] = "HW-PCI-01"
    rule: ClassVar[str] = (
        "PCI hot plug (fixedPassthruHotPlugEnabled) is on for the VM, and all of its memory is reserved"
    )
    source: ClassVar[str] = "vendor documentation (reference vSphere 2.4); vSphere 8.0 U1 and later"
    hint: ClassVar[str] = "Attach the function with the VM off (pci-attach), or enable PCI hot plug while it is off."

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the VM's switch and at its reservation."""
        hot, locked = self.vm.pci_hot_add, self.vm.memory_locked
        said = f"PCI hot plug is {'on' if hot else 'off'}, {'all' if locked else 'not all'} of its memory is reserved"
        return hot and locked, f"{self.vm.name}: {said}"


@dataclass(frozen=True)
class UsbComesAndGoes(Check):
    """Demand that the locally backed devices can be removed before, and added after, while the VM runs."""

    code: ClassVar[str] = "HW-USB-01"
    rule: ClassVar[str] = "USB devices without vMotion support can be removed from, and added to, the VM while it runs"
    source: ClassVar[str] = "article, limits of USB passthrough: hot add cuts them off; reference vSphere 1.7"
    hint: ClassVar[str] = (
        "Detach these devices with the VM off (usb-detach), or give the VM its hardware while it is off."
    )

    vm: Vm
    local: tuple[str, ...]

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the options of the VM's host, if there are such devices."""
        options = self.vm.options
        both = options is not None and options.hot_add is True and options.hot_remove is True
        said = f"{self.vm.name} has {', '.join(self.local) or 'no such device'}"
        return both or not self.local, said if both or not self.local else f"{said}, and its host allows no such change"


@dataclass(frozen=True)
class MovableUsbStays(Check):
    """Warn of devices with vMotion support: by the vendor's word they stay, by the article all are cut off."""

    code: ClassVar[str] = "HW-USB-02"
    rule: ClassVar[str] = "No USB device with vMotion support stays connected while hardware is hot-added"
    source: ClassVar[str] = (
        "article, limits of USB passthrough; API of VirtualUSB: only locally backed ones are cut off"
    )
    hint: ClassVar[str] = "Detach them first if they must not be interrupted for a moment."
    severity: ClassVar[Severity] = Severity.WARNING

    vm: Vm
    movable: tuple[str, ...]

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the VM's entries with vMotion support."""
        return not self.movable, f"{self.vm.name} has {', '.join(self.movable) or 'none'} with vMotion support"


def wanted(cpus: int | None, memory_mb: int | None) -> str:
    """Return CPUs and memory in words; what is None is left out."""
    parts = [*([f"{cpus} CPUs"] if cpus is not None else []), *([f"{memory_mb} MiB"] if memory_mb is not None else [])]
    return " and ".join(parts)


def cut_off(attached: tuple[Attached, ...]) -> tuple[Attached, ...]:
    """Return the devices that hot add would cut off: connected ones without vMotion support (reference vSphere 1.7)."""
    return tuple(one for one in attached if one.is_there and one.entry.connected and not one.is_movable)
