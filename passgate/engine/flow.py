"""Run a change as a Prefect flow: its course (`passgate.engine.course`) as a run that suspends, retries and reports.

Prefect's resume, retry, forced states and direct calls only make this code run; none of them is an approval. After each
wake the decisions are read, and each mutating call asks for authority once more (`passgate.engine.authority`).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from contextlib import suppress
from typing import Any

from prefect import Flow, task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.client.schemas.objects import State as PrefectState
from prefect.context import FlowRunContext, TaskRunContext
from prefect.flow_runs import suspend_flow_run
from prefect.states import Cancelled, Completed, Failed

from passgate.engine import report
from passgate.engine.beginning import last_hold_up
from passgate.engine.carrying import Attempt, Carrying
from passgate.engine.course import delays, go_on, is_safe_to_repeat, tell_of_waking
from passgate.engine.due import triggered
from passgate.engine.filing import file_change
from passgate.engine.runtime import Runtime, current
from passgate.engine.steps import Ask, Runbook
from passgate.errors import ConflictError, InputError, PassgateError
from passgate.model.change import Actor, Change, Door, State
from passgate.model.plan import PlannedStep
from passgate.model.table import Table

ARTIFACT_ROWS = 1000
"""Rows of a table that Prefect is given: its page shows them all at once, and its API takes them in one request."""
PREFECT = Actor(person="prefect", door=Door.PREFECT)
SCHEDULER = "SCHEDULE"
"""What Prefect calls its scheduler in `created_by`."""

log = logging.getLogger(__name__)


def flow_of(runbook: Runbook[Any]) -> Flow[Any, Any]:
    """Make the Prefect flow of a runbook; its parameters are the fields of the runbook's own model."""

    async def carry(**parameters: Any) -> Any:
        return await run_change(runbook, parameters)

    fields = runbook.ask.model_fields
    carry.__name__ = runbook.slug.replace("-", "_")
    carry.__doc__ = f"{runbook.title}.\n\n{runbook.description}"
    carry.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # how Prefect learns the parameters
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=info.rebuild_annotation(),
                default=inspect.Parameter.empty if info.is_required() else info.default,
            )
            for name, info in fields.items()
        ]
    )
    return Flow(fn=carry, name=runbook.slug, description=carry.__doc__, persist_result=False)


def form_of(runbook: Runbook[Any]) -> dict[str, Any]:
    """Return the JSON schema that Prefect's form is made of: the runbook's own fields first, then reason and ticket."""
    schema: dict[str, Any] = runbook.ask.model_json_schema(ref_template="#/definitions/{model}")
    last = {name: position for position, name in enumerate(Ask.model_fields)}
    names = sorted(schema["properties"], key=lambda name: last.get(name, -1))
    properties = {name: {**schema["properties"][name], "position": place} for place, name in enumerate(names)}
    return {
        "title": "Parameters",
        "type": "object",
        "properties": properties,
        "required": schema.get("required", []),
        "definitions": schema.get("$defs", {}),
    }


async def run_change(runbook: Runbook[Any], parameters: dict[str, Any]) -> PrefectState[Any]:
    """Take one change from wherever it is as far as it can go now."""
    runtime = current()
    try:
        return await _run(runtime, runbook, parameters)
    except PassgateError as error:
        log.warning("a run of %s ended early: %s %s", runbook.slug, error.message, error.hint)
        raise
    except Exception:
        log.exception("a run of %s met a fault of Passgate's own; the clockwork wakes it again", runbook.slug)
        raise


async def _run(runtime: Runtime, runbook: Runbook[Any], parameters: dict[str, Any]) -> PrefectState[Any]:
    change = await _change_of_this_run(runtime, runbook, parameters)
    if isinstance(change, str):
        return Cancelled(message=change)
    artifacts = [asyncio.create_task(_show_plan(change))]
    try:
        change = await go_on(runtime, change, PrefectRun())
    finally:
        with suppress(Exception):  # an artifact that can't be written must not change what became of the change
            await asyncio.gather(*artifacts)
    with suppress(Exception):
        await acreate_markdown_artifact(
            report.of_end(change, runtime.store.journal(change.id)), key=f"{change.id.lower()}-report"
        )
    return _prefect_state(change)


class PrefectRun:
    """Carry a course out as the Prefect run that this code runs in."""

    async def sleep(self, change: Change, key: str) -> None:
        """Suspend the run: no process waits.

        Each pause of the same run needs a key of its own, and Prefect lets a key pass that it has seen: a wake-up
        without a decision therefore goes back to sleep under the next one (reference Prefect, 6).
        """
        suspended: Any = suspend_flow_run(key=f"{change.digest}:{key}", timeout=None)
        await suspended

    async def step(self, carrying: Carrying, planned: PlannedStep) -> None:
        """Do a step as a Prefect task run named in plain words; its retries are Prefect's."""
        service, pauses = carrying.runtime.config.service, delays(carrying.runtime, planned)
        run: Any = task(_attempt_of(carrying, planned, pauses)).with_options(
            name=planned.kind,
            # Prefect formats this text with the task's parameters; a VM's name may hold braces.
            task_run_name=planned.title.replace("{", "{{").replace("}", "}}"),
            retries=len(pauses),
            retry_delay_seconds=list(pauses),
            retry_jitter_factor=service.retry_jitter,
            retry_condition_fn=_is_safe_to_repeat,
            cache_policy=NO_CACHE,
            persist_result=False,
        )
        await run()

    async def take_back(self, carrying: Carrying, *, whole: bool) -> None:
        """Take back what was done, or, where policy leaves that as it is, what is temporary."""
        run: Any = task(carrying.take_back).with_options(
            name="take-back",
            task_run_name="Take back what was done" if whole else "Give back what is temporary",
            cache_policy=NO_CACHE,
            persist_result=False,
        )
        await run(only_temporary=not whole)


