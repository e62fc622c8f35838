"""Compare two readings of a host, and say in words what came, went, was exchanged, or fell off a VM. Pure.

Facts come from comparing readings and from nothing else: no authentic vmkernel line about USB is public (reference
vSphere 3.5), so lines of a log are a reason to look, and are shown beside the news as they are.

A device is told by its path, its ids and, where both readings know it, its serial. The numbers that lsusb gives are no
part of that: they change when nothing did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum

from passgate.model.census import EstateReading, HostReading
from passgate.model.frozen import Frozen
from passgate.model.inventory import Arbitrator, Power, Vm
from passgate.model.usb import canonical_path, pattern_means, vid_pid

GONE = 50
"""Paths of a host of which it is remembered who answered there last."""


class NewsKind(StrEnum):
    """Name each kind of news; the codes stay the same, the words may change."""

    PLUG = "plugged in"
    UNPLUG = "pulled out"
    SWAP = "exchanged"
    MOVED = "moved"
    FELL_OFF = "fell off its VM"
    CONNECTED = "connected to its VM"
    ARBITRATOR_STOPPED = "arbitrator stopped"
    ARBITRATOR_STARTED = "arbitrator started"
    SHELL_LOST = "shell lost"
    SHELL_BACK = "shell back"
    HOST_LOST = "host lost"
    HOST_BACK = "host back"
    VCENTER_LOST = "vCenter lost"
    VCENTER_BACK = "vCenter back"
    STANDING = "so from the start"


class News(Frozen):
    """Hold one thing that happened to a host, a device, or a VM's device."""

    kind: NewsKind
    host: str
    words: str
    device: str = ""
    place: str = ""
    vm: str = ""


class Plugged(Frozen):
    """Hold one device as it is compared. `path` is None while the arbitrator does not offer it."""

    ids: str
    path: str | None = None
    serial: str | None = None
    name: str = ""
    user: str = ""

    @property
    def words(self) -> str:
        """Return the device as people are shown it."""
        where = f" at path:{self.path}" if self.path else ""
        serial = f", serial {self.serial}" if self.serial else ""
        return f"{self.name or 'USB device'} ({self.ids}{where}{serial})"

    def may_be(self, other: Plugged) -> bool:
        """Say whether both may be one device, wherever it is plugged in: same ids, and no known serial differs."""
        return self.ids == other.ids and (not (self.serial and other.serial) or self.serial == other.serial)


class Named(Frozen):
    """Hold one USB entry of a VM's configuration, and whether the VM has its device."""

    vm: str
    name: str
    place: str
    power: Power
    has: bool = False
    ids: str = ""


class HostState(Frozen):
    """Hold what a host was like when it was last read.

    `failed` says why it can't be read at the moment; the rest is then as it was before. `gone` are the devices that
    answered last at paths where nothing is plugged in now.
    """

    host: str
    failed: str | None = None
    was_read: bool = True
    arbitrator: Arbitrator = Arbitrator.UNKNOWN
    shell_error: str | None = None
    devices: tuple[Plugged, ...] = ()
    entries: tuple[Named, ...] = ()
    gone: tuple[Plugged, ...] = ()

    @property
    def by_path(self) -> dict[str, Plugged]:
        """Return the devices that are offered, by path."""
        return {one.path: one for one in self.devices if one.path}


def states_of(reading: EstateReading) -> dict[str, HostState]:
    """Return the state of each host that was to be read, by its managed object id."""
    by_name = {host.name: host.ref for host in reading.hosts}
    named: dict[str, list[tuple[Vm, str, str, bool, str]]] = {}
    for vm in reading.vms:
        for entry in vm.usb if vm.change_version else ():
            home = vm.host.ref if entry.hostname is None else by_name.get(entry.hostname, "")
            has_ids = entry.vendor is not None and entry.product is not None
            ids = vid_pid((entry.vendor or 0) & 0xFFFF, (entry.product or 0) & 0xFFFF) if has_ids else ""
            named.setdefault(home, []).append((vm, entry.pattern, canonical_path(entry.pattern), entry.connected, ids))
    return {one.host.ref: _state(one, named.get(one.host.ref, [])) for one in reading.readings}


