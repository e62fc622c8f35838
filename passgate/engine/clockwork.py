"""Keep time and mend what crashes left: expiry, runs that were not woken, evidence that was not written."""

from __future__ import annotations

import asyncio
import logging

from passgate.engine.desk import Bell
from passgate.engine.ending import evidence_file, write_evidence
from passgate.engine.gate import settle
from passgate.engine.reviewing import look_after_reviews
from passgate.engine.runtime import Runtime
from passgate.errors import PassgateError
from passgate.model.change import Change, State

EVERY = 5.0
"""Seconds between two rounds; an expiry is at most this late."""
RECENT = 100
"""How many of the changes that ended last are looked after: a crash leaves no more than a few unfinished."""
ENDED = tuple(state for state in State if state.is_end)
OPEN = (State.REQUESTED, State.PLANNED, State.WAITING, State.APPROVED, State.SCHEDULED, State.APPLYING)

log = logging.getLogger(__name__)


class Clockwork:
    """Go through the open changes again and again; each round is safe to repeat."""

    def __init__(self, runtime: Runtime, bell: Bell) -> None:
        self._runtime = runtime
        self._bell = bell
        self._closed: set[str] = set()
        """Ended changes with evidence whose run was rung once more, so that it ends too."""

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
            sleeps = settled.state is State.WAITING or settled.open_gate is not None
            if not sleeps or settled.flow_run is None:
                await self._wake(settled)
        for change in store.changes(ENDED, limit=RECENT):
            if change.id not in self._closed:
                await self._wake(change)
        await look_after_reviews(self._runtime)

    async def _wake(self, change: Change) -> None:
        try:
            await self._bell.ring(change)
            if change.state.is_end:
                if change.plan is not None and not evidence_file(self._runtime.home, change.id).exists():
                    await write_evidence(self._runtime, change)
                self._closed.add(change.id)
        except PassgateError as error:
            log.warning("%s: %s", change.id, error.message)
