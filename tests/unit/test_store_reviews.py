"""Promise: whoever breaks the glass has a review, from the moment of filing on, and somebody else closes it once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from passgate.errors import ConflictError, PolicyError, UnknownNameError
from passgate.ledger.evidence import BadEvidence, Evidence, verify_evidence, write_evidence
from passgate.ledger.verify import Finding, Proven
from passgate.model.change import Actor, Change, Door, EventType, State
from passgate.model.decision import GlassBroken, Kind, Terms, Verdict
from passgate.model.review import ReviewVerdict
from passgate.store.store import Store
from tests.record_story import ALICE, AT, BOB, ENGINE, PLAN, open_store, vote, waiting_change

DAY = timedelta(days=1)
ENDED = AT + timedelta(minutes=5)
DAVE = Actor(person="dave", door=Door.CLI)


def broken(by: str, reviewers: tuple[str, ...] = ("bob", "dave")) -> Terms:
    """Return the terms of a broken glass."""
    glass = GlassBroken(by=by, reviewers=reviewers, groups=("managers",), review_within=3 * DAY)
    return Terms(policy="break-glass", kind=Kind.BREAK_GLASS, excluded={by: "asks for it"}, break_glass=glass)


def break_glass(store: Store, by: Actor = ALICE, at: datetime = AT, terms: Terms | None = None) -> Change:
    """File a change that nobody approves."""
    change = store.file_change("usb-attach", {"vm": "win-01"}, by, "the licence dongle died", None, at)
    store.save_plan(change.id, PLAN, terms or broken(by.person), None, at)
    return store.move(change.id, State.APPROVED, ENGINE, "", at, execute_by=at + timedelta(minutes=30))


def carried_out(store: Store, change: Change) -> Change:
    """Begin it and end it."""
    store.move(change.id, State.APPLYING, ENGINE, "", AT)
    return store.move(change.id, State.DONE, ENGINE, "", ENDED, outcome="it ended")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Open a store of its own."""
    opened = open_store(tmp_path)
    yield opened
    opened.close()


def kinds(store: Store, change: Change) -> list[EventType]:
    """Return the types of a change's events."""
    return [event.type for event in store.events(change=change.id)]


def test_the_review_is_there_with_the_plan(store: Store) -> None:
    """One transaction writes both, so that no crash leaves a broken glass without its review."""
    change = break_glass(store)
    review = store.reviews.one(change.id)
    assert (review.by, review.reviewers, review.due_at, review.is_open) == (
        "alice", ("bob", "dave"), AT + 3 * DAY, True,
    )  # fmt: skip
    planned = kinds(store, change).index(EventType.PLANNED)
    assert kinds(store, change)[planned + 1] is EventType.REVIEW_OPENED
    assert store.reviews.all(only_open=True, by="alice") == (review,)
    assert store.reviews.all(by="bob") == ()


def test_until_it_is_closed_its_author_neither_approves_nor_breaks_the_glass_again(store: Store) -> None:
    """Refused in the very transaction that would record it, in words that name the review and who closes it (R1)."""
    carol = Actor(person="carol", door=Door.CLI)
    change = carried_out(store, break_glass(store, carol))
    other = waiting_change(store)
    with pytest.raises(PolicyError, match=f"for {change.id}, and its review is open.*can't approve anything") as caught:
        store.decide(vote(other, "carol"), carol)
    assert "bob, dave closes it" in caught.value.hint
    with pytest.raises(PolicyError, match="can't break it again"):
        break_glass(store, carol)
    assert store.decide(vote(other, "carol", Verdict.DENY), carol)  # a denial stops things; it lets nothing through
    store.reviews.close(change.id, ReviewVerdict.JUSTIFIED, "it was", BOB, ENDED)
    assert store.decide(vote(waiting_change(store), "carol"), carol)
    break_glass(store, carol, ENDED)


@pytest.mark.parametrize("end", [State.VOID, State.EXPIRED, State.WITHDRAWN])
def test_what_never_began_needs_no_review(store: Store, end: State) -> None:
    """A change that ended before its first step changed nothing: whoever is on call may break the glass again."""
    change = break_glass(store)
    store.move(change.id, end, ALICE if end is State.WITHDRAWN else ENGINE, "", ENDED, outcome="it ended")
    review = store.reviews.one(change.id)
    assert (review.verdict, review.closed_by) == (ReviewVerdict.NOT_NEEDED, "passgate")
    assert isinstance(store.verify(), Proven)
    break_glass(store, at=ENDED)


