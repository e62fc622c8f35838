"""Review broken glasses afterwards: close a review, keep it in the evidence, tell everybody of one that is overdue."""

from __future__ import annotations

import logging

from passgate.engine.authority import ENGINE
from passgate.engine.ending import is_kept, write_evidence
from passgate.engine.runtime import Runtime
from passgate.errors import InputError, PassgateError
from passgate.model.change import Actor
from passgate.model.review import Review, ReviewVerdict
from passgate.policy.reviews import is_to_be_told, may_close

log = logging.getLogger(__name__)


async def close(runtime: Runtime, change_id: str, actor: Actor, verdict: ReviewVerdict, reason: str) -> Review:
    """Close the review of a change, and write its evidence anew.

    The evidence was written when the change ended; the new file holds the review as well, and the record has the
    SHA-256 of both. PolicyError when that person may not, InputError without a reason or verdict of a person.
    """
    if verdict is ReviewVerdict.NOT_NEEDED:
        raise InputError(
            "Only Passgate itself says that a review is not needed, of a change that ended before its first step.",
            hint=f"Accepted: {ReviewVerdict.JUSTIFIED}, {ReviewVerdict.NOT_JUSTIFIED}.",
            subject="verdict",
        )
    if not reason.strip():
        raise InputError(
            "A review needs words.", hint="Say what was found, for its author and for the record.", subject="reason"
        )
    store = runtime.store
    review, change = store.reviews.one(change_id), store.change(change_id)
    may_close(review, change, runtime.config.people, actor.person)
    review = store.reviews.close(change_id, verdict, reason.strip(), actor, runtime.clock())
    await _keep(runtime, review)
    return store.reviews.one(change_id)


async def look_after_reviews(runtime: Runtime) -> None:
    """Tell everybody of the reviews that are overdue, and write the evidence that a crash left without its review."""
    for review in runtime.store.reviews.unfinished():
        if is_to_be_told(review, runtime.clock()):
            runtime.store.reviews.tell_overdue(review, ENGINE, runtime.clock())
        elif not review.is_open:
            await _keep(runtime, review)


async def _keep(runtime: Runtime, review: Review) -> None:
    """Write the evidence anew; where that fails, the review is closed all the same and the clockwork tries again."""
    change = runtime.store.change(review.change)
    try:
        if is_kept(runtime, change.id):  # without one it is about to be written, with all of this
            await write_evidence(runtime, change)
        runtime.store.reviews.note_kept(change.id, runtime.clock())
    except PassgateError as error:
        log.warning("the evidence of %s does not tell its review yet: %s", change.id, error.message)
