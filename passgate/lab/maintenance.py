"""Put hosts into maintenance mode as vSphere does: the task runs until the last running VM has left (reference 2.6)."""

from __future__ import annotations

from passgate.lab.hardware import Fault, LabHost, LabVm, Refusal, Task
from passgate.lab.vmotion import destination
from passgate.lab.world import World

DRS = "VSPHERE.LOCAL\\vpxd-extension"
"""Who moves VMs that nobody asked to move."""


def enter(world: World, host: LabHost, user: str, timeout: float, fault: Fault | None = None) -> Task:
    """Start to put the host into maintenance mode.

    DRS moves away what it may move by itself. While anything else runs there the task keeps running, until somebody
    ends it or `timeout` seconds (0 or less: none) are over.
    """
    if host.connection != "connected":
        raise Refusal("HostNotConnected", f"Unable to communicate with the remote host {host.name}.")
    if host.maintenance:
        raise Refusal("InvalidState", f"{host.name} is in maintenance mode already.")

    def work() -> None:
        host.entering_maintenance = False
        if fault is not None:
            raise Refusal(fault.fault, fault.message)
        host.maintenance = True

    def given_up() -> None:
        host.entering_maintenance = False

    def is_empty() -> bool:
        if fault is not None:
            return True
        _evacuate(world, host)
        return not any(_runs_on(vm, host) for vm in world.vms)

    with world.lock:
        task = world.start_task(
            "EnterMaintenanceMode_Task", host, user, world.settings.power_seconds, work,
            ready=is_empty, given_up=given_up,
        )  # fmt: skip
        host.entering_maintenance = True
        if timeout > 0:
            late = Refusal("Timedout", "Operation timed out.")
            world.after(timeout, lambda: None if task.has_ended else world.end_task(task, late))
    return task


def leave(world: World, host: LabHost, user: str, fault: Fault | None = None) -> Task:
    """Start to take the host out of maintenance mode."""
    if not host.maintenance:
        raise Refusal("InvalidState", f"{host.name} is not in maintenance mode.")

    def work() -> None:
        if fault is not None:
            raise Refusal(fault.fault, fault.message)
        host.maintenance = False

    return world.start_task("ExitMaintenanceMode_Task", host, user, world.settings.power_seconds, work)


def _runs_on(vm: LabVm, host: LabHost) -> bool:
    return vm.host is host and vm.power == "poweredOn"


def _evacuate(world: World, host: LabHost) -> None:
    """Let DRS begin to move what it may and can; a VM with fault tolerance it leaves where it is."""
    for vm in world.vms:
        if not _runs_on(vm, host) or vm.fault_tolerance or not world.cluster.moves_by_itself(vm.ref):
            continue
        to = destination(world, vm)
        if to is not None and world.running_task(vm) is None:
            _move(world, vm, to)


def _move(world: World, vm: LabVm, to: LabHost) -> None:
    world.start_task("RelocateVM_Task", vm, DRS, world.settings.power_seconds, lambda: world.migrate(vm, to))
