"""Put plans that are longer than a message into their threads, as files: once, and found before they are put again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from passgate.connect.slack import backoff
from passgate.errors import PassgateError, RefusedError, UnknownNameError
from passgate.faces.chat.plan_file import needs_file, plan_file
from passgate.model.change import Change, EventType

if TYPE_CHECKING:
    from passgate.connect.slack import SlackConnector
    from passgate.store.store import Store

log = logging.getLogger(__name__)

CURSOR = "slack:plans"
NAME = ":plan-file"
"""Under this name the store remembers a file; no gate can be called so."""
POLL = 1.0
BATCH = 500


class PlanPosts:
    """Go through what was planned, in the ledger's order; each waits for its change's message."""

    def __init__(
        self,
        connector: SlackConnector,
        store: Store,
        channel: str,
        *,
        posted: Callable[[str], None],
        longest_pause: float = 30.0,
    ) -> None:
        """Take `posted`, which is told of each change whose message has to say so now."""
        self._slack, self._store, self._channel, self._posted = connector, store, channel, posted
        self._longest_pause = longest_pause
        self._certain = False
        """Whether the last call's answer was heard: if not, a file is looked for before it is put again."""

    async def run(self) -> NoReturn:
        """Post for ever. Slack being down, or refusing files, stops nothing else."""
        pauses = backoff(longest=self._longest_pause)
        while True:
            try:
                await self._work_off()
            except PassgateError as error:
                self._certain = False
                log.warning("Plans as files wait: %s", error.message)
                await asyncio.sleep(next(pauses))
                continue
            except Exception:
                self._certain = False
                log.exception("Plans as files wait")
                await asyncio.sleep(next(pauses))
                continue
            pauses = backoff(longest=self._longest_pause)
            await asyncio.sleep(POLL)

    async def _work_off(self) -> None:
        while True:
            cursor = await asyncio.to_thread(self._store.cursor, CURSOR)
            events = await asyncio.to_thread(self._store.events, cursor, None, BATCH)
            for event in events:
                if event.type is EventType.PLANNED and not await self._settled(event.change):
                    return  # its message is on its way
                await asyncio.to_thread(self._store.advance, CURSOR, event.seq)
            if len(events) < BATCH:
                return

    async def _settled(self, change_id: str) -> bool:
        """Put a change's plan into its thread where that is needed; False while there is no thread."""
        try:
            change = await asyncio.to_thread(self._store.change, change_id)
        except UnknownNameError:
            return True
        if change.plan is None or not needs_file(change.plan):
            return True
        if await asyncio.to_thread(self._store.chat_message, change_id, self._channel, NAME):
            return True
        parent = await asyncio.to_thread(self._store.chat_message, change_id, self._channel)
        if parent is None:
            return False
        try:
            await self._put(change, parent.ts)
        except RefusedError as error:
            # A missing scope, or a thread that somebody deleted: the message names the command line all the same.
            log.warning("The whole plan of %s is no file in Slack: %s %s", change_id, error.message, error.hint)
        return True

    async def _put(self, change: Change, thread: str) -> None:
        if change.plan is None:
            return
        file = plan_file(change, change.plan)
        there = None if self._certain else await self._slack.find_file(self._channel, thread, file.name)
        if there is None:
            self._certain = False
            title = f"{change.id}: the whole plan"
            comment = f"📄 The whole plan of {change.id}. SHA-256 {file.sha256}"
            there = await self._slack.put_file(self._channel, thread, file.name, file.body, title, comment)
        self._certain = True
        await asyncio.to_thread(self._store.save_chat_message, change.id, self._channel, there, file.sha256, NAME)
        self._posted(change.id)
