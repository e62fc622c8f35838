"""Let tests and the demo look at PCI passthrough in the lab and set it up; `control.py` serves it over HTTP."""

from __future__ import annotations

from typing import Any

from passgate.lab import passthrough
from passgate.lab.hardware import LabHost, LabVm, VirtualPci
from passgate.lab.passthrough import Setting
from passgate.lab.snapshots import Schedule, Snapshot
from passgate.lab.world import World

Json = dict[str, Any]
FIELDS = frozenset({"forgets", "iommu", "names_buses", "rebinds_live", "system_id"})
"""What POST /passthrough may set of a host, besides enabling and disabling functions."""
_ACTS = frozenset({"host", "enable", "disable", "live", "forgotten"})


def set_passthrough(world: World, asked: Json) -> Json:
    """Set what a host can do, and let somebody else enable or disable functions, at once where `live`.

    `forgotten` are functions that the host had set aside before its last boot, and has forgotten since.
    """
    host = world.host(asked["host"])
    wanted = {key: value for key, value in asked.items() if key not in _ACTS}
    if strangers := wanted.keys() - FIELDS:
        raise ValueError(f"{', '.join(sorted(strangers))} can't be set; these can: {', '.join(sorted(FIELDS))}")
    with world.lock:
        vars(host.passthrough).update(wanted)
        settings = [Setting(one, enabled=True) for one in asked.get("enable", ())]
        settings += [Setting(one, enabled=False) for one in asked.get("disable", ())]
        if settings:
            passthrough.configure(world, host, settings)
        host.passthrough.forgotten |= set(asked.get("forgotten", ()))
        if asked.get("live"):
            passthrough.take_effect(host)
        world.changed()
    return {"pci": functions(host)}


def give_function(world: World, asked: Json) -> Json:
    """Let a VM have a function of its host in its configuration, with all memory reserved, as if it had got it before.

    `extra` are lines of extra configuration that came with it.
    """
    vm = world.vm(asked["vm"])
    with world.lock:
        one = vm.host.function(str(asked["function"]))
        key = 13000 + len(vm.passed)
        vm.devices.append(
            VirtualPci(
                "passthrough", key, 100, None, f"PCI device {key - 13000}", one.device_name, address=one.id,
                device_id=one.device_id, vendor=one.signed_vendor, system_id=vm.host.system_id, name=one.device_name,
            )
        )  # fmt: skip
        vm.memory_locked, vm.memory_reservation_mb = True, vm.memory_mb
        vm.extra_config.update(asked.get("extra", {}))
        world.touch(vm)
    return vm_state(vm)


def add_snapshot(world: World, asked: Json) -> Json:
    """Let a VM have a snapshot, as if it had been taken at some time before."""
    vm = world.vm(asked["vm"])
    with world.lock:
        number = 1 + sum(len(top.all()) for top in vm.snapshots)
        ref = f"snapshot-{vm.ref.rpartition('-')[2]}{number:02}"
        vm.snapshots.append(Snapshot(ref, str(asked["name"]), bool(asked.get("memory")), number=number))
        world.touch(vm)
    return vm_state(vm)


def add_schedule(world: World, asked: Json) -> Json:
    """Let vCenter have a scheduled task for a VM; `method` is the WSDL name of what it does."""
    vm = world.vm(asked["vm"])
    with world.lock:
        number = 1 + sum(len(one.schedules) for one in world.vms)
        name, method = str(asked["name"]), str(asked["method"])
        vm.schedules.append(Schedule(f"schedule-{number}", name, method, bool(asked.get("enabled", True))))
        world.changed()
    return {}


def functions(host: LabHost) -> list[Json]:
    """Return the host's functions and their states."""
    state = host.passthrough
    return [
        {
            "id": one.id,
            "name": one.device_name,
            "acts_on": one.acts_on,
            "buses": list(one.buses),
            "capable": passthrough.is_capable(host, one),
            "enabled": one.id in state.enabled,
            "active": one.id in state.active,
        }
        for one in host.pci
    ]


def vm_state(vm: LabVm) -> Json:
    """Return what a VM has to do with passthrough."""
    return {
        "pci": [one.address for one in vm.passed],
        "pci_held": [one.id for one in passthrough.held(vm)],
        "memory_mb": vm.memory_mb,
        "memory_reservation_mb": passthrough.reserved_mb(vm),
        "memory_locked": vm.memory_locked,
        "snapshots": [one.name for top in vm.snapshots for one in top.all()],
    }
