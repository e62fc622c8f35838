"""Hold the one simulated datacenter: its hosts, VMs, USB devices and tasks, and the rules that USB follows.

All wires (SOAP, SSH, guest operations, control API) act on one `World`. Its state is guarded by `world.lock`: take it
to read several values that must agree, and to write. Every change ends in `changed()`, which settles the USB
connections and wakes those who wait. The rules come from reference vSphere 1.5, 1.7 and 1.8; nothing here knows a wire
format.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from passgate.lab import guest_devices, passthrough, smartcards, vmkernel
from passgate.lab.cluster import LabCluster
from passgate.lab.guest_devices import GuestDevice, Pulled
from passgate.lab.hardware import (
    Fault,
    HostUsb,
    LabHost,
    LabVm,
    Mutation,
    Refusal,
    Task,
    VirtualUsb,
    matches,
    stamp,
)
from passgate.lab.vmfs import Datastore
from passgate.settings.shape import LabWorld

__all__ = ["Fault", "HostUsb", "LabHost", "LabVm", "Mutation", "Offer", "Refusal", "Task", "VirtualUsb", "World"]

_Named = TypeVar("_Named", LabHost, LabVm)
POWER_STATES = ("poweredOn", "poweredOff", "suspended")


@dataclass(frozen=True)
class Offer:
    """One device that a host's arbitrator offers, and the VM that has it now."""

    device: HostUsb
    user: LabVm | None


