"""Start and wake runs on the Prefect server. A ring is a doorbell, never an approval."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import AwaitingRetry

from passgate.engine.deployed import entry_point
from passgate.engine.flow import flow_of, form_of, run_key, run_name
from passgate.engine.runtime import Runtime
from passgate.engine.steps import Runbook
from passgate.engine.triggers import DEPLOYMENTS, is_alike
from passgate.engine.worker import POOL
from passgate.errors import UnreachableError
from passgate.model.change import Change, State

if TYPE_CHECKING:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse

LOOK_EVERY = 0.05
FALLING_ASLEEP = 60
"""How many looks, that far apart in seconds, a ring gives a run that is in hand; then the clockwork rings again."""
FAULTS = (httpx.HTTPError, PrefectHTTPStatusError)


def deployment_of(runbook: Runbook[Any]) -> dict[str, Any]:
    """Return what a runbook's deployment is made of, as Prefect's client takes it, its schedules left out."""
    return {
        "entrypoint": entry_point(runbook.slug),
        "work_pool_name": POOL,
        "description": flow_of(runbook).description,
        "parameter_openapi_schema": form_of(runbook),
        "enforce_parameter_schema": True,
        "tags": ["passgate", runbook.risk.value],
        "pull_steps": [],
        "parameters": {},
        "job_variables": {},
        "paused": False,
    }


def stands(found: DeploymentResponse, should: dict[str, Any], schedules: list[DeploymentScheduleCreate]) -> bool:
    """Say whether a deployment is as it would be written; what somebody altered in Prefect makes it another."""
    by_slug = {one.slug: one for one in schedules}
    return (
        all(getattr(found, name) == value for name, value in should.items())
        and found.global_concurrency_limit is None
        and len(found.schedules) == len(schedules)
        and all(one.slug in by_slug and is_alike(one, by_slug[one.slug]) for one in found.schedules)
    )


class PrefectBell:
    """Make one run per change, and wake it wherever it is. `in_hand` says whether a live process has the run."""

    def __init__(self, runtime: Runtime, *, nudge: Callable[[], None], in_hand: Callable[[UUID], bool]) -> None:
        self._runtime = runtime
        self._nudge = nudge
        self._in_hand = in_hand
        self._deployments: dict[str, UUID] = {}
        self._client: PrefectClient | None = None
        self._one_at_a_time = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._client = await get_client().__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._client is not None:
            await self._client.__aexit__(None, None, None)

    async def deploy(self, schedules: Callable[[str], list[DeploymentScheduleCreate]] = lambda _: []) -> None:
        """Write a deployment for each runbook, so that Prefect's form, schedules and API reach it.

        `schedules` says which ones a runbook has: those that are not given now are gone. One that stands as it should
        is left: to write it takes Prefect longer than all the rest of a start.
        """
        client = self._open()
        there = {one.name: one for one in await client.read_deployments(limit=DEPLOYMENTS)}
        for slug, runbook in self._runtime.catalogue.runbooks.items():
            should, its_schedules = deployment_of(runbook), schedules(slug)
            found = there.get(slug)
            if found is not None and stands(found, should, its_schedules):
                self._deployments[slug] = found.id
                continue
            self._deployments[slug] = await client.create_deployment(
                flow_id=await client.create_flow(flow_of(runbook)), name=slug, schedules=its_schedules, **should
            )

    async def start(self, change: Change) -> None:
        """Make the change's run. Doing it twice makes one run: its id is the idempotency key."""
        if change.flow_run is not None:
            return await self.ring(change)
        try:
            run = await self._open().create_flow_run_from_deployment(
                self._deployments[change.runbook],
                parameters=change.ask,
                name=run_name(change),
                idempotency_key=run_key(self._runtime, change.id),
                tags=["passgate"],
            )
        except FAULTS as error:
            raise UnreachableError(f"Prefect did not take the run of {change.id}: {error}.") from error
        self._runtime.store.set_flow_run(change.id, str(run.id))
        self._nudge()
        return None

    async def ring(self, change: Change) -> None:
        """Wake the change's run, whatever state it is in; a run that is gone is made anew."""
        if change.flow_run is None:
            return None if change.state.is_end else await self.start(change)
        await self._until_asleep(change, UUID(change.flow_run))
        async with self._one_at_a_time:
            try:
                await self._wake(change, UUID(change.flow_run))
            except ObjectNotFound:
                if not change.state.is_end:
                    await self._start_anew(change)
            except FAULTS as error:
                raise UnreachableError(f"Prefect did not answer when {change.id} was rung: {error}.") from error
        self._nudge()
        return None

    async def _until_asleep(self, change: Change, run_id: UUID) -> None:
        """Wait a moment for a run that is about to suspend: it read the decisions before the one that rings now."""
        tries = 0 if change.state is State.APPLYING and not self._was_at_a_gate(change) else FALLING_ASLEEP
        while self._in_hand(run_id) and tries > 0:
            tries -= 1
            await asyncio.sleep(LOOK_EVERY)

    def _was_at_a_gate(self, change: Change) -> bool:
        """Say whether a second gate was settled just now: its run may still be on the way to sleep there."""
        settled = max((gate.settled_at for gate in change.gates if gate.settled_at), default=None)
        return settled is not None and self._runtime.clock() - settled < timedelta(seconds=FALLING_ASLEEP * LOOK_EVERY)

    async def _wake(self, change: Change, run_id: UUID) -> None:
        client = self._open()
        if self._in_hand(run_id):
            return
        run: FlowRun = await client.read_flow_run(run_id)
        state = run.state
        if state is None or state.is_scheduled() or self._in_hand(run_id):  # it may have been taken up meanwhile
            return
        if state.is_paused():
            await client.resume_flow_run(run_id)
        elif state.is_final() and change.state.is_end:
            return
        else:
            # Crashed, cancelled, failed, or Running in the books with no process that has it: the books are put right,
            # and the run goes on from our journal. Our gate does not depend on Prefect's.
            await client.set_flow_run_state(run_id, AwaitingRetry(message="woken by Passgate"), force=True)

    async def _start_anew(self, change: Change) -> None:
        run = await self._open().create_flow_run_from_deployment(
            self._deployments[change.runbook],
            parameters=change.ask,
            name=run_name(change),
            idempotency_key=run_key(self._runtime, change.id, token_hex(4)),
            tags=["passgate"],
        )
        self._runtime.store.set_flow_run(change.id, str(run.id))

    def _open(self) -> PrefectClient:
        if self._client is None:
            raise UnreachableError("The connection to Prefect is not open.")
        return self._client
