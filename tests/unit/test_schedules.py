"""Prove when schedules are due, on both changes of the clock, and what becomes of what is missed or overlaps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from passgate.engine.catalogue import load
from passgate.errors import InputError
from passgate.faces.cli.asks import runbook_first, schedule_options
from passgate.model.schedule import Due
from passgate.policy.schedules import PROMPT, due_between, judge, next_ones
from passgate.settings.schedules import ScheduleRule

ZONES = ("Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kolkata", "UTC")
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def rule(cron: str | None = "30 2 * * *", zone: str = "Europe/Vienna", **over: Any) -> ScheduleRule:
    """Return a schedule, by default of each night."""
    return ScheduleRule.model_validate(
        {"name": "nightly", "runbook": "usb-census", "author": "alice", "cron": cron, "zone": zone, **over}
    )


def at(text: str) -> datetime:
    """Return a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def moments(dues: tuple[Due, ...]) -> list[str]:
    """Return what the wall clock and UTC show at each."""
    return [f"{one.local} = {one.at:%d %H:%M}" for one in dues]


# Changes of the clock


def test_a_time_that_the_clock_skips_is_taken_at_the_moment_of_the_change() -> None:
    """R39: 02:30 does not exist on 2027-03-28 in Vienna; it is due at 03:00, not left out and not an hour early."""
    found = next_ones(rule(), at("2027-03-26 12:00"), 3)
    assert moments(found) == [
        "2027-03-27 02:30 = 27 01:30",
        "2027-03-28 02:30 = 28 01:00",
        "2027-03-29 02:30 = 29 00:30",
    ]


def test_a_time_that_comes_twice_is_one_occurrence() -> None:
    """R39: 02:30 comes twice on 2027-10-31 in Vienna; it is due at the first, once."""
    found = next_ones(rule(), at("2027-10-29 12:00"), 3)
    assert moments(found) == [
        "2027-10-30 02:30 = 30 00:30",
        "2027-10-31 02:30 = 31 00:30",
        "2027-11-01 02:30 = 01 01:30",
    ]


def test_an_rrule_keeps_to_the_same_wall_clock() -> None:
    """R39: RRULE and cron mean the same local times, on both changes of the clock."""
    daily = {"cron": None, "rrule": "FREQ=DAILY", "first": "2026-01-01 02:30"}
    for begin in ("2027-03-26 12:00", "2027-10-29 12:00"):
        assert next_ones(rule(**daily), at(begin), 4) == next_ones(rule(), at(begin), 4)


def test_several_times_in_the_hour_that_is_skipped_are_one_occurrence() -> None:
    """What would be due six times at the moment of the change is due once."""
    found = next_ones(rule("*/10 * * * *"), at("2027-03-28 00:45"), 3)
    assert moments(found) == [
        "2027-03-28 01:50 = 28 00:50",
        "2027-03-28 03:00 = 28 01:00",
        "2027-03-28 03:10 = 28 01:10",
    ]


@given(
    zone=st.sampled_from(ZONES),
    cron=st.sampled_from(("30 2 * * *", "*/30 * * * *", "0 18 * * FRI", "15 1,2,3 * * SUN", "59 23 1 * *")),
    days=st.integers(0, 3 * 365),
    minutes=st.integers(0, 1439),
)
def test_each_wall_clock_time_is_due_once_and_in_order(zone: str, cron: str, days: int, minutes: int) -> None:
    """R39: wherever one begins to look, moments rise, keys never repeat, and none lies before the look."""
    begin = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=days, minutes=minutes)
    found = next_ones(rule(cron, zone), begin, 60)
    assert all(begin < one.at for one in found)
    assert all(one.at < other.at for one, other in pairwise(found))
    assert len({one.local for one in found}) == len(found)
    for one in found:
        shown = f"{one.at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"
        assert shown >= one.local  # the same, or the moment of the change after a time that was skipped


@given(zone=st.sampled_from(ZONES), cuts=st.lists(st.integers(0, 7 * 1440), min_size=2, max_size=8))
def test_looking_often_or_seldom_finds_the_same(zone: str, cuts: list[int]) -> None:
    """No occurrence is lost or doubled between two looks, on the week of a change of the clock neither."""
    every = rule("*/30 * * * *", zone)
    begin = at("2027-03-25 00:00")
    edges = [begin + cut * MINUTE for cut in sorted(cuts)]
    pieces = [due for one, other in pairwise(edges) for due in due_between(every, one, other)]
    assert tuple(pieces) == due_between(every, edges[0], edges[-1])


def test_a_schedule_may_end() -> None:
    """Nothing is due after its end."""
    found = next_ones(rule(ends="2027-01-03 00:00"), at("2027-01-01 00:00"), 5)
    assert [one.local for one in found] == ["2027-01-01 02:30", "2027-01-02 02:30"]


# What is done about what is due


def dues(count: int, now: datetime, every: timedelta = HOUR, late: timedelta = MINUTE) -> tuple[Due, ...]:
    """Return so many occurrences, the last one that late."""
    last = now - late
    times = [last - every * (count - 1 - n) for n in range(count)]
    return tuple(Due(local=f"{one:%Y-%m-%d %H:%M}", at=one) for one in times)


NOW = at("2027-01-10 12:00")


def test_what_is_due_now_is_filed() -> None:
    """Nothing stands against it, so it is filed and nothing is skipped."""
    (one,) = dues(1, NOW)
    assert judge(rule(), (one,), NOW) == (one, None, "", ())


