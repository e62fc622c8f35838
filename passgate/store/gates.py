"""Keep second gates: which ones a change has come to, and what became of each. Inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from sqlalchemy import Connection, Select, insert, select, update

from passgate.errors import ConflictError
from passgate.model.change import Change, Gate, GateState, State
from passgate.model.decision import PLAN, Decision
from passgate.store.tables import gates


def of_changes(connection: Connection, wanted: Select[tuple[str]] | list[str]) -> dict[str, tuple[Gate, ...]]:
    """Return the second gates of these changes, in the order in which they were come to."""
    query = select(gates).where(gates.c.change.in_(wanted)).order_by(gates.c.change, gates.c.opened_at, gates.c.step)
    rows = ((row.change, _gate(row._asdict())) for row in connection.execute(query))
    return {change: tuple(gate for _, gate in theirs) for change, theirs in groupby(rows, lambda row: row[0])}


def open_one(connection: Connection, change: Change, gate: Gate) -> None:
    """Write the gate down as open. ConflictError when the change is not under way or has come to it before."""
    if change.state is not State.APPLYING or change.gate(gate.name):
        raise ConflictError(
            f"The gate {gate.name} of {change.id} can't be opened: the change is {change.state}"
            f"{', and has come to it before' if change.gate(gate.name) else ''}. Nothing was recorded.",
            subject=change.id,
        )
    values = gate.model_dump() | {"state": gate.state.value}
    connection.execute(insert(gates).values(change=change.id, **values))


def settle_one(connection: Connection, change: Change, gate: Gate) -> None:
    """Write down how an open gate was settled. ConflictError when it is not open any more."""
    now = change.gate(gate.name)
    if change.state is not State.APPLYING or now is None or now.state is not GateState.OPEN:
        raise ConflictError(
            f"The gate {gate.name} of {change.id} is {now.state if now else 'not open yet'}, and the change is "
            f"{change.state}. Nothing was recorded.",
            hint=f"`passgate show {change.id}` says how it came to that.",
            subject=change.id,
        )
    here = (gates.c.change == change.id) & (gates.c.name == gate.name)
    values = {"state": gate.state.value, "settled_at": gate.settled_at, "why": gate.why}
    connection.execute(update(gates).where(here).values(**values))


def require_open(change: Change, decision: Decision) -> None:
    """Raise ConflictError unless the change waits for a decision at that gate, on that plan, now."""
    waits = {State.PLANNED, State.WAITING} if decision.gate == PLAN else {State.APPLYING}
    at = change.open_gate
    if change.state not in waits or (decision.gate != PLAN and (at is None or at.name != decision.gate)):
        raise ConflictError(
            f"{change.id} is {change.state} and waits for no decision {_on(decision.gate)}. Nothing was recorded.",
            hint=_where_to_decide(change),
            subject=change.id,
        )
    if decision.digest != change.digest:
        raise ConflictError(
            f"This decision is on another plan than the current one of {change.id}. Nothing was recorded.",
            hint=f"Look at the current plan (`passgate show {change.id}`), then decide on that.",
            subject=change.id,
        )


def require_not_begun(change: Change, decision: Decision) -> None:
    """Raise ConflictError unless a decision at that gate may still be taken back: until what it lets pass has begun."""
    waits = {State.PLANNED, State.WAITING, State.APPROVED, State.SCHEDULED}
    at = change.open_gate
    is_open = change.state in waits if decision.gate == PLAN else at is not None and at.name == decision.gate
    if not is_open:
        raise ConflictError(
            f"{change.id} is {change.state}: the decision {_on(decision.gate)} can't be taken back any more.",
            hint=f"`passgate show {change.id}` says how it stands.",
            subject=change.id,
        )


def _on(gate: str) -> str:
    return "on its plan" if gate == PLAN else f"at the gate {gate}"


def _where_to_decide(change: Change) -> str:
    if change.open_gate:
        return f"It waits at the gate {change.open_gate.name}: decide there with --gate {change.open_gate.name}."
    return f"`passgate show {change.id}` says how it came to that."


def _gate(row: dict[str, object]) -> Gate:
    return Gate.model_validate({name: value for name, value in row.items() if name != "change"})


def overrides(change: Change, decision: Decision) -> Iterator[str]:
    """Return the codes of the warnings that an approval of the plan overrides."""
    if decision.gate == PLAN and decision.verdict == "approve" and change.plan:
        yield from (check.code for check in change.plan.warnings)
