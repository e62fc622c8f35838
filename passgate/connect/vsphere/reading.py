"""Read the estate in few round trips, through the PropertyCollector with explicit walks from the root folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyVmomi import vim, vmodl

from passgate.connect.vsphere.faults import of_fault
from passgate.connect.vsphere.parsing import (
    DETAILED_HOST,
    DETAILED_VM,
    LIGHT_HOST,
    LIGHT_VM,
    PCI_HOT_ADD,
    PCI_HOT_ADD_SINCE,
    VITAL,
    VITAL_IF_SET,
    Props,
    cluster_from,
    host_from,
    host_id,
    host_usb,
    plain_name,
    ref_of,
    usb_options,
    vm_from,
)
from passgate.connect.vsphere.session import Session
from passgate.errors import LoginError, RefusedError, UnreachableError, UnsupportedError
from passgate.model.inventory import Host, HostId, HostUsbDevice, Inventory, UsbOptions, Vm, VmId

query = vmodl.query.PropertyCollector

PAGE = 500
HOST_PRIVILEGES = (
    "Host.Config.Maintenance",
    "Host.Config.NetService",
    "Host.Config.PciPassthru",
    "Host.Config.Settings",
    "Host.Inventory.EditCluster",
)
"""What runbooks that change a host need on it (reference vSphere 0.3)."""
PRIVILEGES = (
    "VirtualMachine.Interact.PowerOn",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.HostUSBDevice",
    "VirtualMachine.Config.AdvancedConfig",
    "VirtualMachine.Config.CPUCount",
    "VirtualMachine.Config.Memory",
    "VirtualMachine.Config.Resource",
    "VirtualMachine.Interact.Reset",
    "VirtualMachine.Interact.Suspend",
    "Resource.ColdMigrate",
    "Resource.HotMigrate",
    "VirtualMachine.GuestOperations.Query",
    "VirtualMachine.GuestOperations.Execute",
    "VirtualMachine.GuestOperations.Modify",
)

PRIVILEGE_READING = "read the privileges of Passgate's account"


class Row(dict[str, Any]):
    """Hold the properties of one object that were read; `faults` says why others, by name, could not be."""

    def __init__(self, props: Iterable[Any] = (), missing: Iterable[Any] = ()) -> None:
        super().__init__({one.name: one.val for one in props if one.val is not None})
        self.faults = {one.path: one.fault for one in missing}


Rows = dict[str, Row]


@dataclass(frozen=True)
class Scope:
    """Say what to read in depth: VMs (by name or instance UUID), hosts (by name or id); and whether USB and PCI too.

    Every VM, host and cluster is read lightly in any case, so that names can be resolved and offered.
    """

    vms: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    usb: bool = False
    pci: bool = False
    all_hosts: bool = False


def steps(name: str, kind: Any, path: str, onward: Iterable[str] = ()) -> Any:
    """Return one step of a walk; `onward` names the steps that go on from there."""
    return query.TraversalSpec(
        name=name, type=kind, path=path, skip=False, selectSet=[query.SelectionSpec(name=one) for one in onward]
    )


WALK = (
    steps("folder", vim.Folder, "childEntity", ("folder", "datacenter", "resource")),
    steps("datacenter", vim.Datacenter, "hostFolder", ("folder", "resource")),
    steps("resource", vim.ComputeResource, "host", ("host",)),
    # By host and not by VM folder, so that VMs inside vApps are found too.
    steps("host", vim.HostSystem, "vm"),
)
"""Folder > datacenter > host folder > cluster or single host > host > VM."""


def retrieve(
    session: Session,
    spec: Any,
    *,
    doing: str,
    subject: str,
    page: int = PAGE,
    each: Callable[[Row], None] = lambda _: None,
) -> Rows:
    """Return id -> properties for everything that the filter finds, page by page.

    `each` sees a row as it comes, and may take out of it what is not needed: a page is all that is ever held whole.
    """

    def ask(content: Any) -> Rows:
        collector = content.propertyCollector
        answer = collector.RetrievePropertiesEx([spec], query.RetrieveOptions(maxObjects=page))
        rows: Rows = {}
        while answer is not None:
            for one in answer.objects:
                row = Row(one.propSet, one.missingSet or ())
                for fault in row.faults.values():
                    # A server may answer a lapsed session property by property, in place of one fault for the call.
                    if isinstance(fault, vim.fault.NotAuthenticated):
                        raise fault
                each(row)
                rows[one.obj._moId] = row  # noqa: SLF001  # pyVmomi's only name for the id
            answer = collector.ContinueRetrievePropertiesEx(answer.token) if answer.token else None
        return rows

    return session.read(doing, subject, ask)


def props_of(kind: Any, paths: Iterable[str]) -> Any:
    """Return the properties to read of that kind of object."""
    return query.PropertySpec(type=kind, all=False, pathSet=list(paths))


def sweep(session: Session) -> tuple[Rows, Rows, Rows]:
    """Return the light properties of all VMs, all hosts, and all clusters and compute resources, in one walk."""
    spec = query.FilterSpec(
        objectSet=[query.ObjectSpec(obj=session.content.rootFolder, skip=True, selectSet=list(WALK))],
        propSet=[
            props_of(vim.VirtualMachine, LIGHT_VM),
            props_of(vim.HostSystem, LIGHT_HOST),
            props_of(vim.ComputeResource, ("name", "environmentBrowser", "host")),
        ],
    )
    rows = retrieve(session, spec, doing="read the inventory", subject=session.address)
    resources = {ref: props for ref, props in rows.items() if "host" in props}
    hosts = {ref: props for ref, props in rows.items() if "parent" in props}
    vms = {ref: props for ref, props in rows.items() if ref not in resources and ref not in hosts}
    return vms, hosts, resources


def in_depth(session: Session, vms: Iterable[str], hosts: Iterable[str], clusters: Iterable[str]) -> Rows:
    """Return the detailed properties of those objects, in one call."""
    objects = [
        *(session.object(vim.VirtualMachine, ref) for ref in vms),
        *(session.object(vim.HostSystem, ref) for ref in hosts),
        *(session.object(vim.ClusterComputeResource, ref) for ref in clusters),
    ]
    if not objects:
        return {}
    spec = query.FilterSpec(
        objectSet=[query.ObjectSpec(obj=one, skip=False) for one in objects],
        propSet=[
            props_of(vim.VirtualMachine, _of_vms(session)),
            props_of(vim.HostSystem, DETAILED_HOST),
            props_of(vim.ClusterComputeResource, ("configurationEx",)),
        ],
        # An object that went away since the sweep is left out, and does not spoil the reading of the others.
        reportMissingObjectsInResults=True,
    )
    return retrieve(session, spec, doing="read VMs and hosts in depth", subject=session.address)


def read_vm(session: Session, vm: VmId) -> tuple[Vm, Props]:
    """Return one VM, and its properties as they came, in one round trip; a second one if it moved to another host.

    A VM that could not be read whole is an error, so that no step takes what is missing for a fact.
    """
    rows = in_depth(session, (vm.ref,), (), ())
    if vm.ref not in rows:
        raise RefusedError(
            f"Could not read {vm.name}: vCenter knows no VM {vm.ref} any more.",
            fault="ManagedObjectNotFound",
            hint="It was removed or registered anew; plan the change again.",
            subject=vm.name,
        )
    props = rows[vm.ref]
    demand_vital(vm.name, props)
    ref = ref_of(props.get("runtime.host"))
    host = vm.host if ref in {None, vm.host.ref} else read_host_id(session, str(ref))
    return vm_from(vm.ref, props, host), props


def demand_vital(name: str, row: Row) -> None:
    """Raise unless everything was read that changes of the VM are judged by."""
    unread = [path for path in VITAL if path not in row] + [path for path in VITAL_IF_SET if path in row.faults]
    if not unread:
        return
    path = unread[0]
    fault = row.faults.get(path)
    if isinstance(fault, vim.fault.NoPermission):
        raise of_fault(fault, f"read {path} of {name}", name) from fault
    why = f" ({type(fault).__name__.rpartition('.')[2]})" if fault is not None else ""
    raise UnreachableError(
        f"Could not read {path} of {name}: vCenter left it out of its answer{why}. "
        f"It shows the VM as {row.get('runtime.connectionState', 'in an unknown state')}.",
        hint="Look in vCenter whether the VM is accessible and its host connected, then try again.",
        subject=name,
    ) from fault


def read_one_host(session: Session, host: HostId) -> Host:
    """Return one host without its USB devices, in one round trip, or two for one that is in a cluster."""
    doing = f"read host {host.name}"
    spec = query.FilterSpec(
        objectSet=[query.ObjectSpec(obj=session.object(vim.HostSystem, host.ref), skip=False)],
        propSet=[props_of(vim.HostSystem, (*LIGHT_HOST, *DETAILED_HOST))],
    )
    row = retrieve(session, spec, doing=doing, subject=host.name).get(host.ref, Row())
    if "runtime.connectionState" not in row:
        raise UnreachableError(
            f"Could not {doing}: vCenter left its connection state out of the answer.",
            hint="Look in vCenter whether the host is there, and whether Passgate's account may read it.",
            subject=host.name,
        )
    parent = row.get("parent")
    if not isinstance(parent, vim.ClusterComputeResource):
        return host_from(host.ref, row, {})
    above = query.FilterSpec(
        objectSet=[query.ObjectSpec(obj=session.object(vim.ClusterComputeResource, str(ref_of(parent))), skip=False)],
        propSet=[props_of(vim.ClusterComputeResource, ("name", "configurationEx"))],
    )
    rows = retrieve(session, above, doing=doing, subject=host.name)
    return host_from(host.ref, row, rows.get(str(ref_of(parent)), Row()))


def read_host_id(session: Session, ref: str) -> HostId:
    """Return the identity of the host with that id, in one round trip."""
    spec = query.FilterSpec(
        objectSet=[query.ObjectSpec(obj=session.object(vim.HostSystem, ref), skip=False)],
        propSet=[props_of(vim.HostSystem, ("name", "hardware.systemInfo.uuid"))],
    )
    return host_id(ref, retrieve(session, spec, doing=f"read host {ref}", subject=ref).get(ref, {}))


def browser_of(session: Session, host: HostId) -> Any:
    """Return the environment browser that knows that host; it stays the same, so it is read only once."""
    key = ("browser", host.ref)
    if key not in session.remembered:
        walk = query.TraversalSpec(name="parent", type=vim.HostSystem, path="parent", skip=False)
        start = query.ObjectSpec(obj=session.object(vim.HostSystem, host.ref), skip=True, selectSet=[walk])
        spec = query.FilterSpec(objectSet=[start], propSet=[props_of(vim.ComputeResource, ("environmentBrowser",))])
        rows = retrieve(session, spec, doing=f"find the environment browser of {host.name}", subject=host.name)
        found = [props["environmentBrowser"] for props in rows.values() if "environmentBrowser" in props]
        if not found:
            raise RefusedError(
                f"vCenter offers no environment browser for {host.name}, so its USB devices can't be read.",
                hint="Check that Passgate's account may read the cluster (System.View, System.Read).",
                subject=host.name,
            )
        session.remembered[key] = found[0]
    return session.remembered[key]


def _of_vms(session: Session) -> tuple[str, ...]:
    """Return the properties that are read of a VM in depth, as far as the server knows them."""
    return (*DETAILED_VM, PCI_HOT_ADD) if session.negotiated >= PCI_HOT_ADD_SINCE else DETAILED_VM


def read_usb(session: Session, host: HostId) -> tuple[HostUsbDevice, ...]:
    """Return what the host's arbitrator offers now; nothing while it is stopped."""
    ref = ref_of(browser_of(session, host))
    target = session.read(
        f"list the USB devices of {host.name}",
        host.name,
        lambda _: session.object(vim.EnvironmentBrowser, str(ref)).QueryConfigTarget(
            session.object(vim.HostSystem, host.ref)
        ),
    )
    return tuple(host_usb(host, one) for one in (target.usb if target is not None else None) or ())


