"""Serve the simulated Slack workspace: Web API, Socket Mode, the page, and the controls for tests and the demo."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any, Literal, Self, TypeVar
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from uvicorn.protocols.http.h11_impl import H11Protocol

from passgate.lab.slack.acts import ACTS, ActError
from passgate.lab.slack.faults import CallFault, EnvelopeFault, Faults
from passgate.lab.slack.socket_mode import SignedDelivery, Sockets
from passgate.lab.slack.web_api import ApiError, Call, RateLimit, answer, ephemeral
from passgate.lab.slack.workspace import APP, Workspace

Json = dict[str, Any]
T = TypeVar("T")

PAGE_FILES = {"slack.css": "text/css", "slack.js": "text/javascript", "emoji.js": "text/javascript"}
START_TIME = 10.0
HEARTBEAT = 15.0


class _Cuttable(H11Protocol):
    """HTTP whose requests know their transport, so that a fault can cut the connection as a broken network does."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn narrows it so
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


async def _cut(request: Request) -> Response:
    """Break the connection of a request; the answer that follows goes nowhere."""
    request.scope["state"]["transport"].abort()
    await asyncio.sleep(0)
    return Response()


async def _arguments(request: Request) -> Json:
    """Return a call's arguments, sent as JSON or as a form."""
    given: Json = dict(request.query_params)
    if "json" in request.headers.get("content-type", ""):
        try:
            body = json.loads(await request.body() or b"{}")
        except ValueError:
            raise ApiError("invalid_json") from None
        if not isinstance(body, dict):
            raise ApiError("json_not_object")
        return given | body
    return given | dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))


def _refusal(error: ApiError) -> JSONResponse:
    beside = {name: part for name, part in error.beside.items() if name != "retry_after"}
    headers = {"Retry-After": str(error.beside["retry_after"])} if "retry_after" in error.beside else {}
    return JSONResponse({"ok": False, "error": error.error, **beside}, status_code=error.status, headers=headers)


