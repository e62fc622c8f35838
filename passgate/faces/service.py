"""Put the service together: the engine's loops, the HTTP API and the chat, in one warm process.

`passgate up` starts it. SIGTERM ends it at once: what was under way goes on from the journal at the next start.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TextIO

import uvicorn

from passgate.connect.slack import SlackConnector
from passgate.connect.slack.signed import KEEP, SignedRequests
from passgate.engine.desk import Desk
from passgate.engine.keeping import Keeping, keep_running
from passgate.engine.runtime import Runtime, open_runtime, use
from passgate.errors import ConflictError, PassgateError
from passgate.faces.chat.service import Chat
from passgate.faces.metrics import Metrics
from passgate.faces.notices import channels
from passgate.faces.web.app import make_app
from passgate.settings import place
from passgate.settings.load import resolve

log = logging.getLogger("passgate")


async def serve(runtime: Runtime) -> None:
    """Run everything until SIGTERM; the address is written into the home once all of it answers."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, ended.set)
    async with AsyncExitStack() as stack:
        keeping = await stack.enter_async_context(keep_running(runtime))
        chat = await stack.enter_async_context(chatting(runtime, keeping.desk))
        for send in channels(runtime.config.chat.notices, runtime.store, runtime.home):
            stack.enter_context(_running(send(), "notices"))
        url = await stack.enter_async_context(answering(runtime, keeping, chat))
        (runtime.home / "service.url").write_text(url, encoding="utf-8")
        log.info("passgate answers at %s", url)
        await ended.wait()


@contextmanager
def _running(work: Coroutine[None, None, None], name: str) -> Iterator[None]:
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()


@asynccontextmanager
async def chatting(runtime: Runtime, desk: Desk) -> AsyncIterator[Chat | None]:
    """Run the chat, if config names one. Slack that is down never keeps the service from starting."""
    slack = runtime.config.chat.slack
    if slack is None:
        yield None
        return
    bot_token = resolve(slack.bot_token, runtime.home)
    connector = SlackConnector(
        bot_token=bot_token,
        app_token=resolve(slack.app_token, runtime.home) if slack.app_token else "",
        api_url=resolve(slack.api_url, runtime.home),
    )
    async with connector:
        people, store = runtime.config.people, runtime.store
        origin = runtime.config.service.origin
        signed = None
        if slack.transport == "http" and slack.signing_secret:
            secret = resolve(slack.signing_secret, runtime.home)
            signed = SignedRequests(secret, runtime.clock, partial(store.once, keep=KEEP))
        chat = Chat(
            connector,
            store,
            desk,
            people,
            slack.channel,
            secret=bot_token,
            origin=origin,
            burst=slack.burst,
            signed=signed,
            heartbeat_channel=slack.heartbeat_channel,
            clock=runtime.clock,
        )
        running = asyncio.create_task(chat.run(), name="chat")
        try:
            yield chat
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def answering(runtime: Runtime, keeping: Keeping, chat: Chat | None) -> AsyncIterator[str]:
    """Answer HTTP; yields the address."""
    service = runtime.config.service

    def status() -> dict[str, object]:
        return {**keeping.status(), "chat": chat.status() if chat else None}

    app = make_app(keeping.desk, runtime.config.people)
    app.state.status = status
    metrics = Metrics(runtime.store, chat.status if chat else None)
    app.router.routes.extend((metrics.route, *(chat.routes if chat else ())))
    if chat:
        chat.on_ack = metrics.acks.observe
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((service.host, service.port))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # the service has its own
    running = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    try:
        yield f"http://{service.host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        server.force_exit = True
        await asyncio.gather(running, return_exceptions=True)


def hold_home(home: Path) -> TextIO:
    """Hold the home, so that no second service works on it. Raises ConflictError when one does."""
    held = (home / "service.lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConflictError(
            f"Another service works on {home} already.",
            hint="Use it, or stop it with `passgate down`.",
            subject=str(home),
        ) from None
    return held


def main() -> None:
    """Run the service in the home, content and config that the environment names."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # A suspended run is the normal way to wait, but Prefect logs it as an error; what really fails is logged by us.
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    home = place.home()
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = hold_home(home)
        runtime = open_runtime(home, place.content(), place.config_dir())
        runtime.store.hold()
        use(runtime)
        asyncio.run(serve(runtime))
        held.close()
    except PassgateError as error:
        sys.stderr.write(f"Error: {error.message}\n{error.hint}\n")
        sys.stderr.flush()
        os._exit(error.exit_code)
    # Threads that wait for a slow vCenter must not keep the process: the journal knows where they were.
    os._exit(0)


if __name__ == "__main__":
    main()
