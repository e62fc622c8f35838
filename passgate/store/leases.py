"""Keep leases: the exclusive right to change one host, VM or device, with its fencing token. Inside a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from passgate.errors import ConflictError, SupersededError
from passgate.model.change import Event, EventType
from passgate.store.tables import leases
from passgate.store.writing import PASSGATE, Write


def take(write: Write, change_id: str, resources: Sequence[str], ttl: timedelta, at: datetime) -> dict[str, int]:
    """Take the exclusive right to change all these resources, or none; return a fencing token for each.

    A lease that ran out, or that this change holds, is taken over with a higher token.
    """
    rows = write.connection.execute(select(leases).where(leases.c.resource.in_(resources)))
    there = {row.resource: row for row in rows}
    for row in there.values():
        if row.change not in {None, change_id} and row.until > at:
            raise ConflictError(
                f"{row.resource} is being changed by {row.change}.",
                hint=f"Wait until {row.change} has ended; if it died, its lease ends at {row.until:%H:%M} UTC.",
                subject=row.resource,
            )
    granted: dict[str, int] = {}
    for resource in sorted(set(resources)):
        token = granted[resource] = there[resource].token + 1 if resource in there else 1
        values = {"change": change_id, "token": token, "until": at + ttl}
        write.connection.execute(
            update(leases).where(leases.c.resource == resource).values(**values)
            if resource in there
            else insert(leases).values(resource=resource, **values)
        )
    data = {"act": "taken", "tokens": {resource: str(token) for resource, token in granted.items()}}
    write.append(Event(type=EventType.LEASE, change=change_id, actor=PASSGATE, at=at, data=data))
    return granted


def held_by(connection: Connection, change_id: str) -> tuple[str, ...]:
    """Return the resources that the change has leases on, in order."""
    mine = leases.c.change == change_id
    return tuple(connection.scalars(select(leases.c.resource).where(mine).order_by(leases.c.resource)))


def hold_until(write: Write, change_id: str, until: datetime) -> None:
    """Hold on to the leases that the change still has, never for a shorter time."""
    shorter = (leases.c.change == change_id) & (leases.c.until < until)
    write.connection.execute(update(leases).where(shorter).values(until=until))


def give_back(write: Write, change_id: str, at: datetime) -> None:
    """End all leases of the change; without any, nothing happens."""
    held = held_by(write.connection, change_id)
    if held:
        write.connection.execute(update(leases).where(leases.c.change == change_id).values(change=None, until=at))
        data = {"act": "given back", "resources": list(held)}
        write.append(Event(type=EventType.LEASE, change=change_id, actor=PASSGATE, at=at, data=data))


def holds(connection: Connection, change_id: str, resource: str, token: int, at: datetime) -> bool:
    """Say whether this token is still the one that may change the resource."""
    row = connection.execute(select(leases).where(leases.c.resource == resource)).first()
    return bool(row and row.change == change_id and row.token == token and row.until > at)


def require_current(write: Write, change_id: str, tokens: Mapping[str, int] | None) -> None:
    """Raise SupersededError unless the change holds these leases under these tokens, be it past their time."""
    rows = write.connection.execute(select(leases).where(leases.c.resource.in_(tokens or ())))
    held = {row.resource: row.token for row in rows if row.change == change_id}
    lost = sorted(resource for resource, token in (tokens or {}).items() if held.get(resource) != token)
    if lost:
        raise SupersededError(
            f"This run of {change_id} does not hold {', '.join(lost)} any more: a newer run took over, or it was "
            "given back. Nothing was recorded.",
            hint=f"The newer run goes on by itself; `passgate show {change_id}` tells.",
            subject=change_id,
        )
