"""Take a change from wherever it is as far as it can go now: its gate, leases, steps, way back and end.

Nothing here knows Prefect: what carries a change out is a `Run`, which sleeps where no process may wait and tries a
step again. A run that is woken starts this code anew, and finds its place in our own tables.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from itertools import count
from typing import Protocol

from passgate.engine.authority import ENGINE, words
from passgate.engine.beginning import LEASE, begin, hold_up, last_hold_up
from passgate.engine.carrying import Carrying
from passgate.engine.ending import end, is_kept, write_evidence
from passgate.engine.gate import is_ready, settle, stopped_at
from passgate.engine.overrun import out_of_time, takes_all_back
from passgate.engine.runtime import Runtime
from passgate.engine.second_gate import come_to, has_just_passed, rest_is_as_approved
from passgate.errors import (
    ConfigError,
    ConflictError,
    InputError,
    PassgateError,
    RecordError,
    SupersededError,
    WorldError,
)
from passgate.model.change import Change, Event, EventType, State, StepState
from passgate.model.plan import Plan, PlannedStep

RENEW_EVERY = 30.0

log = logging.getLogger(__name__)


class Run(Protocol):
    """Carry a change's course out: as a Prefect run, or as whatever else can sleep and try again."""

    async def sleep(self, change: Change, key: str) -> None:
        """End this process's part until the change is rung; each sleep since the last waking has a key of its own."""

    async def step(self, carrying: Carrying, planned: PlannedStep) -> None:
        """Do a step, and try again what `is_safe_to_repeat`, after each of `delays`; raise what it failed with."""

    async def take_back(self, carrying: Carrying, *, whole: bool) -> None:
        """Take back what was done, or only what is temporary."""


async def go_on(runtime: Runtime, change: Change, run: Run) -> Change:
    """Take the change as far as it can go now. Where it has to wait, `run` sleeps, and this is called anew."""
    change = await _pass_the_gate(runtime, change, run)
    if not change.state.is_end:
        return await _carry_out(runtime, change, run)
    if not is_kept(runtime, change.id):
        await write_evidence(runtime, change)
    return change


def delays(runtime: Runtime, planned: PlannedStep) -> list[float]:
    """Return the seconds to wait before each further attempt of a step."""
    known = runtime.config.service.retry_delays
    attempts = runtime.catalogue.step(planned.kind, planned.fields).attempts
    return [known[min(n, len(known) - 1)] for n in range(attempts - 1)]


def is_safe_to_repeat(error: object) -> bool:
    """Say whether a step may be tried again after this error."""
    return isinstance(error, PassgateError) and error.safe_to_repeat


def tell_of_waking(runtime: Runtime, change: Change, run: str, why: str = "") -> None:
    """Record that the change goes on: by which run, and why."""
    data = {"flow_run": run, "state": change.state.value, **({"why": why} if why else {})}
    runtime.store.append(Event(type=EventType.RESUMED, change=change.id, actor=ENGINE, at=runtime.clock(), data=data))


async def _pass_the_gate(runtime: Runtime, change: Change, run: Run) -> Change:
    """Return once the change is approved, is being applied, or has ended; suspend the run until then.

    A change that is being applied may wait at a second gate; it sleeps on until that is settled, and touches nothing.
    """
    for ring in count():
        change = settle(runtime, change)
        if is_ready(change, runtime.clock()):
            taken = await begin(runtime, change)
            if taken is not None:
                return taken
        elif change.open_gate is None and change.state not in {State.WAITING, State.SCHEDULED}:
            return change
        await run.sleep(change, f"{change.open_gate.name}:{ring}" if change.open_gate else f"{ring}")
    return change


