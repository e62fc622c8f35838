"""Describe what was read from vCenter, the hosts and the guests at one moment.

Identities (`VmId`, `HostId`, `UsbId`) are what a plan may hold; the full readings extend them, so that a reading can be
handed to a step and only its identity is kept. Sizes are counts, versions are as vSphere writes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from pydantic import Field

from passgate.errors import AmbiguousNameError, InputError, UnknownNameError
from passgate.model.frozen import Frozen
from passgate.model.guest import GuestUsb
from passgate.model.identity import HostId, VmId
from passgate.model.pci import ConfirmedBus, PciFunction, PciId, PciSelector, VmPci
from passgate.model.usb import UsbSelector, canonical_path, vid_pid

__all__ = [
    "Arbitrator", "Cluster", "ControllerKind", "GuestFamily", "Host", "HostId", "HostService", "HostUsbDevice",
    "Inventory", "PciFunction", "PciId", "Power", "Snapshot", "UsbController", "UsbId", "UsbOptions", "Vm", "VmId",
    "Schedule", "VmPci", "VmUsbDevice", "listed",
]  # fmt: skip


class Power(StrEnum):
    """Tell the three power states of a VM apart, and the one that could not be read."""

    ON = "on"
    OFF = "off"
    SUSPENDED = "suspended"
    UNKNOWN = "unknown"


class ControllerKind(StrEnum):
    """Name the two virtual USB controllers; a VM has at most one of each (KB 305356)."""

    XHCI = "xhci"
    EHCI = "ehci"

    @property
    def label(self) -> str:
        """Return the name that the vSphere Client shows."""
        return "USB 3 (xHCI)" if self is ControllerKind.XHCI else "USB 2 (EHCI+UHCI)"


class Arbitrator(StrEnum):
    """Tell what is known of a host's USB arbitrator service."""

    RUNNING = "running"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


class GuestFamily(StrEnum):
    """Group guests by how they are asked about their devices."""

    WINDOWS = "windows"
    LINUX = "linux"
    OTHER = "other"


class UsbId(Frozen):
    """Identify a USB device on a host: vendor and product, and path and serial as far as they could be read.

    `path` is the arbitrator's pattern without its ` version:` and ` autoclean:` parts; None while the arbitrator does
    not offer the device. `serial` comes from the ESXi shell; the vSphere API has none (reference vSphere 1.1).
    """

    host: HostId
    vendor: int = Field(ge=0, le=0xFFFF)
    product: int = Field(ge=0, le=0xFFFF)
    path: str | None = None
    serial: str | None = None
    name: str = ""

    @property
    def vid_pid(self) -> str:
        """Return `18a5:0302`: both ids in hex, four digits each."""
        return vid_pid(self.vendor, self.product)

    @property
    def words(self) -> str:
        """Return the device as people are shown it: name, ids, path and serial."""
        where = f" at {self.path}" if self.path else ""
        serial = f", serial {self.serial}" if self.serial else ""
        return f"{self.name or 'USB device'} ({self.vid_pid}{where}{serial})"

    def is_same_device(self, other: UsbId) -> bool:
        """Say whether both describe one device: same host and ids, and no known path or serial differs."""
        if (self.host.ref, self.vendor, self.product) != (other.host.ref, other.vendor, other.product):
            return False
        paths_agree = not (self.path and other.path) or canonical_path(self.path) == canonical_path(other.path)
        return paths_agree and (not (self.serial and other.serial) or self.serial == other.serial)


class HostUsbDevice(UsbId):
    """Hold one USB device as the host shows it.

    `pattern` is the arbitrator's physicalPath verbatim, to be written into a VM's backing unchanged. `families` and
    `speeds` are vSphere's own words (`storage`, `hub`, `superSpeed`, ...). `used_by` is the VM that has it now.
    `boots_host` says that ESXi boots from it. `bus` and `device` are the transient numbers that lsusb prints.
    """

    pattern: str | None = None
    families: tuple[str, ...] = ()
    speeds: tuple[str, ...] = ()
    used_by: str | None = None
    used_by_name: str | None = None
    offered: bool = False
    boots_host: bool = False
    bus: int | None = None
    device: int | None = None

    @property
    def is_usb3(self) -> bool:
        """Say whether the device runs at a SuperSpeed rate, which needs an xHCI controller."""
        return any(speed.startswith("superSpeed") for speed in self.speeds)


