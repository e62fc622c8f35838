# ruff: noqa: ARG002 - methods take every argument of their WSDL call, by its name and in its order
"""Serve VMs: their properties, power and reconfiguration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from passgate.lab.hardware import LabVm, Refusal
from passgate.lab.passthrough import must_not_be_tied, why_not_power_on
from passgate.lab.vcenter import relocate, snapshots, vm_facts
from passgate.lab.vcenter.accounts import ADD_REMOVE_DEVICE
from passgate.lab.vcenter.faults import made
from passgate.lab.vcenter.inventory import Entity, local_datastore
from passgate.lab.vcenter.reconfigure import readable, reconfigure
from passgate.lab.vcenter.served import Call, refs
from passgate.lab.vcenter.views import escaped
from passgate.lab.vmotion import obstacles

if TYPE_CHECKING:
    from passgate.lab.vcenter.estate import Estate

_NEEDED = {
    "deviceChange": ADD_REMOVE_DEVICE,
    "name": "VirtualMachine.Config.Rename",
    "annotation": "VirtualMachine.Config.Annotation",
    "numCPUs": "VirtualMachine.Config.CPUCount",
    "memoryMB": "VirtualMachine.Config.Memory",
    "extraConfig": "VirtualMachine.Config.AdvancedConfig",
    "memoryReservationLockedToMax": "VirtualMachine.Config.Resource",
    "memoryAllocation": "VirtualMachine.Config.Resource",
}
"""What a reconfiguration needs, by the fields of its spec (reference 0.3)."""


class VirtualMachine(Entity):
    """One VM."""

    kind = vim.VirtualMachine
    parent_ref = "group-v3"

    def __init__(self, estate: Estate, vm: LabVm) -> None:
        super().__init__(estate, vm.ref)
        self.vm = vm

    @property
    def name(self) -> str:
        """Return the name; vSphere writes %, / and backslash escaped."""
        return escaped(self.vm.name)

    @property
    def label(self) -> str:
        """Return the name as it is in the world."""
        return self.vm.name

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Return what a test wants not to be read."""
        return self.vm.unreadable

    @property
    def config(self) -> Any:
        """Return the configuration."""
        return vm_facts.config(self.world, self.vm)

    @property
    def runtime(self) -> Any:
        """Return the state."""
        return vm_facts.runtime(self.vm)

    @property
    def guest(self) -> Any:
        """Return what VMware Tools report."""
        return vm_facts.guest(self.world, self.vm)

    @property
    def summary(self) -> Any:
        """Return the summary."""
        return vm_facts.summary(self.world, self.vm)

    @property
    def capability(self) -> Any:
        """Return what the VM can do."""
        return made(vim.vm.Capability, bootOptionsSupported=True, multipleCoresPerSocketSupported=True)

    @property
    def environmentBrowser(self) -> Any:
        """Return the VM's own browser."""
        return vim.EnvironmentBrowser(f"envbrowser-{self.ref.removeprefix('vm-')}", None)

    @property
    def resourcePool(self) -> Any:
        """Return the pool."""
        return self.estate.fixed("resgroup-8").me

    @property
    def datastore(self) -> Any:
        """Return the datastores."""
        where = local_datastore(self.vm.host) if self.vm.local_datastore else "datastore-9"
        return refs([self.estate.fixed(where)], vim.Datastore)

    @property
    def network(self) -> Any:
        """Return the networks."""
        return refs([self.estate.fixed("network-10")], vim.Network)

    @property
    def recentTask(self) -> Any:
        """Return the VM's last tasks."""
        return refs([vim.Task(ref, None) for ref in self.vm.recent_tasks], vim.Task)

    @property
    def layout(self) -> Any:
        """Return the files of the VM."""
        return vim.vm.FileLayout(configFile=[f"{self.ref}.vmx"], logFile=["vmware.log"])

    @property
    def guestHeartbeatStatus(self) -> str:
        """Return whether VMware Tools answer."""
        return "green" if self.world.tools_running(self.vm) else "gray"

    # -- power ---------------------------------------------------------------------------------------------------

    def PowerOnVM_Task(self, call: Call, host: Any) -> Any:
        """Power on, or resume."""
        return self._power_task(call, "PowerOnVM_Task", "poweredOn", {"poweredOff", "suspended"})

    def PowerOffVM_Task(self, call: Call) -> Any:
        """Power off like pulling the plug."""
        return self._power_task(call, "PowerOffVM_Task", "poweredOff", {"poweredOn", "suspended"})

    def SuspendVM_Task(self, call: Call) -> Any:
        """Suspend; refused with a passed-through function."""
        must_not_be_tied(self.vm, "suspend")
        return self._power_task(call, "SuspendVM_Task", "suspended", {"poweredOn"})

    def ResetVM_Task(self, call: Call) -> Any:
        """Reset: the guest boots anew, USB devices reconnect."""

        def work() -> None:
            self._must_be({"poweredOn"}, wanted="poweredOn")
            self.world.set_power(self.vm, "poweredOn")

        return self._task(call, "ResetVM_Task", self.world.settings.power_seconds, work)

    def ShutdownGuest(self, call: Call) -> None:
        """Ask the guest to shut down; the VM is off a while later, and no task tells of it."""
        self._tools()
        self.world.after(self.world.settings.power_seconds, self._guest_is_down)

    def RebootGuest(self, call: Call) -> None:
        """Ask the guest to boot anew."""
        self._tools()
        self.world.reboot_guest(self.vm)

    def _guest_is_down(self) -> None:
        if self.vm.power == "poweredOn":
            self.world.set_power(self.vm, "poweredOff")

    def _tools(self) -> None:
        self._must_be({"poweredOn"}, wanted="poweredOn")
        if not self.world.tools_running(self.vm):
            raise Refusal(
                "ToolsUnavailable",
                "Cannot complete operation because VMware Tools is not running in this virtual machine.",
            )

    def _must_be(self, states: set[str], *, wanted: str) -> None:
        if self.vm.power not in states:
            raise Refusal(
                "InvalidPowerState",
                f"The attempted operation cannot be performed in the current state ({_words(self.vm.power)}).",
                requestedState=wanted,
                existingState=self.vm.power,
            )

    def _power_task(self, call: Call, method: str, wanted: str, states: set[str]) -> Any:
        def work() -> None:
            self._must_be(states, wanted=wanted)
            closed = self.vm.host.maintenance or self.vm.host.entering_maintenance
            if wanted == "poweredOn" and (self.vm.template or closed):
                raise Refusal("InvalidState", "The operation is not allowed in the current state.")
            if wanted == "poweredOn" and (refusal := why_not_power_on(self.world, self.vm)):
                raise refusal
            self.world.set_power(self.vm, wanted)

        return self._task(call, method, self.world.settings.power_seconds, work)

    # -- configuration -------------------------------------------------------------------------------------------

    def ReconfigVM_Task(self, call: Call, spec: Any) -> Any:
        """Change the configuration as a whole, or not at all."""
        for name, privilege in _NEEDED.items():
            if getattr(spec, name) not in (None, "", []) and call.session and not call.session.account.may(privilege):
                raise Refusal(
                    "NoPermission", "Permission to perform this operation was denied.", object=self.me,
                    privilegeId=privilege,
                )  # fmt: skip

        readable(spec)

        def work() -> None:
            reconfigure(self.world, self.vm, spec)

        return self._task(call, "ReconfigVM_Task", self.world.settings.reconfigure_seconds, work)

    def RelocateVM_Task(self, call: Call, spec: Any, priority: Any) -> Any:
        """Move to another host; the disks stay where they are."""
        to = relocate.target(self.world, self.vm, call, spec)

        def work() -> None:
            if found := obstacles(self.world, self.vm, to):
                raise found[0]
            self.world.migrate(self.vm, to)

        return self._task(call, "RelocateVM_Task", self.world.settings.power_seconds, work)

    # -- snapshots -----------------------------------------------------------------------------------------------

    @property
    def snapshot(self) -> Any:
        """Return the snapshots as a tree; unset where there are none."""
        return snapshots.tree(self.vm)

    def CreateSnapshot_Task(self, call: Call, name: str, description: Any, memory: bool, quiesce: bool) -> Any:
        """Take a snapshot; refused with a passed-through function."""
        must_not_be_tied(self.vm, "snapshot")

        def work() -> Any:
            return snapshots.take(self.world, self.vm, name, description or "", memory=memory)

        return self._task(call, "CreateSnapshot_Task", self.world.settings.reconfigure_seconds, work)

    def RemoveAllSnapshots_Task(self, call: Call, consolidate: Any, spec: Any) -> Any:
        """Remove all snapshots."""
        return self._task(
            call, "RemoveAllSnapshots_Task", self.world.settings.reconfigure_seconds, self.vm.snapshots.clear
        )

    def _task(self, call: Call, method: str, seconds: float, work: Callable[[], object]) -> Any:
        fault = call.fault

        def run() -> object:
            if fault is not None:
                raise Refusal(fault.fault, fault.message)
            if self.vm.host.connection != "connected":
                raise Refusal("HostNotConnected", f"Unable to communicate with {self.vm.host.name}.")
            return work()

        return vim.Task(self.world.start_task(method, self.vm, call.user, seconds, run).id, None)


def _words(power: str) -> str:
    return {"poweredOn": "Powered on", "poweredOff": "Powered off"}.get(power, "Suspended")
