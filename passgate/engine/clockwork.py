"""Keep time and mend what crashes left: expiry, runs that were not woken, evidence that was not written."""

from __future__ import annotations

import asyncio
import logging

from passgate.engine.bell import PrefectBell
from passgate.engine.ending import evidence_file, write_evidence
from passgate.engine.gate import settle
from passgate.engine.runtime import Runtime
from passgate.errors import PassgateError
from passgate.model.change import Change, State

EVERY = 5.0
"""Seconds between two rounds; an expiry is at most this late."""
OPEN = (State.REQUESTED, State.PLANNED, State.WAITING, State.APPROVED, State.SCHEDULED, State.APPLYING)

log = logging.getLogger(__name__)


class Clockwork:
    """Go through the open changes again and again; each round is safe to repeat."""

    def __init__(self, runtime: Runtime, bell: PrefectBell) -> None:
        self._runtime = runtime
        self._bell = bell
        self._looked_at_ends = False

    async def run(self) -> None:
        """Make rounds until cancelled. A fault in one round never ends the clockwork."""
        while True:
            try:
                await self.round()
            except Exception:
                log.exception("a round of the clockwork failed; the next one follows")
            await asyncio.sleep(EVERY)

    async def round(self) -> None:
        """Settle what time or decisions settled, and wake what should be awake."""
        store = self._runtime.store
        for change in store.changes(OPEN, limit=10_000):
            settled = settle(self._runtime, change)
            if settled.state is not State.WAITING or settled.flow_run is None:
                await self._wake(settled)
        if not self._looked_at_ends:
            await self._write_missing_evidence()
            self._looked_at_ends = True

    async def _wake(self, change: Change) -> None:
        try:
            await self._bell.ring(change)
            if change.state.is_end and not evidence_file(self._runtime.home, change.id).exists():
                await write_evidence(self._runtime, change)
        except PassgateError as error:
            log.warning("%s: %s", change.id, error.message)

    async def _write_missing_evidence(self) -> None:
        runtime = self._runtime
        for change in runtime.store.changes(tuple(state for state in State if state.is_end), limit=100):
            if change.plan is not None and not evidence_file(runtime.home, change.id).exists():
                await write_evidence(runtime, change)
