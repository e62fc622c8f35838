"""Keep what faces must remember: how far they read, what they posted, what came in. Inside a transaction."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from passgate.model.frozen import Frozen
from passgate.store.tables import chat_messages, cursors, inbox


class ChatMessage(Frozen):
    """Name the parent message of a change in one channel, and what it showed last."""

    ts: str
    digest: str


def cursor(connection: Connection, name: str) -> int:
    """Return how far a reader of the ledger has come."""
    return connection.scalar(select(cursors.c.seq).where(cursors.c.name == name)) or 0


def cursors_like(connection: Connection, prefix: str) -> tuple[str, ...]:
    """Return the names of the readers that begin so."""
    query = select(cursors.c.name).where(cursors.c.name.startswith(prefix, autoescape=True)).order_by(cursors.c.name)
    return tuple(connection.scalars(query))


def advance(connection: Connection, name: str, seq: int) -> None:
    """Note how far a reader has come; a cursor never goes back."""
    old = connection.scalar(select(cursors.c.seq).where(cursors.c.name == name))
    if old is None:
        connection.execute(insert(cursors).values(name=name, seq=seq))
    elif seq > old:
        connection.execute(update(cursors).where(cursors.c.name == name).values(seq=seq))


def chat_message(connection: Connection, change_id: str, channel: str, gate: str) -> ChatMessage | None:
    """Return the parent message of a change in a channel, or the one of a second gate, if it was posted."""
    query = select(chat_messages.c.ts, chat_messages.c.digest)
    query = query.where(
        chat_messages.c.change == change_id, chat_messages.c.channel == channel, chat_messages.c.gate == gate
    )
    row = connection.execute(query).first()
    return ChatMessage(ts=row.ts, digest=row.digest) if row else None


def save_chat_message(connection: Connection, change_id: str, channel: str, gate: str, message: ChatMessage) -> None:
    """Note the parent message of a change, or the one of a second gate, and what it shows."""
    here = (chat_messages.c.change == change_id) & (chat_messages.c.channel == channel)
    here &= chat_messages.c.gate == gate
    values = message.model_dump()
    if not connection.execute(update(chat_messages).where(here).values(**values)).rowcount:
        connection.execute(insert(chat_messages).values(change=change_id, channel=channel, gate=gate, **values))


def inbox_put(connection: Connection, key: str, payload: dict[str, Any], at: datetime) -> bool:
    """Keep what came in until it is dealt with; False when it came before."""
    if connection.scalar(select(inbox.c.key).where(inbox.c.key == key)) is not None:
        return False
    connection.execute(insert(inbox).values(key=key, payload=json.dumps(payload), at=at))
    return True


def inbox_open(connection: Connection) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Return what came in and is not dealt with, the oldest first."""
    query = select(inbox.c.key, inbox.c.payload).where(inbox.c.done_at.is_(None)).order_by(inbox.c.at, inbox.c.key)
    return tuple((row.key, json.loads(row.payload)) for row in connection.execute(query))


def inbox_done(connection: Connection, key: str, outcome: str, at: datetime) -> None:
    """Note that what came in was dealt with, and how."""
    connection.execute(update(inbox).where(inbox.c.key == key).values(outcome=outcome, done_at=at))
