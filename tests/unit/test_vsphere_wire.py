"""Golden tests: exactly what each spec looks like on the wire, at the versions that we support."""

from __future__ import annotations

import pytest
from pyVmomi import SoapAdapter, vim

from passgate.connect.vsphere import specs
from passgate.model.inventory import ControllerKind, HostId, HostUsbDevice, Power, UsbController, Vm

HOST = HostId(ref="host-1", name="esx-01.lab.example", uuid="4c4c4544")
XHCI = UsbController(kind=ControllerKind.XHCI, key=14000)
VM = Vm(ref="vm-7", name="win-01", uuid="5000", host=HOST, power=Power.OFF, change_version="41", controllers=(XHCI,))
STICK = HostUsbDevice(host=HOST, vendor=0x18A5, product=0x0302, path="0/1/3", pattern="path:0/1/3 version:2")

HEAD = (
    '<obj versionId="{version}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns="urn:vim25" xsi:type="VirtualMachineConfigSpec">'
    "<changeVersion>41</changeVersion><deviceChange><operation>"
)
TAIL = "</device></deviceChange></obj>"
USB = 'add</operation><device xsi:type="VirtualUSB"><key>-100</key>'
ON_XHCI = "<controllerKey>14000</controllerKey><connected>true</connected>"

GOLDEN = {
    "add an xHCI controller": (
        specs.add_controller(VM, ControllerKind.XHCI),
        (
            'add</operation><device xsi:type="VirtualUSBXHCIController"><key>-100</key><busNumber>0</busNumber>'
            "<autoConnectDevices>false</autoConnectDevices>"
        ),
    ),
    "add an EHCI controller": (
        specs.add_controller(VM, ControllerKind.EHCI),
        (
            'add</operation><device xsi:type="VirtualUSBController"><key>-100</key><busNumber>0</busNumber>'
            "<autoConnectDevices>false</autoConnectDevices><ehciEnabled>true</ehciEnabled>"
        ),
    ),
    "add a device with vMotion support": (
        specs.add_device(VM, STICK, XHCI, vmotion=True),
        (
            f'{USB}<backing xsi:type="VirtualUSBRemoteHostBackingInfo"><deviceName>path:0/1/3 version:2</deviceName>'
            f"<hostname>esx-01.lab.example</hostname></backing>{ON_XHCI}"
        ),
    ),
    "add a device without vMotion support": (
        specs.add_device(VM, STICK, XHCI, vmotion=False),
        (
            f'{USB}<backing xsi:type="VirtualUSBUSBBackingInfo"><deviceName>path:0/1/3 version:2</deviceName></backing>'
            f"{ON_XHCI}"
        ),
    ),
    "remove a controller": (
        specs.remove(VM, vim.vm.device.VirtualUSBXHCIController(key=14000, busNumber=0)),
        'remove</operation><device xsi:type="VirtualUSBXHCIController"><key>14000</key><busNumber>0</busNumber>',
    ),
}


@pytest.mark.parametrize(("name", "version"), [("vim.version.v7_0", "7.0.0.0"), ("vim.version.v8_0_2_0", "8.0.2.0")])
@pytest.mark.parametrize("what", GOLDEN)
def test_spec_on_the_wire(what: str, name: str, version: str) -> None:
    """Send exactly these elements: pattern and host name verbatim, the controller named, the version guarded."""
    spec, inner = GOLDEN[what]
    assert SoapAdapter.SerializeToStr(spec, version=name) == HEAD.format(version=version) + inner + TAIL


@pytest.mark.parametrize(
    ("since", "spec", "type_name"),
    [
        (specs.CONTROLLER_SINCE[ControllerKind.XHCI], GOLDEN["add an xHCI controller"][0], "VirtualUSBXHCIController"),
        (specs.VMOTION_SINCE, GOLDEN["add a device with vMotion support"][0], "VirtualUSBRemoteHostBackingInfo"),
    ],
)
def test_gates_stand_where_pyvmomi_begins_to_drop(since: tuple[int, ...], spec: object, type_name: str) -> None:
    """Name as the first version the one that sends the type whole; the one before it drops it without a word."""
    versions = {(4, 0): "vim.version.version5", (4, 1): "vim.version.version6", (5, 0): "vim.version.version7"}
    before = max(version for version in versions if version < since)
    assert type_name in SoapAdapter.SerializeToStr(spec, version=versions[since])
    assert type_name not in SoapAdapter.SerializeToStr(spec, version=versions[before])