class SlackServer:
    """A Slack workspace on loopback, in a thread of its own; port 0 takes a free one."""

    def __init__(self, *, port: int = 0, bot_token: str, app_token: str, control_token: str = "") -> None:
        self.workspace = Workspace()
        self.faults = Faults()
        self.sockets = Sockets(self.faults)
        self.rate_limit = RateLimit()
        self._port = port
        self._tokens = (bot_token, app_token, control_token)
        self.edits_told: set[str] = set()
        """Channels whose edited messages the app hears of, as it does with the event `message.groups`."""
        self._telling: set[asyncio.Future[Any]] = set()
        self._ending = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    # -- life

    def start(self) -> Self:
        """Listen, and return when the server answers."""
        listener = socket.create_server(("127.0.0.1", self._port))
        self._port = listener.getsockname()[1]
        self.workspace.url = self.url
        config = uvicorn.Config(
            self._app(),
            http=_Cuttable,
            ws="websockets-sansio",
            ws_ping_interval=10,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="lab-slack", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_TIME
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError(f"the lab's Slack did not start on port {self._port}")
            time.sleep(0.005)
        return self

    def stop(self) -> None:
        """Hang up on everybody and end."""
        if self._server and self._thread and self._thread.is_alive():
            self.run(self._end())
            self._server.should_exit = True
            self._thread.join(START_TIME)

    async def _end(self) -> None:
        self._ending.set()
        self.workspace.changed()
        await self.sockets.cut()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self._port}/"

    @property
    def api_url(self) -> str:
        """The address that slack_sdk takes as `base_url`."""
        return f"{self.url}api/"

    # -- controls, callable from any thread

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the server's own event loop and wait for it."""
        if self._loop is None:
            raise RuntimeError("the lab's Slack is not running")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def _do(self, work: Callable[[], T]) -> T:
        async def doing() -> T:
            return work()

        return self.run(doing())

    def state(self) -> Json:
        """Return messages, threads, ephemerals, open modals, people, and how many sockets of the app are open."""
        return self._do(self._seen)

    def act(self, kind: str, **act: Any) -> Json:
        """Act as a person: click, submit, close, say, slash or shortcut; raises ActError when that can't be done."""
        return self.run(self._act(kind, act))

    def click(self, user: str, *, confirm: bool = True, **act: Any) -> Json:
        """Click as a person the button with this action_id, value or message_ts; `fields` fill in what opens."""
        return self.act("click", user=user, confirm=confirm, **act)

    def fail(self, method: str, **how: Any) -> None:
        """Order that the next calls of a method fail; see CallFault for the ways."""
        self._do(lambda: self.faults.calls.append(CallFault(method=method, **how)))

    def spoil(self, kind: Literal["drop", "duplicate", "delay"], *, times: int = 1, seconds: float = 0) -> None:
        """Order that the next envelopes are lost, doubled or late."""
        self._do(lambda: self.faults.envelopes.append(EnvelopeFault(kind, times, seconds)))

    def go_down(self, seconds: float) -> None:
        """Refuse everything for a while: the API and the websockets, not the page."""
        self.run(self._order({"down": seconds}))

    def clear_faults(self) -> None:
        """Forget all faults, end an outage and a disabled link."""
        self.run(self._order({"clear": True}))

    def disconnect(self, reason: str = "refresh_requested") -> None:
        """Tell the app to reconnect (`refresh_requested`, `warning`) or that its link is off (`link_disabled`)."""
        self.run(self._order({"disconnect": reason}))

    def order(self, **orders: Any) -> None:
        """Set scopes, group, person or rate_limit as POST /_lab/slack/faults does."""
        self.run(self._order(orders))

    async def _order(self, orders: Json) -> None:
        """Carry out what a test or the lab's control asks for."""
        ws = self.workspace
        if orders.get("clear"):
            self.faults.clear()
            self.sockets.link_enabled = True
        if "method" in orders:
            self.faults.calls.append(CallFault(**{k: v for k, v in orders.items() if k in CallFault.__annotations__}))
        if "envelope" in orders:
            seconds, times = float(orders.get("seconds", 0)), int(orders.get("times", 1))
            self.faults.envelopes.append(EnvelopeFault(orders["envelope"], times, seconds))
        self.faults.latency = float(orders.get("latency", self.faults.latency))
        if "rate_limit" in orders:
            self.rate_limit.on = bool(orders["rate_limit"])
        if "scopes" in orders:
            ws.scopes = set(orders["scopes"])
        if "group" in orders:
            group, users = orders["group"], tuple(orders.get("users", ()))
            ws.groups[group] = (*ws.groups.get(group, (group.lower(), group))[:2], users)
        if "person" in orders:
            ws.people[orders["person"]] |= orders.get("is", {})
        if "disconnect" in orders:
            await self.sockets.disconnect(str(orders["disconnect"]))
        if "down" in orders:
            self.faults.down_until = time.monotonic() + float(orders["down"])
            await self.sockets.cut()
        ws.changed()

    def send_to(self, request_url: str, signing_secret: str) -> SignedDelivery:
        """Deliver by signed HTTP from now on, as for an app with a Request URL and no Socket Mode."""
        requests = SignedDelivery(request_url, signing_secret)
        self._do(lambda: setattr(self.sockets, "requests", requests))
        return requests

    async def _act(self, kind: str, act: Json) -> Json:
        if kind not in ACTS:
            raise ActError(f"nobody can {kind!r}; there are {', '.join(ACTS)}")
        return await ACTS[kind](self.workspace, self.sockets, act)

    # -- HTTP

    def _app(self) -> Starlette:
        @asynccontextmanager
        async def life(_app: Starlette) -> AsyncIterator[None]:
            self._loop = asyncio.get_running_loop()
            yield

        return Starlette(
            routes=[
                Route("/", self._page),
                Route("/archives/{channel}/{message}", self._page),
                Route("/page/events", self._events),
                Route("/page/{file}", self._page_file),
                Route("/page/act/{kind}", self._page_act, methods=["POST"]),
                Route("/api/{method}", self._call, methods=["GET", "POST"]),
                Route("/upload/{file}", self._upload, methods=["POST"]),
                Route("/files/{file}/{name}", self._file),
                Route("/actions/{team}/{ticket}", self._respond, methods=["POST"]),
                WebSocketRoute("/link", self._link),
                Route("/_lab/slack/state", self._control_state),
                Route("/_lab/slack/faults", self._control_faults, methods=["POST"]),
                Route("/_lab/slack/{kind}", self._control_act, methods=["POST"]),
            ],
            # A page elsewhere that points a name of its own at loopback must not reach the workspace.
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
            lifespan=life,
        )

    async def _call(self, request: Request) -> Response:
        """Answer a Web API call, or fail it as a test ordered."""
        method = request.path_params["method"]
        if self.faults.down:
            return await _cut(request)
        await asyncio.sleep(self.faults.latency)
        fault = self.faults.for_call(method)
        if fault is None or fault.after:
            response = await self._answered(request, method)
        if fault is None:
            return response
        if fault.hang:
            await self._hang(fault.hang)
        if fault.drop or fault.hang:
            return await _cut(request)
        if fault.error:
            return JSONResponse({"ok": False, "error": fault.error})
        if fault.status == 429:  # noqa: PLR2004 - HTTP's own number
            return _refusal(ApiError("ratelimited", status=429, retry_after=fault.retry_after))
        return PlainTextResponse("upstream connect error", status_code=fault.status or 500)

    async def _hang(self, seconds: float) -> None:
        """Say nothing for a while, or until the server ends."""
        try:
            await asyncio.wait_for(self._ending.wait(), seconds)
        except TimeoutError:
            return

    async def _answered(self, request: Request, method: str) -> Response:
        try:
            args = await _arguments(request)
            bearer = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
            token = bearer or str(args.pop("token", ""))
            response = self._authorised(token, method, args)
        except ApiError as error:
            response = _refusal(error)
        response.headers["x-oauth-scopes"] = ",".join(sorted(self.workspace.scopes))
        return response

    def _authorised(self, token: str, method: str, args: Json) -> Response:
        bot_token, app_token, _ = self._tokens
        if not token:
            raise ApiError("not_authed")
        if token not in {bot_token, app_token}:
            raise ApiError("invalid_auth")
        if (method == "apps.connections.open") != (token == app_token):
            raise ApiError("not_allowed_token_type")
        if method == "apps.connections.open":
            if not self.sockets.link_enabled:
                raise ApiError("link_disabled")
            address = f"ws{self.url.removeprefix('http')}link?ticket={self.sockets.ticket()}&app_id={APP}"
            return JSONResponse({"ok": True, "url": address})
        told = answer(self.workspace, self.rate_limit, method, args)
        if method == "chat.update" and told.get("channel") in self.edits_told:
            event = {"type": "message", "subtype": "message_changed", "channel": told["channel"]}
            message = {"ts": told["ts"], "text": str(args.get("text", ""))}
            payload = {"type": "event_callback", "event": {**event, "message": message}}
            task = asyncio.ensure_future(self.sockets.deliver("events_api", payload))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)
        return JSONResponse({"ok": True, **told})

    async def _link(self, websocket: WebSocket) -> None:
        await self.sockets.serve(websocket)

    async def _upload(self, request: Request) -> Response:
        """Take a file's bytes, sent raw as slack_sdk does."""
        kept = self.workspace.files.get(request.path_params["file"])
        if kept is None or self.faults.down:
            return PlainTextResponse("no such upload", status_code=404)
        body = await request.body()
        if len(body) != kept["size"]:
            return PlainTextResponse(f"the file has {len(body)} bytes, {kept['size']} were announced", status_code=400)
        kept["bytes"] = body
        return PlainTextResponse(f"OK - {len(body)}")

    async def _file(self, request: Request) -> Response:
        """Give a file back, as plain text or bytes that no browser runs."""
        kept = self.workspace.files.get(request.path_params["file"])
        if kept is None or kept["bytes"] is None:
            return PlainTextResponse("no such file", status_code=404)
        headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}
        return Response(kept["bytes"], media_type="text/plain; charset=utf-8", headers=headers)

    async def _respond(self, request: Request) -> Response:
        """Take what the app sends to a response_url: a note to the person, or a change of the message."""
        found = self.workspace.response_urls.get(request.path_params["ticket"])
        if found is None:
            return PlainTextResponse("expired_url", status_code=404)
        channel, user, message_ts = found
        call = Call(await _arguments(request))
        try:
            if call.flag("delete_original"):
                self.workspace.ephemerals = [note for note in self.workspace.ephemerals if note["ts"] != message_ts]
                self.workspace.changed()
            elif call.flag("replace_original") and message_ts in self.workspace.messages[channel]:
                answer(self.workspace, RateLimit(), "chat.update", {**call.args, "channel": channel, "ts": message_ts})
            elif call.word("response_type") == "in_channel":
                answer(self.workspace, RateLimit(), "chat.postMessage", {**call.args, "channel": channel})
            else:
                content: Json = {name: part for name, part in call.args.items() if name in {"text", "blocks"}}
                ephemeral(self.workspace, channel, user, {"text": ""} | content)
        except ApiError as error:
            return PlainTextResponse(error.error, status_code=400)
        return PlainTextResponse("ok")

    # -- the page

    async def _page(self, _request: Request) -> Response:
        return self._packaged("slack.html", "text/html")

    async def _page_file(self, request: Request) -> Response:
        name = request.path_params["file"]
        kind = PAGE_FILES.get(name)
        return self._packaged(name, kind) if kind else PlainTextResponse("no such file", status_code=404)

    @staticmethod
    def _packaged(name: str, kind: str) -> Response:
        body = resources.files("passgate.lab.slack").joinpath("page", name).read_bytes()
        policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:"
        return Response(body, media_type=kind, headers={"Content-Security-Policy": policy, "Cache-Control": "no-cache"})

    async def _events(self, _request: Request) -> Response:
        """Stream the workspace to a page, whole, each time it changes."""
        return StreamingResponse(self._news(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def _news(self) -> AsyncIterator[str]:
        seen = -1
        while not self._ending.is_set():
            if self.workspace.version != seen:
                seen = self.workspace.version
                yield f"data: {json.dumps(self._seen())}\n\n"
                continue
            try:
                await asyncio.wait_for(self.workspace.news(), HEARTBEAT)
            except TimeoutError:
                yield ": still here\n\n"

    def _seen(self) -> Json:
        return self.workspace.snapshot() | {"connected": len(self.sockets.open), "down": self.faults.down}

    async def _page_act(self, request: Request) -> Response:
        # Only the page's own script can send JSON here without asking first, and nobody is ever allowed when they ask.
        if request.headers.get("content-type") != "application/json":
            return JSONResponse({"ok": False, "error": "send JSON"}, status_code=415)
        return await self._acted(request)

    async def _acted(self, request: Request) -> Response:
        try:
            act = json.loads(await request.body())
            return JSONResponse(await self._act(request.path_params["kind"], act))
        except (ActError, ValueError, ClientDisconnect) as error:
            return JSONResponse({"ok": False, "error": str(error)}, status_code=409)

    # -- the controls over HTTP, for those who hold the token

    def _allowed(self, request: Request) -> bool:
        token = self._tokens[2]
        return bool(token) and request.headers.get("authorization") == f"Bearer {token}"

    async def _control_state(self, request: Request) -> Response:
        return JSONResponse(self._seen()) if self._allowed(request) else _forbidden()

    async def _control_faults(self, request: Request) -> Response:
        if not self._allowed(request):
            return _forbidden()
        try:
            await self._order(json.loads(await request.body()))
        except (ValueError, TypeError, KeyError) as error:
            return JSONResponse({"ok": False, "error": f"that order can't be read: {error}"}, status_code=400)
        return JSONResponse({"ok": True})

    async def _control_act(self, request: Request) -> Response:
        return await self._acted(request) if self._allowed(request) else _forbidden()


def _forbidden() -> Response:
    return JSONResponse({"ok": False, "error": "send the lab's control token as a bearer"}, status_code=403)
