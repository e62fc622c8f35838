# ruff: noqa: N803, ARG002, PLR0917 - methods take every argument of their WSDL call, by its name and in its order
"""Serve the dry runs of reconfiguration and power-on: their tasks succeed, what is wrong stands in the result."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from pyVmomi import vim

from passgate.lab.hardware import LabVm, Refusal
from passgate.lab.passthrough import why_not_power_on
from passgate.lab.vcenter.faults import to_fault
from passgate.lab.vcenter.reconfigure import readable, reconfigure
from passgate.lab.vcenter.served import Call, Served


class CompatibilityChecker(Served):
    """Says what would be refused, and touches nothing."""

    kind = vim.vm.check.CompatibilityChecker

    def CheckVmConfig_Task(self, call: Call, spec: Any, vm: Any, host: Any, pool: Any, testType: Any) -> Any:
        """Say whether the VM could be changed so."""
        readable(spec)
        return self._task(call, "CheckVmConfig_Task", vm, lambda lab_vm: self._configure(lab_vm, spec))

    def CheckPowerOn_Task(self, call: Call, vm: Any, host: Any, pool: Any, testType: Any) -> Any:
        """Say whether the VM could be powered on."""
        return self._task(call, "CheckPowerOn_Task", vm, lambda lab_vm: why_not_power_on(self.world, lab_vm))

    def _configure(self, vm: LabVm, spec: Any) -> Refusal | None:
        trial = copy.copy(vm)
        trial.devices, trial.extra_config = list(vm.devices), dict(vm.extra_config)
        try:
            reconfigure(self.world, trial, spec)
        except Refusal as refusal:
            return refusal
        return None

    def _task(self, call: Call, method: str, vm: Any, look: Callable[[LabVm], Refusal | None]) -> Any:
        served = self.estate.find(vm, call.session) if vm is not None else None
        if served is None:
            raise Refusal("InvalidArgument", "A specified parameter was not correct: vm", invalidProperty="vm")
        lab_vm = self.world.vm(served.ref)

        def work() -> Any:
            if call.fault is not None:
                raise Refusal(call.fault.fault, call.fault.message)
            refusal = look(lab_vm)
            kind = vim.vm.check.Result
            return kind.Array([kind(vm=served.me, error=[to_fault(refusal)] if refusal else [])])

        return vim.Task(self.world.start_task(method, lab_vm, call.user, 0.0, work).id, None)
