"""Add and remove virtual USB controllers and host USB devices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from passgate.engine.steps import Confirmation, Effect, Look, NoUndo, Remedy, Saw, Step, Systems
from passgate.errors import AmbiguousNameError, UnknownNameError
from passgate.model.inventory import (
    ControllerKind,
    HostUsbDevice,
    Inventory,
    Power,
    UsbController,
    UsbId,
    Vm,
    VmId,
    VmUsbDevice,
)
from tasks.guest import SeesUsb, refuse_in_use
from tasks.vm import XHCI_HARDWARE_VERSION, has_xhci_driver

AWAY = "; while {vm} runs on another host than {host} it must not be powered off or suspended, or it loses the device"
"""What vMotion support costs, in the plan's words (article, limits of vMotion with USB)."""


@dataclass(frozen=True)
class AddController(Step):
    """Add a virtual USB controller to a VM."""

    vm: VmId
    controller: ControllerKind

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Add a {self.controller.label} controller to {self.vm.name}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when the VM has one; at most one of a kind exists."""
        vm = site.vm(self.vm.uuid)
        if vm.controller(self.controller):
            return Effect.nothing(f"{vm.name} has a {self.controller.label} controller", site)
        added = (*vm.controllers, UsbController(kind=self.controller, key=0))
        return Effect(
            needed=True,
            before=f"{vm.name} has no {self.controller.label} controller",
            after=f"{vm.name} has one",
            then=site.with_vm(vm.model_copy(update={"controllers": added})),
        )

    def apply(self, systems: Systems) -> None:
        """Add it, unless it is there."""
        if systems.vsphere.vm(self.vm).controller(self.controller) is None:
            systems.vsphere.add_usb_controller(self.vm, self.controller)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the VM's configuration."""
        return _has_controller(systems, self.vm, self.controller, wanted=True)

    def undo(self) -> Step:
        """Remove it again."""
        return RemoveController(self.vm, self.controller)


@dataclass(frozen=True)
class RemoveController(Step):
    """Remove a virtual USB controller; all devices on it must be gone first (article, virtual USB controller)."""

    vm: VmId
    controller: ControllerKind

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Remove the {self.controller.label} controller of {self.vm.name}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when the VM has none."""
        vm = site.vm(self.vm.uuid)
        if vm.controller(self.controller) is None:
            return Effect.nothing(f"{vm.name} has no {self.controller.label} controller", site)
        left = tuple(one for one in vm.controllers if one.kind is not self.controller)
        return Effect(
            needed=True,
            before=f"{vm.name} has a {self.controller.label} controller",
            after=f"{vm.name} has none",
            then=site.with_vm(vm.model_copy(update={"controllers": left})),
            impact=f"{vm.name} stands still for a moment (KB 311905)" if vm.power is Power.ON else "",
        )

    def apply(self, systems: Systems) -> None:
        """Remove it, unless it is gone."""
        if systems.vsphere.vm(self.vm).controller(self.controller) is not None:
            systems.vsphere.remove_usb_controller(self.vm, self.controller)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the VM's configuration."""
        return _has_controller(systems, self.vm, self.controller, wanted=False)

    def undo(self) -> Step:
        """Add it again."""
        return AddController(self.vm, self.controller)


@dataclass(frozen=True)
class AddDevice(Step):
    """Add a host USB device to a VM. With `vmotion`, the VM may move to other hosts while the device stays."""

    vm: VmId
    device: UsbId
    controller: ControllerKind
    vmotion: bool = False

    @property
    def title(self) -> str:
        """Say what is done."""
        support = " with vMotion support" if self.vmotion else ""
        return f"Add {self.device.name or self.device.vid_pid} to {self.vm.name}{support}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when the VM's configuration names the device with the same backing."""
        vm = site.vm(self.vm.uuid)
        if is_attached(vm, self.device, vmotion=self.vmotion):
            return Effect.nothing(f"{vm.name} has {self.device.words} in its configuration", site)
        entry = VmUsbDevice(
            key=0, pattern=f"path:{self.device.path}", hostname=self.device.host.name if self.vmotion else None
        )
        return Effect(
            needed=True,
            before=f"{self.device.words} on {self.device.host.name} is free",
            after=f"it belongs to {vm.name}",
            then=site.with_vm(vm.model_copy(update={"usb": (*vm.usb, entry)})),
            impact=f"{self.device.words} is taken from {self.device.host.name}: no other VM can use it meanwhile"
            + (AWAY.format(vm=vm.name, host=self.device.host.name) if self.vmotion else ""),
        )

    def apply(self, systems: Systems) -> None:
        """Find the device anew and add it, unless the VM has it."""
        device = self._found(systems)
        systems.vsphere.add_usb_device(self.vm, device, self.controller, vmotion=self.vmotion)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the VM's configuration; while the VM runs, the device must also be connected and be the right one."""
        vm = systems.vsphere.vm(self.vm)
        device = self._found(systems)
        entry = vm.usb_entry(device)
        if entry is None or bool(entry.hostname) is not self.vmotion:
            return Confirmation(Saw.NO, f"{vm.name} has no entry for {device.words}")
        facts = {"pattern": entry.pattern, "hostname": entry.hostname, "connected": entry.connected}
        if vm.power is not Power.ON:
            return Confirmation(Saw.YES, f"{vm.name} names {entry.pattern}; it connects when {vm.name} is on", facts)
        if not entry.connected:
            return Confirmation(Saw.NO, f"{vm.name} names {entry.pattern}, but it is not connected yet", facts)
        return Confirmation(Saw.YES, f"{device.words} is connected to {vm.name}", facts)

    def undo(self) -> Step:
        """Remove it again; what its guest has mounted of it meanwhile is taken out of use first."""
        return RemoveDevice(self.vm, self.device, self.controller, self.vmotion, release=True)

    def _found(self, systems: Systems) -> HostUsbDevice:
        return find(systems.vsphere.usb_devices(self.device.host), self.device)


