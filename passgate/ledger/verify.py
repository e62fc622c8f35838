"""Check a whole ledger from its rows, its signed heads and their copies outside the database; no database needed.

A chain alone finds clumsy edits only: who can write the table can rebuild it. The signatures find a rebuild, and the
copies outside find one that was signed again, a cut tail and an old backup. What no copy covers yet stays open, so a
clean answer says how much that is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from passgate.ledger.canonical import FIELDS, NO_PREV, VERSION, parse, read_event
from passgate.ledger.note import BadNoteError, Checkpoint, VerifierKey, anchored_note, open_checkpoint
from passgate.ledger.offline import Story
from passgate.ledger.tree import EMPTY, edge_root, grow, leaf_hash


class Kind(StrEnum):
    """Name what can be wrong with a ledger."""

    EDIT = "edit"
    GAP = "gap"
    ORDER = "order"
    FORK = "fork"
    REBUILT = "rebuilt"
    TRUNCATED = "truncated"
    UNSIGNED = "unsigned"
    BAD_KEY = "bad key"
    ORIGIN = "other origin"
    NOT_CANONICAL = "not canonical"
    MEANING = "meaning"


@dataclass(frozen=True)
class Row:
    """Hold one row of the ledger as it is stored."""

    seq: int
    change: str
    prev: bytes
    leaf: bytes
    body: bytes


@dataclass(frozen=True)
class Finding:
    """Say what is wrong, and with which event first."""

    kind: Kind
    seq: int
    what: str

    @property
    def words(self) -> str:
        """Say it in one paragraph, with what to do."""
        return (
            f"The ledger does not hold. First at event {self.seq} ({self.kind}): {self.what}. Keep the database as it "
            "is, compare it with its last backup and the copies of its signed heads, and find out who can write to it."
        )


@dataclass(frozen=True)
class OpenIntent:
    """Name a step that was begun and whose outcome is not recorded."""

    seq: int
    change: str
    title: str


@dataclass(frozen=True)
class Proven:
    """Say what holds: how many events there are, up to which they are signed, and up to which a copy outside agrees.

    `tail` counts the events after the last copy outside (after the last signature where no copies were given), and
    `tail_since` is the time of the first of them: who owns the database and the key could still rewrite those unseen.
    """

    origin: str
    size: int
    signed: int
    signed_until: str
    anchored: int
    anchored_until: str
    tail: int
    tail_since: str
    open_intents: tuple[OpenIntent, ...] = ()
    unreadable_anchors: int = 0

    @property
    def words(self) -> str:
        """Say it in one paragraph."""
        said = [f"All {self.size} events of {self.origin} hold together."]
        everything = f"all of them (until {self.signed_until})"
        first = f"the first {self.signed} (until {self.signed_until})"
        said.append(f"Signed are {everything if self.signed == self.size else first}.")
        if not self.anchored:
            said.append("No copy outside the database was given: a cut tail or an old backup would not be seen.")
        elif self.anchored == self.signed:
            said.append("A copy outside the database agrees.")
        else:
            until = f"{self.anchored} (until {self.anchored_until})"
            said.append(f"A copy outside the database agrees on the first {until}.")
        if self.tail:
            said.append(f"The last {self.tail} (since {self.tail_since}) are not covered yet and could be rewritten.")
        said += [
            f"Event {each.seq}: {each.title or 'a step'} of {each.change} has no outcome yet."
            for each in self.open_intents
        ]
        if self.unreadable_anchors:
            said.append(f"{self.unreadable_anchors} lines of the anchors can't be read and say nothing.")
        return " ".join(said)


@dataclass(frozen=True)
class _Head:
    """Hold a signed head and where it was found."""

    checkpoint: Checkpoint
    anchored: bool


def verify(
    rows: Sequence[Row], heads: Sequence[str], keys: Sequence[VerifierKey], anchors: Sequence[str] = ()
) -> Finding | Proven:
    """Check rows (in the order of `seq`), signed heads of the database, and lines of anchor files.

    Returns the finding on the smallest `seq`, or what was proven.
    """
    walk = _Walk()
    bad = walk.through(rows)
    findings = [bad] if bad else []
    opened: list[_Head] = []
    unreadable = 0
    for note, anchored in _notes(heads, anchors):
        if note is None:
            unreadable += 1
            continue
        try:
            opened.append(_Head(open_checkpoint(note, keys), anchored))
        except BadNoteError as error:
            findings.append(Finding(Kind.BAD_KEY, _claimed_size(note), f"a signed head can't be trusted: {error}"))
    findings += _of_heads(opened, walk.roots, {key.name for key in keys}, len(rows), bad)
    if not opened and not findings:
        what = "no signed head was given: nothing was ever recorded here, or everything was removed"
        findings.append(Finding(Kind.UNSIGNED, 1, what))
    if findings:
        return min(findings, key=lambda finding: finding.seq)
    signed = max(head.checkpoint.size for head in opened)
    anchored_size = max((head.checkpoint.size for head in opened if head.anchored), default=0)
    covered = anchored_size or signed
    return Proven(
        origin=opened[0].checkpoint.origin,
        size=len(rows),
        signed=signed,
        signed_until=walk.times[signed - 1] if signed else "",
        anchored=anchored_size,
        anchored_until=walk.times[anchored_size - 1] if anchored_size else "",
        tail=len(rows) - covered,
        tail_since=walk.times[covered] if covered < len(rows) else "",
        open_intents=walk.open_intents,
        unreadable_anchors=unreadable,
    )


def _notes(heads: Sequence[str], anchors: Sequence[str]) -> Iterator[tuple[str | None, bool]]:
    yield from ((note, False) for note in heads)
    for line in anchors:
        try:
            yield anchored_note(line), True
        except BadNoteError:
            yield None, True


def _claimed_size(note: str) -> int:
    """Return the size that a note which nobody signed claims; it only says where to look."""
    lines = note.split("\n")
    return int(lines[1]) if len(lines) > 1 and lines[1].isdecimal() and len(lines[1]) < 19 else 1  # noqa: PLR2004 - int64


def _of_heads(
    heads: Sequence[_Head], roots: Sequence[bytes], names: set[str], size: int, bad: Finding | None
) -> Iterator[Finding]:
    seen: dict[int, bytes] = {}
    good = 0
    for head in sorted((head.checkpoint for head in heads), key=lambda head: head.size):
        if head.origin not in names:
            yield Finding(Kind.ORIGIN, max(head.size, 1), f"a signed head is of another ledger: {head.origin}")
        elif seen.setdefault(head.size, head.root) != head.root:
            yield Finding(Kind.FORK, head.size, f"two different ledgers of {head.size} events were signed")
        elif head.size > size:
            yield Finding(Kind.TRUNCATED, size + 1, f"{head.size} events were signed, only {size} are there")
        elif head.size < len(roots):
            if roots[head.size] == head.root:
                good = head.size
            else:
                what = f"the events after {good}, up to {head.size}, are not the ones that were signed"
                yield Finding(Kind.REBUILT, good + 1, what)
        elif not bad:
            yield Finding(Kind.TRUNCATED, size + 1, f"{head.size} events were signed, only {size} are there")


class _Walk:
    """Go through the rows once, up to the first bad one."""

    def __init__(self) -> None:
        self.roots = [EMPTY]
        self.times: list[str] = []
        self._story = Story()

    @property
    def open_intents(self) -> tuple[OpenIntent, ...]:
        """Return the steps whose outcome is not recorded."""
        found = self._story.open_intents.items()
        return tuple(sorted((OpenIntent(seq, key[0], title) for key, (seq, title) in found), key=lambda each: each.seq))

    def through(self, rows: Sequence[Row]) -> Finding | None:
        """Return the first finding in the rows themselves."""
        before: Row | None = None
        followed: set[bytes] = set()
        edge: tuple[bytes, ...] = ()
        for place, row in enumerate(rows, start=1):
            finding = _out_of_place(row, place, before, followed)
            if finding:
                return finding
            try:
                event = parse(row.body)
                _require_shape(event, row)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                return Finding(Kind.NOT_CANONICAL, place, f"its bytes are not those of an event: {error}")
            if event["seq"] != str(place) or event["prev"] != row.prev.hex():
                return Finding(Kind.ORDER, place, "what it says about its own place is not where it stands")
            if event["change"] != row.change:
                return Finding(Kind.EDIT, place, "its row names another change than it does itself")
            try:
                wrong = self._story.wrong(event)
            except (KeyError, TypeError, AttributeError, ValueError):
                wrong = "what it says lacks something that events of its type always say"
            if wrong:
                return Finding(Kind.MEANING, place, wrong)
            followed.add(row.prev)
            edge = grow(edge, place - 1, row.leaf)
            self.roots.append(edge_root(edge))
            self.times.append(event["at"])
            before = row
        return None


def _out_of_place(row: Row, place: int, before: Row | None, followed: set[bytes]) -> Finding | None:
    if row.seq > place:
        missing = f"event {place}" if row.seq == place + 1 else f"events {place} to {row.seq - 1}"
        return Finding(Kind.GAP, place, f"{missing} missing")
    if row.seq < place:
        return Finding(Kind.ORDER, max(row.seq, 1), f"event {row.seq} stands at place {place}")
    if leaf_hash(row.body) != row.leaf:
        return Finding(Kind.EDIT, place, "what it says is not what was hashed when it was recorded")
    expected = before.leaf if before else NO_PREV
    if row.prev in followed:
        return Finding(Kind.FORK, place, "two events follow the same one")
    if row.prev != expected:
        return Finding(Kind.EDIT, max(place - 1, 1), f"it is not the event that event {place} was written after")
    return None


def _require_shape(event: Any, row: Row) -> None:
    if not isinstance(event, dict) or set(event) != FIELDS or event["v"] != VERSION:
        raise ValueError(f"an event of version {VERSION} has the fields {', '.join(sorted(FIELDS))}")
    if not all(isinstance(event[field], str) for field in FIELDS - {"actor", "data"}):
        raise TypeError("a field that is text is not text")
    read_event(row.body, row.leaf)
