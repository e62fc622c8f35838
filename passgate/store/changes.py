"""Keep changes: what was asked, the plan and its terms, and the state that each one is in. Inside a transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, bindparam, func, insert, select, update

from passgate.errors import ConflictError, UnknownNameError
from passgate.ledger.canonical import time_text
from passgate.model.change import (
    BEFORE_APPLY,
    ENDS,
    TRANSITIONS,
    Actor,
    Change,
    Door,
    Event,
    EventType,
    Gate,
    Override,
    State,
)
from passgate.model.decision import Terms
from passgate.model.plan import Plan, PlannedStep
from passgate.store import gates, journal, reviews, scheduling
from passgate.store.tables import changes
from passgate.store.writing import PASSGATE, Write


class Move(NamedTuple):
    """Hold to which state a change moves, why, and what changes with that; None leaves `outcome` as it is."""

    change: Change
    to: State
    why: str
    execute_by: datetime | None = None
    starts_at: datetime | None = None
    outcome: str | None = None


_SAID_OF_STEPS = {"index", "kind", "title", "needed", "before", "after", "impact", "gate"}


def one(connection: Connection, change_id: str) -> Change:
    """Return a change, or raise UnknownNameError."""
    row = connection.execute(select(changes).where(changes.c.id == change_id)).first()
    if row is None:
        newest = connection.scalar(select(changes.c.id).order_by(changes.c.number.desc()).limit(1))
        raise UnknownNameError(
            f"There is no change {change_id}.",
            hint=f"The newest is {newest}; `passgate list` shows them." if newest else "No change was requested yet.",
            subject=change_id,
        )
    come_to = gates.of_changes(connection, [change_id]).get(change_id, ())
    return _change(row, come_to, scheduling.overrides_of(connection, [change_id]).get(change_id, ()))


def of_flow_run(connection: Connection, flow_run: str) -> Change | None:
    """Return the change that a flow run carries out, if it does one."""
    found = connection.scalar(select(changes.c.id).where(changes.c.flow_run == flow_run))
    return one(connection, found) if found else None


def newest(connection: Connection, states: Sequence[State], limit: int) -> tuple[Change, ...]:
    """Return the newest changes, those in these states if any are named."""
    query = select(changes).order_by(changes.c.number.desc()).limit(limit)
    if states:
        query = query.where(changes.c.state.in_([state.value for state in states]))
    return all_of(connection, query)


def soonest(connection: Connection, start: int, limit: int) -> tuple[Change, ...]:
    """Return changes that may wait for decisions, the soonest deadline first, those without one last.

    One that is under way may wait at a second gate, for less time than any plan: these come first.
    """
    applying = changes.c.state == State.APPLYING.value
    query = select(changes).where(applying | (changes.c.state == State.WAITING.value))
    query = query.order_by(applying.desc(), changes.c.approve_by.is_(None), changes.c.approve_by, changes.c.number)
    return all_of(connection, query.offset(start).limit(limit))


def of_requester(connection: Connection, person: str, limit: int, *, ended: bool) -> tuple[Change, ...]:
    """Return the newest changes that a person asked for: those that are open, or those that have ended."""
    query = select(changes).where(changes.c.person == person, changes.c.ended_at.is_not(None) == ended)
    return all_of(connection, query.order_by(changes.c.number.desc()).limit(limit))


def all_of(connection: Connection, query: Select[Any]) -> tuple[Change, ...]:
    """Return the changes that a query over their table selects, in its order: three queries, however many."""
    return tuple(read() for read in _to_read(connection, query))


def readable(connection: Connection, query: Select[Any]) -> tuple[Change, ...]:
    """Return those of the changes that can be read: a damaged one must not hold the others up."""
    found: list[Change] = []
    for read in _to_read(connection, query):
        with suppress(ValueError):  # who looks at it alone is told what is wrong with it
            found.append(read())
    return tuple(found)


def _to_read(connection: Connection, query: Select[Any]) -> Iterator[Callable[[], Change]]:
    """Return for each change that a query selects what makes it of its row."""
    rows = connection.execute(query).all()
    if not rows:
        return
    wanted = query.with_only_columns(changes.c.id)
    come_to, let_through = gates.of_changes(connection, wanted), scheduling.overrides_of(connection, wanted)
    for row in rows:
        yield partial(_change, row, come_to.get(row.id, ()), let_through.get(row.id, ()))


def in_place_of(connection: Connection, replaced: str) -> str:
    """Return the newest change that asks anew for what that one asked for; empty where none does."""
    query = select(changes.c.id).where(changes.c.replaces == replaced).order_by(changes.c.number.desc())
    return connection.scalar(query.limit(1)) or ""


def counts(connection: Connection) -> dict[str, int]:
    """Return how many changes are in each state."""
    query = select(changes.c.state, func.count()).group_by(changes.c.state)
    return {state: int(count) for state, count in connection.execute(query)}


def file(
    write: Write,
    runbook: str,
    ask: dict[str, Any],
    requester: Actor,
    *,
    reason: str,
    ticket: str | None,
    at: datetime,
    schedule: dict[str, Any] | None = None,
    replaces: str | None = None,
) -> Change:
    """File a new change under the next free id. `schedule` is what the record says of the one that it is filed for.

    `replaces` is a change that is asked for again; ConflictError where another one that does so is under way.
    """
    if replaces:
        _refuse_second(write.connection, replaces)
    number = 1 + (write.connection.scalar(select(changes.c.number).order_by(changes.c.number.desc())) or 0)
    change_id = f"CHG-{number:04}"
    write.connection.execute(
        insert(changes).values(
            number=number, id=change_id, runbook=runbook, ask=json.dumps(ask), person=requester.person,
            door=requester.door.value, reason=reason, ticket=ticket, state=State.REQUESTED.value,
            created_at=at, outcome="", schedule=schedule["name"] if schedule else None, replaces=replaces,
        )
    )  # fmt: skip
    data = {"runbook": runbook, "ask": ask, "reason": reason, "ticket": ticket}
    data |= {"schedule": schedule} if schedule else {}
    data |= {"replaces": replaces} if replaces else {}
    write.append(Event(type=EventType.REQUESTED, change=change_id, actor=requester, at=at, data=data))
    return one(write.connection, change_id)


def _refuse_second(connection: Connection, replaced: str) -> None:
    ended = [state.value for state in ENDS]
    query = select(changes.c.id).where(changes.c.replaces == replaced, changes.c.state.not_in(ended))
    if (there := connection.scalar(query.limit(1))) is not None:
        raise ConflictError(
            f"{there} asks for what {replaced} asked for already.",
            hint=f"See how it stands: `passgate show {there}`.",
            subject=there,
        )


def set_flow_run(write: Write, change: Change, flow_run: str) -> None:
    """Note which flow run carries the change out."""
    write.connection.execute(update(changes).where(changes.c.id == change.id).values(flow_run=flow_run))


def save_plan(  # noqa: PLR0917 - as the facade's
    write: Write, change: Change, plan: Plan, terms: Terms, approve_by: datetime | None, at: datetime
) -> Change:
    """Put the plan and its terms into a change that was just requested."""
    if change.state is not State.REQUESTED:
        raise ConflictError(f"{change.id} is {change.state} and has its plan already.", subject=change.id)
    write.connection.execute(
        update(changes)
        .where(changes.c.id == change.id)
        .values(
            plan=plan.model_dump_json(), digest=plan.digest, terms=terms.model_dump_json(),
            approve_by=approve_by, state=State.PLANNED.value,
        )
    )  # fmt: skip
    data = _planned(plan, terms, approve_by)
    write.append(Event(type=EventType.PLANNED, change=change.id, actor=PASSGATE, at=at, data=data))
    if terms.break_glass is not None:
        reviews.open_one(write, change, terms.break_glass, at)
    return one(write.connection, change.id)


def move(
    write: Write,
    change: Change,
    to: State,
    actor: Actor,
    *,
    why: str,
    at: datetime,
    execute_by: datetime | None = None,
    starts_at: datetime | None = None,
    outcome: str | None = None,
) -> Change:
    """Move a change to a state that may follow its own; ConflictError where none may."""
    move_all(write, [Move(change, to, why, execute_by, starts_at, outcome)], actor, at)
    return one(write.connection, change.id)


def move_all(write: Write, moves: Sequence[Move], actor: Actor, at: datetime) -> None:
    """Move changes that were read in this transaction, all of them or none; so many cost hardly more than one."""
    if not moves:
        return
    for move in moves:
        _refuse_jump(move.change, move.to)
    write.connection.execute(
        update(changes).where(changes.c.id == bindparam("moved")),
        [{"moved": move.change.id, **_moved(move, at)} for move in moves],
    )
    write.append_all([_told(move, actor, at) for move in moves])
    for change, to, *_ in moves:
        if to.is_end and change.state in BEFORE_APPLY and change.terms and change.terms.break_glass:
            reviews.close_unneeded(write, change, at)


def _refuse_jump(change: Change, to: State) -> None:
    if to not in TRANSITIONS[change.state]:
        follow = ", ".join(sorted(TRANSITIONS[change.state])) or "nothing: it has ended"
        raise ConflictError(
            f"{change.id} is {change.state} and can't become {to}. It stayed as it was.",
            hint=f"From {change.state} may follow {follow}.",
            subject=change.id,
        )


def _moved(move: Move, at: datetime) -> dict[str, Any]:
    """Return what stands in the row of a change after the move: the same columns for every move."""
    change, to = move.change, move.to
    return {
        "state": to.value,
        "execute_by": move.execute_by or change.execute_by,
        "starts_at": move.starts_at if to in {State.SCHEDULED, State.WAITING} else change.starts_at,
        "ended_at": at if to.is_end else change.ended_at,
        "outcome": change.outcome if move.outcome is None else move.outcome,
    }


def _told(move: Move, actor: Actor, at: datetime) -> Event:
    said: dict[str, Any] = {"execute_by": time_text(move.execute_by)} if move.execute_by else {}
    said |= {"starts_at": time_text(move.starts_at)} if move.starts_at else {}
    said |= {"outcome": move.outcome} if move.outcome else {}
    data = {"from": move.change.state.value, "to": move.to.value, "why": move.why, **said}
    return Event(type=EventType.STATE, change=move.change.id, actor=actor, at=at, data=data)


def begin(
    write: Write,
    change: Change,
    steps: Sequence[PlannedStep],
    events: Sequence[Event],
    actor: Actor,
    *,
    why: str,
    at: datetime,
) -> Change:
    """Begin an approved change: its journal, what is known from before (`events`) and `applying`."""
    if change.state not in {State.APPROVED, State.SCHEDULED}:
        raise ConflictError(
            f"{change.id} is {change.state}, not {State.APPROVED}, and can't be begun. It stayed as it was.",
            hint=f"`passgate show {change.id}` says how it came to that.",
            subject=change.id,
        )
    if change.execute_by and at >= change.execute_by:
        raise ConflictError(
            f"The approval of {change.id} ended at {change.execute_by:%Y-%m-%d %H:%M} UTC. It was not begun.",
            hint="Request it again: a new request needs new approvals.",
            subject=change.id,
        )
    journal.begin(write, change.id, steps)
    for event in events:
        write.append_own(change.id, event)
    return move(write, change, State.APPLYING, actor, why=why, at=at)


def _change(row: Row[Any], come_to: tuple[Gate, ...], let_through: tuple[Override, ...]) -> Change:
    return Change(
        id=row.id,
        runbook=row.runbook,
        ask=json.loads(row.ask),
        requester=Actor(person=row.person, door=Door(row.door)),
        reason=row.reason,
        ticket=row.ticket,
        state=State(row.state),
        created_at=row.created_at,
        plan=Plan.model_validate_json(row.plan) if row.plan else None,
        digest=row.digest,
        terms=Terms.model_validate_json(row.terms) if row.terms else None,
        approve_by=row.approve_by,
        execute_by=row.execute_by,
        flow_run=row.flow_run,
        ended_at=row.ended_at,
        outcome=row.outcome,
        gates=come_to,
        schedule=row.schedule,
        replaces=row.replaces,
        starts_at=row.starts_at,
        overrides=let_through,
    )


def _planned(plan: Plan, terms: Terms, approve_by: datetime | None) -> dict[str, Any]:
    """Say in the ledger what was planned, in the words that people decide on, and what it needs."""
    return {
        "digest": plan.digest,
        "title": plan.title,
        "target": plan.target,
        "risk": plan.risk.value,
        "impact": list(plan.impact),
        "steps": [step.model_dump(mode="json", include=_SAID_OF_STEPS) for step in plan.steps],
        "warnings": [f"{check.code}: {check.saw}" for check in plan.warnings],
        "terms": terms.model_dump(mode="json"),
        "approve_by": time_text(approve_by) if approve_by else None,
    }
