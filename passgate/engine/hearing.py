"""Hear what other replicas recorded, hold the right to work, and notice when it is lost.

All replicas of the service are doors: they take requests, decisions and clicks, and record them. One of them works:
it holds the database's lock, carries changes out, tells chat and keeps the clock. It hears of what the others recorded
by looking every LOOK_EVERY seconds; when it dies its lock is free, and another one takes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from passgate.engine.runtime import Runtime
from passgate.errors import ConflictError, PassgateError
from passgate.store.news import Foreign

LOOK_EVERY = 0.25
"""Seconds between two looks at what other processes recorded."""
TRY_EVERY = 0.5
"""Seconds between two tries of a replica that stands by to become the one that works."""
STILL_EVERY = 1.0
"""Seconds between two looks whether the right to work is still ours."""

log = logging.getLogger(__name__)


async def hear(runtime: Runtime, heard: Callable[[Foreign], None]) -> None:
    """Tell the store's listeners and `heard` of what other processes did, until cancelled."""
    while True:
        try:
            news = await asyncio.to_thread(runtime.store.news.look)
        except PassgateError as error:
            log.warning("what other replicas did can't be read now: %s", error.message)
        else:
            if news.changes:
                runtime.store.tell()
            heard(news)
        await asyncio.sleep(LOOK_EVERY)


async def until_held(runtime: Runtime) -> None:
    """Return once this process holds the right to work; until then another replica does."""
    while True:
        try:
            await asyncio.to_thread(runtime.store.hold)
        except ConflictError:
            pass
        except PassgateError as error:
            log.warning("whether another replica works can't be asked now: %s", error.message)
        else:
            return
        await asyncio.sleep(TRY_EVERY)


async def until_lost(runtime: Runtime) -> None:
    """Return once another replica took the right to work. One that was lost with its connection is taken again."""
    while True:
        await asyncio.sleep(STILL_EVERY)
        if await asyncio.to_thread(runtime.store.still_holds):
            continue
        try:
            await asyncio.to_thread(runtime.store.hold)
            log.warning("the connection that holds the right to work broke; it was taken anew")
        except ConflictError as error:
            log.warning("the right to work was lost: %s", error.message)
            return
        except PassgateError as error:
            log.warning("the right to work can't be asked for now: %s", error.message)
