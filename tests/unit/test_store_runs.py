"""Promise: one service works on a database, and of a change only its newest run speaks (DESIGN, promises 4 and 5)."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from passgate.errors import ConflictError, RecordError, SupersededError
from passgate.ledger.evidence import write_evidence
from passgate.ledger.signer import Signer
from passgate.ledger.verify import Proven
from passgate.model.change import Change, Event, EventType, State, StepState
from passgate.store.store import Store
from tests.postgres import running_postgres
from tests.record_story import (
    ALICE,
    AT,
    BOB,
    ENGINE,
    ORIGIN,
    PLAN,
    open_store,
    step_event,
    vote,
    waiting_change,
    whole_change,
)

MINUTE = timedelta(minutes=1)
INTENT, OUTCOME = EventType.STEP_INTENT, EventType.STEP_OUTCOME


@pytest.fixture(scope="module", name="postgres")
def _postgres() -> Iterator[str]:
    with running_postgres() as url:
        yield url


@pytest.fixture(name="url", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))])
def _url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Name an empty database of each kind that Passgate can use."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'passgate.db'}"
    url = str(request.getfixturevalue("postgres"))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop schema public cascade")
        connection.execute("create schema public")
    return url


@pytest.fixture(name="store")
def _store(tmp_path: Path, url: str) -> Iterator[Store]:
    store = open_store(tmp_path, url)
    yield store
    store.close()


def approved_change(store: Store) -> Change:
    """Bring a change to where it may begin, within four minutes."""
    change = waiting_change(store)
    store.decide(vote(change), BOB)
    return store.move(change.id, State.APPROVED, ENGINE, "", AT, execute_by=AT + 4 * MINUTE)


def restore_point(change: str) -> Event:
    """Return what is recorded before the first step."""
    return Event(type=EventType.RESTORE_POINT, change=change, actor=ENGINE, at=AT, data={"vm": "win-01"})


def all_of(store: Store, change: str) -> tuple[object, ...]:
    """Return everything that a run could alter of its change."""
    return store.change(change), store.journal(change), store.events()


def test_a_superseded_run_leaves_no_word(store: Store) -> None:
    """Whatever a run says under tokens that a newer run replaced is refused, and nothing of it stays."""
    change = approved_change(store)
    old = store.take_leases(change.id, PLAN.resources, MINUTE, AT)
    begun = (change.id, PLAN.steps, (restore_point(change.id),), ENGINE, "approved", AT)
    new = store.take_leases(change.id, PLAN.resources, MINUTE, AT)
    before = all_of(store, change.id)
    with pytest.raises(SupersededError, match="This run of CHG-0001 does not hold host:host-3, vm:vm-7 any more"):
        store.begin(*begun, old)
    assert all_of(store, change.id) == before
    store.begin(*begun, new)
    intent = step_event(change.id, 0, INTENT, StepState.INTENT)
    later = AT + MINUTE / 2
    sayings: tuple[Callable[[dict[str, int]], object], ...] = (
        lambda tokens: store.step(change.id, 0, StepState.INTENT, intent, attempt=True, tokens=tokens),
        lambda tokens: store.renew_leases(change.id, 9 * MINUTE, later, tokens),
        lambda tokens: store.move(change.id, State.STOPPED, ENGINE, "", later, tokens=tokens),
        lambda tokens: store.give_leases_back(change.id, later, tokens),
    )
    before = all_of(store, change.id)
    for say in sayings:
        # One old token among the current ones is enough.
        for tokens in (old, new | {PLAN.resources[0]: old[PLAN.resources[0]]}):
            with pytest.raises(SupersededError):
                say(tokens)
    assert all_of(store, change.id) == before
    vm = PLAN.resources[0]
    assert not store.lease_holds(change.id, vm, new[vm], AT + MINUTE), "the old run prolonged the lease"
    for say in sayings:
        say(new)
    assert not store.lease_holds(change.id, vm, new[vm], later)
    with pytest.raises(SupersededError):
        store.give_leases_back(change.id, later, new)  # they were given back before: nobody holds them now
    assert isinstance(store.verify(), Proven)


def test_a_late_run_that_nobody_replaced_goes_on(store: Store) -> None:
    """A lease past its time still speaks for its run; taken over by another change it does not."""
    one, two = approved_change(store), approved_change(store)
    tokens = store.take_leases(one.id, PLAN.resources, MINUTE, AT)
    late = AT + 2 * MINUTE
    store.begin(one.id, PLAN.steps, (), ENGINE, "", late, tokens)
    store.take_leases(two.id, PLAN.resources[:1], MINUTE, late)
    with pytest.raises(SupersededError):
        store.step(one.id, 0, StepState.INTENT, step_event(one.id, 0, INTENT, StepState.INTENT), tokens=tokens)


def test_a_change_begins_as_a_whole_or_not_at_all(store: Store) -> None:
    """Journal, restore point and state come together; neither too late, nor twice, nor with an event of another."""
    change, other = approved_change(store), approved_change(store)
    tokens = store.take_leases(change.id, PLAN.resources, MINUTE, AT)
    before = all_of(store, change.id)
    with pytest.raises(ConflictError, match=r"The approval of CHG-0001 ended at 2026-11-23 07:04 UTC"):
        store.begin(change.id, PLAN.steps, (), ENGINE, "", AT + 4 * MINUTE, tokens)
    with pytest.raises(RecordError, match="of CHG-0002 can't stand for one of CHG-0001"):
        store.begin(change.id, PLAN.steps, (restore_point(other.id),), ENGINE, "", AT, tokens)
    assert all_of(store, change.id) == before
    begun = store.begin(change.id, PLAN.steps, (restore_point(change.id),), ENGINE, "as it was", AT, tokens)
    assert begun.state is State.APPLYING
    assert [entry.state for entry in store.journal(change.id)] == [StepState.PENDING] * len(PLAN.steps)
    point, moved = store.events(change=change.id)[-2:]
    assert (point.type, moved.type) == (EventType.RESTORE_POINT, EventType.STATE)
    assert moved.data == {"from": "approved", "to": "applying", "why": "as it was"}
    before = all_of(store, change.id)
    with pytest.raises(ConflictError, match="is applying, not approved"):
        store.begin(change.id, PLAN.steps, (restore_point(change.id),), ENGINE, "", AT, tokens)
    assert all_of(store, change.id) == before
    assert isinstance(store.verify(), Proven)


def test_a_step_keeps_what_was_said_and_ends_with_its_change(store: Store) -> None:
    """What was seen stays until something else is said; a change that is not being applied takes no word on a step."""
    change = approved_change(store)
    store.begin_journal(change.id, PLAN.steps)
    done = step_event(change.id, 0, OUTCOME, StepState.DONE)
    with pytest.raises(ConflictError, match="is approved: none of its steps"):
        store.step(change.id, 0, StepState.DONE, done)
    store.move(change.id, State.APPLYING, ENGINE, "", AT)
    store.step(change.id, 0, StepState.INTENT, step_event(change.id, 0, INTENT, StepState.INTENT), saw="on", error="no")
    store.step(change.id, 0, StepState.DONE, done, error="")
    kept = store.journal(change.id)[0]
    assert (kept.saw, kept.error) == ("on", "")
    store.move(change.id, State.DONE, ENGINE, "", AT)
    before = all_of(store, change.id)
    with pytest.raises(ConflictError, match="is done: none of its steps"):
        store.step(change.id, 0, StepState.FAILED, done)
    assert all_of(store, change.id) == before


def test_the_last_event_is_the_newest_of_that_change(store: Store) -> None:
    """Events of other changes and of the types left out do not count, however many came since."""
    change = waiting_change(store)
    for minute in range(40):
        store.take_leases(change.id, ["vm:1"], MINUTE, AT + minute * MINUTE / 60)
    waiting_change(store)
    last = store.last_event(change.id)
    assert last == store.events(change=change.id)[-1]
    assert last
    assert last.type is EventType.LEASE
    moved = store.last_event(change.id, without={EventType.LEASE})
    assert moved
    assert (moved.type, moved.data["to"]) == (EventType.STATE, "waiting")
    assert store.last_event(change.id, without=set(EventType)) is None


def test_one_service_works_on_a_database(store: Store, tmp_path: Path, url: str) -> None:
    """A second service is refused in words while the first one lives, and let in when it closed or was killed."""
    code = (
        "import sys; from pathlib import Path; from tests.record_story import open_store\n"
        "store = open_store(Path(sys.argv[1]), sys.argv[2]); store.hold()\n"
        "print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout
        assert first.stdout.readline() == "held\n"
        with pytest.raises(ConflictError, match="Another service works on this database"):
            store.hold()
        whole_change(store)  # commands that only record are free to
        first.kill()
        first.wait()
    held_in_time(store)
    third = open_store(tmp_path, url)
    with pytest.raises(ConflictError):
        third.hold()
    store.close()
    held_in_time(third)
    third.close()


def held_in_time(store: Store) -> None:
    """Hold the database; PostgreSQL notices that a client died, or closed, by and by."""
    for _ in range(300):
        with contextlib.suppress(ConflictError):
            store.hold()
            break
        time.sleep(0.1)
    store.hold()


def test_a_service_with_another_key_does_not_start(store: Store, tmp_path: Path, url: str) -> None:
    """Where another key signed the newest head, the service says so at its start and not at the first decision."""
    store.hold()
    whole_change(store)
    store.close()
    stranger = Store(url, origin=ORIGIN, signer=Signer.load_or_create(tmp_path / "other.key"))
    with pytest.raises(RecordError, match="Another key signed the ledger") as refused:
        stranger.hold()
    assert "ledger.key of the former home" in refused.value.hint
    stranger.close()
    store.hold()


def test_tokens_come_and_go_on_the_record(store: Store, tmp_path: Path) -> None:
    """Who issued or revoked whose token is signed at once, without the token; evidence and ledger hold all the same."""
    first, second, bobs = (
        store.issue_token(who, AT, by) for who, by in (("alice", BOB), ("alice", None), ("bob", BOB))
    )
    change = whole_change(store)
    assert store.revoke_tokens("alice", AT, ALICE) == 2
    assert store.revoke_tokens("alice", AT, ALICE) == 0
    assert [store.person_of_token(token) for token in (first, second, bobs)] == [None, None, "bob"]
    issued, *_, revoked = store.events()
    assert (issued.type, issued.change, issued.actor, issued.data) == (EventType.TOKEN, "", BOB, {"person": "alice"})
    assert (revoked.type, revoked.actor) == (EventType.TOKEN_REVOKED, ALICE)
    assert revoked.data == {"person": "alice", "count": "2"}
    assert not any(token in str(event) for token in (first, second, bobs) for event in store.events())
    proven = store.verify()
    assert isinstance(proven, Proven)
    assert (proven.size, proven.signed) == (revoked.seq, revoked.seq)
    write_evidence(tmp_path / "e.zip", store.evidence_data(change.id))
