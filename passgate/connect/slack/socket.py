"""Hold Slack's Socket Mode: deliveries are stored, then acknowledged, then worked on.

The socket is aiohttp's own, not slack_sdk's client: that one acknowledges in tasks that nobody awaits, and reconnects
for ever to an address that Slack gives out for one use (R42).
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

import aiohttp

from passgate.connect.slack.faults import in_words
from passgate.errors import UnreachableError, WorldError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Envelope:
    """Hold one delivery of Socket Mode."""

    id: str
    type: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """Say what goes back with the acknowledgement, and what is to be done once it is sent."""

    payload: dict[str, Any] | None = None
    then: Callable[[], Awaitable[None]] | None = None


@dataclass
class SocketHealth:
    """Hold the state of the socket for `status` and `doctor`."""

    connected_since: datetime | None = None
    last_heard: datetime | None = None
    last_ack: datetime | None = None
    trouble: str = ""
    connections: int = field(default=0)


OnEnvelope = Callable[[Envelope], Awaitable[Reply]]


def backoff(first: float = 0.2, longest: float = 30.0) -> Iterator[float]:
    """Yield waiting times that double up to a bound, with jitter, so that nobody hammers a Slack that is down."""
    wait = first
    while True:
        yield wait * random.uniform(0.7, 1.0)  # noqa: S311  # jitter, not a secret
        wait = min(wait * 2, longest)


Opening = Callable[[], AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]]


class Socket:
    """Receive deliveries for ever. `opening` opens one socket; aiohttp's pings end a deaf one."""

    def __init__(self, opening: Opening, on_envelope: OnEnvelope, health: SocketHealth, longest_pause: float) -> None:
        self._opening = opening
        self._on_envelope = on_envelope
        self._health = health
        self._longest_pause = longest_pause
        self._working: set[asyncio.Task[None]] = set()
        self._now: aiohttp.ClientWebSocketResponse | None = None

    async def drop(self) -> None:
        """Close the socket that is open, so that a new one is opened."""
        if self._now is not None:
            await self._now.close()

    async def listen(self) -> NoReturn:
        """Reconnect whenever the socket ends; never end because of Slack.

        An envelope that could not be stored is not acknowledged: Slack shows the person a warning.
        """
        pauses = backoff(longest=self._longest_pause)
        try:
            while True:
                before = self._health.connections
                try:
                    await self._listen_once()
                    trouble = ""
                except Exception as error:  # noqa: BLE001 - whatever broke this socket, the next one may hold
                    trouble = (
                        error.message if isinstance(error, WorldError) else f"The socket broke: {in_words(error)}."
                    )
                self._health.connected_since = None
                self._health.trouble = trouble
                if self._health.connections > before:
                    pauses = backoff(longest=self._longest_pause)
                if trouble:
                    log.warning("Not listening to Slack: %s It is tried again.", trouble)
                await asyncio.sleep(next(pauses))
        finally:
            for task in self._working:
                task.cancel()

    async def _listen_once(self) -> None:
        """Hold one socket until Slack asks for a new one (a return) or it breaks (an error)."""
        health = self._health
        async with self._opening() as socket:
            self._now = socket
            async for message in socket:
                health.last_heard = datetime.now(UTC)
                if message.type is aiohttp.WSMsgType.PING:
                    await socket.pong(message.data)
                elif message.type is aiohttp.WSMsgType.TEXT:
                    data = json.loads(message.data)
                    if data.get("type") == "disconnect":
                        return
                    if data.get("type") == "hello":
                        health.connected_since = health.last_heard
                        health.connections += 1
                        health.trouble = ""
                    elif "envelope_id" in data:
                        await self._take(socket, data)
            raise UnreachableError(f"The socket to Slack closed ({in_words(socket.exception()) or socket.close_code}).")

    async def _take(self, socket: aiohttp.ClientWebSocketResponse, data: dict[str, Any]) -> None:
        """Store, acknowledge, work on: in that order."""
        envelope = Envelope(str(data["envelope_id"]), str(data.get("type", "")), data.get("payload") or {})
        try:
            reply = await self._on_envelope(envelope)
        except Exception:
            log.exception("A delivery from Slack could not be stored, so it is not acknowledged")
            return
        ack = {"envelope_id": envelope.id, **({"payload": reply.payload} if reply.payload else {})}
        try:
            await socket.send_str(json.dumps(ack))
            self._health.last_ack = datetime.now(UTC)
        finally:  # what is stored is worked on, whether or not Slack heard that we have it
            if reply.then is not None:
                task = asyncio.ensure_future(guarded(reply.then))
                self._working.add(task)
                task.add_done_callback(self._working.discard)


async def guarded(work: Callable[[], Awaitable[None]]) -> None:
    """Run work that must not take the listener down with it."""
    try:
        await work()
    except Exception:
        log.exception("Work on a delivery from Slack failed; what was stored is tried again")