class UsbController(Frozen):
    """Hold one virtual USB controller of a VM; `key` is the device key in its configuration."""

    kind: ControllerKind
    key: int


class VmUsbDevice(Frozen):
    """Hold one USB device entry in a VM's configuration.

    `pattern` is the backing's deviceName verbatim; `hostname` is set when the backing supports vMotion. `connected`
    means something only while the VM runs (reference vSphere 1.5).
    """

    key: int
    controller_key: int | None = None
    pattern: str
    hostname: str | None = None
    connected: bool = False
    vendor: int | None = None
    product: int | None = None


class UsbOptions(Frozen):
    """Hold what the environment browser says a VM of this hardware version may have; None when it does not say."""

    usb_supported: bool = True
    hot_add: bool | None = None
    hot_remove: bool | None = None
    max_ehci: int | None = None
    max_xhci: int | None = None


class Snapshot(Frozen):
    """Hold one snapshot of a VM; `memory` says that it holds the guest's memory too."""

    name: str
    memory: bool = False


class Schedule(Frozen):
    """Hold one scheduled task of vCenter for a VM; `method` is the WSDL name of what it does."""

    name: str
    method: str
    enabled: bool = True


class Vm(VmId):
    """Hold one VM as read from vCenter.

    `guest_id` is vSphere's guestId (`windows2019srv_64Guest`); `guest_version` the kernel or build where Tools report
    it. `connection` is `connected` in the normal case. `disks` counts the VM's own virtual disks; None when they
    were not read. `change_version` guards reconfigures against a second writer. Memory is in MiB; `memory_locked`
    says that the whole of it is reserved, whatever its size. `extra` holds the advanced settings about USB and PCI
    passthrough only. `schedules` are vCenter's scheduled tasks for it, None when they were not read.
    `shared_storage` is False where a disk is on a datastore that only its host sees; None when it was not read.
    """

    power: Power
    connection: str = "connected"
    template: bool = False
    guest_id: str = ""
    guest_name: str = ""
    guest_family: GuestFamily = GuestFamily.OTHER
    guest_version: str = ""
    hardware_version: int = 0
    tools_installed: bool = False
    tools_running: bool = False
    guest_ready: bool = False
    fault_tolerance: bool = False
    question: str | None = None
    controllers: tuple[UsbController, ...] = ()
    usb: tuple[VmUsbDevice, ...] = ()
    disks: int | None = None
    options: UsbOptions | None = None
    change_version: str = ""
    cpus: int = 0
    memory_mb: int = 0
    memory_reservation_mb: int = 0
    memory_locked: bool = False
    cpu_hot_add: bool = False
    memory_hot_add: bool = False
    pci_hot_add: bool = False
    snapshots: tuple[Snapshot, ...] = ()
    schedules: tuple[Schedule, ...] | None = None
    pci: tuple[VmPci, ...] = ()
    extra: dict[str, str] = Field(default_factory=dict)
    vmx_path: str = ""
    shared_storage: bool | None = None

    @property
    def id(self) -> VmId:
        """Return only what identifies the VM."""
        return VmId(ref=self.ref, name=self.name, uuid=self.uuid, host=self.host)

    def controller(self, kind: ControllerKind) -> UsbController | None:
        """Return the VM's controller of that kind, if it has one."""
        return next((one for one in self.controllers if one.kind is kind), None)

    def passes(self, function: PciId) -> VmPci | None:
        """Return the configuration entry for that function's address, if there is one."""
        return next((one for one in self.pci if one.address == function.address), None)

    def usb_entry(self, device: UsbId) -> VmUsbDevice | None:
        """Return the configuration entry that points at the device's path, if there is one."""
        if device.path is None:
            return None
        wanted = canonical_path(device.path)
        return next((entry for entry in self.usb if canonical_path(entry.pattern) == wanted), None)


class HostService(Frozen):
    """Hold one service of a host as vCenter lists it; `policy` is `on` (starts with the host), `off` or `automatic`."""

    key: str
    label: str = ""
    running: bool = False
    policy: str = ""


