"""Keep the reviews of broken glasses: opened with the change's plan, closed once. Inside a transaction."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, or_, select, update

from passgate.errors import ConflictError, UnknownNameError
from passgate.ledger.canonical import time_text
from passgate.model.change import Actor, Change, Event, EventType
from passgate.model.decision import GlassBroken
from passgate.model.review import Review, ReviewVerdict
from passgate.policy.reviews import require_none_open
from passgate.store.refusing import refuse_secrets
from passgate.store.tables import reviews
from passgate.store.writing import PASSGATE, Write


class Reviews:
    """Read reviews and write them, each method in a transaction of its own."""

    def __init__(
        self,
        reading: Callable[[], AbstractContextManager[Connection]],
        writing: Callable[[], AbstractContextManager[Write]],
    ) -> None:
        self._reading, self._writing = reading, writing

    def one(self, change_id: str) -> Review:
        """Return the review of a change, or raise UnknownNameError."""
        with self._reading() as connection:
            return _one(connection, change_id)

    def all(self, *, only_open: bool = False, by: str | None = None, limit: int = 500) -> tuple[Review, ...]:
        """Return reviews, the newest first: only those that are still open, or of one author, where that is asked."""
        wanted: list[ColumnElement[bool]] = [reviews.c.closed_at.is_(None)] if only_open else []
        wanted += [reviews.c.by == by] if by is not None else []
        with self._reading() as connection:
            return _found(connection, *wanted, limit=limit)

    def unfinished(self) -> tuple[Review, ...]:
        """Return those that the clockwork has to look after: open ones, and closed ones that no evidence tells yet."""
        with self._reading() as connection:
            return _found(connection, or_(reviews.c.closed_at.is_(None), reviews.c.kept_at.is_(None)))

    def tell_overdue(self, review: Review, actor: Actor, at: datetime) -> bool:
        """Record that everybody is told; False when that was done or the review was closed meanwhile."""
        told = reviews.c.told_at.is_(None) if review.told_at is None else reviews.c.told_at == review.told_at
        here = (reviews.c.change == review.change) & reviews.c.closed_at.is_(None) & told
        with self._writing() as write:
            if not write.connection.execute(update(reviews).where(here).values(told_at=at)).rowcount:
                return False
            data = {"by": review.by, "due_at": time_text(review.due_at), "reviewers": list(review.reviewers)}
            write.append(Event(type=EventType.REVIEW_OVERDUE, change=review.change, actor=actor, at=at, data=data))
            return True

    def close(self, change_id: str, verdict: ReviewVerdict, words: str, actor: Actor, at: datetime) -> Review:
        """Close a review; ConflictError when it was closed meanwhile. Who may is policy's matter."""
        refuse_secrets(reason=words)
        with self._writing() as write:
            _close(write, change_id, verdict, words, actor, at=at, kept_at=None)
            return _one(write.connection, change_id)

    def note_kept(self, change_id: str, at: datetime) -> None:
        """Note that the evidence tells how the review ended."""
        with self._writing() as write:
            write.connection.execute(update(reviews).where(reviews.c.change == change_id).values(kept_at=at))


def open_one(write: Write, change: Change, glass: GlassBroken, at: datetime) -> None:
    """Open the review of a change, with its plan: whatever becomes of it, it has to be closed.

    PolicyError when its author has another one open.
    """
    refuse_open(write.connection, glass.by, "break it again")
    due_at = at + glass.review_within
    write.connection.execute(
        insert(reviews).values(
            change=change.id, by=glass.by, reviewers=json.dumps(glass.reviewers), opened_at=at, due_at=due_at,
            closed_by="", words="",
        )
    )  # fmt: skip
    data = {
        "by": glass.by, "reviewers": list(glass.reviewers), "due_at": time_text(due_at), "reason": change.reason,
    }  # fmt: skip
    write.append(Event(type=EventType.REVIEW_OPENED, change=change.id, actor=change.requester, at=at, data=data))


def refuse_open(connection: Connection, person: str, doing: str) -> None:
    """Raise PolicyError while that person has a review open."""
    open_ones = _found(connection, reviews.c.by == person, reviews.c.closed_at.is_(None))
    require_none_open(person, open_ones, doing)


def close_unneeded(write: Write, change: Change, at: datetime) -> None:
    """Close the review of a change that ends before its first step: nothing was done, so nothing is to be reviewed."""
    words = f"{change.id} ended before its first step: nothing was changed"
    _close(write, change.id, ReviewVerdict.NOT_NEEDED, words, PASSGATE, at=at, kept_at=at)


def _close(
    write: Write,
    change_id: str,
    verdict: ReviewVerdict,
    words: str,
    actor: Actor,
    *,
    at: datetime,
    kept_at: datetime | None,
) -> None:
    here = (reviews.c.change == change_id) & reviews.c.closed_at.is_(None)
    values = {
        "closed_at": at, "closed_by": actor.person, "verdict": verdict.value, "words": words, "kept_at": kept_at,
    }  # fmt: skip
    if not write.connection.execute(update(reviews).where(here).values(**values)).rowcount:
        raise ConflictError(
            f"The review of {change_id} is not open any more. Nothing was recorded.",
            hint=f"`passgate review show {change_id}` says who closed it.",
            subject=change_id,
        )
    data = {"person": actor.person, "door": actor.door.value, "verdict": verdict.value, "reason": words}
    write.append(Event(type=EventType.REVIEW_CLOSED, change=change_id, actor=actor, at=at, data=data))


def _found(connection: Connection, *wanted: ColumnElement[bool], limit: int = 10_000) -> tuple[Review, ...]:
    query = select(reviews).where(*wanted).order_by(reviews.c.opened_at.desc(), reviews.c.change.desc()).limit(limit)
    return tuple(_review(row) for row in connection.execute(query))


def _one(connection: Connection, change_id: str) -> Review:
    found = _found(connection, reviews.c.change == change_id)
    if not found:
        raise UnknownNameError(
            f"{change_id} has no review: nobody broke the glass for it.",
            hint="`passgate review list --all` shows all reviews.",
            subject=change_id,
        )
    return found[0]


def _review(row: Row[Any]) -> Review:
    values = row._asdict()
    verdict = ReviewVerdict(row.verdict) if row.verdict else None
    return Review(**values | {"reviewers": tuple(json.loads(row.reviewers)), "verdict": verdict})