async def _carry_out(runtime: Runtime, change: Change, run: Run) -> Change:
    plan = change.plan
    if plan is None:
        raise InputError(f"{change.id} has no plan.", subject=change.id)
    tokens = await _leases(runtime, change, plan, run)
    carrying = Carrying(runtime, change.id, plan, tokens)
    keeping = asyncio.create_task(_keep_leases(runtime, change.id, tokens))
    try:
        failed = carrying.why_on_the_way_back()
        if any(entry.state is not StepState.PENDING for entry in runtime.store.journal(change.id)):
            failed = failed or await _looked_anew(runtime, change, carrying, run)
            passed = has_just_passed(change, carrying)
            why = f"the gate {passed.name} was passed ({passed.why})" if passed else failed or ""
            if not (passed and last_hold_up(runtime, change)):  # it waits behind its gate, and said so
                tell_of_waking(runtime, change, change.flow_run or "", why)
        failed = failed or await _forward(runtime, carrying, run)
        failed = failed or await carrying.give_back()
        if failed is not None:
            await run.take_back(carrying, whole=takes_all_back(runtime, change))
        return await end(runtime, change, failed, tokens)
    finally:
        keeping.cancel()


async def _leases(runtime: Runtime, change: Change, plan: Plan, run: Run) -> dict[str, int]:
    """Take the leases anew, at each start of this code: a run that was thought dead loses its right by newer tokens."""
    ring = 0
    while True:
        try:
            return runtime.store.take_leases(change.id, plan.resources, LEASE, runtime.clock())
        except ConflictError as error:
            hold_up(runtime, change, error)
        await run.sleep(change, f"lease:{ring}")
        ring += 1


async def _looked_anew(runtime: Runtime, change: Change, carrying: Carrying, run: Run) -> str | None:
    """Say what of the done steps is gone after an interruption; wait for a vCenter that can't be asked now."""
    ring = 0
    while True:
        try:
            return await carrying.lost()
        except WorldError as error:
            hold_up(runtime, change, error)
        await run.sleep(change, f"look:{ring}")
        ring += 1


async def _before(runtime: Runtime, carrying: Carrying, planned: PlannedStep, run: Run) -> str | None:
    """Return once a step may be begun; or why the change can't go on: the calendar, or the step's own gate.

    A gate that is open is settled first: it closes with the window.
    """
    if runtime.store.change(carrying.change).open_gate is None and (why := out_of_time(carrying, planned)):
        return why
    why = await _second_gate(runtime, carrying, planned, run)
    return why or (out_of_time(carrying, planned) if planned.gate else None)


async def _second_gate(runtime: Runtime, carrying: Carrying, planned: PlannedStep, run: Run) -> str | None:
    """Return once a step may be begun; or why the change can't go on. Until its gate is settled the run is suspended.

    Waking starts this run's code anew, with new leases: it comes by here again.
    """
    gate = await come_to(carrying, planned)
    if gate is None:
        return None
    change = await _pass_the_gate(runtime, runtime.store.change(carrying.change), run)
    if why := stopped_at(change):
        return why
    for ring in count():
        try:
            as_approved = await rest_is_as_approved(carrying, change, planned)
        except (ConfigError, WorldError) as error:
            hold_up(runtime, change, error)
        else:
            return None if as_approved else _refused(runtime, planned, change)
        await run.sleep(change, f"{gate.name}:rest:{ring}")
    return None


def _refused(runtime: Runtime, planned: PlannedStep, change: Change) -> str:
    entry = next(one for one in runtime.store.journal(change.id) if one.index == planned.index)
    return f"{planned.title}: {entry.error}."


async def _forward(runtime: Runtime, carrying: Carrying, run: Run) -> str | None:
    """Do the steps in order, each with its own attempts. Return why it can't go on, if so."""
    for planned in carrying.plan.steps:
        if carrying.is_over(planned):
            continue
        try:
            if why := await _before(runtime, carrying, planned, run):
                return why
            await run.step(carrying, planned)
        except (RecordError, SupersededError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the change must end in a state that is known
            return f"{planned.title}: {words(error)}"
    return None


async def _keep_leases(runtime: Runtime, change_id: str, tokens: Mapping[str, int]) -> None:
    while True:
        await asyncio.sleep(RENEW_EVERY)
        try:
            await runtime.estate.in_thread(runtime.store.renew_leases, change_id, LEASE, runtime.clock(), tokens=tokens)
        except SupersededError:
            return
        except Exception:
            log.exception("the leases of %s could not be renewed; it is tried again", change_id)
