"""Pass PCI functions through: set it on hosts, and give functions to VMs with all of their memory reserved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from pyVmomi import vim

from passgate.connect.vsphere import specs
from passgate.connect.vsphere.acting import Acting
from passgate.connect.vsphere.checking import obstacles
from passgate.connect.vsphere.passthrough import REBIND_SINCE, Target, read_passthrough, read_targets, system_of
from passgate.connect.vsphere.reading import read_vm
from passgate.errors import RefusedError, UnsupportedError
from passgate.model.inventory import Host, HostId, PciId, Vm, VmId

DRY_RUN_SINCE = (6, 7)
"""First API version that can check a reconfiguration or a power-on without doing it (reference vSphere 0.1)."""
LOCK_SINCE = (5, 0)
"""First API version with the memory reservation that follows the VM's memory."""


class SettingPassthrough(Acting):
    """Set passthrough on hosts; a part of the connector to hosts."""

    def passthrough(self, host: HostId) -> Host:
        """Read one host anew, with its PCI functions and the states of their passthrough."""
        return read_passthrough(self._session, host)

    def set_passthrough(self, host: HostId, functions: Sequence[PciId], *, enabled: bool, now: bool) -> None:
        """Enable or disable passthrough of those functions, in one call that ends when it is set (reference 2.3).

        `now` asks for it at once, without a reboot; it is sent only to an API that knows it, and refused by name for
        an older one. All that are set so already count as done, if they are in effect too or the host can't rebind.
        """
        doing = f"{'enable' if enabled else 'disable'} passthrough on {host.name}"
        if now:
            self._session.require(REBIND_SINCE, "Passthrough without a reboot (applyNow)", host.name)
        seen = self.passthrough(host)
        known = {one.address: one for one in seen.pci}
        there = [known.get(one.address) for one in functions]
        for asked, found in zip(functions, there, strict=True):
            if found is None or not asked.is_same_function(found):
                raise RefusedError(
                    f"Could not {doing}: at {asked.address} there is {found.words if found else 'no function'} now.",
                    fault="DeviceNotFound",
                    hint="Addresses are renumbered when cards or firmware settings change; plan the change again.",
                    subject=host.name,
                )
        waits = not (now and seen.rebind)  # such a setting is in effect after a reboot only; once more changes nothing
        if all(one and one.enabled is enabled and (waits or one.active is enabled) for one in there):
            return
        config = specs.passthrough([one.address for one in functions], enabled=enabled, now=now)
        system = system_of(self._session, host)
        self._send(
            "set_passthrough", f"host:{host.ref}", system, lambda one: one.UpdatePassthruConfig(config), doing=doing,
            subject=host.name,
        )  # fmt: skip
        with suppress(RefusedError, UnsupportedError):  # only lets the next reading be fresh; it reads anew in any case
            self._session.call(f"refresh the PCI functions of {host.name}", host.name, lambda _: system.Refresh())


class PassingThrough(Acting):
    """Give functions to VMs and take them away; a part of the connector to VMs."""

    def add_pci_function(self, vm: VmId, function: PciId, *, former: str) -> None:
        """Add the host's function to the VM and reserve all of its memory, in one change; there already: done.

        `former` is the VM's reservation before, in the words of `specs.MEMORY_BEFORE`; it is kept in the VM, so that
        whoever takes the last function away can restore it. The function is looked up anew at the host, so that never
        another one at the same address is given away.
        """
        doing = f"add {function.words} to {vm.name}"
        self._session.require(LOCK_SINCE, "Reserving all memory of a VM", vm.name)
        now = read_vm(self._session, vm)[0]
        if now.passes(function):
            return
        if now.host.ref != function.host.ref:
            raise RefusedError(
                f"Could not {doing}: the VM is on {now.host.name} now, the function in {function.host.name}.",
                fault="DeviceOnOtherHost",
                hint="Move the VM to that host while it is off, or plan the change again.",
                subject=vm.name,
            )
        target = self._target(function, doing)
        spec = specs.add_function(now, target, former)
        self._dry_run(vm, spec, doing)
        self._change("add_pci_function", vm, doing, spec)

    def remove_pci_function(self, vm: VmId, function: PciId, *, reservation: str) -> None:
        """Remove the VM's entry for that address, and restore its memory reservation in the same change.

        `reservation` is in the words of `specs.MEMORY_BEFORE`; empty leaves it as it is. No entry counts as done.
        """
        doing = f"remove {function.words} from {vm.name}"
        now, props = read_vm(self._session, vm)
        entry = now.passes(function)
        if entry is None:
            return
        device = next(one for one in props["config.hardware.device"] if one.key == entry.key)
        self._change("remove_pci_function", vm, doing, specs.remove_function(now, device, reservation))

    def obstacles_to_power_on(self, vm: VmId) -> tuple[str, ...] | None:
        """Return what vCenter itself says stands in the way of powering the VM on; empty: nothing.

        None where the server has no such check: then nothing is known, and nobody may claim that it was checked.
        """
        machine = self._session.object(vim.VirtualMachine, vm.ref)
        return self._obstacles(
            f"check whether {vm.name} can be powered on", vm, lambda checker: checker.CheckPowerOn_Task(vm=machine)
        )

    def _target(self, function: PciId, doing: str) -> Target:
        targets = read_targets(self._session, function.host)
        target = targets.get(function.address)
        if target is None:
            raise RefusedError(
                f"Could not {doing}: {function.host.name} does not hand it out.",
                fault="DeviceNotActive",
                hint="Its passthrough must be active: `passgate request pci-enable`, and look after a reboot.",
                subject=function.address,
            )
        if (target.vendor, target.device) != (function.vendor, function.device):
            raise RefusedError(
                f"Could not {doing}: at that address there is another function now, "
                f"{target.name} ({target.vendor:04x}:{target.device:04x}).",
                fault="DeviceNotFound",
                hint="Addresses are renumbered when cards or firmware settings change; plan the change again.",
                subject=function.address,
            )
        return target

    def _dry_run(self, vm: VmId, spec: Any, doing: str) -> None:
        """Have vCenter check the change first, where it can; raises with its words where it would refuse."""
        machine = self._session.object(vim.VirtualMachine, vm.ref)
        found = self._obstacles(doing, vm, lambda checker: checker.CheckVmConfig_Task(spec=spec, vm=machine))
        if found:
            raise RefusedError(
                f"Could not {doing}: vCenter says beforehand: {'; '.join(found)}.",
                fault="CheckVmConfig",
                hint="Nothing was changed. Remove what stands in the way, then plan again.",
                subject=vm.name,
            )

    def _obstacles(self, doing: str, vm: VmId, start: Callable[[Any], Any]) -> tuple[str, ...] | None:
        if self._session.negotiated < DRY_RUN_SINCE:
            return None

        def started(content: Any) -> Any:
            checker = content.vmCompatibilityChecker
            return start(checker) if checker is not None else None

        return obstacles(self._session, started, doing=doing, subject=vm.name)

    def _change(self, action: str, vm: Vm | VmId, doing: str, spec: Any) -> None:
        target = self._session.object(vim.VirtualMachine, vm.ref)
        task = self._send(
            action, f"vm:{vm.ref}", target, lambda one: one.ReconfigVM_Task(spec), doing=doing, subject=vm.name
        )
        self._await(task, vm=target, doing=doing, subject=vm.name)
