"""Golden tests: what PCI passthrough sends, element by element, at the versions that we support."""

from __future__ import annotations

import pytest
from pyVmomi import SoapAdapter, vim

from passgate.connect.vsphere import specs
from passgate.connect.vsphere.passing import LOCK_SINCE
from passgate.connect.vsphere.passthrough import REBIND_SINCE, Target
from passgate.model.inventory import HostId, Power, Vm, VmPci
from passgate.model.pci import MEMORY_BEFORE

HOST = HostId(ref="host-1", name="esx-01.lab.example", uuid="4c4c4544")
VM = Vm(ref="vm-7", name="win-01", uuid="5000", host=HOST, power=Power.OFF, change_version="41")
INTEL = Target("0000:00:14.0", 0x8086, 0xA36D, "6285bf8d-50bc-f1db-2430-b496919885a8", "xHCI")
SMALL = Target("0000:05:00.0", 0x1912, 0x0015, "6285bf8d", "uPD720202")
DEVICE = vim.vm.device.VirtualPCIPassthrough(key=13000)
VERSIONS = [("vim.version.v7_0", "7.0.0.0"), ("vim.version.v8_0_2_0", "8.0.2.0")]

HEAD = (
    '<obj versionId="{version}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns="urn:vim25" xsi:type="VirtualMachineConfigSpec">'
    "<changeVersion>41</changeVersion>"
)


def added(target: Target, backing: str) -> str:
    """Return the device change that adds a function with that backing."""
    return (
        '<deviceChange><operation>add</operation><device xsi:type="VirtualPCIPassthrough"><key>-100</key>'
        f'<backing xsi:type="VirtualPCIPassthroughDeviceBackingInfo"><deviceName>{target.name}</deviceName>{backing}'
        "</backing></device></deviceChange>"
    )


def kept(value: str) -> str:
    """Return the line of extra configuration that keeps what was reserved before."""
    return f'<extraConfig><key>{MEMORY_BEFORE}</key><value xsi:type="xsd:string">{value}</value></extraConfig>'


REMOVED = (
    '<deviceChange><operation>remove</operation><device xsi:type="VirtualPCIPassthrough"><key>13000</key></device>'
    "</deviceChange>"
)
LOCKED, FREE = (
    f"<memoryReservationLockedToMax>{said}</memoryReservationLockedToMax>" for said in ("true", "false")
)  # fmt: skip
WITH_NOTE = VM.model_copy(update={"extra": {MEMORY_BEFORE: "1024"}, "pci": (VmPci(key=13000, address="0000:05:00.0"),)})

GOLDEN = {
    "add one with ids beyond a signed short": (
        specs.add_function(VM, INTEL, "0"),
        added(
            INTEL,
            "<id>0000:00:14.0</id><deviceId>a36d</deviceId><systemId>6285bf8d-50bc-f1db-2430-b496919885a8</systemId>"
            "<vendorId>-32634</vendorId>",
        ),
        kept("0") + LOCKED,
    ),
    "add one whose device id is short": (
        specs.add_function(VM, SMALL, "all"),
        added(
            SMALL,
            "<id>0000:05:00.0</id><deviceId>15</deviceId><systemId>6285bf8d</systemId><vendorId>6418</vendorId>",
        ),
        kept("all") + LOCKED,
    ),
    "remove the last one, and restore the reservation": (
        specs.remove_function(WITH_NOTE, DEVICE, "1024"),
        REMOVED,
        "<memoryAllocation><reservation>1024</reservation></memoryAllocation>" + kept("") + FREE,
    ),
    "remove one, and leave the reservation": (specs.remove_function(WITH_NOTE, DEVICE, ""), REMOVED, ""),
    "remove one of a VM whose memory was locked before": (
        specs.remove_function(VM, DEVICE, "all"), REMOVED, LOCKED,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "version"), VERSIONS)
@pytest.mark.parametrize("what", GOLDEN)
def test_spec_on_the_wire(what: str, name: str, version: str) -> None:
    """Send vendor ids signed, device ids in hex without 0x, and device and reservation in one spec."""
    spec, device, rest = GOLDEN[what]
    wire = SoapAdapter.SerializeToStr(spec, version=name)
    head = HEAD.format(version=version)
    assert wire.startswith(head)
    assert wire.removeprefix(head) == f"{device}{rest}</obj>"


@pytest.mark.parametrize(("name", "version"), VERSIONS)
def test_setting_on_the_wire(name: str, version: str) -> None:
    """Name each function; applyNow goes out where it was asked for, and is left out where not."""
    [now] = specs.passthrough(["0000:05:00.0"], enabled=True, now=True)
    [later] = specs.passthrough(["0000:05:00.0"], enabled=False, now=False)
    assert "<id>0000:05:00.0</id><passthruEnabled>true</passthruEnabled><applyNow>true</applyNow>" in (
        SoapAdapter.SerializeToStr(now, version=name)
    )
    wire = SoapAdapter.SerializeToStr(later, version=name)
    assert "<passthruEnabled>false</passthruEnabled></obj>" in wire
    assert f'versionId="{version}"' in wire


def test_gates_stand_where_pyvmomi_begins_to_drop() -> None:
    """Before 7.0 applyNow is dropped without a word, before 5.0 the lock of the memory: both are gated there."""
    [now] = specs.passthrough(["0000:05:00.0"], enabled=True, now=True)
    assert REBIND_SINCE == (7, 0)
    assert "applyNow" not in SoapAdapter.SerializeToStr(now, version="vim.version.version11")
    assert "applyNow" in SoapAdapter.SerializeToStr(now, version="vim.version.v7_0")
    spec = specs.add_function(VM, SMALL, "0")
    assert LOCK_SINCE == (5, 0)
    assert "memoryReservationLockedToMax" not in SoapAdapter.SerializeToStr(spec, version="vim.version.version6")
    assert "memoryReservationLockedToMax" in SoapAdapter.SerializeToStr(spec, version="vim.version.version7")
