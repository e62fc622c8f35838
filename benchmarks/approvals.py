"""Measure the approvals: 5,000 changes that wait, how fast policy answers, and what a person in Slack waits for.

    python -m benchmarks.approvals [--waiting 5000] [--runs 3] [--clicks 200] [--updates 20]

The changes that wait all expire in the same second, the worst case, and the clockwork runs as in the service: it writes
the evidence of those that have ended meanwhile. How late each is counts until its end is on the disk. Clicks go over
the websocket of the lab's Slack to a service that runs; an ack is timed from the click to Slack's answer to the person.
For the updated message each call of the lab's Web API takes 200 ms more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from benchmarks.figures import Spread, percentile
from benchmarks.latencies import message_of, until
from benchmarks.stage import GATED_VM, ROOT, Json, Stage, staged
from passgate.engine.authority import ENGINE
from passgate.engine.catalogue import Catalogue
from passgate.engine.clockwork import EVERY, Clockwork
from passgate.engine.estate import Estate
from passgate.engine.runtime import Runtime, open_store
from passgate.model.change import Actor, Change, Door, State
from passgate.model.decision import Target, Terms
from passgate.model.plan import Plan, Risk
from passgate.policy.facts import Facts
from passgate.policy.terms import choose
from passgate.settings.load import load_config
from passgate.store.tables import changes

OUT = Path(__file__).parent / "out" / "approvals.json"
LATENCY = 0.2
"""Seconds that each call of Slack's Web API takes."""
IDLE_ROUNDS = 20
MINUTE = 60.0
LOOK_EVERY = 0.2
EVALUATIONS, SERIES = 1000, 5
EAGER = "  burst: 100000\n"
"""In chat.yaml: the lab's Slack takes what it gets, and one message a second is not what is measured."""
DAVE = "U0DAVE"
"""May not decide: his clicks change nothing, and each is stored, acknowledged and answered."""


class Silent:
    """Ring nobody: there is no Prefect."""

    async def start(self, change: Change) -> None:
        """Start no run."""

    async def ring(self, change: Change) -> None:
        """Wake no run."""


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.approvals", description=__doc__)
    parser.add_argument("--waiting", type=int, default=5000, help="changes that wait")
    parser.add_argument("--runs", type=int, default=3, help="how often all of them expire, each time anew")
    parser.add_argument("--clicks", type=int, default=200, help="clicks whose acks are timed")
    parser.add_argument("--updates", type=int, default=20, help="approvals until the message shows them")
    asked = parser.parse_args(given)
    told: dict[str, Any] = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "load_before": os.getloadavg()[0]}
    told["waiting"] = [asyncio.run(waiting(asked.waiting)) for _ in range(asked.runs)]
    told["policy_evaluations_a_second"] = Spread.of([evaluations() for _ in range(SERIES)]).as_data()
    with staged(EAGER) as stage:
        told["ack_seconds"] = acks(stage, asked.clicks)
        told["click_to_updated_message_seconds"] = updates(stage, asked.updates)
    told["load_after"] = os.getloadavg()[0]
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(told, indent=2))
    return 0


async def waiting(count: int) -> dict[str, Any]:
    """Let so many changes wait; time rounds in which nothing is due, then let all of them expire in one second."""
    with tempfile.TemporaryDirectory() as folder, _engine(Path(folder)) as runtime:
        store = runtime.store
        _wait_in_bulk(runtime, count, runtime.clock() + timedelta(hours=1))
        clockwork = Clockwork(runtime, Silent())
        idle = []
        for _ in range(IDLE_ROUNDS):
            began = time.perf_counter()
            await clockwork.round()
            idle.append(time.perf_counter() - began)
        load, processor, began = os.getloadavg()[0], time.process_time(), time.perf_counter()
        now, before = runtime.clock() + timedelta(hours=1), store.newest_seq()

        def clock() -> datetime:
            return now + timedelta(seconds=time.perf_counter() - began)

        committed: list[tuple[int, datetime]] = []
        """After each commit the newest event, and when that was."""
        store.listeners.append(lambda: committed.append((store.newest_seq(), clock())))
        with _clicking(runtime) as clicks:
            running = asyncio.create_task(Clockwork(replace(runtime, clock=clock), Silent()).run())
            while store.counts().get(State.EXPIRED, 0) < count:  # noqa: ASYNC110 - seen as other processes see it
                await asyncio.sleep(LOOK_EVERY)
            processor = time.process_time() - processor
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        ended = [one for one in store.events(before, limit=10 * count) if one.data.get("to") == State.EXPIRED]
        committed.sort()
        at = (committed[bisect_left(committed, (one.seq, now))][1] for one in ended)
        late = [(moment - now).total_seconds() for moment in at]
    return {
        "changes": count,
        "expired": len(late),
        "round_with_nothing_due_seconds": Spread.of(idle).as_data(),
        "expired_late_seconds": {**Spread.of(late).as_data(), "p99": round(percentile(late, 0.99), 3)},
        "later_than_60_seconds": sum(one > MINUTE for one in late),
        "and_at_most_between_two_rounds_seconds": EVERY,
        "processor_seconds": round(processor, 2),
        "stored_click_meanwhile_seconds": Spread.of(clicks).as_data(),
        "load_before": load,
    }


