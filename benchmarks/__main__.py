"""Measure Passgate beside its peers: `python -m benchmarks`, or `make bench`. README.md says what the figures mean."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.contenders import (
    ANSIBLE,
    ANSIBLE_NOSLEEP,
    BARE,
    PASSGATE,
    Contender,
    Turn,
    ansible_is_installed,
    take_turn,
)
from benchmarks.figures import Spread, compared, judged
from benchmarks.latencies import click_seconds, first_step_seconds, help_seconds
from benchmarks.stage import Stage, StageError, staged

OUT = Path(__file__).parent / "out" / "bench.json"
REST = 1.0
"""Seconds between two turns: what a contender leaves for its servers to do must not slow the next one."""

CLICKS = 5

OVERHEAD_ONLY = (
    "The lab's tasks end at once: these figures are overhead only. With real tasks of 5 to 60 s the ratios shrink."
)
Turns = dict[str, list[Turn]]


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print and write; return the exit code."""
    asked = _arguments(given)
    has_ansible = ansible_is_installed()
    contenders = (BARE, PASSGATE, *((ANSIBLE_NOSLEEP, ANSIBLE) if has_ansible else ()))
    try:
        with staged() as stage:
            told = _measured(stage, contenders, asked.rounds)
    except StageError as error:
        print(f"The benchmark was broken off: {error}", file=sys.stderr)
        return 1
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    _show(told, contenders)
    if not has_ansible:
        print("Ansible is left out: it could not be installed. What rests on it was not measured.")
    missed = [name for name, one in told["targets"].items() if not one["met"]]
    return int((asked.require_peers and not has_ansible) or (asked.require_targets and bool(missed)))


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="how many turns each contender takes")
    parser.add_argument("--require-peers", action="store_true", help="fail when Ansible can't be installed")
    parser.add_argument("--require-targets", action="store_true", help="fail when a target is not met")
    return parser.parse_args(given)


def _measured(stage: Stage, contenders: Sequence[Contender], rounds: int) -> dict[str, Any]:
    began, load = datetime.now(UTC), os.getloadavg()
    first_steps: list[float] = []
    turns: Turns = {one.name: [] for one in contenders}
    with _said("warm-up: one turn of each that does not count"):
        for one in contenders:
            if one is not ANSIBLE:  # the same program as without its sleep, and warm by then
                take_turn(one, stage)
    with _said("from a click in Slack to the next step"):
        # Before the rounds: Slack takes one message a second, and what the rounds tell it would hold the buttons up.
        clicks = [click_seconds(stage) for _ in range(min(rounds, CLICKS))]
    for number in range(rounds):
        with _said(f"round {number + 1} of {rounds}"):
            for one in contenders:
                if number >= (one.rounds or rounds):
                    continue
                time.sleep(REST)
                turn = take_turn(one, stage)
                turns[one.name].append(turn)
                if one is PASSGATE:
                    first_steps.append(first_step_seconds(stage, turn.began))
    with _said("Passgate back to back, without a rest"):
        back_to_back = [take_turn(PASSGATE, stage).seconds for _ in range(rounds)]
    with _said("start of `passgate --help`"):
        helps = help_seconds(stage, rounds)
    seconds = {name: [one.seconds for one in taken] for name, taken in turns.items()}
    requests = {name: [float(one.requests) for one in taken] for name, taken in turns.items()}
    comparisons = compared(seconds, requests)
    latencies = {
        "passgate_help": helps,
        "request_to_first_step": first_steps,
        "click_to_next_step": clicks,
        "passgate_back_to_back": back_to_back,
    }
    return {
        "note": OVERHEAD_ONLY,
        "about": {
            "at": began.isoformat(timespec="seconds"),
            "took_seconds": round((datetime.now(UTC) - began).total_seconds(), 1),
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
            "load_before_and_after": [round(load[0], 2), round(os.getloadavg()[0], 2)],
            "rounds": rounds,
            "rest_seconds": REST,
            "versions": {name: version(name) for name in ("passgate", "pyvmomi", "prefect")},
        },
        "seconds": {name: _series(series) for name, series in seconds.items()},
        "round_trips": {name: _series(series) for name, series in requests.items()},
        "latency_seconds": {name: _series(series) for name, series in latencies.items()},
        "ratios": comparisons,
        "targets": judged(comparisons),
    }


def _series(series: Sequence[float]) -> dict[str, Any]:
    return {**Spread.of(series).as_data(), "all": [round(one, 4) for one in series]}


@contextmanager
def _said(what: str) -> Iterator[None]:
    clock = time.monotonic()
    print(f"{what} ...", end=" ", file=sys.stderr, flush=True)
    yield
    print(f"{time.monotonic() - clock:.1f} s", file=sys.stderr, flush=True)


def _show(told: dict[str, Any], contenders: Sequence[Contender]) -> None:
    shown = {one.name: one.shown for one in contenders}
    print(f"\nPower off, add an xHCI controller, power on. {told['note']}\n")
    print(f"{'':34}{'n':>4}{'median':>10}{'min':>10}{'max':>10}{'requests':>10}")
    for name, one in told["seconds"].items():
        print(f"{shown[name]:34}{_spread(one, 's')}{told['round_trips'][name]['median']:10.0f}")
    print()
    for name, one in told["latency_seconds"].items():
        print(f"{name.replace('_', ' '):34}{_spread(one, 's')}")
    print()
    for name, one in told["ratios"].items():
        print(f"{name.replace('_', ' '):34}{_spread(one, 'x')}")
    print()
    for name, one in told["targets"].items():
        got = "was not measured" if one["median"] is None else f"is {one['median']:.2f}"
        print(f"{'met' if one['met'] else 'NOT MET'}: {name} {got}, to be at most {one['at_most']}")


def _spread(one: dict[str, Any], unit: str) -> str:
    return f"{one['n']:4}" + "".join(f"{one[name]:8.3f} {unit}" for name in ("median", "low", "high"))


if __name__ == "__main__":
    sys.exit(main())
