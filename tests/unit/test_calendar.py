"""Prove when changes may run: windows, freezes, time zones, changes of the clock, and the time that is left."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passgate.model.plan import Risk
from passgate.model.target import Target
from passgate.policy.calendar import look, overrun
from passgate.policy.facts import Facts
from passgate.policy.occurrences import Span, merged, moment, spans, without
from passgate.policy.opening import Opening
from passgate.settings.calendar import Calendar, Freeze, Window

ZONES = ("Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kolkata", "UTC")
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


def facts(**over: Any) -> Facts:
    """Return what is known of attaching a stick to win-01."""
    target = Target(kind="vm", name="win-01", host="esx-01", cluster="east")
    return Facts(runbook="usb-attach", risk=Risk.DISRUPTIVE, requester="alice", at=MONDAY, targets=(target,), **over)


def window(zone: str = "UTC", start: str = "2026-01-01 22:00", duration: str = "4h", **over: Any) -> Window:
    """Return a window, by default of each night."""
    when = {"start": start, "duration": duration, "rrule": over.pop("rrule", "FREQ=DAILY")}
    return Window.model_validate({"name": "nights", "zone": zone, "when": [when], **over})


def freeze(start: str = "2026-11-23 00:00", duration: str = "1d", **over: Any) -> Freeze:
    """Return a freeze, by default of one Monday."""
    when = over.pop("when", [{"start": start, "duration": duration}])
    return Freeze.model_validate({"name": "stop", "zone": "UTC", "when": when, **over})


def at(hour: int, minute: int = 0, day: int = 23) -> datetime:
    """Return a moment of that Monday, or of a day near it."""
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def seen(*entries: Window | Freeze, now: datetime, **over: Any) -> Opening:
    """Look at a calendar of these entries."""
    windows = tuple(one for one in entries if isinstance(one, Window))
    freezes = tuple(one for one in entries if isinstance(one, Freeze))
    about = over.pop("about", facts())
    return look(Calendar(windows=windows, freezes=freezes), about, now, **over)


# What is asked of windows and freezes


def test_without_a_window_about_it_a_change_runs_at_any_time() -> None:
    """R36: a window binds the changes that it is about, and no others."""
    opening = seen(window(vms=["db-*"]), now=at(12))
    assert opening.may_begin
    assert (opening.next, opening.until) == (at(12), None)
    assert opening.reasons == ("no window is about it, so it may run at any time",)


def test_windows_are_alternatives() -> None:
    """R36: of several windows any one will do."""
    early = window(start="2026-01-01 04:00", name="mornings")
    both = (window(), early)
    assert [seen(*both, now=at(hour)).open for hour in (3, 5, 12, 23)] == [False, True, False, True]
    closed = seen(*both, now=at(12))
    assert closed.next == at(22)
    assert "none of its windows is open" in closed.reasons[0]
    assert "'nights' opens at Mon 2026-11-23 22:00 UTC" in closed.reasons[0]


def test_a_freeze_beats_a_window_and_says_why() -> None:
    """R36: deny beats allow; what is said names the freeze, its text with the ticket, and its end."""
    opening = seen(window(), freeze(text="Stocktaking, CHG0031000"), now=at(23))
    assert not opening.open
    assert opening.next == at(0, day=24)
    assert opening.reasons[0] == "freeze 'stop' (Stocktaking, CHG0031000) holds until Tue 2026-11-24 00:00 UTC"


def test_a_freeze_acts_in_its_own_hours_only() -> None:
    """R36: right before and right at the end of a freeze it is open."""
    end = at(0, day=24)
    assert seen(freeze(), now=at(0) - timedelta(microseconds=1)).open
    assert not seen(freeze(), now=at(0)).open
    assert not seen(freeze(), now=end - timedelta(microseconds=1)).open
    assert seen(freeze(), now=end).open


def test_one_thing_of_several_is_enough_for_a_freeze() -> None:
    """A change of two VMs is frozen when one of them is: a test VM does not carry a frozen one through."""
    both = facts().model_copy(update={"targets": (*facts().targets, Target(kind="vm", name="test-1"))})
    assert not seen(freeze(vms=["win-*"]), now=at(12), about=both).open
    assert seen(freeze(vms=["db-*"]), now=at(12), about=both).open


def test_an_overridden_freeze_does_not_stop_that_change() -> None:
    """R37: an override takes one freeze by its name away, and is told."""
    other = freeze(name="other")
    opening = seen(freeze(), other, now=at(12), overridden={"stop"})
    assert not opening.open
    assert opening.overridden == ("stop",)
    assert any("'stop' was overridden" in one for one in opening.reasons)
    assert seen(freeze(), now=at(12), overridden={"stop"}).open


def test_a_run_that_would_not_fit_waits_for_the_next_opening_that_fits() -> None:
    """The time that a run takes is held against what the window has left."""
    assert seen(window(), now=at(22), takes=4 * HOUR).may_begin
    late = seen(window(), now=at(22, 1), takes=4 * HOUR)
    assert late.open
    assert not late.may_begin
    assert late.next == at(22, day=24)
    assert "it needs 4 h, and only 3 h 59 min are left" in late.reasons[-1]


def test_a_run_that_never_fits_is_said_to() -> None:
    """A run longer than every window is told so, in place of waiting for something that does not come."""
    opening = seen(window(), now=at(12), takes=5 * HOUR)
    assert opening.next is None
    assert opening.reasons[-1] == "in the next 800 days there is no opening of 5 h or more for it"


def test_a_run_must_not_reach_into_a_freeze() -> None:
    """Where no window bounds it, the next freeze does."""
    sunday = at(23, 0, day=22)
    assert seen(freeze(), now=sunday, takes=HOUR).may_begin
    assert seen(freeze(), now=sunday, takes=2 * HOUR).next == at(0, day=24)


def test_windows_that_follow_each_other_are_one_opening() -> None:
    """Two windows without a gap between them hold a run together."""
    second = window(start="2026-01-01 02:00", name="late")
    assert seen(window(), second, now=at(23), takes=6 * HOUR).may_begin


def test_it_does_not_begin_before_it_was_asked_to() -> None:
    """A change that names its earliest start waits for it, and for a window after it."""
    opening = seen(window(), now=at(22), not_before=at(12, day=24))
    assert not opening.open
    assert opening.next == at(22, day=24)
    assert "asked not to begin before" in opening.reasons[0]


def test_of_what_stopped_a_run_the_strictest_counts() -> None:
    """R36: a freeze that holds decides, then the window that ended last; of several the strictest."""
    calendar = Calendar(
        windows=(window(overrun="finish-step"), window(name="noon", start="2026-01-01 11:00", duration="1h")),
        freezes=(freeze(overrun="take-back"), freeze(name="mild", overrun="finish-run")),
    )
    assert overrun(calendar, facts(), at(23)) == "take-back"
    assert overrun(calendar, facts(), at(23), {"stop"}) == "finish-run"
    assert overrun(calendar, facts(), at(3, day=24)) == "finish-step"
    assert overrun(calendar, facts(), at(13, day=24)) == "finish-run"


# Sources of times


def test_holidays_are_whole_days_of_the_entrys_zone() -> None:
    """R38: the holidays of a country begin and end at local midnight."""
    xmas = freeze(when=[{"country": "DE", "subdivision": "BY"}], zone="Europe/Berlin")
    opening = seen(xmas, now=datetime(2026, 12, 25, 12, tzinfo=UTC))
    assert opening.freezes[0].what == "Christmas Day, Second Day of Christmas"
    assert opening.next == datetime(2026, 12, 26, 23, tzinfo=UTC)
    assert seen(xmas, now=datetime(2026, 12, 24, 22, 59, tzinfo=UTC)).open


ICS = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:test
BEGIN:VEVENT
UID:1
DTSTART;TZID=Europe/Vienna:20261001T220000
DTEND;TZID=Europe/Vienna:20261002T020000
RRULE:FREQ=WEEKLY
EXDATE;TZID=Europe/Vienna:20261029T220000
SUMMARY:Thursdays
END:VEVENT
BEGIN:VEVENT
UID:2
DTSTART;VALUE=DATE:20261112
SUMMARY:All day
END:VEVENT
BEGIN:VEVENT
UID:3
DTSTART:20261120T100000
DURATION:PT2H
SUMMARY:Floating
END:VEVENT
BEGIN:VEVENT
UID:4
DTSTART:20261123T000000Z
DTEND:20261124T000000Z
STATUS:CANCELLED
SUMMARY:Called off
END:VEVENT
END:VCALENDAR
"""


