"""Append events to the ledger inside the caller's transaction, and sign what was appended."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, insert, select

from passgate.errors import RecordError
from passgate.ledger.canonical import NO_PREV, event_bytes, read_event, time_text
from passgate.ledger.note import BadNoteError, Checkpoint, VerifierKey, anchor_line, anchored_note, open_checkpoint
from passgate.ledger.signer import Signer
from passgate.ledger.tree import Tree, edge_root, grow, leaf_hash
from passgate.ledger.verify import Row
from passgate.model.change import Event, EventType, RecordedEvent, State
from passgate.store.tables import checkpoints, ledger

HASH = 32

TAIL = 1024
"""Bytes at the end of the anchor file that are read first; they hold its newest heads."""

SIGNED = frozenset({
    EventType.DECISION, EventType.GATE_SETTLED, EventType.STEP_OUTCOME, EventType.UNDO_OUTCOME, EventType.EVIDENCE,
    EventType.TOKEN, EventType.TOKEN_REVOKED,
})  # fmt: skip
"""Events after which the head is signed, besides the end of a change: what nobody may take back unseen."""


def append(connection: Connection, events: Sequence[Event]) -> tuple[RecordedEvent, ...]:
    """Write the events as the next rows: three statements, however many. The caller holds the writer's lock."""
    head = connection.execute(select(ledger.c.seq, ledger.c.leaf_hash).order_by(ledger.c.seq.desc()).limit(1)).first()
    seq, prev = (head.seq, head.leaf_hash) if head else (0, NO_PREV)
    theirs = ledger.c.change.in_({event.change for event in events})
    newest = select(ledger.c.change, func.max(ledger.c.seq)).where(theirs).group_by(ledger.c.change)
    before = {str(change): int(last) for change, last in connection.execute(newest)}
    new: list[dict[str, Any]] = []
    for event in events:
        body = event_bytes(event, seq + 1, prev, before.get(event.change, 0))
        new.append(
            {"seq": seq + 1, "change": event.change, "prev_hash": prev, "leaf_hash": leaf_hash(body), "body": body}
        )
        seq, prev = seq + 1, new[-1]["leaf_hash"]
        before[event.change] = seq
    connection.execute(insert(ledger), new)
    return tuple(read_event(row["body"], row["leaf_hash"]) for row in new)


def is_end(event: Event) -> bool:
    """Say whether a change ended with that event."""
    return event.type is EventType.STATE and State(event.data["to"]).is_end


def wants_signature(connection: Connection, events: Sequence[Event]) -> bool:
    """Say whether the head is signed after these events; the very first one is, so that no ledger is without a head."""
    if not events:
        return False
    return (
        any(event.type in SIGNED or is_end(event) for event in events)
        or connection.scalar(select(checkpoints.c.size).limit(1)) is None
    )


def rows(connection: Connection, change: str | None = None) -> tuple[Row, ...]:
    """Return the rows of the ledger as they are stored, those of one change if it is named."""
    query = select(ledger).order_by(ledger.c.seq)
    if change is not None:
        query = query.where(ledger.c.change == change)
    found = connection.execute(query)
    return tuple(Row(row.seq, row.change, row.prev_hash, row.leaf_hash, row.body) for row in found)


def tree_since(connection: Connection, seq: int, size: int) -> Tree:
    """Return the tree over the first `size` events, as far as proofs from event `seq` on need it.

    It starts at the last head that was signed before that event, so that it costs the same in a ledger of any size.
    """
    start = connection.execute(
        select(checkpoints.c.size, checkpoints.c.edge)
        .where(checkpoints.c.size < seq)
        .order_by(checkpoints.c.size.desc())
        .limit(1)
    ).first()
    known, edge = (start.size, _hashes(start.edge)) if start else (0, ())
    query = select(ledger.c.leaf_hash).where(ledger.c.seq > known, ledger.c.seq <= size).order_by(ledger.c.seq)
    return Tree(tuple(connection.scalars(query)), known, edge)


def newest_head(connection: Connection) -> str | None:
    """Return the largest signed head."""
    return connection.scalar(select(checkpoints.c.note).order_by(checkpoints.c.size.desc()).limit(1))


def heads(connection: Connection) -> tuple[str, ...]:
    """Return all signed heads, the smallest first."""
    return tuple(connection.scalars(select(checkpoints.c.note).order_by(checkpoints.c.size)))


def _hashes(joined: bytes) -> tuple[bytes, ...]:
    return tuple(joined[cut : cut + HASH] for cut in range(0, len(joined), HASH))


class Signed(NamedTuple):
    """Hold a signed head and the time of the last event under it."""

    note: str
    at: datetime


