"""Turn what vCenter answers of a host's PCI functions into Passgate's model. No I/O here."""

from __future__ import annotations

from typing import Any

from passgate.connect.vsphere.parsing import Props, spelled
from passgate.model.inventory import HostId, PciFunction

HOST_PCI = ("hardware.pciDevice", "config.pciPassthruInfo")
"""The properties of a host that its PCI functions and the three states of their passthrough are read from."""


def pci_functions(host: HostId, props: Props) -> tuple[PciFunction, ...]:
    """Return the host's PCI functions; one whose passthrough vCenter does not tell of counts as not capable.

    Ids come as signed 16 bits and are kept unsigned; addresses are kept in one spelling (reference vSphere 2.2).
    """
    told = {spelled(one.id): one for one in props.get("config.pciPassthruInfo", ())}
    return tuple(_function(host, one, told.get(spelled(one.id))) for one in props.get("hardware.pciDevice", ()))


def _function(host: HostId, one: Any, told: Any) -> PciFunction:
    return PciFunction(
        host=host,
        address=spelled(one.id),
        vendor=one.vendorId & 0xFFFF,
        device=one.deviceId & 0xFFFF,
        name=" ".join(part for part in (one.vendorName, one.deviceName) if part),
        class_id=one.classId & 0xFFFF,
        subvendor=one.subVendorId & 0xFFFF,
        subdevice=one.subDeviceId & 0xFFFF,
        parent_bridge=spelled(one.parentBridge) if one.parentBridge else None,
        dependent=spelled(told.dependentDevice) if told is not None and told.dependentDevice else None,
        capable=bool(told is not None and told.passthruCapable),
        enabled=bool(told is not None and told.passthruEnabled),
        active=bool(told is not None and told.passthruActive),
        label=getattr(told, "hardwareLabel", None) or "",
    )
