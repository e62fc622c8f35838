"""Promise: state and record change together or not at all, and nobody gets in twice (DESIGN, promises 4 and 5)."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy import text

from passgate.errors import ConflictError, InputError, RecordError
from passgate.ledger.canonical import LEFT_OUT
from passgate.ledger.evidence import BadEvidence, Evidence, verify_evidence, write_evidence
from passgate.ledger.verify import Proven
from passgate.model.change import Change, Event, EventType, State, StepState
from passgate.model.decision import Decision, Verdict
from passgate.store.expiring import Expiry
from passgate.store.store import Store
from passgate.store.tables import REVISION, metadata
from tests.postgres import running_postgres
from tests.record_story import ALICE, AT, BOB, ENGINE, PLAN, open_store, vote, waiting_change, whole_change

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
Opened = Callable[[], Store]


@pytest.fixture(scope="module", name="postgres")
def _postgres() -> Iterator[str]:
    with running_postgres() as url:
        yield url


@pytest.fixture(
    name="opened", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))]
)
def _opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """Open stores on one empty database, of each kind that Passgate can use."""
    url = None
    if request.param == "postgresql":
        url = str(request.getfixturevalue("postgres"))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("drop schema public cascade")
            connection.execute("create schema public")
    stores: list[Store] = []

    def opened() -> Store:
        stores.append(open_store(tmp_path, url))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


def approved_change(store: Store) -> Change:
    """Bring a change to where it may begin."""
    change = waiting_change(store)
    store.decide(vote(change), BOB)
    return store.move(change.id, State.APPROVED, ENGINE, "", AT, execute_by=AT + 4 * MINUTE)


def begun_change(store: Store) -> tuple[Change, dict[str, int]]:
    """Bring a change to where its first step may begin; return the tokens of its leases as well."""
    change = approved_change(store)
    tokens = store.take_leases(change.id, PLAN.resources, MINUTE, AT)
    return store.begin(change.id, PLAN.steps, (), ENGINE, "approved", AT, tokens), tokens


def test_a_whole_change_verifies_and_its_evidence_proves_who_approved(opened: Opened, tmp_path: Path) -> None:
    """The evidence of a change holds under the published key, no other, and can be written again byte by byte."""
    store = opened()
    change = whole_change(store)
    assert isinstance(store.verify(), Proven)
    key = store.verifier_key
    assert key
    first = write_evidence(tmp_path / "a.zip", store.evidence_data(change.id))
    assert first == write_evidence(tmp_path / "b.zip", store.evidence_data(change.id))
    proven = verify_evidence(tmp_path / "a.zip", key.text)
    assert isinstance(proven, Evidence), proven
    assert (proven.approved_by, proven.end) == (("bob",), "done")
    (tmp_path / "o").mkdir()
    other = open_store(tmp_path / "o").verifier_key
    assert other
    found = verify_evidence(tmp_path / "a.zip", other.text)
    assert isinstance(found, BadEvidence)
    assert found.file == "checkpoint.txt"


def test_a_decision_counts_once_and_only_on_the_current_plan(opened: Opened) -> None:
    """A second click is harmless; a changed mind and another plan are refused in words."""
    store = opened()
    change = waiting_change(store)
    assert store.decide(vote(change), BOB)
    assert not store.decide(vote(change), BOB)
    with pytest.raises(ConflictError, match="decided on CHG-0001 before"):
        store.decide(vote(change, verdict=Verdict.DENY), BOB)
    with pytest.raises(ConflictError, match="another plan"):
        store.decide(vote(change, "carol").model_copy(update={"digest": "sha256:0"}), BOB)
    assert len(store.decisions(change.id)) == 1


def test_nothing_changes_when_it_can_not_be_recorded(tmp_path: Path) -> None:
    """A secret in the ask, or a ledger that can't be written, leaves no change behind."""
    store = open_store(tmp_path)
    with pytest.raises(InputError, match="named like a secret"):
        store.file_change("usb-attach", {"password": "canary"}, ALICE, "", None, AT)
    change = waiting_change(store)
    with sqlite3.connect(tmp_path / "passgate.db") as raw:
        raw.execute("create trigger full before insert on ledger begin select raise(abort, 'disk is full'); end")
    with pytest.raises(RecordError, match="the disk is full"):
        store.move(change.id, State.WITHDRAWN, ALICE, "", AT)
    assert [each.state for each in store.changes()] == [State.WAITING]


def test_rows_of_the_ledger_can_not_be_altered_by_accident(opened: Opened) -> None:
    """The database itself refuses updates and deletes of the record, in words."""
    store = opened()
    waiting_change(store)
    for statement in ("update ledger set seq = seq + 1", "delete from ledger", "delete from checkpoints"):
        with pytest.raises(RecordError, match="append-only"), store._database.writing() as connection:
            connection.execute(text(statement))
    assert isinstance(store.verify(), Proven)