@dataclass(frozen=True)
class RemoveDevice(Step):
    """Remove a host USB device from a VM's configuration; a disk that its guest has mounted is never pulled.

    `release` takes such a disk out of use first, never by force: so devices are removed that the change itself had
    added. Without it the step refuses. `controller` and `vmotion` say how to add the device again.
    """

    vm: VmId
    device: UsbId
    controller: ControllerKind = ControllerKind.XHCI
    vmotion: bool = False
    release: bool = False

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Remove {self.device.name or self.device.vid_pid} from {self.vm.name}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when the VM's configuration does not name the device."""
        vm = site.vm(self.vm.uuid)
        entry = vm.usb_entry(self.device)
        if entry is None:
            return Effect.nothing(f"{vm.name} does not have {self.device.words}", site)
        return Effect(
            needed=True,
            before=f"{self.device.words} belongs to {vm.name}",
            after="it is free",
            then=site.with_vm(vm.model_copy(update={"usb": tuple(one for one in vm.usb if one is not entry)})),
            impact=f"{vm.name} loses {self.device.words}",
        )

    def apply(self, systems: Systems) -> None:
        """Remove it, unless it is gone; look into the guest of a running VM right before."""
        device = self._known(systems)
        vm = systems.vsphere.vm(self.vm)
        entry = vm.usb_entry(device)
        if vm.power is Power.ON and entry is not None and entry.connected:
            if self.release:
                systems.guest.release(self.vm, device)
            refuse_in_use(systems, self.vm, device)
        systems.vsphere.remove_usb_device(self.vm, device)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the VM's configuration."""
        device = self._known(systems)
        entry = systems.vsphere.vm(self.vm).usb_entry(device)
        if entry:
            return Confirmation(Saw.NO, f"{self.vm.name} still names {entry.pattern}")
        return Confirmation(Saw.YES, f"{self.vm.name} does not name {device.words} any more")

    def undo(self) -> Step:
        """Add it again as it was."""
        return AddDevice(self.vm, self.device, self.controller, self.vmotion)

    def _known(self, systems: Systems) -> UsbId:
        """Return the device with its path; one that was planned without is looked for, as it may have one now."""
        if self.device.path is not None:
            return self.device
        try:
            return find(systems.vsphere.usb_devices(self.device.host), self.device)
        except UnknownNameError:
            return self.device


@dataclass(frozen=True)
class AddOnceMore(Remedy):
    """Remove a device from a running VM and add it again, if the guest does not see it (reference vSphere 1.7)."""

    patience: ClassVar[timedelta] = timedelta(seconds=10)

    vm: VmId
    device: UsbId
    controller: ControllerKind
    vmotion: bool = False

    @property
    def title(self) -> str:
        """Say what may be done, and when."""
        return (
            f"Add {self.device.name or self.device.vid_pid} to {self.vm.name} once more, if its guest does not see it"
        )

    def effect(self, site: Inventory) -> Effect:
        """Have something to do always on paper; whether it is called for shows when its turn comes."""
        return Effect(
            needed=True,
            before=f"whether {self.vm.name} sees it is not known yet",
            after=f"it belongs to {self.vm.name}, added twice if need be",
            then=site,
        )

    def well(self, systems: Systems) -> Confirmation:
        """Look whether the guest sees the device."""
        return SeesUsb(self.vm, self.device).confirm(systems)

    def apply(self, systems: Systems) -> None:
        """Remove and add it, unless the guest sees it by now."""
        if self.well(systems).saw is Saw.YES:
            return
        RemoveDevice(self.vm, self.device, self.controller, self.vmotion).apply(systems)
        AddDevice(self.vm, self.device, self.controller, self.vmotion).apply(systems)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the VM's configuration, and whether the device is connected."""
        return AddDevice(self.vm, self.device, self.controller, self.vmotion).confirm(systems)

    def undo(self) -> NoUndo:
        """Leave it to the step before: what stays is what that one added."""
        return NoUndo("the step that added the device takes it back", leaves=False)


