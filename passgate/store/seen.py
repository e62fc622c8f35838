"""Remember what may come only once, such as the signature of a request, for all replicas. Inside a transaction."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from passgate.store.tables import seen


def once(connection: Connection, key: str, at: datetime, keep: timedelta) -> bool:
    """Remember a key; False when it was there. What is older than `keep` is forgotten."""
    connection.execute(delete(seen).where(seen.c.at < at - keep))
    if connection.scalar(select(seen.c.key).where(seen.c.key == key)) is not None:
        return False
    connection.execute(insert(seen).values(key=key, at=at))
    return True
