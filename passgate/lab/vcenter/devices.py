"""Write the virtual devices of the world as pyVmomi's device types."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from passgate.lab.hardware import HostUsb, LabVm, VirtualDevice, VirtualPci, VirtualUsb
from passgate.lab.vcenter.faults import made
from passgate.lab.world import World

_D = vim.vm.device
KINDS: dict[str, Any] = {
    "ide": _D.VirtualIDEController,
    "ps2": _D.VirtualPS2Controller,
    "pci": _D.VirtualPCIController,
    "sio": _D.VirtualSIOController,
    "keyboard": _D.VirtualKeyboard,
    "pointing": _D.VirtualPointingDevice,
    "video": _D.VirtualVideoCard,
    "scsi": _D.ParaVirtualSCSIController,
    "disk": _D.VirtualDisk,
    "nic": _D.VirtualVmxnet3,
    "ehci": _D.VirtualUSBController,
    "xhci": _D.VirtualUSBXHCIController,
    "usb": _D.VirtualUSB,
}


def hardware(world: World, vm: LabVm) -> Any:
    """Return the VM's virtual hardware."""
    return vim.vm.VirtualHardware(
        numCPU=vm.cpus,
        numCoresPerSocket=1,
        memoryMB=vm.memory_mb,
        virtualICH7MPresent=False,
        virtualSMCPresent=False,
        device=[_device(world, vm, one) for one in vm.devices],
    )


def _device(world: World, vm: LabVm, one: VirtualDevice) -> Any:
    if isinstance(one, VirtualUsb):
        device = _usb(world, one)
    elif isinstance(one, VirtualPci):
        device = _passed(one)
    elif one.kind == "other":
        device = one.payload
    else:
        device = made(KINDS[one.kind], **_EXTRA.get(one.kind, lambda _vm: {})(vm))
        if isinstance(device, _D.VirtualController):
            device.device = [child.key for child in vm.devices if child.controller == one.key]
            device.busNumber = one.key % 100 if one.kind == "ide" else 0
    device.key, device.controllerKey, device.unitNumber = one.key, one.controller, one.unit
    summary = one.shown if isinstance(one, VirtualUsb) else one.summary
    device.deviceInfo = vim.Description(label=one.label, summary=summary or one.label)
    return device


def _usb(world: World, one: VirtualUsb) -> Any:
    backing = (
        _D.VirtualUSB.RemoteHostBackingInfo(deviceName=one.pattern, hostname=one.hostname)
        if one.hostname is not None
        else _D.VirtualUSB.USBBackingInfo(deviceName=one.pattern, useAutoDetect=False)
    )
    seen: HostUsb | None = one.device
    return _D.VirtualUSB(
        backing=backing,
        connected=world.is_connected(one),
        vendor=one.vendor,
        product=one.product,
        family=list(seen.families) if seen else [],
        speed=list(seen.speeds) if seen else [],
    )


def _passed(one: VirtualPci) -> Any:
    return _D.VirtualPCIPassthrough(
        backing=_D.VirtualPCIPassthrough.DeviceBackingInfo(
            deviceName=one.name, id=one.address, deviceId=one.device_id, vendorId=one.vendor, systemId=one.system_id
        )
    )


def _disk(vm: LabVm) -> dict[str, Any]:
    return {
        "capacityInKB": 41_943_040,
        "capacityInBytes": 42_949_672_960,
        "backing": _D.VirtualDisk.FlatVer2BackingInfo(
            fileName=f"[{vm.datastore}] {vm.ref}/{vm.ref}.vmdk",
            datastore=vim.Datastore("datastore-9", None),
            diskMode="persistent",
            thinProvisioned=True,
        ),
    }


def _nic(vm: LabVm) -> dict[str, Any]:
    return {
        "macAddress": mac(vm),
        "addressType": "assigned",
        "backing": _D.VirtualEthernetCard.NetworkBackingInfo(
            deviceName="VM Network", network=vim.Network("network-10", None)
        ),
        "connectable": _D.VirtualDevice.ConnectInfo(
            startConnected=True, allowGuestControl=True, connected=vm.power == "poweredOn", status="ok"
        ),
        "wakeOnLanEnabled": True,
    }


def mac(vm: LabVm) -> str:
    """Return the address of the VM's network adapter."""
    return f"00:50:56:80:00:{int(vm.ref.rpartition('-')[2]) % 256:02x}"


_EXTRA: dict[str, Any] = {
    "disk": _disk,
    "nic": _nic,
    "scsi": lambda _vm: {"sharedBus": "noSharing", "hotAddRemove": True, "scsiCtlrUnitNumber": 7},
    "ehci": lambda _vm: {"autoConnectDevices": False, "ehciEnabled": True},
    "xhci": lambda _vm: {"autoConnectDevices": False},
    "video": lambda _vm: {"videoRamSizeInKB": 8192, "numDisplays": 1, "useAutoDetect": False},
    "pointing": lambda _vm: {
        "backing": _D.VirtualPointingDevice.DeviceBackingInfo(deviceName="", hostPointingDevice="autodetect")
    },
}
