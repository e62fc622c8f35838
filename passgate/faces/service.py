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
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TextIO

import uvicorn

from passgate.connect.slack import SlackConnector
from passgate.connect.slack.signed import KEEP, SignedRequests
from passgate.engine import lifecycle
from passgate.engine.desk import Desk
from passgate.engine.doorbell import Doorbell
from passgate.engine.hearing import hear, until_held, until_lost
from passgate.engine.keeping import Keeping, keep_running
from passgate.engine.runtime import Runtime, open_runtime, use
from passgate.errors import ConflictError, PassgateError
from passgate.faces.chat.service import Chat
from passgate.faces.metrics import Metrics
from passgate.faces.notices import channels
from passgate.faces.web.app import make_app
from passgate.model.change import State
from passgate.settings import place
from passgate.settings.load import resolve
from passgate.settings.loaded import Loaded
from passgate.store.news import Foreign

log = logging.getLogger("passgate")


class Role:
    """Hold what this process is now: a door, and the one that works while it has an engine."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.engine: Keeping | None = None
        self.chat: Chat | None = None

    def hear(self, news: Foreign) -> None:
        """Take up what other replicas recorded, if it is this one that works."""
        if self.engine is not None:
            self.engine.hear(news)
        if news.inbox and self.chat is not None:
            self.chat.look()

    def status(self) -> dict[str, object]:
        """Return how the service stands."""
        return {
            "role": "works" if self.engine else "stands by",
            **(self.engine.status() if self.engine else {}),
            "changes_open": {
                state: count for state, count in self.runtime.store.counts().items() if not State(state).is_end
            },
            "chat": self.chat.status() if self.chat else None,
        }


async def serve(runtime: Runtime, name: str = "service") -> None:
    """Run everything until SIGTERM; the address is written into the home once all of it answers.

    A replica that stands by answers before it works: it works once no other does, and stands by again when another took
    its place. Without `standby` the right to work is held already, and ConflictError says that it was lost.
    """
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, ended.set)
    stands_by = runtime.config.service.standby
    async with AsyncExitStack() as stack:
        role, doorbell = Role(runtime), Doorbell()
        desk = Desk(runtime, doorbell)
        role.chat = await stack.enter_async_context(chatting(runtime, desk))
        url = await stack.enter_async_context(answering(runtime, desk, role))
        address = runtime.home / f"{name}.url"
        if stands_by:
            await stack.enter_async_context(_beside(hear(runtime, role.hear)))
            await stack.enter_async_context(_beside(*([role.chat.listen()] if role.chat else ())))
            address.write_text(url, encoding="utf-8")
            log.info("passgate answers at %s", url)
        while await _first(ended, until_held(runtime)):
            async with keep_running(runtime, desk, doorbell) as role.engine, _beside(*_work(role)):
                if not address.exists() or not stands_by:
                    address.write_text(url, encoding="utf-8")
                log.info("passgate works, and answers at %s", url)
                lost = await _first(ended, until_lost(runtime))
            role.engine = None
            if lost and not stands_by:
                raise ConflictError(
                    "The right to work on this database was lost, and another service took it. This one ended.",
                    hint="Use the other one, or set standby: true in config/service.yaml of both.",
                )


def _work(role: Role) -> Iterator[Coroutine[None, None, None]]:
    """Yield what the replica that works does beside its engine: tell people, and work off what they did in Slack."""
    config = role.runtime.config
    if role.chat is not None:
        yield role.chat.work() if config.service.standby else role.chat.run()
    for send in channels(config.chat.notices, role.runtime.store, role.runtime.home, role.runtime.clock):
        yield send()


async def _first(ended: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Return True once the work is done, False when the service is to end before."""
    working, ending = asyncio.ensure_future(work), asyncio.ensure_future(ended.wait())
    try:
        await asyncio.wait((working, ending), return_when=asyncio.FIRST_COMPLETED)
        if ended.is_set():
            return False
        await working
        return True
    finally:
        for one in (working, ending):
            one.cancel()
        await asyncio.gather(working, ending, return_exceptions=True)


@asynccontextmanager
async def _beside(*works: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run all of that meanwhile."""
    running = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@asynccontextmanager
async def chatting(runtime: Runtime, desk: Desk) -> AsyncIterator[Chat | None]:
    """Make the chat, if config names one. Slack that is down never keeps the service from starting."""
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
        yield Chat(
            connector,
            store,
            desk,
            people,
            slack.channel,
            secret=bot_token,
            origin=origin,
            burst=slack.burst,
            signed=signed,
            # Of several sockets Slack may send the heartbeat to another one, and this one would seem to be deaf.
            heartbeat_channel=None if runtime.config.service.standby else slack.heartbeat_channel,
            clock=runtime.clock,
        )


@asynccontextmanager
async def answering(runtime: Runtime, desk: Desk, role: Role) -> AsyncIterator[str]:
    """Answer HTTP; yields the address."""
    service = runtime.config.service
    app = make_app(desk, runtime.config.people)
    app.state.status = role.status
    app.state.loaded = Loaded.now(place.config_dir(), runtime.home, runtime.config)
    chat = role.chat
    metrics = Metrics(runtime.store, chat.status if chat else None)
    app.router.routes.extend((metrics.route, *(chat.routes if chat else ())))
    if chat:
        chat.measure(metrics.acks.observe, metrics.shown.observe)
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


def hold_home(home: Path, name: str = "service") -> TextIO:
    """Hold the name in the home, so that no second service has it. Raises ConflictError when one does."""
    held = (home / f"{name}.lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConflictError(
            f"Another service works on {home} already, as {name}.",
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
        name = lifecycle.service_name(place.replica())
        held = hold_home(home, name)
        runtime = open_runtime(home, place.content(), place.config_dir())
        with suppress(ConflictError) if runtime.config.service.standby else nullcontext():
            runtime.store.hold()
        use(runtime)
        asyncio.run(serve(runtime, name))
        held.close()
    except PassgateError as error:
        sys.stderr.write(f"Error: {error.message}\n{error.hint}\n")
        sys.stderr.flush()
        os._exit(error.exit_code)
    # Threads that wait for a slow vCenter must not keep the process: the journal knows where they were.
    os._exit(0)


if __name__ == "__main__":
    main()