class Host(HostId):
    """Hold one host as read from vCenter and its shell.

    `version` is the product version (`8.0.2`). `usb_controllers` counts PCI functions of class 0x0c03. `dpm` is the
    effective setting for this host. `shell_error` says why the shell could not be read, in words. Memory is in MiB.
    `buses` says which controller each USB bus belongs to, where the root hub itself names it; `confirmed` the same
    on the word of a person. `pci` is read only where a runbook asks for it; `rebind` says whether the host can
    change passthrough without a reboot, None when it does not tell. `services` is None when they were not read.
    `can_reboot` says that the host supports maintenance mode and a reboot, None when it does not tell; `ha_state` is
    its HA agent's own word. `datacenter` is read only where hosts are named.
    """

    cluster: str | None = None
    cluster_name: str | None = None
    connection: str = "connected"
    maintenance: bool = False
    version: str = ""
    arbitrator: Arbitrator = Arbitrator.UNKNOWN
    usb: tuple[HostUsbDevice, ...] = ()
    usb_controllers: int = 0
    dpm: bool = False
    management_ip: str | None = None
    shell_error: str | None = None
    datacenter: str | None = None
    boot_time: datetime | None = None
    can_reboot: bool | None = None
    ha_state: str | None = None
    reboot_required: bool = False
    memory_mb: int = 0
    services: tuple[HostService, ...] | None = None
    pci: tuple[PciFunction, ...] = ()
    rebind: bool | None = None
    system_id: str = ""
    buses: dict[int, str] = Field(default_factory=dict)
    confirmed: tuple[ConfirmedBus, ...] = ()

    @property
    def id(self) -> HostId:
        """Return only what identifies the host."""
        return HostId(ref=self.ref, name=self.name, uuid=self.uuid)

    def service(self, key: str) -> HostService | None:
        """Return the service with that key; None when the host has none, or does not tell."""
        return next((one for one in self.services or () if one.key == key), None)

    def function(self, selector: PciSelector) -> PciFunction:
        """Return the one PCI function that the selector names.

        Raises UnknownNameError or AmbiguousNameError, both with a list of what the host has.
        """
        found = tuple(one for one in self.pci if selector.matches(one))
        if len(found) == 1:
            return found[0]
        capable = "; ".join(one.words for one in self.pci if one.capable) or "none"
        if not found:
            raise UnknownNameError(
                f"No PCI function of {self.name} is {selector}.",
                hint=f"Functions that can be passed through: {capable}. Name one by address or vendor:device.",
                subject=self.name,
            )
        raise AmbiguousNameError(
            f"{len(found)} PCI functions of {self.name} are {selector}.",
            hint=f"Choose one by address: {'; '.join(one.words for one in found)}.",
            subject=self.name,
        )

    def together_with(self, function: PciFunction) -> tuple[PciFunction, ...]:
        """Return the functions, itself first, whose passthrough changes together (reference vSphere 2.1)."""
        others = (one for one in self.pci if one.acts_on == function.acts_on and one.address != function.address)
        return (function, *(one for one in others if one.capable))

    def usb_device(self, selector: UsbSelector) -> HostUsbDevice:
        """Return the one device that the selector names.

        Raises UnknownNameError or AmbiguousNameError, both with a list of what the host has.
        """
        found = tuple(one for one in self.usb if selector.matches(one.vendor, one.product, one.path, one.serial))
        if len(found) == 1:
            return found[0]
        if not found:
            raise UnknownNameError(
                f"No USB device on {self.name} matches {selector}.",
                hint=f"{self.name} has: {listed(self.usb)}. Name one by vendor:product, path or serial.",
                subject=self.name,
            )
        raise AmbiguousNameError(
            f"{len(found)} USB devices on {self.name} match {selector}.",
            hint=f"Choose one by path or serial: {listed(found)}.",
            subject=self.name,
        )


class Cluster(Frozen):
    """Hold one cluster of hosts.

    `drs_level` is vSphere's word for its automation (`fullyAutomated`), `drs_overrides` VM id -> its own level, or
    `disabled`. `dpm_overrides` is host id -> whether it may be powered off; a host without one follows `dpm`.
    """

    ref: str
    name: str
    drs: bool = False
    drs_level: str = ""
    drs_overrides: dict[str, str] = Field(default_factory=dict)
    dpm: bool = False
    dpm_overrides: dict[str, bool] = Field(default_factory=dict)
    ha: bool = False


