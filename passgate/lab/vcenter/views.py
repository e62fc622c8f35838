# ruff: noqa: N803, ARG002 - methods take every argument of their WSDL call, by its name and in its order
"""Serve container views and the search index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from passgate.lab.hardware import Refusal
from passgate.lab.vcenter.served import Call, Served, refs

if TYPE_CHECKING:
    from passgate.lab.vcenter.estate import Estate


class View(Served):
    """Base of views: they live as long as their session."""

    def DestroyView(self, call: Call) -> None:
        """Forget the view."""
        if call.session:
            call.session.objects.pop(self.ref, None)


class ContainerView(View):
    """All objects of some types below a container, computed when it is read."""

    kind = vim.view.ContainerView

    def __init__(self, estate: Estate, ref: str, container: Served, types: Any, *, recursive: bool) -> None:
        super().__init__(estate, ref)
        self.root = container
        self.container = container.me
        self.type = types
        self.recursive = recursive

    @property
    def view(self) -> Any:
        """Return the objects."""
        wanted = tuple(self.type) or (vim.ManagedEntity,)
        found = below(self.root) if self.recursive else iter(self.root.children())
        return refs([one for one in found if issubclass(one.kind, wanted)], vim.ManagedEntity)


class ListView(View):
    """The objects that the client named."""

    kind = vim.view.ListView

    def __init__(self, estate: Estate, ref: str, objects: Any) -> None:
        super().__init__(estate, ref)
        self.view = refs(list(objects))


def below(served: Served) -> Iterator[Served]:
    """Yield everything below an object, each once."""
    seen: set[str] = set()
    waiting = list(served.children())
    while waiting:
        one = waiting.pop(0)
        if one.ref not in seen:
            seen.add(one.ref)
            yield one
            waiting.extend(one.children())


class ViewManager(Served):
    """Makes views."""

    kind = vim.view.ViewManager

    def CreateContainerView(self, call: Call, container: Any, type: Any, recursive: bool) -> Any:  # noqa: A002 - the WSDL's name
        """Make a view of a folder, datacenter, cluster or pool."""
        root = self.estate.find(container, call.session)
        if root is None:
            raise Refusal("ManagedObjectNotFound", f"The object {container} does not exist.", obj=container)
        return self._keep(call, ContainerView(self.estate, self._ref(call), root, type, recursive=recursive))

    def CreateListView(self, call: Call, obj: Any) -> Any:
        """Make a view of named objects."""
        return self._keep(call, ListView(self.estate, self._ref(call), obj))

    @staticmethod
    def _ref(call: Call) -> str:
        return f"session[{call.session.key}]{call.session.new_id()}" if call.session else ""

    @staticmethod
    def _keep(call: Call, view: View) -> Any:
        if call.session:
            call.session.objects[view.ref] = view
        return view.me


class SearchIndex(Served):
    """Finds single objects."""

    kind = vim.SearchIndex

    def FindByUuid(self, call: Call, datacenter: Any, uuid: str, vmSearch: bool, instanceUuid: bool | None) -> Any:
        """Return the VM or host with that UUID."""
        return next(iter(self._with_uuid(uuid, vmSearch, bool(instanceUuid))), None)

    def FindAllByUuid(self, call: Call, datacenter: Any, uuid: str, vmSearch: bool, instanceUuid: bool | None) -> Any:
        """Return all VMs or hosts with that UUID."""
        return refs(self._with_uuid(uuid, vmSearch, bool(instanceUuid)), vim.ManagedEntity)

    def _with_uuid(self, uuid: str, vms: bool, instance: bool) -> list[Any]:
        wanted = uuid.lower()
        if vms:
            return [
                self.estate.vm(one).me
                for one in self.world.vms
                if (one.instance_uuid if instance else one.uuid).lower() == wanted
            ]
        return [self.estate.fixed(one.ref).me for one in self.world.hosts if one.uuid.lower() == wanted]

    def FindByInventoryPath(self, call: Call, inventoryPath: str) -> Any:
        """Return the object at a path such as `DC-Lab/vm/win-01`."""
        found: Served | None = self.estate.fixed("group-d1")
        for name in inventoryPath.strip("/").split("/"):
            found = next((one for one in found.children() if escaped(one.label) == name), None) if found else None
        return found.me if found else None

    def FindChild(self, call: Call, entity: Any, name: str) -> Any:
        """Return the child of that name."""
        parent = self.estate.find(entity, call.session)
        return next((one.me for one in parent.children() if one.label == name), None) if parent else None

    def FindByDnsName(self, call: Call, datacenter: Any, dnsName: str, vmSearch: bool) -> Any:
        """Return the VM whose guest says that it has this name, or the host of that name."""
        if vmSearch:
            return next(
                (
                    self.estate.vm(one).me
                    for one in self.world.vms
                    if self.world.tools_running(one) and one.dns_name == dnsName
                ),
                None,
            )
        return next((self.estate.fixed(one.ref).me for one in self.world.hosts if one.name == dnsName), None)

    def FindByIp(self, call: Call, datacenter: Any, ip: str, vmSearch: bool) -> Any:
        """Return the VM or host with that address."""
        if vmSearch:
            return next(
                (self.estate.vm(one).me for one in self.world.vms if self.world.tools_running(one) and one.ip == ip),
                None,
            )
        return next((self.estate.fixed(one.ref).me for one in self.world.hosts if one.ip == ip), None)


def escaped(name: str) -> str:
    """Return a name as inventory paths and vSphere's own name properties write it."""
    return name.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")
