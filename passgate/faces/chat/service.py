"""Run chat: reports out, clicks in, and what a crash left over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from passgate.connect.slack import Reply
from passgate.engine.runtime import utc_now
from passgate.faces.chat import asking, clicks, overriding, reviewing, waits
from passgate.faces.chat.asking import Asking
from passgate.faces.chat.callers import Callers
from passgate.faces.chat.clicks import Clicks, Seal
from passgate.faces.chat.commands import Commands
from passgate.faces.chat.dialogue import Dialogue
from passgate.faces.chat.directory import Directory
from passgate.faces.chat.home import Homes
from passgate.faces.chat.http import slack_route
from passgate.faces.chat.links import Links
from passgate.faces.chat.overriding import overrides
from passgate.faces.chat.plan_posts import PlanPosts
from passgate.faces.chat.reception import Reception
from passgate.faces.chat.render import Renderer
from passgate.faces.chat.reviewing import reviews
from passgate.faces.chat.sender import Sender
from passgate.faces.chat.waits import Waits
from passgate.faces.chat.watchdog import Watchdog

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from passgate.connect.slack import Envelope, SlackConnector
    from passgate.connect.slack.signed import SignedRequests
    from passgate.settings.people import People
    from passgate.store.store import Store


class Desk(clicks.Desk, asking.Desk, waits.Desk, reviewing.Desk, overriding.Desk, Protocol):
    """What chat asks of the engine."""


class Chat:
    """Hold the parts of chat together. What runs ends only when it is cancelled: no failure of Slack's ends it."""

    def __init__(
        self,
        connector: SlackConnector,
        store: Store,
        desk: Desk,
        people: People,
        channel: str,
        *,
        secret: str,
        origin: str,
        burst: int = 20,
        longest_pause: float = 30.0,
        signed: SignedRequests | None = None,
        heartbeat_channel: str | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Take the connector opened; `secret` (the bot token) and `origin` seal the buttons, and are the same later."""
        directory, seal = Directory(people), Seal(secret, origin)
        renderer, callers = Renderer(directory, seal), Callers(connector, directory)
        links, waiting = Links(connector, store, channel), Waits(store, desk)
        self._connector = connector
        self._sender = Sender(
            connector, store, renderer, channel, held_up=desk.held_up, burst=burst, longest_pause=longest_pause
        )
        self._plans = PlanPosts(connector, store, channel, posted=self._sender.look_again, longest_pause=longest_pause)
        self._homes = Homes(
            connector, store, directory, callers, seal=seal, waits=waiting, links=links, longest_pause=longest_pause
        )  # fmt: skip
        self._clicks = Clicks(
            connector, store, desk, callers,
            seal=seal, channel=channel, at_home=self._homes.note, longest_pause=longest_pause,
        )  # fmt: skip
        self._asking = Asking(
            connector, store, desk, callers, people=directory, seal=seal, channel=channel, at_home=self._homes.note,
            longest_pause=longest_pause,
        )  # fmt: skip
        commands = Commands(connector, store, self._asking, callers, renderer=renderer, waits=waiting, links=links)
        self._dialogues = tuple(
            Dialogue(connector, store, act, callers, seal=seal, channel=channel, longest_pause=longest_pause)
            for act in (reviews(desk), overrides(desk))
        )
        self._reception = Reception(self._clicks, self._asking, commands, self._homes, self._dialogues)
        self._signed = signed
        self.on_ack: Callable[[float], object] = float
        """Told how many seconds it took to store each delivery."""
        self.watchdog = Watchdog(connector, store, clock, heartbeat_channel)

    def measure(self, acks: Callable[[float], object], shown: Callable[[float], object]) -> None:
        """Tell those how many seconds it took to store each delivery, and to show each decision."""
        self.on_ack, self._sender.on_shown = acks, shown

    @property
    def routes(self) -> tuple[BaseRoute, ...]:
        """Return where Slack sends signed requests to; none where clicks come over the socket."""
        return (slack_route(self._signed, self.take),) if self._signed else ()

    async def run(self) -> None:
        """Send, listen, and work off what people did."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.listen(), name="chat: socket")
            group.create_task(self.work(), name="chat: work")

    async def listen(self) -> None:
        """Keep what people click, and acknowledge it: each replica of the service does. HTTP needs no socket for it."""
        if self._signed is None:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._connector.listen(self.take), name="chat: socket")
                group.create_task(self.watchdog.run(), name="chat: watchdog")

    async def work(self) -> None:
        """Send, and work off clicks: only the replica that holds the database does, so that nothing is sent twice."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sender.run(), name="chat: reports")
            group.create_task(self._plans.run(), name="chat: plans")
            group.create_task(self._homes.run(), name="chat: homes")
            group.create_task(self._clicks.inbox.run(), name="chat: clicks")
            group.create_task(self._asking.inbox.run(), name="chat: requests")
            for dialogue in self._dialogues:
                group.create_task(dialogue.inbox.run(), name=f"chat: {dialogue.act.key}")

    async def take(self, envelope: Envelope) -> Reply:
        """Take a delivery: our own heartbeat, or something that a person did."""
        if envelope.type == "events_api" and await self.watchdog.heard(envelope):
            return Reply()
        began = time.perf_counter()
        reply = await self._reception.take(envelope)
        self.on_ack(time.perf_counter() - began)
        return reply

    def look(self) -> None:
        """Look into the inbox: another replica kept something."""
        for inbox in (self._clicks.inbox, self._asking.inbox, *(one.inbox for one in self._dialogues)):
            inbox.look()

    def status(self) -> dict[str, Any]:
        """Return how chat stands, as `passgate status` and `doctor` show it; times are ISO 8601, UTC."""
        socket, sender = self._connector.health, self._sender.health
        return {
            "connected_since": socket.connected_since.isoformat(timespec="milliseconds")
            if socket.connected_since
            else None,
            "last_heard": socket.last_heard.isoformat(timespec="milliseconds") if socket.last_heard else None,
            "last_ack": socket.last_ack.isoformat(timespec="milliseconds") if socket.last_ack else None,
            "last_sent": sender.last_sent.isoformat(timespec="milliseconds") if sender.last_sent else None,
            "messages_behind": sender.behind,
            "messages_cut_down": sender.cut_down,
            "clicks_open": self._clicks.inbox.open,
            "requests_open": self._asking.inbox.open,
            "times_deaf": self.watchdog.times,
            "trouble": [words for words in (socket.trouble, self._deaf, sender.trouble) if words],
        }

    @property
    def _deaf(self) -> str:
        why = self.watchdog.deaf
        return f"Clicks in Slack may not come in: {why}. Use the command line meanwhile." if why else ""
