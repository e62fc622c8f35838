"""Read PCI passthrough: functions with their three states, what hangs on them, and what stands in a VM's way.

From reference vSphere 2.1 and 2.2. Ids come as signed shorts and are kept unsigned; addresses in the API's spelling.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyVmomi import vim

from passgate.connect.vsphere.faults import of_fault
from passgate.connect.vsphere.functions import pci_functions
from passgate.connect.vsphere.parsing import Props, ref_of, spelled
from passgate.connect.vsphere.reading import (
    Row,
    Rows,
    Scope,
    browser_of,
    props_of,
    query,
    read_one_host,
    retrieve,
    steps,
)
from passgate.connect.vsphere.session import Session
from passgate.errors import InputError, RefusedError, UnreachableError, UnsupportedError
from passgate.model.inventory import Host, HostId, Inventory, PciFunction, Schedule
from passgate.model.pci import pci_address

REBIND_SINCE = (7, 0)
"""First API version that tells, and takes, passthrough without a reboot (reference vSphere 0.1)."""
PCI_HOST = (
    "name",
    "hardware.systemInfo.uuid",
    "runtime.connectionState",
    "hardware.pciDevice",
    "configManager.pciPassthruSystem",
    "config.network.pnic",
    "config.network.vnic",
    "config.network.vswitch",
    "config.network.proxySwitch",
    "config.network.portgroup",
    "config.storageDevice.hostBusAdapter",
)
PCI_VITAL = ("hardware.pciDevice", "configManager.pciPassthruSystem")
"""What passthrough is judged by, before and after: a reading of a host without one of these is none."""
PCI_VITAL_IF_SET = tuple(path for path in PCI_HOST if path.startswith("config."))
"""The same, of what the host itself needs: only a server that says why it does not tell has something to tell."""
REBIND = "capability.deviceRebindWithoutRebootSupported"
MANAGEMENT, NETWORK, STORAGE = "management", "network", "storage"
SHORT = re.compile(r"^[0-9a-fA-F]{1,2}:[0-9a-fA-F]{1,2}\.[0-7]$")


@dataclass(frozen=True)
class Target:
    """Hold one function that a host hands to VMs now, as its backing wants it: signed vendor id, hex device id."""

    address: str
    vendor: int
    device: int
    system_id: str
    name: str

    @property
    def signed_vendor(self) -> int:
        """Return the vendor id as the signed short that the backing holds (reference vSphere 2.2)."""
        return self.vendor - 0x10000 if self.vendor > 0x7FFF else self.vendor  # noqa: PLR2004 - largest signed short

    @property
    def hex_device(self) -> str:
        """Return the device id in lower-case hex without 0x: a decimal one fails at power-on (reference 2.2)."""
        return f"{self.device:x}"


def with_passthrough(session: Session, site: Inventory, scope: Scope) -> Inventory:
    """Return the reading with the PCI functions of the hosts in scope, and the scheduled tasks of their VMs.

    In scope are the named hosts, and those that the named VMs are on. Two round trips, one more for each host that has
    functions to hand out, and one for the scheduled tasks.
    """
    named = {vm.host.ref for vm in site.vms if {vm.name, vm.uuid} & set(scope.vms)}
    wanted = [
        host
        for host in site.hosts
        if host.connection == "connected" and (scope.all_hosts or {host.ref, host.name} & (named | set(scope.hosts)))
    ]
    for host in _with_functions(session, wanted):
        site = site.with_host(host)
    schedules = read_schedules(session)
    near = {host.ref for host in wanted}
    for vm in site.vms:
        if vm.host.ref in near:
            mine = None if schedules is None else tuple(schedules.get(vm.ref, ()))
            site = site.with_vm(vm.model_copy(update={"schedules": mine}))
    return site


def read_passthrough(session: Session, host: HostId) -> Host:
    """Return one host, read anew, with its PCI functions."""
    now = read_one_host(session, host)
    found = _with_functions(session, [now]) if now.connection == "connected" else []
    return found[0] if found else now


def _with_functions(session: Session, hosts: list[Host]) -> list[Host]:
    if not hosts:
        return []
    paths = (*PCI_HOST, REBIND) if session.negotiated >= REBIND_SINCE else PCI_HOST
    spec = query.FilterSpec(
        objectSet=[query.ObjectSpec(obj=session.object(vim.HostSystem, one.ref), skip=False) for one in hosts],
        propSet=[props_of(vim.HostSystem, paths)],
        reportMissingObjectsInResults=True,
    )
    rows = retrieve(session, spec, doing="read the PCI functions", subject=session.address)
    for host in hosts:
        _demand(host, rows.get(host.ref, Row()), PCI_VITAL, PCI_VITAL_IF_SET)
    systems = {host.ref: str(ref_of(rows[host.ref]["configManager.pciPassthruSystem"])) for host in hosts}
    infos = _read_infos(session, systems.values())
    found = []
    for host in hosts:
        row, states = rows[host.ref], infos.get(systems[host.ref], Row())
        _demand(host, states, ("pciPassthruInfo",), ())
        functions = functions_from(host.id, row, states["pciPassthruInfo"])
        targets = read_targets(session, host) if any(one.active for one in functions) else {}
        found.append(
            host.model_copy(
                update={
                    "pci": functions,
                    "rebind": row.get(REBIND),
                    "system_id": next((one.system_id for one in targets.values()), ""),
                }
            )
        )
    return found


def _demand(host: Host, row: Row, vital: Iterable[str], if_set: Iterable[str]) -> None:
    """Raise unless everything was read that says what is set, and what must never be: silence is no fact."""
    unread = [path for path in vital if path not in row] + [path for path in if_set if path in row.faults]
    if not unread:
        return
    path, fault = unread[0], row.faults.get(unread[0])
    if isinstance(fault, vim.fault.NoPermission):
        raise of_fault(fault, f"read {path} of {host.name}", host.name) from fault
    raise UnreachableError(
        f"Could not read {path} of {host.name}: vCenter left it out of its answer.",
        hint="Look in vCenter whether the host is connected, then try again.",
        subject=host.name,
    ) from fault


def _read_infos(session: Session, systems: Iterable[str]) -> Rows:
    """Return passthrough system id -> its properties, in one round trip."""
    objects = [session.object(vim.host.PciPassthruSystem, one) for one in systems]
    spec = query.FilterSpec(
        objectSet=[query.ObjectSpec(obj=one, skip=False) for one in objects],
        propSet=[props_of(vim.host.PciPassthruSystem, ("pciPassthruInfo",))],
        reportMissingObjectsInResults=True,
    )
    return retrieve(session, spec, doing="read the states of PCI passthrough", subject=session.address)


def functions_from(host: HostId, props: Props, infos: Iterable[Any]) -> tuple[PciFunction, ...]:
    """Return the host's functions with their states, and with what the host's kernel drives there."""
    used = drives(props)
    found = []
    for one in pci_functions(host, {**props, "config.pciPassthruInfo": infos}):
        alias, carries = used.get(one.address, ("", ""))
        # A USB controller has an adapter too where a USB disk is claimed; its devices tell more than that.
        carries = "" if one.is_usb_controller else carries
        found.append(one.model_copy(update={"alias": alias, "carries": carries}))
    return tuple(found)


def drives(props: Props) -> dict[str, tuple[str, str]]:
    """Return address -> the kernel's name for what it drives there, and what hangs on it."""
    uplinks = management_uplinks(props)
    cards = {
        _whole(one.pci): (one.device, MANAGEMENT if uplinks is None or one.key in uplinks else NETWORK)
        for one in props.get("config.network.pnic", ())
        if one.pci
    }
    adapters = {
        _whole(one.pci): (one.device, STORAGE)
        for one in props.get("config.storageDevice.hostBusAdapter", ())
        if one.pci
    }
    return {**cards, **adapters}


