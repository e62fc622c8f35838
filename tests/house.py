"""Run Passgate whole for tests: a lab, a Prefect server and the service, each a process of its own.

One house serves all tests of a process of the run: Prefect's server takes seconds to start. Tests that use it ask the
`house` fixture for a fresh lab world, and file changes of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from passgate.engine import lifecycle
from passgate.engine.runtime import open_store
from passgate.model.change import Change, State
from passgate.settings.load import load_config
from passgate.store.store import Store
from tests import forked
from tests.lab_site import Lab

ROOT = Path(__file__).parents[1]
PEOPLE = ("alice", "bob", "carol", "dave")
QUICK_SERVICE = "retry_delays: [0.2, 0.4, 0.8]\nretry_jitter: 0.1\n"
EAGER_CHAT = "  burst: 100000                             # the lab's Slack takes them, and tests needn't wait\n"
TEST_RULES = """
rules:
  - name: soon-over
    vms: ["soon-over-*"]
    approval: {needed: 1, groups: [operations]}
    approve_within: 2s
  - name: short-gate
    vms: ["short-gate-*"]
    approval: {needed: 1, groups: [operations]}
    gates: {host-reboot: {approval: {needed: 1, groups: [operations]}, approve_within: 2s, others: true}}
  - name: kept-as-it-is
    vms: ["kept-*"]
    pre_authorised: true
    undo_on_failure: false
  - name: standard-for-tests
    vms: ["std-*"]
    pre_authorised: true
  - name: two-of-them
    vms: ["pair-*"]
    approval: {needed: 2, groups: [operations]}
"""
PATIENCE = 60.0
ASKING = 0.2
"""Seconds between two questions to Prefect's server: each costs it about what it does for a run meanwhile."""
HTTP = httpx.Client(verify=False, timeout=60, limits=httpx.Limits(max_keepalive_connections=0))
"""Speaks to addresses of this machine. One for all: to load the certificates that none of them needs takes 20 ms each
time. It keeps no connection, because what it speaks to is killed in between."""