@dataclass(frozen=True)
class Freed(Look):
    """Wait until the host offers a device that was removed from a VM to every VM again. Only reads."""

    attempts: ClassVar[int] = 2
    patience: ClassVar[timedelta] = timedelta(seconds=30)

    device: UsbId

    @property
    def title(self) -> str:
        """Say what is looked for."""
        return f"See {self.device.name or self.device.vid_pid} free on {self.device.host.name}"

    def effect(self, site: Inventory) -> Effect:
        """Look always: an API's success is no proof."""
        after = f"{self.device.host.name} shows no VM that uses it"
        return Effect(needed=True, before="not looked at yet", after=after, then=site)

    def confirm(self, systems: Systems) -> Confirmation:
        """Ask the host's arbitrator; another VM whose configuration names the device may take it at once."""
        device = find(systems.vsphere.usb_devices(self.device.host), self.device)
        facts = {"used_by": device.used_by_name}
        if device.used_by:
            return Confirmation(Saw.NO, f"{device.words} is used by {device.used_by_name}", facts)
        return Confirmation(Saw.YES, f"{device.host.name} offers {device.words}, and no VM uses it", facts)


@dataclass(frozen=True)
class Connected(Look):
    """Wait until a running VM has its device connected. Only reads."""

    attempts: ClassVar[int] = 2
    patience: ClassVar[timedelta] = timedelta(seconds=60)

    vm: VmId
    device: UsbId

    @property
    def title(self) -> str:
        """Say what is looked for."""
        return f"See {self.device.name or self.device.vid_pid} connected to {self.vm.name}"

    def effect(self, site: Inventory) -> Effect:
        """Look always: an API's success is no proof."""
        return Effect(
            needed=True, before="not looked at yet", after=f"vCenter shows it connected to {self.vm.name}", then=site
        )

    def confirm(self, systems: Systems) -> Confirmation:
        """Compare the VM's view with the host's: connected, right ids, and the host names this VM as its user."""
        vm = systems.vsphere.vm(self.vm)
        device = find(systems.vsphere.usb_devices(self.device.host), self.device)
        entry = vm.usb_entry(device)
        if entry is None or not entry.connected:
            return Confirmation(Saw.NO, f"{device.words} is not connected to {vm.name}")
        ids = (entry.vendor, entry.product)
        if ids not in ((self.device.vendor, self.device.product), (None, None)):
            return Confirmation(Saw.NO, f"another device answers at {entry.pattern}: {ids}")
        if device.used_by != self.vm.ref:
            return Confirmation(Saw.NO, f"{self.device.host.name} shows {device.words} used by {device.used_by_name}")
        facts = {"pattern": entry.pattern, "connected": True, "used_by": device.used_by_name}
        return Confirmation(Saw.YES, f"{device.words} is connected to {vm.name}, as {vm.name} and the host say", facts)


def is_attached(vm: Vm, device: UsbId, *, vmotion: bool) -> bool:
    """Say whether the VM's configuration names the device, with vMotion support if and only if that is wanted."""
    entry = vm.usb_entry(device)
    return entry is not None and bool(entry.hostname) is vmotion


def goes_hot(vm: Vm, *, power_cycle: bool) -> bool:
    """Say whether devices are added and removed while the VM runs: it runs, and its host's options allow both.

    Both, so that the way back is open too. Where the options do not say, the VM is powered off, as the article does.
    """
    options = vm.options
    allowed = options is not None and options.hot_add is True and options.hot_remove is True
    return vm.power is Power.ON and allowed and not power_cycle


def controller_for(device: HostUsbDevice, vm: Vm) -> ControllerKind:
    """Return the controller that the device goes to.

    A SuperSpeed device needs xHCI. Others go where the guest has a driver: to the controller that the VM has, xHCI
    first, and else to a new xHCI where the VM's hardware version allows one (8 and later, KB 305356).
    """
    if device.is_usb3:
        return ControllerKind.XHCI
    if not has_xhci_driver(vm):
        return ControllerKind.EHCI
    if vm.controller(ControllerKind.XHCI):
        return ControllerKind.XHCI
    old = vm.hardware_version < XHCI_HARDWARE_VERSION
    return ControllerKind.EHCI if old or vm.controller(ControllerKind.EHCI) else ControllerKind.XHCI


def find(devices: tuple[HostUsbDevice, ...], wanted: UsbId) -> HostUsbDevice:
    """Return the device that is the wanted one. Raises UnknownNameError or AmbiguousNameError."""
    found = [one for one in devices if one.is_same_device(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        raise AmbiguousNameError(
            f"{len(found)} devices on {wanted.host.name} look like {wanted.words}.",
            hint="Name the device by its path, so that the right one is taken.",
            subject=wanted.vid_pid,
        )
    raise UnknownNameError(
        f"{wanted.words} is not on {wanted.host.name} any more.",
        hint="Look whether it is plugged in, and whether the arbitrator runs: `passgate usb list`.",
        subject=wanted.vid_pid,
    )


def _has_controller(systems: Systems, vm: VmId, kind: ControllerKind, *, wanted: bool) -> Confirmation:
    there = systems.vsphere.vm(vm).controller(kind)
    words = f"{vm.name} has {'a' if there else 'no'} {kind.label} controller"
    return Confirmation(Saw.YES if bool(there) is wanted else Saw.NO, words, {"key": there.key if there else None})