def management_uplinks(props: Props) -> frozenset[str] | None:
    """Return the keys of the network cards that may carry vmk0; None when nothing tells which switch it is on."""
    vmk0 = next((one for one in props.get("config.network.vnic", ()) if one.device == "vmk0"), None)
    if vmk0 is None:
        return None
    port = getattr(vmk0.spec, "distributedVirtualPort", None)
    if port is not None:
        found = [one for one in props.get("config.network.proxySwitch", ()) if one.dvsUuid == port.switchUuid]
    else:
        names = {
            one.vswitch for one in props.get("config.network.portgroup", ()) if one.spec.name == vmk0.portgroup
        }  # fmt: skip
        found = [one for one in props.get("config.network.vswitch", ()) if one.key in names]
    return frozenset(key for one in found for key in one.pnic or ()) if found else None


def _whole(address: str) -> str:
    """Return an address with its domain, which adapters leave out."""
    plain = address.strip()
    try:
        return pci_address(f"0000:{plain}" if SHORT.match(plain) else plain)
    except InputError:
        return plain


def read_targets(session: Session, host: HostId) -> dict[str, Target]:
    """Return address -> what the host hands to VMs now: only functions whose passthrough is active (reference 2.2)."""
    ref = str(ref_of(browser_of(session, host)))
    answer = session.read(
        f"list what {host.name} passes through",
        host.name,
        lambda _: session.object(vim.EnvironmentBrowser, ref).QueryConfigTarget(
            session.object(vim.HostSystem, host.ref)
        ),
    )
    found = {}
    for one in (answer.pciPassthrough if answer is not None else None) or ():
        address = spelled(one.pciDevice.id)
        found[address] = Target(
            address=address,
            vendor=one.pciDevice.vendorId & 0xFFFF,
            device=one.pciDevice.deviceId & 0xFFFF,
            system_id=one.systemId,
            name=one.pciDevice.deviceName or one.name or address,
        )
    return found


