"""Serve the HTTP API of a real desk on a real lab over a real socket, for tests of the faces.

The runs that carry changes out are Prefect's and are tested elsewhere: here nobody rings, and a test that needs a
change to move on moves it in the store, as a run would.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import httpx
import uvicorn

from passgate.engine.authority import ENGINE
from passgate.engine.desk import Desk
from passgate.engine.runtime import Runtime, open_runtime
from passgate.faces.web.app import make_app
from passgate.model.change import Change, State
from tests import forked
from tests.house import HTTP
from tests.lab_site import Lab

CONTENT = Path(__file__).parents[2]


class NoBell:
    """Wake nobody."""

    async def start(self, change: Change) -> None:
        """Start no run."""

    async def ring(self, change: Change) -> None:
        """Wake no run."""


@dataclass
class Ran:
    """Hold what a command left behind."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Return standard output as the one JSON document that it must be."""
        return json.loads(self.out)

    @property
    def documents(self) -> list[Any]:
        """Return standard output as one JSON document per line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Served:
    """A service that listens, its home, and people who speak to it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.home = lab.home
        self.runtime: Runtime = open_runtime(lab.home, CONTENT, lab.config)
        self.store = self.runtime.store
        self.tokens = {
            person.id: self.store.issue_token(person.id, datetime.now(UTC))
            for person in self.runtime.config.people.people
        }
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._server: uvicorn.Server | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(20)
        self._listener.listen()  # from here on requests wait until the server takes them
        (self.home / "service.url").write_text(self.url, encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join(20)
        self.runtime.estate.close()
        self.store.close()

    async def _serve(self) -> None:
        app = make_app(Desk(self.runtime, NoBell()), self.runtime.config.people)
        config = uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._ready.set()
        await self._server.serve(sockets=[self._listener])

    def ask(self, method: str, path: str, *, person: str | None = "alice", **how: Any) -> httpx.Response:
        """Send a request as that person."""
        headers = {"Authorization": f"Bearer {self.tokens[person]}"} if person else {}
        headers |= how.pop("headers", {})
        return HTTP.request(method, self.url + path, headers=headers, **how)

    def environment(self, person: str | None = "alice", **more: str) -> dict[str, str]:
        """Return the environment of a command that is run as that person."""
        token = {"PASSGATE_TOKEN": self.tokens[person]} if person else {}
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("PASSGATE_")},
            "PASSGATE_HOME": str(self.home),
            "PASSGATE_CONFIG": str(self.lab.config),
            "PASSGATE_CONTENT": str(CONTENT),
            **token,
            **more,
        }

    def run(self, *words: str, person: str | None = "alice", **more: str) -> Ran:
        """Run `passgate` with these words as that person, in a process of its own."""
        done = forked.run(words, self.environment(person, **more), CONTENT)
        return Ran(done.returncode, done.stdout, done.stderr)

    def filed(self, person: str = "alice", vm: str = "win-01", **ask: Any) -> Change:
        """File a change that waits for its approval."""
        asked = {"vm": vm, "device": "18a5:0302", **ask}
        answer = self.ask("POST", "/v1/changes", person=person, json={"runbook": "usb-attach", "ask": asked})
        assert answer.status_code == 201, answer.text
        return Change.model_validate(answer.json())

    def carry(self, change: str, *states: State) -> None:
        """Move a change along, as its run would."""
        for state in states:
            said = f"the test says {state}"
            self.store.move(change, state, ENGINE, said, datetime.now(UTC), outcome=said if state.is_end else None)
