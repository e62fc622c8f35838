"""Describe the review that follows a change which was begun without approval."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from passgate.model.frozen import Frozen


class ReviewVerdict(StrEnum):
    """Name how a review is closed. NOT_NEEDED is Passgate's own: the change ended before its first step."""

    JUSTIFIED = "justified"
    NOT_JUSTIFIED = "not-justified"
    NOT_NEEDED = "not-needed"


class Review(Frozen):
    """Hold the review of one change that began by a broken glass.

    `by` broke it, `reviewers` may close it: person ids, as they were when the change was filed. `told_at` is when
    everybody was told last that it is overdue, `kept_at` when the evidence with its end was written.
    """

    change: str
    by: str
    reviewers: tuple[str, ...]
    opened_at: datetime
    due_at: datetime
    told_at: datetime | None = None
    closed_at: datetime | None = None
    closed_by: str = ""
    verdict: ReviewVerdict | None = None
    words: str = ""
    kept_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Say whether it still has to be closed."""
        return self.closed_at is None
