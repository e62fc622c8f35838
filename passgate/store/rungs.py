"""Keep which reminders and escalations were made: each once, with the event that says so. Inside a transaction."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from sqlalchemy import Connection, insert, select

from passgate.model.change import Event
from passgate.policy.ladder import waits_at
from passgate.store import changes
from passgate.store.tables import rungs
from passgate.store.writing import Write


class Rungs:
    """Read and write rungs, each method in a transaction of its own."""

    def __init__(
        self,
        reading: Callable[[], AbstractContextManager[Connection]],
        writing: Callable[[], AbstractContextManager[Write]],
    ) -> None:
        self._reading, self._writing = reading, writing

    def made(self, change_id: str, gate: str) -> frozenset[str]:
        """Return the names of those that were made at a gate."""
        with self._reading() as connection:
            return _made(connection, change_id, gate)

    def make(self, gate: str, rung: str, event: Event) -> bool:
        """Record that a reminder or escalation is made; False when it was made before, or nobody waits there now."""
        with self._writing() as write:
            waits = waits_at(changes.one(write.connection, event.change))
            if waits is None or waits[0] != gate or rung in _made(write.connection, event.change, gate):
                return False
            write.connection.execute(insert(rungs).values(change=event.change, gate=gate, rung=rung, at=event.at))
            write.append(event)
            return True


def _made(connection: Connection, change_id: str, gate: str) -> frozenset[str]:
    query = select(rungs.c.rung).where(rungs.c.change == change_id, rungs.c.gate == gate)
    return frozenset(connection.scalars(query))
