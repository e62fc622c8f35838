"""Remember which change was filed for which request of a person, so that one is filed once. Inside a transaction."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from passgate.store.tables import filings


def change_of(connection: Connection, key: str) -> str | None:
    """Return the id of the change that was filed under that key, if one was."""
    return connection.scalar(select(filings.c.change).where(filings.c.key == key))


def note(connection: Connection, key: str, change_id: str) -> None:
    """Note the change that stands for a key now: another one only where the one before came to nothing."""
    connection.execute(delete(filings).where(filings.c.key == key))
    connection.execute(insert(filings).values(key=key, change=change_id))
