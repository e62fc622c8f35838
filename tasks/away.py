"""Check what a VM with USB devices needs to move to another host, and to come home to the host of its devices."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from passgate.engine.steps import Check, Confirmation, Effect, NoUndo, Remedy, Saw, Severity, Systems
from passgate.errors import CheckFailedError, RefusedError
from passgate.model.inventory import Host, HostUsbDevice, Inventory, Power, UsbId, Vm, VmId
from tasks import power
from tasks.vmotion import PORT, homes

VENDOR = "vendor documentation of vMotion with USB (reference vSphere 4)"


@dataclass(frozen=True)
class AllDevicesMove(Check):
    """Demand vMotion support of every USB device of a running VM: one without it refuses the move."""

    code: ClassVar[str] = "USB-VMO-05"
    rule: ClassVar[str] = "Every USB device of a VM that moves while it runs has vMotion support"
    source: ClassVar[str] = f"article, limits of vMotion with USB; {VENDOR}"
    hint: ClassVar[str] = "Attach these devices anew with vMotion support: `passgate request usb-attach --vmotion`."

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the backing of each entry."""
        local = [entry.pattern for entry in self.vm.usb if not entry.hostname]
        if self.vm.power is not Power.ON or not local:
            return True, f"no device of {self.vm.name} stands in the way"
        return False, f"{self.vm.name} has {', '.join(local)} without vMotion support"


@dataclass(frozen=True)
class RunsWithDevices(Check):
    """Demand a running VM whose USB devices are all connected: a move would not bring a lost one back."""

    code: ClassVar[str] = "USB-VMO-06"
    rule: ClassVar[str] = "The VM runs, has a USB device, and all of them are connected"
    source: ClassVar[str] = f"article, limits of vMotion with USB; {VENDOR}"
    hint: ClassVar[str] = "Power it on at home first (`passgate request usb-return-home`), or just move it as it is."

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at power and at each entry."""
        if self.vm.power is not Power.ON:
            return False, f"{self.vm.name} is {self.vm.power}"
        if not self.vm.usb:
            return False, f"{self.vm.name} has no USB device"
        lost = [entry.pattern for entry in self.vm.usb if not entry.connected]
        return not lost, f"{', '.join(lost)} is not connected" if lost else "all its USB devices are connected"


@dataclass(frozen=True)
class SameDatacenter(Check):
    """Demand that both hosts are in one datacenter."""

    code: ClassVar[str] = "USB-VMO-07"
    rule: ClassVar[str] = "A VM with USB devices moves within its datacenter only"
    source: ClassVar[str] = VENDOR
    hint: ClassVar[str] = "Choose a host of the same datacenter; Passgate's account must see the folders above both."

    vm: Vm
    to: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare the datacenters; one cluster is in one datacenter, and what was not read is not known."""
        here = site.host(self.vm.host.ref)
        if here.cluster is not None and here.cluster == self.to.cluster:
            return True, f"{here.name} and {self.to.name} are in one cluster"
        if here.datacenter is None or self.to.datacenter is None:
            return False, f"the datacenter of {here.name if here.datacenter is None else self.to.name} is not known"
        same = here.datacenter == self.to.datacenter
        return same, f"{here.name} and {self.to.name} are in {'one datacenter' if same else 'different datacenters'}"


@dataclass(frozen=True)
class OneAddressFamily(Check):
    """Demand management addresses of one IP family: the device's data travels between them."""

    code: ClassVar[str] = "USB-VMO-08"
    rule: ClassVar[str] = "The management interfaces (vmk0) of both hosts have addresses of the same IP family"
    source: ClassVar[str] = f"article, limits of vMotion with USB; {VENDOR}"
    hint: ClassVar[str] = "Give both hosts' vmk0 an address of the same family, IPv4 or IPv6."

    home: Host
    to: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare the addresses."""
        for one in (self.home, self.to):
            if not one.management_ip:
                return False, f"{one.name} has no address on vmk0"
        families = {_family(one.management_ip) for one in (self.home, self.to)}
        words = " and ".join(f"{one.name} has vmk0 at {one.management_ip}" for one in (self.home, self.to))
        return len(families) == 1 and None not in families, words


@dataclass(frozen=True)
class PortCanBeTried(Check):
    """Warn where nobody can try the port that the article names, because a host's shell does not answer."""

    code: ClassVar[str] = "USB-VMO-09"
    rule: ClassVar[str] = f"TCP {PORT} between both hosts' management interfaces can be tried from their shells"
    source: ClassVar[str] = "article, limits of vMotion with USB; vendor documents name the network only"
    hint: ClassVar[str] = f"Without a shell TCP {PORT} stays unproven; open it both ways, or let Passgate log in there."
    severity: ClassVar[Severity] = Severity.WARNING

    home: Host
    to: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the reasons why shells could not be read."""
        silent = [f"{one.name}: {one.shell_error}" for one in (self.home, self.to) if one.shell_error]
        return not silent, f"not proven; {'; '.join(silent)}" if silent else "both shells answer, so it is tried"


@dataclass(frozen=True)
class HasOneHome(Check):
    """Demand exactly one host to come home to."""

    code: ClassVar[str] = "USB-VMO-10"
    rule: ClassVar[str] = "All USB devices of the VM with vMotion support are on one host"
    source: ClassVar[str] = f"article, limits of vMotion with USB; {VENDOR}"
    hint: ClassVar[str] = (
        "Attach all devices of the VM at one host, with vMotion support: devices of two can't both connect at power-on."
    )

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the hosts that the VM's configuration names."""
        found = homes(self.vm)
        if len(found) == 1:
            return True, f"the devices of {self.vm.name} are on {found[0]}"
        return False, f"{self.vm.name} names devices of {', '.join(found) or 'no host'}"


