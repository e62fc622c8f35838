"""Describe what the simulated datacenter is made of: hosts, VMs, their devices, tasks, faults and mutations."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from passgate.lab.guest_devices import GuestDevice

from passgate.lab.cluster import LabCluster
from passgate.lab.pci import Passthrough, PciFunction
from passgate.lab.snapshots import Schedule, Snapshot
from passgate.lab.vmkernel import KernelLog

VirtualKind = Literal[
    "ide", "ps2", "pci", "sio", "keyboard", "pointing", "video", "scsi", "disk", "nic", "ehci", "xhci", "usb",
    "passthrough", "other",
]  # fmt: skip
PowerState = str
"""`poweredOn`, `poweredOff` or `suspended`, as vSphere writes them."""

SHARED_DATASTORE = "datastore1"

_PART = re.compile(r"(\w+):((?:\\.|[^\\ ])*)")
_ticks = itertools.count(1)


def stamp() -> str:
    """Return a new change version: vSphere's are times, ours never repeat."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}.{next(_ticks):06d}Z"


class Refusal(Exception):  # noqa: N818 - a fault of the simulated world is an answer, not an error of the lab
    """Carry a vSphere fault by name, with its message and fields; each wire writes it in its own format."""

    def __init__(self, fault: str, message: str = "", /, **fields: Any) -> None:
        super().__init__(message or fault)
        self.fault = fault
        self.message = message or fault
        self.fields = fields


@dataclass(eq=False)
class HostUsb:
    """Hold one USB device that is plugged into a host. `path` is without `path:`; `bus` and `dev` are lsusb's."""

    vendor: int
    product: int
    name: str
    path: str
    serial: str | None = None
    bus: int = 1
    dev: int = 2
    families: tuple[str, ...] = ()
    speeds: tuple[str, ...] = ("high",)
    offered: bool = True
    """False for what the arbitrator always filters: hubs, keyboards, the boot device (readers: `smartcards`)."""
    boot: bool = False
    passthrough: bool = True
    """What `esxcli hardware usb passthrough device enable|disable` sets."""
    fixed_disk: bool = False
    """Whether it is a disk in an enclosure, not a stick: Windows takes only these offline."""

    @property
    def pattern(self) -> str:
        """Return the arbitrator's physicalPath, which is an autoconnect pattern (reference 1.3)."""
        return f"path:{self.path}"

    @property
    def is_super_speed(self) -> bool:
        """Say whether the device needs an xHCI controller."""
        return any(speed.startswith("superSpeed") for speed in self.speeds)


@dataclass
class HostService:
    """Hold one service of a host as HostServiceSystem shows it."""

    key: str
    label: str
    running: bool
    policy: str = "off"
    lingers: bool = False
    """Whether its process goes on though the service says that it is stopped."""


@dataclass(eq=False)
class LabHost:
    """Hold one host."""

    ref: str
    name: str
    uuid: str
    ip: str
    version: str = "8.0.2"
    build: str = "22380479"
    connection: str = "connected"
    power: str = "poweredOn"
    """`poweredOn`, `poweredOff` while it reboots, or `standBy` where power management switched it off."""
    maintenance: bool = False
    entering_maintenance: bool = False
    reboot_required: bool = False
    memory_mb: int = 65536
    tags: list[str] = field(default_factory=list)
    """vSphere tags, written `Category/Name`."""
    answers_902: bool = True
    """Whether TCP 902 of its management address lets other hosts in, over which USB devices of moved VMs travel."""
    arbitrator_running: bool = True
    arbitrator_autostart: bool = True
    usb: list[HostUsb] = field(default_factory=list)
    pci: list[PciFunction] = field(default_factory=list)
    passthrough: Passthrough = field(default_factory=Passthrough)
    services: dict[str, HostService] = field(default_factory=dict)
    boot_time: datetime = field(default_factory=lambda: datetime.now(UTC))
    dpm: bool | None = None
    """Override of the cluster's power management for this host; None: no override."""
    recent_tasks: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    """Property path -> fault that vCenter answers in its place, as `LabVm.unreadable`; its managers' properties too."""
    log: KernelLog = field(default_factory=KernelLog)

    @property
    def local_datastore(self) -> str:
        """Return the name of the datastore that this host alone sees."""
        return f"{self.name.partition('.')[0]}-local"

    @property
    def own_usb(self) -> list[HostUsb]:
        """Return the devices that the host itself has: none of a controller that is set aside for passthrough."""
        gone = {bus for one in self.pci if one.id in self.passthrough.active for bus in one.buses}
        return [one for one in self.usb if one.bus not in gone]

    def function(self, address: str) -> PciFunction:
        """Return the PCI function at that address."""
        for one in self.pci:
            if one.id == address.lower():
                return one
        raise LookupError(f"{self.name} has no PCI function at {address}.")

    @property
    def system_id(self) -> str:
        """Return what ties a passed-through function in a VM's configuration to this host (reference 2.2)."""
        return self.passthrough.system_id or self.uuid

    def usb_at(self, path: str) -> HostUsb:
        """Return the device at that path, given with or without `path:`."""
        wanted = path.removeprefix("path:")
        for one in self.usb:
            if one.path == wanted:
                return one
        raise LookupError(f"{self.name} has no USB device at path:{wanted}.")


