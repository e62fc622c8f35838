"""Check a VM before a USB device is added to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from passgate.engine.steps import Check, Severity
from passgate.model.inventory import ControllerKind, GuestFamily, HostUsbDevice, Inventory, Power, UsbId, Vm

USB_HARDWARE_VERSION = 7
XHCI_HARDWARE_VERSION = 8
DEVICES_PER_VM = 20
CONTROLLERS_PER_VM = 8
OLDEST_KERNEL = (2, 6, 35)
OLD_GUEST = re.compile(
    r"win(31|95|98|Me|NT|2000|Net|XP|Vista|Longhorn)|windows7"
    r"|other24xLinux|redhat|rhel[2-6](_|G)|(centos|oracleLinux)6?(_?64)?Guest|suse(64)?Guest"
    r"|sles(10|11)?(_?64)?Guest|debian[4-6](_|G)"
)
"""vSphere's guest ids, from their beginning, of systems before Windows 8.1, Server 2012 R2 and Linux 2.6.35.

Ids that say nothing of the version (`otherGuest`, `otherLinux64Guest`) are not among them: a hard stop needs a reason.
"""


def has_xhci_driver(vm: Vm) -> bool:
    """Say whether the guest drives USB 3: by its kernel where VMware Tools tell it, and else by the guest's id."""
    kernel = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", vm.guest_version)
    if vm.guest_family is GuestFamily.LINUX and kernel:
        return tuple(int(part or 0) for part in kernel.groups()) >= OLDEST_KERNEL
    return OLD_GUEST.match(vm.guest_id) is None


@dataclass(frozen=True)
class IsReachable(Check):
    """Demand a VM that vCenter can act on."""

    code: ClassVar[str] = "USB-VM-01"
    rule: ClassVar[str] = "The VM is connected, no template, and waits for no answer"
    source: ClassVar[str] = "reference vSphere 6.2"
    hint: ClassVar[str] = "Mend the VM in the vSphere Client first: reconnect its host, or answer its question."

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at connection, template flag and pending question."""
        if self.vm.connection != "connected":
            return False, f"{self.vm.name} is {self.vm.connection}"
        if self.vm.template:
            return False, f"{self.vm.name} is a template"
        if self.vm.question:
            return False, f"{self.vm.name} waits for an answer to: {self.vm.question}"
        return True, f"{self.vm.name} is connected"


@dataclass(frozen=True)
class HardwareVersion(Check):
    """Demand the virtual hardware version that the controller needs."""

    code: ClassVar[str] = "USB-VM-02"
    rule: ClassVar[str] = "Virtual hardware version 7 or later; 8 or later for a USB 3 (xHCI) controller"
    source: ClassVar[str] = "article, limits and controller modes; KB 305356"
    hint: ClassVar[str] = "Upgrade the VM's hardware version while it is off; that can't be taken back."

    vm: Vm
    controller: ControllerKind

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare the VM's version with what the controller needs."""
        needed = XHCI_HARDWARE_VERSION if self.controller is ControllerKind.XHCI else USB_HARDWARE_VERSION
        has = self.vm.hardware_version
        return has >= needed, f"{self.vm.name} has version {has}, a {self.controller.label} controller needs {needed}"


@dataclass(frozen=True)
class GuestHasDriver(Check):
    """Demand a guest that has a driver for the controller."""

    code: ClassVar[str] = "USB-VM-03"
    rule: ClassVar[str] = "For USB 3 the guest is Windows 8.1 / Server 2012 R2 or later, or Linux 2.6.35 or later"
    source: ClassVar[str] = "article, requirements of USB 3.0"
    hint: ClassVar[str] = "Use a device that runs at USB 2 speed, or a newer guest."

    vm: Vm
    controller: ControllerKind

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare the guest with the oldest that has a driver."""
        if self.controller is not ControllerKind.XHCI:
            return True, f"a {self.controller.label} controller needs no special driver"
        said = self.vm.guest_name or self.vm.guest_id or "a guest that is not named"
        kernel = f", kernel {self.vm.guest_version}" if self.vm.guest_version else ""
        return has_xhci_driver(self.vm), f"{self.vm.name} runs {said}{kernel}"


@dataclass(frozen=True)
class ControllerFits(Check):
    """Demand room for the controller."""

    code: ClassVar[str] = "USB-VM-04"
    rule: ClassVar[str] = (
        "At most eight virtual USB controllers, and of each kind as many as the host allows for the VM"
    )
    source: ClassVar[str] = "article, virtual USB controller; KB 305356: one of each kind"
    hint: ClassVar[str] = "Remove a USB controller that is not needed, its devices first."

    vm: Vm
    controller: ControllerKind

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Count what is there, and read the limit from the host's own options."""
        options = self.vm.options
        if options is not None and not options.usb_supported:
            return False, f"{self.vm.host.name} offers no USB to VMs of hardware version {self.vm.hardware_version}"
        if self.vm.controller(self.controller):
            return True, f"{self.vm.name} has a {self.controller.label} controller already"
        limit = (
            None
            if options is None
            else options.max_xhci
            if self.controller is ControllerKind.XHCI
            else options.max_ehci
        )
        has = len(self.vm.controllers)
        fits = has < CONTROLLERS_PER_VM and (limit is None or limit >= 1)
        allowed = "" if limit is None else f"; the host allows {limit} of kind {self.controller.label}"
        return fits, f"{self.vm.name} has {has} USB controllers{allowed}"


