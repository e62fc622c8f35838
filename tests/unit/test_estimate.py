"""Prove how the length of a run is estimated: from what steps took, robustly, or from what their classes expect."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from passgate.policy.estimate import ENOUGH, estimate, total

LENGTHS = st.integers(0, 10_000).map(lambda seconds: timedelta(seconds=seconds))
MINUTE = timedelta(minutes=1)


def test_without_enough_earlier_times_the_class_is_believed() -> None:
    """A few lucky runs don't make a reboot short."""
    expected = estimate([("host.Reboot", 20 * MINUTE), ("power.On", MINUTE)], {"host.Reboot": [MINUTE] * (ENOUGH - 1)})
    assert [(one.takes, one.known_from) for one in expected] == [(20 * MINUTE, 0), (MINUTE, 0)]
    assert total(expected) == 21 * MINUTE


def test_one_that_hung_tells_nothing_of_the_next() -> None:
    """R36: of twenty earlier times the one that took a day does not decide."""
    before = {"power.Off": [timedelta(seconds=n) for n in range(1, 20)] + [timedelta(days=1)]}
    assert estimate([("power.Off", MINUTE)], before)[0].takes == timedelta(seconds=18)


@given(st.lists(LENGTHS, min_size=ENOUGH, max_size=60))
def test_nine_of_ten_were_no_longer(before: list[timedelta]) -> None:
    """At least nine of ten earlier times fit into what is expected, and it is one that was seen."""
    takes = estimate([("a.B", MINUTE)], {"a.B": before})[0].takes
    assert takes in before
    assert sum(one <= takes for one in before) >= 0.9 * len(before)
