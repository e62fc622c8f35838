"""Write the configuration specs that are sent to vSphere. Pure: golden tests pin what goes on the wire.

`changeVersion` is that of the reading which the spec was made from: a second writer gets ConcurrentAccess.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from passgate.connect.vsphere.parsing import CONTROLLERS
from passgate.model.inventory import ControllerKind, HostUsbDevice, UsbController, Vm
from passgate.model.pci import ALL_MEMORY, MEMORY_BEFORE

if TYPE_CHECKING:
    from passgate.connect.vsphere.passthrough import Target

device = vim.vm.device
NEW = -100
"""A negative key stands for a device that has none yet."""

CONTROLLER_SINCE = {ControllerKind.XHCI: (5, 0), ControllerKind.EHCI: (2, 5)}
VMOTION_SINCE = (4, 1)
"""First API versions that know these types; pyVmomi silently sends less to older ones (reference vSphere 0.1)."""


def add_controller(vm: Vm, kind: ControllerKind) -> Any:
    """Return the spec that adds a USB controller; devices are attached by us alone, so it never connects by itself."""
    extra = {"ehciEnabled": True} if kind is ControllerKind.EHCI else {}
    return changes(vm, "add", CONTROLLERS[kind](key=NEW, autoConnectDevices=False, **extra))


def add_device(vm: Vm, offered: HostUsbDevice, controller: UsbController, *, vmotion: bool) -> Any:
    """Return the spec that adds the host's device, with the arbitrator's pattern and the host's name verbatim."""
    usb = device.VirtualUSB
    backing = (
        usb.RemoteHostBackingInfo(deviceName=offered.pattern, hostname=offered.host.name)
        if vmotion
        else usb.USBBackingInfo(deviceName=offered.pattern)
    )
    return changes(vm, "add", usb(key=NEW, controllerKey=controller.key, connected=True, backing=backing))


def remove(vm: Vm, one: Any) -> Any:
    """Return the spec that removes a device, given as it was read."""
    return changes(vm, "remove", one)


def extra_config(vm: Vm, key: str, value: str | None) -> Any:
    """Return the spec that gives an advanced setting that value; vSphere removes one whose value is empty."""
    return vim.vm.ConfigSpec(
        changeVersion=vm.change_version or None, extraConfig=[vim.option.OptionValue(key=key, value=value or "")]
    )


def hardware(vm: Vm, cpus: int | None, memory_mb: int | None) -> Any | None:
    """Return the spec that sets CPUs and memory (MiB); None when the VM has both already."""
    new_cpus = cpus if cpus not in {None, vm.cpus} else None
    new_memory = memory_mb if memory_mb not in {None, vm.memory_mb} else None
    if new_cpus is None and new_memory is None:
        return None
    return vim.vm.ConfigSpec(changeVersion=vm.change_version or None, numCPUs=new_cpus, memoryMB=new_memory)


def changes(vm: Vm, operation: str, one: Any) -> Any:
    """Return the spec for one device change on the VM as it was read."""
    change = device.VirtualDeviceSpec(operation=operation, device=one)
    return vim.vm.ConfigSpec(changeVersion=vm.change_version or None, deviceChange=[change])


def passthrough(addresses: Iterable[str], *, enabled: bool, now: bool) -> list[Any]:
    """Return the setting for each address; without `now` applyNow is left out, and an older API can be sent it too."""
    more = {"applyNow": True} if now else {}
    return [vim.host.PciPassthruConfig(id=one, passthruEnabled=enabled, **more) for one in addresses]


def add_function(vm: Vm, target: Target, former: str) -> Any:
    """Return the spec that adds the function, reserves all memory, and keeps what was reserved before, if named."""
    backing = device.VirtualPCIPassthrough.DeviceBackingInfo(
        deviceName=target.name,
        id=target.address,
        deviceId=target.hex_device,
        systemId=target.system_id,
        vendorId=target.signed_vendor,
    )
    spec = changes(vm, "add", device.VirtualPCIPassthrough(key=NEW, backing=backing))
    spec.memoryReservationLockedToMax = True
    if former and MEMORY_BEFORE not in vm.extra:
        spec.extraConfig = [vim.option.OptionValue(key=MEMORY_BEFORE, value=former)]
    return spec


def remove_function(vm: Vm, one: Any, reservation: str) -> Any:
    """Return the spec that removes the function, given as it was read, and restores the reservation if one is named."""
    spec = changes(vm, "remove", one)
    if reservation:
        locked = reservation == ALL_MEMORY
        spec.memoryReservationLockedToMax = locked
        if not locked:
            spec.memoryAllocation = vim.ResourceAllocationInfo(reservation=int(reservation))
        if MEMORY_BEFORE in vm.extra and len(vm.pci) == 1:
            spec.extraConfig = [vim.option.OptionValue(key=MEMORY_BEFORE, value="")]
    return spec
