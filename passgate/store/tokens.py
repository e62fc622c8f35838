"""Keep personal tokens, by their hashes alone. Inside a transaction."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from passgate.model.change import Actor, Event, EventType
from passgate.store.tables import tokens
from passgate.store.writing import Write


def issue(write: Write, person: str, at: datetime, by: Actor) -> str:
    """Make a personal token. It is shown this once: only its hash is kept, and the record says whose it is."""
    token = "pg_" + secrets.token_urlsafe(32)
    write.connection.execute(insert(tokens).values(sha256=_sha256(token), person=person, at=at))
    write.append(Event(type=EventType.TOKEN, change="", actor=by, at=at, data={"person": person}))
    return token


def revoke(write: Write, person: str, at: datetime, by: Actor) -> int:
    """Remove all tokens of a person; return how many there were. Without any, nothing happens."""
    count = write.connection.execute(delete(tokens).where(tokens.c.person == person)).rowcount
    if count:
        data = {"person": person, "count": str(count)}
        write.append(Event(type=EventType.TOKEN_REVOKED, change="", actor=by, at=at, data=data))
    return count


def person_of(connection: Connection, token: str) -> str | None:
    """Return whose token that is, if it is anybody's."""
    # The lookup is by hash, so that its timing says nothing about tokens that exist.
    return connection.scalar(select(tokens.c.person).where(tokens.c.sha256 == _sha256(token)))


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
