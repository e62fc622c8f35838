"""Say who may close the review of a broken glass, what its author may not do until then, and when it is told. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from passgate.errors import ConflictError, PolicyError
from passgate.model.change import Change
from passgate.model.review import Review
from passgate.settings.people import People

TOLD_EVERY = timedelta(days=1)
"""How long after it was told that a review is overdue it is told again."""


def require_none_open(person: str, reviews: Collection[Review], doing: str) -> None:
    """Return unless that person broke a glass whose review is still open; PolicyError says which and who closes it."""
    for review in reviews:
        if review.by == person and review.is_open:
            raise PolicyError(
                f"{person} broke the glass for {review.change}, and its review is open; until it is closed {person} "
                f"can't {doing}. Nothing was recorded.",
                hint=f"One of {', '.join(review.reviewers)} closes it: see `passgate review show {review.change}`.",
                subject=review.change,
            )


def may_close(review: Review, change: Change, people: People, person: str) -> None:
    """Return when that person may close the review now; raise PolicyError or ConflictError in words when not."""
    excluded = change.terms.excluded if change.terms else {}
    names = {one.id: one.name for one in people.people}
    who = f"Ask one of: {', '.join(names.get(one, one) for one in review.reviewers)}."
    if not review.is_open:
        raise ConflictError(
            f"The review of {review.change} was closed before, by {review.closed_by} as {review.verdict}.",
            hint=f"`passgate review show {review.change}` says why.",
            subject=review.change,
        )
    if person == review.by:
        raise PolicyError(
            f"{person} broke the glass for {review.change}, and so can't review it.", hint=who, subject=person
        )
    if person in excluded:
        raise PolicyError(
            f"{person} {excluded[person]}, and so can't review {review.change}.", hint=who, subject=person
        )
    if person not in review.reviewers or person not in names:
        raise PolicyError(f"{person} is not among those who may review {review.change}.", hint=who, subject=person)
    if not change.state.is_end:
        raise ConflictError(
            f"{review.change} is {change.state}: there is nothing to review until it has ended.",
            hint=f"Follow it with `passgate watch {review.change}`.",
            subject=review.change,
        )


def waits_for(review: Review, change: Change, people: People, person: str) -> bool:
    """Say whether the review waits for that person: whether they may close it now."""
    try:
        may_close(review, change, people, person)
    except (ConflictError, PolicyError):
        return False
    return True


def may_not_approve(reviews: Iterable[Review]) -> dict[str, str]:
    """Return who can approve nothing now, and why: those with one of these reviews to answer for that is open."""
    return {one.by: f"broke the glass for {one.change}, whose review is open" for one in reviews if one.is_open}


def told_next(review: Review) -> datetime | None:
    """Return when everybody is told next that the review is overdue; None when it is closed."""
    if not review.is_open:
        return None
    return review.due_at if review.told_at is None else review.told_at + TOLD_EVERY


def is_to_be_told(review: Review, now: datetime) -> bool:
    """Say whether it is time to tell everybody that the review is overdue: when it is due, and then once a day."""
    at = told_next(review)
    return at is not None and now >= at