@dataclass(eq=False)
class VirtualDevice:
    """Hold one device of a VM's virtual hardware; `payload` keeps what only one wire knows of it."""

    kind: VirtualKind
    key: int
    controller: int | None = None
    unit: int | None = None
    label: str = ""
    summary: str = ""
    payload: Any = None


@dataclass(eq=False)
class VirtualUsb(VirtualDevice):
    """Hold one host USB device entry in a VM's configuration, and the device that it has claimed.

    `hostname` is set for the backing that supports vMotion. `device` is claimed from the moment at which the entry
    matches; the VM sees it `connect_seconds` later. `lost` means: not again before the next power-on.
    """

    pattern: str = ""
    hostname: str | None = None
    device: HostUsb | None = None
    claimed_at: float = 0.0
    lost: bool = False
    vendor: int | None = None
    product: int | None = None

    @property
    def shown(self) -> str:
        """Return what vSphere writes as the summary of this entry."""
        return self.device.name if self.device else "Autoconnect Device"


@dataclass(eq=False)
class VirtualPci(VirtualDevice):
    """Hold one function of a host in a VM's configuration, by what the configuration says of it, right or wrong."""

    address: str = ""
    device_id: str = ""
    vendor: int = 0
    system_id: str = ""
    name: str = ""


@dataclass(eq=False)
class LabVm:
    """Hold one VM. `guest_user` and `guest_password` are the account inside its guest."""

    ref: str
    name: str
    uuid: str
    instance_uuid: str
    host: LabHost
    guest_id: str
    guest_name: str
    power: PowerState = "poweredOff"
    hardware_version: int = 19
    tools_installed: bool = True
    template: bool = False
    devices: list[VirtualDevice] = field(default_factory=list)
    extra_config: dict[str, str] = field(default_factory=dict)
    memory_mb: int = 4096
    memory_reservation_mb: int = 0
    memory_locked: bool = False
    pci_hot_plug: bool = False
    """fixedPassthruHotPlugEnabled: passed-through functions may be added while it runs (8.0.1)."""
    snapshots: list[Snapshot] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)
    cpus: int = 2
    ip: str = ""
    guest_user: str = ""
    guest_password: str = ""
    change_version: str = field(default_factory=stamp)
    boot_time: datetime | None = None
    ready_at: float = 0.0
    recent_tasks: list[str] = field(default_factory=list)
    fault_tolerance: bool = False
    ft_role: str = "primary"
    """`primary` or `secondary`, which counts only with fault tolerance."""
    local_datastore: bool = False
    """Whether its disks are on its host's own datastore, which no other host sees."""
    question: str | None = None
    connection: str = "connected"
    annotation: str = ""
    tags: list[str] = field(default_factory=list)
    """vSphere tags, written `Category/Name`."""
    vmx_file: bytes | None = None
    """What somebody wrote into the VMX file over hostd's own text; None: nothing."""
    log: list[str] = field(default_factory=list)
    """Lines of vmware.log that the lab writes."""
    hot_add: bool = True
    """The options' plugAndPlay and, below, hotRemoveSupported: what may be done to USB while the VM runs."""
    hot_remove: bool = True
    cpu_hot_add: bool = False
    memory_hot_add: bool = False
    blind: str = "none"
    """How its guest misses what is hot-added: one of `guest_devices.BLIND`."""
    guest_devices: dict[int, GuestDevice] = field(default_factory=dict)
    """What its guest has found, by the identity of the host's device."""
    missed_once: set[int] = field(default_factory=set)
    unreadable: dict[str, str] = field(default_factory=dict)
    """Property path -> fault that vCenter answers in its place; an empty fault leaves it unset, without a reason."""

    @property
    def is_windows(self) -> bool:
        """Say whether the guest is a Windows."""
        return self.guest_id.startswith("win")

    @property
    def datastore(self) -> str:
        """Return the name of the datastore that its files are on."""
        return self.host.local_datastore if self.local_datastore else SHARED_DATASTORE

    @property
    def dns_name(self) -> str:
        """Return the name that the guest gives itself."""
        return f"{self.name}.lab.example"

    @property
    def usb(self) -> list[VirtualUsb]:
        """Return the host USB device entries."""
        return [one for one in self.devices if isinstance(one, VirtualUsb)]

    @property
    def passed(self) -> list[VirtualPci]:
        """Return the host's functions in its configuration."""
        return [one for one in self.devices if isinstance(one, VirtualPci)]

    def device(self, key: int | None) -> VirtualDevice | None:
        """Return the device with that key."""
        return next((one for one in self.devices if one.key == key), None)

    def controller_takes(self, entry: VirtualUsb, device: HostUsb) -> bool:
        """Say whether the entry's controller takes the device: EHCI takes none at a SuperSpeed rate."""
        controller = self.device(entry.controller)
        return controller is not None and (controller.kind == "xhci" or not device.is_super_speed)