def test_an_ics_file_is_followed_with_recurrences_exceptions_and_zones() -> None:
    """R38: what recurs, what was taken out, whole days, times without a zone, and what was called off."""
    entry = Freeze.model_validate({"name": "feed", "zone": "Europe/Vienna", "when": [{"ics": "a.ics"}]})
    begin, end = datetime(2026, 10, 20, tzinfo=UTC), datetime(2026, 11, 25, tzinfo=UTC)
    found = [
        (f"{one.begin:%m-%d %H:%M}", f"{one.end:%m-%d %H:%M}", one.what)
        for one in spans(entry, {"a.ics": ICS}, begin, end)
    ]
    assert found == [
        ("10-22 20:00", "10-23 00:00", "Thursdays"),
        ("11-05 21:00", "11-06 01:00", "Thursdays"),
        ("11-11 23:00", "11-12 23:00", "All day"),
        ("11-12 21:00", "11-13 01:00", "Thursdays"),
        ("11-19 21:00", "11-20 01:00", "Thursdays"),
        ("11-20 09:00", "11-20 11:00", "Floating"),
    ]


# Changes of the clock


@pytest.mark.parametrize(
    ("night", "hours"),
    [("2026-03-28", 3), ("2026-10-24", 5), ("2026-10-25", 4), ("2026-11-23", 4)],
)
def test_a_window_over_a_change_of_the_clock_keeps_its_wall_times(night: str, hours: int) -> None:
    """R39: 22:00-02:00 and 23:00-03:00 begin and end as the wall clock says, in the short and in the long night."""
    zone = ZoneInfo("Europe/Vienna")
    begin = datetime.fromisoformat(f"{night} 23:00").replace(tzinfo=zone)
    found = spans(window(zone.key, "2026-01-01 23:00"), {}, begin, begin + MINUTE)
    assert [(one.begin, one.end - one.begin) for one in found] == [(begin, timedelta(hours=hours))]