def test_a_review_is_closed_once(store: Store) -> None:
    """The second one comes too late, whatever it says."""
    change = carried_out(store, break_glass(store))
    store.reviews.close(change.id, ReviewVerdict.NOT_JUSTIFIED, "it could have waited", BOB, ENDED)
    with pytest.raises(ConflictError, match="not open any more"):
        store.reviews.close(change.id, ReviewVerdict.JUSTIFIED, "no, it could not", DAVE, ENDED)
    assert store.reviews.one(change.id).verdict is ReviewVerdict.NOT_JUSTIFIED
    with pytest.raises(UnknownNameError, match="has no review"):
        store.reviews.one(waiting_change(store).id)


def test_overdue_is_told_once_each_time(store: Store) -> None:
    """Whoever comes second with the same news records nothing."""
    change = carried_out(store, break_glass(store))
    review, late = store.reviews.one(change.id), AT + 3 * DAY
    assert store.reviews.tell_overdue(review, ENGINE, late)
    assert not store.reviews.tell_overdue(review, ENGINE, late)
    assert store.reviews.tell_overdue(store.reviews.one(change.id), ENGINE, late + DAY)
    assert kinds(store, change).count(EventType.REVIEW_OVERDUE) == 2
    store.reviews.close(change.id, ReviewVerdict.JUSTIFIED, "late, but justified", BOB, late + DAY)
    assert not store.reviews.tell_overdue(store.reviews.one(change.id), ENGINE, late + 2 * DAY)
    assert isinstance(store.verify(), Proven)


def checked(store: Store, change: Change, folder: Path) -> Evidence | BadEvidence:
    """Write the evidence of a change, and check it with its own program."""
    key = store.verifier_key
    assert key is not None
    write_evidence(folder / "it.zip", store.evidence_data(change.id))
    return verify_evidence(folder / "it.zip", key.text)


def test_evidence_says_how_the_review_stands(store: Store, tmp_path: Path) -> None:
    """Written when the change ends, it says that the review is open; written anew, by whom it was closed and how."""
    change = carried_out(store, break_glass(store))
    first = checked(store, change, tmp_path)
    assert isinstance(first, Evidence), first
    assert "begun without approval by alice, who broke the glass (its review, due by 2026-11-26" in first.words
    store.reviews.close(change.id, ReviewVerdict.NOT_JUSTIFIED, "it could have waited", BOB, ENDED)
    second = checked(store, change, tmp_path)
    assert isinstance(second, Evidence)
    assert "who broke the glass (reviewed by bob: not justified)" in second.words


@pytest.mark.parametrize(
    ("by", "at", "words"),
    [
        (ALICE, ENDED, "alice reviewed a change of their own"),
        (Actor(person="carol", door=Door.CLI), ENDED, "carol reviewed it without being entitled to"),
    ],
)
def test_a_review_by_the_wrong_person_is_found_offline(
    store: Store, tmp_path: Path, by: Actor, at: datetime, words: str
) -> None:
    """Whoever can write to the database, or takes the engine's checks out, is found by anybody with the public key."""
    change = carried_out(store, break_glass(store))
    store.reviews.close(change.id, ReviewVerdict.JUSTIFIED, "I say so", by, at)
    found = checked(store, change, tmp_path)
    assert isinstance(found, BadEvidence)
    assert words in found.reason
    whole = store.verify()
    assert isinstance(whole, Finding)
    assert words in whole.what


def test_a_review_before_the_end_is_found_offline(store: Store) -> None:
    """Nobody can have looked at what was not over."""
    change = break_glass(store)
    store.reviews.close(change.id, ReviewVerdict.JUSTIFIED, "blindly", BOB, AT)
    found = store.verify()
    assert isinstance(found, Finding)
    assert "it was reviewed while it was approved" in found.what


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        (Terms(policy="x", kind=Kind.BREAK_GLASS, voters=("bob",)), "it was approved with 0 of 1 approvals"),
        (broken("bob"), "it has the terms of a broken glass, but nobody broke it"),
        (broken("alice").model_copy(update={"kind": Kind.NORMAL}), "nobody broke it"),
    ],
    ids=["no such terms", "of another", "of another kind"],
)
def test_a_broken_glass_without_the_terms_for_it_is_found_offline(store: Store, terms: Terms, words: str) -> None:
    """A change is begun without approval only where its frozen terms say who may, and that is who asked."""
    break_glass(store, terms=terms)
    found = store.verify()
    assert isinstance(found, Finding)
    assert words in found.what