@dataclass(frozen=True)
class DeviceCount(Check):
    """Demand room for one more device."""

    code: ClassVar[str] = "USB-VM-05"
    rule: ClassVar[str] = "A VM has at most 20 USB devices"
    source: ClassVar[str] = "article, physical USB device"
    hint: ClassVar[str] = "Detach a device that the VM no longer needs."

    vm: Vm
    device: UsbId

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Count the entries in the VM's configuration, without the one of the device itself."""
        own = self.vm.usb_entry(self.device)
        others = sum(1 for entry in self.vm.usb if entry is not own)
        return others < DEVICES_PER_VM, f"{self.vm.name} has {others} other USB devices"


@dataclass(frozen=True)
class HasTools(Check):
    """Demand VMware Tools."""

    code: ClassVar[str] = "USB-VM-06"
    rule: ClassVar[str] = "VMware Tools are installed in the guest"
    source: ClassVar[str] = "article, how to connect a USB device, step 4"
    hint: ClassVar[str] = (
        "Install VMware Tools (or open-vm-tools) in the guest first: the proof in the guest needs them too."
    )

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at what vCenter says of the Tools."""
        has = self.vm.tools_installed
        return has, f"VMware Tools are {'' if has else 'not '}installed in {self.vm.name}"


@dataclass(frozen=True)
class NoFaultTolerance(Check):
    """Refuse VMs with fault tolerance."""

    code: ClassVar[str] = "USB-VM-07"
    rule: ClassVar[str] = "The VM is not protected by fault tolerance, which excludes USB devices"
    source: ClassVar[str] = "article, limits of vMotion: redundancy; reference vSphere 4"
    hint: ClassVar[str] = "Turn fault tolerance off for this VM first."

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the VM's fault tolerance state."""
        return not self.vm.fault_tolerance, f"fault tolerance is {'on' if self.vm.fault_tolerance else 'off'}"


@dataclass(frozen=True)
class HasOwnDisk(Check):
    """Warn of a USB drive as the only drive of a VM."""

    code: ClassVar[str] = "USB-VM-08"
    rule: ClassVar[str] = "A VM that gets a USB drive boots from a disk of its own: a USB drive can't be its boot drive"
    source: ClassVar[str] = "article, limits of USB passthrough; reference vSphere 6.1, no. 7"
    hint: ClassVar[str] = "Give the VM a virtual disk to boot from, or let it boot from the network or a CD image."
    severity: ClassVar[Severity] = Severity.WARNING

    vm: Vm
    device: HostUsbDevice

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look whether a VM that gets a drive has a virtual disk; where its disks were not read, there is no proof."""
        if "storage" not in self.device.families:
            return True, f"{self.device.words} is no drive"
        has = "no virtual disk that could be seen" if not self.vm.disks else f"{self.vm.disks} virtual disks"
        return bool(self.vm.disks), f"{self.vm.name} has {has}"


@dataclass(frozen=True)
class IsNotSuspended(Check):
    """Refuse a suspended VM: powering it off throws the memory of its guest away."""

    code: ClassVar[str] = "USB-VM-09"
    rule: ClassVar[str] = "The VM is on or off, not suspended: powering it off would throw its guest's memory away"
    source: ClassVar[str] = "article, limits of USB passthrough: suspend and resume; API of PowerOffVM_Task"
    hint: ClassVar[str] = "Resume the VM, or power it off yourself if its memory is not needed; then request again."

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the power state."""
        return self.vm.power is not Power.SUSPENDED, f"{self.vm.name} is {self.vm.power}"


def can_take(vm: Vm, device: HostUsbDevice, kind: ControllerKind) -> Iterator[Check]:
    """Check all that a VM must be, whatever the USB device is for: reachable, modern enough, with room for one more."""
    yield IsReachable(vm)
    yield IsNotSuspended(vm)
    yield HardwareVersion(vm, kind)
    yield GuestHasDriver(vm, kind)
    yield ControllerFits(vm, kind)
    yield DeviceCount(vm, device)
    yield HasTools(vm)
    yield NoFaultTolerance(vm)