class Inventory(Frozen):
    """Hold everything that one planning needs, read at one moment.

    `privileges` lists `entity ref -> privileges held` for the entities in scope. `api_version` is vCenter's own
    (`8.0.2.0`). `site` is the vCenter's name in config; `standalone` says that it is an ESXi host without a vCenter.
    `guests` is VM id -> what its guest shows, for VMs whose guest was asked; `guest_errors`: why others were silent.
    `depended_on` is VM id -> what runs in it that changes can't do without (vCenter, Passgate), as far as can be told.
    """

    site: str
    api_version: str
    read_at: datetime
    vms: tuple[Vm, ...] = ()
    hosts: tuple[Host, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    standalone: bool = False
    guests: dict[str, tuple[GuestUsb, ...]] = Field(default_factory=dict)
    guest_errors: dict[str, str] = Field(default_factory=dict)
    privileges: dict[str, frozenset[str]] = Field(default_factory=dict)
    depended_on: dict[str, str] = Field(default_factory=dict)

    def vm(self, name: str) -> Vm:
        """Return the one VM of that name. Raises UnknownNameError or AmbiguousNameError."""
        found = [vm for vm in self.vms if vm.name == name and not vm.template]
        if len(found) == 1:
            return found[0]
        if found:
            where = ", ".join(f"{vm.uuid} on {vm.host.name}" for vm in found)
            raise AmbiguousNameError(
                f"{len(found)} VMs are called {name!r}.",
                hint=f"Give the instance UUID in place of the name: {where}.",
                subject=name,
            )
        by_uuid = [vm for vm in self.vms if vm.uuid == name]
        if by_uuid:
            return by_uuid[0]
        raise UnknownNameError(
            f"There is no VM called {name!r} in {self.site}.",
            hint=f"VMs that were read: {', '.join(sorted(vm.name for vm in self.vms)[:20]) or 'none'}.",
            subject=name,
        )

    def host(self, ref: str) -> Host:
        """Return the host with that managed object id, or of that name."""
        for host in self.hosts:
            if ref in (host.ref, host.name):
                return host
        raise UnknownNameError(
            f"There is no host {ref!r} in {self.site}.",
            hint=f"Hosts that were read: {', '.join(sorted(host.name for host in self.hosts)) or 'none'}.",
            subject=ref,
        )

    def vm_and_host(self, name: str) -> tuple[Vm, Host]:
        """Return the VM of that name and the host that it is on."""
        vm = self.vm(name)
        return vm, self.host(vm.host.ref)

    def cluster(self, ref: str | None) -> Cluster | None:
        """Return the cluster with that managed object id, if it was read."""
        return next((one for one in self.clusters if one.ref == ref), None)

    def vms_on(self, host: HostId) -> tuple[Vm, ...]:
        """Return the VMs that are registered on that host, templates left out, by name."""
        mine = (vm for vm in self.vms if vm.host.ref == host.ref and not vm.template)
        return tuple(sorted(mine, key=lambda vm: (vm.name, vm.ref)))

    def with_vm(self, changed: Vm) -> Inventory:
        """Return the inventory as it would be with that VM in place of the one with its id."""
        if all(vm.ref != changed.ref for vm in self.vms):
            raise InputError(f"{changed.name} is not part of this reading.", subject=changed.name)
        return self.model_copy(update={"vms": tuple(changed if vm.ref == changed.ref else vm for vm in self.vms)})

    def with_host(self, changed: Host) -> Inventory:
        """Return the inventory as it would be with that host in place of the one with its id."""
        hosts = tuple(changed if host.ref == changed.ref else host for host in self.hosts)
        return self.model_copy(update={"hosts": hosts})

    def with_cluster(self, changed: Cluster) -> Inventory:
        """Return the inventory as it would be with that cluster in place of the one with its id."""
        clusters = tuple(changed if one.ref == changed.ref else one for one in self.clusters)
        return self.model_copy(update={"clusters": clusters})


def listed(devices: Iterable[HostUsbDevice]) -> str:
    """Return the devices in words, with who uses them, for messages that say what there is."""
    words = [f"{one.words}{f' used by {one.used_by_name}' if one.used_by_name else ''}" for one in devices]
    return "; ".join(words) or "no USB devices"