def read_schedules(session: Session) -> dict[str, list[Schedule]] | None:
    """Return VM id -> its scheduled tasks; None where the server does not tell."""

    def ask(manager: Any) -> dict[str, list[Schedule]]:
        start = query.ObjectSpec(
            obj=manager, skip=True, selectSet=[steps("all", vim.scheduler.ScheduledTaskManager, "scheduledTask")]
        )
        paths = ("info.name", "info.enabled", "info.entity", "info.action")
        spec = query.FilterSpec(objectSet=[start], propSet=[props_of(vim.scheduler.ScheduledTask, paths)])
        found: dict[str, list[Schedule]] = {}
        for row in retrieve(session, spec, doing="read the scheduled tasks", subject=session.address).values():
            one = Schedule(name=row.get("info.name", ""), method=_method(row.get("info.action")),
                           enabled=bool(row.get("info.enabled")))  # fmt: skip
            found.setdefault(str(ref_of(row.get("info.entity"))), []).append(one)
        return found

    manager = session.content.scheduledTaskManager
    if manager is None:
        return {}  # a host of its own has none
    try:
        return ask(manager)
    except (UnsupportedError, RefusedError):
        return None


def _method(action: Any) -> str:
    """Return the WSDL name of what a scheduled task does; empty where it calls no method."""
    info = getattr(getattr(action, "name", None), "info", None)
    return str(info.wsdlName) if info is not None else ""


def system_of(session: Session, host: HostId) -> Any:
    """Return the host's passthrough system; it stays the same, so it is read only once."""
    key = ("passthrough", host.ref)
    if key not in session.remembered:
        spec = query.FilterSpec(
            objectSet=[query.ObjectSpec(obj=session.object(vim.HostSystem, host.ref), skip=False)],
            propSet=[props_of(vim.HostSystem, ("configManager.pciPassthruSystem",))],
        )
        rows = retrieve(session, spec, doing=f"find the PCI passthrough of {host.name}", subject=host.name)
        system = rows.get(host.ref, Row()).get("configManager.pciPassthruSystem")
        if system is None:
            raise RefusedError(
                f"vCenter offers no PCI passthrough for {host.name}.",
                fault="NotFound",
                hint="Look whether the host is connected, and whether Passgate's account may read it.",
                subject=host.name,
            )
        session.remembered[key] = str(ref_of(system))
    return session.object(vim.host.PciPassthruSystem, session.remembered[key])
