"""Take the census of an estate: every USB and PCI passthrough device, who uses it, and what is wrong with that. Pure.

A census judges one reading of all hosts and VMs. Autoconnect follows the path and not the device (reference vSphere
1.3): so an entry of a VM's configuration is judged by the path that it names, and then by who answers there. What was
not read is never judged: a host that could not be asked is a row that says why.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import chain

from pydantic import Field

from passgate.errors import UnknownNameError
from passgate.model.counted import counted
from passgate.model.frozen import Frozen
from passgate.model.inventory import Arbitrator, Host, HostUsbDevice, PciFunction, Power, Vm, VmPci, VmUsbDevice
from passgate.model.pci import USB_CLASS
from passgate.model.table import Table
from passgate.model.usb import canonical_path, pattern_means, vid_pid


class Kind(StrEnum):
    """Name what a row is about: a device, or the host itself where something could not be read."""

    USB = "usb"
    PCI = "pci"
    HOST = "host"


class Use(StrEnum):
    """Say what a device is doing now; of a host, whether it was read."""

    FREE = "free"
    USED = "used"
    RESERVED = "reserved"
    WITHHELD = "not offered"
    BOOTS = "boots the host"
    NOT_ENABLED = "not enabled"
    NEEDS_REBOOT = "needs a host reboot"
    MISSING = "not there"
    UNREAD = "not read"
    READ = "read"


class FindingCode(StrEnum):
    """Name each kind of finding; the codes stay the same, the words of a finding may change."""

    NOT_THERE = "not-there"
    ANOTHER_DEVICE = "another-device"
    NO_ENTRY = "no-entry"
    TAKEN = "taken-by-another"
    NOT_CONNECTED = "not-connected"
    CONTESTED = "contested"
    AWAY = "away-from-home"
    UNKNOWN_HOST = "unknown-host"
    NOT_ACTIVE = "not-active"
    TWIN = "twin"
    SAME_SERIAL = "same-serial"
    NOT_READ = "not-read"
    NOT_OFFERED = "not-offered"
    ARBITRATOR = "arbitrator-stopped"
    SHELL = "shell-not-read"


NOTES = frozenset({FindingCode.TWIN, FindingCode.SAME_SERIAL, FindingCode.ARBITRATOR})
"""Findings that help to tell devices apart, or say how a host is."""
GAPS = frozenset({FindingCode.NOT_READ, FindingCode.SHELL})
"""Findings that say what the census does not know."""
_AS_CONFIGURED = NOTES | GAPS


class Finding(Frozen):
    """Hold one thing that people should know of a device, by a stable code and in words."""

    code: FindingCode
    words: str

    @property
    def is_against_config(self) -> bool:
        """Say whether what is differs from what the VMs' configurations say."""
        return self.code not in _AS_CONFIGURED


class HostReading(Frozen):
    """Hold what one host told. `failed` says in words why vCenter could not ask it; then nothing of it is judged.

    `serials` are those that the shell shows, by ids (`0529:0001`), for twins of which nobody knows which is which.
    """

    host: Host
    failed: str | None = None
    serials: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class CensusRow(Frozen):
    """Hold one device, or one host of which something could not be read.

    `place` is the USB path or the PCI address. `user` is the VM that has the device, or else the one whose
    configuration names it; `power` is that VM's.
    """

    host: str
    cluster: str = ""
    kind: Kind
    ids: str = ""
    name: str = ""
    place: str = ""
    serial: str = ""
    use: Use
    user: str = ""
    power: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def against_config(self) -> tuple[Finding, ...]:
        """Return the findings that say that a VM has, or gets, something else than its configuration says."""
        return tuple(one for one in self.findings if one.is_against_config)

    @property
    def words(self) -> str:
        """Return the device as people are shown it."""
        place = {Kind.USB: f" at path:{self.place}", Kind.PCI: f" at {self.place}"}.get(self.kind, "")
        serial = f", serial {self.serial}" if self.serial else ""
        return f"{self.name or 'device'} ({self.ids or 'ids unknown'}{place if self.place else ''}{serial})"