@dataclass
class House:
    """Hold a running Passgate with its lab, and speak to it as people, operators and attackers do."""

    lab: Lab
    store: Store
    content: Path = ROOT
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """Return Passgate's home."""
        return self.lab.home

    @property
    def url(self) -> str:
        """Return where the service answers."""
        return lifecycle.status(self.home)["service"].url

    def up(self) -> None:
        """Start what does not run."""
        lifecycle.start(self.home, self.content, self.lab.config)

    def kill_service(self) -> None:
        """Kill the service's process with no warning, as a power cut would."""
        pid = lifecycle.status(self.home)["service"].pid
        assert pid is not None
        os.killpg(pid, signal.SIGKILL)
        until(lambda: lifecycle.status(self.home)["service"].pid is None, "the service is dead")

    def kill_prefect(self) -> None:
        """Kill Prefect's server with no warning."""
        pid = lifecycle.status(self.home)["prefect"].pid
        assert pid is not None
        os.killpg(pid, signal.SIGKILL)
        until(lambda: lifecycle.status(self.home)["prefect"].pid is None, "Prefect's server is dead")

    def call(self, person: str, method: str, path: str, **body: Any) -> httpx.Response:
        """Call the service's API as that person."""
        headers = {"Authorization": f"Bearer {self.tokens[person]}"}
        return HTTP.request(method, self.url + path, headers=headers, json=body or None)

    def request(self, person: str = "alice", runbook: str = "usb-attach", **ask: Any) -> Change:
        """File a change as that person; the answer must be that it is filed. A field that is None is left out."""
        asked = {"vm": "win-01", "device": "18a5:0302", "reason": "a test", **ask}
        asked = {name: value for name, value in asked.items() if value is not None}
        answer = self.call(person, "POST", "/v1/changes", runbook=runbook, ask=asked)
        assert answer.status_code < 300, answer.text
        return self.store.change(_id_in(answer.json()))

    def decide(
        self, person: str, change: Change, verdict: str = "approve", reason: str = "", gate: str = "plan"
    ) -> httpx.Response:
        """Decide as that person through the API."""
        body = {"verdict": verdict, "reason": reason, "gate": gate}
        return self.call(person, "POST", f"/v1/changes/{change.id}/decisions", **body)

    def at_gate(self, change: Change, gate: str = "host-reboot") -> Change:
        """Wait until the change waits at that second gate, with its run asleep."""

        def waits() -> bool:
            now = self.store.change(change.id)
            at = now.open_gate
            return at is not None and at.name == gate and self.run_state(now) == "Suspended"

        until(waits, f"{change.id} waits at the gate {gate}", told=self.told(change), every=ASKING)
        return self.store.change(change.id)

    def ends(self, change: Change, within: float = PATIENCE) -> Change:
        """Wait until the change has ended."""
        until(lambda: self.state(change).is_end, f"{change.id} ends", within, self.told(change))
        return self.store.change(change.id)

    def becomes(self, change: Change, state: State, within: float = PATIENCE) -> Change:
        """Wait until the change is in that state."""
        until(lambda: self.state(change) is state, f"{change.id} is {state}", within, self.told(change))
        return self.store.change(change.id)

    def state(self, change: Change) -> State:
        """Return the change's state, and nothing else of it: to read all of it costs who waits a hundred times more."""
        with contextlib.closing(sqlite3.connect(self.home / "passgate.db", timeout=10)) as database:
            return State(database.execute("select state from changes where id = ?", (change.id,)).fetchone()[0])

    def told(self, change: Change) -> Callable[[], str]:
        """Return what to say of a change that does not do what is waited for."""

        def say() -> str:
            log = (self.home / "service.log").read_text(encoding="utf-8", errors="replace")[-3000:]
            events = [(event.type, event.data) for event in self.store.events(change=change.id)]
            run = f"Its run is {self.run_state(change) or 'not made'}."
            return f"{run}\n{log}\n{json.dumps(events, default=str)[-3000:]}"

        return say

    def suspended(self, change: Change) -> str:
        """Wait until the change's run is suspended at the gate; return the run's id."""
        until(lambda: self.run_state(change) == "Suspended", f"the run of {change.id} is suspended", every=ASKING)
        run = self.store.change(change.id).flow_run
        assert run is not None
        return run

    def run_state(self, change: Change) -> str:
        """Return the name of the state of the change's run on the Prefect server."""
        run = self.store.change(change.id).flow_run
        if run is None:
            return ""
        state = self.prefect("GET", f"/flow_runs/{run}").json().get("state") or {}
        return str(state.get("name", ""))

    def prefect(self, method: str, path: str, listed: list[Any] | None = None, **body: Any) -> httpx.Response:
        """Call Prefect's own API, as anybody can who reaches it; its SQLite may be busy for a while (503).

        What it is sent is `listed`, where that is given, else the other arguments as an object.
        """
        url = lifecycle.status(self.home)["prefect"].url
        sent = listed or body or ({} if method == "POST" else None)
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = HTTP.request(method, url + path, json=sent)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                return answer
            time.sleep(0.1)

    def passgate(self, *words: str, person: str = "alice", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command line as that person, in a process of its own."""
        return forked.run(words, {**os.environ, **self.environment(person), **environment}, within=PATIENCE)

    def environment(self, person: str = "alice") -> dict[str, str]:
        """Return the environment in which that person calls `passgate`."""
        return {
            "PASSGATE_HOME": str(self.home),
            "PASSGATE_CONTENT": str(self.content),
            "PASSGATE_CONFIG": str(self.lab.config),
            "PASSGATE_TOKEN": self.tokens[person],
        }

    def touched(self) -> list[dict[str, Any]]:
        """Return the mutating calls that the lab took, guest operations left out: they only look."""
        return [one for one in self.lab.control.mutations() if "InGuest" not in one["method"]]

    def restart_world(self) -> None:
        """Put the lab back as it was, and end what a former test left open."""
        for change in self.store.changes(tuple(state for state in State if not state.is_end)):
            if change.state is State.APPLYING:
                if change.open_gate:
                    self.call(change.requester.person, "POST", f"/v1/changes/{change.id}/withdraw", reason="over")
                self.ends(change)
            elif change.requester.person in self.tokens:
                self.call(change.requester.person, "POST", f"/v1/changes/{change.id}/withdraw", reason="end of a test")
            else:
                self.decide("carol", change, "deny", "end of a test")
        self.lab.control.clear_faults()
        self.lab.control.reset()

    def sql(self, statement: str, *values: object) -> None:
        """Write into Passgate's database behind its back, as somebody with the file could."""
        with contextlib.closing(sqlite3.connect(self.home / "passgate.db", timeout=10)) as database, database:
            database.execute(statement, values)


@contextlib.contextmanager
def running_house(home: Path) -> Iterator[House]:
    """Run a lab and Passgate in that home."""
    with Lab.start(home) as lab:
        for_tests(lab.config)
        store = open_store(home, load_config(lab.config))
        house = House(lab, store, content_with_tests(home / "content"))
        assert house.store.changes() == ()  # opens the database before the service does
        for person in PEOPLE:
            house.tokens[person] = store.issue_token(person, now())
        try:
            house.up()
            yield house
        finally:
            lifecycle.stop(home)
            store.close()


def for_tests(config: Path) -> None:
    """Let config wait less, and hold the rules that tests ask for by the names of VMs."""
    (config / "service.yaml").write_text(QUICK_SERVICE, encoding="utf-8")
    (config / "policies/05-test.yaml").write_text(TEST_RULES, encoding="utf-8")
    chat = (config / "chat.yaml").read_text(encoding="utf-8").rstrip("\n")
    (config / "chat.yaml").write_text(f"{chat}\n{EAGER_CHAT}", encoding="utf-8")


def content_with_tests(folder: Path) -> Path:
    """Copy the shipped content, and add what tests of the engine alone need: tests/content."""
    for name in ("flows", "tasks"):
        for source in (ROOT / name, ROOT / "tests/content" / name):
            shutil.copytree(source, folder / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def until(
    holds: Callable[[], bool],
    what: str,
    within: float = PATIENCE,
    told: Callable[[], str] = lambda: "",
    every: float = 0.05,
) -> None:
    """Wait until it holds, looking every so many seconds; fail in words when it does not within that many."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"waited {within} s in vain until {what}. {told()}"
        time.sleep(every)


def now() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)


def _id_in(answer: dict[str, Any]) -> str:
    change = answer.get("change", answer)
    return str(change["id"])
