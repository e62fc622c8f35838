"""Describe config/calendar/*.yaml: when changes may be applied (windows), and when they may not (freezes)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

import holidays
from dateutil.rrule import HOURLY, rrule, rrulestr
from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, field_validator, model_validator
from pydantic_core import PydanticCustomError

from passgate.settings.rules import Selector
from passgate.settings.values import Duration, Settings
from passgate.settings.zones import Zone

LONGEST = timedelta(days=366)
"""No time of an entry lasts longer. What holds for ever is said by leaving the entry out, or by policy."""

YEARS = range(1970, 2200)

Overrun = Literal["finish-run", "finish-step", "take-back"]
"""What becomes of a run that is under way when it may not go on, from the mildest to the strictest."""


def _local(given: Any) -> Any:
    try:
        moment = datetime.fromisoformat(given) if isinstance(given, str) else given
    except ValueError:
        moment = None
    if not isinstance(moment, datetime) or moment.tzinfo is not None or moment.year not in YEARS:
        raise PydanticCustomError("local", "a local time without an offset, from 1970 to 2199: 2026-01-05 22:00")
    return moment


LocalTime = Annotated[
    datetime, BeforeValidator(_local), WithJsonSchema({"type": "string", "examples": ["2026-01-05 22:00"]})
]
"""What the clock on the wall shows in the entry's zone."""


@lru_cache(maxsize=512)
def rule_of(text: str, start: datetime) -> rrule:
    """Return the local times of an RRULE from that local start on. Raises ValueError in words that name the part."""
    if any(char in text for char in "\r\n:"):
        raise ValueError("one RRULE without the word itself, such as FREQ=WEEKLY;BYDAY=MO,TU")
    parts = dict(part.upper().partition("=")[::2] for part in text.split(";"))
    if parts.get("UNTIL", "").endswith("Z"):
        raise ValueError("UNTIL is a local time here, without the Z, such as UNTIL=20261231T235900")
    if parts.get("INTERVAL", "1").strip("0") == "":
        raise ValueError("an INTERVAL of 1 or more")
    try:
        found = rrulestr(text, dtstart=start, cache=True)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"an RRULE (RFC 5545), such as FREQ=WEEKLY;BYDAY=MO,TU; this one: {error}") from None
    if not isinstance(found, rrule) or getattr(found, "_freq") >= HOURLY:  # noqa: B009 - dateutil has no public name for it
        raise ValueError("FREQ is one of YEARLY, MONTHLY, WEEKLY and DAILY")
    return found


class Times(Settings):
    """Say when an entry holds: once, or again and again by an RRULE from the first time on.

    The end is what the wall clock shows `duration` after the start: 22:00 and 8h end at 06:00 in every night of the
    year, also in the two nights that are an hour shorter or longer.
    """

    start: LocalTime = Field(description="First time, on the wall clock of the entry's zone: 2026-01-05 22:00")
    duration: Duration = Field(description="How long on the wall clock: with 8h, from 22:00 to 06:00")
    rrule: str | None = Field(
        default=None, max_length=500, description="RFC 5545, such as FREQ=WEEKLY;BYDAY=MO,TU; left out: once"
    )

    @field_validator("duration")
    @classmethod
    def _bounded(cls, duration: timedelta) -> timedelta:
        if not timedelta() < duration <= LONGEST:
            raise PydanticCustomError("duration", "a duration of more than nothing and at most 366 days")
        return duration

    @model_validator(mode="after")
    def _happens(self) -> Self:
        if self.rrule is not None:
            try:
                rule = rule_of(self.rrule, self.start)
            except ValueError as error:
                raise PydanticCustomError("rrule", "{why}", {"why": str(error)}) from None
            if next(iter(rule), None) is None:
                raise PydanticCustomError("rrule", "an RRULE that happens at least once; this one never does")
        return self


class Feed(Settings):
    """Take the events of an ICS file: an entry holds during each of them. Cancelled events are none."""

    ics: str = Field(pattern=r"^[^/\\]+\.ics$", description="File in config/calendar/, such as maintenance.ics")


class Holidays(Settings):
    """Take the public holidays of a country, each from midnight to midnight in the entry's zone."""

    country: str = Field(pattern=r"^[A-Z]{2}$", description="ISO 3166 code, such as AT")
    subdivision: str | None = Field(default=None, description="State, province, canton: BY in DE; left out: national")

    @model_validator(mode="after")
    def _known(self) -> Self:
        countries = holidays.list_supported_countries(include_aliases=False)
        if self.country not in countries:
            raise PydanticCustomError("country", "a country whose holidays are known, such as AT, DE or US")
        there = countries[self.country]
        if self.subdivision is not None and self.subdivision not in there:
            words = ", ".join(there) or "none: leave it out"
            raise PydanticCustomError("subdivision", "a subdivision of that country: {words}", {"words": words})
        return self


def _kind_of_time(given: Any) -> str | None:
    kinds = {"start": "of-times", "ics": "of-feed", "country": "of-holidays"}
    there = given if isinstance(given, Mapping) else getattr(given, "__dict__", {})
    return next((kind for name, kind in kinds.items() if name in there), None)


When = Annotated[
    Annotated[Times, Tag("of-times")] | Annotated[Feed, Tag("of-feed")] | Annotated[Holidays, Tag("of-holidays")],
    Discriminator(
        _kind_of_time,
        custom_error_type="when",
        custom_error_message="{start, duration, rrule}, {ics: file}, or {country, subdivision} for holidays",
    ),
]
"""One source of times."""
TAGS = frozenset({"of-times", "of-feed", "of-holidays"})
"""The kinds of a source of times, as pydantic names them in the place of an error."""


class Entry(Selector):
    """Say which changes an entry is about, and when it holds. What it selects may be one of several things changed."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$", description="Told to people, and recorded")
    text: str = Field(default="", max_length=300, description="For people: why, who agreed, under which ticket")
    zone: Zone | None = Field(default=None, description="Time zone of its times; left out: that of the file")
    when: tuple[When, ...] = Field(min_length=1, description="Where its times come from; any of them holds")
    overrun: Overrun = Field(
        default="finish-run",
        description="A run that is under way when its window ends or the freeze begins: finish-run goes on; "
        "finish-step begins no further step and stops; take-back takes back what was done",
    )


class Window(Entry):
    """Say when the changes that it is about may be applied. A change that several are about may use any of them."""


class Freeze(Entry):
    """Say when the changes that it is about may not be applied, whatever windows say."""

    override: tuple[str, ...] = Field(
        default=(), description="Groups of people.yaml whose members may let a change of others through; none: nobody"
    )


class CalendarFile(Settings):
    """config/calendar/*.yaml: windows and freezes. A change that no window is about may run at any time."""

    zone: Zone | None = Field(default=None, description="Time zone of the file's entries; left out: that of site.yaml")
    windows: tuple[Window, ...] = Field(default=(), description="When changes may be applied")
    freezes: tuple[Freeze, ...] = Field(default=(), description="When they may not; these beat windows")


class Calendar(Settings):
    """Hold all files of config/calendar/ as one: every entry with its zone, and the text of the ICS files by name."""

    zone: Zone = "UTC"
    windows: tuple[Window, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    feeds: dict[str, str] = Field(default_factory=dict)
