"""Keep time and mend what crashes left: expiry, runs that were not woken, evidence that was not written."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import ParamSpec, TypeVar

from passgate.engine.climbing import climb
from passgate.engine.desk import Bell
from passgate.engine.ending import is_kept, write_evidence
from passgate.engine.gate import expire, is_ready, reconsider, settle
from passgate.engine.mending import mend
from passgate.engine.reviewing import look_after_reviews
from passgate.engine.runtime import Runtime
from passgate.errors import PassgateError, RecordError
from passgate.model.change import Change, State
from passgate.policy.moments import next_moment

EVERY = 5.0
"""Seconds between two rounds; an expiry is at most this late, and what it takes to end those that came before."""
AT_ONCE = 100
"""How many changes expire in one transaction: each waits for the disk, and whoever decides meanwhile for its end.
So many take a tenth of a second."""
BREATH = 0.12
"""Seconds that others have to write in between two of these. SQLite lets who waits look again every 0.1 s."""
BETWEEN = 20
"""After so many changes that were looked at one by one, those are ended whose time was over meanwhile."""
WAKES = 50
"""How many runs are woken in one round, and how many changes that have ended are closed."""

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)


class Clockwork:
    """Look again and again at the changes whose moment has come; each round is safe to repeat.

    Thousands of changes that only wait cost two queries: the store knows when each has to be looked at next. What
    waits for Prefect, or writes evidence, holds no clock up.
    """

    def __init__(self, runtime: Runtime, bell: Bell) -> None:
        self._runtime = runtime
        self._bell = bell
        self._calendar_is_new = True
        self._to_settle = asyncio.Event()
        self._to_follow_up = asyncio.Event()
        self._awake: list[str] = []
        """Ids of changes whose run should be on its way, as they were last looked at."""
        self._failed: set[str] = set()
        """What failed and was logged; it is tried again, and logged again once it worked in between."""

    def wake(self) -> None:
        """Make the next round right away."""
        self._to_settle.set()
        self._to_follow_up.set()

    async def run(self) -> None:
        """Make rounds until cancelled. A fault in one round never ends the clockwork."""
        await asyncio.gather(
            self._again_and_again(self.settle, self._to_settle),
            self._again_and_again(self.follow_up, self._to_follow_up),
        )

    async def round(self) -> None:
        """Settle what time or decisions settled, then do what follows from it."""
        await self.settle()
        await self.follow_up()

    async def settle(self) -> None:
        """Settle what time or decisions settled, all of it; what expires comes first, however much else there is."""
        now = self._runtime.clock()
        await self.expire(now)
        if self._calendar_is_new:
            await self.look_with_this_calendar()
        awake = []
        async for change_id in self._one_by_one(self._runtime.store.due(now)):
            settled = await self._attempt(change_id, self._in_thread(self._settled, change_id))
            if settled is not None and self._is_awake(settled):
                awake.append(change_id)
        if not set(awake) <= set(self._awake):
            self._to_follow_up.set()
        self._awake = awake

    async def expire(self, now: datetime) -> None:
        """End all whose time is over by then, many in each transaction, so that the last of thousands is not late."""
        over, others = self._runtime.store.over(now), list[str]()
        for first in range(0, len(over), AT_ONCE):
            if first:
                await asyncio.sleep(BREATH)
            ids = over[first : first + AT_ONCE]
            batch = f"{ids[0]} to {ids[-1]} together"
            ended = frozenset(await self._attempt(batch, self._in_thread(expire, self._runtime, ids)) or ())
            others += (one for one in ids if one not in ended)
        for change_id in others:  # it was decided in time, waits at a second gate, or is damaged
            await self._attempt(change_id, self._in_thread(self._settled, change_id))
        if over:
            self._to_follow_up.set()

    async def follow_up(self) -> None:
        """Wake what should be awake and close what has ended, a bounded number of both; look after reviews."""
        for change_id in self._awake[:WAKES]:
            await self._attempt(change_id, self._wake_one(change_id))
        for change_id in self._runtime.store.unclosed(WAKES):
            await self._attempt(change_id, self._close(change_id))
        await look_after_reviews(self._runtime)

    async def look_with_this_calendar(self) -> None:
        """Look once at all that waits for an opening: the process before this one may have had another calendar."""
        async for change_id in self._one_by_one(self._runtime.store.scheduled()):
            await self._attempt(change_id, self._in_thread(self._reconsidered, change_id))
        self._calendar_is_new = False

    async def _again_and_again(self, work: Callable[[], Awaitable[None]], woken: asyncio.Event) -> None:
        while True:
            woken.clear()
            try:
                await work()
            except Exception:
                log.exception("a round of the clockwork failed; the next one follows")
            with suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), EVERY)

    async def _one_by_one(self, change_ids: Iterable[str]) -> AsyncIterator[str]:
        """Go through changes; what expires meanwhile does not wait until all of them were looked at."""
        for count, change_id in enumerate(change_ids, 1):
            yield change_id
            if count % BETWEEN == 0:
                await self.expire(self._runtime.clock())

    async def _attempt(self, what: str, work: Awaitable[T]) -> T | None:
        """Return what comes of the work, or None where it failed: a change that is damaged must not hold others up."""
        try:
            done = await work
        except RecordError:
            raise  # the database can't be used: for none of them
        except Exception:
            if what not in self._failed:
                log.exception("Passgate met a fault with %s; it is tried again", what)
            self._failed.add(what)
            return None
        self._failed.discard(what)
        return done

    def _in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return self._runtime.estate.in_thread(call, *args, **kwargs)

    def _settled(self, change_id: str) -> Change:
        """Settle a change, and note when it has to be looked at next if that moved nothing."""
        change = self._runtime.store.change(change_id)
        settled, now = settle(self._runtime, change), self._runtime.clock()
        climb(self._runtime, settled)
        if settled.state is change.state and settled.open_gate == change.open_gate and self._sleeps(settled):
            self._runtime.store.look_again(change_id, next_moment(settled, now))
        return settled

    def _reconsidered(self, change_id: str) -> Change:
        return reconsider(self._runtime, self._runtime.store.change(change_id))

    def _is_awake(self, change: Change) -> bool:
        return not change.state.is_end and not self._sleeps(change)

    def _sleeps(self, change: Change) -> bool:
        """Say whether a change waits for people or its opening, in a run that is there."""
        waits = change.state in {State.WAITING, State.SCHEDULED} or change.open_gate is not None
        return waits and change.flow_run is not None and not is_ready(change, self._runtime.clock())

    async def _wake_one(self, change_id: str) -> None:
        change = self._runtime.store.change(change_id)
        if self._is_awake(change):
            await self._wake(change)

    async def _wake(self, change: Change) -> bool:
        try:
            await self._bell.ring(change)
        except PassgateError as error:
            log.warning("%s: %s", change.id, error.message)
            return False
        return True

    async def _close(self, change_id: str) -> None:
        """End the run of a change that has ended, and do what follows from it, each once: its evidence, its mends."""
        change = self._runtime.store.change(change_id)
        if not await self._wake(change):
            return
        try:
            if change.plan is not None and not is_kept(self._runtime, change_id):
                await write_evidence(self._runtime, change)
            await mend(self._runtime, change, self._bell.start)
            self._runtime.store.close_change(change_id, self._runtime.clock())
        except PassgateError as error:
            log.warning("%s: %s", change_id, error.message)
