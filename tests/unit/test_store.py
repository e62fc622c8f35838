"""Promise: state and record change together or not at all, and nobody gets in twice (DESIGN, promises 4 and 5)."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from passgate.errors import ConflictError, InputError, RecordError
from passgate.ledger.evidence import BadEvidence, Evidence, verify_evidence, write_evidence
from passgate.ledger.verify import Proven
from passgate.model.change import State
from passgate.model.decision import Verdict
from tests.record_story import ALICE, AT, BOB, open_store, vote, waiting_change, whole_change

MINUTE = timedelta(minutes=1)


def test_a_whole_change_verifies_and_its_evidence_proves_who_approved(tmp_path: Path) -> None:
    """The evidence of a change holds under the published key, no other, and can be written again byte by byte."""
    store = open_store(tmp_path)
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


def test_a_decision_counts_once_and_only_on_the_current_plan(tmp_path: Path) -> None:
    """A second click is harmless; a changed mind and another plan are refused in words."""
    store = open_store(tmp_path)
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


def test_rows_of_the_ledger_can_not_be_altered_by_accident(tmp_path: Path) -> None:
    """The database itself refuses updates and deletes of the record."""
    waiting_change(open_store(tmp_path))
    raw = sqlite3.connect(tmp_path / "passgate.db")
    for statement in ("update ledger set body = x''", "delete from ledger", "delete from checkpoints"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw.execute(statement)
    raw.close()


def test_a_lease_is_exclusive_and_its_token_only_rises(tmp_path: Path) -> None:
    """All or none; a taken-over lease makes the old token worthless."""
    store = open_store(tmp_path)
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
