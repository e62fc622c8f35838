"""Keep for which opening a change waits, through which freezes it was let, how long steps took. In a transaction."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import Connection, Select, insert, select, update

from passgate.errors import ConflictError
from passgate.ledger.canonical import time_text
from passgate.model.change import BEFORE_APPLY, Actor, Change, Event, EventType, Override, State, StepState
from passgate.store import tables
from passgate.store.tables import changes, journal
from passgate.store.writing import PASSGATE, Write

REMEMBERED = 50
"""How many of the newest times of each kind of step are looked at."""
OVERRIDABLE = BEFORE_APPLY | {State.APPLYING}
"""States in which a freeze may still be overridden for a change: also while it is under way, for what is left of it."""


def reschedule(write: Write, change: Change, starts_at: datetime | None, why: str, at: datetime) -> None:
    """Let a scheduled change wait for another opening; ConflictError when it does not wait any more."""
    if change.state is not State.SCHEDULED:
        raise ConflictError(f"{change.id} is {change.state} and waits for no opening.", subject=change.id)
    write.connection.execute(update(changes).where(changes.c.id == change.id).values(starts_at=starts_at))
    data = {"why": why, "starts_at": time_text(starts_at) if starts_at else ""}
    write.append(Event(type=EventType.RESCHEDULED, change=change.id, actor=PASSGATE, at=at, data=data))


def override(write: Write, change: Change, given: Override, actor: Actor) -> bool:
    """Record that a change was let through a freeze; False when that person did so before.

    ConflictError when somebody else did, and when the change has ended.
    """
    before = next((one for one in change.overrides if one.freeze == given.freeze), None)
    if before is not None and before.person == given.person:
        return False
    if before is not None or change.state not in OVERRIDABLE:
        stands = f"{before.person} did so before" if before else f"it is {change.state}"
        raise ConflictError(
            f"The freeze {given.freeze!r} was not overridden for {change.id}: {stands}. Nothing was recorded.",
            hint=f"`passgate show {change.id}` says how it stands.",
            subject=change.id,
        )
    write.connection.execute(insert(tables.overrides).values(change=change.id, **given.model_dump()))
    data = {"freeze": given.freeze, "reason": given.reason, "digest": change.digest or ""}
    write.append(Event(type=EventType.OVERRIDDEN, change=change.id, actor=actor, at=given.at, data=data))
    return True


def overrides_of(connection: Connection, wanted: Select[tuple[str]] | list[str]) -> dict[str, tuple[Override, ...]]:
    """Return through which freezes these changes were let."""
    table = tables.overrides
    rows = connection.execute(select(table).where(table.c.change.in_(wanted)).order_by(table.c.change, table.c.at))
    made = ((row.change, Override(**{k: v for k, v in row._asdict().items() if k != "change"})) for row in rows)
    return {change: tuple(one for _, one in theirs) for change, theirs in groupby(made, lambda row: row[0])}


def lengths(connection: Connection, kinds: Collection[str]) -> dict[str, tuple[timedelta, ...]]:
    """Return how long steps of these kinds took that were done, the newest of each kind first."""
    query = select(journal.c.started_at, journal.c.ended_at).where(
        journal.c.state == StepState.DONE.value, journal.c.started_at.is_not(None), journal.c.ended_at.is_not(None)
    )
    newest = query.order_by(journal.c.ended_at.desc()).limit(REMEMBERED)
    return {
        kind: tuple(row.ended_at - row.started_at for row in connection.execute(newest.where(journal.c.kind == kind)))
        for kind in sorted(set(kinds))
    }
