"""Read the ICS files in config/calendar/: what is wrong in one is found when config is loaded, with its line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import icalendar
import recurring_ical_events

from passgate.settings.zones import known


class Flaw(NamedTuple):
    """Say what is wrong in an ICS file, and in which line, counted from 1."""

    line: int
    words: str


def flaws(text: str) -> Iterator[Flaw]:
    """Yield what keeps an ICS file from being used: no calendar, events without a proper time, unknown zones."""
    try:
        calendar = icalendar.Calendar.from_ical(text)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        yield Flaw(1, f"not an ICS file (RFC 5545): {str(error).strip() or type(error).__name__}")
        return
    if calendar.name != "VCALENDAR":
        yield Flaw(1, "not an ICS file (RFC 5545): it begins with no VCALENDAR")
        return
    there = {str(one.get("TZID", "")) for one in calendar.walk("VTIMEZONE")}
    found = [flaw for event in calendar.walk("VEVENT") for flaw in _flaws_of(event, text, there)]
    yield from found or _flaws_of_series(calendar)


def _flaws_of_series(calendar: icalendar.Component) -> Iterator[Flaw]:
    try:
        recurring_ical_events.of(calendar)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        yield Flaw(1, f"what recurs in it can't be followed: {str(error).strip() or type(error).__name__}")


def _flaws_of(event: icalendar.Component, text: str, zones: set[str]) -> Iterator[Flaw]:
    what = f"event {str(event.get('SUMMARY', '')) or str(event.get('UID', '')) or 'without a name'!r}"
    line = _line(text, f"UID:{event.get('UID', '')}")
    for name, words in event.errors:
        yield Flaw(line, f"{what}: {name}: {words}")
    if event.errors:
        return
    if "DTSTART" not in event:
        yield Flaw(line, f"{what} has no DTSTART")
    for name in ("DTSTART", "DTEND", "RECURRENCE-ID"):
        zone = str(getattr(event.get(name), "params", {}).get("TZID", ""))
        naive = zone and getattr(getattr(event.get(name), "dt", None), "tzinfo", None) is None
        if naive and zone not in zones | known():
            yield Flaw(
                _line(text, f"TZID={zone}"), f"{what}: {zone!r} is no IANA time zone, and the file describes none"
            )


def _line(text: str, part: str) -> int:
    return next((number for number, line in enumerate(text.splitlines(), 1) if part in line), 1)
