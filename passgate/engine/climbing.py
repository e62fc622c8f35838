"""Make the reminders and escalations that are due: each exactly once, whatever dies and however many look."""

from __future__ import annotations

from datetime import datetime

from passgate.engine.authority import ENGINE
from passgate.engine.runtime import Runtime
from passgate.ledger.canonical import time_text
from passgate.model.change import Change, Event, EventType
from passgate.policy.ladder import ESCALATE, Rung, due, ladder, still_asked, waits_at
from passgate.policy.votes import ballot_of, tally_of


def climb(runtime: Runtime, change: Change) -> None:
    """Make what is due at the gate where the change waits; without anything due it costs no query."""
    waits, now = waits_at(change), runtime.clock()
    past = [one for one in ladder(change) if one.at <= now]
    if waits is None or not past:
        return
    gate, _, approve_by = waits
    for rung in due(past, runtime.store.rungs.made(change.id, gate), now):
        runtime.store.rungs.make(gate, rung.name, _event(runtime, change, gate, rung, approve_by))


def _event(runtime: Runtime, change: Change, gate: str, rung: Rung, approve_by: datetime | None) -> Event:
    now, decisions = runtime.clock(), runtime.store.decisions(change.id)
    asked = ballot_of(change, gate, decisions)
    people = still_asked(asked, decisions, runtime.config.people, gate=gate, digest=change.digest or "", now=now)
    data = {
        "gate": gate,
        "rung": rung.name,
        "why": tally_of(change, decisions, now, gate).reasons[0],
        "people": list(people),
        **({"approve_by": time_text(approve_by)} if approve_by else {}),
    }
    if rung.kind == ESCALATE:
        new = [one for one in rung.voters if one in people]
        data |= {"groups": list(rung.groups), "people": new or list(people)}
        return Event(type=EventType.ESCALATED, change=change.id, actor=ENGINE, at=now, data=data)
    data |= {"last": "yes"} if rung.is_last else {}
    return Event(type=EventType.REMINDED, change=change.id, actor=ENGINE, at=now, data=data)
