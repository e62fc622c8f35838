# ruff: noqa: N803, ARG002 - methods take every argument of their WSDL call, by its name and in its order
"""Serve migration: where a VM is asked to go, and the checks that say beforehand whether it can (reference 4)."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from passgate.lab.hardware import LabHost, LabVm, Refusal
from passgate.lab.vcenter.faults import to_fault
from passgate.lab.vcenter.served import Call, Served
from passgate.lab.vmotion import obstacles
from passgate.lab.world import World

HOT_MIGRATE = "Resource.HotMigrate"


def target(world: World, vm: LabVm, call: Call, spec: Any) -> LabHost:
    """Return the host that the VM is asked to move to; raises Refusal for what the lab or the account can't do."""
    if vm.power == "poweredOn" and call.session and not call.session.account.may(HOT_MIGRATE):
        raise Refusal(
            "NoPermission", "Permission to perform this operation was denied.",
            object=vim.VirtualMachine(vm.ref, None), privilegeId=HOT_MIGRATE,
        )  # fmt: skip
    if spec.datastore is not None or spec.disk:
        raise Refusal("NotSupported", "The lab moves VMs between hosts only, never their disks.")
    return _host(world, vm, spec.host)


def _host(world: World, vm: LabVm, given: Any) -> LabHost:
    if given is None:
        return vm.host
    try:
        return world.host(given._moId)  # noqa: SLF001 - pyVmomi's only name for it
    except LookupError:
        raise Refusal("ManagedObjectNotFound", f"The object {given} does not exist.", obj=given) from None


class ProvisioningChecker(Served):
    """What can be asked before a migration: the task succeeds, with what stands in the way inside its result."""

    kind = vim.vm.check.ProvisioningChecker

    def CheckMigrate_Task(  # noqa: PLR0917 - the arguments of the WSDL call
        self, call: Call, vm: Any, host: Any, pool: Any, state: Any, testType: Any
    ) -> Any:
        """Check a move to a host."""
        return self._check(call, "CheckMigrate_Task", vm, host)

    def CheckRelocate_Task(self, call: Call, vm: Any, spec: Any, testType: Any) -> Any:
        """Check a move as a spec says it."""
        return self._check(call, "CheckRelocate_Task", vm, spec.host)

    def _check(self, call: Call, method: str, vm: Any, host: Any) -> Any:
        lab_vm = self.world.vm(vm._moId)  # noqa: SLF001 - pyVmomi's only name for it
        to = _host(self.world, lab_vm, host)

        def work() -> Any:
            if call.fault is not None:
                raise Refusal(call.fault.fault, call.fault.message)
            found = [to_fault(one) for one in obstacles(self.world, lab_vm, to)]
            kind = vim.vm.check.Result
            return kind.Array([kind(vm=vm, host=vim.HostSystem(to.ref, None), error=found)])

        return vim.Task(self.world.start_task(method, lab_vm, call.user, 0.0, work, locks=False).id, None)
