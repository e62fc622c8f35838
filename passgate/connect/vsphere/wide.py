"""Read all hosts and all VMs of an estate at once, with only what a census needs of each.

One walk from the root folder, page by page; of a VM's hardware nothing is held but what passthrough is about. An estate
of thousands of hosts has tens of thousands of VMs, and their devices whole would fill the memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyVmomi import vim, vmodl

from passgate.connect.vsphere.functions import HOST_PCI, pci_functions
from passgate.connect.vsphere.parsing import LIGHT_HOST, LIGHT_VM, Props, host_from, host_id, ref_of, vm_from
from passgate.connect.vsphere.reading import WALK, Row, Rows, props_of, retrieve
from passgate.connect.vsphere.session import Session
from passgate.model.inventory import Host, HostId, Vm

query = vmodl.query.PropertyCollector
device = vim.vm.device

PAGE = 100
"""Objects in one answer: a VM's hardware is some 15 KB of XML, so an answer stays below 2 MB."""
VM_PROPS = (*LIGHT_VM, "config.changeVersion", "config.hardware.device")
HOST_PROPS = (*LIGHT_HOST, *HOST_PCI)
KEPT = (
    device.VirtualUSB,
    device.VirtualUSBController,
    device.VirtualUSBXHCIController,
    device.VirtualPCIPassthrough,
)


@dataclass(frozen=True)
class WideReading:
    """Hold all hosts, without what is plugged into their USB ports, and all VMs with their passthrough devices."""

    hosts: tuple[Host, ...]
    vms: tuple[Vm, ...]


def read_wide(session: Session) -> WideReading:
    """Read all hosts and VMs in one walk; begun anew from its start when vCenter forgot the session on the way."""
    spec = query.FilterSpec(
        objectSet=[query.ObjectSpec(obj=session.content.rootFolder, skip=True, selectSet=list(WALK))],
        propSet=[
            props_of(vim.VirtualMachine, VM_PROPS),
            props_of(vim.HostSystem, HOST_PROPS),
            props_of(vim.ComputeResource, ("name", "environmentBrowser", "host")),
        ],
    )
    doing = "read all hosts and VMs"
    rows = retrieve(session, spec, doing=doing, subject=session.address, page=PAGE, each=without_other_devices)
    resources = {ref: row for ref, row in rows.items() if "host" in row}
    found = {ref: row for ref, row in rows.items() if "parent" in row}
    for ref, row in found.items():
        browser = resources.get(str(ref_of(row["parent"])), Row()).get("environmentBrowser")
        if browser is not None:
            session.remembered["browser", ref] = browser
    ids = {ref: host_id(ref, row) for ref, row in found.items()}
    return WideReading(
        hosts=tuple(_host(ref, row, resources) for ref, row in found.items()),
        vms=tuple(_vm(ref, row, ids) for ref, row in rows.items() if ref not in resources and ref not in found),
    )


def without_other_devices(row: Row) -> None:
    """Take all devices out of a VM's row that are neither passed through nor carry such ones."""
    devices = row.get("config.hardware.device")
    if devices is not None:
        row["config.hardware.device"] = [one for one in devices if isinstance(one, KEPT)]


def _host(ref: str, row: Row, resources: Rows) -> Host:
    host = host_from(ref, row, resources.get(str(ref_of(row.get("parent"))), Row()))
    return host.model_copy(update={"pci": pci_functions(host.id, row)})


def _vm(ref: str, row: Props, ids: dict[str, HostId]) -> Vm:
    where = str(ref_of(row.get("runtime.host")) or "")
    return vm_from(ref, row, ids.get(where, HostId(ref=where, name=where, uuid="")))
