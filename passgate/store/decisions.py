"""Keep decisions: one of each person on one plan at one gate. Inside a transaction."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from passgate.errors import ConflictError
from passgate.model.change import Actor, Change, Event, EventType
from passgate.model.decision import Decision, Verdict
from passgate.store import gates
from passgate.store.tables import decisions
from passgate.store.writing import Write


def of_change(connection: Connection, change_id: str) -> tuple[Decision, ...]:
    """Return all decisions on a change, the first one first."""
    query = select(decisions).where(decisions.c.change == change_id).order_by(decisions.c.at, decisions.c.person)
    return tuple(Decision(**row._asdict() | {"verdict": Verdict(row.verdict)}) for row in connection.execute(query))


def decide(write: Write, change: Change, decision: Decision, actor: Actor) -> bool:
    """Record a decision; False when this very one is there already, as after a second click."""
    before = write.connection.execute(
        select(decisions).where(
            decisions.c.change == decision.change,
            decisions.c.digest == decision.digest,
            decisions.c.gate == decision.gate,
            decisions.c.person == decision.person,
        )
    ).first()
    if before and before.verdict == decision.verdict.value:
        return False
    if before:
        raise ConflictError(
            f"{decision.person} decided on {change.id} before: {before.verdict}. That stays as it is.",
            hint="Before the first step the change can be withdrawn: `passgate withdraw`.",
            subject=change.id,
        )
    gates.require_open(change, decision)
    values = decision.model_dump() | {"verdict": decision.verdict.value}
    write.connection.execute(insert(decisions).values(**values))
    data = decision.model_dump(mode="json", include={"digest", "gate", "person", "door", "verdict", "reason"})
    data |= {"overrides": codes} if (codes := list(gates.overrides(change, decision))) else {}
    write.append(Event(type=EventType.DECISION, change=change.id, actor=actor, at=decision.at, data=data))
    return True
