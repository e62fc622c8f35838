"""Apply a VirtualMachineConfigSpec to a VM as a whole, and refuse what real vSphere refuses (reference 1.4 to 1.7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pyVmomi import vim

from passgate.lab.hardware import LabVm, Refusal, VirtualDevice, VirtualPci, VirtualUsb
from passgate.lab.inventory_seed import usb_controller
from passgate.lab.world import World

_D = vim.vm.device
MOST_USB = 20
_SINCE = {"ehci": 7, "xhci": 8, "usb": 7}
"""First hardware version that has the device (KB 305356)."""

# First key of devices that the lab keeps without knowing more of them: as real hosts number them.
_KEYS: tuple[tuple[Any, int], ...] = (
    (_D.VirtualSCSIController, 1000),
    (_D.VirtualDisk, 2000),
    (_D.VirtualCdrom, 3000),
    (_D.VirtualEthernetCard, 4000),
    (_D.VirtualSoundCard, 5000),
    (_D.VirtualPCIPassthrough, 13000),
    (_D.VirtualAHCIController, 15000),
    (_D.VirtualNVMEController, 31000),
)
_OTHER_KEYS = 50000
_FIRST_USB = 41000
_ONLY_WHILE_OFF = ("usb.generic.", "usb.quirks.")
"""Options that need a VM that is off (KB 323394; reference 1.7)."""


def reconfigure(world: World, vm: LabVm, spec: Any) -> None:
    """Change the VM, or raise Refusal and leave it as it was."""
    if spec.changeVersion and spec.changeVersion != vm.change_version:
        raise Refusal(
            "ConcurrentAccess", "The operation cannot be performed: the virtual machine was changed meanwhile."
        )
    if vm.power == "suspended" and spec.deviceChange:
        raise _bad_power(vm)
    if vm.power == "suspended" and (spec.numCPUs or spec.memoryMB):
        raise _bad_power(vm)
    if vm.power != "poweredOff" and any(one.key.lower().startswith(_ONLY_WHILE_OFF) for one in spec.extraConfig):
        raise _bad_power(vm)
    if vm.power != "poweredOff" and (
        spec.cpuHotAddEnabled,
        spec.memoryHotAddEnabled,
        spec.fixedPassthruHotPlugEnabled,
    ) != (None, None, None):
        raise _bad_power(vm)
    hot = vm.power == "poweredOn" and _hot_adds(vm, spec)
    devices = _Devices(world, vm)
    devices.apply(spec.deviceChange)
    vm.devices = devices.devices
    if hot:
        world.cut_off_local_usb(vm)
    vm.name = spec.name or vm.name
    vm.annotation = vm.annotation if spec.annotation is None else spec.annotation
    vm.cpus, vm.memory_mb = spec.numCPUs or vm.cpus, int(spec.memoryMB or vm.memory_mb)
    vm.cpu_hot_add = _or(spec.cpuHotAddEnabled, vm.cpu_hot_add)
    vm.memory_hot_add = _or(spec.memoryHotAddEnabled, vm.memory_hot_add)
    vm.pci_hot_plug = _or(spec.fixedPassthruHotPlugEnabled, vm.pci_hot_plug)
    _reserve(vm, spec)
    for option in spec.extraConfig:
        known = next((key for key in vm.extra_config if key.lower() == option.key.lower()), option.key)
        if option.value in {"", None}:
            vm.extra_config.pop(known, None)
        else:
            vm.extra_config[known] = str(option.value)
    vm.vmx_file = None  # hostd writes its own view; what nobody reloaded is lost
    world.touch(vm)


def _or(asked: Any, now: Any) -> Any:
    return now if asked is None else asked


def _hot_adds(vm: LabVm, spec: Any) -> bool:
    """Say whether the spec hot-adds CPU, memory or PCI to a running VM; refuse what this VM can't be given so.

    Both can only grow; a VM is made ready for it by a switch that is set while it is off.
    """
    cpus, memory = spec.numCPUs or vm.cpus, spec.memoryMB or vm.memory_mb
    if cpus < vm.cpus or (cpus > vm.cpus and not vm.cpu_hot_add):
        raise Refusal("CpuHotPlugNotSupported", "CPU hot plug is not supported for this virtual machine.")
    if memory < vm.memory_mb or (memory > vm.memory_mb and not vm.memory_hot_add):
        raise Refusal("MemoryHotPlugNotSupported", "Memory hot plug is not supported for this virtual machine.")
    pci = any(one.operation == "add" and isinstance(one.device, _D.VirtualPCIPassthrough) for one in spec.deviceChange)
    return pci or (cpus, memory) != (vm.cpus, vm.memory_mb)


def readable(spec: Any) -> None:
    """Refuse what could not even be read: an id that is no xsd:short (reference vSphere 0.2)."""
    for change in spec.deviceChange:
        vendor = getattr(change.device.backing, "vendorId", None)
        if vendor is not None and not -0x8000 <= vendor <= 0x7FFF:  # noqa: PLR2004 - the range of a short
            raise Refusal("InvalidRequest", f'A specified parameter was not correct: parsing "{vendor}": out of range')


def _reserve(vm: LabVm, spec: Any) -> None:
    vm.memory_locked = _or(spec.memoryReservationLockedToMax, vm.memory_locked)
    asked = spec.memoryAllocation.reservation if spec.memoryAllocation else None
    if asked is not None and not 0 <= asked <= vm.memory_mb:
        raise Refusal(
            "InvalidArgument", f"The reservation of {asked} MB is not within the memory of the virtual machine.",
            invalidProperty="memoryAllocation.reservation",
        )  # fmt: skip
    vm.memory_reservation_mb = vm.memory_mb if vm.memory_locked else _or(asked, vm.memory_reservation_mb)


def _bad_power(vm: LabVm) -> Refusal:
    return Refusal(
        "InvalidPowerState", "The attempted operation cannot be performed in the current state.",
        requestedState="poweredOff", existingState=vm.power,
    )  # fmt: skip


class _Devices:
    """Work out a VM's new list of devices."""

    def __init__(self, world: World, vm: LabVm) -> None:
        self.world = world
        self.vm = vm
        self.devices = list(vm.devices)
        self.temporary: dict[int, int] = {}
        """Keys that the client made up, negative by custom, and the real ones."""

    def apply(self, changes: Any) -> None:
        # Controllers come first, so that a device may name one that stands behind it in the same spec.
        numbered = list(enumerate(changes))
        adds = [(i, one.device) for i, one in numbered if one.operation == "add"]
        for index, change in numbered:
            if change.operation == "remove":
                self._remove(index, change.device)
            elif change.operation == "edit":
                self._edit(index, change.device)
            elif change.operation != "add":
                raise _bad_spec(index, "operation")
        for index, device in sorted(adds, key=lambda one: not isinstance(one[1], _D.VirtualController)):
            self._add(index, device)

    def _find(self, index: int, key: int) -> VirtualDevice:
        found = next((one for one in self.devices if one.key == key), None)
        if found is None:
            raise _bad_spec(index, "device.key")
        return found

    def _remove(self, index: int, device: Any) -> None:
        found = self._find(index, device.key)
        if found.kind in _SINCE and self.vm.power == "poweredOn" and not self.vm.hot_remove:
            raise _no_hot_plug(index, "removed")
        if any(one.controller == found.key for one in self.devices):
            raise Refusal(
                "InvalidDeviceOperation",
                f"Invalid operation for device '{index}': {found.label} still has devices.",
                deviceIndex=index,
                badOp="remove",
            )
        if isinstance(found, VirtualPci) and self.vm.power == "poweredOn" and not self.vm.pci_hot_plug:
            raise _bad_power(self.vm)
        self.devices.remove(found)

    def _edit(self, index: int, device: Any) -> None:
        found = self._find(index, device.key)
        if isinstance(found, VirtualUsb):
            pattern, hostname = self._backing(index, device.backing)
            new = replace(found, pattern=pattern, hostname=hostname, device=None, lost=False)
            self.devices[self.devices.index(found)] = new
        elif found.kind == "other":
            self.devices[self.devices.index(found)] = replace(found, payload=device)

    def _add(self, index: int, device: Any) -> None:
        kind = _kind(device)
        if self.vm.hardware_version < _SINCE.get(kind, 0):
            raise Refusal(
                "DeviceUnsupportedForVmVersion",
                f"The device '{index}' is not supported by virtual hardware version {self.vm.hardware_version}.",
                deviceIndex=index,
                currentVersion=f"vmx-{self.vm.hardware_version:02d}",
                expectedVersion=f"vmx-{_SINCE[kind]:02d}",
            )
        if kind in _SINCE and self.vm.power == "poweredOn" and not self.vm.hot_add:
            raise _no_hot_plug(index, "added")
        makers = {
            "ehci": self._controller, "xhci": self._controller, "usb": self._usb, "passthrough": self._passthrough,
        }  # fmt: skip
        new = makers.get(kind, self._other)(index, device)
        if device.key:
            self.temporary[device.key] = new.key
        self.devices.append(new)

    def _controller(self, index: int, device: Any) -> VirtualDevice:
        kind = _kind(device)
        if any(one.kind == kind for one in self.devices):
            raise Refusal(
                "TooManyDevices", f"Too many devices of this type: the virtual machine has its one {kind} controller.",
                property=f"virtualDeviceSpec[{index}].device",
            )  # fmt: skip
        return usb_controller(kind)

    def _usb(self, index: int, device: Any) -> VirtualDevice:
        entries = [one for one in self.devices if isinstance(one, VirtualUsb)]
        if len(entries) >= MOST_USB:
            raise Refusal(
                "TooManyDevices", f"Too many devices: a virtual machine may have {MOST_USB} USB devices.",
                property=f"virtualDeviceSpec[{index}].device",
            )  # fmt: skip
        if self.vm.fault_tolerance:
            raise Refusal("DeviceNotSupported", "USB is not supported with fault tolerance.", device="USB", reason="ft")
        pattern, hostname = self._backing(index, device.backing)
        key = next(n for n in range(_FIRST_USB, _FIRST_USB + 1000) if all(one.key != n for one in self.devices))
        return VirtualUsb(
            "usb", key, self._usb_controller(index, device.controllerKey), key, f"USB {key - _FIRST_USB + 1}",
            "Autoconnect Device", pattern=pattern, hostname=hostname,
        )  # fmt: skip

    def _passthrough(self, index: int, device: Any) -> VirtualDevice:
        """Take the backing as it is: whether it fits the host shows at power-on only, as on real hosts."""
        backing, vm = device.backing, self.vm
        if not isinstance(backing, _D.VirtualPCIPassthrough.DeviceBackingInfo) or not backing.id:
            raise _bad_backing(index)
        if vm.power == "poweredOn" and not vm.pci_hot_plug:
            raise _bad_power(vm)
        if vm.fault_tolerance:
            raise Refusal(
                "DeviceNotSupported", "PCI passthrough is not supported with fault tolerance.", device="PCI device",
                reason="ft",
            )  # fmt: skip
        if any(one.memory for top in vm.snapshots for one in top.all()):
            raise Refusal(
                "DeviceNotSupported", "PCI passthrough is not supported with snapshots that hold memory.",
                device="PCI device", reason="snapshot",
            )  # fmt: skip
        first = next(key for kind, key in _KEYS if kind is _D.VirtualPCIPassthrough)
        key = next(n for n in range(first, first + 1000) if all(one.key != n for one in self.devices))
        return VirtualPci(
            "passthrough", key, 100, None, f"PCI device {key - first}", backing.deviceName, address=backing.id.lower(),
            device_id=backing.deviceId, vendor=backing.vendorId, system_id=backing.systemId, name=backing.deviceName,
        )  # fmt: skip

    def _usb_controller(self, index: int, asked: int | None) -> int:
        controllers = {one.key: one for one in self.devices if one.kind in {"xhci", "ehci"}}
        if asked:
            key = self.temporary.get(asked, asked)
            if key not in controllers:
                raise _bad_spec(index, "device.controllerKey")
            return key
        if not controllers:
            raise _bad_spec(index, "device.controllerKey")
        return max(controllers)  # the server places the device: on xHCI where there is one

    def _backing(self, index: int, backing: Any) -> tuple[str, str | None]:
        if not isinstance(backing, _D.VirtualUSB.USBBackingInfo | _D.VirtualUSB.RemoteHostBackingInfo):
            raise _bad_backing(index)
        if not (backing.deviceName or "").strip():
            raise _bad_backing(index)
        if isinstance(backing, _D.VirtualUSB.USBBackingInfo):
            return backing.deviceName, None
        if backing.hostname not in {one.name for one in self.world.hosts}:
            raise _bad_backing(index)
        return backing.deviceName, backing.hostname

    def _other(self, _index: int, device: Any) -> VirtualDevice:
        first = next((key for kind, key in _KEYS if isinstance(device, kind)), _OTHER_KEYS)
        key = next(n for n in range(first, first + 1000) if all(one.key != n for one in self.devices))
        controller = self.temporary.get(device.controllerKey, device.controllerKey) if device.controllerKey else 100
        name = type(device).__name__.rpartition(".")[2].removeprefix("Virtual")
        return VirtualDevice("other", key, controller, device.unitNumber, f"{name} {key - first}", name, device)


def _kind(device: Any) -> str:
    if isinstance(device, _D.VirtualUSBXHCIController):
        return "xhci"
    if isinstance(device, _D.VirtualUSBController):
        return "ehci"
    if isinstance(device, _D.VirtualPCIPassthrough):
        return "passthrough"
    return "usb" if isinstance(device, _D.VirtualUSB) else "other"


def _no_hot_plug(index: int, done: str) -> Refusal:
    return Refusal(
        "DeviceHotPlugNotSupported",
        f"The device '{index}' can't be {done} while the virtual machine is powered on.",
        deviceIndex=index,
        property="virtualDeviceSpec.device",
    )


def _bad_spec(index: int, field: str) -> Refusal:
    return Refusal(
        "InvalidDeviceSpec",
        f"Invalid configuration for device '{index}'.",
        deviceIndex=index,
        property=f"virtualDeviceSpec.{field}",
    )


def _bad_backing(index: int) -> Refusal:
    return Refusal(
        "InvalidDeviceBacking",
        f"Incompatible device backing specified for device '{index}'.",
        deviceIndex=index,
        property="virtualDeviceSpec.device.backing",
    )