def read_usb_options(session: Session, vm: Props, host: HostId) -> UsbOptions | None:
    """Return what the VM may have there; None when the server does not say. Read only once.

    The VM's own browser is asked, and that of its host's cluster where the VM has none, or its does not answer.
    """
    version = vm["config.version"]
    own = ref_of(vm.get("environmentBrowser"))
    for browser in (own, ref_of(browser_of(session, host))):
        key = ("option", str(browser), str(version), host.ref)
        if browser is not None and key not in session.remembered:
            session.remembered[key] = _usb_options(session, browser, version, host)
        found: UsbOptions | None = session.remembered.get(key)
        if found is not None:
            return found
    return None


def _usb_options(session: Session, browser: str, version: str, host: HostId) -> UsbOptions | None:
    try:
        option = session.read(
            f"read what {version} allows on {host.name}",
            host.name,
            lambda _: session.object(vim.EnvironmentBrowser, browser).QueryConfigOption(
                version, session.object(vim.HostSystem, host.ref)
            ),
        )
    except (RefusedError, UnsupportedError):
        return None
    return usb_options(option)


def read_privileges(session: Session, vms: Iterable[str], hosts: Iterable[str] = ()) -> dict[str, frozenset[str]]:
    """Return which of PRIVILEGES the account holds on each VM, and of HOST_PRIVILEGES on each host, in one round trip.

    A server that can't be asked for privileges tells the roles of the session, in a second one. Nothing when it can't
    say that either.
    """
    wanted = {**dict.fromkeys(vms, PRIVILEGES), **dict.fromkeys(hosts, HOST_PRIVILEGES)}
    kinds = ((vim.VirtualMachine, PRIVILEGES), (vim.HostSystem, HOST_PRIVILEGES))
    entities = [session.object(kind, ref) for kind, names in kinds for ref, asked in wanted.items() if asked is names]
    if not entities:
        return {}
    try:
        held = granted(session, entities)
    except (UnsupportedError, LoginError, RefusedError):
        return {}
    return {ref: frozenset(has & set(wanted[ref])) for ref, has in held.items()}


