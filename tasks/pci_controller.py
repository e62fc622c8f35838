"""Find which PCI function a request means, and prove which USB controller a bus belongs to; never guess it.

A bus number of lsusb tells nothing of a PCI address by itself (reference vSphere 2.5). Proof is one of: the host has
exactly one USB controller; the root hub of the bus bears the controller's address as its serial; or a person's record
in config/site.yaml, whose name and date the plan shows. Where root hub and record disagree, nothing is proven.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from passgate.engine.steps import Check, Severity, UsbSelector
from passgate.errors import InputError, UnknownNameError
from passgate.model.inventory import Host, HostUsbDevice, Inventory, PciFunction, PciId, UsbId, Vm, VmPci
from passgate.model.pci import PciSelector

INPUT = frozenset({"hid", "hid_bootable"})


@dataclass(frozen=True)
class Place:
    """Hold what a request means: the function, or None where it is not proven, and what proves it or not."""

    function: PciFunction | None
    proof: str


def chosen(host: Host, device: UsbSelector | None, function: PciSelector | None) -> Place:
    """Return the function that was named, or the controller of the USB device that was named.

    Raises InputError where neither or both are named, or what is named is not there.
    """
    if function is not None and device is None:
        one = host.function(function)
        return Place(one, f"asked for {one.address}")
    if device is None or function is not None:
        raise InputError(
            "Name one thing: the USB device whose controller is meant, or the PCI function.",
            hint="Give --device (18a5:0302, serial:...) or --function (0000:05:00.0), not both.",
            subject=host.name,
        )
    return located(host, host.usb_device(device))


def located(host: Host, device: HostUsbDevice) -> Place:
    """Return the controller that the device hangs on, and what proves it."""
    controllers = [one for one in host.pci if one.is_usb_controller]
    if len(controllers) == 1:
        return Place(controllers[0], f"{host.name} has exactly one USB controller")
    if device.bus is None:
        return Place(None, f"{host.name} does not tell the bus of {device.words}")
    known, contested = buses(host)
    if device.bus in contested:
        return Place(None, f"bus {device.bus} of {host.name}: {contested[device.bus]}")
    if device.bus not in known:
        return Place(None, f"nothing tells which of {len(controllers)} controllers of {host.name} bus {device.bus} is")
    address, proof = known[device.bus]
    return Place(next(one for one in controllers if one.address == address), f"{device.words}: {proof}")


def buses(host: Host) -> tuple[dict[int, tuple[str, str]], dict[int, str]]:
    """Return bus -> address and proof, and bus -> why what is said of it proves nothing."""
    controllers = {one.address for one in host.pci if one.is_usb_controller}
    records = {one.bus: one for one in host.confirmed}
    known: dict[int, tuple[str, str]] = {}
    contested: dict[int, str] = {}
    for bus in sorted({*host.buses, *records}):
        said, record = host.buses.get(bus), records.get(bus)
        if record is not None and record.address not in controllers:
            contested[bus] = f"config/site.yaml says {record.address}, which is no USB controller of this host"
        elif said and record and said != record.address:
            contested[bus] = f"its root hub says {said}, config/site.yaml says {record.address}"
        elif said in controllers:
            known[bus] = (str(said), f"the root hub of its bus bears the address {said}")
        elif record is not None:
            by = f"{record.confirmed_by} confirmed on {record.at} (config/site.yaml)"
            known[bus] = (record.address, f"{by} that bus {bus} is {record.address}")
    return known, contested


def behind(host: Host, function: PciFunction) -> tuple[HostUsbDevice, ...]:
    """Return the devices that are on that controller, and those of which nobody knows that they are not."""
    if not function.is_usb_controller:
        return ()
    if sum(one.is_usb_controller for one in host.pci) == 1:
        return host.usb
    known, _ = buses(host)
    return tuple(one for one in host.usb if _may_be_on(one, function, known))


def _may_be_on(device: HostUsbDevice, function: PciFunction, known: Mapping[int, tuple[str, str]]) -> bool:
    return device.bus is None or device.bus not in known or known[device.bus][0] == function.address


def controllers(functions: Iterable[PciFunction]) -> tuple[PciFunction, ...]:
    """Return those of the functions that are USB controllers."""
    return tuple(one for one in functions if one.is_usb_controller)


def expected(host: Host, selector: UsbSelector | None) -> UsbId | None:
    """Return the USB device that a guest is to see behind a controller; the host can't see it any more.

    Raises InputError where it is not named by vendor:product.
    """
    if selector is None:
        return None
    if selector.vendor is None or selector.product is None or selector.path_part is not None:
        raise InputError(
            f"{str(selector)!r} does not name a USB device that a guest can be asked for.",
            hint="Give vendor:product, with a serial where it has one: 0951:1666,serial:E0D55EA573F1.",
            subject="usb",
        )
    return UsbId(host=host.id, vendor=selector.vendor, product=selector.product, serial=selector.serial_part)


def attached(vm: Vm, host: Host, selector: PciSelector) -> PciId:
    """Return the function that is to leave the VM: of its configuration, or, where it has none such, of the host.

    Raises UnknownNameError that lists what the VM has.
    """
    mine = [_function(vm, host, one) for one in vm.pci if one.address is not None]
    found = [one for one in mine if selector.matches(one)]
    if len(found) == 1:
        return found[0]
    there = [one for one in host.pci if selector.matches(one)]
    if not found and len(there) == 1:
        return there[0]
    raise UnknownNameError(
        f"{vm.name} has {'several functions' if found else 'no function'} {selector}.",
        hint=f"It has: {'; '.join(one.words for one in found or mine) or 'none'}. Name one by its address.",
        subject=vm.name,
    )


def _function(vm: Vm, host: Host, entry: VmPci) -> PciId:
    there = next((one for one in host.pci if one.address == entry.address), None)
    if there is not None:
        return there
    return PciId(
        host=vm.host, address=entry.address or "", vendor=entry.vendor or 0, device=entry.device or 0, name=entry.name
    )


@dataclass(frozen=True)
class IsProven(Check):
    """Demand proof of the controller."""

    code: ClassVar[str] = "PCI-USB-01"
    rule: ClassVar[str] = "It is proven which PCI function the request means"
    source: ClassVar[str] = "article, PCI passthrough, identify the controller; reference vSphere 2.5: never guess"
    hint: ClassVar[str] = (
        "Find it out at the host (plug a device into the port and see its bus in lsusb; compare lspci), and record it "
        "under pci.controllers in config/site.yaml with your name and the date."
    )

    place: Place

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Say what proves it."""
        one = self.place.function
        return one is not None, f"{one.words}: {self.place.proof}" if one else self.place.proof


