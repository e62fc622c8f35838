"""Decide whether a change may be applied at a moment, until when, and when next: windows and freezes. Pure.

Windows allow, and any of them will do; freezes forbid, and beat windows. A change that no window is about may run at
any time. A run that would not fit into what is left does not begin: it waits for the next opening that it fits into.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from passgate.policy.calendar_words import HORIZON, reasons
from passgate.policy.facts import Facts, selects
from passgate.policy.occurrences import FIRST, LAST, Span, merged, spans, without
from passgate.policy.opening import Holding, Opening
from passgate.settings.calendar import Calendar, Entry, Freeze, Overrun, Window

HORIZONS = (timedelta(days=9), timedelta(days=63), HORIZON)
"""How far it is looked ahead, in turn until the answer is found; the last reaches over two of every year's days."""
BACK = timedelta(days=9)
"""How far it is looked back for when something that holds now began, where one stretch follows another."""
LONGEST_RUN = timedelta(days=63)
"""How far it is looked back for the window in which a run began."""
STRICTNESS: tuple[Overrun, ...] = ("finish-run", "finish-step", "take-back")


def look(
    calendar: Calendar,
    facts: Facts,
    at: datetime,
    *,
    takes: timedelta = timedelta(),
    not_before: datetime | None = None,
    overridden: Collection[str] = (),
) -> Opening:
    """Return whether a change may begin at that moment, in all that the calendar says of it.

    `takes` is how long it is expected to run, `not_before` what was asked for, `overridden` are the names of freezes
    that somebody let this change through.
    """
    windows = [one for one in calendar.windows if selects(one, facts, every=False)]
    freezes = [one for one in calendar.freezes if selects(one, facts, every=False)]
    frozen = [one for one in freezes if one.name not in overridden]
    found = _Times(calendar, windows, frozen, not_before)
    for horizon in HORIZONS:
        ahead = found.open_between(at - BACK, at + horizon)
        end_is_known = all(one.end < at + horizon for one in ahead if one.begin <= at)
        begin = next(
            (max(one.begin, at) for one in ahead if one.end > at and one.end - max(one.begin, at) >= takes), None
        )
        if end_is_known and begin is not None:
            break
    now = next((one for one in ahead if one.begin <= at < one.end), None)
    since, until = _bounds(ahead, at, at - BACK, at + horizon)
    opening = Opening(
        at=at,
        open=now is not None,
        fits=now is None or begin == at,
        since=since,
        until=until,
        next=begin,
        windows=tuple(_holding(one, calendar, at) for one in windows),
        freezes=tuple(_holding(one, calendar, at) for one in frozen),
        overridden=tuple(one.name for one in freezes if one.name in overridden),
    )
    zone = ZoneInfo(calendar.zone)
    return opening.model_copy(update={"reasons": tuple(reasons(opening, takes, not_before, zone))})


def overrun(calendar: Calendar, facts: Facts, at: datetime, overridden: Collection[str] = ()) -> Overrun:
    """Return what becomes of a run that is under way when it is not open any more.

    That is the strictest of what stopped it: the freezes that hold, or else the windows that ended last.
    """
    causes: list[Entry] = [
        one
        for one in calendar.freezes
        if one.name not in overridden
        and selects(one, facts, every=False)
        and spans(one, calendar.feeds, at, at + timedelta(seconds=1))
    ]
    if not causes:
        windows = [one for one in calendar.windows if selects(one, facts, every=False)]
        ended = [
            max((span.end for span in spans(one, calendar.feeds, at - LONGEST_RUN, at)), default=FIRST)
            for one in windows
        ]
        causes = [one for one, end in zip(windows, ended, strict=True) if end == max(ended)]
    return max((one.overrun for one in causes), key=STRICTNESS.index, default="finish-run")


class _Times:
    """Find when a change may run, and what ended its time."""

    def __init__(
        self, calendar: Calendar, windows: Sequence[Window], freezes: Sequence[Freeze], not_before: datetime | None
    ) -> None:
        self._calendar = calendar
        self._windows = windows
        self._freezes = freezes
        self._not_before = not_before or FIRST

    def open_between(self, begin: datetime, end: datetime) -> list[Span]:
        """Return the stretches in which it may run, cut off at both ends."""
        allowed = merged(self._of(self._windows, begin, end)) if self._windows else [Span(FIRST, LAST)]
        bounds = [Span(FIRST, max(begin, self._not_before)), Span(end, LAST)]
        return without(allowed, merged([*self._of(self._freezes, begin, end), *bounds]))

    def _of(self, entries: Sequence[Entry], begin: datetime, end: datetime) -> Iterator[Span]:
        for entry in entries:
            yield from spans(entry, self._calendar.feeds, begin, end)


def _bounds(
    ahead: Sequence[Span], at: datetime, first: datetime, last: datetime
) -> tuple[datetime | None, datetime | None]:
    """Return since when and until when it stands as it does; None beyond what was looked at."""
    edges = [edge for one in ahead for edge in one[:2]]
    since = max((edge for edge in edges if edge <= at), default=None)
    until = min((edge for edge in edges if edge > at), default=None)
    return (None if since == first else since), (None if until == last else until)


def _holding(entry: Entry, calendar: Calendar, at: datetime) -> Holding:
    """Return when an entry holds: now, or else next."""
    for horizon in HORIZONS:
        found = merged(spans(entry, calendar.feeds, at, at + horizon))
        if found:
            break
    one = found[0] if found else None
    return Holding(
        name=entry.name,
        kind="freeze" if isinstance(entry, Freeze) else "window",
        text=entry.text,
        what=one.what if one else "",
        since=one.begin if one else None,
        until=one.end if one else None,
        override=entry.override if isinstance(entry, Freeze) else (),
    )