class Census(Frozen):
    """Hold the rows of one moment; `hosts` counts all that were to be read, `unread` those that were not."""

    read_at: datetime
    hosts: int
    unread: int
    rows: tuple[CensusRow, ...]

    @property
    def summary(self) -> str:
        """Say in a line what was found, and what was not read."""
        devices = [row for row in self.rows if row.kind is not Kind.HOST]
        uses = Counter(row.use for row in devices)
        kinds = Counter(row.kind for row in devices if row.use is not Use.MISSING)
        against = sum(bool(row.against_config) for row in self.rows)
        shells = sum(any(one.code is FindingCode.SHELL for one in row.findings) for row in self.rows)
        told = [
            f"{self.hosts - self.unread} of {counted(self.hosts, 'host')} read",
            f"{kinds[Kind.USB]} USB and {kinds[Kind.PCI]} PCI passthrough devices: "
            + ", ".join(f"{uses[use]} {use}" for use in Use if uses[use] and use is not Use.MISSING)
            if devices
            else "no devices",
            f"{against} against config" if against else "nothing against config",
        ]
        return "; ".join([*told, *([f"{counted(shells, 'shell')} not read"] if shells else [])])

    def table(self) -> Table:
        """Return the rows as a table: what is against config first, then what could not be read, then by host."""
        rows = sorted(self.rows, key=lambda row: (not row.against_config, row.kind is not Kind.HOST))
        cells = tuple(map(_cells, rows))
        return Table(name="usb-census", title=self.summary, columns=COLUMNS, rows=cells, brief=BRIEF)


COLUMNS = (
    "host", "cluster", "kind", "ids", "name", "place", "serial", "use", "free", "vm", "vm power", "against config",
    "notes",
)  # fmt: skip
BRIEF = ("host", "ids", "name", "place", "use", "vm", "against config", "notes")


def _cells(row: CensusRow) -> tuple[str, ...]:
    free = "" if row.kind is Kind.HOST else "yes" if row.use is Use.FREE else "no"
    against = "; ".join(one.words for one in row.findings if one.is_against_config)
    notes = "; ".join(one.words for one in row.findings if not one.is_against_config)
    return (
        row.host, row.cluster, row.kind.value, row.ids, row.name, row.place, row.serial, row.use.value, free, row.user,
        row.power, against, notes,
    )  # fmt: skip


class EstateReading(Frozen):
    """Hold one reading of many hosts, and of all VMs.

    `hosts` are all hosts of the estate, so that an entry for a host that was left out is told from one for a host that
    does not exist. A VM without a `change_version` was not read in depth, and its configuration is not judged.
    """

    read_at: datetime
    readings: tuple[HostReading, ...]
    hosts: tuple[Host, ...]
    vms: tuple[Vm, ...] = ()


def chosen(hosts: Sequence[Host], patterns: Sequence[str]) -> tuple[Host, ...]:
    """Return the hosts whose names fit one of these patterns (`esx-0*`); without patterns, all of them.

    Raises UnknownNameError for a pattern that fits none.
    """
    for pattern in patterns:
        if not any(fnmatchcase(host.name, pattern) for host in hosts):
            raise UnknownNameError(
                f"No host fits {pattern!r}.",
                hint=f"Hosts that were read: {', '.join(sorted(host.name for host in hosts)[:20]) or 'none'}.",
                subject="hosts",
            )
    return tuple(host for host in hosts if not patterns or any(fnmatchcase(host.name, one) for one in patterns))


def take_census(reading: EstateReading) -> Census:
    """Return the census of that reading."""
    readings, hosts, vms = reading.readings, reading.hosts, reading.vms
    entries = _Entries(hosts, vms)
    rows = list(chain.from_iterable(_of_host(one, entries) for one in readings))
    if len(readings) == len(hosts):
        rows += entries.of_unknown_hosts()
        rows += [_unreadable(vm) for vm in vms if not vm.change_version and not vm.template]
    return Census(
        read_at=reading.read_at,
        hosts=len(readings),
        unread=sum(one.failed is not None for one in readings),
        rows=tuple(_with_same_serials(rows)),
    )


