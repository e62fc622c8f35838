"""Say when the entries of the calendar hold: from local times by RRULE, ICS and holidays to moments in UTC. Pure.

Local times that do not exist, or that come twice, when clocks are changed:

- A time that the clock skips stands for the moment of the change. What lies wholly in the hour that is skipped does not
  take place.
- A time that comes twice means the first time. Only the end of a freeze means the second: in doubt it is frozen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

import holidays
import icalendar
import recurring_ical_events

from passgate.settings.calendar import Entry, Feed, Freeze, Holidays, Times, When, rule_of

DAY = timedelta(days=1)
FIRST, LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2300, 1, 1, tzinfo=UTC)
"""Nothing is looked for outside of these; zones and rules know nothing of such times."""


class Span(NamedTuple):
    """Hold a stretch of time, from `begin` until right before `end`, and what it is: a holiday, an event."""

    begin: datetime
    end: datetime
    what: str = ""


def moment(local: datetime, zone: ZoneInfo, *, second: bool = False) -> datetime:
    """Return the moment in UTC at which clocks in that zone show a local time; `second` if it comes twice.

    The result never falls when the local time rises, so that an end never comes before its start.
    """
    early, late = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if early <= late:
        return late if second else early
    return _change_between(late, early, zone)


def _change_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment of the one change of the clock in that stretch, to the second."""
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        before, after = (middle, after) if middle.astimezone(zone).utcoffset() == offset else (before, middle)
    return after


def spans(entry: Entry, feeds: Mapping[str, str], begin: datetime, end: datetime) -> list[Span]:
    """Return when an entry holds between two moments, in order; each stretch as a whole, however it began or ends."""
    zone = ZoneInfo(entry.zone or "UTC")
    begin, end = max(begin, FIRST), min(end, LAST)
    found = (one for when in entry.when for one in _local(when, feeds, zone, begin, end))
    made = (_span(one, zone, frozen=isinstance(entry, Freeze)) for one in found)
    return sorted(one for one in made if one.begin < one.end and one.begin < end and one.end > begin)


class _Local(NamedTuple):
    """Hold a stretch on the wall clock, of the entry's zone or of the event's own."""

    begin: datetime
    end: datetime
    what: str = ""


def _span(local: _Local, zone: ZoneInfo, *, frozen: bool) -> Span:
    return Span(_utc(local.begin, zone, second=False), _utc(local.end, zone, second=frozen), local.what)


def _utc(given: datetime, zone: ZoneInfo, *, second: bool) -> datetime:
    own = given.tzinfo
    if own is None or isinstance(own, ZoneInfo):
        return moment(given.replace(tzinfo=None), own or zone, second=second)
    return given.astimezone(UTC)


def _local(when: When, feeds: Mapping[str, str], zone: ZoneInfo, begin: datetime, end: datetime) -> Iterator[_Local]:
    """Yield what may lie between two moments: a day more on both sides, for no zone is further away than that."""
    first, last = (one.astimezone(zone).replace(tzinfo=None) for one in (begin - DAY, end + DAY))
    match when:
        case Times(rrule=None):
            yield _Local(when.start, when.start + when.duration)
        case Times(rrule=str(rule)):
            for start in rule_of(rule, when.start).between(first - when.duration, last, inc=True):
                yield _Local(start, start + when.duration)
        case Feed():
            yield from _events(feeds[when.ics], begin - DAY, end + DAY)
        case Holidays():
            for day, name in _holidays(when.country, when.subdivision, first.year, last.year):
                start = datetime.combine(day, time())
                yield _Local(start, start + DAY, name)


@lru_cache(maxsize=64)
def _holidays(country: str, subdivision: str | None, first: int, last: int) -> tuple[tuple[date, str], ...]:
    found = holidays.country_holidays(country, subdivision, years=range(first, last + 1), language="en_US")
    return tuple(sorted(found.items()))


@lru_cache(maxsize=64)
def _feed(text: str) -> recurring_ical_events.CalendarQuery:
    return recurring_ical_events.of(icalendar.Calendar.from_ical(text), components=["VEVENT"])


def _events(text: str, begin: datetime, end: datetime) -> Iterator[_Local]:
    for event in _feed(text).between(begin, end):
        if str(event.get("STATUS", "")).upper() != "CANCELLED":
            start, stop = (_time_of_day(event[name].dt) for name in ("DTSTART", "DTEND"))
            yield _Local(start, stop, str(event.get("SUMMARY", "")))


def _time_of_day(given: date) -> datetime:
    return given if isinstance(given, datetime) else datetime.combine(given, time())


def merged(found: Iterable[Span]) -> list[Span]:
    """Return the same time in as few stretches as possible, in order."""
    kept: list[Span] = []
    for one in sorted(found):
        if kept and one.begin <= kept[-1].end:
            what = kept[-1].what if one.what in {"", kept[-1].what} else f"{kept[-1].what}, {one.what}".strip(", ")
            kept[-1] = Span(kept[-1].begin, max(kept[-1].end, one.end), what)
        else:
            kept.append(one)
    return kept


def without(found: Sequence[Span], taken: Sequence[Span]) -> list[Span]:
    """Return what is left of stretches in order when others, merged and in order, are taken out of them."""
    left: list[Span] = []
    for one in found:
        inside = [(max(cut.begin, one.begin), min(cut.end, one.end)) for cut in taken]
        edges = [one.begin, *(edge for cut in inside if cut[0] < cut[1] for edge in cut), one.end]
        left += [Span(begin, end) for begin, end in list(pairwise(edges))[::2] if begin < end]
    return left
