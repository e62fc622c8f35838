"""Keep the journal: the state of each step of each change. Inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select, update

from passgate.errors import ConflictError, UnknownNameError
from passgate.model.change import Change, Event, JournalEntry, State, StepState
from passgate.model.plan import PlannedStep
from passgate.store.tables import journal
from passgate.store.writing import Write

_SETTLED = frozenset(StepState) - {StepState.PENDING, StepState.INTENT}


def of_change(connection: Connection, change_id: str) -> tuple[JournalEntry, ...]:
    """Return the state of each step, in order."""
    rows = connection.execute(select(journal).where(journal.c.change == change_id).order_by(journal.c.index))
    return tuple(JournalEntry(**row._asdict() | {"state": StepState(row.state)}) for row in rows)


def begin(write: Write, change_id: str, steps: Sequence[PlannedStep]) -> None:
    """Write the steps down as pending; those that are there already stay as they are."""
    there = {entry.index for entry in of_change(write.connection, change_id)}
    rows = [
        {
            "change": change_id, "index": step.index, "kind": step.kind, "title": step.title,
            "state": StepState.PENDING.value, "attempts": 0, "saw": "", "error": "",
        }
        for step in steps
        if step.index not in there
    ]  # fmt: skip
    if rows:
        write.connection.execute(insert(journal), rows)


def set_step(
    write: Write,
    change: Change,
    index: int,
    state: StepState,
    event: Event,
    *,
    saw: str | None,
    error: str | None,
    attempt: bool,
) -> JournalEntry:
    """Set the state of a step and record the event that says so; None leaves `saw` and `error` as they are."""
    if change.state is not State.APPLYING:
        raise ConflictError(
            f"{change.id} is {change.state}: none of its steps can be done now. Nothing was recorded.",
            hint=f"`passgate show {change.id}` says how it came to that.",
            subject=change.id,
        )
    entry = next((entry for entry in of_change(write.connection, change.id) if entry.index == index), None)
    if entry is None:
        raise UnknownNameError(f"{change.id} has no step {index} in its journal.", subject=change.id)
    now = entry.model_copy(
        update={
            "state": state,
            "saw": entry.saw if saw is None else saw,
            "error": entry.error if error is None else error,
            "attempts": entry.attempts + attempt,
            "started_at": entry.started_at or (None if state is StepState.NOT_NEEDED else event.at),
            "ended_at": event.at if state in _SETTLED else None,
        }
    )
    values = now.model_dump(exclude={"change", "index", "kind", "title"}) | {"state": state.value}
    write.append_own(change.id, event)
    write.connection.execute(
        update(journal).where(journal.c.change == change.id, journal.c.index == index).values(**values)
    )
    return now