def test_a_local_time_that_is_skipped_is_the_moment_of_the_change() -> None:
    """R39: in Vienna 2026-03-29 02:30 does not exist; it stands for 03:00, which is 01:00 UTC."""
    vienna = ZoneInfo("Europe/Vienna")
    skipped = [moment(datetime(2026, 3, 29, 2, minute), vienna) for minute in (0, 1, 30, 59)]  # noqa: DTZ001 - what the wall clock shows
    assert skipped == [datetime(2026, 3, 29, 1, tzinfo=UTC)] * 4
    inside = window("Europe/Vienna", "2026-03-29 02:10", "40m", rrule=None)
    assert spans(inside, {}, MONDAY - timedelta(days=365), MONDAY) == []


def test_a_local_time_that_comes_twice_is_the_first_except_at_the_end_of_a_freeze() -> None:
    """R39: in Vienna 2026-10-25 02:30 comes twice; in doubt it is frozen."""
    first, second = datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    vienna = ZoneInfo("Europe/Vienna")
    doubled = datetime(2026, 10, 25, 2, 30)  # noqa: DTZ001 - what the wall clock shows
    assert (moment(doubled, vienna), moment(doubled, vienna, second=True)) == (first, second)
    year = MONDAY - timedelta(days=365)
    until = {"zone": "Europe/Vienna", "start": "2026-10-25 01:30", "duration": "1h"}
    assert spans(window(**until, rrule=None), {}, year, MONDAY)[0].end == first
    assert spans(freeze(**until), {}, year, MONDAY)[0].end == second


CHANGES = ("2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-11-01")
"""Days on which one of the zones changes its clock."""


@pytest.mark.parametrize("zone", ZONES)
def test_no_end_comes_before_its_start(zone: str) -> None:
    """R39: the moment of a local time never falls when the local time rises, minute by minute over every change."""
    for day in CHANGES:
        minutes = [datetime.fromisoformat(day) + n * MINUTE for n in range(5 * 60)]
        for second in (False, True):
            moments = [moment(one, ZoneInfo(zone), second=second) for one in minutes]
            assert moments == sorted(moments), (day, second)


LOCAL = st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1)).map(lambda one: one.replace(microsecond=0))  # noqa: DTZ001 - wall clocks


@given(LOCAL, st.sampled_from(ZONES), st.booleans())
def test_a_moment_shows_the_local_time_that_it_was_made_of(one: datetime, zone: str, second: bool) -> None:
    """R39: there and back it is the same time, or the first one after it where the clock skips it."""
    back = moment(one, ZoneInfo(zone), second=second).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    exists = one.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == one
    assert (back == one) if exists else (back > one)


@given(
    st.integers(0, 23 * 60 + 59),
    st.integers(1, 24 * 60),
    st.sampled_from(ZONES),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis wants them naive
)
def test_a_daily_window_is_open_when_the_wall_clock_says_so(start: int, minutes: int, zone: str, now: datetime) -> None:
    """R39: where the clock shows a time once, a window is open exactly when the wall clock is between its times."""
    local = now.astimezone(ZoneInfo(zone))
    again = any(
        (now + shift).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == local.replace(tzinfo=None)
        for shift in (-HOUR, HOUR, HOUR / 2, -HOUR / 2)
    )
    begins = f"2025-12-01 {start // 60:02}:{start % 60:02}"
    opening = seen(window(zone, begins, f"{minutes}m"), now=now)
    wall = local.replace(tzinfo=None)
    today = datetime.combine(wall.date(), datetime.min.time()) + timedelta(minutes=start)
    inside = any(day <= wall < day + timedelta(minutes=minutes) for day in (today, today - timedelta(days=1)))
    assert again or opening.open == inside


