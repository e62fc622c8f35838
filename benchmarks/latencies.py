"""Measure what a person waits for: the command line's start, the first step after a request, the next after a click."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

import httpx

from benchmarks.stage import BIN, GATED_VM, Json, Stage, StageError

T = TypeVar("T")

PATIENCE = 60.0
LOOK_EVERY = 0.2


def help_seconds(stage: Stage, times: int) -> list[float]:
    """Return how long `passgate --help` takes, from the start of its process to its end."""
    environment = stage.environment()
    taken = []
    for _ in range(times + 1):
        clock = time.perf_counter()
        subprocess.run([BIN / "passgate", "--help"], env=environment, capture_output=True, check=True)
        taken.append(time.perf_counter() - clock)
    return taken[1:]  # the first one fills caches


def first_step_seconds(stage: Stage, began: float) -> float:
    """Return how long after its request began the newest change recorded the intent of its first step."""
    return _first_intent(stage, stage.newest_change()["id"]) - began


def click_seconds(stage: Stage) -> float:
    """Return how long after a click on Approve in the lab's Slack the change recorded the intent of its first step."""
    stage.put_back()
    change = stage.file(GATED_VM)
    message = until(lambda: message_of(stage, change), f"{change} is shown in Slack")
    until(lambda: _is_suspended(stage), f"the run of {change} is suspended")
    click = {"user": "U0BOB", "message_ts": message, "action_id": "passgate_approve", "confirm": True}
    clicked = time.time()
    stage.control.post("/slack/click", json=click).raise_for_status()
    until(lambda: stage.newest_change()["ended_at"], f"{change} ends")
    stage.insist_it_is_done(GATED_VM)
    return _first_intent(stage, change) - clicked


def _first_intent(stage: Stage, change: str) -> float:
    return next(at for kind, _, at in stage.moments(change) if kind == "step.intent")


def message_of(stage: Stage, change: str) -> str | None:
    """Return the time stamp of the change's message, once it has its buttons."""
    state: Json = stage.control.post("/slack/state", json={}).raise_for_status().json()
    for messages in state["messages"].values():
        for one in messages:
            if f" {change} " in one["text"] and "passgate_approve" in str(one.get("blocks")):
                return str(one["ts"])
    return None


def _is_suspended(stage: Stage) -> bool:
    run = stage.newest_change()["flow_run"]
    url = (stage.home / "prefect.url").read_text(encoding="utf-8").strip()
    return (
        run is not None and httpx.get(f"{url}/flow_runs/{run}").raise_for_status().json()["state_name"] == "Suspended"
    )


def until(look: Callable[[], T], what: str) -> T:
    """Wait until a look finds something. It looks seldom: looks cost the service time that is being measured."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        if time.monotonic() > deadline:
            raise StageError(f"waited {PATIENCE:.0f} s in vain until {what}")
        time.sleep(LOOK_EVERY)
    return found
