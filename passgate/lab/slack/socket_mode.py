"""Serve Socket Mode: tickets, hello, envelopes that go to one of the open connections, acks within three seconds."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import time
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from passgate.lab.slack.faults import EnvelopeFault, Faults
from passgate.lab.slack.workspace import APP

Json = dict[str, Any]

ACK_TIME = 3.0
TICKET_LIFE = 30.0
CONNECTIONS = 10


@dataclass(frozen=True)
class Ack:
    """What became of an envelope."""

    acked: bool
    payload: Json = field(default_factory=dict)
    why: str = ""


@dataclass
class SignedDelivery:
    """Send deliveries to the app's Request URL, signed as Slack does (v0, HMAC-SHA256 over time and body)."""

    url: str
    secret: str
    sent: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    """Headers and body of each request, for whoever sends one again."""

    async def deliver(self, kind: str, payload: Json, fault: EnvelopeFault | None) -> Ack:
        """Send one and return what came back; a refusal or three seconds of silence is no ack."""
        if fault and fault.kind == "drop":
            return Ack(acked=False, why="no_ack")
        body, content = self._body(kind, payload)
        now = str(int(time.time()))
        digest = hmac.new(self.secret.encode(), f"v0:{now}:".encode() + body, hashlib.sha256).hexdigest()
        headers = {
            "content-type": content,
            "x-slack-request-timestamp": now,
            "x-slack-signature": f"v0={digest}",
        }
        self.sent.append((headers, body))
        if fault and fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
        try:
            async with httpx.AsyncClient(timeout=ACK_TIME) as client:
                for _ in range(2 if fault and fault.kind == "duplicate" else 1):
                    answer = await client.post(self.url, content=body, headers=headers)
        except httpx.HTTPError:
            return Ack(acked=False, why="not_connected")
        if answer.is_error and not (fault and fault.kind == "duplicate"):
            return Ack(acked=False, why="no_ack")
        told = answer.json() if answer.headers.get("content-type", "").startswith("application/json") else {}
        return Ack(acked=True, payload=told if isinstance(told, dict) else {})

    @staticmethod
    def _body(kind: str, payload: Json) -> tuple[bytes, str]:
        if kind == "events_api":
            return json.dumps(payload).encode(), "application/json"
        fields = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
        return urlencode({name: str(part) for name, part in fields.items()}).encode(), (
            "application/x-www-form-urlencoded"
        )


@dataclass
class Sockets:
    """The open connections of the app, and the envelopes that wait for their ack."""

    faults: Faults
    open: list[WebSocket] = field(default_factory=list)
    link_enabled: bool = True
    requests: SignedDelivery | None = None
    """Where deliveries go instead of the sockets, once the app has a Request URL."""
    _tickets: dict[str, float] = field(default_factory=dict)
    _waiting: dict[str, asyncio.Future[Json]] = field(default_factory=dict)
    _turn: int = 0

    def ticket(self) -> str:
        """Return a ticket that opens one connection."""
        ticket = secrets.token_urlsafe(24)
        self._tickets[ticket] = time.monotonic() + TICKET_LIFE
        return ticket

    async def serve(self, socket: WebSocket) -> None:
        """Greet a connection that has a ticket, and take its acks until it ends."""
        expires = self._tickets.pop(socket.query_params.get("ticket", ""), 0.0)
        if expires < time.monotonic() or self.faults.down or not self.link_enabled or len(self.open) >= CONNECTIONS:
            await socket.close(4401)
            return
        await socket.accept()
        self.open.append(socket)
        try:
            await socket.send_json(
                {
                    "type": "hello",
                    "num_connections": len(self.open),
                    "connection_info": {"app_id": APP},
                    "debug_info": {"host": "lab", "build_number": 1, "approximate_connection_time": 18060},
                }
            )
            while True:
                self._take(await socket.receive_json())
        except (WebSocketDisconnect, ValueError, KeyError, RuntimeError):
            # It went away, was sent away by `disconnect`, or said what is not JSON: Slack hangs up either way.
            pass
        finally:
            if socket in self.open:
                self.open.remove(socket)
            await _close(socket)

    def _take(self, said: Any) -> None:
        """Give an ack to whoever waits for it; a late or second one changes nothing."""
        waiting = self._waiting.pop(str(said.get("envelope_id")), None) if isinstance(said, dict) else None
        if waiting and not waiting.done():
            payload = said.get("payload")
            waiting.set_result(payload if isinstance(payload, dict) else {})

    async def deliver(self, kind: str, payload: Json) -> Ack:
        """Send an envelope to one of the open connections and wait for its ack, three seconds at most."""
        if self.requests is not None:
            return await self.requests.deliver(kind, payload, self.faults.for_envelope())
        if self.faults.down or not self.open:
            return Ack(acked=False, why="not_connected")
        envelope_id = str(uuid.uuid4())
        envelope = {
            "envelope_id": envelope_id,
            "type": kind,
            "payload": payload,
            "accepts_response_payload": kind == "slash_commands" or payload.get("type") == "view_submission",
        }
        waiting = self._waiting[envelope_id] = asyncio.get_running_loop().create_future()
        sending = asyncio.ensure_future(self._send(envelope))
        try:
            answer = await asyncio.wait_for(waiting, ACK_TIME)
        except TimeoutError:
            return Ack(acked=False, why="no_ack")
        finally:
            self._waiting.pop(envelope_id, None)
        await sending
        return Ack(acked=True, payload=answer)

    async def _send(self, envelope: Json) -> None:
        """Send an envelope, unless a fault loses, doubles or delays it."""
        fault = self.faults.for_envelope()
        if fault and fault.kind == "drop":
            return
        if fault and fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
        for _ in range(2 if fault and fault.kind == "duplicate" else 1):
            if not self.open:
                return
            # In turn, so that a test with two connections sees both used; Slack promises no more than "one of them".
            self._turn += 1
            socket = self.open[self._turn % len(self.open)]
            try:
                await socket.send_json(envelope)
            except (WebSocketDisconnect, RuntimeError):
                return  # it broke meanwhile: the envelope is lost, as it would be

    async def disconnect(self, reason: str) -> None:
        """Tell every connection to go, and hang up."""
        self.link_enabled = self.link_enabled and reason != "link_disabled"
        for socket in list(self.open):
            self.open.remove(socket)
            try:
                await socket.send_json({"type": "disconnect", "reason": reason, "debug_info": {"host": "lab"}})
            except (WebSocketDisconnect, RuntimeError):
                continue  # gone already
            await _close(socket)

    async def cut(self) -> None:
        """Hang up on every connection without a word."""
        for socket in list(self.open):
            self.open.remove(socket)
            await _close(socket, 1012)


async def _close(socket: WebSocket, code: int = 1000) -> None:
    """Close a connection that may be closed already."""
    if WebSocketState.DISCONNECTED in {socket.client_state, socket.application_state}:
        return
    try:
        await socket.close(code)
    except RuntimeError:
        return  # the other side was faster
