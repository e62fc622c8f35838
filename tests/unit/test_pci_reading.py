"""Tell what hangs on a host's PCI functions from what vCenter answers: networks, storage, and what can't be told."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim

from passgate.connect.vsphere.passthrough import drives, functions_from, management_uplinks
from passgate.model.inventory import HostId

HOST = HostId(ref="host-1", name="esx-01", uuid="4c4c")
Nic, Switch, Proxy = vim.host.PhysicalNic, vim.host.VirtualSwitch, vim.host.HostProxySwitch


def vmk0(**where: Any) -> vim.host.VirtualNic:
    """Return the management interface, on a port group or a distributed port."""
    spec = vim.host.VirtualNic.Specification(distributedVirtualPort=where.pop("port", None))
    return vim.host.VirtualNic(device="vmk0", spec=spec, **where)


def group(name: str, switch: str) -> vim.host.PortGroup:
    """Return a port group of that switch."""
    return vim.host.PortGroup(vswitch=switch, spec=vim.host.PortGroup.Specification(name=name))


def network(**changes: Any) -> dict[str, Any]:
    """Return a host with two cards: the first carries vmk0, the second another switch."""
    return {
        "config.network.pnic": [Nic(key="key-0", device="vmnic0", pci="0000:02:00.0"),
                                Nic(key="key-1", device="vmnic1", pci="02:00.1")],
        "config.network.vnic": [vmk0(portgroup="Management Network")],
        "config.network.vswitch": [Switch(key="sw-0", pnic=["key-0"]), Switch(key="sw-1", pnic=["key-1"])],
        "config.network.portgroup": [group("Management Network", "sw-0"), group("VM Network", "sw-1")],
        **changes,
    }  # fmt: skip


PORT = vim.dvs.PortConnection(switchUuid="50 1c")
CASES = {
    "a standard switch": (network(), {"0000:02:00.0": "management", "0000:02:00.1": "network"}),
    "a distributed switch": (
        network(**{
            "config.network.vnic": [vmk0(port=PORT)],
            "config.network.proxySwitch": [Proxy(dvsUuid="50 1c", pnic=["key-1"]), Proxy(dvsUuid="99", pnic=["key-0"])],
        }),
        {"0000:02:00.0": "network", "0000:02:00.1": "management"},
    ),
    "a switch that nobody names": (
        network(**{"config.network.portgroup": []}),
        {"0000:02:00.0": "management", "0000:02:00.1": "management"},
    ),
    "no vmk0 to be seen": (
        network(**{"config.network.vnic": []}),
        {"0000:02:00.0": "management", "0000:02:00.1": "management"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_may_carry_the_management_network_is_never_called_free(case: str) -> None:
    """The cards of vmk0's switch carry it; where no switch is told, every card may. Short addresses are made whole."""
    props, wanted = CASES[case]
    assert {address: carries for address, (_, carries) in drives(props).items()} == wanted


def test_nothing_is_told_without_any_network() -> None:
    """A host that tells nothing of its network has no management uplinks that could be named."""
    assert management_uplinks({}) is None
    assert drives({}) == {}


def test_adapters_are_storage_except_those_of_usb_controllers() -> None:
    """A USB disk has an adapter with its controller's address: what is on a controller is judged by its devices."""
    hba = vim.host.BlockHba
    props = {
        "hardware.pciDevice": [
            vim.host.PciDevice(id="0000:00:14.0", classId=0x0C03, vendorId=-32634, deviceId=-23699, subVendorId=0,
                               subDeviceId=0, vendorName="Intel", deviceName="xHCI"),
            vim.host.PciDevice(id="0000:3B:00.0", classId=0x0104, vendorId=0x1000, deviceId=0x5F, subVendorId=0,
                               subDeviceId=0, vendorName="Broadcom", deviceName="MegaRAID"),
        ],
        "config.storageDevice.hostBusAdapter": [
            hba(device="vmhba32", pci="00:14.0"), hba(device="vmhba2", pci="3b:00.0"),
        ],
    }  # fmt: skip
    info = vim.host.PciPassthruInfo(
        id="0000:00:14.0", dependentDevice="0000:00:14.0", passthruCapable=True, passthruEnabled=True,
        passthruActive=False,
    )  # fmt: skip
    usb, raid = functions_from(HOST, props, [info])
    assert (usb.vendor, usb.device, usb.alias, usb.carries) == (0x8086, 0xA36D, "vmhba32", "")
    assert (usb.capable, usb.enabled, usb.active) == (True, True, False)
    assert (raid.address, raid.alias, raid.carries, raid.capable) == ("0000:3b:00.0", "vmhba2", "storage", False)