@dataclass(frozen=True)
class DoesNotBootHost(Check):
    """Refuse the controller of the device that ESXi boots from: the host would boot, and keep no change any more."""

    code: ClassVar[str] = "PCI-USB-02"
    rule: ClassVar[str] = "ESXi does not boot from a device on the controller"
    source: ClassVar[str] = "article, limits of USB passthrough; reference vSphere 2.5: known disaster, no way back"
    hint: ClassVar[str] = "Move the boot device to another controller, or use another controller for the VM."

    host: Host
    function: PciFunction

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the boot device's place; where it is not known, it may be this one."""
        boots = [one.words for one in behind(self.host, self.function) if one.boots_host]
        if boots:
            return False, f"{self.host.name} boots from {', '.join(boots)}, which is on it or may be"
        return True, f"{self.host.name} does not boot from a device on {self.function.address}"


@dataclass(frozen=True)
class IsNotTheOnlyOne(Check):
    """Refuse the host's only USB controller while anything is plugged into it."""

    code: ClassVar[str] = "PCI-USB-03"
    rule: ClassVar[str] = "The host keeps a USB controller, or nothing is plugged into this one"
    source: ClassVar[str] = "article, requirements of PCI passthrough: add a controller where there is only one"
    hint: ClassVar[str] = "Put a second USB controller into the host, and pass that one through."

    host: Host
    function: PciFunction

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Count the controllers that stay with the host."""
        left = [one for one in self.host.pci if one.is_usb_controller and not one.enabled]
        left = [one for one in left if one.address != self.function.address]
        if left:
            return True, f"{self.host.name} keeps {', '.join(one.address for one in left)}"
        used = [one.words for one in behind(self.host, self.function) if "hub" not in one.families]
        return not used, (
            f"it is the only USB controller that {self.host.name} has left"
            + (f", with {', '.join(used)}" if used else ", and nothing is plugged in")
        )


@dataclass(frozen=True)
class NothingIsInUse(Check):
    """Refuse while VMs, or the host's own storage, use devices on the controller."""

    code: ClassVar[str] = "PCI-USB-04"
    rule: ClassVar[str] = "No VM uses a USB device on the controller, and the host keeps no disk there"
    source: ClassVar[str] = "reference vSphere 2.5: everything on the controller goes; 6.1, no. 2: USB datastores"
    hint: ClassVar[str] = "Detach these devices first (`passgate request usb-detach`), or move them to other ports."

    host: Host
    function: PciFunction

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look who uses what is, or may be, on the controller; a disk that is not offered may be the host's own."""
        found = [f"{one.used_by_name or one.used_by} uses {one.words}"
                 for one in behind(self.host, self.function) if one.used_by]  # fmt: skip
        found += [
            f"{self.host.name} keeps the disk {one.words}"
            for one in behind(self.host, self.function)
            if "storage" in one.families and not one.offered and not one.boots_host
        ]
        return not found, "; ".join(found) or f"nothing on {self.function.address} is in use"


@dataclass(frozen=True)
class HasNoInput(Check):
    """Warn of keyboards and mice on the controller: the host's console loses them."""

    code: ClassVar[str] = "PCI-USB-05"
    rule: ClassVar[str] = "No keyboard or mouse of the host is on the controller"
    source: ClassVar[str] = "reference vSphere 2.5: keyboards and remote consoles (iDRAC, iLO) go with it"
    hint: ClassVar[str] = "Plug them into another controller; make sure that you reach the host over the network."
    severity: ClassVar[Severity] = Severity.WARNING

    host: Host
    function: PciFunction

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the classes of what is, or may be, on the controller."""
        found = [one.words for one in behind(self.host, self.function) if INPUT & set(one.families)]
        return not found, f"it has {', '.join(found)}" if found else f"none is on {self.function.address}"