def granted(session: Session, entities: list[Any]) -> dict[str, set[str]]:
    """Return the privileges that the session holds on each entity, asked for in the way that this server knows."""
    by_role = ("privileges", "by role")
    if by_role not in session.remembered:
        try:
            return granted_by_name(session, entities)
        except UnsupportedError:
            session.remembered[by_role] = True
    return granted_by_role(session, entities)


def granted_by_name(session: Session, entities: list[Any]) -> dict[str, set[str]]:
    """Return them as vCenter tells them by name (API 5.5 or later)."""
    answers = session.read(
        PRIVILEGE_READING,
        session.address,
        lambda content: content.authorizationManager.HasPrivilegeOnEntities(
            entity=entities, sessionId=session.key, privId=[*PRIVILEGES, *HOST_PRIVILEGES]
        ),
    )
    return {
        str(ref_of(one.entity)): {each.privId for each in one.privAvailability if each.isGranted} for one in answers
    }


def granted_by_role(session: Session, entities: list[Any]) -> dict[str, set[str]]:
    """Return them from the roles that the session has on each entity; one whose roles are not told is left out.

    `effectiveRole` and `roleList` are in the API from its first version on, on hosts that stand alone too.
    """
    spec = query.FilterSpec(
        objectSet=[query.ObjectSpec(obj=one, skip=False) for one in (*entities, session.content.authorizationManager)],
        propSet=[
            props_of(vim.ManagedEntity, ("effectiveRole",)),
            props_of(vim.AuthorizationManager, ("roleList",)),
        ],
    )
    rows = retrieve(session, spec, doing=PRIVILEGE_READING, subject=session.address)
    roles = {role.roleId: role.privilege for row in rows.values() for role in row.get("roleList", ())}
    return {
        ref: {name for role in row["effectiveRole"] for name in roles.get(role, ())}
        for ref, row in rows.items()
        if "effectiveRole" in row
    }


