"""Speak to Slack's Web API and Socket Mode.

The Web API goes through slack_sdk's asynchronous client with its retries switched off: whether a message may be sent
again is for the outbox to decide, because a repeated `chat.postMessage` posts twice (reference approvals 5.5). The
socket is aiohttp's own, not slack_sdk's client: that one acknowledges in tasks that nobody awaits, and reconnects for
ever to an address that Slack gives out for one use (R42). Tokens travel in the Authorization header alone, and neither
they nor any body is ever logged.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, Self
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from passgate.errors import BusyError, LoginError, RefusedError, UnreachableError, WorldError

__all__ = ["Envelope", "Identity", "Mark", "Reply", "SlackConnector", "SlackUser", "SocketHealth", "backoff"]

log = logging.getLogger(__name__)

SCOPES = {
    "chat:write": "post and edit messages",
    "channels:history": "find its own messages after a lost answer",
    "users:read": "tell members from guests and bots",
}
"""Bot scopes that are needed, and what for. Slack needs no scope for modals and clicks."""

_LOGIN_FAULTS = frozenset(
    {"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "not_allowed_token_type"}
)
_DOWN_FAULTS = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout"})
_HINTS = {
    "channel_not_found": "Check the channel id in config/chat.yaml; the app must be a member: /invite it there.",
    "not_in_channel": "Invite the app into the channel with /invite.",
    "is_archived": "Unarchive the channel, or name another one in config/chat.yaml.",
    "missing_scope": "Add the scope to the Slack app (OAuth & Permissions) and install the app again.",
}
_PAGES = 20
_RATE_TRIES = 5
_LONGEST_WAIT = 60.0
_SERVER_ERROR = 500
_TOO_MANY = 429


@dataclass(frozen=True)
class Mark:
    """Mark a message with what it tells, so that it is found again: kept as Slack's message metadata."""

    change: str
    seq: int | None = None

    def as_metadata(self) -> dict[str, Any]:
        """Return the mark as Slack's metadata; without `seq` it marks the parent message of the change."""
        payload: dict[str, Any] = {"change": self.change}
        if self.seq is None:
            return {"event_type": "passgate_change", "event_payload": payload}
        return {"event_type": "passgate_event", "event_payload": {**payload, "seq": self.seq}}


@dataclass(frozen=True)
class Identity:
    """Say who the bot token speaks as, and what it may do."""

    team: str
    team_name: str
    user: str
    bot: str
    scopes: frozenset[str]

    @property
    def missing(self) -> dict[str, str]:
        """Return the scopes that are needed and not held, each with what it is for."""
        return {scope: use for scope, use in SCOPES.items() if scope not in self.scopes}


@dataclass(frozen=True)
class SlackUser:
    """Hold what Slack says of a user. `team` is the workspace that the user belongs to."""

    id: str
    name: str
    team: str
    bot: bool
    guest: bool
    deleted: bool


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


