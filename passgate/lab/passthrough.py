"""Hold the rules by which PCI functions are passed through: on hosts, in VMs, and what guests find then.

From reference vSphere 2.1 to 2.6. Nothing here knows a wire format.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from passgate.lab.hardware import HostUsb, LabHost, LabVm, Refusal, VirtualPci
from passgate.lab.pci import BRIDGE_CLASS, HOST_BRIDGE_CLASS, PciFunction

if TYPE_CHECKING:
    from passgate.lab.world import World

REBIND_SINCE = (7, 0)
"""First version of ESXi that may set passthrough without a reboot."""
OVERHEAD_MB = 4096
"""What a host keeps of its memory for itself."""


@dataclass(frozen=True)
class Setting:
    """Hold one wish: `now` is applyNow, None for at once if possible, else after the next boot."""

    address: str
    enabled: bool
    now: bool | None = None


def is_capable(host: LabHost, one: PciFunction) -> bool:
    """Say whether the function can be passed through at all: never a bridge, nothing without an IOMMU."""
    return host.passthrough.iommu and one.class_id not in {BRIDGE_CLASS, HOST_BRIDGE_CLASS}


def together_with(host: LabHost, one: PciFunction) -> list[PciFunction]:
    """Return the functions, itself too, that change together: all that depend on the same device."""
    return [other for other in host.pci if other.acts_on == one.acts_on and is_capable(host, other)]


def configure(world: World, host: LabHost, settings: Iterable[Setting]) -> None:
    """Set passthrough as asked, all or nothing; what can't take effect at once waits for the next boot."""
    with world.lock:
        wanted = [(one, _functions(host, one)) for one in settings]
        for setting, functions in wanted:
            if not setting.enabled:
                _must_be_idle(world, host, functions)
        for setting, functions in wanted:
            for function in functions:
                _set(host, function, setting)
        host.reboot_required = is_pending(host)
        world.changed()


def is_pending(host: LabHost) -> bool:
    """Say whether something that was set waits for a boot."""
    return host.passthrough.enabled != host.passthrough.active


def take_effect(host: LabHost) -> None:
    """Let what was set be in effect, as it is on a host that has booted since."""
    host.passthrough.active = set(host.passthrough.enabled)
    host.reboot_required = False


def booted(host: LabHost) -> None:
    """Let what was set take effect, as a boot does; with the quirk, all of it reads disabled after it."""
    state = host.passthrough
    if state.forgets:
        state.forgotten |= state.enabled
        state.enabled = set()
    else:
        state.forgotten = set()
    take_effect(host)


def _functions(host: LabHost, setting: Setting) -> list[PciFunction]:
    named = [one for one in host.pci if setting.address in {one.id, one.dependent} and is_capable(host, one)]
    if not named:
        raise Refusal("HostConfigFault", f"PCI device {setting.address} of {host.name} is not capable of passthrough.")
    return together_with(host, named[0])


def _must_be_idle(world: World, host: LabHost, functions: list[PciFunction]) -> None:
    for vm in world.vms:
        if vm.host is host and vm.power == "poweredOn" and {one.address for one in vm.passed} & _ids(functions):
            raise Refusal("HostConfigFault", f"PCI device is in use by virtual machine {vm.name}.")


def _ids(functions: list[PciFunction]) -> set[str]:
    return {one.id for one in functions}


def _set(host: LabHost, one: PciFunction, setting: Setting) -> None:
    state = host.passthrough
    version = tuple(int(part) for part in host.version.split(".")[:2])
    can_now = version >= REBIND_SINCE and (state.rebinds_live or one.id in state.forgotten)
    (state.enabled.add if setting.enabled else state.enabled.discard)(one.id)
    if can_now and setting.now is not False:
        (state.active.add if setting.enabled else state.active.discard)(one.id)


# -- VMs ---------------------------------------------------------------------------------------------------------


def held(vm: LabVm) -> list[PciFunction]:
    """Return the functions that the VM's guest has now: those of a running VM, where all about them is right."""
    if vm.power != "poweredOn":
        return []
    there = {one.id: one for one in vm.host.pci}
    return [there[one.address] for one in vm.passed if one.address in there and not _mismatch(vm, one)]


def usb_behind(vm: LabVm) -> list[HostUsb]:
    """Return the USB devices on the controllers that the VM has."""
    buses = {bus for one in held(vm) for bus in one.buses}
    return [one for one in vm.host.usb if one.bus in buses]


def why_not_power_on(world: World, vm: LabVm) -> Refusal | None:
    """Return what power-on fails with: reservation, ids, state or another user of a function, memory of the host."""
    if vm.passed and reserved_mb(vm) < vm.memory_mb:
        return _power_fault(
            f"Invalid memory setting: memory reservation (sched.mem.min) should be equal to memsize({vm.memory_mb})."
        )
    for one in vm.passed:
        if wrong := _mismatch(vm, one):
            return wrong
        for other in world.vms:
            if other is not vm and other.host is vm.host and other.power == "poweredOn" and _has(other, one.address):
                return _power_fault(f"Device {vm.host.function(one.address).decimal} is already in use.")
    free = unreserved_mb(world, vm.host)
    if reserved_mb(vm) > free:
        return Refusal(
            "InsufficientMemoryResourcesFault",
            "The available Memory resources in the parent resource pool are insufficient for the operation.",
            unreserved=free * 1024 * 1024,
            requested=reserved_mb(vm) * 1024 * 1024,
        )
    return None


def reserved_mb(vm: LabVm) -> int:
    """Return how much of its memory is reserved."""
    return vm.memory_mb if vm.memory_locked else vm.memory_reservation_mb


def unreserved_mb(world: World, host: LabHost) -> int:
    """Return how much memory of the host no running VM has reserved."""
    running = (vm for vm in world.vms if vm.host is host and vm.power == "poweredOn")
    return max(0, host.memory_mb - OVERHEAD_MB - sum(reserved_mb(vm) for vm in running))


def _has(vm: LabVm, address: str) -> bool:
    return any(one.address == address for one in vm.passed)


def _mismatch(vm: LabVm, one: VirtualPci) -> Refusal | None:
    host = vm.host
    function = next((here for here in host.pci if here.id == one.address), None)
    if (
        function is None
        or one.system_id != host.system_id
        or one.device_id.lower() != function.device_id
        or one.vendor != function.signed_vendor
    ):
        place = function.decimal if function else one.address
        return _power_fault(
            "The systemId does not match the current system or the deviceId and vendorId does not match the device "
            f"currently at {place}."
        )
    if function.id not in host.passthrough.active:
        return _power_fault(f"Device {function.decimal} is not a passthrough device.")
    return None


def _power_fault(reason: str) -> Refusal:
    return Refusal("GenericVmConfigFault", f"Module 'DevicePowerOn' power on failed. {reason}", reason=reason)


def must_not_be_tied(vm: LabVm, what: str) -> None:
    """Refuse what no VM with a passed-through function can do: suspend, snapshots, moving while it runs."""
    if vm.passed:
        label = vm.passed[0].label
        raise Refusal(
            "DeviceNotSupported",
            f"Device '{label}' is not supported: {what} is not possible with PCI passthrough devices.",
            device=label,
            reason=what,
        )
