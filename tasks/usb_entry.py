"""Find which USB entry of a VM's configuration is meant, check it, and remove one whose device is gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from passgate.engine.steps import Check, Confirmation, Effect, NoUndo, Saw, Step, Systems, UsbSelector
from passgate.errors import AmbiguousNameError, UnknownNameError
from passgate.model.inventory import ControllerKind, HostUsbDevice, Inventory, Power, UsbId, Vm, VmId, VmUsbDevice
from passgate.model.usb import canonical_path


@dataclass(frozen=True)
class Attached:
    """Hold one USB entry of a VM: `device` is what its host has at that path, or what is known of one that is gone."""

    entry: VmUsbDevice
    device: UsbId
    controller: ControllerKind

    @property
    def is_there(self) -> bool:
        """Say whether the host has the device."""
        return isinstance(self.device, HostUsbDevice)

    @property
    def is_movable(self) -> bool:
        """Say whether the entry supports vMotion."""
        return self.entry.hostname is not None


@dataclass(frozen=True)
class RemoveEntry(Step):
    """Remove the entry of a device that its host does not offer any more: it fell off, or is plugged in elsewhere."""

    vm: VmId
    device: UsbId

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Remove the entry for {self.device.path} from {self.vm.name}, whose device is not there"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when the VM's configuration does not name it."""
        vm = site.vm(self.vm.uuid)
        entry = vm.usb_entry(self.device)
        if entry is None:
            return Effect.nothing(f"{vm.name} does not name {self.device.path}", site)
        return Effect(
            needed=True,
            before=f"{vm.name} names {entry.pattern}, which {self.device.host.name} does not offer",
            after=f"{vm.name} does not name it",
            then=site.with_vm(vm.model_copy(update={"usb": tuple(one for one in vm.usb if one is not entry)})),
            impact=f"{vm.name} does not get the device back by itself when it is plugged in again",
        )

    def apply(self, systems: Systems) -> None:
        """Remove it, unless it is gone."""
        systems.vsphere.remove_usb_device(self.vm, self.device)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the VM's configuration."""
        entry = systems.vsphere.vm(self.vm).usb_entry(self.device)
        words = f"{self.vm.name} {f'still names {entry.pattern}' if entry else f'does not name {self.device.path}'}"
        return Confirmation(Saw.NO if entry else Saw.YES, words)

    def undo(self) -> NoUndo:
        """Offer none: a device that is gone can't be named anew with proof."""
        return NoUndo("its host does not offer the device, so that its entry can't be made again with proof")


@dataclass(frozen=True)
class ControllerIsFree(Check):
    """Refuse to remove a controller that other devices of the VM are on."""

    code: ClassVar[str] = "USB-ENT-01"
    rule: ClassVar[str] = "The VM's controller has no other USB devices if it is to be removed too"
    source: ClassVar[str] = "article, virtual USB controller: remove the devices first"
    hint: ClassVar[str] = "Detach these devices first, or leave the controller."

    vm: Vm
    attached: Attached

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at what else is on the controller."""
        entry = self.attached.entry
        others = [one.pattern for one in self.vm.usb if one.controller_key == entry.controller_key and one != entry]
        return not others, f"{self.vm.name} has {', '.join(others) or 'nothing else'} on it"


@dataclass(frozen=True)
class SameHost(Check):
    """Demand that a device that moves from VM to VM is on the host of the VM that gets it."""

    code: ClassVar[str] = "USB-ENT-02"
    rule: ClassVar[str] = "The VM that gets the device runs on the device's host"
    source: ClassVar[str] = "vendor guide on autoconnect (reference vSphere 1.8)"
    hint: ClassVar[str] = "Migrate that VM to the device's host first (usb-migrate, vMotion), then request again."

    vm: Vm
    device: UsbId

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare the hosts."""
        here, there = self.vm.host.name, self.device.host.name
        return self.vm.host.ref == self.device.host.ref, f"{self.vm.name} is on {here}, the device at {there}"


@dataclass(frozen=True)
class OtherVm(Check):
    """Refuse to move a device to the VM that has it."""

    code: ClassVar[str] = "USB-ENT-03"
    rule: ClassVar[str] = "A device is moved to another VM than the one that has it"
    source: ClassVar[str] = "measured: it would be removed and added for nothing"
    hint: ClassVar[str] = "Name another VM, or use usb-attach to see that this one has it."

    vm: Vm
    to: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare the VMs."""
        return self.vm.ref != self.to.ref, f"{self.vm.name} has it, {self.to.name} shall get it"


@dataclass(frozen=True)
class IsConnected(Check):
    """Demand that a device that is moved is with the VM that has it."""

    code: ClassVar[str] = "USB-ENT-04"
    rule: ClassVar[str] = "A device that is moved is connected to the VM that it leaves, if that VM runs"
    source: ClassVar[str] = "reference vSphere 1.5"
    hint: ClassVar[str] = "Plug it in again, or remove its entry with usb-detach."

    vm: Vm
    attached: Attached

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the entry; a VM that does not run has nothing connected."""
        device, on = self.attached.device, self.vm.power is Power.ON
        if not on:
            return True, f"{self.vm.name} is {self.vm.power}"
        well = self.attached.entry.connected
        return well, f"{device.words} is {'' if well else 'not '}connected to {self.vm.name}"


def attached_to(site: Inventory, vm: Vm, selector: UsbSelector) -> Attached:
    """Return the one entry of the VM that the selector names: by what its host has there, or by the entry itself.

    Raises UnknownNameError or AmbiguousNameError, both with a list of what the VM has.
    """
    all_of_it = entries(site, vm)
    found = [one for one in all_of_it if selector.matches(*_facts(one.device))]
    if len(found) == 1:
        return found[0]
    has = "; ".join(f"{one.device.words}{'' if one.is_there else ', which is not there'}" for one in all_of_it)
    if found:
        raise AmbiguousNameError(
            f"{len(found)} USB devices of {vm.name} match {selector}.",
            hint=f"Choose one by path or serial: {has}.",
            subject=vm.name,
        )
    raise UnknownNameError(
        f"No USB device of {vm.name} matches {selector}.", hint=f"{vm.name} has: {has or 'none'}.", subject=vm.name
    )


def on_host(attached: Attached) -> HostUsbDevice:
    """Return the device as its host shows it. Raises UnknownNameError for one that is not there."""
    if isinstance(attached.device, HostUsbDevice):
        return attached.device
    raise UnknownNameError(
        f"{attached.device.host.name} does not offer the device at {attached.entry.pattern}.",
        hint="Plug it in again, or start the USB arbitrator; `usb-detach` removes the entry of a device that is gone.",
        subject=attached.device.host.name,
    )


def entries(site: Inventory, vm: Vm) -> tuple[Attached, ...]:
    """Return all USB entries of the VM, each with its device."""
    return tuple(_attached(site, vm, entry) for entry in vm.usb)


def _attached(site: Inventory, vm: Vm, entry: VmUsbDevice) -> Attached:
    home = site.host(entry.hostname or vm.host.ref)
    path = canonical_path(entry.pattern)
    there = next((one for one in home.usb if one.path and canonical_path(one.path) == path), None)
    controller = next((one.kind for one in vm.controllers if one.key == entry.controller_key), ControllerKind.XHCI)
    gone = UsbId(host=home.id, vendor=entry.vendor or 0, product=entry.product or 0, path=path)
    return Attached(entry, there or gone, controller)


def _facts(device: UsbId) -> tuple[int, int, str | None, str | None]:
    return device.vendor, device.product, device.path, device.serial
