"""Run a change as a Prefect flow: wait at the gate, carry out, report. The gate itself is in our tables.

Prefect's resume, retry, forced states and direct calls only make this code run; none of them is an approval. After each
wake the decisions are read, and each mutating call asks for authority once more (`passgate.engine.authority`).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from contextlib import suppress
from itertools import count
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
from passgate.engine.authority import ENGINE, words
from passgate.engine.beginning import LEASE, begin, hold_up, last_hold_up
from passgate.engine.carrying import Attempt, Carrying
from passgate.engine.ending import end, evidence_file, write_evidence
from passgate.engine.filing import file_change
from passgate.engine.gate import settle, stopped_at
from passgate.engine.runtime import Runtime, current
from passgate.engine.second_gate import come_to, has_just_passed, rest_is_as_approved
from passgate.engine.steps import Ask, Runbook
from passgate.errors import (
    ConfigError,
    ConflictError,
    InputError,
    PassgateError,
    RecordError,
    SupersededError,
    WorldError,
)
from passgate.model.change import Actor, Change, Door, Event, EventType, State, StepState
from passgate.model.plan import Plan, PlannedStep
from passgate.model.table import Table

RENEW_EVERY = 30.0
ARTIFACT_ROWS = 1000
"""Rows of a table that Prefect is given: its page shows them all at once, and its API takes them in one request."""
PREFECT = Actor(person="prefect", door=Door.PREFECT)

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
    artifacts = [asyncio.create_task(_show_plan(change))]
    try:
        change = await _pass_the_gate(runtime, change)
        if not change.state.is_end:
            change = await _carry_out(runtime, change)
        elif not evidence_file(runtime.home, change.id).exists():
            await write_evidence(runtime, change)
    finally:
        with suppress(Exception):  # an artifact that can't be written must not change what became of the change
            await asyncio.gather(*artifacts)
    with suppress(Exception):
        await acreate_markdown_artifact(
            report.of_end(change, runtime.store.journal(change.id)), key=f"{change.id.lower()}-report"
        )
    return _prefect_state(change)


async def _change_of_this_run(runtime: Runtime, runbook: Runbook[Any], parameters: dict[str, Any]) -> Change:
    """Return the change that this run carries out; a run that Prefect started by itself files one, like every door."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise InputError("A runbook runs as a Prefect flow run only.", hint="Use `passgate request`.")
    run = context.flow_run
    change = runtime.store.change_of_flow_run(str(run.id)) or _meant_by(runtime, run)
    if change is None:
        change = await file_change(runtime, runbook.slug, _as_json(parameters), PREFECT, flow_run=str(run.id))
        async with get_client() as client:
            await client.update_flow_run(run.id, name=run_name(change))
    elif change.state is State.APPLYING or change.state.is_end or last_hold_up(runtime, change):
        return change  # one that is being applied says that it goes on once it has its leases
    else:
        _told_of_waking(runtime, change, str(run.id))
    return change


def _told_of_waking(runtime: Runtime, change: Change, run: str, why: str = "") -> None:
    data = {"flow_run": run, "state": change.state.value, **({"why": why} if why else {})}
    runtime.store.append(Event(type=EventType.RESUMED, change=change.id, actor=ENGINE, at=runtime.clock(), data=data))


async def _pass_the_gate(runtime: Runtime, change: Change) -> Change:
    """Return once the change is approved, is being applied, or has ended; suspend the run until then.

    A change that is being applied may wait at a second gate; it sleeps on until that is settled, and touches nothing.
    """
    for ring in count():
        change = settle(runtime, change)
        if change.state is State.APPROVED:
            taken = await begin(runtime, change)
            if taken is not None:
                return taken
        elif change.open_gate is None and change.state is not State.WAITING:
            return change
        await _asleep(change, f"{change.open_gate.name}:{ring}" if change.open_gate else f"{ring}")
    return change


async def _asleep(change: Change, key: str) -> None:
    """Suspend the run: no process waits.

    Each pause of the same run needs a key of its own, and Prefect lets a key pass that it has seen: a wake-up without a
    decision therefore goes back to sleep under the next one (reference Prefect, 6).
    """
    suspended: Any = suspend_flow_run(key=f"{change.digest}:{key}", timeout=None)
    await suspended


async def _carry_out(runtime: Runtime, change: Change) -> Change:
    plan = change.plan
    if plan is None:
        raise InputError(f"{change.id} has no plan.", subject=change.id)
    tokens = await _leases(runtime, change, plan)
    carrying = Carrying(runtime, change.id, plan, tokens)
    keeping = asyncio.create_task(_keep_leases(runtime, change.id, tokens))
    try:
        failed = carrying.why_on_the_way_back()
        if any(entry.state is not StepState.PENDING for entry in runtime.store.journal(change.id)):
            failed = failed or await _looked_anew(runtime, change, carrying)
            passed = has_just_passed(change, carrying)
            why = f"the gate {passed.name} was passed ({passed.why})" if passed else failed or ""
            if not (passed and last_hold_up(runtime, change)):  # it waits behind its gate, and said so
                _told_of_waking(runtime, change, change.flow_run or "", why)
        failed = failed or await _forward(runtime, carrying)
        failed = failed or await carrying.give_back()
        if failed is not None:
            await _back(carrying, whole=change.terms is not None and change.terms.undo_on_failure)
        return await end(runtime, change, failed, tokens)
    finally:
        keeping.cancel()


