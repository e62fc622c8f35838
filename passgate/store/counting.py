"""Count what was decided and clicked, for metrics: how many, never by whom. Inside a reading."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from passgate.store.tables import cursors, decisions, inbox, ledger


class Counted(NamedTuple):
    """Hold decisions by verdict and door, what came of clicks (open ones without a word), and how far readers are."""

    decisions: dict[tuple[str, str], int]
    clicks: dict[str, int]
    behind: dict[str, int]


def counted(connection: Connection, readers: tuple[str, ...]) -> Counted:
    """Return the numbers as they are now; `readers` are the cursors to tell of: how many events are before them."""
    voted = select(decisions.c.verdict, decisions.c.door, func.count()).group_by(decisions.c.verdict, decisions.c.door)
    # What a refusal says after its first word names changes and people.
    word = func.substr(func.coalesce(inbox.c.outcome, ""), 1, 8)
    clicked = select(word, func.count()).where(inbox.c.done_at.is_not(None)).group_by(word)
    newest = connection.scalar(select(func.max(ledger.c.seq))) or 0
    come = select(cursors.c.name, cursors.c.seq).where(cursors.c.name.in_(readers))
    read = {str(name): int(seq) for name, seq in connection.execute(come)}
    return Counted(
        {(verdict, door): int(count) for verdict, door, count in connection.execute(voted)},
        _by_outcome((str(word), int(count)) for word, count in connection.execute(clicked)),
        {name: newest - read.get(name, 0) for name in readers},
    )


def _by_outcome(found: Iterable[tuple[str, int]]) -> dict[str, int]:
    clicks: dict[str, int] = {}
    for word, count in found:
        outcome = _OUTCOMES.get(word, "counted")
        clicks[outcome] = clicks.get(outcome, 0) + count
    return clicks


_OUTCOMES = {
    "refused:": "refused",
    "failed": "failed",
    "not read": "unreadable",
    "counted ": "again",
    "taken ba": "back",
}
"""What the first letters of an outcome in the inbox mean; any other was handed on, and counts."""
