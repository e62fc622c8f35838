"""Keep for each change when it has to be looked at next, so that thousands that only wait cost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, or_, select, update

from passgate.model.change import Change, EventType, State
from passgate.policy.moments import next_moment
from passgate.store import changes as all_changes
from passgate.store.tables import changes
from passgate.store.writing import Write

AT_ONCE = frozenset({EventType.DECISION})
"""Events after which a change is looked at right away, lest a crash before it was settled leaves it waiting."""
_MOVING = AT_ONCE | {
    EventType.REQUESTED,
    EventType.PLANNED,
    EventType.STATE,
    EventType.RESCHEDULED,
    EventType.GATE_OPENED,
    EventType.GATE_SETTLED,
}
_AWAKE = (State.REQUESTED, State.PLANNED, State.APPROVED, State.APPLYING)
"""States in which a run should be on its way, so that it is looked at whatever the clock says."""
_OPEN = tuple(state.value for state in State if not state.is_end)


def keep(write: Write) -> None:
    """Note the next moment of each change that something happened to in this transaction."""
    moved = {event.change: event for event in write.events if event.type in _MOVING}
    for change_id, event in moved.items():
        change = all_changes.one(write.connection, change_id)
        set_moment(write.connection, change_id, event.at if event.type in AT_ONCE else next_moment(change))


def set_moment(connection: Connection, change_id: str, at: datetime | None) -> None:
    """Note when a change has to be looked at next."""
    connection.execute(update(changes).where(changes.c.id == change_id).values(due_at=at))


def due(connection: Connection, at: datetime, limit: int) -> tuple[Change, ...]:
    """Return the open changes that have to be looked at now: their moment has come, or a run should be on its way."""
    query = (
        select(changes)
        .where(changes.c.state.in_(_OPEN))
        .where(
            or_(
                changes.c.due_at <= at,
                changes.c.flow_run.is_(None),
                changes.c.state.in_([state.value for state in _AWAKE]),
            )
        )
        .order_by(changes.c.due_at, changes.c.number)
        .limit(limit)
    )
    return all_changes.all_of(connection, query)


def unclosed(connection: Connection, limit: int) -> Sequence[str]:
    """Return the ids of changes that have ended, and of whom something may be left to do: evidence, a run to end."""
    query = select(changes.c.id).where(changes.c.ended_at.is_not(None), changes.c.closed_at.is_(None))
    return tuple(connection.scalars(query.order_by(changes.c.ended_at).limit(limit)))


def close(write: Write, change_id: str, at: datetime) -> None:
    """Note that nothing is left to do for a change that has ended."""
    write.connection.execute(update(changes).where(changes.c.id == change_id).values(closed_at=at))
