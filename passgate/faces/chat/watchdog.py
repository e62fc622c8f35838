"""Watch whether Slack's deliveries still come through; where they don't, say so elsewhere, and connect anew."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn

from passgate.connect.slack import Mark
from passgate.connect.slack.deafness import LOOK_EVERY, Ears
from passgate.errors import PassgateError
from passgate.model.change import Actor, Door, Event, EventType

if TYPE_CHECKING:
    from passgate.connect.slack import Envelope, SlackConnector
    from passgate.store.store import Store

HEARTBEAT = Mark("heartbeat")
PASSGATE = Actor(person="passgate", door=Door.ENGINE)

log = logging.getLogger(__name__)


class Watchdog:
    """Look every few seconds; tell once when chat goes deaf, and once when it hears again.

    `channel` is where the heartbeat message is edited; without one, only silence is noticed.
    """

    def __init__(
        self, connector: SlackConnector, store: Store, clock: Callable[[], datetime], channel: str | None
    ) -> None:
        self._slack, self._store, self._clock, self._channel = connector, store, clock, channel
        self._ears = Ears(clock())
        self._beat = ""
        self._message = ""
        self.deaf = ""
        """Why nothing is heard now; empty while all is well."""
        self.times = 0
        """How often chat was found deaf since the start."""

    async def run(self) -> NoReturn:
        """Look, for ever."""
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("The watch over Slack's socket met a fault; it looks again")
            await asyncio.sleep(LOOK_EVERY)

    def heard(self, envelope: Envelope) -> bool:
        """Take an event; say whether it is our own heartbeat that came back."""
        event = envelope.payload.get("event") or {}
        if not self._beat or self._beat not in str((event.get("message") or {}).get("text", "")):
            return False
        self._ears.probe_heard = self._clock()
        return True

    async def look(self) -> None:
        """Compare what was sent and heard, tell what changed, and send the next probe."""
        now, health, ears = self._clock(), self._slack.health, self._ears
        ears.connected = health.connected_since is not None
        ears.last_heard = health.last_heard
        why = ears.why_deaf(now)
        if why:
            await self._is_deaf(why, now)
        elif self.deaf and ears.connected and (ears.probe_heard is not None or not self._channel):
            self._tell(EventType.CHAT_HEARD, "clicks come in again", now)
            self.deaf = ""
        if self._channel and ears.wants_probe(now):
            await self._probe(self._channel, now)

    async def _is_deaf(self, why: str, now: datetime) -> None:
        log.warning("Slack's socket is deaf: %s. It is opened anew.", why)
        self.times += 1
        if not self.deaf:
            self._tell(EventType.CHAT_DEAF, why, now)
        self.deaf = why
        self._ears = Ears(now)
        await self._slack.reconnect()

    def _tell(self, kind: EventType, why: str, now: datetime) -> None:
        self._store.append(Event(type=kind, change="", actor=PASSGATE, at=now, data={"why": why}))

    async def _probe(self, channel: str, now: datetime) -> None:
        """Edit the heartbeat message; a Slack that can't be asked now is no deaf socket."""
        beat = f"beat {secrets.token_hex(8)}"
        text = f"Passgate listens to Slack: it edits this message to hear itself. {beat}"
        try:
            self._message = self._message or await self._slack.find(channel, HEARTBEAT) or ""
            self._beat = beat
            if self._message:
                await self._slack.update(channel, self._message, text, (), mark=HEARTBEAT)
                self._ears.probe_sent = now
            else:
                self._message = await self._slack.post(channel, text, (), mark=HEARTBEAT)
        except PassgateError as error:
            log.warning("The heartbeat of Slack's socket could not be sent: %s", error.message)
            self._message = ""
