"""Serve the inventory tree: folders, datacenter, resource pool, datastore and network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pyVmomi import vim

from passgate.lab.hardware import SHARED_DATASTORE, LabHost
from passgate.lab.vcenter.faults import made
from passgate.lab.vcenter.served import Served, refs

if TYPE_CHECKING:
    from passgate.lab.vcenter.estate import Estate

GREEN = "green"
SIZE = 2_199_023_255_552
FREE = 1_099_511_627_776
_VOLUME = "ds:///vmfs/volumes/65a1c0de-5eed1ab0-0001-000c29000001/"


class Entity(Served):
    """Base of what stands in the inventory tree."""

    title: ClassVar[str] = ""
    parent_ref: ClassVar[str | None] = None

    @property
    def name(self) -> str:
        """Return the name."""
        return self.title

    @property
    def parent(self) -> Any:
        """Return the object above."""
        return self.estate.fixed(self.parent_ref).me if self.parent_ref else None

    @property
    def overallStatus(self) -> str:
        """Return that all is well."""
        return GREEN

    @property
    def configStatus(self) -> str:
        """Return that all is well."""
        return GREEN

    @property
    def effectiveRole(self) -> Any:
        """Return the administrator role: the lab's roles are kept by account, not by object."""
        return _ints([-1])

    @property
    def recentTask(self) -> Any:
        """Return no task; VMs have their own."""
        return refs([], vim.Task)

    @property
    def disabledMethod(self) -> Any:
        """Return that no method is disabled."""
        return vim.ManagedEntity._GetPropertyInfo("disabledMethod").type()  # noqa: SLF001 - pyVmomi documents it as public


def _ints(values: list[int]) -> Any:
    return vim.ManagedEntity._GetPropertyInfo("effectiveRole").type(values)  # noqa: SLF001 - as above


class _Folder(Entity):
    kind = vim.Folder
    holds: ClassVar[tuple[str, ...]] = ()
    parent_ref: ClassVar[str | None] = "datacenter-2"

    @property
    def childType(self) -> Any:
        """Return the kinds of objects that may be made here."""
        return vim.Folder._GetPropertyInfo("childType").type(list(self.holds))  # noqa: SLF001 - as above

    @property
    def childEntity(self) -> Any:
        """Return what is in the folder."""
        return refs(list(self.children()), vim.ManagedEntity)


class RootFolder(_Folder):
    """The root of the inventory."""

    title = "Datacenters"
    parent_ref = None

    def children(self) -> list[Served]:
        """Return the datacenter."""
        return [self.estate.fixed("datacenter-2")]


class VmFolder(_Folder):
    """The datacenter's folder of VMs."""

    title = "vm"

    def children(self) -> list[Served]:
        """Return all VMs."""
        return self.estate.vms()


class HostFolder(_Folder):
    """The datacenter's folder of clusters."""

    title = "host"

    def children(self) -> list[Served]:
        """Return the cluster."""
        return [self.estate.fixed("domain-c7")]


class DatastoreFolder(_Folder):
    """The datacenter's folder of datastores."""

    title = "datastore"

    def children(self) -> list[Served]:
        """Return the datastores."""
        return self.estate.datastores()


class NetworkFolder(_Folder):
    """The datacenter's folder of networks."""

    title = "network"

    def children(self) -> list[Served]:
        """Return the network."""
        return [self.estate.fixed("network-10")]


class Datacenter(Entity):
    """The one datacenter."""

    kind = vim.Datacenter
    title = "DC-Lab"
    parent_ref = "group-d1"

    def children(self) -> list[Served]:
        """Return the four folders."""
        return [self.estate.fixed(ref) for ref in ("group-v3", "group-h4", "group-s5", "group-n6")]

    @property
    def vmFolder(self) -> Any:
        """Return the folder of VMs."""
        return self.estate.fixed("group-v3").me

    @property
    def hostFolder(self) -> Any:
        """Return the folder of clusters."""
        return self.estate.fixed("group-h4").me

    @property
    def datastoreFolder(self) -> Any:
        """Return the folder of datastores."""
        return self.estate.fixed("group-s5").me

    @property
    def networkFolder(self) -> Any:
        """Return the folder of networks."""
        return self.estate.fixed("group-n6").me

    @property
    def datastore(self) -> Any:
        """Return the datastores."""
        return refs(self.estate.datastores(), vim.Datastore)

    @property
    def network(self) -> Any:
        """Return the networks."""
        return refs([self.estate.fixed("network-10")], vim.Network)


class Pool(Entity):
    """The cluster's resource pool."""

    kind = vim.ResourcePool
    title = "Resources"
    parent_ref = "domain-c7"

    @property
    def owner(self) -> Any:
        """Return the cluster."""
        return self.estate.fixed("domain-c7").me

    @property
    def vm(self) -> Any:
        """Return all VMs."""
        return refs(self.estate.vms(), vim.VirtualMachine)

    @property
    def resourcePool(self) -> Any:
        """Return no pool below this one."""
        return refs([], vim.ResourcePool)

    @property
    def summary(self) -> Any:
        """Return the summary."""
        return made(vim.ResourcePool.Summary, name=self.title)

    @property
    def runtime(self) -> Any:
        """Return the use of resources, which the lab does not count."""
        return made(vim.ResourcePool.RuntimeInfo)


class LabDatastore(Entity):
    """The datastore that all hosts see."""

    kind = vim.Datastore
    title = SHARED_DATASTORE
    parent_ref = "group-s5"
    url = _VOLUME
    shared = True

    @property
    def summary(self) -> Any:
        """Return size and state."""
        return vim.Datastore.Summary(
            datastore=self.me,
            name=self.name,
            url=self.url,
            capacity=SIZE,
            freeSpace=FREE,
            uncommitted=0,
            accessible=True,
            multipleHostAccess=self.shared,
            type="VMFS",
            maintenanceMode="normal",
        )

    @property
    def info(self) -> Any:
        """Return what the file system says."""
        return made(vim.Datastore.Info, name=self.name, url=self.url, freeSpace=FREE, maxFileSize=SIZE)

    @property
    def vm(self) -> Any:
        """Return the VMs that have their files here."""
        mine = [self.estate.vm(one) for one in self.world.vms if one.datastore == self.name]
        return refs(mine, vim.VirtualMachine)


class LocalDatastore(LabDatastore):
    """The datastore of one host, which no other host sees."""

    shared = False

    def __init__(self, estate: Estate, ref: str, host: LabHost) -> None:
        super().__init__(estate, ref)
        self.owner = host
        self.url = _VOLUME.replace("0001-0", f"{ref.rpartition('-')[2]:0>4}-0")

    @property
    def name(self) -> str:
        """Return the name."""
        return self.owner.local_datastore


def local_datastore(host: LabHost) -> str:
    """Return the managed object id of the host's own datastore."""
    return f"datastore-{host.ref.removeprefix('host-')}"


class LabNetwork(Entity):
    """The one network."""

    kind = vim.Network
    title = "VM Network"
    parent_ref = "group-n6"

    @property
    def summary(self) -> Any:
        """Return name and state."""
        return vim.Network.Summary(network=self.me, name=self.title, accessible=True, ipPoolName="")

    @property
    def host(self) -> Any:
        """Return all hosts."""
        return refs(self.estate.hosts(), vim.HostSystem)

    @property
    def vm(self) -> Any:
        """Return all VMs."""
        return refs(self.estate.vms(), vim.VirtualMachine)
