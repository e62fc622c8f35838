"""Notice what other processes recorded: replicas of the service share a database, and none calls another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from passgate.model.change import RecordedEvent
from passgate.store.tables import inbox, ledger


class Foreign(NamedTuple):
    """Say of which changes others recorded something since the last look, and whether anything waits in the inbox."""

    changes: frozenset[str]
    inbox: bool


class News:
    """Tell what this process recorded from what others did. A look costs two reads of an index."""

    def __init__(self, reading: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._reading = reading
        self._own: set[int] = set()
        self._seen: int | None = None

    def note_own(self, events: Iterable[RecordedEvent]) -> None:
        """Note what this process recorded: it is told to its listeners right away."""
        self._own.update(event.seq for event in events)

    def look(self) -> Foreign:
        """Return what others did since the last look; the first one only notes where the ledger stands.

        An own event that is seen before it is noted as such counts as foreign: a look too many does no harm.
        """
        with self._reading() as connection:
            newest = connection.scalar(select(func.max(ledger.c.seq))) or 0
            seen = newest if self._seen is None else self._seen
            query = select(ledger.c.seq, ledger.c.change).where(ledger.c.seq > seen)
            found = {row.change for row in connection.execute(query) if row.seq not in self._own}
            waits = connection.scalar(select(inbox.c.key).where(inbox.c.done_at.is_(None)).limit(1)) is not None
        self._seen = newest
        self._own = {seq for seq in tuple(self._own) if seq > newest}
        return Foreign(frozenset(found), waits)
