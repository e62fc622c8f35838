"""Watch whether Slack's deliveries still come through; where they don't, say so elsewhere, and connect anew."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NoReturn

from passgate.connect.slack import Mark
from passgate.connect.slack.deafness import LOOK_EVERY, Ears
from passgate.connect.slack.signed import KEEP
from passgate.errors import PassgateError
from passgate.model.change import Actor, Door, Event, EventType

if TYPE_CHECKING:
    from passgate.connect.slack import Envelope, SlackConnector
    from passgate.store.store import Store

HEARTBEAT = Mark("heartbeat")
ASK_EVERY = timedelta(seconds=60)
_BEAT = re.compile(r"beat [0-9a-f]{16}")
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
        self._asked = clock()
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

    async def heard(self, envelope: Envelope) -> bool:
        """Take an event; say whether it is a heartbeat that came back: our own, or another replica's.

        Slack gives each event to one of the app's sockets, so ours may come to another replica: it is noted for all.
        """
        text = str(((envelope.payload.get("event") or {}).get("message") or {}).get("text", ""))
        beat = _BEAT.search(text)
        if beat is None:
            return False
        if beat[0] == self._beat:
            self._ears.probe_heard = self._clock()
        else:
            await asyncio.to_thread(self._is_new, beat[0])
        return True

    def _is_new(self, beat: str) -> bool:
        """Note that a beat was heard; False when some replica heard it before."""
        return self._store.once(f"heartbeat:{beat}", self._clock(), KEEP)

    async def look(self) -> None:
        """Compare what was sent and heard, tell what changed, and send the next probe."""
        now, health, ears = self._clock(), self._slack.health, self._ears
        ears.connected = health.connected_since is not None
        ears.last_heard = health.last_heard
        why = ears.why_deaf(now)
        if why and ears.awaits_probe and not await asyncio.to_thread(self._is_new, self._beat):
            ears.probe_heard = now
            why = ears.why_deaf(now)
        if why:
            await self._is_deaf(why, now)
        elif self.deaf and ears.connected and (ears.probe_heard is not None or not self._channel):
            self._tell(EventType.CHAT_HEARD, "clicks come in again", now)
            self.deaf = ""
        if self._channel and ears.wants_probe(now):
            await self._probe(self._channel, now)
        if now - self._asked >= ASK_EVERY:
            self._asked = now
            await self._ask()

    async def _ask(self) -> None:
        """Ask Slack who we are: that kept sockets from falling silent (bolt-python#1529), and finds a revoked token."""
        try:
            await self._slack.identity()
        except PassgateError as error:
            log.warning("Slack's Web API did not say who we are: %s", error.message)

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
