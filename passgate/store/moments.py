"""Keep for each change when it has to be looked at next, so that thousands that only wait cost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, or_, select, update

from passgate.model.change import EventType, GateState, State
from passgate.policy.moments import next_moment
from passgate.store import changes as all_changes
from passgate.store import record
from passgate.store.tables import changes, gates
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
_state = func.coalesce(changes.c.state, "")
"""The state, where its index must not be used: it finds all that wait, and then each row has to be read whole."""
_OPEN = tuple(state.value for state in State if not state.is_end)


def keep(write: Write) -> None:
    """Note the next moment of each change that something happened to in this transaction."""
    moved = {event.change: event for event in write.events if event.type in _MOVING}
    moments = {change_id: event.at if event.type in AT_ONCE else None for change_id, event in moved.items()}
    by_clock = [one for one, event in moved.items() if event.type not in AT_ONCE and not record.is_end(event)]
    if by_clock:
        found = all_changes.all_of(write.connection, select(changes).where(changes.c.id.in_(by_clock)))
        moments |= {one.id: next_moment(one) for one in found}
    if moments:
        rows = [{"moved": change_id, "due_at": at} for change_id, at in moments.items()]
        write.connection.execute(update(changes).where(changes.c.id == bindparam("moved")), rows)


def set_moment(connection: Connection, change_id: str, at: datetime | None) -> None:
    """Note when a change has to be looked at next."""
    connection.execute(update(changes).where(changes.c.id == change_id).values(due_at=at))


def over(connection: Connection, at: datetime) -> tuple[str, ...]:
    """Return the ids of changes whose time is over, to be decided, begun or let through a second gate, in its order."""
    shut = select(gates.c.change).where(gates.c.state == GateState.OPEN.value, gates.c.approve_by <= at)
    is_over = or_(
        (_state == State.WAITING.value) & (changes.c.approve_by <= at),
        _state.in_([State.APPROVED.value, State.SCHEDULED.value]) & (changes.c.execute_by <= at),
        (_state == State.APPLYING.value) & changes.c.id.in_(shut),
    )
    # Nothing is over whose moment has not come.
    query = select(changes.c.id).where(changes.c.due_at <= at, is_over)
    return tuple(connection.scalars(query.order_by(changes.c.due_at, changes.c.number)))


def due(connection: Connection, at: datetime) -> tuple[str, ...]:
    """Return the ids of open changes to look at now: their moment has come, or a run should be on its way."""
    query = (
        select(changes.c.id)
        .where(_state.in_(_OPEN))
        .where(
            or_(
                changes.c.due_at <= at,
                changes.c.flow_run.is_(None),
                changes.c.state.in_([state.value for state in _AWAKE]),
            )
        )
        .order_by(changes.c.due_at, changes.c.number)
    )
    return tuple(connection.scalars(query))


def scheduled(connection: Connection) -> tuple[str, ...]:
    """Return the ids of all changes that wait for an opening."""
    query = select(changes.c.id).where(changes.c.state == State.SCHEDULED.value)
    return tuple(connection.scalars(query.order_by(changes.c.number)))


def unclosed(connection: Connection, limit: int) -> Sequence[str]:
    """Return the ids of changes that have ended, and of whom something may be left to do: evidence, a run to end."""
    query = select(changes.c.id).where(changes.c.ended_at.is_not(None), changes.c.closed_at.is_(None))
    return tuple(connection.scalars(query.order_by(changes.c.ended_at).limit(limit)))


def close(write: Write, change_id: str, at: datetime) -> None:
    """Note that nothing is left to do for a change that has ended."""
    write.connection.execute(update(changes).where(changes.c.id == change_id).values(closed_at=at))
