"""Turn measured seconds into figures: spread, ratios pair by pair, targets. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Spread:
    """Hold how a series spreads."""

    n: int
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, series: Sequence[float]) -> Spread:
        """Return the spread of a series that is not empty."""
        return cls(len(series), median(series), min(series), max(series))

    def as_data(self) -> dict[str, float]:
        """Return it as JSON."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Target:
    """Name a ratio, or a figure, that must not exceed a bound."""

    name: str
    at_most: float
    meaning: str


TARGETS = (
    Target("passgate_over_ansible_nosleep", 0.5, "time of a whole change, beside Ansible's without its sleep"),
    Target("round_trips_passgate_over_bare", 2.0, "requests to vCenter per change, beside the bare script's"),
)


def ratios(series: Sequence[float], base: Sequence[float]) -> tuple[float, ...]:
    """Return the ratios of two series, pair by pair: both of a pair were measured in the same round.

    A series that was measured in the first rounds only is paired with those.
    """
    return tuple(one / other for one, other in zip(series, base, strict=False))


def compared(seconds: Mapping[str, Sequence[float]], requests: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return every ratio that the contenders at hand allow, each with its spread and its pairs."""
    found = {
        f"passgate_over_{base}": ratios(seconds["passgate"], seconds[base])
        for base in ("bare", "ansible_nosleep", "ansible")
        if seconds.get(base)
    }
    found["round_trips_passgate_over_bare"] = ratios(requests["passgate"], requests["bare"])
    return {
        name: {**Spread.of(pairs).as_data(), "pairs": [round(one, 4) for one in pairs]} for name, pairs in found.items()
    }


def judged(comparisons: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Return for each target whether the median meets it; one that could not be measured is not met."""
    return {
        one.name: {
            "at_most": one.at_most,
            "meaning": one.meaning,
            "median": (got := comparisons.get(one.name, {}).get("median")),
            "met": got is not None and got <= one.at_most,
        }
        for one in TARGETS
    }


def percentile(series: Sequence[float], share: float) -> float:
    """Return the smallest figure that so large a share of a series does not exceed (nearest rank)."""
    ranked = sorted(series)
    return ranked[max(0, ceil(share * len(ranked)) - 1)]
