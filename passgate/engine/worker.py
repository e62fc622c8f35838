"""Execute runs in this warm process, as a Prefect worker type of our own.

A fresh interpreter per run costs 2 to 3 s (measured, reference Prefect 3); this worker awaits the flow where Prefect,
pyVmomi and the connections to vCenter are loaded and open. It polls like every worker, and a nudge saves the wait.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow_async
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from passgate.engine import deployed

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

POOL = "passgate"

log = logging.getLogger(__name__)


class WarmResult(BaseWorkerResult):
    """Say that a run was left in a state that the run itself reported."""


class WarmWorker(BaseWorker[BaseJobConfiguration, BaseVariables, WarmResult]):
    """Run changes in this process."""

    type = "passgate"
    job_configuration = BaseJobConfiguration
    _description = "Runs Passgate's changes in a warm process beside the vCenter."

    def __init__(self, **options: Any) -> None:
        super().__init__(work_pool_name=POOL, create_pool_if_not_found=True, **options)
        self.in_hand: set[UUID] = set()
        """The runs that this process executes now; a run that is Running elsewhere in the books is stranded."""
        self._nudged = asyncio.Event()
        self.is_known = asyncio.Event()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: BaseJobConfiguration,  # noqa: ARG002 - there is no infrastructure to configure
        task_status: TaskStatus[int] | None = None,
    ) -> WarmResult:
        """Await the flow of the run's deployment. Suspending is a normal end of this: nothing is held meanwhile."""
        if task_status is not None:
            task_status.started(1)
        if flow_run.id in self.in_hand:
            log.warning("%s is being executed here already; Prefect was told to start it once more", flow_run.name)
            return WarmResult(identifier=str(flow_run.id), status_code=0)
        self.in_hand.add(flow_run.id)
        try:
            deployment = await self.client.read_deployment(flow_run.deployment_id) if flow_run.deployment_id else None
            name = (deployment.entrypoint or "").rpartition(".")[2] if deployment else ""
            flow = getattr(deployed, name)
            await run_flow_async(flow, flow_run=flow_run, parameters=flow_run.parameters, return_type="state")
        except Pause:
            log.debug("%s is suspended", flow_run.name)
        finally:
            self.in_hand.discard(flow_run.id)
        return WarmResult(identifier=str(flow_run.id), status_code=0)

    async def _submit_run(self, flow_run: FlowRun) -> None:
        """Take up a run; one that can't be taken up now is rung again, and ends neither the worker nor other runs.

        Prefect's own worker lets a fault in reading the run's deployment end all that it runs, and still counts the run
        among those that it is about to take up when it begins anew: nobody would ever take it up (Prefect 3.8.8).
        """
        try:
            await super()._submit_run(flow_run)
        except Exception as error:  # noqa: BLE001 - whatever it is, the clockwork rings again
            log.warning("%s was not taken up: %s", flow_run.name, error)
        finally:
            self._submitting_flow_run_ids.discard(flow_run.id)

    def has(self, run_id: UUID) -> bool:
        """Say whether this process executes the run or is about to: Prefect calls it Pending while we take it up."""
        return run_id in self.in_hand or run_id in self._submitting_flow_run_ids

    async def sync_with_backend(self) -> None:
        """Tell the server of this worker; the first time that works is what the service waits for."""
        await super().sync_with_backend()
        self.is_known.set()

    async def keep_working(self) -> None:
        """Work until cancelled; when the server was away for so long that Prefect's worker gave up, begin anew."""
        while True:
            try:
                await self.start(printer=_silent)
            except Exception:
                log.exception("the worker lost Prefect's server; it begins anew")
            await asyncio.sleep(1)

    def nudge(self) -> None:
        """Look for runs now, instead of at the next poll."""
        self._nudged.set()

    async def answer_nudges(self) -> None:
        """Look for runs whenever nudged, until cancelled. A look that fails is the next poll's business."""
        while True:
            await self._nudged.wait()
            self._nudged.clear()
            try:
                await self.get_and_submit_flow_runs()
            except Exception as error:  # noqa: BLE001 - the poll repeats it; a nudge only saves time
                log.info("a nudge found no answer: %s", error)


def _silent(*_words: object) -> None:
    """Say nothing: the worker's greetings are not for people here."""