def read_inventory(session: Session, scope: Scope, site_name: str) -> Inventory:
    """Return the estate as it is now: the scope in depth, everything else by name, host and power state.

    In depth means: the named VMs, the hosts that they are on, the named hosts, and all other VMs on these hosts; and
    the hosts whose USB devices a named VM uses from elsewhere. A VM that was read lightly, or could not be read, has no
    devices and an empty `change_version`; a named one that could not be read is an error. A name in the scope that does
    not exist is no error here: `Inventory.vm` says it, with what there is.
    """
    read_at = datetime.now(UTC)
    light_vms, light_hosts, resources = sweep(session)
    named = [ref for ref, props in light_vms.items() if is_named(scope.vms, props)]
    near = {ref_of(light_vms[ref].get("runtime.host")) for ref in named}
    asked = {ref for ref, props in light_hosts.items() if {ref, props.get("name")} & set(scope.hosts)}
    near |= asked
    deep_hosts = [ref for ref in light_hosts if scope.all_hosts or ref in near]
    emptied = [ref for ref, props in light_vms.items() if ref_of(props.get("runtime.host")) in asked]
    deep_vms = [ref for ref, props in light_vms.items() if ref in named or ref_of(props.get("runtime.host")) in near]
    parents = {ref: props["parent"] for ref, props in light_hosts.items()}
    clusters = {ref_of(parents[ref]) for ref in deep_hosts if isinstance(parents[ref], vim.ClusterComputeResource)}
    rows = in_depth(session, deep_vms, deep_hosts, sorted(filter(None, clusters)))
    homes = {name for ref in named for name in usb_homes(rows.get(ref, Row()))}
    away = [ref for ref, props in light_hosts.items() if props.get("name") in homes and ref not in deep_hosts]
    if away:
        above = {ref_of(parents[ref]) for ref in away if isinstance(parents[ref], vim.ClusterComputeResource)}
        rows |= in_depth(session, (), away, sorted(filter(None, above - clusters)))
        deep_hosts += away
        clusters |= above

    for ref, parent in parents.items():
        browser = resources.get(str(ref_of(parent)), Row()).get("environmentBrowser")
        if browser is not None:
            session.remembered["browser", ref] = browser
    ids = {ref: host_id(ref, props) for ref, props in light_hosts.items()}
    hosts = tuple(
        read_host(
            session, ids[ref], {**props, **rows.get(ref, {})}, resources, rows, usb=scope.usb and ref in deep_hosts
        )
        for ref, props in light_hosts.items()
    )

    def vm(ref: str, light: Props) -> Vm:
        props = {**light, **rows.get(ref, {})}
        where = str(ref_of(props.get("runtime.host")) or "")
        host = ids.get(where, HostId(ref=where, name=where, uuid=""))
        if ref in named:
            demand_vital(plain_name(props.get("name", ref)), rows.get(ref, Row()))
        asked = ref in named and where in ids and "config.version" in props
        return vm_from(ref, props, host, read_usb_options(session, props, host) if asked else None)

    return Inventory(
        site=site_name,
        api_version=session.api_version,
        read_at=read_at,
        vms=tuple(vm(ref, props) for ref, props in light_vms.items()),
        hosts=hosts,
        clusters=tuple(
            cluster_from(ref, {**resources.get(ref, {}), **rows.get(ref, {})}) for ref in sorted(filter(None, clusters))
        ),
        standalone=session.content.about.apiType == "HostAgent",
        privileges=read_privileges(session, dict.fromkeys((*named, *emptied)), deep_hosts),
    )


