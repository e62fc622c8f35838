"""Keep time and mend what crashes left: expiry, runs that were not woken, evidence that was not written."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from passgate.engine.climbing import climb
from passgate.engine.desk import Bell
from passgate.engine.ending import evidence_file, write_evidence
from passgate.engine.gate import is_ready, reconsider, settle
from passgate.engine.mending import mend
from passgate.engine.reviewing import look_after_reviews
from passgate.engine.runtime import Runtime
from passgate.errors import PassgateError
from passgate.model.change import Change, State
from passgate.policy.moments import next_moment

EVERY = 5.0
"""Seconds between two rounds; an expiry is at most this late, and what it takes to settle those that came before."""
AT_ONCE = 500
"""How many changes are read at once, so that thousands that end in the same minute don't fill the memory."""
WAKES = 50
"""How many runs are woken in one round: the clocks of others must not wait for Prefect."""

log = logging.getLogger(__name__)


class Clockwork:
    """Look again and again at the changes whose moment has come; each round is safe to repeat.

    Thousands of changes that only wait cost one query: the store knows when each has to be looked at next.
    """

    def __init__(self, runtime: Runtime, bell: Bell) -> None:
        self._runtime = runtime
        self._bell = bell
        self._calendar_is_new = True
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Make the next round right away."""
        self._woken.set()

    async def run(self) -> None:
        """Make rounds until cancelled. A fault in one round never ends the clockwork."""
        while True:
            self._woken.clear()
            try:
                if self._calendar_is_new:
                    await self.look_with_this_calendar()
                await self.round()
            except Exception:
                log.exception("a round of the clockwork failed; the next one follows")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), EVERY)

    async def round(self) -> None:
        """Settle what time or decisions settled, all of it; then wake what should be awake, a bounded number."""
        seen: set[str] = set()
        awake: list[Change] = []
        while True:
            found = [one for one in self._runtime.store.due(self._runtime.clock(), AT_ONCE) if one.id not in seen]
            for change in found:
                seen.add(change.id)
                settled = await self._runtime.estate.in_thread(self._settled, change)
                if not settled.state.is_end and not self._sleeps(settled):
                    awake.append(settled)
            if len(found) < AT_ONCE:
                break
        for change in awake[:WAKES]:
            await self._wake(change)
        for change_id in self._runtime.store.unclosed(WAKES):
            await self._close(self._runtime.store.change(change_id))
        await look_after_reviews(self._runtime)

    async def look_with_this_calendar(self) -> None:
        """Look once at all that waits for an opening: the process before this one may have had another calendar."""
        for change in self._runtime.store.changes((State.SCHEDULED,), limit=10_000):
            await self._runtime.estate.in_thread(reconsider, self._runtime, change)
        self._calendar_is_new = False

    def _settled(self, change: Change) -> Change:
        """Settle a change, and note when it has to be looked at next if that moved nothing."""
        settled, now = settle(self._runtime, change), self._runtime.clock()
        climb(self._runtime, settled)
        if settled.state is change.state and settled.open_gate == change.open_gate and self._sleeps(settled):
            self._runtime.store.look_again(change.id, next_moment(settled, now))
        return settled

    def _sleeps(self, change: Change) -> bool:
        """Say whether a change waits for people or its opening, in a run that is there."""
        waits = change.state in {State.WAITING, State.SCHEDULED} or change.open_gate is not None
        return waits and change.flow_run is not None and not is_ready(change, self._runtime.clock())

    async def _wake(self, change: Change) -> bool:
        try:
            await self._bell.ring(change)
        except PassgateError as error:
            log.warning("%s: %s", change.id, error.message)
            return False
        return True

    async def _close(self, change: Change) -> None:
        """End the run of a change that has ended, and do what follows from it, each once: its evidence, its mends."""
        if not await self._wake(change):
            return
        try:
            if change.plan is not None and not evidence_file(self._runtime.home, change.id).exists():
                await write_evidence(self._runtime, change)
            await mend(self._runtime, change, self._bell.start)
            self._runtime.store.close_change(change.id, self._runtime.clock())
        except PassgateError as error:
            log.warning("%s: %s", change.id, error.message)