@contextmanager
def _clicking(runtime: Runtime) -> Iterator[list[float]]:
    """Store a click now and then, as Slack's do, and yield how long each waited for the database."""
    over, taken = threading.Event(), list[float]()

    def click() -> None:
        while not over.wait(LOOK_EVERY):
            began = time.perf_counter()
            runtime.store.inbox_put(f"click-{len(taken)}", {}, runtime.clock())
            taken.append(time.perf_counter() - began)

    clicking = threading.Thread(target=click)
    clicking.start()
    try:
        yield taken
    finally:
        over.set()
        clicking.join()


def evaluations() -> float:
    """Return how often a second the shipped policy says what a change needs."""
    config = load_config(ROOT / "config")
    target = Target(kind="vm", name="win-01", cluster="cluster-01", tags=("environment/production",))
    facts = Facts(
        runbook="usb-attach", risk=Risk.DISRUPTIVE, requester="alice", at=datetime.now(UTC), targets=(target,)
    )
    began = time.perf_counter()
    for _ in range(EVALUATIONS):
        choose(config.policy, config.people, facts)
    return EVALUATIONS / (time.perf_counter() - began)


def acks(stage: Stage, clicks: int) -> dict[str, Any]:
    """Return how long it takes until Slack has the ack of a click, which is stored by then."""
    change = stage.file(GATED_VM)
    message = str(until(lambda: message_of(stage, change), f"{change} is shown in Slack"))
    taken = []
    for _ in range(clicks):
        began = time.perf_counter()
        answer = _click(stage, DAVE, message)
        taken.append(time.perf_counter() - began)
        if not answer["acked"]:
            raise RuntimeError(answer["warning"])
    stage.service.post(f"/v1/changes/{change}/withdraw", json={"reason": "over"}).raise_for_status()
    return {**Spread.of(taken).as_data(), "p99": round(percentile(taken, 0.99), 4)}


def updates(stage: Stage, times: int) -> dict[str, Any]:
    """Return how long after a click on Approve the message shows it, with a Slack that is 200 ms away."""
    taken = []
    stage.control.post("/slack/faults", json={"latency": LATENCY}).raise_for_status()
    for _ in range(times):
        stage.put_back()
        stage.control.post("/slack/faults", json={"latency": LATENCY}).raise_for_status()
        change = stage.file(GATED_VM)
        message = str(until(lambda one=change: message_of(stage, one), f"{change} is shown in Slack"))
        began = time.perf_counter()
        _click(stage, "U0BOB", message)
        while message_of(stage, change) is not None:
            time.sleep(0.02)
        taken.append(time.perf_counter() - began)
        until(lambda: stage.newest_change()["ended_at"], f"{change} ends")
    return {**Spread.of(taken).as_data(), "p95": round(percentile(taken, 0.95), 3), "api_latency": LATENCY}


def _click(stage: Stage, user: str, message: str) -> Json:
    act = {"user": user, "message_ts": message, "action_id": "passgate_approve", "confirm": True}
    answer: Json = stage.control.post("/slack/click", json=act).raise_for_status().json()
    return answer


@contextmanager
def _engine(home: Path) -> Iterator[Runtime]:
    config = load_config(ROOT / "config")
    runtime = Runtime(home, config, open_store(home, config), Catalogue(ROOT), Estate(config, home))
    try:
        yield runtime
    finally:
        runtime.estate.close()
        runtime.store.close()


def _wait_in_bulk(runtime: Runtime, count: int, until: datetime) -> None:
    """Let so many changes wait until that moment, with a plan and a run each: copies of one that was filed."""
    store, now = runtime.store, runtime.clock()
    example = json.loads((ROOT / "docs" / "examples" / "usb-attach.json").read_text(encoding="utf-8"))
    plan = Plan.model_validate(example["plan"])
    model = store.file_change("usb-attach", {}, Actor(person="alice", door=Door.CLI), "a benchmark", None, now)
    store.save_plan(model.id, plan, Terms(policy="bench", groups=("operations",), voters=("bob",)), until, now)
    store.move(model.id, State.WAITING, ENGINE, "", now)
    with store._database.writing() as write:  # noqa: SLF001 - to file 5,000 one by one is not what is measured
        row = dict(write.execute(select(changes).where(changes.c.id == model.id)).one()._mapping)  # noqa: SLF001 - SQLAlchemy's own name
        own = ({"number": 1 + n, "id": f"CHG-{1 + n:04}", "flow_run": f"{n}", "due_at": until} for n in range(1, count))
        write.execute(insert(changes), [{**row, **one} for one in own])
    store.set_flow_run(model.id, "0")


if __name__ == "__main__":
    sys.exit(main())