async def _leases(runtime: Runtime, change: Change, plan: Plan) -> dict[str, int]:
    """Take the leases anew, at each start of this code: a run that was thought dead loses its right by newer tokens."""
    ring = 0
    while True:
        try:
            return runtime.store.take_leases(change.id, plan.resources, LEASE, runtime.clock())
        except ConflictError as error:
            hold_up(runtime, change, error)
        await _asleep(change, f"lease:{ring}")
        ring += 1


async def _looked_anew(runtime: Runtime, change: Change, carrying: Carrying) -> str | None:
    """Say what of the done steps is gone after an interruption; wait for a vCenter that can't be asked now."""
    ring = 0
    while True:
        try:
            return await carrying.lost()
        except WorldError as error:
            hold_up(runtime, change, error)
        await _asleep(change, f"look:{ring}")
        ring += 1


async def _second_gate(runtime: Runtime, carrying: Carrying, planned: PlannedStep) -> str | None:
    """Return once a step may be begun; or why the change can't go on. Until its gate is settled the run is suspended.

    Waking starts this run's code anew, with new leases: it comes by here again.
    """
    gate = await come_to(carrying, planned)
    if gate is None:
        return None
    change = await _pass_the_gate(runtime, runtime.store.change(carrying.change))
    if why := stopped_at(change):
        return why
    for ring in count():
        try:
            as_approved = await rest_is_as_approved(carrying, change, planned)
        except (ConfigError, WorldError) as error:
            hold_up(runtime, change, error)
        else:
            return None if as_approved else _refused(runtime, planned, change)
        await _asleep(change, f"{gate.name}:rest:{ring}")
    return None


def _refused(runtime: Runtime, planned: PlannedStep, change: Change) -> str:
    entry = next(one for one in runtime.store.journal(change.id) if one.index == planned.index)
    return f"{planned.title}: {entry.error}."


async def _forward(runtime: Runtime, carrying: Carrying) -> str | None:
    """Do the steps in order, each as a Prefect task run named in plain words. Return why it can't go on, if so."""
    for planned in carrying.plan.steps:
        if carrying.is_over(planned):
            continue
        try:
            if why := await _second_gate(runtime, carrying, planned):
                return why
            await _task_of(runtime, carrying, planned)()
        except (RecordError, SupersededError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the change must end in a state that is known
            return f"{planned.title}: {words(error)}"
    return None


def _task_of(runtime: Runtime, carrying: Carrying, planned: PlannedStep) -> Any:
    service = runtime.config.service
    step = runtime.catalogue.step(planned.kind, planned.fields)
    delays = [service.retry_delays[min(n, len(service.retry_delays) - 1)] for n in range(step.attempts - 1)]
    return task(_attempt_of(carrying, planned, delays)).with_options(
        name=planned.kind,
        # Prefect formats this text with the task's parameters; a VM's name may hold braces.
        task_run_name=planned.title.replace("{", "{{").replace("}", "}}"),
        retries=len(delays),
        retry_delay_seconds=list(delays),
        retry_jitter_factor=service.retry_jitter,
        retry_condition_fn=_is_safe_to_repeat,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


async def _back(carrying: Carrying, *, whole: bool) -> None:
    """Take back what was done, or, where policy leaves that as it is, what is temporary."""
    run: Any = task(carrying.take_back).with_options(
        name="take-back",
        task_run_name="Take back what was done" if whole else "Give back what is temporary",
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    await run(only_temporary=not whole)


def _attempt_of(carrying: Carrying, planned: PlannedStep, delays: list[float]) -> Any:
    async def attempt() -> None:
        context = TaskRunContext.get()
        number = context.task_run.run_count if context else 1
        table = await carrying.step(planned, Attempt(number, delays[number - 1] if number <= len(delays) else None))
        if table is not None:
            await _show_table(carrying.change, planned, table)

    return attempt


async def _is_safe_to_repeat(_task: Any, _run: TaskRun, state: PrefectState[Any]) -> bool:
    """Tell Prefect whether to try again. It must be a plain function (reference Prefect, 8)."""
    error: object = state.data
    return isinstance(error, PassgateError) and error.safe_to_repeat


async def _keep_leases(runtime: Runtime, change_id: str, tokens: dict[str, int]) -> None:
    while True:
        await asyncio.sleep(RENEW_EVERY)
        try:
            await runtime.estate.in_thread(runtime.store.renew_leases, change_id, LEASE, runtime.clock(), tokens=tokens)
        except SupersededError:
            return
        except Exception:
            log.exception("the leases of %s could not be renewed; it is tried again", change_id)


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