class SlackConnector:
    """Post, edit, look up and listen. Use as `async with SlackConnector(...) as slack`.

    Raises UnreachableError where it is unknown whether Slack took the call, LoginError and RefusedError where it said
    no. HTTP 429 is waited out as Retry-After says: Slack did not take such a call, so repeating it is safe.
    """

    def __init__(
        self,
        *,
        bot_token: str,
        app_token: str,
        api_url: str = "https://slack.com/api/",
        timeout: float = 10.0,
        ping_every: float = 10.0,
        longest_pause: float = 30.0,
    ) -> None:
        self._bot_token, self._app_token, self._api_url = bot_token, app_token, api_url
        self._timeout, self._ping_every, self._longest_pause = timeout, ping_every, longest_pause
        self._session: aiohttp.ClientSession | None = None
        self._bot: AsyncWebClient | None = None
        self._app: AsyncWebClient | None = None
        self._identity: Identity | None = None
        self.health = SocketHealth()

    async def __aenter__(self) -> Self:
        """Open the connection pool; nothing is sent yet."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout))
        self._bot = self._client(self._bot_token)
        self._app = self._client(self._app_token)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def identity(self) -> Identity:
        """Return who the token speaks as; asks Slack anew each time, so that `doctor` sees what is."""
        answer = await self._call("auth.test", {})
        headers = {name.lower(): value for name, value in answer.headers.items()}
        scopes = frozenset(part.strip() for part in headers.get("x-oauth-scopes", "").split(",") if part.strip())
        self._identity = Identity(
            team=_text(answer, "team_id"),
            team_name=_text(answer, "team"),
            user=_text(answer, "user_id"),
            bot=_text(answer, "bot_id"),
            scopes=scopes,
        )
        return self._identity

    async def can_listen(self) -> None:
        """Ask Slack for a socket with the app token, and leave it unused. Raises LoginError when it is refused."""
        await self._socket_url()

    async def me(self) -> Identity:
        """Return who the token speaks as, from memory once Slack has said it."""
        return self._identity or await self.identity()

    async def post(
        self, channel: str, text: str, blocks: Sequence[dict[str, Any]], *, mark: Mark, thread: str | None = None
    ) -> str:
        """Post a message and return its ts."""
        answer = await self._call(
            "chat.postMessage",
            {
                "channel": channel,
                "text": text,
                "metadata": mark.as_metadata(),
                "unfurl_links": False,
                "unfurl_media": False,
                **({"blocks": list(blocks)} if blocks else {}),
                **({"thread_ts": thread} if thread else {}),
            },
        )
        return _text(answer, "ts")

    async def update(self, channel: str, ts: str, text: str, blocks: Sequence[dict[str, Any]], *, mark: Mark) -> None:
        """Put text and blocks in place of those of a message; empty blocks take its buttons away."""
        body = {"channel": channel, "ts": ts, "text": text, "blocks": list(blocks), "metadata": mark.as_metadata()}
        await self._call("chat.update", body)

    async def ephemeral(self, channel: str, user: str, text: str, *, thread: str | None = None) -> None:
        """Show one person a note that nobody else sees."""
        body = {"channel": channel, "user": user, "text": text, **({"thread_ts": thread} if thread else {})}
        await self._call("chat.postEphemeral", body)

    async def open_modal(self, trigger: str, view: dict[str, Any]) -> None:
        """Open a dialog; Slack takes the trigger for three seconds after the click."""
        await self._call("views.open", {"trigger_id": trigger, "view": view})

    async def find(
        self, channel: str, mark: Mark, *, thread: str | None = None, since: datetime | None = None
    ) -> str | None:
        """Return the ts of our own message with that mark, in the channel or in one thread; None if there is none."""
        me, wanted, cursor = await self.me(), mark.as_metadata(), ""
        method = "conversations.replies" if thread else "conversations.history"
        for _ in range(_PAGES):
            query = {
                "channel": channel,
                "limit": "200",
                "include_all_metadata": "true",
                **({"ts": thread} if thread else {}),
                **({"oldest": f"{(since - timedelta(minutes=5)).timestamp():.6f}"} if since else {}),
                **({"cursor": cursor} if cursor else {}),
            }
            answer = await self._call(method, query, form=True)
            for message in answer.get("messages") or ():
                ours = me.bot == message.get("bot_id") or me.user == message.get("user")
                if ours and message.get("metadata") == wanted:
                    return str(message["ts"])
            cursor = str((answer.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                return None
        return None

    async def user(self, user: str) -> SlackUser:
        """Return what Slack says of a user now."""
        answer = await self._call("users.info", {"user": user}, form=True)
        data: dict[str, Any] = answer.get("user") or {}
        return SlackUser(
            id=str(data.get("id", user)),
            name=str(data.get("real_name") or data.get("name") or user),
            team=str(data.get("team_id", "")),
            bot=bool(data.get("is_bot")),
            guest=any(data.get(flag) for flag in ("is_restricted", "is_ultra_restricted", "is_stranger")),
            deleted=bool(data.get("deleted")),
        )

    async def usergroup(self, group: str) -> tuple[str, ...]:
        """Return the user ids in a Slack user group."""
        answer = await self._call("usergroups.users.list", {"usergroup": group}, form=True)
        return tuple(str(user) for user in answer.get("users") or ())

    async def listen(self, on_envelope: OnEnvelope) -> NoReturn:
        """Receive envelopes for ever; reconnects by itself, and never ends because of Slack.

        For each envelope `on_envelope` is awaited (it stores), then the envelope is acknowledged, then `Reply.then`
        runs. An envelope that could not be stored is not acknowledged: Slack shows the person a warning.
        """
        working: set[asyncio.Task[None]] = set()
        pauses = backoff(longest=self._longest_pause)
        try:
            while True:
                before = self.health.connections
                try:
                    await self._listen_once(on_envelope, working)
                    trouble = ""
                except Exception as error:  # noqa: BLE001 - whatever broke this socket, the next one may hold
                    trouble = error.message if isinstance(error, WorldError) else f"The socket broke: {_words(error)}."
                self.health.connected_since = None
                self.health.trouble = trouble
                if self.health.connections > before:
                    pauses = backoff(longest=self._longest_pause)
                if trouble:
                    log.warning("Not listening to Slack: %s It is tried again.", trouble)
                await asyncio.sleep(next(pauses))
        finally:
            for task in working:
                task.cancel()

    async def _listen_once(self, on_envelope: OnEnvelope, working: set[asyncio.Task[None]]) -> None:
        """Hold one socket until Slack asks for a new one (a return) or it breaks (an error).

        aiohttp pings, and breaks the socket when nothing was heard for one and a half intervals: a deaf one ends here.
        """
        session, app = self._opened(self._session), self._opened(self._app)
        url = await self._socket_url()
        bounds = aiohttp.ClientWSTimeout(ws_close=1.0)
        async with session.ws_connect(
            url, autoping=False, heartbeat=self._ping_every, proxy=_proxy(app.proxy, url), timeout=bounds
        ) as socket:
            async for message in socket:
                self.health.last_heard = datetime.now(UTC)
                if message.type is aiohttp.WSMsgType.PING:
                    await socket.pong(message.data)
                elif message.type is aiohttp.WSMsgType.TEXT:
                    data = json.loads(message.data)
                    if data.get("type") == "disconnect":
                        return
                    if data.get("type") == "hello":
                        self.health.connected_since = self.health.last_heard
                        self.health.connections += 1
                        self.health.trouble = ""
                    elif "envelope_id" in data:
                        await self._take(socket, data, on_envelope, working)
            raise UnreachableError(f"The socket to Slack closed ({_words(socket.exception()) or socket.close_code}).")

    async def _socket_url(self) -> str:
        opened = await self._call("apps.connections.open", {}, client=self._opened(self._app), form=True)
        return _text(opened, "url")

    async def _take(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        data: dict[str, Any],
        on_envelope: OnEnvelope,
        working: set[asyncio.Task[None]],
    ) -> None:
        """Store, acknowledge, work on: in that order."""
        envelope = Envelope(str(data["envelope_id"]), str(data.get("type", "")), data.get("payload") or {})
        try:
            reply = await on_envelope(envelope)
        except Exception:
            log.exception("A delivery from Slack could not be stored, so it is not acknowledged")
            return
        ack = {"envelope_id": envelope.id, **({"payload": reply.payload} if reply.payload else {})}
        try:
            await socket.send_str(json.dumps(ack))
            self.health.last_ack = datetime.now(UTC)
        finally:  # what is stored is worked on, whether or not Slack heard that we have it
            if reply.then is not None:
                task = asyncio.ensure_future(_guarded(reply.then))
                working.add(task)
                task.add_done_callback(working.discard)

    def _client(self, token: str) -> AsyncWebClient:
        """Make a Web API client that retries nothing and logs nothing."""
        client = AsyncWebClient(
            token=token,
            base_url=self._api_url,
            session=self._session,
            timeout=int(self._timeout) or 1,
            logger=_silent(),
            retry_handlers=[],
        )
        client.proxy = _proxy(client.proxy, self._api_url)
        return client

    def _opened(self, part: Any) -> Any:
        if part is None:
            raise UnreachableError("The connection to Slack is not open.", hint="Use `async with` on the connector.")
        return part

    async def _call(
        self, method: str, body: dict[str, Any], *, client: AsyncWebClient | None = None, form: bool = False
    ) -> AsyncSlackResponse:
        """Call one method; wait out rate limits, and turn everything else that goes wrong into our own errors."""
        api: AsyncWebClient = client or self._opened(self._bot)
        for _ in range(_RATE_TRIES):
            try:
                return await (api.api_call(method, data=body) if form else api.api_call(method, json=body))
            except SlackApiError as error:
                wait = _rate_limit(error.response)
                if wait is None:
                    raise _refusal(method, error.response) from None
                await asyncio.sleep(min(wait, _LONGEST_WAIT))
            except (aiohttp.ClientError, SlackClientError, OSError, ValueError) as error:
                raise UnreachableError(
                    f"Slack did not answer {method} ({_words(error)}); whether it took the call is not known.",
                    hint="Passgate looks before it repeats. Check the way to Slack if this lasts.",
                    subject=method,
                ) from None
        raise BusyError(f"Slack limits {method} and did so {_RATE_TRIES} times in a row.", subject=method)


async def _guarded(work: Callable[[], Awaitable[None]]) -> None:
    """Run work that must not take the listener down with it."""
    try:
        await work()
    except Exception:
        log.exception("Work on a delivery from Slack failed; what was stored is tried again")


def _text(answer: AsyncSlackResponse, key: str) -> str:
    return str(answer.get(key) or "")


def _words(error: BaseException | None) -> str:
    """Name an error without its text, which may hold an address with a ticket in it."""
    return type(error).__name__ if error is not None else ""


def _rate_limit(response: Any) -> float | None:
    """Return how long Slack wants us to wait; None when this is no rate limit."""
    limited = getattr(response, "status_code", 0) == _TOO_MANY or _fault(response) in {"ratelimited", "rate_limited"}
    if not limited:
        return None
    headers = {str(name).lower(): value for name, value in (getattr(response, "headers", None) or {}).items()}
    try:
        return max(0.0, float(headers.get("retry-after", 1)))
    except ValueError:
        return 1.0


def _fault(response: Any) -> str:
    data = getattr(response, "data", None)
    return str(data.get("error", "")) if isinstance(data, dict) else ""


def _refusal(method: str, response: Any) -> WorldError:
    """Turn Slack's answer into the error that says what to do."""
    fault = _fault(response)
    status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0))
    if status >= _SERVER_ERROR or fault in _DOWN_FAULTS or not fault:
        return UnreachableError(
            f"Slack failed at {method} ({fault or f'HTTP {status}'}); whether it took the call is not known.",
            hint="Passgate looks before it repeats. See status.slack.com if this lasts.",
            subject=method,
        )
    if fault in _LOGIN_FAULTS:
        which = "app token (xapp-)" if method == "apps.connections.open" else "bot token (xoxb-)"
        return LoginError(
            f"Slack refused the {which}: {fault}.",
            hint="Put a valid token where config/chat.yaml refers to, then restart Passgate.",
            subject=method,
        )
    needed = f": the scope {response.data['needed']} is missing" if response.data.get("needed") else f": {fault}"
    details = (response.data.get("response_metadata") or {}).get("messages") or ()
    said = f" ({'; '.join(str(one) for one in details)[:300]})" if details else ""
    hint = _HINTS.get(fault, "Look the fault up at docs.slack.dev under the method's name.")
    return RefusedError(f"Slack refused {method}{needed}{said}.", fault=fault, hint=hint, subject=method)


def _proxy(proxy: str | None, url: str) -> str | None:
    """Return the proxy for that address; slack_sdk takes the environment's for any, even for this machine."""
    host = urlsplit(url).hostname or ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return None if local or proxy_bypass(host) else proxy


def _silent() -> logging.Logger:
    """Return a logger that drops everything: slack_sdk's lines hold bodies and socket tickets."""
    logger = logging.getLogger(f"{__name__}.sdk")
    logger.setLevel(logging.CRITICAL + 1)
    logger.propagate = False
    logger.disabled = True
    return logger
