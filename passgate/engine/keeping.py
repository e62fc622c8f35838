"""Keep the engine's loops running in one process: worker, bell, clockwork, schedules."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from prefect.client.orchestration import get_client

from passgate.engine.bell import PrefectBell
from passgate.engine.clockwork import Clockwork
from passgate.engine.desk import Desk
from passgate.engine.doorbell import Doorbell
from passgate.engine.prefect_client import shared_client
from passgate.engine.runtime import Runtime
from passgate.engine.triggers import Triggers
from passgate.engine.worker import WarmWorker
from passgate.store.news import Foreign

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Keeping:
    """Hold what the faces need of the running engine."""

    desk: Desk
    worker: WarmWorker
    clockwork: Clockwork

    def status(self) -> dict[str, object]:
        """Return how the engine stands, as `passgate status` and `doctor` show it."""
        return {"runs_in_hand": len(self.worker.in_hand)}

    def hear(self, news: Foreign) -> None:
        """Look right away at what other replicas recorded."""
        if news.changes:
            self.clockwork.wake()
        if "" in news.changes:  # what is of no change may be of a schedule
            self.desk.schedules.moved.set()


@asynccontextmanager
async def keep_running(runtime: Runtime, desk: Desk, doorbell: Doorbell) -> AsyncIterator[Keeping]:
    """Run the engine's loops, and let the doorbell ring here meanwhile.

    What one of them meets is logged and tried again, none of them ends the others.
    """
    await _prefect_answers()
    worker = WarmWorker(name="passgate")
    async with shared_client(), PrefectBell(runtime, nudge=worker.nudge, in_hand=worker.has) as bell:
        triggers = Triggers(runtime, desk.start, desk.schedules.moved)
        worker_task = _task(worker.keep_working(), "worker")
        await worker.is_known.wait()
        await triggers.put_right()
        desk.schedules.take_config()
        await bell.deploy(triggers.of_runbook)
        clockwork = Clockwork(runtime, bell)
        tasks = [
            worker_task,
            _task(worker.answer_nudges(), "nudges"),
            _task(clockwork.run(), "clockwork"),
            _task(triggers.run(), "schedules"),
        ]
        doorbell.bell = bell
        try:
            yield Keeping(desk, worker, clockwork)
        finally:
            doorbell.bell = None
            for one in tasks:
                one.cancel()
            await asyncio.wait(tasks, timeout=2)


async def _prefect_answers() -> None:
    """Wait until Prefect's server is there; it takes seconds to start, and may be restarted at any time."""
    async with get_client() as client:
        while True:
            try:
                await client.hello()
            except (httpx.HTTPError, OSError):
                await asyncio.sleep(0.1)
            else:
                return


def _task(coroutine: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
    return asyncio.create_task(coroutine, name=name)
