"""Keep decisions: a trail that only grows, of which one by each person stands at each gate. Inside a transaction."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select

from passgate.errors import ConflictError
from passgate.ledger.canonical import time_text
from passgate.model.change import Actor, Change, Event, EventType, State
from passgate.model.decision import PLAN, Decision, Verdict
from passgate.store import changes, gates, reviews
from passgate.store.tables import decisions
from passgate.store.writing import PASSGATE, Write


def decide(write: Write, change: Change, decision: Decision, actor: Actor) -> bool:
    """Record a decision; False when this very one stands already, as after a second click.

    One that is taken back leaves what was approved waiting again, in the same transaction. ConflictError when another
    one of that person stands there, when there is none to take back, and when the change waits for no decision there.
    PolicyError for an approval by who broke a glass and was not reviewed yet.
    """
    before = write.connection.execute(_of_person(decision).order_by(decisions.c.number)).all()
    stands = before[-1] if before and before[-1].verdict != Verdict.RETRACT.value else None
    if decision.verdict is Verdict.RETRACT:
        if stands is None:
            return _nothing_stands(before, change, decision)
        gates.require_not_begun(change, decision)
    elif stands is not None:
        if stands.verdict == decision.verdict.value:
            return False
        raise ConflictError(
            f"{decision.person} decided on {change.id} before: {stands.verdict}. That stands as it is.",
            hint=f"Before the first step it can be taken back: `passgate retract {change.id}`.",
            subject=change.id,
        )
    else:
        gates.require_open(change, decision)
    if decision.verdict is Verdict.APPROVE:
        reviews.refuse_open(write.connection, decision.person, "approve anything")
    values = decision.model_dump() | {"verdict": decision.verdict.value, "number": len(before)}
    write.connection.execute(insert(decisions).values(**values))
    data = decision.model_dump(mode="json", include={"digest", "gate", "person", "door", "verdict", "reason"})
    if decision.standing_until:
        data |= {"standing_until": time_text(decision.standing_until)}
    if decision.standing_from:
        data |= {"standing_from": decision.standing_from}
    data |= {"overrides": codes} if (codes := list(gates.overrides(change, decision))) else {}
    write.append(Event(type=EventType.DECISION, change=change.id, actor=actor, at=decision.at, data=data))
    if decision.verdict is Verdict.RETRACT and change.state in {State.APPROVED, State.SCHEDULED}:
        why = f"{decision.person} took their decision back"
        changes.move(write, change, State.WAITING, PASSGATE, why=why, at=decision.at)
    return True


def of_change(connection: Connection, change_id: str) -> tuple[Decision, ...]:
    """Return all decisions on a change, the first one first."""
    return of_changes(connection, [change_id]).get(change_id, ())


def of_changes(connection: Connection, change_ids: Collection[str]) -> dict[str, tuple[Decision, ...]]:
    """Return all decisions on these changes, the first one of each first."""
    query = select(decisions).where(decisions.c.change.in_(change_ids))
    rows = connection.execute(
        query.order_by(decisions.c.change, decisions.c.at, decisions.c.person, decisions.c.number)
    )
    made = (_decision(row) for row in rows)
    return {change: tuple(theirs) for change, theirs in groupby(made, lambda one: one.change)}


def _of_person(decision: Decision) -> Select[Any]:
    return select(decisions).where(
        decisions.c.change == decision.change,
        decisions.c.digest == decision.digest,
        decisions.c.gate == decision.gate,
        decisions.c.person == decision.person,
    )


def _nothing_stands(before: Any, change: Change, decision: Decision) -> bool:
    if before:
        return False  # taken back already, as by a second click
    at = "" if decision.gate == PLAN else f" at the gate {decision.gate}"
    raise ConflictError(
        f"{decision.person} has no decision on {change.id}{at} that could be taken back.",
        hint=f"`passgate show {change.id}` says who decided what.",
        subject=change.id,
    )


def _decision(row: Row[Any]) -> Decision:
    values = {name: value for name, value in row._asdict().items() if name != "number"}
    return Decision(**values | {"verdict": Verdict(row.verdict)})