def test_any_text_and_number_from_the_estate_can_be_recorded(opened: Opened) -> None:
    """NUL characters, halves of characters, fractions, great numbers and words like secrets stop nothing."""
    store = opened()
    change, _ = begun_change(store)
    nasty = "\0 \ud800 xoxb-1-canary Bearer abcdefghijklmnop0123"
    facts = {nasty: nasty, "password": "on a note", "load": 0.1, "size": 2**60, "none": None, "at": [float("nan")]}
    event = Event(type=EventType.RESTORE_POINT, change=change.id, actor=ENGINE, at=AT, data={"facts": facts})
    entry = store.step(change.id, 0, StepState.DONE, event, saw=nasty, error=nasty)
    assert store.journal(change.id)[0].index == entry.index
    held = store.events(change=change.id)[-1].data["facts"]
    assert (held["load"], held["size"], held["none"], held["password"]) == ("0.1", str(2**60), None, LEFT_OUT)
    assert "canary" not in str(held)
    assert isinstance(store.verify(), Proven)


def test_only_what_is_declared_a_secret_is_refused_and_leaves_nothing_behind(opened: Opened) -> None:
    """A SecretStr in an event is an error of ours: neither state nor record changes, and the secret is not told."""
    store = opened()
    change, _ = begun_change(store)
    data = {"facts": [{"login": SecretStr("canary")}]}
    event = Event(type=EventType.STEP_OUTCOME, change=change.id, actor=ENGINE, at=AT, data=data)
    before = store.events()
    with pytest.raises(RecordError, match=r"data\.facts\[0\]\.login is a secret") as refused:
        store.step(change.id, 0, StepState.DONE, event)
    assert "canary" not in f"{refused.value.message} {refused.value.hint}"
    assert (store.events(), store.journal(change.id)[0].state) == (before, StepState.PENDING)


def test_what_people_type_is_refused_when_it_looks_like_a_secret(opened: Opened) -> None:
    """Reasons and tickets with a token in them are refused before anything is kept; a ledger cannot forget."""
    store = opened()
    token = "xoxb-1-canary"
    with pytest.raises(InputError, match="The reason holds"):
        store.file_change("usb-attach", {}, ALICE, token, None, AT)
    with pytest.raises(InputError, match="The ticket holds"):
        store.file_change("usb-attach", {}, ALICE, "", token, AT)
    change = waiting_change(store)
    with pytest.raises(InputError, match="The reason holds"):
        store.decide(vote(change).model_copy(update={"reason": token}), BOB)
    with pytest.raises(InputError, match="The reason holds"):
        store.move(change.id, State.WITHDRAWN, ALICE, token, AT)
    assert store.change(change.id).state is State.WAITING


def test_migrations_make_the_tables_that_the_code_describes(opened: Opened) -> None:
    """Nothing differs between a migrated database and the tables in the code, and the newest migration is known."""
    store = opened()
    with store._database.reading() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == REVISION


def test_postgresql_without_its_driver_says_what_to_install() -> None:
    """The driver is an extra of its own, so whoever chooses PostgreSQL is told its name."""
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from passgate.store.database import open_engine\n"
        "try: open_engine('postgresql://localhost/passgate')\n"
        "except Exception as error: print(type(error).__name__, error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "RecordError Run: pip install 'psycopg[binary]'\n"


def test_a_lease_is_exclusive_and_its_token_only_rises(opened: Opened) -> None:
    """All or none; a taken-over lease makes the old token worthless."""
    store = opened()
    one, two = waiting_change(store), waiting_change(store)
    assert store.take_leases(one.id, ["vm:1", "vm:2"], MINUTE, AT) == {"vm:1": 1, "vm:2": 1}
    with pytest.raises(ConflictError, match="vm:2 is being changed by CHG-0001"):
        store.take_leases(two.id, ["vm:2", "vm:3"], MINUTE, AT)
    later = AT + 2 * MINUTE
    assert store.take_leases(two.id, ["vm:2", "vm:3"], MINUTE, later) == {"vm:2": 2, "vm:3": 1}
    assert not store.lease_holds(one.id, "vm:2", 1, later)
    assert store.renew_leases(one.id, MINUTE, later) == ("vm:1",)
    store.give_leases_back(two.id, later)
    assert not store.lease_holds(two.id, "vm:2", 2, later)
    assert store.take_leases(one.id, ["vm:2"], MINUTE, later) == {"vm:2": 3}


