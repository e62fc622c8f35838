"""Keep what people did in Slack until it is dealt with: before it is acknowledged, and over a crash too."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from passgate.connect.slack import backoff

if TYPE_CHECKING:
    from passgate.store.store import Store

log = logging.getLogger(__name__)

Work = Callable[[str, dict[str, Any]], Awaitable[bool]]
"""Work on what was kept under a key; False when it has to be tried again later."""


class Inbox:
    """Hold one kind of acts, those whose keys `mine` says yes to. `open` counts what is not dealt with.

    In order, one by one; `side_by_side` works on all that is open at once, where one may take long.
    """

    def __init__(
        self,
        store: Store,
        mine: Callable[[str], bool],
        work: Work,
        *,
        longest_pause: float = 30.0,
        side_by_side: bool = False,
    ) -> None:
        self._store, self._mine, self._work = store, mine, work
        self._longest_pause, self._side_by_side = longest_pause, side_by_side
        self._came = asyncio.Event()
        self.open = 0

    async def keep(self, key: str, data: dict[str, Any], *, again: bool = False) -> None:
        """Write an act down, once per key; it is worked on after `wake`.

        With `again`, one whose key was dealt with before is kept once more: only copies of what is still open are one.
        """
        at = datetime.now(UTC)
        new = await asyncio.to_thread(self._store.inbox_put, key, data, at)
        if again and not new and key not in {one for one, _ in await asyncio.to_thread(self._store.inbox_open)}:
            await asyncio.to_thread(self._store.inbox_put, f"{key}:{at.isoformat()}", data, at)

    async def wake(self) -> None:
        """Let what was kept be worked on."""
        self.look()

    def look(self) -> None:
        """Look at what was kept, here or by another replica."""
        self._came.set()

    async def run(self) -> NoReturn:
        """Work off what came in, for ever: at the start what a crash left, then whatever comes."""
        pauses = backoff(longest=self._longest_pause)
        while True:
            self._came.clear()
            try:
                kept = await asyncio.to_thread(self._store.inbox_open)
                waiting = [(key, data) for key, data in kept if self._mine(key)]
                self.open = len(waiting)
                if self._side_by_side:
                    settled = await asyncio.gather(*(self._work(key, data) for key, data in waiting))
                else:
                    settled = [await self._work(key, data) for key, data in waiting]
                self.open = settled.count(False)
            except Exception:
                log.exception("What people did in Slack waits")
                self.open = self.open or 1
            if self.open:
                await asyncio.sleep(next(pauses))
                continue
            pauses = backoff(longest=self._longest_pause)
            await self._came.wait()