@dataclass(frozen=True)
class NoPciPassthrough(Check):
    """Demand a VM without PCI passthrough, which excludes vMotion."""

    code: ClassVar[str] = "USB-VMO-11"
    rule: ClassVar[str] = "A VM that moves has no PCI function of a host passed through"
    source: ClassVar[str] = "article, limits of PCI passthrough"
    hint: ClassVar[str] = "Take the PCI device out of the VM first: `passgate request pci-detach`."

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the VM's PCI entries."""
        found = [one.address or one.name for one in self.vm.pci]
        return not found, f"{self.vm.name} has {', '.join(found) or 'no PCI passthrough'}"


@dataclass(frozen=True)
class SharedDisks(Check):
    """Demand disks that the other host sees."""

    code: ClassVar[str] = "USB-VMO-12"
    rule: ClassVar[str] = "The VM's disks are on storage that other hosts see too"
    source: ClassVar[str] = "reference vSphere 2.6 (datastore.summary.multipleHostAccess)"
    hint: ClassVar[str] = "Move its disks to shared storage first; Passgate moves VMs between hosts, never their disks."

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the datastores; where they were not read, vCenter's own check before the move has the last word."""
        if self.vm.shared_storage is None:
            return True, "not read; vCenter is asked before the move"
        return self.vm.shared_storage, f"{self.vm.name} has {'shared' if self.vm.shared_storage else 'local'} disks"


def devices_of(vm: Vm, site: Inventory) -> tuple[HostUsbDevice, ...]:
    """Return the devices that the VM's configuration names with vMotion support, as their hosts show them.

    Raises CheckFailedError for one that its host does not show, with what to do.
    """
    found = []
    for entry in vm.usb:
        if entry.hostname is None:
            continue
        there = site.host(entry.hostname).usb
        # While its arbitrator is stopped a host shows devices without paths; two alike can't be told apart then.
        alike = [one for one in there if not one.path and (one.vendor, one.product) == (entry.vendor, entry.product)]
        shown = [one for one in there if vm.usb_entry(one) is entry] or alike
        if len(shown) != 1:
            raise CheckFailedError(
                f"{vm.name} names the device {entry.pattern} of {entry.hostname}, which does not show it.",
                hint="Plug it in again at that port, or see that the host is connected and its USB arbitrator runs.",
                subject=vm.name,
            )
        found.append(shown[0])
    return tuple(found)


def _family(address: str | None) -> int | None:
    try:
        return ipaddress.ip_address(address or "").version
    except ValueError:
        return None


@dataclass(frozen=True)
class CycleAtHome(Remedy):
    """Power a VM off and on again at the host of its USB devices, should they not connect by themselves there.

    What was started elsewhere, by HA for one, may need that: devices connect at power-on and resume (reference 1.8).
    """

    attempts: ClassVar[int] = 2
    patience: ClassVar[timedelta] = timedelta(seconds=20)

    vm: VmId
    devices: tuple[UsbId, ...]
    how: power.How = power.How.GUEST

    @property
    def title(self) -> str:
        """Say what is done, and when."""
        return f"Power {self.vm.name} off and on if its USB devices do not connect"

    def effect(self, site: Inventory) -> Effect:
        """Be ready in any case: whether the devices connect by themselves shows only at home."""
        return Effect(
            needed=True,
            before=f"the USB devices of {self.vm.name} connect by themselves at home, or not",
            after=f"{self.vm.name} has its USB devices",
            then=site,
            impact=f"{self.vm.name} may go down and start again, if its devices do not connect by themselves",
        )

    def well(self, systems: Systems) -> Confirmation:
        """Look whether all devices are connected."""
        now = systems.vsphere.vm(self.vm)
        if now.power is not Power.ON:
            return Confirmation(Saw.NO, f"{now.name} is {now.power}")
        lost = [one.words for one in self.devices if (entry := now.usb_entry(one)) is None or not entry.connected]
        if lost:
            return Confirmation(Saw.NO, f"{', '.join(lost)} is not connected to {now.name}")
        return Confirmation(Saw.YES, f"all USB devices of {now.name} are connected")

    def apply(self, systems: Systems) -> None:
        """Power off and on; one that is well is left alone, one that is off already only started."""
        if self.well(systems).saw is Saw.YES:
            return
        now = systems.vsphere.vm(self.vm)
        strange = sorted({one.host.name for one in self.devices} - {now.host.name})
        if strange:
            raise RefusedError(
                f"{now.name} is on {now.host.name}, not on {', '.join(strange)}; it was not powered off.",
                fault="AwayFromHome",
                hint="Somebody moved it meanwhile; plan the change again.",
                subject=now.name,
            )
        if now.power is Power.ON:
            power.Off(self.vm, self.how).apply(systems)
        power.On(self.vm).apply(systems)

    def confirm(self, systems: Systems) -> Confirmation:
        """Look whether all devices are connected."""
        return self.well(systems)

    def undo(self) -> NoUndo:
        """Leave it on, as it was before."""
        return NoUndo(f"{self.vm.name} is on, as it was before the change", leaves=False)
