# ruff: noqa: ARG002 - methods take every argument of their WSDL call, by its name and in its order
"""Serve tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyVmomi import VmomiSupport, vim

from passgate.lab.hardware import Task
from passgate.lab.vcenter.faults import to_fault
from passgate.lab.vcenter.served import Call, Served, refs

if TYPE_CHECKING:
    from passgate.lab.vcenter.estate import Estate

_HALFWAY = 50


class ServedTask(Served):
    """One task."""

    kind = vim.Task

    def __init__(self, estate: Estate, task: Task) -> None:
        super().__init__(estate, task.id)
        self.task = task

    @property
    def label(self) -> str:
        """Return the task's id."""
        return self.task.id

    @property
    def info(self) -> Any:
        """Return state, times, and the fault of a task that failed."""
        task = self.task
        method = VmomiSupport.GuessWsdlMethod(task.method)
        served = self.estate.by_id(task.entity.ref)
        entity = served.me if served else None
        return vim.TaskInfo(
            key=task.id,
            task=self.me,
            name=method,
            descriptionId=f"{method.info.type.__name__.rpartition('.')[2]}.{method.info.name}",
            entity=entity,
            entityName=task.entity.name,
            locked=[] if task.has_ended or not task.locks else [entity],
            state=task.state,
            cancelled=task.cancelled,
            cancelable=not task.has_ended,
            error=to_fault(task.error) if task.error else None,
            result=task.result,
            progress=_HALFWAY if task.state == "running" else None,
            reason=vim.TaskReasonUser(userName=task.user),
            queueTime=task.queued,
            startTime=task.started,
            completeTime=task.completed,
            eventChainId=int(task.id.rpartition("-")[2]),
        )

    def CancelTask(self, call: Call) -> None:
        """End the task if it still runs."""
        self.world.cancel_task(self.task)


class TaskManager(Served):
    """The tasks of late."""

    kind = vim.TaskManager

    @property
    def recentTask(self) -> Any:
        """Return the last tasks."""
        return refs([vim.Task(ref, None) for ref in list(self.world.tasks)[-10:]], vim.Task)

    @property
    def maxCollector(self) -> int:
        """Return how many task history collectors there may be."""
        return 32
