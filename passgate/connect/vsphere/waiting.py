"""Wait for tasks and states with WaitForUpdatesEx, always against our own deadline. Nothing is ever cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from pyVmomi import vim, vmodl

from passgate.connect.vsphere.faults import of_fault
from passgate.connect.vsphere.parsing import ref_of
from passgate.connect.vsphere.session import Session
from passgate.errors import RefusedError, UnconfirmedError

T = TypeVar("T")
Watched = Mapping[Any, tuple[str, ...]]
"""Managed object -> the properties to watch."""
Seen = dict[str, dict[str, Any]]
"""Id of a managed object -> what its properties are now; unset ones are left out."""

query = vmodl.query.PropertyCollector


def filter_of(watched: Watched) -> Any:
    """Return the filter that names each object and its properties, without any walk."""
    return query.FilterSpec(
        objectSet=[query.ObjectSpec(obj=one, skip=False) for one in watched],
        propSet=[query.PropertySpec(type=type(one), pathSet=list(paths)) for one, paths in watched.items()],
    )


def wait_until(
    session: Session, watched: Watched, settled: Callable[[Seen], T | None], seconds: float, *, doing: str, subject: str
) -> T | None:
    """Return what `settled` makes of the objects' properties as soon as it is not None; None after `seconds`."""
    ends = time.monotonic() + seconds
    return session.call(doing, subject, lambda _: _follow(session, filter_of(watched), settled, ends))


def _follow(session: Session, spec: Any, settled: Callable[[Seen], T | None], ends: float) -> T | None:
    seen: Seen = {}
    version = ""
    result: T | None = None
    with session.collector() as collector:
        watch = collector.CreateFilter(spec, partialUpdates=False)
        # The first answer comes at once and tells how things are; the later ones tell what changed.
        while result is None and (left := ends - time.monotonic()) > 0:
            # Half of the timeout at most, so that a quiet server is told from a dead one.
            patience = query.WaitOptions(maxWaitSeconds=max(1, int(min(left, session.timeout / 2))))
            update = collector.WaitForUpdatesEx(version, patience)
            if update is not None:
                version = update.version
                _take(update, seen)
                result = settled(seen)
        with suppress(vmodl.fault.ManagedObjectNotFound):
            watch.DestroyPropertyFilter()
    return result


def _take(update: Any, seen: Seen) -> None:
    for part in update.filterSet or ():
        for one in part.objectSet or ():
            known = seen.setdefault(one.obj._moId, {})  # noqa: SLF001  # pyVmomi's only name for the id
            for change in one.changeSet or ():
                if change.op in {"assign", "add"}:
                    known[change.name] = change.val
                else:
                    known.pop(change.name, None)


def wait_for_task(session: Session, task: Any, vm: Any, seconds: float, *, doing: str, subject: str) -> None:
    """Return when the task has ended well; raise for its fault, for a question of the VM, and for our deadline.

    A question is watched for because a task can stand still for ever behind one; `vm` None: the task is about no VM.
    """
    task_ref, vm_ref = ref_of(task), ref_of(vm)

    def settled(seen: Seen) -> tuple[str, Any] | None:
        state = seen.get(str(task_ref), {}).get("info.state")
        if state in {vim.TaskInfo.State.success, vim.TaskInfo.State.error}:
            return str(state), seen[str(task_ref)].get("info.error")
        question = seen.get(str(vm_ref), {}).get("runtime.question")
        return ("question", question) if question is not None else None

    watched = {task: ("info.state", "info.error"), **({vm: ("runtime.question",)} if vm is not None else {})}
    try:
        end = wait_until(session, watched, settled, seconds, doing=doing, subject=subject)
    except RefusedError as error:
        if error.fault != "ManagedObjectNotFound":
            raise
        raise UnconfirmedError(
            f"Could not learn how it ended to {doing}: vCenter no longer knows task {task_ref}.",
            hint="Read the state anew; the task may have been done.",
            subject=subject,
        ) from error
    match end:
        case ("success", _):
            return
        case ("error", fault):
            raise of_fault(fault, doing, subject) from fault
        case ("question", question):
            raise RefusedError(
                f"Could not {doing}: the VM waits for an answer to: {question.text.strip()}",
                fault="QuestionPending",
                hint="Answer the question in the vSphere Client, then try again.",
                subject=subject,
            )
        case _:
            raise UnconfirmedError(
                f"Could not learn how it ended to {doing}: task {task_ref} still runs after {seconds:.0f} s.",
                hint="The task goes on; look at it in vCenter before trying again.",
                subject=subject,
            )
