"""Estimate how long a plan takes: from what its steps took before, or else from what their classes expect. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from math import ceil
from typing import NamedTuple

ENOUGH = 5
"""From so many earlier times on, these are believed rather than what the step's class expects."""
HIGH = 0.9
"""Which share of the earlier times was no longer than what is expected of the next: one that hung tells nothing."""


class Expected(NamedTuple):
    """Hold how long one step is expected to take, and from how many earlier times that is known; 0: its class says."""

    kind: str
    takes: timedelta
    known_from: int


def estimate(steps: Sequence[tuple[str, timedelta]], before: Mapping[str, Sequence[timedelta]]) -> tuple[Expected, ...]:
    """Return what each step, of that kind and with what its class expects, is expected to take."""
    return tuple(_expected(kind, takes, before.get(kind, ())) for kind, takes in steps)


def total(expected: Sequence[Expected]) -> timedelta:
    """Return how long all of it takes, one step after the other."""
    return sum((one.takes for one in expected), timedelta())


def _expected(kind: str, takes: timedelta, before: Sequence[timedelta]) -> Expected:
    if len(before) < ENOUGH:
        return Expected(kind, takes, 0)
    return Expected(kind, sorted(before)[ceil(HIGH * len(before)) - 1], len(before))