@dataclass(eq=False)
class Task:
    """Hold one task; `state` is queued, running, success or error."""

    id: str
    method: str
    entity: LabVm | LabHost | LabCluster
    user: str
    state: str = "queued"
    queued: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: datetime | None = None
    completed: datetime | None = None
    error: Refusal | None = None
    result: object = None
    cancelled: bool = False
    locks: bool = True
    """Whether no other task may run on the same object meanwhile."""

    @property
    def has_ended(self) -> bool:
        """Say whether nothing follows any more."""
        return self.state in {"success", "error"}


@dataclass
class Fault:
    """Say how the next calls of a method on an object fail.

    `object` is a name or managed object id, `*` any. `fault` is a vSphere fault's name; `Disconnect` breaks the
    connection before the call acts, `DisconnectAfter` after it has acted; an empty one only delays. A `*_Task` method's
    fault is answered at once with `in_task=False`, else the task starts and ends with it.
    """

    method: str
    object: str = "*"
    fault: str = ""
    times: int = 1
    delay: float = 0.0
    in_task: bool = False
    message: str = ""

    def hits(self, method: str, *subjects: str) -> bool:
        """Say whether this fault is meant for the call."""
        return self.method in {"*", method} and self.object in {"*", *subjects}


@dataclass(frozen=True)
class Mutation:
    """Hold one call over any wire that asked to change something."""

    at: datetime
    wire: str
    method: str
    object: str
    user: str
    accepted: bool


def matches(pattern: str, device: HostUsb, host: LabHost) -> bool:
    """Say whether an autoconnect pattern means this device (grammar: reference 1.3).

    Keys that identify nothing (`version`, `autoclean`, `name`, ...) are passed over; a pattern with nothing else
    matches nothing.
    """
    parts = {key: re.sub(r"\\(.)", r"\1", value) for key, value in _PART.findall(pattern)}
    facts = {"path": device.path, "vid": device.vendor, "pid": device.product, "hostId": host.uuid}
    asked = {key: value for key, value in parts.items() if key in facts}
    if not asked.keys() & {"path", "vid", "pid"}:
        return False
    try:
        same = all((int(value, 16) if key in {"vid", "pid"} else value) == facts[key] for key, value in asked.items())
    except ValueError:
        return False
    return same and parts.get("speed", device.speeds[0]) in device.speeds
