"""Speak to Slack's Web API, and open the socket on which clicks come.

The Web API goes through slack_sdk's asynchronous client with its retries switched off: whether a message may be sent
again is for the outbox to decide, because a repeated `chat.postMessage` posts twice (reference approvals 5.5). Tokens
travel in the Authorization header alone, and neither they nor any body is ever logged.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, NoReturn, Self
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from passgate.connect.slack.faults import in_words, rate_limit, refusal
from passgate.connect.slack.socket import OnEnvelope, Socket, SocketHealth
from passgate.errors import BusyError, RefusedError, UnreachableError

log = logging.getLogger(__name__)

_PAGES = 20
_RATE_TRIES = 5
_LONGEST_WAIT = 60.0


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
    url: str = ""
    enterprise: str = ""

    def link(self, channel: str, ts: str) -> str:
        """Return the address of a message of the workspace."""
        return f"{self.url}archives/{channel}/p{ts.replace('.', '')}"


@dataclass(frozen=True)
class SlackUser:
    """Hold what Slack says of a user: the workspace and, on Enterprise Grid, the enterprise that they belong to."""

    id: str
    name: str
    team: str
    bot: bool
    guest: bool
    deleted: bool
    enterprise: str = ""


class SlackConnector:
    """Post, edit, look up and listen. Use as `async with SlackConnector(...) as slack`.

    Raises UnreachableError where it is unknown whether Slack took the call, LoginError and RefusedError where it said
    no. HTTP 429 is waited out as Retry-After says: Slack did not take such a call, so repeating it is safe.
    """

    def __init__(
        self,
        *,
        bot_token: str,
        app_token: str = "",
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
        self._closed_until: dict[str, float] = {}
        self._listening: Socket | None = None
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
            url=_text(answer, "url"),
            enterprise=_text(answer, "enterprise_id"),
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

    async def update_modal(self, view_id: str, view: dict[str, Any]) -> None:
        """Put a dialog in place of one that is open. RefusedError `not_found` when the person closed it."""
        await self._call("views.update", {"view_id": view_id, "view": view})

    async def publish_home(self, user: str, view: dict[str, Any]) -> None:
        """Put the App Home of one person in place of the one that they see."""
        await self._call("views.publish", {"user_id": user, "view": view})

    async def respond(self, url: str, text: str, blocks: Sequence[dict[str, Any]] = ()) -> None:
        """Answer a slash command, for who used it alone, wherever they did; Slack takes the address for 30 minutes."""
        body = {"response_type": "ephemeral", "text": text, **({"blocks": list(blocks)} if blocks else {})}
        session = self._opened(self._session)
        try:
            async with session.post(url, json=body, proxy=_proxy(self._opened(self._bot).proxy, url)) as answer:
                if answer.status == HTTPStatus.OK:
                    return
                status = answer.status
        except (aiohttp.ClientError, OSError) as error:
            raise UnreachableError(
                f"Slack did not take the answer to a command ({in_words(error)}).", subject="response_url"
            ) from None
        raise RefusedError(f"Slack refused the answer to a command: HTTP {status}.", subject="response_url")

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

    async def find_file(self, channel: str, thread: str, name: str) -> str | None:
        """Return the id of our own file of that name in a thread; None if there is none."""
        me, cursor = await self.me(), ""
        for _ in range(_PAGES):
            query = {"channel": channel, "ts": thread, "limit": "200", **({"cursor": cursor} if cursor else {})}
            answer = await self._call("conversations.replies", query, form=True)
            for message in answer.get("messages") or ():
                if me.bot == message.get("bot_id") or me.user == message.get("user"):
                    found = (str(one["id"]) for one in message.get("files") or () if one.get("name") == name)
                    if file := next(found, None):
                        return file
            cursor = str((answer.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                return None
        return None

    async def put_file(  # noqa: PLR0917 - what a file in a thread is made of
        self, channel: str, thread: str, name: str, body: bytes, title: str, comment: str
    ) -> str:
        """Put a file into a thread and return its id: ask for an address, send the bytes there, and share it."""
        asked = {"filename": name, "length": str(len(body))}
        place = await self._call("files.getUploadURLExternal", asked, form=True)
        url, file = _text(place, "upload_url"), _text(place, "file_id")
        session = self._opened(self._session)
        try:
            async with session.post(url, data=body, proxy=_proxy(self._opened(self._bot).proxy, url)) as sent:
                status = sent.status
        except (aiohttp.ClientError, OSError) as error:
            raise UnreachableError(f"Slack did not take a file ({in_words(error)}).", subject=name) from None
        if status != HTTPStatus.OK:
            raise UnreachableError(f"Slack did not take a file: HTTP {status}.", subject=name)
        shared = {"files": [{"id": file, "title": title}], "channel_id": channel, "thread_ts": thread}
        await self._call("files.completeUploadExternal", {**shared, "initial_comment": comment})
        return file

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
            enterprise=str((data.get("enterprise_user") or {}).get("enterprise_id") or ""),
        )

    async def usergroup(self, group: str) -> tuple[str, ...]:
        """Return the user ids in a Slack user group."""
        answer = await self._call("usergroups.users.list", {"usergroup": group}, form=True)
        return tuple(str(user) for user in answer.get("users") or ())

    async def listen(self, on_envelope: OnEnvelope) -> NoReturn:
        """Receive envelopes for ever; reconnects by itself, and never ends because of Slack.

        For each envelope `on_envelope` is awaited (it stores), then the envelope is acknowledged, then `Reply.then`
        runs.
        """
        self._listening = Socket(self._socket, on_envelope, self.health, self._longest_pause)
        await self._listening.listen()

    async def reconnect(self) -> None:
        """Close the socket that is listened to, if there is one: the next is opened at once."""
        if self._listening is not None:
            await self._listening.drop()

    @asynccontextmanager
    async def _socket(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open one socket; aiohttp breaks it when nothing was heard for one and a half ping intervals."""
        session, app = self._opened(self._session), self._opened(self._app)
        url = await self._socket_url()
        bounds = aiohttp.ClientWSTimeout(ws_close=1.0)
        async with session.ws_connect(
            url, autoping=False, heartbeat=self._ping_every, proxy=_proxy(app.proxy, url), timeout=bounds
        ) as socket:
            yield socket

    async def _socket_url(self) -> str:
        opened = await self._call("apps.connections.open", {}, client=self._opened(self._app), form=True)
        return _text(opened, "url")

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
            # Who else calls the method meanwhile waits as well: Slack limits methods, not calls.
            await asyncio.sleep(max(0.0, self._closed_until.get(method, 0.0) - time.monotonic()))
            try:
                return await (api.api_call(method, data=body) if form else api.api_call(method, json=body))
            except SlackApiError as error:
                wait = rate_limit(error.response)
                if wait is None:
                    raise refusal(method, error.response) from None
                self._closed_until[method] = time.monotonic() + min(wait, _LONGEST_WAIT)
            except (aiohttp.ClientError, SlackClientError, OSError, ValueError) as error:
                raise UnreachableError(
                    f"Slack did not answer {method} ({in_words(error)}); whether it took the call is not known.",
                    hint="Passgate looks before it repeats. Check the way to Slack if this lasts.",
                    subject=method,
                ) from None
        raise BusyError(f"Slack limits {method} and did so {_RATE_TRIES} times in a row.", subject=method)


def _text(answer: AsyncSlackResponse, key: str) -> str:
    return str(answer.get(key) or "")


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
