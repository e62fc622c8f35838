"""Check a VM before a USB device is added to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from passgate.engine.steps import Check
from passgate.model.inventory import ControllerKind, GuestFamily, Inventory, Vm
from tasks.usb import XHCI_HARDWARE_VERSION

USB_HARDWARE_VERSION = 7
DEVICES_PER_VM = 20
CONTROLLERS_PER_VM = 8
OLD_GUESTS = (
    *("win31", "win95", "win98", "winMe", "winNT", "win2000", "winNet", "winXP", "winVista", "winLonghorn", "windows7"),
    *("other24xLinux", "rhel2", "rhel3", "rhel4", "rhel5", "sles10", "debian4", "debian5"),
)
"""Beginnings of vSphere's guest ids whose systems have no xHCI driver."""

OLDEST_KERNEL = (2, 6, 35)


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
    kind_of: ControllerKind

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare the VM's version with what the controller needs."""
        needed = XHCI_HARDWARE_VERSION if self.kind_of is ControllerKind.XHCI else USB_HARDWARE_VERSION
        has = self.vm.hardware_version
        return has >= needed, f"{self.vm.name} has version {has}, a {self.kind_of.label} controller needs {needed}"


@dataclass(frozen=True)
class GuestHasDriver(Check):
    """Demand a guest that has a driver for the controller."""

    code: ClassVar[str] = "USB-VM-03"
    rule: ClassVar[str] = "For USB 3 the guest is Windows 8.1 / Server 2012 R2 or later, or Linux 2.6.35 or later"
    source: ClassVar[str] = "article, requirements of USB 3.0"
    hint: ClassVar[str] = "Use a device that runs at USB 2 speed, or a newer guest."

    vm: Vm
    kind_of: ControllerKind

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare the guest's id, and its kernel where VMware Tools tell it, with the oldest that has a driver."""
        if self.kind_of is not ControllerKind.XHCI:
            return True, f"a {self.kind_of.label} controller needs no special driver"
        said = self.vm.guest_name or self.vm.guest_id or "a guest that is not named"
        kernel = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", self.vm.guest_version)
        if self.vm.guest_family is GuestFamily.LINUX and kernel:
            version = tuple(int(part or 0) for part in kernel.groups())
            return version >= OLDEST_KERNEL, f"{self.vm.name} runs {said}, kernel {self.vm.guest_version}"
        return not self.vm.guest_id.startswith(OLD_GUESTS), f"{self.vm.name} runs {said}"


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
    kind_of: ControllerKind

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Count what is there, and read the limit from the host's own options."""
        options = self.vm.options
        if options is not None and not options.usb_supported:
            return False, f"{self.vm.host.name} offers no USB to VMs of hardware version {self.vm.hardware_version}"
        if self.vm.controller(self.kind_of):
            return True, f"{self.vm.name} has a {self.kind_of.label} controller already"
        limit = (
            None if options is None else options.max_xhci if self.kind_of is ControllerKind.XHCI else options.max_ehci
        )
        has = len(self.vm.controllers)
        fits = has < CONTROLLERS_PER_VM and (limit is None or limit >= 1)
        allowed = "" if limit is None else f"; the host allows {limit} of kind {self.kind_of.label}"
        return fits, f"{self.vm.name} has {has} USB controllers{allowed}"


@dataclass(frozen=True)
class DeviceCount(Check):
    """Demand room for one more device."""

    code: ClassVar[str] = "USB-VM-05"
    rule: ClassVar[str] = "A VM has at most 20 USB devices"
    source: ClassVar[str] = "article, physical USB device"
    hint: ClassVar[str] = "Detach a device that the VM no longer needs."

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Count the entries in the VM's configuration."""
        return len(self.vm.usb) < DEVICES_PER_VM, f"{self.vm.name} has {len(self.vm.usb)} USB devices"


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
