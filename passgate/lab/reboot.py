"""Take hosts down and bring them up again: reboots, and power management that switches idle hosts off."""

from __future__ import annotations

from datetime import UTC, datetime

from passgate.lab import passthrough
from passgate.lab.hardware import Fault, LabHost, Refusal, Task
from passgate.lab.world import World

_MOMENT = 0.05
"""Seconds from the end of the task that asked for a reboot until the host is gone."""


def reboot(world: World, host: LabHost, user: str, *, force: bool, fault: Fault | None = None) -> Task:
    """Start to reboot the host; the task ends when the host has accepted, not when it is back (reference 2.6)."""
    if host.connection != "connected":
        raise Refusal("HostNotConnected", f"Unable to communicate with the remote host {host.name}.")
    if not force and not host.maintenance:
        raise Refusal("InvalidState", f"{host.name} is not in maintenance mode.")

    def work() -> None:
        if fault is not None:
            raise Refusal(fault.fault, fault.message)
        world.after(_MOMENT, lambda: restart(world, host))

    return world.start_task("RebootHost_Task", host, user, world.settings.power_seconds, work)


def restart(world: World, host: LabHost) -> None:
    """Take the host down now, and bring it up after its time."""
    go_down(world, host)
    world.after(world.settings.reboot_seconds, lambda: boot(world, host))


def go_down(world: World, host: LabHost, *, standby: bool = False) -> None:
    """Take the host down: what ran on it is off, its devices are gone from every VM, its shell ends."""
    with world.lock:
        host.power = "standBy" if standby else "poweredOff"
        host.connection = "notResponding"
        for vm in world.vms:
            if vm.host is host and vm.power == "poweredOn":
                world.set_power(vm, "poweredOff")
        world.stop_arbitrator(host)
        for tell in world.when_down:
            tell(host)


def boot(world: World, host: LabHost) -> None:
    """Bring the host up: services by their policy, and what was configured to take effect at boot does now."""
    with world.lock:
        host.power, host.connection = "poweredOn", "connected"
        host.boot_time, host.reboot_required = datetime.now(UTC), False
        for service in host.services.values():
            service.running = service.policy in {"on", "automatic"}
        passthrough.booted(host)
        if host.arbitrator_autostart:
            world.start_arbitrator(host)
        world.changed()


def power_down_idle(world: World, host: LabHost) -> None:
    """Do what power management does to an idle host; it does not look at USB devices (reference 4).

    Raises LookupError when power management may not or can't do it now.
    """
    with world.lock:
        if not (world.cluster.dpm if host.dpm is None else host.dpm and world.cluster.dpm):
            raise LookupError(f"Power management is off for {host.name}.")
        if any(vm.host is host and vm.power == "poweredOn" for vm in world.vms):
            raise LookupError(f"{host.name} is not idle: VMs run on it.")
        go_down(world, host, standby=True)


def power_up(world: World, host: LabHost) -> None:
    """Wake a host that power management switched off."""
    with world.lock:
        if host.power == "poweredOn":
            raise LookupError(f"{host.name} is on.")
        boot(world, host)
