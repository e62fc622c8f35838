"""Say in words what the calendar says of a change. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from passgate.policy.opening import Holding, Opening

HORIZON = timedelta(days=800)
"""How far it is looked ahead at most."""


def explained(about: str, opening: Opening, takes: timedelta | None, zone: ZoneInfo) -> Iterator[str]:
    """Yield what a person is told who asks whether something may be done at a moment.

    `takes` is how long it is expected to run, where there is a plan that tells it.
    """
    until = f", until {clock(opening.until, zone)}" if opening.until else ""
    state = "it may begin" if opening.may_begin else "open, but too short" if opening.open else "closed"
    yield f"{about} at {clock(opening.at, zone)}: {state}{until}."
    yield from (f"  {one[0].upper()}{one[1:]}." for one in opening.reasons)
    if takes is None:
        yield "  How long it takes is known once there is a plan; it has to fit into what is left."
    else:
        yield f"  It takes about {length(takes)}{', and that fits' if opening.may_begin else ''}."
    if not opening.may_begin and opening.next is not None:
        yield f"  It may begin at {clock(opening.next, zone)}."
    for one in opening.freezes:
        if _now(one, opening.at):
            who = f"members of {' or '.join(one.override)}, with a reason, never for their own change"
            yield f"  The freeze {one.name!r} can be overridden by {who if one.override else 'nobody'}."


def reasons(opening: Opening, takes: timedelta, not_before: datetime | None, zone: ZoneInfo) -> Iterator[str]:
    """Yield why it is open or not, and why a run does not fit."""
    at = opening.at
    if not_before is not None and at < not_before:
        yield f"it was asked not to begin before {clock(not_before, zone)}"
    holding = [one for one in opening.freezes if _now(one, at)]
    yield from (f"{_named(one)} holds until {clock(one.until, zone)}" for one in holding)
    yield from (f"freeze {name!r} was overridden for it" for name in opening.overridden)
    in_window = [one for one in opening.windows if _now(one, at)]
    yield from (f"{_named(one)} is open until {clock(one.until, zone)}" for one in in_window)
    if opening.windows and not in_window:
        each = (f"{_named(one)} {_next(one, zone)}" for one in opening.windows)
        yield f"none of its windows is open: {'; '.join(each)}"
    if not opening.windows:
        yield "no window is about it, so it may run at any time" + (" that no freeze takes" if opening.freezes else "")
    if opening.open and not opening.fits and opening.until is not None:
        left = length(opening.until - at)
        yield f"it needs {length(takes)}, and only {left} are left until {clock(opening.until, zone)}"
    if opening.next is None:
        long = f" of {length(takes)} or more" if takes else ""
        yield f"in the next {HORIZON.days} days there is no opening{long} for it"


def _now(one: Holding, at: datetime) -> bool:
    return one.since is not None and one.until is not None and one.since <= at < one.until


def _named(one: Holding) -> str:
    said = "; ".join(filter(None, (one.what, one.text)))
    return f"{one.kind} {one.name!r}" + (f" ({said})" if said else "")


def _next(one: Holding, zone: ZoneInfo) -> str:
    return f"opens at {clock(one.since, zone)}" if one.since else "does not open any more"


def clock(moment: datetime | None, zone: ZoneInfo) -> str:
    """Return a moment as people of that zone read it, such as `Mon 2026-12-28 22:00 CET`."""
    if moment is None:
        return "for ever"
    return f"{moment.astimezone(zone):%a %Y-%m-%d %H:%M %Z}"


def length(span: timedelta) -> str:
    """Return a length of time in words, such as `1 h 5 min`, in whole minutes, or in seconds below one."""
    if span < timedelta(minutes=1):
        return f"{round(span.total_seconds())} s"
    minutes = round(span / timedelta(minutes=1))
    parts = ((minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number)
