"""Read the ledger: what happened, to one change or behind one place, and what evidence is made of. Inside a reading."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import Connection, Select, select

from passgate.errors import RecordError
from passgate.ledger.canonical import read_event
from passgate.ledger.evidence import EvidenceData
from passgate.ledger.note import Checkpoint
from passgate.model.change import Change, EventType, RecordedEvent
from passgate.store import record
from passgate.store.tables import ledger


def after(connection: Connection, seq: int, change: str | None, limit: int) -> tuple[RecordedEvent, ...]:
    """Return the events behind a place in the ledger, those of one change if it is named."""
    query: Select[Any] = select(ledger.c.body, ledger.c.leaf_hash).where(ledger.c.seq > seq)
    if change is not None:
        query = query.where(ledger.c.change == change)
    rows = connection.execute(query.order_by(ledger.c.seq).limit(limit))
    return tuple(read_event(row.body, row.leaf_hash) for row in rows)


def newest_seq(connection: Connection) -> int:
    """Return the place of the newest event; 0 while there is none."""
    return connection.scalar(select(ledger.c.seq).order_by(ledger.c.seq.desc()).limit(1)) or 0


def of_type(connection: Connection, change_id: str, kind: EventType) -> tuple[RecordedEvent, ...]:
    """Return all events of one type of a change, in order."""
    query = select(ledger.c.body, ledger.c.leaf_hash).where(ledger.c.change == change_id).order_by(ledger.c.seq)
    found = (read_event(row.body, row.leaf_hash) for row in connection.execute(query))
    return tuple(event for event in found if event.type is kind)


def last(connection: Connection, change_id: str, without: Collection[EventType]) -> RecordedEvent | None:
    """Return the newest event of a change, those types left out."""
    query = select(ledger.c.body, ledger.c.leaf_hash).where(ledger.c.change == change_id)
    newest_first = query.order_by(ledger.c.seq.desc()).execution_options(yield_per=16)
    with connection.execute(newest_first) as rows:
        found = (read_event(row.body, row.leaf_hash) for row in rows)
        return next((event for event in found if event.type not in without), None)


def evidence_data(
    connection: Connection, change: Change, copies: Callable[[set[int]], tuple[str, ...]]
) -> EvidenceData:
    """Gather what the evidence of a change is made of, under the newest head.

    `copies` returns the lines of the anchor file that were signed after these events.
    """
    note = record.newest_head(connection)
    if note is None:
        raise RecordError(
            "There is no signed head of the ledger, so there is no evidence.",
            hint="Write the evidence where the signing key is: in Passgate's service.",
        )
    size = Checkpoint.of(note.rpartition("\n\n")[0] + "\n").size
    rows = tuple(row for row in record.rows(connection, change.id) if row.seq <= size)
    return EvidenceData(
        change=change.id,
        plan=change.plan,
        rows=rows,
        tree=record.tree_since(connection, rows[0].seq, size),
        note=note,
        anchors=copies({row.seq for row in rows}),
    )
