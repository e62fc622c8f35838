"""Run the engine in the test's own process, on a lab over its real wires, for all that Prefect has no part in.

A `Workshop` is used as a `House` is: the same API, desk, gates, steps, ledger and evidence, and the same lab. Only what
carries a run out is another one: a task of this process, which ends where a Prefect run suspends, and is made anew when
it is rung. What Prefect, the service's process or the chat have a part in needs a `House`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from passgate.engine.authority import Clock
from passgate.engine.carrying import Attempt, Carrying
from passgate.engine.clockwork import Clockwork
from passgate.engine.course import delays, go_on, is_safe_to_repeat
from passgate.engine.desk import Desk
from passgate.engine.runtime import Runtime, open_runtime, utc_now
from passgate.faces.cli.client import URL_FILE
from passgate.faces.web.app import make_app
from passgate.model.change import Change
from passgate.model.plan import PlannedStep
from tests.engine_room import with_test_content
from tests.house import PATIENCE, PEOPLE, ROOT, House, for_tests, now, until
from tests.lab_site import Lab

T = TypeVar("T")
log = logging.getLogger(__name__)


class Asleep(BaseException):
    """End a run's part until it is rung; like Prefect's own signal it passes `except Exception`."""


class HandRun:
    """Carry a course out in this process."""

    async def sleep(self, change: Change, key: str) -> None:  # noqa: ARG002 - a Prefect run needs them
        """End here."""
        raise Asleep

    async def step(self, carrying: Carrying, planned: PlannedStep) -> None:
        """Do a step, and try again what may be repeated."""
        pauses: list[float | None] = [*delays(carrying.runtime, planned), None]
        for number, pause in enumerate(pauses, 1):
            try:
                await carrying.step(planned, Attempt(number, pause))
            except Exception as error:
                if pause is None or not is_safe_to_repeat(error):
                    raise
                await asyncio.sleep(pause)
            else:
                return

    async def take_back(self, carrying: Carrying, *, whole: bool) -> None:
        """Take back what was done, or only what is temporary."""
        await carrying.take_back(only_temporary=not whole)


class HandBell:
    """Keep one task for each change that is under way."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._in_hand: dict[str, asyncio.Task[None]] = {}
        self._rung: set[str] = set()

    def has(self, change: Change) -> bool:
        """Say whether a task carries the change out now."""
        return change.id in self._in_hand

    @property
    def is_still(self) -> bool:
        """Say whether no change is under way."""
        return not self._in_hand

    async def start(self, change: Change) -> None:
        """Make the change's run."""
        await self.ring(change)

    async def ring(self, change: Change) -> None:
        """Wake the change's run; one that is about to fall asleep goes on."""
        self._rung.add(change.id)
        if change.id not in self._in_hand:
            self._in_hand[change.id] = asyncio.create_task(self._run(change.id))

    async def close(self) -> None:
        """Let go of what is under way."""
        for task in self._in_hand.values():
            task.cancel()
        await asyncio.gather(*self._in_hand.values(), return_exceptions=True)

    async def _run(self, change_id: str) -> None:
        try:
            while change_id in self._rung:
                self._rung.discard(change_id)
                with contextlib.suppress(Asleep):
                    await go_on(self._runtime, self._runtime.store.change(change_id), HandRun())
        except Exception:
            log.exception("the run of %s broke off", change_id)
        finally:
            self._in_hand.pop(change_id, None)


@dataclass
class Workshop(House):
    """Hold an engine without Prefect with its lab, and speak to it as people do."""

    runtime: Runtime = field(kw_only=True)
    loop: asyncio.AbstractEventLoop = field(kw_only=True)
    bell: HandBell = field(kw_only=True)
    http: httpx.AsyncClient = field(kw_only=True)
    desk: Desk = field(kw_only=True)

    @property
    def url(self) -> str:
        """Return where it answers, if it does (tests/open_doors.py)."""
        return (self.home / URL_FILE).read_text(encoding="utf-8")

    def up(self) -> None:
        """Do nothing: it runs as long as this process."""

    def call(self, person: str, method: str, path: str, **body: Any) -> httpx.Response:
        """Call the API as that person."""
        headers = {"Authorization": f"Bearer {self.tokens[person]}"}
        return self.run(self.http.request(method, path, headers=headers, json=body or None))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await in the engine's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    def run_state(self, change: Change) -> str:
        """Say it in Prefect's word where no task has the change."""
        return "" if self.bell.has(change) else "Suspended"

    def suspended(self, change: Change) -> str:
        """Wait until no task has the change."""
        until(lambda: not self.bell.has(change), f"the run of {change.id} sleeps")
        return ""


@contextlib.contextmanager
def open_workshop(
    home: Path, edit: Callable[[Path], object] = lambda _: None, clock: Clock = utc_now
) -> Iterator[Workshop]:
    """Run a lab and an engine in that home; `edit` may change its config first.

    With a clock that a test sets, nothing happens by itself: the test lets the clockwork look when the time is set.
    """
    with Lab.start(home) as lab, _loop() as loop:
        for_tests(lab.config)
        edit(lab.config)
        runtime = with_test_content(open_runtime(home, ROOT, lab.config, clock))
        tokens = {person: runtime.store.issue_token(person, now()) for person in PEOPLE}
        bell = HandBell(runtime)

        async def open_desk() -> tuple[Desk, httpx.AsyncClient]:
            desk = Desk(runtime, bell)
            app = make_app(desk, runtime.config.people)
            return desk, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://passgate")

        async def keep() -> None:
            if clock is utc_now:
                await Clockwork(runtime, bell).run()

        async def close() -> None:
            keeping.cancel()
            await bell.close()
            await http.aclose()

        desk, http = asyncio.run_coroutine_threadsafe(open_desk(), loop).result(PATIENCE)
        keeping = asyncio.run_coroutine_threadsafe(keep(), loop)
        try:
            yield Workshop(
                lab, runtime.store, ROOT, tokens, runtime=runtime, loop=loop, bell=bell, http=http, desk=desk
            )
        finally:
            asyncio.run_coroutine_threadsafe(close(), loop).result(PATIENCE)
            runtime.estate.close()
            runtime.store.close()


@contextlib.contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="workshop", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()