def _attempt_of(carrying: Carrying, planned: PlannedStep, pauses: list[float]) -> Any:
    async def attempt() -> None:
        context = TaskRunContext.get()
        number = context.task_run.run_count if context else 1
        table = await carrying.step(planned, Attempt(number, pauses[number - 1] if number <= len(pauses) else None))
        if table is not None:
            await _show_table(carrying.change, planned, table)

    return attempt


async def _is_safe_to_repeat(_task: Any, _run: TaskRun, state: PrefectState[Any]) -> bool:
    """Tell Prefect whether to try again. It must be a plain function (reference Prefect, 8)."""
    return is_safe_to_repeat(state.data)


async def _change_of_this_run(runtime: Runtime, runbook: Runbook[Any], parameters: dict[str, Any]) -> Change | str:
    """Return the change that this run carries out, or in words why it has none.

    A run that Prefect started by itself files one, like every door.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise InputError("A runbook runs as a Prefect flow run only.", hint="Use `passgate request`.")
    run = context.flow_run
    change = runtime.store.change_of_flow_run(str(run.id)) or _meant_by(runtime, run)
    if change is None:
        filed = await _filed(runtime, runbook, parameters, run)
        if isinstance(filed, str):
            return filed
        change = filed
        async with get_client() as client:
            await client.update_flow_run(run.id, name=run_name(change))
    elif change.state is State.APPLYING or change.state.is_end or last_hold_up(runtime, change):
        return change  # one that is being applied says that it goes on once it has its leases
    else:
        tell_of_waking(runtime, change, str(run.id))
    return change


async def _filed(runtime: Runtime, runbook: Runbook[Any], parameters: dict[str, Any], run: FlowRun) -> Change | str:
    """File the change of a run that nobody asked us for.

    Who made it is told by `created_by`, which Prefect's scheduler alone sets: tags and keys anybody can write.
    """
    by = run.created_by
    if by is not None and by.type == SCHEDULER:
        name = by.display_value or ""
        taken = await triggered(runtime, runbook.slug, name, run.parameters, str(run.id))
        if taken is not None:
            return taken
    return await file_change(runtime, runbook.slug, _as_json(parameters), PREFECT, flow_run=str(run.id))


async def _show_plan(change: Change) -> None:
    if change.plan is not None:
        await acreate_markdown_artifact(report.of_plan(change, change.plan), key=f"{change.id.lower()}-plan")


async def _show_table(change_id: str, planned: PlannedStep, table: Table) -> None:
    """Show a step's table in Prefect; the whole of it is in the evidence, and this is a convenience."""
    shown = min(len(table.rows), ARTIFACT_ROWS)
    left = f" The first {shown} of {len(table.rows)} rows; all of them are in the evidence of {change_id}."
    with suppress(Exception):  # an artifact that can't be written must not change what became of the step
        await acreate_table_artifact(
            table.records(ARTIFACT_ROWS),
            key=f"{change_id.lower()}-{planned.index + 1}-{table.name}",
            description=report.cell(table.title) + (left if shown < len(table.rows) else ""),
        )


def _prefect_state(change: Change) -> PrefectState[Any]:
    said = f"{change.id} {change.state}: {change.outcome}"
    if change.state is State.DONE:
        return Completed(message=said)
    if change.state in {State.UNDONE, State.STOPPED}:
        return Failed(message=said)
    return Cancelled(message=said)


def run_name(change: Change) -> str:
    """Return the name of a change's run: its id and its target."""
    return f"{change.id} {change.plan.target if change.plan else ''}".strip()


def _as_json(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, "value", value) for name, value in parameters.items()}


def run_key(runtime: Runtime, change_id: str, again: str = "") -> str:
    """Return the idempotency key of a change's run; it says whose run this is before our table does."""
    return ":".join(filter(None, (runtime.config.service.origin, change_id, again)))


def _meant_by(runtime: Runtime, run: FlowRun) -> Change | None:
    """Return the change that a run was made for, when it starts before its id is in our table."""
    origin, _, rest = (run.idempotency_key or "").rpartition(":CHG-")
    if origin != runtime.config.service.origin:
        return None
    change = runtime.store.change(f"CHG-{rest.partition(':')[0]}")
    if change.flow_run not in {None, str(run.id)}:
        raise ConflictError(f"{change.id} is carried out by another run.", subject=change.id)
    runtime.store.set_flow_run(change.id, str(run.id))
    return change