ENTRIES = st.lists(
    st.tuples(st.sampled_from(("window", "freeze")), st.integers(0, 23), st.integers(1, 30), st.sampled_from(ZONES)),
    max_size=5,
)


def made(kinds: list[tuple[str, int, int, str]]) -> tuple[Window | Freeze, ...]:
    """Make weekly entries of what was drawn."""
    return tuple(
        (Window if kind == "window" else Freeze).model_validate(
            {
                "name": f"e{n}",
                "zone": zone,
                "when": [{"start": f"2026-01-0{5 + n} {hour:02}:00", "duration": f"{hours}h", "rrule": "FREQ=WEEKLY"}],
            }
        )
        for n, (kind, hour, hours, zone) in enumerate(kinds)
    )


@given(ENTRIES, st.datetimes(datetime(2026, 3, 20), datetime(2026, 4, 5), timezones=st.just(UTC)), st.integers(0, 50))  # noqa: DTZ001 - hypothesis wants them naive
def test_what_is_said_of_later_comes_true(kinds: list[tuple[str, int, int, str]], now: datetime, takes: int) -> None:
    """`next` is the first moment at which it may begin, `until` when it changes; nothing is promised in vain."""
    entries, long = made(kinds), timedelta(hours=takes)
    opening = seen(*entries, now=now, takes=long)
    assert opening.may_begin == (opening.next == now)
    if opening.next is not None:
        assert seen(*entries, now=opening.next, takes=long).may_begin
        assert not seen(*entries, now=opening.next - MINUTE, takes=long).may_begin or opening.next - MINUTE < now
    if opening.until is not None:
        assert seen(*entries, now=opening.until).open != opening.open
        assert seen(*entries, now=opening.until - timedelta(seconds=1)).open == opening.open
    if opening.may_begin and takes:
        assert seen(*entries, now=now + long - timedelta(seconds=1)).open


@given(ENTRIES, st.datetimes(datetime(2026, 3, 20), datetime(2026, 4, 5), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis wants them naive
def test_a_further_freeze_never_opens_and_a_further_window_never_closes(
    kinds: list[tuple[str, int, int, str]], now: datetime
) -> None:
    """R36: allows are or-ed, and deny beats allow, for any calendar."""
    entries = made(kinds)
    opening = seen(*entries, now=now)
    assert not seen(*entries, freeze("2026-01-01 00:00", "300d"), now=now).open
    if any(isinstance(one, Window) for one in entries):
        wide = window(start="2026-01-01 00:00", duration="300d", rrule=None, name="wide")
        assert seen(*entries, wide, now=now).open >= opening.open


NUMBERS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=8)


@given(NUMBERS, NUMBERS)
def test_stretches_are_added_and_taken_out_as_sets_are(
    some: list[tuple[int, int]], others: list[tuple[int, int]]
) -> None:
    """What is allowed, without what is forbidden, minute by minute."""
    allowed, taken = (
        [Span(MONDAY + one * MINUTE, MONDAY + (one + n) * MINUTE) for one, n in many] for many in (some, others)
    )
    left = without(merged(allowed), merged(taken))
    for minute in range(75):
        now = MONDAY + minute * MINUTE
        inside = [any(one.begin <= now < one.end for one in many) for many in (left, allowed, taken)]
        assert inside[0] == (inside[1] and not inside[2])


def test_the_last_day_of_a_rule_counts() -> None:
    """UNTIL is a local time, and the window that begins then still takes place."""
    last = window(start="2026-11-01 22:00", rrule="FREQ=DAILY;UNTIL=20261123T220000")
    assert seen(last, now=at(23)).open
    assert seen(last, now=at(12, day=24)).next is None


def test_dates_of_holidays_come_from_the_package_of_that_name() -> None:
    """The national day of Austria is one, and no window is open on it."""
    entry = freeze(when=[{"country": "AT"}], zone="Europe/Vienna")
    found = spans(entry, {}, datetime(2026, 10, 20, tzinfo=UTC), datetime(2026, 10, 30, tzinfo=UTC))
    vienna = ZoneInfo("Europe/Vienna")
    assert [one.begin.astimezone(vienna).date() for one in found] == [date(2026, 10, 26)]
    assert found[0].end - found[0].begin == timedelta(days=1)