def sign_head(connection: Connection, signer: Signer, origin: str, anchored: Checkpoint | None) -> Signed | None:
    """Sign the head and keep the note; return it, or None where this head is signed already.

    The new tree is grown from the last signed one, whose signature and edge are checked first, by the rows after it.
    So a head that is not consistent with the last one can't be signed.
    """
    key = signer.key(origin)
    last = connection.execute(select(checkpoints).order_by(checkpoints.c.size.desc()).limit(1)).first()
    size = 0
    edge: tuple[bytes, ...] = ()
    if last:
        try:
            head = open_checkpoint(last.note, [key])
        except BadNoteError as error:
            raise RecordError(
                f"The last signed head of the ledger ({last.size} events) does not hold under this key: {error}. "
                "Nothing was signed or recorded.",
                hint="Run `passgate ledger verify`; if the key was replaced, bring the old one back.",
            ) from error
        size, edge = last.size, _hashes(last.edge)
        if (head.origin, head.size, head.root) != (origin, size, edge_root(edge)) or len(edge) != size.bit_count():
            raise RecordError(
                "The last signed head of the ledger was altered. Nothing was signed or recorded.",
                hint="Run `passgate ledger verify`, and find out who can write to the database.",
            )
    new = connection.execute(
        select(ledger.c.seq, ledger.c.leaf_hash, ledger.c.body).where(ledger.c.seq > size).order_by(ledger.c.seq)
    ).all()
    if anchored and anchored.size > size + len(new):
        raise RecordError(
            f"The ledger holds {size + len(new)} events, but {anchored.size} were signed before: it was cut, or an "
            "old backup was restored. Nothing was signed or recorded.",
            hint="Restore the newest backup, then run `passgate ledger verify`.",
        )
    if not new:
        return None
    for row in new:
        if row.seq != size + 1:
            raise RecordError(
                f"The ledger lacks event {size + 1}. Nothing was signed or recorded.",
                hint="Run `passgate ledger verify`, then restore the newest backup.",
            )
        edge = grow(edge, size, row.leaf_hash)
        size = row.seq
    at = read_event(new[-1].body, new[-1].leaf_hash).at
    note = signer.sign(Checkpoint(origin, size, edge_root(edge)))
    connection.execute(insert(checkpoints).values(size=size, at=at, note=note, edge=b"".join(edge)))
    return Signed(note, at)


def _signed_head(line: str, key: VerifierKey) -> Checkpoint | None:
    try:
        head = open_checkpoint(anchored_note(line), [key])
    except BadNoteError:
        return None
    return head if head.origin == key.name else None


class AnchorFile:
    """Keep signed heads in a file outside the database, one line each, only ever appended to.

    A line is time, origin, size, root and signature. Whoever rewrites the database has to rewrite this one as well, and
    every copy of it that was sent elsewhere.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self, tail: int | None = None) -> tuple[str, ...]:
        """Return the lines, the oldest first, only those in the last bytes if a number is given.

        A last line that was only half written is left out, and so is one that `tail` cuts.
        """
        try:
            with self.path.open("rb") as file:
                start = max(0, file.seek(0, os.SEEK_END) - tail) if tail else 0
                file.seek(start)
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise self._unusable(error) from error
        lines = text.split("\n")[1 if start else 0 : -1]
        return tuple(line for line in lines if line)

    def heads(self, key: VerifierKey, since: int) -> Iterator[tuple[str, Checkpoint]]:
        """Return the lines that this key signed for its own ledger of at least that many events, the newest first.

        A foreign or torn line says nothing about our ledger and is left out here; verify reports it.
        """
        for line in self._backwards():
            head = _signed_head(line, key)
            if head and head.size >= since:
                yield line, head
            elif head:
                return

    def newest(self, key: VerifierKey) -> Checkpoint | None:
        """Return the largest head among the last two; writers may have swapped the order of neighbours."""
        last = islice(self.heads(key, 0), 2)
        return max((head for _, head in last), key=lambda head: head.size, default=None)

    def _backwards(self) -> Iterator[str]:
        """Return the lines, the newest first, without reading more of the file than is asked for."""
        tail, seen = TAIL, 0
        while True:
            lines = self.lines(tail)
            yield from reversed(lines[: len(lines) - seen])
            if not self.path.exists() or tail >= self.path.stat().st_size:
                return
            tail, seen = tail * 8, len(lines)

    def require_writable(self) -> None:
        """Raise RecordError where a line could not be appended, before anything is committed."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab"):
                pass
        except OSError as error:
            raise self._unusable(error) from error

    def append(self, head: Signed) -> None:
        """Append one head and force it to the disk."""
        line = anchor_line(head.note, time_text(head.at)).encode()
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            end = os.fstat(handle).st_size
            # A line that a crash cut in two must not swallow this one.
            torn = end and os.pread(handle, 1, end - 1) != b"\n"
            os.write(handle, b"\n" + line if torn else line)
            os.fsync(handle)
        finally:
            os.close(handle)

    def _unusable(self, error: OSError) -> RecordError:
        return RecordError(
            f"The anchor file {self.path} can't be used: {error.strerror}. Nothing was recorded.",
            hint="Check owner, mode and free space; signed heads must reach a place outside the database.",
        )
