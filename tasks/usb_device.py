"""Check a host's USB device before it is given to a VM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from passgate.engine.steps import Check, Severity
from passgate.model.inventory import Arbitrator, HostUsbDevice, Inventory, Vm, VmUsbDevice
from passgate.model.usb import pattern_means

ISOCHRONOUS = frozenset({"audio", "video"})
HUMAN_INPUT = frozenset({"hid", "hid_bootable"})


@dataclass(frozen=True)
class DoesNotBootHost(Check):
    """Refuse the device that ESXi boots from."""

    code: ClassVar[str] = "USB-DEV-01"
    rule: ClassVar[str] = "ESXi does not boot from the device"
    source: ClassVar[str] = "article, limits of USB passthrough"
    hint: ClassVar[str] = "Choose another device; taking this one would leave the host without its boot disk."

    device: HostUsbDevice

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at what the host's storage list said."""
        boots = self.device.boots_host
        return not boots, f"{self.device.host.name} {'boots' if boots else 'does not boot'} from {self.device.words}"


@dataclass(frozen=True)
class IsNoHub(Check):
    """Refuse USB hubs."""

    code: ClassVar[str] = "USB-DEV-02"
    rule: ClassVar[str] = "The device is not a USB hub"
    source: ClassVar[str] = "article, devices that are not supported"
    hint: ClassVar[str] = "Choose the device behind the hub; each function of a compound device is added by itself."

    device: HostUsbDevice

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the device's families."""
        return _families(self.device, frozenset({"hub"}))


@dataclass(frozen=True)
class IsNoSmartCard(Check):
    """Refuse smart-card readers, which ESXi keeps for itself until its configuration is changed."""

    code: ClassVar[str] = "USB-DEV-03"
    rule: ClassVar[str] = (
        "The device is no smart-card reader (CCID), which needs usb.generic.allowCCID and pcscd stopped"
    )
    source: ClassVar[str] = "article, connecting USB smart cards; KB 323394"
    hint: ClassVar[str] = "Request smartcard-enable for it instead: attaching alone fails."

    device: HostUsbDevice

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the device's families."""
        return _families(self.device, frozenset({"smart_card"}))


@dataclass(frozen=True)
class IsNotIsochronous(Check):
    """Warn of audio and video devices."""

    code: ClassVar[str] = "USB-DEV-04"
    rule: ClassVar[str] = "The device is no audio device or camera, whose isochronous transfers may not work"
    source: ClassVar[str] = "article, devices that are not supported"
    hint: ClassVar[str] = "If it fails in the guest, pass its whole USB controller through instead (PCI passthrough)."
    severity: ClassVar[Severity] = Severity.WARNING

    device: HostUsbDevice

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the device's families."""
        return _families(self.device, ISOCHRONOUS)


@dataclass(frozen=True)
class IsNoHumanInput(Check):
    """Warn of keyboards and mice."""

    code: ClassVar[str] = "USB-DEV-05"
    rule: ClassVar[str] = "The device is no keyboard or mouse, some of which are not supported"
    source: ClassVar[str] = "article, devices that are not supported; KB 1021345"
    hint: ClassVar[str] = "Look the device up in KB 1021345."
    severity: ClassVar[Severity] = Severity.WARNING

    device: HostUsbDevice

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the device's families."""
        return _families(self.device, HUMAN_INPUT)


@dataclass(frozen=True)
class IsOffered(Check):
    """Demand that the arbitrator, where it runs, offers the device."""

    code: ClassVar[str] = "USB-DEV-06"
    rule: ClassVar[str] = "The host's arbitrator offers the device for passthrough"
    source: ClassVar[str] = "article, how USB passthrough works"
    hint: ClassVar[str] = (
        "Look at `esxcli hardware usb passthrough device list` on the host: the device may be disabled there."
    )

    device: HostUsbDevice

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the host's list; with a stopped arbitrator there is nothing to see yet."""
        if site.host(self.device.host.ref).arbitrator is not Arbitrator.RUNNING:
            return True, "the arbitrator does not run yet; the device is looked for again once it does"
        offered = self.device.offered
        return offered, f"{self.device.host.name} {'offers' if offered else 'does not offer'} {self.device.words}"


@dataclass(frozen=True)
class IsFree(Check):
    """Demand that no other VM has the device."""

    code: ClassVar[str] = "USB-DEV-07"
    rule: ClassVar[str] = "No other VM uses the device: one VM at a time can"
    source: ClassVar[str] = "article, how USB passthrough works"
    hint: ClassVar[str] = "Detach it from that VM first, or choose another device."

    vm: Vm
    device: HostUsbDevice

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at who uses it now."""
        user = self.device.used_by
        if user in (None, self.vm.ref):
            return True, f"{self.device.words} is {'free' if user is None else f'with {self.vm.name} already'}"
        return False, f"{self.device.words} is used by {self.device.used_by_name}"


@dataclass(frozen=True)
class IsNotReserved(Check):
    """Warn when another VM's configuration takes the device too: whichever powers on first gets it."""

    code: ClassVar[str] = "USB-DEV-08"
    rule: ClassVar[str] = "No other VM's configuration takes the device, by its path or by its ids"
    source: ClassVar[str] = "vendor guide on autoconnect (reference vSphere 1.3, 1.8)"
    hint: ClassVar[str] = "Remove the entry from that VM, or the two VMs will take the device from each other."
    severity: ClassVar[Severity] = Severity.WARNING

    vm: Vm
    device: HostUsbDevice
    leaving: Vm | None = None
    """The VM whose entry is removed by the same change, before this one gets its own."""

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look through the configurations of the other VMs that were read, those that are off too."""
        others = [
            f"{vm.name} names {entry.pattern}"
            for vm in site.vms
            for entry in vm.usb
            if vm.ref not in {self.vm.ref, self.device.used_by, self.leaving and self.leaving.ref}
            and self._is_meant(vm, entry)
        ]
        unknown = "; its path is not known until the arbitrator runs" if self.device.path is None else ""
        return not others, "; ".join(sorted(others)) if others else f"no other VM names it{unknown}"

    def _is_meant(self, vm: Vm, entry: VmUsbDevice) -> bool:
        device = self.device
        at_host = (entry.hostname or vm.host.name) == device.host.name
        return at_host and pattern_means(entry.pattern, device.path, device.vendor, device.product)


@dataclass(frozen=True)
class HasNoOtherBacking(Check):
    """Refuse a device that the VM has already, but with vMotion support where none was asked for, or without."""

    code: ClassVar[str] = "USB-DEV-09"
    rule: ClassVar[str] = "The VM does not have the device already with other vMotion support than asked for"
    source: ClassVar[str] = "reference vSphere 6.3.3: one entry per device path, in one backing class"
    hint: ClassVar[str] = "Ask for it as it is, or remove the device from the VM first."

    vm: Vm
    device: HostUsbDevice
    vmotion: bool

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the backing of the VM's own entry for the device."""
        entry = self.vm.usb_entry(self.device)
        if entry is None:
            return True, f"{self.vm.name} does not have {self.device.words} yet"
        has = f"{self.vm.name} has {self.device.words} {'with' if entry.hostname else 'without'} vMotion support"
        return bool(entry.hostname) is self.vmotion, has


def _families(device: HostUsbDevice, unwanted: frozenset[str]) -> tuple[bool, str]:
    families = ", ".join(device.families) or "an unknown class"
    return not unwanted.intersection(device.families), f"{device.words} is of class {families}"
