"""Read what only evacuations and moves need: whose disks other hosts see, datacenters, and VMs that we depend on."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyVmomi import vim

from passgate.connect.vsphere.parsing import Props, ref_of
from passgate.connect.vsphere.reading import Rows, props_of, query, retrieve
from passgate.connect.vsphere.session import Session
from passgate.model.inventory import Inventory

OWN_MACHINE = Path("/sys/class/dmi/id/product_uuid")
"""Where Linux says which machine this is: in a VM, its BIOS UUID. Only root may read it on most systems."""
VCENTER, OURSELVES = "vCenter", "Passgate"


def with_surroundings(session: Session, site: Inventory, hosts: Iterable[str], vms: Iterable[str]) -> Inventory:
    """Return the reading with what moving VMs from or to those hosts needs, in three round trips.

    Of the VMs that are on the hosts or are named themselves: whether other hosts see their disks, and whether vCenter
    or Passgate itself runs in them. Of the hosts, and those that these VMs are on: their datacenters.
    """
    wanted = [one for one in site.hosts if {one.ref, one.name} & set(hosts)]
    refs = {one.ref for one in wanted}
    mine = [vm for vm in site.vms if vm.host.ref in refs or {vm.name, vm.uuid} & set(vms)]
    rows = _read_vms(session, [vm.ref for vm in mine])
    shared = shared_storage(session, rows)
    centers = datacenters(session, sorted(refs | {vm.host.ref for vm in mine}))
    for vm in mine:
        site = site.with_vm(vm.model_copy(update={"shared_storage": shared.get(vm.ref)}))
    for host in site.hosts:
        if host.ref in centers:
            site = site.with_host(host.model_copy(update={"datacenter": centers[host.ref]}))
    address = session.address.rpartition(":")[0]
    return site.model_copy(update={"depended_on": named(rows, addresses_of(address), own_uuids(OWN_MACHINE))})


def _read_vms(session: Session, refs: Sequence[str]) -> Rows:
    if not refs:
        return {}
    spec = query.FilterSpec(
        objectSet=[query.ObjectSpec(obj=session.object(vim.VirtualMachine, one), skip=False) for one in refs],
        propSet=[props_of(vim.VirtualMachine, ("datastore", "config.uuid", "guest.ipAddress", "guest.hostName"))],
        reportMissingObjectsInResults=True,
    )
    return retrieve(session, spec, doing="read where the VMs' disks are", subject=session.address)


def shared_storage(session: Session, vms: Mapping[str, Props]) -> dict[str, bool]:
    """Return VM id -> whether more than one host sees all its datastores; a VM of which nobody tells is left out."""
    stores = {ref: [str(ref_of(one)) for one in props.get("datastore", ())] for ref, props in vms.items()}
    wanted = sorted({one for each in stores.values() for one in each})
    if not wanted:
        return {}
    spec = query.FilterSpec(
        objectSet=[query.ObjectSpec(obj=session.object(vim.Datastore, one), skip=False) for one in wanted],
        propSet=[props_of(vim.Datastore, ("summary.multipleHostAccess",))],
        reportMissingObjectsInResults=True,
    )
    rows = retrieve(session, spec, doing="read the datastores", subject=session.address)
    seen = {ref: row["summary.multipleHostAccess"] for ref, row in rows.items() if "summary.multipleHostAccess" in row}
    return {ref: all(seen[one] for one in mine) for ref, mine in stores.items() if mine and seen.keys() >= set(mine)}


def datacenters(session: Session, hosts: Iterable[str]) -> dict[str, str]:
    """Return host id -> id of the datacenter that it is in, as far as the account may see the folders between."""
    wanted = tuple(hosts)
    if not wanted:
        return {}
    upwards = ("resource", "folder")
    walk = (
        query.TraversalSpec(name="host", type=vim.HostSystem, path="parent", skip=False, selectSet=_onward(upwards)),
        query.TraversalSpec(
            name="resource", type=vim.ComputeResource, path="parent", skip=False, selectSet=_onward(("folder",))
        ),
        query.TraversalSpec(name="folder", type=vim.Folder, path="parent", skip=False, selectSet=_onward(("folder",))),
    )
    spec = query.FilterSpec(
        objectSet=[
            query.ObjectSpec(obj=session.object(vim.HostSystem, one), skip=False, selectSet=list(walk))
            for one in wanted
        ],
        propSet=[props_of(vim.ManagedEntity, ("parent",))],
    )
    rows = retrieve(session, spec, doing="find the datacenters of the hosts", subject=session.address)
    above = {ref: row["parent"] for ref, row in rows.items() if "parent" in row}
    found = {ref: _datacenter(ref, above) for ref in wanted}
    return {ref: one for ref, one in found.items() if one}


def _onward(names: Iterable[str]) -> list[Any]:
    return [query.SelectionSpec(name=one) for one in names]


def _datacenter(ref: str, above: Mapping[str, Any]) -> str | None:
    seen: set[str] = set()
    while ref in above and ref not in seen:
        seen.add(ref)
        parent = above[ref]
        if isinstance(parent, vim.Datacenter):
            return ref_of(parent)
        ref = str(ref_of(parent))
    return None


def named(vms: Mapping[str, Props], vcenter: frozenset[str], own: frozenset[str]) -> dict[str, str]:
    """Return VM id -> what runs in it without which a change can't go on, as far as can be told.

    vCenter's VM is known by the name or address of its guest, Passgate's own by this machine's BIOS UUID.
    """
    found = {
        ref: VCENTER
        for ref, props in vms.items()
        if {props.get("guest.ipAddress"), str(props.get("guest.hostName", "")).casefold() or None} & vcenter
    }
    mine = {ref: OURSELVES for ref, props in vms.items() if str(props.get("config.uuid", "")).casefold() in own}
    return {**found, **mine}


def addresses_of(host: str) -> frozenset[str]:
    """Return the host's name and its addresses; without a resolver, its name alone."""
    found = {host.casefold()}
    with suppress(OSError, UnicodeError):
        found |= {str(one[4][0]) for one in socket.getaddrinfo(host, None)}
    return frozenset(found)


def own_uuids(where: Path) -> frozenset[str]:
    """Return how vCenter may write the UUID of the machine that we run on; nothing where it can't be read.

    Firmware shows the first three groups in either byte order, depending on the VM's hardware version.
    """
    with suppress(OSError, ValueError):
        one = uuid.UUID(where.read_text("ascii").strip())
        return frozenset({str(one), str(uuid.UUID(bytes=one.bytes_le))})
    return frozenset()
