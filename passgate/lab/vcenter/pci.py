# ruff: noqa: ARG002 - methods take every argument of their WSDL call, by its name and in its order
"""Serve a host's PCI functions: what they are, how passthrough stands, and what may be handed to VMs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from passgate.lab import passthrough
from passgate.lab.hardware import LabHost, Refusal
from passgate.lab.passthrough import Setting
from passgate.lab.pci import PciFunction
from passgate.lab.vcenter.faults import made
from passgate.lab.vcenter.served import Call, Served

if TYPE_CHECKING:
    from passgate.lab.vcenter.estate import Estate

_NIC = "key-vim.host.PhysicalNic-"
_SWITCH = "key-vim.host.VirtualSwitch-vSwitch0"
_MANAGEMENT = ("Management Network", "VM Network")


class PassthruSystem(Served):
    """One host's passthrough."""

    kind = vim.host.PciPassthruSystem

    def __init__(self, estate: Estate, ref: str, host: LabHost) -> None:
        super().__init__(estate, ref)
        self.host = host

    @property
    def label(self) -> str:
        """Return the host's name."""
        return self.host.name

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Return what a test wants not to be read."""
        return self.host.unreadable

    @property
    def pciPassthruInfo(self) -> Any:
        """Return the three states of each function."""
        return vim.host.PciPassthruInfo.Array(states(self.host))

    def Refresh(self, call: Call) -> None:
        """Do nothing: the answer is always fresh."""
        self._connected()

    def UpdatePassthruConfig(self, call: Call, config: Any) -> None:
        """Set passthrough, at once: there is no task."""
        self._connected()
        if call.fault is not None:
            raise Refusal(call.fault.fault, call.fault.message)
        passthrough.configure(
            self.world, self.host, [Setting(one.id.lower(), one.passthruEnabled, one.applyNow) for one in config]
        )

    def _connected(self) -> None:
        if self.host.connection != "connected":
            raise Refusal("HostNotConnected", f"Unable to communicate with the remote host {self.host.name}.")


def states(host: LabHost) -> list[Any]:
    """Return the three states of each function."""
    state = host.passthrough
    return [
        vim.host.PciPassthruInfo(
            id=one.id,
            dependentDevice=one.acts_on,
            passthruCapable=passthrough.is_capable(host, one),
            passthruEnabled=one.id in state.enabled,
            passthruActive=one.id in state.active,
        )
        for one in host.pci
    ]


def targets(host: LabHost) -> list[Any]:
    """Return what may be handed to VMs: what is active, with the host's system id."""
    return [
        vim.vm.PciPassthroughInfo(name=one.id, pciDevice=device(one), systemId=host.system_id)
        for one in host.pci
        if one.id in host.passthrough.active
    ]


def device(one: PciFunction) -> Any:
    """Return one function as HostPciDevice, its ids as signed shorts (reference 0.2)."""
    bus, slot, function = one.place
    return vim.host.PciDevice(
        id=one.id,
        classId=_short(one.class_id),
        bus=_byte(bus),
        slot=_byte(slot),
        function=_byte(function),
        vendorId=_short(one.vendor),
        deviceId=_short(one.device),
        subVendorId=_short(one.vendor),
        subDeviceId=_short(0),
        vendorName=one.vendor_name,
        deviceName=one.device_name,
        parentBridge=one.bridge,
    )


def network_cards(host: LabHost) -> list[Any]:
    """Return the host's network cards that its own kernel drives."""
    return [
        made(
            vim.host.PhysicalNic, key=f"{_NIC}{one.alias}", device=one.alias, pci=one.id, mac=_mac(host, one),
            driver="igbn",
        )
        for one in _aliased(host, "vmnic")
    ]  # fmt: skip


def switches(host: LabHost) -> list[Any]:
    """Return the one switch; its uplink is the first card, which carries the management network."""
    cards = [f"{_NIC}{one.alias}" for one in _aliased(host, "vmnic")][:1]
    return [
        made(
            vim.host.VirtualSwitch, name="vSwitch0", key=_SWITCH, numPorts=128, numPortsAvailable=120, pnic=cards,
            portgroup=[f"key-vim.host.PortGroup-{name}" for name in _MANAGEMENT],
        )
    ]  # fmt: skip


def port_groups() -> list[Any]:
    """Return the port groups of that switch."""
    return [
        made(
            vim.host.PortGroup, key=f"key-vim.host.PortGroup-{name}", vswitch=_SWITCH,
            spec=vim.host.PortGroup.Specification(
                name=name, vlanId=0, vswitchName="vSwitch0", policy=vim.host.NetworkPolicy()
            ),
        )
        for name in _MANAGEMENT
    ]  # fmt: skip


def adapters(host: LabHost) -> Any:
    """Return the storage adapters that the host's own kernel drives."""
    return made(
        vim.host.StorageDeviceInfo,
        hostBusAdapter=[
            vim.host.BlockHba(
                key=f"key-vim.host.BlockHba-{one.alias}", device=one.alias, bus=one.place[0], status="unknown",
                model=one.device_name, driver="nvme_pcie", pci=one.id,
            )
            for one in _aliased(host, "vmhba")
        ],
        softwareInternetScsiEnabled=False,
    )  # fmt: skip


def _aliased(host: LabHost, prefix: str) -> list[PciFunction]:
    mine = [one for one in host.pci if one.alias.startswith(prefix) and one.id not in host.passthrough.active]
    return sorted(mine, key=lambda one: one.alias)


def _mac(host: LabHost, one: PciFunction) -> str:
    return f"00:50:56:01:{int(host.ref.rpartition('-')[2]) % 256:02x}:{one.place[0]:02x}"


def _short(value: int) -> int:
    return value - 0x10000 if value > 0x7FFF else value  # noqa: PLR2004 - largest signed short


def _byte(value: int) -> int:
    return value - 0x100 if value > 0x7F else value  # noqa: PLR2004 - largest signed byte
