"""Move VMs between hosts, and ask vCenter beforehand whether it would (reference vSphere 4)."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from passgate.connect.vsphere.acting import Acting
from passgate.connect.vsphere.checking import obstacles
from passgate.connect.vsphere.parsing import ref_of
from passgate.connect.vsphere.reading import Row, props_of, query, retrieve
from passgate.errors import RefusedError
from passgate.model.inventory import HostId, VmId


class Migrating(Acting):
    """Move VMs; a part of the connector to vCenter."""

    def relocate(self, vm: VmId, to: HostId) -> None:
        """Move the VM to that host, its disks stay where they are; a VM that is there already counts as done."""
        doing = f"move {vm.name} to {to.name}"
        if self._place(vm) == to.ref:
            return
        pool = self._pool(to, doing)
        spec = vim.vm.RelocateSpec(host=self._session.object(vim.HostSystem, to.ref), pool=pool)
        target = self._session.object(vim.VirtualMachine, vm.ref)
        task = self._send(
            "relocate", f"vm:{vm.ref}", target, lambda one: one.RelocateVM_Task(spec=spec), doing=doing,
            subject=vm.name,
        )  # fmt: skip
        self._await(task, vm=target, doing=doing, subject=vm.name)

    def obstacles_to_migration(self, vm: VmId, to: HostId) -> tuple[str, ...] | None:
        """Return what vCenter itself says stands in the way of moving the VM to that host; empty: nothing.

        None where the server has no such check: then nothing is known, and nobody may claim that it was checked. The
        task of this check succeeds with the errors inside its result.
        """
        doing = f"check whether {vm.name} can move to {to.name}"
        machine = self._session.object(vim.VirtualMachine, vm.ref)
        host = self._session.object(vim.HostSystem, to.ref)
        return obstacles(self._session, lambda content: _started(content, machine, host), doing=doing, subject=vm.name)

    def _place(self, vm: VmId) -> str | None:
        spec = query.FilterSpec(
            objectSet=[query.ObjectSpec(obj=self._session.object(vim.VirtualMachine, vm.ref), skip=False)],
            propSet=[props_of(vim.VirtualMachine, ("runtime.host",))],
        )
        rows = retrieve(self._session, spec, doing=f"find the host of {vm.name}", subject=vm.name)
        return ref_of(rows.get(vm.ref, Row()).get("runtime.host"))

    def _pool(self, to: HostId, doing: str) -> Any:
        """Return the root resource pool above the host, which a move to another cluster needs."""
        walk = query.TraversalSpec(name="parent", type=vim.HostSystem, path="parent", skip=False)
        start = query.ObjectSpec(
            obj=self._session.object(vim.HostSystem, to.ref), skip=True, selectSet=[walk]
        )  # fmt: skip
        spec = query.FilterSpec(objectSet=[start], propSet=[props_of(vim.ComputeResource, ("resourcePool",))])
        rows = retrieve(self._session, spec, doing=doing, subject=to.name)
        for row in rows.values():
            if (pool := row.get("resourcePool")) is not None:
                return self._session.object(vim.ResourcePool, str(ref_of(pool)))
        raise RefusedError(
            f"Could not {doing}: vCenter shows no resource pool above {to.name}.",
            fault="NotFound",
            hint="Look whether Passgate's account may read the host's cluster.",
            subject=to.name,
        )


def _started(content: Any, machine: Any, host: Any) -> Any:
    checker = content.vmProvisioningChecker
    return checker.CheckMigrate_Task(vm=machine, host=host) if checker is not None else None
