"""End changes whose time is over, many in one transaction: thousands may end in the same second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import null, select

from passgate.model.change import Actor, Change, State
from passgate.model.decision import Decision
from passgate.store import decisions
from passgate.store.changes import Move, move_all, readable
from passgate.store.tables import changes
from passgate.store.writing import Write


class Expiry(NamedTuple):
    """Say why a change expires, and what that leaves it with."""

    why: str
    outcome: str


_WITHOUT_PLAN = [null().label("plan") if column is changes.c.plan else column for column in changes.c]

Judge = Callable[[Change, Sequence[Decision]], Expiry | None]
"""Says of a change, by what was decided on it, whether it expires now."""


def expire(write: Write, change_ids: Sequence[str], judge: Judge, actor: Actor, at: datetime) -> tuple[str, ...]:
    """End those of the changes that expire, and return their ids; all others stay as they are.

    They are judged by what stands in this transaction: a decision is either seen here, or it finds a change that has
    ended. Their plans are not read, which would take as long as all the rest. A change that can't be read is left out.
    """
    decided = decisions.of_changes(write.connection, change_ids)
    query = select(*_WITHOUT_PLAN).where(changes.c.id.in_(change_ids)).order_by(changes.c.number)
    found = readable(write.connection, query)
    judged = ((change, judge(change, decided.get(change.id, ()))) for change in found)
    moves = [Move(change, State.EXPIRED, said.why, outcome=said.outcome) for change, said in judged if said]
    move_all(write, moves, actor, at)
    return tuple(move.change.id for move in moves)
