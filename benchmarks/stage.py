"""Set the stage: a lab whose tasks end at once, Passgate with its service up, and a fresh world for each turn."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
VM = "win-01"
GATED_VM = "lnx-01"
"""Runs, and has no xHCI controller either; policy wants an approval for it."""

LAB = "".join(f"{name}_seconds: 0\n" for name in ("power", "reconfigure", "connect", "boot"))
POLICY = f"""rules:
  - name: bench-standard-change
    runbooks: [usb-controller-add]
    vms: [{VM}]
    pre_authorised: true
"""
Json = dict[str, Any]


class StageError(Exception):
    """Raised when the work was not done, so that no figure is taken for it."""


@dataclass(frozen=True)
class Stage:
    """Hold what runs, and how it is reached."""

    home: Path
    control: httpx.Client
    service: httpx.Client

    def lab(self, name: str) -> str:
        """Return what one of the lab's files says."""
        return (self.home / "lab" / name).read_text(encoding="utf-8").strip()

    def environment(self) -> dict[str, str]:
        """Return the environment of every contender: the same for all, bytecode is kept, TLS is verified."""
        host, _, port = self.lab("vcenter.url").removeprefix("https://").partition(":")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PASSGATE_", "PYTHONDONT"))}
        return {
            **kept,
            "PASSGATE_HOME": str(self.home),
            "PASSGATE_CONTENT": str(ROOT),
            "PASSGATE_CONFIG": str(self.home / "config"),
            "SSL_CERT_FILE": str(self.home / "lab/ca.pem"),
            "VMWARE_HOST": host,
            "VMWARE_PORT": port,
            "VMWARE_USER": self.lab("vcenter.user"),
            "VMWARE_PASSWORD": self.lab("vcenter.password"),
        }

    def put_back(self) -> None:
        """Put the world back as it was at the start."""
        self.control.post("/reset", json={}).raise_for_status()

    def requests(self) -> int:
        """Return how many requests vCenter got so far, counted where they arrive."""
        return sum(self.control.get("/calls").raise_for_status().json()["calls"].values())

    def insist_it_is_done(self, vm: str = VM) -> None:
        """Raise StageError unless the lab itself says that the VM is on and has an xHCI controller."""
        state = next(one for one in self.control.get("/state").json()["vms"] if one["name"] == vm)
        if state["power"] != "poweredOn" or "xhci" not in state["controllers"]:
            raise StageError(f"{vm} is {state['power']} with {state['controllers']}: the work was not done")

    def newest_change(self) -> Json:
        """Return the change that was filed last."""
        found: Json = self._get("/v1/changes", limit=1)["changes"][0]
        return found

    def moments(self, change: str) -> list[tuple[str, Json, float]]:
        """Return what the ledger says of a change: type, data, and the moment as seconds since the epoch."""
        events = self._get(f"/v1/changes/{change}/events")["events"]
        return [(one["type"], one["data"], datetime.fromisoformat(one["at"]).timestamp()) for one in events]

    def file(self, vm: str) -> str:
        """File the change for that VM; return its id."""
        ask = {"vm": vm, "force_off": True, "reason": "benchmark"}
        answer = self.service.post("/v1/changes", json={"runbook": "usb-controller-add", "ask": ask})
        return str(answer.raise_for_status().json()["id"])

    def _get(self, path: str, **query: Any) -> Any:
        return self.service.get(path, params=query).raise_for_status().json()


@contextmanager
def staged(chat: str = "") -> Iterator[Stage]:
    """Run lab and service in a home of their own, forgotten afterwards. `chat` adds to config/chat.yaml."""
    with TemporaryDirectory(prefix="passgate-bench-") as folder:
        home = Path(folder) / "home"
        shutil.copytree(ROOT / "config", home / "config")
        (home / "config/lab.yaml").write_text(LAB, encoding="utf-8")
        (home / "config/policies/05-bench.yaml").write_text(POLICY, encoding="utf-8")
        with (home / "config/chat.yaml").open("a", encoding="utf-8") as file:
            file.write(chat)
        places = {"HOME": home, "CONTENT": ROOT, "CONFIG": home / "config"}
        environment = {**os.environ, **{f"PASSGATE_{name}": str(path) for name, path in places.items()}}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)

        def passgate(*words: str) -> str:
            done = subprocess.run(
                [BIN / "passgate", *words], env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise StageError(f"`passgate {' '.join(words)}` failed: {done.stderr.strip()}")
            return done.stdout

        try:
            passgate("lab", "start")
            passgate("up")
            token = passgate("token", "issue", "alice").split()[0]
            (home / "token").write_text(token, encoding="utf-8")
            control, service = (_text(home / name) for name in ("lab/control.url", "service.url"))
            with (
                _client(control, _text(home / "lab/control.token")) as lab_client,
                _client(service, token) as service_client,
            ):
                yield Stage(home, lab_client, service_client)
        finally:
            for words in (("down",), ("lab", "stop")):
                subprocess.run([BIN / "passgate", *words], env=environment, capture_output=True, check=False)


def _client(url: str, token: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()
