"""Give running VMs more CPU and memory, and reboot their guests."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from passgate.connect.vsphere import specs
from passgate.connect.vsphere.acting import Acting
from passgate.connect.vsphere.reading import read_vm
from passgate.errors import RefusedError
from passgate.model.inventory import Power, VmId


class Hardware(Acting):
    """Change what a VM is made of; a part of the connector to vCenter."""

    def set_hardware(self, vm: VmId, *, cpus: int | None = None, memory_mb: int | None = None) -> None:
        """Set the number of CPUs and the memory in MiB, what is None left out; as it is already counts as done.

        A running VM can only be given more, and only what its switches for hot add allow: vSphere refuses the rest.
        """
        doing = f"change CPU and memory of {vm.name}"
        now = read_vm(self._session, vm)[0]
        spec = specs.hardware(now, cpus, memory_mb)
        if spec is None:
            return
        target = self._session.object(vim.VirtualMachine, vm.ref)

        def start(one: Any) -> Any:
            return one.ReconfigVM_Task(spec)

        task = self._send("set_hardware", f"vm:{vm.ref}", target, start, doing=doing, subject=vm.name)
        self._await(task, vm=target, doing=doing, subject=vm.name)

    def reboot_guest(self, vm: VmId) -> None:
        """Ask VMware Tools to reboot the guest; returns when they have accepted, not when it is back."""
        doing = f"reboot the guest of {vm.name}"
        if read_vm(self._session, vm)[0].power is not Power.ON:
            raise RefusedError(
                f"Could not {doing}: the VM is not on.", fault="InvalidPowerState", hint="Power it on.", subject=vm.name
            )
        target = self._session.object(vim.VirtualMachine, vm.ref)
        self._send("reboot_guest", f"vm:{vm.ref}", target, lambda one: one.RebootGuest(), doing=doing, subject=vm.name)
