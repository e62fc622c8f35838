"""Run further services beside the one of a house: doors, one of which works when the one that works is killed."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from passgate.engine import lifecycle
from passgate.model.change import Change
from tests.house import HTTP, QUICK_SERVICE, House, until

FIRST = ""


@dataclass
class Replicas:
    """The services of a house, by the names of the replicas; the first one has none."""

    house: House
    names: tuple[str, ...]

    def up(self, name: str) -> None:
        """Start that one, if it does not run."""
        lifecycle.start(self.house.home, self.house.content, self.house.lab.config, name)

    def kill(self, name: str) -> None:
        """Kill its process with no warning."""
        pid = self._of(name).pid
        assert pid is not None
        os.killpg(pid, signal.SIGKILL)
        until(lambda: self._of(name).pid is None, f"the replica {name!r} is dead")

    def call(self, name: str, person: str, method: str, path: str, **body: Any) -> httpx.Response:
        """Call the API of that replica as that person."""
        headers = {"Authorization": f"Bearer {self.house.tokens[person]}"}
        return HTTP.request(method, self._of(name).url + path, headers=headers, json=body or None)

    def approve(self, name: str, person: str, change: Change) -> None:
        """Approve as that person at that replica."""
        answer = self.call(name, person, "POST", f"/v1/changes/{change.id}/decisions", verdict="approve")
        assert answer.status_code == httpx.codes.OK, answer.text

    def status(self, name: str) -> dict[str, Any]:
        """Return what that replica says of itself."""
        found: dict[str, Any] = self.call(name, "alice", "GET", "/v1/status").json()
        return found

    def working(self) -> list[str]:
        """Return the replicas that say that they work."""
        alive = [name for name in self.names if self._of(name).url and self._of(name).pid]
        return [name for name in alive if self._works(name)]

    def one_works(self) -> str:
        """Wait until one of the replicas works, and return its name."""
        until(lambda: len(self.working()) == 1, "one of the replicas works", within=120)
        return self.working()[0]

    def _works(self, name: str) -> bool:
        try:
            return bool(self.status(name)["role"] == "works")
        except httpx.HTTPError:  # it was killed meanwhile
            return False

    def listen(self, names: tuple[str, ...] | None = None) -> None:
        """Wait until each of them has its socket to Slack."""
        for name in self.names if names is None else names:
            until(lambda one=name: self.status(one)["chat"]["connected_since"] is not None, f"{name!r} listens")

    def _of(self, name: str) -> lifecycle.Process:
        service = lifecycle.service_name(name)
        return lifecycle.status(self.house.home).get(service) or lifecycle.Process(service, running=False)


@contextlib.contextmanager
def replicas(house: House, *names: str) -> Iterator[Replicas]:
    """Let the house's service stand by, with further ones beside it; afterwards it is alone again."""
    config = house.lab.config / "service.yaml"
    found = Replicas(house, (FIRST, *names))
    house.kill_service()
    config.write_text(f"{QUICK_SERVICE}standby: true\n", encoding="utf-8")
    try:
        for name in found.names:
            found.up(name)
        found.one_works()
        yield found
    finally:
        lifecycle.stop_services(house.home)
        config.write_text(QUICK_SERVICE, encoding="utf-8")
        house.up()
