"""Say whether a VM of the lab can move to another host, and why not (reference vSphere 2.6 and 4)."""

from __future__ import annotations

from passgate.lab.hardware import LabHost, LabVm, Refusal
from passgate.lab.world import World


def obstacles(world: World, vm: LabVm, to: LabHost) -> list[Refusal]:
    """Return each fault that keeps the VM from that host; none: it can move.

    What is refused for a running VM only is what ties it to hardware: cold migration leaves a device behind.
    """
    found: list[Refusal] = []
    if vm.host is to:
        return found
    if vm.power == "poweredOn":
        found += [_tied(one.label) for one in vm.usb if not one.hostname]
        found += [_tied(one.label) for one in vm.passed]
    if vm.local_datastore:
        found.append(
            Refusal(
                "CannotAccessVmDisk",
                f"Unable to access the virtual machine configuration: disks of {vm.name} are not visible on {to.name}.",
                device="Hard disk 1", backing=vm.datastore, connected=True, fault=Refusal("InvalidDatastore"),
            )
        )  # fmt: skip
    return [*found, *_closed(world, to)]


def _tied(device: str) -> Refusal:
    return Refusal(
        "DisallowedMigrationDeviceAttached",
        f"Currently connected device '{device}' uses backing which is not accessible.",
        fault=Refusal("DeviceNotSupported", f"{device} is not supported for migration.", device=device),
    )


def _closed(world: World, to: LabHost) -> list[Refusal]:
    """Return why no VM at all may be put on that host now."""
    with world.lock:
        if to.connection != "connected":
            return [Refusal("HostNotConnected", f"Unable to communicate with the remote host {to.name}.")]
        if to.maintenance or to.entering_maintenance:
            return [Refusal("InvalidState", f"{to.name} is in maintenance mode, or about to be.")]
    return []


def destination(world: World, vm: LabVm) -> LabHost | None:
    """Return where DRS would move the VM to: the first host by name that nothing stands against."""
    others = sorted((one for one in world.hosts if one is not vm.host), key=lambda one: one.name)
    return next((one for one in others if not obstacles(world, vm, one)), None)