def _state(reading: HostReading, named: Sequence[tuple[Vm, str, str, bool, str]]) -> HostState:
    host = reading.host
    if reading.failed is not None:
        return HostState(host=host.name, failed=reading.failed, was_read=False)

    def has(vm: Vm, pattern: str, *, connected: bool) -> bool:
        # What the host does not offer no VM has: hosts are read after VMs, and an entry may be told from before.
        there = [one for one in host.usb if pattern_means(pattern, one.path, one.vendor, one.product)]
        return any(connected or one.used_by == vm.ref for one in there)

    return HostState(
        host=host.name,
        arbitrator=host.arbitrator,
        shell_error=host.shell_error,
        devices=tuple(
            Plugged(
                ids=one.vid_pid,
                path=one.path,
                serial=one.serial,
                name=one.name,
                user=one.used_by_name or one.used_by or "",
            )
            for one in host.usb
        ),
        entries=tuple(
            Named(
                vm=vm.ref,
                name=vm.name,
                place=place,
                power=vm.power,
                has=has(vm, pattern, connected=connected),
                ids=ids,
            )
            for vm, pattern, place, connected, ids in named
        ),
    )


def compared(last: HostState | None, now: HostState) -> tuple[tuple[News, ...], HostState]:
    """Return what happened between two states of one host, and the state to compare the next one with.

    Nothing is news when there is no state from before, except that the host, its shell or its arbitrator is away.
    """
    before = last or HostState(host=now.host, was_read=False)
    if now.failed is not None:
        lost = () if before.failed else (_host(NewsKind.HOST_LOST, now, f"can't be read: {now.failed}"),)
        return lost, before.model_copy(update={"failed": now.failed})
    news: list[News] = []
    if before.failed:
        news.append(_host(NewsKind.HOST_BACK, now, "can be read again"))
    news += _services(before, now)
    if not before.was_read:
        return tuple(news), _remembered(before, now)
    stopped = now.arbitrator is Arbitrator.STOPPED
    if not stopped:
        news += _devices(before, now)
    news += _vms(before, now, stopped=stopped)
    return tuple(news), _remembered(before, now)


def _services(before: HostState, now: HostState) -> Iterator[News]:
    if now.shell_error and not before.shell_error:
        words = f"its shell can't be reached, so serials and the arbitrator are not seen: {now.shell_error}"
        yield _host(NewsKind.SHELL_LOST, now, words)
    if before.shell_error and not now.shell_error:
        yield _host(NewsKind.SHELL_BACK, now, "its shell can be reached again")
    if now.arbitrator is Arbitrator.STOPPED and before.arbitrator is not Arbitrator.STOPPED:
        words = "its USB arbitrator is stopped: no VM can have a device of it"
        yield _host(NewsKind.ARBITRATOR_STOPPED, now, words)
    if now.arbitrator is Arbitrator.RUNNING and before.arbitrator is Arbitrator.STOPPED:
        yield _host(NewsKind.ARBITRATOR_STARTED, now, "its USB arbitrator runs again")


def _devices(before: HostState, now: HostState) -> Iterator[News]:
    """Yield what came, went, moved and was exchanged, by path; then what only the shells show."""
    old, new = before.by_path, now.by_path
    for path in sorted(old.keys() & new.keys()):
        if not old[path].may_be(new[path]):
            yield _swap(now, old[path], new[path])
    hidden_before, hidden_now = _hidden(before), _hidden(now)
    went = {path: one for path, one in old.items() if path not in new}
    for path in sorted(new.keys() - old.keys()):
        device = new[path]
        moved = [there for there, one in went.items() if device.serial and one.serial and one.may_be(device)]
        if len(moved) == 1:
            was = went.pop(moved[0])
            yield _news(NewsKind.MOVED, now, device, f"{device.words} was at path:{was.path}{_taken_by(now, path)}")
        elif hidden_before[device.ids] > hidden_now[device.ids]:
            hidden_before[device.ids] -= 1  # it was there, and is offered now
        else:
            yield _arrived(before, now, device)
    for _, device in sorted(went.items()):
        if hidden_now[device.ids] > hidden_before[device.ids]:
            hidden_now[device.ids] -= 1  # it is still there, and not offered any more
            yield _news(NewsKind.UNPLUG, now, device, f"{device.words} is not offered to VMs any more")
        else:
            yield _gone(now, device)
    if not (before.shell_error or now.shell_error or Arbitrator.UNKNOWN in {before.arbitrator, now.arbitrator}):
        # What only a shell shows can't be compared without one.
        yield from _of_hidden(before, now, hidden_before, hidden_now)


def _of_hidden(before: HostState, now: HostState, then: Counter[str], today: Counter[str]) -> Iterator[News]:
    """Yield what came and went of the devices that are not offered to VMs; these are told by their ids alone."""
    for ids in sorted((today - then).elements()):
        device = next(one for one in now.devices if one.path is None and one.ids == ids)
        yield _news(NewsKind.PLUG, now, device, f"{device.words} was plugged in; it is not offered to VMs")
    for ids in sorted((then - today).elements()):
        device = next(one for one in before.devices if one.path is None and one.ids == ids)
        yield _news(NewsKind.UNPLUG, now, device, f"{device.words}, which was not offered to VMs, was pulled out")