@pytest.mark.parametrize(("missed", "filed"), [("skip", False), ("latest", True)])
def test_missed_occurrences_are_skipped_or_the_last_is_made_up_for(missed: str, filed: bool) -> None:
    """After an outage at most one change is filed, and each occurrence that is not is skipped with its reason."""
    found = dues(3, NOW, late=2 * HOUR)
    said = judge(rule(missed=missed), found, NOW)
    assert said.file == (found[-1] if filed else None)
    assert [one.due for one in said.skipped] == list(found[:2] if filed else found)
    assert all(one.why for one in said.skipped)


def test_making_up_has_a_bound() -> None:
    """Later than `late` nothing is made up for."""
    found = dues(1, NOW, late=5 * HOUR)
    said = judge(rule(missed="latest", late="4h"), found, NOW)
    assert (said.file, said.wait) == (None, None)
    assert "at most 4h late" in said.skipped[0].why


@pytest.mark.parametrize(("overlap", "waits"), [("skip", False), ("queue", True)])
def test_overlapping_occurrences_are_skipped_or_wait(overlap: str, waits: bool) -> None:
    """While the change of the one before is open nothing is filed; what waits is filed after its end, within `late`."""
    (one,) = dues(1, NOW)
    said = judge(rule(overlap=overlap), (one,), NOW, busy="CHG-0007")
    assert said.file is None
    assert said.wait == (one if waits else None)
    assert "CHG-0007" in (said.why or said.skipped[0].why)
    if waits:
        later = NOW + 3 * HOUR
        assert judge(rule(overlap=overlap), (one,), later, queued={one.local}).file == one
        assert judge(rule(overlap=overlap), (one,), later + 2 * HOUR, queued={one.local}).file is None


def test_many_missed_occurrences_are_told_once() -> None:
    """A month of a schedule by the minute is no flood of messages."""
    found = dues(1000, NOW, every=MINUTE)
    said = judge(rule(), found, NOW)
    assert said.file == found[-1]
    assert len(said.skipped) == 1
    assert "998 before it" in said.skipped[0].why


@given(
    count=st.integers(1, 12),
    late=st.timedeltas(timedelta(), timedelta(days=3)),
    missed=st.sampled_from(("skip", "latest")),
    overlap=st.sampled_from(("skip", "queue")),
    busy=st.sampled_from(("", "CHG-0001")),
    queued=st.sets(st.integers(0, 11)),
)
def test_the_last_one_is_filed_waits_or_is_told(  # noqa: PLR0917 - what hypothesis varies
    count: int, late: timedelta, missed: str, overlap: str, busy: str, queued: set[int]
) -> None:
    """Nothing is lost silently: the last occurrence has one fate; none is filed while one is open, or too late."""
    one = rule(missed=missed, overlap=overlap, late="6h")
    found = dues(count, NOW, late=late)
    waited = {due.local for place, due in enumerate(found) if place in queued}
    said = judge(one, found, NOW, queued=waited, busy=busy)
    skipped = [each.due for each in said.skipped]
    assert [said.file, said.wait, *skipped].count(found[-1]) == 1
    assert not (busy and said.file)
    assert said.file in {None, found[-1]}
    if said.file:
        assert late <= max(PROMPT, one.late)


# What is no schedule


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cron": None}, "exactly one of cron and rrule"),
        ({"rrule": "FREQ=DAILY"}, "exactly one of cron and rrule"),
        ({"first": "2026-01-01 00:00"}, "first together with rrule"),
        ({"cron": "* * * * * *"}, "five fields"),
        ({"cron": "0 25 * * *"}, "Bad hour"),
        ({"cron": "0 0 31 2 *"}, "Bad day-of-month"),
        ({"cron": None, "rrule": "FREQ=SOMETIMES", "first": "2026-01-01 00:00"}, "RRULE"),
        ({"cron": None, "rrule": "FREQ=DAILY;BYSECOND=0,30", "first": "2026-01-01 00:00"}, "without BYSECOND"),
        ({"zone": "Europe/Vienne"}, "Did you mean 'Europe/Vienna'"),
        ({"late": "30d"}, "at most 7 days"),
    ],
)
def test_what_is_no_schedule_is_refused_in_words(wrong: dict[str, Any], said: str) -> None:
    """Bad input names the field and what is accepted."""
    with pytest.raises(ValidationError, match=said):
        rule(**{"cron": "0 0 * * *", **wrong})


# At a shell


def test_no_runbook_has_a_field_that_the_options_of_a_schedule_need() -> None:
    """`passgate schedule add` takes both behind one command, so no name may mean two things."""
    names = {one.name for one in schedule_options()}
    assert all(names.isdisjoint(one.ask.model_fields) for one in load(Path(__file__).parents[2]).values())


def test_the_runbook_may_stand_behind_the_times() -> None:
    """People write the name and the times first; the command is that of the runbook."""
    given = ["schedule", "add", "weekly", "--cron", "0 4 * * SUN", "usb-census", "--shells"]
    assert runbook_first(given) == ["schedule", "add", "usb-census", "weekly", "--cron", "0 4 * * SUN", "--shells"]
    assert runbook_first(["schedule", "add"]) == ["schedule", "add"]
    for words, said in (
        (["weekly", "--cron", "0 4 * * SUN"], "runbook: none of these words is one"),
        (["weekly", "--cron", "0 4 * * SUN", "usb-cencus"], "runbook: there is none called 'usb-cencus'"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            runbook_first(["schedule", "add", *words])
        assert "usb-census" in caught.value.hint