class _Entries:
    """Hold the USB and PCI entries of all VMs by the host whose device they name."""

    def __init__(self, hosts: Sequence[Host], vms: Sequence[Vm]) -> None:
        by_name = {host.name: host.ref for host in hosts}
        self.vms = {vm.ref: vm for vm in vms}
        self.usb: defaultdict[str, list[tuple[Vm, VmUsbDevice]]] = defaultdict(list)
        self.pci: defaultdict[str, list[tuple[Vm, VmPci]]] = defaultdict(list)
        self._strange: list[tuple[Vm, VmUsbDevice]] = []
        for vm in vms:
            for entry in vm.usb:
                home = vm.host.ref if entry.hostname is None else by_name.get(entry.hostname)
                (self._strange if home is None else self.usb[home]).append((vm, entry))
            for device in vm.pci:
                self.pci[vm.host.ref].append((vm, device))

    def of_unknown_hosts(self) -> Iterator[CensusRow]:
        """Yield the entries whose host is none of this vCenter: renamed, removed, or a client's own computer."""
        for vm, entry in self._strange:
            words = f"{vm.name} names a device of {entry.hostname}, which is no host of this vCenter"
            yield _missing(str(entry.hostname), "", vm, entry, Finding(code=FindingCode.UNKNOWN_HOST, words=words))


def _of_host(reading: HostReading, entries: _Entries) -> Iterator[CensusRow]:
    host = reading.host
    if reading.failed is not None:
        finding = Finding(code=FindingCode.NOT_READ, words=reading.failed)
        yield _row(host, Kind.HOST, Use.UNREAD, findings=(finding,))
        return
    about = tuple(_about(host))
    if about:
        yield _row(host, Kind.HOST, Use.UNREAD if host.shell_error else Use.READ, findings=about)
    alike = Counter(one.vid_pid for one in host.usb)
    answered: set[tuple[str, int]] = set()
    for device in host.usb:
        named = [
            (vm, entry)
            for vm, entry in entries.usb[host.ref]
            if pattern_means(entry.pattern, device.path, device.vendor, device.product)
        ]
        answered |= {(vm.ref, entry.key) for vm, entry in named}
        yield _usb(reading, device, named, entries, alike[device.vid_pid])
    for vm, entry in entries.usb[host.ref]:
        if (vm.ref, entry.key) not in answered:
            yield _missing(host.name, host.cluster_name or "", vm, entry, _why_missing(host, vm, entry))
    yield from _pci(host, entries.pci[host.ref])


def _about(host: Host) -> Iterator[Finding]:
    """Yield what is to be said of the host itself."""
    if host.shell_error:
        words = f"its shell was not read, so serials and the arbitrator are not known: {host.shell_error}"
        yield Finding(code=FindingCode.SHELL, words=words)
    if host.arbitrator is Arbitrator.STOPPED:
        yield Finding(code=FindingCode.ARBITRATOR, words="its USB arbitrator is stopped: no VM can have a device of it")


def _usb(
    reading: HostReading, device: HostUsbDevice, named: list[tuple[Vm, VmUsbDevice]], entries: _Entries, alike: int
) -> CensusRow:
    user = entries.vms.get(device.used_by or "")
    shown = device.used_by_name or (user.name if user else device.used_by or "")
    first = named[0][0] if named else None
    findings = list(_against(device, named, user, shown))
    if alike > 1:
        serials = reading.serials.get(device.vid_pid, ())
        which = f"; the shell shows the serials {', '.join(serials)}, not which is where" if serials else ""
        findings.append(
            Finding(code=FindingCode.TWIN, words=f"one of {alike} alike on this host, told apart by path{which}")
        )
    power = user.power if user else first.power if first and not device.used_by else None
    return _row(
        reading.host,
        Kind.USB,
        _use(device, named),
        ids=device.vid_pid,
        name=device.name,
        place=device.path or "",
        serial=device.serial or "",
        user=shown or (first.name if first else ""),
        power=power.value if power else "",
        findings=tuple(findings),
    )


