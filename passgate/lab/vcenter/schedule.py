# ruff: noqa: ARG002 - methods take every argument of their WSDL call, by its name and in its order
"""Serve scheduled tasks: what vCenter was told to do with VMs at some time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pyVmomi import VmomiSupport, vim

from passgate.lab.hardware import LabVm
from passgate.lab.snapshots import Schedule
from passgate.lab.vcenter.served import Call, Served, refs

if TYPE_CHECKING:
    from passgate.lab.vcenter.estate import Estate

_MADE = datetime(2024, 5, 1, 8, 0, tzinfo=UTC)


class ScheduledTaskManager(Served):
    """All scheduled tasks."""

    kind = vim.scheduler.ScheduledTaskManager

    @property
    def scheduledTask(self) -> Any:
        """Return all of them."""
        return _refs([one for vm in self.world.vms for one in vm.schedules])

    def RetrieveEntityScheduledTask(self, call: Call, entity: Any) -> Any:
        """Return those of one VM, or all."""
        if entity is None:
            return self.scheduledTask
        wanted = entity._moId  # noqa: SLF001 - pyVmomi's only name for it
        return _refs([one for vm in self.world.vms if vm.ref == wanted for one in vm.schedules])


class ScheduledTask(Served):
    """One scheduled task."""

    kind = vim.scheduler.ScheduledTask

    def __init__(self, estate: Estate, vm: LabVm, schedule: Schedule) -> None:
        super().__init__(estate, schedule.ref)
        self.vm = vm
        self.schedule = schedule

    @property
    def info(self) -> Any:
        """Return what is done, with which VM, and when."""
        return vim.scheduler.ScheduledTaskInfo(
            name=self.schedule.name,
            description="",
            enabled=self.schedule.enabled,
            scheduler=vim.scheduler.DailyTaskScheduler(interval=1, hour=2, minute=0),
            action=vim.action.MethodAction(name=VmomiSupport.GuessWsdlMethod(self.schedule.method)),
            scheduledTask=self.me,
            entity=self.estate.vm(self.vm).me,
            taskObject=self.estate.vm(self.vm).me,
            lastModifiedTime=_MADE,
            lastModifiedUser="VSPHERE.LOCAL\\Administrator",
            nextRunTime=datetime.now(UTC) + timedelta(hours=8),
            state="success",
        )


def find(estate: Estate, ref: str) -> Served | None:
    """Return the scheduled task with that managed object id."""
    for vm in estate.world.vms:
        for one in vm.schedules:
            if one.ref == ref:
                return ScheduledTask(estate, vm, one)
    return None


def _refs(schedules: list[Schedule]) -> Any:
    return refs([vim.scheduler.ScheduledTask(one.ref, None) for one in schedules], vim.scheduler.ScheduledTask)