def read_host(
    session: Session,
    host: HostId,
    props: Props,
    resources: Mapping[str, Props],
    rows: Mapping[str, Props],
    *,
    usb: bool,
) -> Host:
    """Return one host of the sweep, with its USB devices if they are wanted and vCenter is connected to it.

    A connected host that can't be asked is an error: no devices would say that there are none.
    """
    parent = str(ref_of(props.get("parent")))
    connected = str(props.get("runtime.connectionState")) == "connected"
    devices = read_usb(session, host) if usb and connected else ()
    return host_from(host.ref, props, {**resources.get(parent, {}), **rows.get(parent, {})}, devices)


def usb_homes(props: Props) -> set[str]:
    """Return the names of the hosts whose USB devices the VM's configuration names."""
    devices = props.get("config.hardware.device", ())
    backings = [one.backing for one in devices if isinstance(one, vim.vm.device.VirtualUSB)]
    return {one.hostname for one in backings if isinstance(one, vim.vm.device.VirtualUSB.RemoteHostBackingInfo)}


def is_named(wanted: Iterable[str], props: Props) -> bool:
    """Say whether a VM is one of those that were named, by name or by instance UUID."""
    return bool({plain_name(props.get("name", "")), props.get("config.instanceUuid", "")} & set(filter(None, wanted)))
