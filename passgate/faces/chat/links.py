"""Know where a change's message stands in Slack."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from passgate.errors import WorldError

if TYPE_CHECKING:
    from passgate.connect.slack import SlackConnector
    from passgate.store.store import Store


class Links:
    """Make the addresses of the messages of one channel."""

    def __init__(self, connector: SlackConnector, store: Store, channel: str) -> None:
        self._slack, self._store, self._channel = connector, store, channel

    async def of(self, change_id: str) -> str:
        """Return the address of a change's message; nothing while it has none, or Slack does not answer."""
        known = await asyncio.to_thread(self._store.chat_message, change_id, self._channel)
        if known is None:
            return ""
        try:
            return (await self._slack.me()).link(self._channel, known.ts)
        except WorldError:
            return ""