def _use(device: HostUsbDevice, named: list[tuple[Vm, VmUsbDevice]]) -> Use:
    if device.used_by:
        return Use.USED
    if device.boots_host:
        return Use.BOOTS
    if not device.offered:
        return Use.WITHHELD
    return Use.RESERVED if named else Use.FREE


def _against(
    device: HostUsbDevice, named: list[tuple[Vm, VmUsbDevice]], user: Vm | None, shown: str
) -> Iterator[Finding]:
    """Yield what differs between the device and the VMs' configurations."""
    at = f"path:{device.path}" if device.path else device.vid_pid
    for vm, entry in named:
        known = _ids(entry)
        if known and known != device.vid_pid:
            has = ", and the VM has it" if device.used_by == vm.ref else ": autoconnect follows the path"
            words = f"{vm.name} was given {known} at {at}; there answers {device.vid_pid} now{has}"
            yield Finding(code=FindingCode.ANOTHER_DEVICE, words=words)
        yield from _of_entry(device, vm, shown, at)
    if user is not None and user.change_version and user.ref not in {vm.ref for vm, _ in named}:
        words = f"{user.name} has it, but nothing in its configuration names {at}"
        yield Finding(code=FindingCode.NO_ENTRY, words=words)
    names = sorted({vm.name for vm, _ in named})
    if len({vm.ref for vm, _ in named}) > 1:
        words = f"{', '.join(names)} all name {at}: the first that runs takes it"
        yield Finding(code=FindingCode.CONTESTED, words=words)


def _of_entry(device: HostUsbDevice, vm: Vm, shown: str, at: str) -> Iterator[Finding]:
    """Yield why a VM whose configuration names the device has not got it, or will not."""
    if vm.host.ref != device.host.ref and vm.power in {Power.OFF, Power.SUSPENDED}:
        words = f"{vm.name} is {vm.power} on {vm.host.name}, away from {device.host.name}: it can't reconnect to {at}"
        yield Finding(code=FindingCode.AWAY, words=words)
    if vm.power is not Power.ON or device.used_by == vm.ref:
        return
    if device.used_by:
        yield Finding(code=FindingCode.TAKEN, words=f"{vm.name} is on and names {at}, but {shown} has it")
    else:
        yield Finding(code=FindingCode.NOT_CONNECTED, words=f"{vm.name} is on and names {at}, but has not got it")


def _missing(host: str, cluster: str, vm: Vm, entry: VmUsbDevice, finding: Finding) -> CensusRow:
    return CensusRow(
        host=host,
        cluster=cluster,
        kind=Kind.USB,
        ids=_ids(entry),
        place=canonical_path(entry.pattern),
        use=Use.MISSING,
        user=vm.name,
        power=vm.power.value,
        findings=(finding,),
    )


def _why_missing(host: Host, vm: Vm, entry: VmUsbDevice) -> Finding:
    place = canonical_path(entry.pattern) or "a device without a path"
    if host.arbitrator is Arbitrator.STOPPED:
        words = f"{vm.name} names {place}, which is not offered while the arbitrator is stopped"
        return Finding(code=FindingCode.NOT_OFFERED, words=words)
    words = f"{vm.name} names {place} on {host.name}, where no device is offered"
    return Finding(code=FindingCode.NOT_THERE, words=words)


def _pci(host: Host, entries: list[tuple[Vm, VmPci]]) -> Iterator[CensusRow]:
    """Yield the functions that are passed through, or could be (USB controllers), and entries without a function."""
    known = {one.address for one in host.pci}
    by_address: defaultdict[str | None, list[tuple[Vm, VmPci]]] = defaultdict(list)
    for vm, device in entries:
        by_address[device.address].append((vm, device))
    for function in host.pci:
        named = by_address.get(function.address, [])
        spare = function.class_id == USB_CLASS and function.capable
        if named or function.enabled or function.active or spare:
            yield _pci_row(host, function, named)
    for address, named in by_address.items():
        for vm, device in named:
            if address is None:
                yield _pci_entry(host, vm, device, Use.USED if vm.power is Power.ON else Use.RESERVED, ())
            elif host.pci and address not in known:
                words = f"{vm.name} names {address}, and {host.name} has no such function"
                finding = Finding(code=FindingCode.NOT_THERE, words=words)
                yield _pci_entry(host, vm, device, Use.MISSING, (finding,))


