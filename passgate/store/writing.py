"""Hold one transaction of the store: what it writes, and what it tells the ledger of that."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from passgate.errors import RecordError
from passgate.model.change import Actor, Door, Event, RecordedEvent
from passgate.store import record

PASSGATE = Actor(person="passgate", door=Door.ENGINE)


class Write:
    """Hold the writer's transaction and what was appended in it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.events: list[RecordedEvent] = []

    def append(self, event: Event) -> RecordedEvent:
        """Record the event in this transaction."""
        return self.append_all([event])[0]

    def append_all(self, events: Sequence[Event]) -> tuple[RecordedEvent, ...]:
        """Record the events in this transaction, in their order."""
        recorded = record.append(self.connection, events) if events else ()
        self.events.extend(recorded)
        return recorded

    def append_own(self, change_id: str, event: Event) -> RecordedEvent:
        """Record the event in this transaction; RecordError unless it is one of that change."""
        if event.change != change_id:
            raise RecordError(f"An event of {event.change} can't stand for one of {change_id}. Nothing was recorded.")
        return self.append(event)