def test_an_old_backup_is_not_signed(tmp_path: Path) -> None:
    """A database that holds less than was anchored is refused before anything more is recorded in it."""
    store = open_store(tmp_path)
    change = waiting_change(store)
    with sqlite3.connect(tmp_path / "passgate.db") as raw, sqlite3.connect(tmp_path / "old.db") as old:
        raw.backup(old)
    for person in ("bob", "carol"):
        store.decide(vote(change, person), BOB)
    store.close()
    for name in ("passgate.db", "passgate.db-wal", "passgate.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "old.db").rename(tmp_path / "passgate.db")
    with pytest.raises(RecordError, match="an old backup was restored"):
        open_store(tmp_path).decide(vote(change), BOB)


def test_decisions_and_messages_of_before_there_were_gates_are_about_the_plan(opened: Opened) -> None:
    """A database of an older Passgate keeps every row: what was decided then was decided on the plan."""
    store = opened()
    change = waiting_change(store)
    store.decide(vote(change), BOB)
    store.save_chat_message(change.id, "C1", "1.1", "shown")
    with store._database.writing() as connection:
        for statement in BACK_TO_0001:
            connection.execute(text(statement))
    store.close()

    now = opened()

    assert [(one.person, one.gate, one.verdict) for one in now.decisions(change.id)] == [
        ("bob", "plan", Verdict.APPROVE)
    ]
    message = now.chat_message(change.id, "C1")
    assert message is not None
    assert (message.ts, message.digest) == ("1.1", "shown")
    assert now.change(change.id).gates == ()
    assert now.chat_message(change.id, "C1", "host-reboot") is None
    with now._database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


BACK_TO_0001 = (
    "drop index ix_changes_replaces",
    "alter table changes drop column replaces",
    "drop index ix_inbox_open",
    "drop table seen",
    "drop table filings",
    "drop index ix_changes_due_at",
    "drop index ix_changes_closed_at",
    "alter table changes drop column due_at",
    "alter table changes drop column closed_at",
    "drop table overrides",
    "drop index ix_journal_kind_ended_at",
    "alter table changes drop column starts_at",
    "drop table gates",
    "drop table occurrences",
    "drop table schedules",
    "drop index ix_changes_schedule",
    "alter table changes drop column schedule",
    "drop table reviews",
    "drop table rungs",
    (
        "create table d (change varchar(32) not null references changes (id), digest varchar(80) not null, "
        "person varchar(64) not null, door varchar(16) not null, verdict varchar(16) not null, reason text not null, "
        "at varchar(27) not null, primary key (change, digest, person))"
    ),
    "insert into d select change, digest, person, door, verdict, reason, at from decisions",
    "drop table decisions",
    "alter table d rename to decisions",
    (
        "create table m (change varchar(32) not null references changes (id), channel varchar(64) not null, "
        "ts varchar(64) not null, digest varchar(80) not null, primary key (change, channel))"
    ),
    "insert into m select change, channel, ts, digest from chat_messages",
    "drop table chat_messages",
    "alter table m rename to chat_messages",
    "update alembic_version set version_num = '0001'",
)
"""What makes a database of today one of the first migration."""


def test_many_expire_in_one_transaction_as_one_alone_would(opened: Opened) -> None:
    """Each of them that is judged to expire has its state, its event in the chain and its proof; the others stay."""
    store = opened()
    ids = [waiting_change(store).id for _ in range(4)]
    store.decide(vote(store.change(ids[2]), verdict=Verdict.DENY), BOB)
    store.move(ids[3], State.DENIED, ENGINE, "", AT, outcome="denied by bob")

    def judge(change: Change, decisions: Sequence[Decision]) -> Expiry | None:
        open_one = change.state is State.WAITING and not decisions
        return Expiry("0 of 1 approvals", f"{change.id} is late") if open_one else None

    assert store.over(AT + 8 * HOUR) == (ids[2], *ids[:2])
    assert store.expire(ids, judge, ENGINE, AT + 8 * HOUR) == tuple(ids[:2])
    assert store.over(AT + 8 * HOUR) == (ids[2],)
    for change_id in ids[:2]:
        change, event = store.change(change_id), store.events_of(change_id, EventType.STATE)[-1]
        assert (change.state, change.ended_at, change.outcome) == (
            State.EXPIRED, AT + 8 * HOUR, f"{change_id} is late",
        )  # fmt: skip
        said = {"from": "waiting", "to": "expired", "why": "0 of 1 approvals", "outcome": f"{change_id} is late"}
        assert (event.data, event.at, event.actor) == (said, AT + 8 * HOUR, ENGINE)
        with pytest.raises(ConflictError, match="waits for no decision"):
            store.decide(vote(change), BOB)
    assert store.change(ids[2]).state is State.WAITING
    assert isinstance(store.verify(), Proven)
