"""Hold all managed objects of the simulated vCenter, and find them by reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from passgate.lab.hardware import LabVm
from passgate.lab.vcenter import (
    access,
    browser,
    check,
    cluster,
    guest_ops,
    host,
    inventory,
    pci,
    relocate,
    schedule,
    session,
    task,
    views,
    vm,
)
from passgate.lab.vcenter.accounts import Account
from passgate.lab.vcenter.collector import Collector
from passgate.lab.vcenter.served import Served, Session
from passgate.lab.world import World

GuestRun = Callable[[str, str, str, MutableMapping[str, bytes]], int]
"""`(vm_name, program_path, arguments, files) -> exit code`; it may write into the files."""

INVENTORY = {
    "group-d1": inventory.RootFolder,
    "datacenter-2": inventory.Datacenter,
    "group-v3": inventory.VmFolder,
    "group-h4": inventory.HostFolder,
    "group-s5": inventory.DatastoreFolder,
    "group-n6": inventory.NetworkFolder,
    "domain-c7": cluster.Cluster,
    "resgroup-8": inventory.Pool,
    "datastore-9": inventory.LabDatastore,
    "network-10": inventory.LabNetwork,
}
MANAGERS = {
    "ServiceInstance": session.ServiceInstance,
    "SessionManager": session.SessionManager,
    "AuthorizationManager": access.AuthorizationManager,
    "ViewManager": views.ViewManager,
    "SearchIndex": views.SearchIndex,
    "TaskManager": task.TaskManager,
    "VpxSettings": access.VCenterSettings,
    "ProvisioningChecker": relocate.ProvisioningChecker,
    "CompatibilityChecker": check.CompatibilityChecker,
    "ScheduledTaskManager": schedule.ScheduledTaskManager,
    "CustomFieldsManager": access.CustomFields,
    "guestOperationsManager": guest_ops.GuestOperations,
    "guestOperationsAuthManager": guest_ops.GuestAuth,
    "guestOperationsProcessManager": guest_ops.GuestProcesses,
    "guestOperationsFileManager": guest_ops.GuestFiles,
}


class Estate:
    """The managed objects in front of one world."""

    def __init__(self, world: World, users: Mapping[str, Account], guest_run: GuestRun) -> None:
        self.world = world
        self.sessions = session.Sessions(world, users)
        self.guests = guest_ops.GuestRooms(world, guest_run)
        self.url = ""
        self._fixed: dict[str, Served] = {ref: kind(self, ref) for ref, kind in {**INVENTORY, **MANAGERS}.items()}
        for one in world.hosts:
            number = one.ref.removeprefix("host-")
            self._fixed[one.ref] = host.Host(self, one)
            self._fixed[f"EsxHostAdvSettings-{number}"] = access.HostSettings(self, f"EsxHostAdvSettings-{number}", one)
            local = inventory.local_datastore(one)
            self._fixed[local] = inventory.LocalDatastore(self, local, one)
            self._fixed[f"pciPassthruSystem-{number}"] = pci.PassthruSystem(self, f"pciPassthruSystem-{number}", one)
            self._fixed[f"serviceSystem-{number}"] = host.Services(self, f"serviceSystem-{number}", one)
        self._fixed["envbrowser-7"] = browser.Browser(self, "envbrowser-7", None)
        self._vms: dict[str, Served] = {}

    def find(self, ref: Any, session: Session | None) -> Served | None:
        """Return the object that a reference from the wire means; None when there is none of that type."""
        served = self.by_id(ref._moId, session)  # noqa: SLF001 - pyVmomi's only name for it
        return served if served is not None and issubclass(served.kind, type(ref)) else None

    def by_id(self, ref: str, session: Session | None = None) -> Served | None:
        """Return the object with that managed object id."""
        if session is not None and ref in session.objects:
            return session.objects[ref]
        if ref in self._fixed:
            return self._fixed[ref]
        if ref.startswith(("vm-", "envbrowser-")):
            return self._of_vm(ref)
        if ref.startswith("schedule-"):
            return schedule.find(self, ref)
        found = self.world.tasks.get(ref)
        return task.ServedTask(self, found) if found else None

    def _of_vm(self, ref: str) -> Served | None:
        number = ref.rpartition("-")[2]
        for one in self.world.vms:
            if one.ref == f"vm-{number}":
                made = vm.VirtualMachine(self, one) if ref.startswith("vm-") else browser.Browser(self, ref, one)
                return self._vms.setdefault(ref, made)
        return None

    def fixed(self, ref: str) -> Served:
        """Return an object that is always there."""
        return self._fixed[ref]

    def vm(self, one: LabVm) -> Served:
        """Return the object in front of a VM of the world."""
        found = self._of_vm(one.ref)
        if found is None:
            raise LookupError(f"The lab's world has no VM {one.ref}.")
        return found

    def vms(self) -> list[Served]:
        """Return all VMs."""
        return [self.vm(one) for one in self.world.vms]

    def hosts(self) -> list[Served]:
        """Return all hosts."""
        return [self._fixed[one.ref] for one in self.world.hosts]

    def datastores(self) -> list[Served]:
        """Return the datastore that all hosts see, and each host's own."""
        local = [self._fixed[inventory.local_datastore(one)] for one in self.world.hosts]
        return [self._fixed["datastore-9"], *local]

    def begin(self, user_session: Session) -> None:
        """Give a new session its own default property collector."""
        user_session.objects["propertyCollector"] = Collector(self, "propertyCollector")
