"""Describe schedules as they stand, and what became of each of their occurrences."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from passgate.model.frozen import Frozen
from passgate.settings.schedules import ScheduleRule


class Schedule(Frozen):
    """Hold a schedule as it stands; `origin` says whether config or a person's command made it.

    What was due until `since` is settled. `standing_since` is when standing approvals were last revoked: only decisions
    given later may stand.
    """

    rule: ScheduleRule
    origin: Literal["config", "command"] = "command"
    paused: bool = False
    created_at: datetime
    since: datetime
    standing_since: datetime

    @property
    def name(self) -> str:
        """Return its name."""
        return self.rule.name


class Outcome(StrEnum):
    """Name what became of an occurrence. QUEUED is not settled yet; NOT_FILED was refused before it was a change."""

    QUEUED = "queued"
    FILED = "filed"
    SKIPPED = "skipped"
    NOT_FILED = "not filed"


class Due(Frozen):
    """Hold one occurrence: what the wall clock shows then, which is its key, and the moment in UTC."""

    local: str
    at: datetime


class Occurrence(Due):
    """Hold what became of an occurrence of a schedule, and why in words; `change` is the one that was filed."""

    schedule: str
    outcome: Outcome
    change: str | None = None
    why: str = ""
    noted_at: datetime