def _gone(now: HostState, device: Plugged) -> News:
    sure = now.arbitrator is Arbitrator.RUNNING
    words = "was pulled out" if sure else "is gone: it was pulled out, or the arbitrator was stopped"
    return _news(NewsKind.UNPLUG, now, device, f"{device.words} {words}{_names_it(now, device.path)}")


def _hidden(state: HostState) -> Counter[str]:
    return Counter(one.ids for one in state.devices if one.path is None)


def _arrived(before: HostState, now: HostState, device: Plugged) -> News:
    """Return a plug, or a swap where a VM's configuration names the path and somebody else answered there before."""
    named = [one for one in now.entries if one.place == device.path]
    was = next((one for one in before.gone if one.path == device.path), None)
    stranger = [one for one in named if one.ids and one.ids != device.ids]
    if named and was is not None and not was.may_be(device):
        return _swap(now, was, device)
    if stranger:
        words = f"{device.words} was plugged in where {stranger[0].ids} is expected{_taken_by(now, device.path)}"
        return _news(NewsKind.SWAP, now, device, words)
    again = " again" if was is not None and was.may_be(device) else ""
    words = f"{device.words} was plugged in{again}{_taken_by(now, device.path)}"
    return _news(NewsKind.PLUG, now, device, words)


def _swap(now: HostState, was: Plugged, device: Plugged) -> News:
    serial = f", serial {was.serial}" if was.serial else ""
    words = f"{device.words} answers now in place of {was.name or 'a device'} ({was.ids}{serial})"
    return _news(NewsKind.SWAP, now, device, f"{words}{_taken_by(now, device.path)}")


def _taken_by(now: HostState, path: str | None) -> str:
    """Say which VMs get whatever answers at that path: autoconnect follows the path (reference vSphere 1.3)."""
    names = sorted({one.name for one in now.entries if one.place == path})
    return f"; the configuration of {', '.join(names)} names that path, and takes what answers there" if names else ""


def _names_it(now: HostState, path: str | None) -> str:
    names = sorted({one.name for one in now.entries if one.place == path})
    return f"; {', '.join(names)} names it" if names else ""


def _vms(before: HostState, now: HostState, *, stopped: bool) -> Iterator[News]:
    """Yield the VMs that run and whose device went, or came."""
    had = {(one.vm, one.place): one for one in before.entries}
    for entry in now.entries:
        was = had.get((entry.vm, entry.place))
        if was is None or was.power is not Power.ON or entry.power is not Power.ON or was.has == entry.has:
            continue
        place = f"path:{entry.place}"
        device = now.by_path.get(entry.place)
        if entry.has:
            words = f"{entry.name} has {device.words if device else place}"
            yield _of_vm(NewsKind.CONNECTED, now, entry, device, words)
            continue
        lost = before.by_path.get(entry.place)
        why = "the arbitrator was stopped" if stopped else "it is still plugged in" if device else "it is not there"
        words = f"{entry.name} runs, but lost {lost.words if lost else place}: {why}"
        yield _of_vm(NewsKind.FELL_OFF, now, entry, lost, words)


def _remembered(before: HostState, now: HostState) -> HostState:
    """Return the state to compare the next one with: what this reading could not see stays as it was known."""
    if now.arbitrator is Arbitrator.STOPPED and before.was_read:
        # Nothing is offered while it is stopped; who went meanwhile is seen when it runs again.
        return now.model_copy(update={"devices": before.devices, "gone": before.gone})
    old = before.by_path
    devices = tuple(
        one.model_copy(update={"serial": old[one.path].serial})
        if one.serial is None and one.path in old and old[one.path].may_be(one)
        else one
        for one in now.devices
    )
    if now.shell_error:
        devices += tuple(one for one in before.devices if one.path is None)
    arbitrator = before.arbitrator if now.arbitrator is Arbitrator.UNKNOWN else now.arbitrator
    gone = {one.path: one for one in (*before.gone, *before.devices) if one.path}
    left = tuple(one for path, one in gone.items() if path not in now.by_path)
    return now.model_copy(update={"devices": devices, "arbitrator": arbitrator, "gone": left[-GONE:]})


def _host(kind: NewsKind, now: HostState, words: str) -> News:
    return News(kind=kind, host=now.host, words=words)


def _news(kind: NewsKind, now: HostState, device: Plugged, words: str) -> News:
    return News(kind=kind, host=now.host, words=words, device=device.ids, place=device.path or "")


def _of_vm(kind: NewsKind, now: HostState, entry: Named, device: Plugged | None, words: str) -> News:
    return News(
        kind=kind, host=now.host, words=words, device=device.ids if device else entry.ids, place=entry.place,
        vm=entry.name,
    )  # fmt: skip
