"""Describe config/schedules/*.yaml: which runbook is asked for again and again, when, and in whose name."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal, Self

from cronsim import CronSim, CronSimError
from pydantic import Field, field_serializer, model_validator
from pydantic_core import PydanticCustomError

from passgate.settings.calendar import LocalTime, rule_of
from passgate.settings.values import Duration, Settings
from passgate.settings.zones import Zone

CRON_FIELDS = 5
LONGEST_LATE = timedelta(days=7)

Missed = Literal["skip", "latest"]
Overlap = Literal["skip", "queue"]


class ScheduleRule(Settings):
    """Say what one schedule asks for, when, and in whose name.

    Times are those of the wall clock in its zone. A time that comes twice, when clocks are put back, is one occurrence:
    the first. A time that the clock skips is taken at the moment of the change.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$", description="Told to people, and recorded with each change")
    text: str = Field(default="", max_length=300, description="For people: what it is for")
    runbook: str = Field(description="Slug of the runbook, such as usb-attach")
    ask: dict[str, Any] = Field(default_factory=dict, description="The runbook's own fields, as for `passgate request`")
    author: str = Field(description="Person id: asks for each change, and so never counts as its approver")
    cron: str | None = Field(
        default=None, max_length=100, description="Minute, hour, day, month, weekday: 0 18 * * FRI; or give rrule"
    )
    rrule: str | None = Field(default=None, max_length=500, description="RFC 5545, such as FREQ=MONTHLY;BYDAY=1SA")
    first: LocalTime | None = Field(default=None, description="First time of an rrule, on the wall clock of the zone")
    zone: Zone = Field(description="Time zone by its IANA name, such as Europe/Vienna")
    ends: LocalTime | None = Field(default=None, description="Nothing later than that, on the wall clock of the zone")
    missed: Missed = Field(
        default="skip",
        description="An occurrence while Passgate did not run: skip tells of it; latest makes up for the last",
    )
    overlap: Overlap = Field(
        default="skip",
        description="An occurrence while the change before is open: skip tells of it; queue waits for its end",
    )
    late: Duration = Field(
        default=timedelta(hours=4), description="How late it may be filed, where missed or overlap let it be"
    )
    paused: bool = Field(default=False, description="Nothing is filed until somebody lets it go on")

    @model_validator(mode="after")
    def _happens(self) -> Self:
        if (self.cron is None) == (self.rrule is None):
            raise PydanticCustomError("times", "exactly one of cron and rrule")
        if (self.rrule is None) != (self.first is None):
            raise PydanticCustomError("first", "first together with rrule, and only there")
        if self.cron is not None:
            _checked_cron(self.cron)
        if self.rrule is not None and self.first is not None:
            if "BYSECOND" in self.rrule.upper():
                raise PydanticCustomError("rrule", "an RRULE without BYSECOND: an occurrence is named by its minute")
            try:
                rule_of(self.rrule, self.first)
            except ValueError as error:
                raise PydanticCustomError("rrule", "{why}", {"why": str(error)}) from None
        if not timedelta() <= self.late <= LONGEST_LATE:
            raise PydanticCustomError("late", "a duration of at most 7 days for late")
        return self

    @field_serializer("late", when_used="json")
    def _as_written(self, late: timedelta) -> str:
        sizes = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1)))
        unit, size = next((one for one in sizes if late and late % one[1] == timedelta()), ("s", timedelta(seconds=1)))
        return f"{late / size:g}{unit}"

    @property
    def times(self) -> str:
        """Return its times as they were written."""
        return f"{self.cron or self.rrule} {self.zone}"


def _checked_cron(cron: str) -> None:
    """Raise unless it is a cron expression that happens. Prefect reads a sixth field as seconds, cron has none."""
    try:
        if len(cron.split()) != CRON_FIELDS:
            raise CronSimError("five fields: minute, hour, day, month, weekday")  # noqa: TRY301 - one way out for all
        next(CronSim(cron, datetime(2026, 1, 1)))  # noqa: DTZ001 - the wall clock's
    except (CronSimError, StopIteration) as error:
        why = str(error) or "it never happens"
        raise PydanticCustomError(
            "cron", "a cron expression such as 0 18 * * FRI; this one: {why}", {"why": why}
        ) from None


class ScheduleFile(Settings):
    """config/schedules/*.yaml: what is asked for again and again."""

    schedules: tuple[ScheduleRule, ...] = Field(default=(), description="In any order")