class World:
    """The simulated datacenter."""

    def __init__(self, hosts: Iterable[LabHost], vms: Iterable[LabVm], settings: LabWorld | None = None) -> None:
        self.settings = settings or LabWorld()
        self.lock = threading.RLock()
        self._news = threading.Condition(self.lock)
        self.version = 0
        self.hosts = list(hosts)
        self.vms = list(vms)
        self.datastore = Datastore(lambda: self.vms)
        self.tasks: dict[str, Task] = {}
        self.mutations: list[Mutation] = []
        self.pulled: list[Pulled] = []
        """Disks that left a running guest while it had them mounted."""
        self.cluster = LabCluster()
        self.when_down: list[Callable[[LabHost], None]] = []
        """Whom to tell, under the lock, that a host went down."""
        self.clock_ahead = timedelta()
        """How far vCenter's own clock is ahead of the true time."""
        self._faults: deque[Fault] = deque()
        self._timers: set[threading.Timer] = set()
        self._waiting: list[Callable[[], None]] = []
        self._epoch = 0
        self._closed = False
        self._next_task = 1
        with self.lock:
            self._settle()
            for vm in self.vms:
                for entry in vm.usb:
                    entry.claimed_at = -math.inf  # what the seed describes has been so for long
            self._settle_guests()

    # -- finding -------------------------------------------------------------------------------------------------

    def host(self, name: str) -> LabHost:
        """Return the host of that name or managed object id."""
        with self.lock:
            return _only(self.hosts, name, "host")

    def vm(self, name: str) -> LabVm:
        """Return the VM of that name or managed object id; the first one where several bear the name."""
        with self.lock:
            return _only(self.vms, name, "VM")

    # -- time and news -------------------------------------------------------------------------------------------

    def changed(self) -> None:
        """Settle the USB connections, count the change and wake everybody who waits."""
        with self.lock:
            self._settle()
            waiting, self._waiting = self._waiting, []
            for look in waiting:
                look()
            self.version += 1
            self._news.notify_all()

    def wait(self, since: int, timeout: float) -> int:
        """Wait until the world's version is beyond `since`, at most `timeout` seconds; return the version."""
        with self.lock:
            self._news.wait_for(lambda: self.version > since or self._closed, timeout)
            return self.version

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Run `act` under the lock after so many seconds (at once for 0), and count it as a change."""
        epoch = self._epoch

        def run() -> None:
            with self.lock:
                if self._closed or self._epoch != epoch:
                    return
                act()
                self.changed()

        if seconds <= 0:
            run()
            return
        timer = threading.Timer(seconds, run)
        timer.daemon = True
        with self.lock:
            self._timers = {one for one in self._timers if one.is_alive()} | {timer}
            timer.start()

    def close(self) -> None:
        """Stop all timers and wake everybody who waits."""
        with self.lock:
            self._closed = True
            for timer in self._timers:
                timer.cancel()
            self._news.notify_all()

    # -- USB -----------------------------------------------------------------------------------------------------

    def offered_usb(self, host: LabHost) -> list[Offer]:
        """Return what the host's arbitrator offers to VMs: nothing while it is stopped."""
        with self.lock:
            if not host.arbitrator_running:
                return []
            users = {id(entry.device): vm for vm in self.vms for entry in vm.usb if entry.device}
            return [
                Offer(one, users.get(id(one)))
                for one in host.own_usb
                if one.offered and one.passthrough and not smartcards.is_kept(host, one)
            ]

    def is_connected(self, entry: VirtualUsb) -> bool:
        """Say whether the VM has the device of this entry now."""
        with self.lock:
            since = time.monotonic() - entry.claimed_at
            return entry.device is not None and since >= self.settings.connect_seconds

    def connected_usb(self, vm: LabVm) -> list[HostUsb]:
        """Return the host devices that the VM's guest sees now."""
        with self.lock:
            connected = [entry.device for entry in vm.usb if entry.device and self.is_connected(entry)]
            return connected + passthrough.usb_behind(vm)

    def guest_devices(self, vm: LabVm) -> list[GuestDevice]:
        """Return the host devices that the VM's guest sees now, and what it does with them."""
        with self.lock:
            self._settle_guests()
            return [one for one in vm.guest_devices.values() if one.seen]

    def guest_device(self, vm: LabVm, path: str) -> GuestDevice:
        """Return what the VM's guest has of the device at that path (with or without `path:`)."""
        with self.lock:
            self._settle_guests()
            wanted = path.removeprefix("path:")
            for one in vm.guest_devices.values():
                if one.device.path == wanted:
                    return one
        raise LookupError(f"The guest of {vm.name} has no device of path:{wanted}.")

    def cut_off_local_usb(self, vm: LabVm) -> None:
        """Cut the VM off its locally backed devices, as hot-adding CPU, memory or PCI does (1.7), until it reconnects.

        Devices with vMotion support stay.
        """
        with self.lock:
            for entry in vm.usb:
                if entry.hostname is None and entry.device is not None:
                    entry.device, entry.lost = None, True
            self._settle_guests()

    def start_arbitrator(self, host: LabHost) -> None:
        """Start the host's USB arbitrator."""
        with self.lock:
            host.arbitrator_running = True
            host.log.write("LabUsb: usbarbitrator started")
            self.changed()

    def stop_arbitrator(self, host: LabHost) -> None:
        """Stop the host's USB arbitrator: attached devices are lost until their VMs' next power-on (1.8)."""
        with self.lock:
            host.arbitrator_running = False
            host.log.write("LabUsb: usbarbitrator stopped")
            mine = {id(one) for one in host.usb}
            for vm in self.vms:
                for entry in vm.usb:
                    entry.lost = entry.lost or id(entry.device) in mine
            self.changed()

    def unplug(self, host: LabHost, path: str) -> HostUsb:
        """Pull the device at that path (with or without `path:`) out of the host, and return it."""
        with self.lock:
            device = host.usb_at(path)
            host.usb.remove(device)
            host.log.write(vmkernel.usb(device.name, device.pattern, "device gone"))
            self.changed()
            return device

    def plug(self, host: LabHost, device: HostUsb, path: str | None = None) -> None:
        """Plug a device into the host, into another port if `path` is given; it gets a new device number."""
        with self.lock:
            if path is not None:
                device.path = path.removeprefix("path:")
            if any(one.path == device.path for one in host.usb):
                raise LookupError(f"{host.name} already has a device at path:{device.path}.")
            device.dev = 1 + max((one.dev for one in host.usb if one.bus == device.bus), default=1)
            host.usb.append(device)
            host.log.write(vmkernel.usb(device.name, device.pattern, "new device"))
            self.changed()

    def _settle(self) -> None:
        """Give up the claims that no longer hold, and let every entry that may connect claim a free device."""
        for vm in self.vms:
            for entry in vm.usb:
                if entry.device and not self._may_keep(vm, entry, entry.device):
                    entry.device = None
        taken = {id(entry.device) for vm in self.vms for entry in vm.usb if entry.device}
        for vm in self.vms:
            for entry in vm.usb:
                if entry.device is None and not entry.lost and (found := self._claimable(vm, entry, taken)):
                    entry.device, entry.claimed_at = found, time.monotonic()
                    entry.vendor, entry.product = found.vendor, found.product
                    taken.add(id(found))
                    if self.settings.connect_seconds > 0 and not self._closed:
                        # Waiters must hear of the moment at which `connected` turns true.
                        self.after(self.settings.connect_seconds, lambda: None)
        self._settle_guests()

    def _settle_guests(self) -> None:
        """Let the guests find out what is connected to their VMs."""
        for vm in self.vms:
            connected = [
                (one.device, one.claimed_at > vm.ready_at) for one in vm.usb if one.device and self.is_connected(one)
            ]
            behind = [(one, False) for one in passthrough.usb_behind(vm)]  # the guest booted with its controller
            self.pulled += guest_devices.settle(vm, [*connected, *behind])

    def _may_keep(self, vm: LabVm, entry: VirtualUsb, device: HostUsb) -> bool:
        """Say whether a claim still holds; a VM that was moved keeps a device whose backing names its host."""
        host = next((one for one in self.hosts if any(device is here for here in one.own_usb)), None)
        if host is None or not self._reachable(vm, host, entry, device):
            return False
        return host is vm.host or (entry.hostname == host.name and host.answers_902)

    def _claimable(self, vm: LabVm, entry: VirtualUsb, taken: set[int]) -> HostUsb | None:
        """Return the free device that the entry connects to; a VM connects only on the device's own host (1.8)."""
        if entry.hostname not in {None, vm.host.name}:
            return None
        free = (one for one in vm.host.own_usb if id(one) not in taken)
        return next((one for one in free if self._reachable(vm, vm.host, entry, one)), None)

    @staticmethod
    def _reachable(vm: LabVm, host: LabHost, entry: VirtualUsb, device: HostUsb) -> bool:
        return (
            vm.power == "poweredOn"
            and host.arbitrator_running
            and device.offered
            and device.passthrough
            and not smartcards.is_kept(host, device)
            and (smartcards.allows(vm) or not smartcards.is_reader(device))
            and matches(entry.pattern, device, host)
            and vm.controller_takes(entry, device)
        )

    # -- power ---------------------------------------------------------------------------------------------------

    def set_power(self, vm: LabVm, power: str) -> None:
        """Put the VM into a power state; from power-on the guest boots, from resume it is there at once."""
        if power not in POWER_STATES:
            raise ValueError(f"{power!r} is no power state of vSphere; it has {', '.join(POWER_STATES)}")
        with self.lock:
            resumed = vm.power == "suspended"
            vm.power = power
            vm.vmx_file = None  # hostd writes its own view
            if power == "poweredOn":
                vm.boot_time = datetime.now(UTC)
                vm.ready_at = math.inf  # what connects now is there when the guest boots, and not hot-added
                for entry in vm.usb:
                    entry.lost = False
                self._tell_of_readers(vm)
                guest_devices.boot(vm)
                self.changed()
                vm.ready_at = time.monotonic() + (0.0 if resumed else self.settings.boot_seconds)
                self.after(self.settings.boot_seconds, lambda: None)
            self.changed()

    def _tell_of_readers(self, vm: LabVm) -> None:
        """Write into vmware.log what a VM gets that wants a smart-card reader but was not told to take one."""
        wanted = [one for one in vm.host.usb if any(matches(entry.pattern, one, vm.host) for entry in vm.usb)]
        if any(smartcards.is_reader(one) for one in wanted) and not smartcards.allows(vm):
            vm.log.append(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}| vmx| I125: {smartcards.SYMPTOM}")

    def reboot_guest(self, vm: LabVm) -> None:
        """Boot the guest anew: the VM keeps its devices, VMware Tools are away for a while."""
        with self.lock:
            vm.ready_at = time.monotonic() + self.settings.boot_seconds
            guest_devices.boot(vm)
            self.after(self.settings.boot_seconds, lambda: None)
            self.changed()

    def tools_running(self, vm: LabVm) -> bool:
        """Say whether the guest has booted and VMware Tools answer."""
        with self.lock:
            return vm.tools_installed and vm.power == "poweredOn" and time.monotonic() >= vm.ready_at

    def migrate(self, vm: LabVm, host: LabHost) -> None:
        """Move the VM to another host; a running one keeps the devices whose backing names their host."""
        with self.lock:
            vm.host = host
            self.changed()

    # -- tasks ---------------------------------------------------------------------------------------------------

    def start_task(
        self,
        method: str,
        entity: LabVm | LabHost | LabCluster,
        user: str,
        seconds: float,
        work: Callable[[], object],
        *,
        ready: Callable[[], bool] = lambda: True,
        given_up: Callable[[], None] = lambda: None,
        locks: bool = True,
    ) -> Task:
        """Start a task; `work` runs under the lock at its end and may raise Refusal.

        The end comes after so many seconds, and not before `ready` says so, which is asked again with every change.
        Where somebody ends the task before, `given_up` is called in place of `work`. An object has one task that
        locks it at a time.
        """
        with self.lock:
            if locks and (busy := self.running_task(entity)) is not None:
                raise Refusal("TaskInProgress", "Another task is already in progress.", task=busy.id)
            task = Task(id=f"task-{self._next_task}", method=method, entity=entity, user=user, locks=locks)
            self._next_task += 1
            self.tasks[task.id] = task
            entity.recent_tasks = [*entity.recent_tasks[-4:], task.id]

            def finish() -> None:
                if task.has_ended:
                    given_up()  # somebody ended it meanwhile
                    return
                if not ready():
                    self._waiting.append(finish)
                    return
                try:
                    task.result = work()
                except Refusal as refusal:
                    task.error = refusal
                task.completed = datetime.now(UTC)
                task.state = "error" if task.error else "success"

            def begin() -> None:
                if task.has_ended:
                    given_up()
                    return
                task.state, task.started = "running", datetime.now(UTC)
                self.after(seconds, finish)

            self.after(min(seconds, 0.02), begin)  # waiters get to see `queued`, as on a real vCenter
            self.changed()
            return task

    def running_task(self, entity: LabVm | LabHost | LabCluster) -> Task | None:
        """Return the task that holds this object locked."""
        with self.lock:
            running = (one for one in self.tasks.values() if one.locks and not one.has_ended)
            return next((one for one in running if one.entity is entity), None)

    def cancel_task(self, task: Task) -> None:
        """End a task that still runs, with RequestCanceled."""
        with self.lock:
            if task.has_ended:
                raise Refusal("InvalidState", f"{task.id} has ended already.")
            task.cancelled = True
            self.end_task(task, Refusal("RequestCanceled", "The task was canceled by a user."))

    def end_task(self, task: Task, error: Refusal) -> None:
        """End a task that still runs, with that fault."""
        with self.lock:
            task.error, task.completed, task.state = error, datetime.now(UTC), "error"
            self.changed()

    def begin_anew(self) -> None:
        """Forget what was going to happen: timers that run, tasks that have not ended."""
        with self.lock:
            self._epoch += 1
            self._waiting.clear()
            for task in self.tasks.values():
                if not task.has_ended:
                    task.error, task.state = Refusal("RequestCanceled", "The lab was put back."), "error"

    # -- faults and the judge ------------------------------------------------------------------------------------

    def inject(self, fault: Fault) -> None:
        """Let the next calls that match fail (or be slow) as the fault says."""
        with self.lock:
            self._faults.append(fault)

    def clear_faults(self) -> None:
        """Forget all faults that were injected and not used up."""
        with self.lock:
            self._faults.clear()

    def take_fault(self, method: str, *subjects: str) -> Fault | None:
        """Return the injected fault for this call, and count it as used; None when the call may go on."""
        with self.lock:
            found = next((one for one in self._faults if one.hits(method, *subjects)), None)
            if found is not None:
                found.times -= 1
                if found.times <= 0:
                    with suppress(ValueError):
                        self._faults.remove(found)
            return found

    def record(self, wire: str, method: str, subject: str, user: str, *, accepted: bool) -> None:
        """Append one mutating call to `mutations`, whether it was accepted or not; tests judge by this log."""
        with self.lock:
            self.mutations.append(Mutation(datetime.now(UTC), wire, method, subject, user, accepted))

    def touch(self, vm: LabVm) -> None:
        """Give the VM's configuration a new change version."""
        with self.lock:
            vm.change_version = stamp()
            self.changed()


def _only(found: list[_Named], name: str, noun: str) -> _Named:
    for one in found:
        if name in {one.name, one.ref}:
            return one
    raise LookupError(f"The lab has no {noun} {name!r}; it has {', '.join(one.name for one in found)}.")