def _pci_row(host: Host, function: PciFunction, named: list[tuple[Vm, VmPci]]) -> CensusRow:
    running = [vm for vm, _ in named if vm.power in {Power.ON, Power.SUSPENDED}]
    user = next(iter(running or [vm for vm, _ in named]), None)
    findings: list[Finding] = []
    for vm, device in named:
        ids = vid_pid(device.vendor, device.device) if device.vendor is not None and device.device is not None else ""
        if ids and ids != function.ids:
            words = f"{vm.name} was given {ids} at {function.address}; there answers {function.ids} now"
            findings.append(Finding(code=FindingCode.ANOTHER_DEVICE, words=words))
        if not function.active:
            words = f"{vm.name} names it, but its passthrough is not active: the VM can't be powered on"
            findings.append(Finding(code=FindingCode.NOT_ACTIVE, words=words))
    if len({vm.ref for vm, _ in named}) > 1:
        words = f"{', '.join(sorted({vm.name for vm, _ in named}))} all name it: only one of them can run"
        findings.append(Finding(code=FindingCode.CONTESTED, words=words))
    use = Use.USED if running else Use.RESERVED if named else Use.FREE
    if not named and function.enabled != function.active:
        use = Use.NEEDS_REBOOT
    elif not named and not function.active:
        use = Use.NOT_ENABLED
    return _row(
        host,
        Kind.PCI,
        use,
        ids=function.ids,
        name=function.name,
        place=function.address,
        user=user.name if user else "",
        power=user.power.value if user else "",
        findings=tuple(findings),
    )


def _pci_entry(host: Host, vm: Vm, device: VmPci, use: Use, findings: tuple[Finding, ...]) -> CensusRow:
    has_ids = device.vendor is not None and device.device is not None
    return _row(
        host,
        Kind.PCI,
        use,
        ids=vid_pid(device.vendor or 0, device.device or 0) if has_ids else "",
        name=device.name,
        place=device.address or "",
        user=vm.name,
        power=vm.power.value,
        findings=findings,
    )


def _unreadable(vm: Vm) -> CensusRow:
    words = f"the configuration of {vm.name} could not be read ({vm.connection}): what it names is not known"
    finding = Finding(code=FindingCode.NOT_READ, words=words)
    return CensusRow(
        host=vm.host.name,
        kind=Kind.HOST,
        use=Use.UNREAD,
        user=vm.name,
        power=vm.power.value,
        findings=(finding,),
    )


def _with_same_serials(rows: Iterable[CensusRow]) -> Iterator[CensusRow]:
    """Yield the rows, those of devices with the same ids and serial in several places with a note that says where."""
    found = list(rows)
    places: defaultdict[tuple[str, str], list[CensusRow]] = defaultdict(list)
    for row in found:
        if row.kind is Kind.USB and row.serial:
            places[row.ids, row.serial].append(row)
    for row in found:
        others = [one for one in places.get((row.ids, row.serial), ()) if one is not row]
        if row.kind is not Kind.USB or not row.serial or not others:
            yield row
            continue
        where = ", ".join(f"{one.host} {one.place}".strip() for one in others[:5])
        note = Finding(code=FindingCode.SAME_SERIAL, words=f"the same ids and serial answer at {where} too")
        yield row.model_copy(update={"findings": (*row.findings, note)})


def _ids(entry: VmUsbDevice) -> str:
    if entry.vendor is None or entry.product is None:
        return ""
    return vid_pid(entry.vendor & 0xFFFF, entry.product & 0xFFFF)


def _row(host: Host, kind: Kind, use: Use, **more: object) -> CensusRow:
    return CensusRow.model_validate(
        {"host": host.name, "cluster": host.cluster_name or "", "kind": kind, "use": use, **more}
    )
