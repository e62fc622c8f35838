"""Keep all of Passgate's state; each method is one transaction, and what happens is in the ledger or did not happen.

The store takes times as arguments and has no clock. Who may decide is policy's matter; the store only sees to it that
nobody decides twice, or on a plan that is not the current one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, insert, select, update

from passgate.errors import ConflictError, InputError, RecordError, SupersededError, UnknownNameError
from passgate.ledger.canonical import LEFT_OUT, is_named_like_a_secret, read_event, recordable, time_text
from passgate.ledger.evidence import EvidenceData
from passgate.ledger.note import BadNoteError, Checkpoint, VerifierKey, open_checkpoint
from passgate.ledger.signer import Signer
from passgate.ledger.verify import Finding, Proven, verify
from passgate.model.change import (
    TRANSITIONS,
    Actor,
    Change,
    Door,
    Event,
    EventType,
    Gate,
    JournalEntry,
    RecordedEvent,
    State,
    StepState,
)
from passgate.model.decision import PLAN, Decision, Terms, Verdict
from passgate.model.frozen import Frozen
from passgate.model.plan import Plan, PlannedStep
from passgate.store import gates, record
from passgate.store.database import Database
from passgate.store.tables import changes, chat_messages, cursors, decisions, inbox, journal, leases, ledger
from passgate.store.tables import tokens as personal_tokens

PASSGATE = Actor(person="passgate", door=Door.ENGINE)

_SAID_OF_STEPS = {"index", "kind", "title", "needed", "before", "after", "impact", "gate"}

_SETTLED = frozenset(StepState) - {StepState.PENDING, StepState.INTENT}

log = logging.getLogger(__name__)


class ChatMessage(Frozen):
    """Name the parent message of a change in one channel, and what it showed last."""

    ts: str
    digest: str


class Store:
    """Read and write changes, decisions, leases, the journal, the ledger and what faces need to remember."""

    def __init__(self, url: str, *, origin: str, signer: Signer | None, anchors: Path | None = None) -> None:
        self.origin = origin
        self.listeners: list[Callable[[], None]] = []
        """Called after each commit that appended events."""
        self._signer = signer
        self._anchors = record.AnchorFile(anchors) if anchors else None
        self._database = Database(url)

    def migrate(self) -> None:
        """Bring the tables up to date."""
        self._database.migrate()

    def close(self) -> None:
        """Give all connections back, and the right to work here alone."""
        self._database.close()

    def hold(self) -> None:
        """Take the exclusive right of one service to work on this database, for as long as this store is open.

        RecordError where another key signed here last: nothing could be recorded then.
        """
        with self._database.reading() as connection:
            newest = record.newest_head(connection)
        if newest and self._signer:
            try:
                open_checkpoint(newest, [self._signer.key(self.origin)])
            except BadNoteError as error:
                raise RecordError(
                    f"Another key signed the ledger in this database ({error}). This service did not start.",
                    hint="Take the ledger.key of the former home, and the same origin in config/service.yaml.",
                ) from error
        self._database.hold()

    # Changes

    def file_change(  # noqa: PLR0917 - the facade that all faces were written against
        self, runbook: str, ask: dict[str, Any], requester: Actor, reason: str, ticket: str | None, at: datetime
    ) -> Change:
        """File a new change under the next free id."""
        _refuse_secrets(reason=reason, ticket=ticket)
        _refuse_secret_fields(ask)
        with self._writing() as write:
            number = 1 + (write.connection.scalar(select(changes.c.number).order_by(changes.c.number.desc())) or 0)
            change_id = f"CHG-{number:04}"
            write.connection.execute(
                insert(changes).values(
                    number=number, id=change_id, runbook=runbook, ask=json.dumps(ask), person=requester.person,
                    door=requester.door.value, reason=reason, ticket=ticket, state=State.REQUESTED.value,
                    created_at=at, outcome="",
                )
            )  # fmt: skip
            data = {"runbook": runbook, "ask": ask, "reason": reason, "ticket": ticket}
            write.append(Event(type=EventType.REQUESTED, change=change_id, actor=requester, at=at, data=data))
            return _change_in(write.connection, change_id)

    def change(self, change_id: str) -> Change:
        """Return a change, or raise UnknownNameError."""
        with self._database.reading() as connection:
            return _change_in(connection, change_id)

    def change_of_flow_run(self, flow_run: str) -> Change | None:
        """Return the change that a flow run carries out, if it does one."""
        with self._database.reading() as connection:
            found = connection.scalar(select(changes.c.id).where(changes.c.flow_run == flow_run))
            return _change_in(connection, found) if found else None

    def changes(self, states: tuple[State, ...] = (), limit: int = 50) -> tuple[Change, ...]:
        """Return the newest changes, those in these states if any are named."""
        query = select(changes).order_by(changes.c.number.desc()).limit(limit)
        if states:
            query = query.where(changes.c.state.in_([state.value for state in states]))
        with self._database.reading() as connection:
            come_to = gates.of_changes(connection, query.with_only_columns(changes.c.id))
            return tuple(_change(row, come_to.get(row.id, ())) for row in connection.execute(query))

    def set_flow_run(self, change_id: str, flow_run: str) -> None:
        """Note which flow run carries the change out."""
        with self._writing() as write:
            _change_in(write.connection, change_id)
            write.connection.execute(update(changes).where(changes.c.id == change_id).values(flow_run=flow_run))

    def save_plan(self, change_id: str, plan: Plan, terms: Terms, approve_by: datetime | None, at: datetime) -> Change:
        """Put the plan and its terms into a change that was just requested."""
        with self._writing() as write:
            change = _change_in(write.connection, change_id)
            if change.state is not State.REQUESTED:
                raise ConflictError(f"{change_id} is {change.state} and has its plan already.", subject=change_id)
            write.connection.execute(
                update(changes)
                .where(changes.c.id == change_id)
                .values(
                    plan=plan.model_dump_json(), digest=plan.digest, terms=terms.model_dump_json(),
                    approve_by=approve_by, state=State.PLANNED.value,
                )
            )  # fmt: skip
            data = _planned(plan, terms, approve_by)
            write.append(Event(type=EventType.PLANNED, change=change_id, actor=PASSGATE, at=at, data=data))
            return _change_in(write.connection, change_id)

    def move(
        self,
        change_id: str,
        to: State,
        actor: Actor,
        why: str,
        at: datetime,
        *,
        execute_by: datetime | None = None,
        outcome: str | None = None,
        tokens: Mapping[str, int] | None = None,
    ) -> Change:
        """Move a change to a state that may follow its own; ConflictError when it moved on meanwhile.

        With `tokens` (here and below), SupersededError unless these are the current tokens of leases it holds.
        """
        if actor.door is not Door.ENGINE:
            _refuse_secrets(reason=why)
        with self._writing() as write:
            change = _change_in(write.connection, change_id)
            _require_current(write.connection, change_id, tokens)
            if to not in TRANSITIONS[change.state]:
                follow = ", ".join(sorted(TRANSITIONS[change.state])) or "nothing: it has ended"
                raise ConflictError(
                    f"{change_id} is {change.state} and can't become {to}. It stayed as it was.",
                    hint=f"From {change.state} may follow {follow}.",
                    subject=change_id,
                )
            values: dict[str, Any] = {"state": to.value}
            values |= {"execute_by": execute_by} if execute_by else {}
            values |= {"outcome": outcome} if outcome is not None else {}
            values |= {"ended_at": at} if to.is_end else {}
            write.connection.execute(update(changes).where(changes.c.id == change_id).values(**values))
            data = _moved(change.state, to, why)
            data |= {"execute_by": time_text(execute_by)} if execute_by else {}
            data |= {"outcome": outcome} if outcome else {}
            write.append(Event(type=EventType.STATE, change=change_id, actor=actor, at=at, data=data))
            return _change_in(write.connection, change_id)

    def begin(  # noqa: PLR0917 - the facade that the engine was written against
        self,
        change_id: str,
        steps: Sequence[PlannedStep],
        events: Sequence[Event],
        actor: Actor,
        why: str,
        at: datetime,
        tokens: Mapping[str, int],
    ) -> Change:
        """Begin an approved change: its journal, what is known from before (`events`) and `applying`, or nothing."""
        if actor.door is not Door.ENGINE:
            _refuse_secrets(reason=why)
        with self._writing() as write:
            change = _change_in(write.connection, change_id)
            _require_current(write.connection, change_id, tokens)
            if change.state is not State.APPROVED:
                raise ConflictError(
                    f"{change_id} is {change.state}, not {State.APPROVED}, and can't be begun. It stayed as it was.",
                    hint=f"`passgate show {change_id}` says how it came to that.",
                    subject=change_id,
                )
            if change.execute_by and at >= change.execute_by:
                raise ConflictError(
                    f"The approval of {change_id} ended at {change.execute_by:%Y-%m-%d %H:%M} UTC. It was not begun.",
                    hint="Request it again: a new request needs new approvals.",
                    subject=change_id,
                )
            _write_journal(write.connection, change_id, steps)
            for event in events:
                _require_own(change_id, event)
                write.append(event)
            applying = update(changes).where(changes.c.id == change_id).values(state=State.APPLYING.value)
            write.connection.execute(applying)
            data = _moved(change.state, State.APPLYING, why)
            write.append(Event(type=EventType.STATE, change=change_id, actor=actor, at=at, data=data))
            return _change_in(write.connection, change_id)

    # Decisions

    def decide(self, decision: Decision, actor: Actor) -> bool:
        """Record a decision; False when this very one is there already, as after a second click."""
        _refuse_secrets(reason=decision.reason)
        with self._writing() as write:
            change = _change_in(write.connection, decision.change)
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

    def decisions(self, change_id: str) -> tuple[Decision, ...]:
        """Return all decisions on a change, the first one first."""
        query = select(decisions).where(decisions.c.change == change_id).order_by(decisions.c.at, decisions.c.person)
        with self._database.reading() as connection:
            return tuple(
                Decision(**row._asdict() | {"verdict": Verdict(row.verdict)}) for row in connection.execute(query)
            )

    def open_gate(
        self, change_id: str, gate: Gate, actor: Actor, *, keep: timedelta, tokens: Mapping[str, int]
    ) -> Change:
        """Let a change that is under way wait at a second gate, and hold its leases until `keep` after its time.

        No process waits there, so nothing would renew them.
        """
        with self._writing() as write:
            change = _change_in(write.connection, change_id)
            _require_current(write.connection, change_id, tokens)
            gates.open_one(write.connection, change, gate)
            _hold_until(write.connection, change_id, gate.approve_by + keep)
            data = {
                "gate": gate.name, "step": str(gate.step), "digest": change.digest, "why": gate.why,
                "approve_by": time_text(gate.approve_by),
            }  # fmt: skip
            event = Event(type=EventType.GATE_OPENED, change=change_id, actor=actor, at=gate.opened_at, data=data)
            write.append(event)
            return _change_in(write.connection, change_id)

    def settle_gate(self, change_id: str, gate: Gate, actor: Actor, at: datetime) -> Change:
        """Note how an open second gate was settled; ConflictError when it was settled meanwhile."""
        if actor.door is not Door.ENGINE:
            _refuse_secrets(reason=gate.why)
        with self._writing() as write:
            change = _change_in(write.connection, change_id)
            gates.settle_one(write.connection, change, gate.model_copy(update={"settled_at": at}))
            data = {"gate": gate.name, "step": str(gate.step), "state": gate.state.value, "why": gate.why}
            write.append(Event(type=EventType.GATE_SETTLED, change=change_id, actor=actor, at=at, data=data))
            return _change_in(write.connection, change_id)

    # The journal

    def begin_journal(self, change_id: str, steps: Sequence[PlannedStep]) -> None:
        """Write the steps down as pending; those that are there already stay as they are."""
        with self._writing() as write:
            _change_in(write.connection, change_id)
            _write_journal(write.connection, change_id, steps)

    def journal(self, change_id: str) -> tuple[JournalEntry, ...]:
        """Return the state of each step, in order."""
        with self._database.reading() as connection:
            return _journal_in(connection, change_id)

    def step(
        self,
        change_id: str,
        index: int,
        state: StepState,
        event: Event,
        *,
        saw: str | None = None,
        error: str | None = None,
        attempt: bool = False,
        tokens: Mapping[str, int] | None = None,
    ) -> JournalEntry:
        """Set the state of a step and record the event that says so; None leaves `saw` and `error` as they are."""
        with self._writing() as write:
            change = _change_in(write.connection, change_id)
            _require_current(write.connection, change_id, tokens)
            if change.state is not State.APPLYING:
                raise ConflictError(
                    f"{change_id} is {change.state}: none of its steps can be done now. Nothing was recorded.",
                    hint=f"`passgate show {change_id}` says how it came to that.",
                    subject=change_id,
                )
            entry = next((entry for entry in _journal_in(write.connection, change_id) if entry.index == index), None)
            if entry is None:
                raise UnknownNameError(f"{change_id} has no step {index} in its journal.", subject=change_id)
            _require_own(change_id, event)
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
            write.connection.execute(
                update(journal).where(journal.c.change == change_id, journal.c.index == index).values(**values)
            )
            write.append(event)
            return now

    # Leases

    def take_leases(self, change_id: str, resources: Sequence[str], ttl: timedelta, at: datetime) -> dict[str, int]:
        """Take the exclusive right to change all these resources, or none; return a fencing token for each.

        A lease that ran out, or that this change holds, is taken over with a higher token.
        """
        with self._writing() as write:
            rows = write.connection.execute(select(leases).where(leases.c.resource.in_(resources)))
            there = {row.resource: row for row in rows}
            for row in there.values():
                if row.change not in {None, change_id} and row.until > at:
                    raise ConflictError(
                        f"{row.resource} is being changed by {row.change}.",
                        hint=f"Wait until {row.change} has ended; if it died, its lease ends at {row.until:%H:%M} UTC.",
                        subject=row.resource,
                    )
            granted: dict[str, int] = {}
            for resource in sorted(set(resources)):
                token = granted[resource] = there[resource].token + 1 if resource in there else 1
                values = {"change": change_id, "token": token, "until": at + ttl}
                write.connection.execute(
                    update(leases).where(leases.c.resource == resource).values(**values)
                    if resource in there
                    else insert(leases).values(resource=resource, **values)
                )
            data = {"act": "taken", "tokens": {resource: str(token) for resource, token in granted.items()}}
            write.append(Event(type=EventType.LEASE, change=change_id, actor=PASSGATE, at=at, data=data))
            return granted

    def renew_leases(
        self, change_id: str, ttl: timedelta, at: datetime, tokens: Mapping[str, int] | None = None
    ) -> tuple[str, ...]:
        """Hold on to the leases that the change still has, never for a shorter time; return their resources."""
        with self._writing() as write:
            _require_current(write.connection, change_id, tokens)
            mine = leases.c.change == change_id
            _hold_until(write.connection, change_id, at + ttl)
            return tuple(write.connection.scalars(select(leases.c.resource).where(mine).order_by(leases.c.resource)))

    def give_leases_back(self, change_id: str, at: datetime, tokens: Mapping[str, int] | None = None) -> None:
        """End all leases of the change; without any, nothing happens."""
        with self._writing() as write:
            _require_current(write.connection, change_id, tokens)
            mine = leases.c.change == change_id
            held = list(write.connection.scalars(select(leases.c.resource).where(mine).order_by(leases.c.resource)))
            if held:
                write.connection.execute(update(leases).where(mine).values(change=None, until=at))
                data = {"act": "given back", "resources": held}
                write.append(Event(type=EventType.LEASE, change=change_id, actor=PASSGATE, at=at, data=data))

    def lease_holds(self, change_id: str, resource: str, token: int, at: datetime) -> bool:
        """Say whether this token is still the one that may change the resource."""
        with self._database.reading() as connection:
            row = connection.execute(select(leases).where(leases.c.resource == resource)).first()
            return bool(row and row.change == change_id and row.token == token and row.until > at)

    # The ledger

    def append(self, event: Event, *, tokens: Mapping[str, int] | None = None) -> RecordedEvent:
        """Record an event that changes no state of ours."""
        with self._writing() as write:
            _require_current(write.connection, event.change, tokens)
            return write.append(event)

    def events(self, after: int = 0, change: str | None = None, limit: int = 500) -> tuple[RecordedEvent, ...]:
        """Return the events behind a place in the ledger, those of one change if it is named."""
        query: Select[Any] = select(ledger.c.body, ledger.c.leaf_hash).where(ledger.c.seq > after)
        if change is not None:
            query = query.where(ledger.c.change == change)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(ledger.c.seq).limit(limit))
            return tuple(read_event(row.body, row.leaf_hash) for row in rows)

    def events_of(self, change_id: str, kind: EventType) -> tuple[RecordedEvent, ...]:
        """Return all events of one type of a change, in order."""
        query = select(ledger.c.body, ledger.c.leaf_hash).where(ledger.c.change == change_id).order_by(ledger.c.seq)
        with self._database.reading() as connection:
            found = (read_event(row.body, row.leaf_hash) for row in connection.execute(query))
            return tuple(event for event in found if event.type is kind)

    def last_event(self, change_id: str, *, without: Collection[EventType] = ()) -> RecordedEvent | None:
        """Return the newest event of a change, those types left out."""
        query = select(ledger.c.body, ledger.c.leaf_hash).where(ledger.c.change == change_id)
        newest_first = query.order_by(ledger.c.seq.desc()).execution_options(yield_per=16)
        with self._database.reading() as connection, connection.execute(newest_first) as rows:
            found = (read_event(row.body, row.leaf_hash) for row in rows)
            return next((event for event in found if event.type not in without), None)

    @property
    def verifier_key(self) -> VerifierKey | None:
        """Return the public half of the key that this store signs with, if it signs."""
        return self._signer.key(self.origin) if self._signer else None

    def verify(self, keys: Sequence[VerifierKey] = (), anchors: Sequence[str] = ()) -> Finding | Proven:
        """Check the whole ledger, with our own key and anchor file where no others are given."""
        own = self.verifier_key
        known = keys or ((own,) if own else ())
        # Copies, then heads, then rows: what is recorded between two of these readings is then no finding.
        copies = anchors or (self._anchors.lines() if self._anchors else ())
        with self._database.reading() as connection:
            heads = record.heads(connection)
            rows = record.rows(connection)
        return verify(rows, heads, known, copies)

    def evidence_data(self, change_id: str) -> EvidenceData:
        """Gather what the evidence of a change is made of, under a head that covers all of its events."""
        with self._writing(sign=True) as write:
            change = _change_in(write.connection, change_id)
        with self._database.reading() as connection:
            note = record.newest_head(connection)
            if note is None:
                raise RecordError(
                    "There is no signed head of the ledger, so there is no evidence.",
                    hint="Write the evidence where the signing key is: in Passgate's service.",
                )
            size = Checkpoint.of(note.rpartition("\n\n")[0] + "\n").size
            rows = tuple(row for row in record.rows(connection, change_id) if row.seq <= size)
            return EvidenceData(
                change=change_id,
                plan=change.plan,
                rows=rows,
                tree=record.tree_since(connection, rows[0].seq, size),
                note=note,
                anchors=self._copies({row.seq for row in rows}),
            )

    def _copies(self, sizes: set[int]) -> tuple[str, ...]:
        """Return the lines of the anchor file that we signed after these events."""
        if not self._anchors or not self._signer:
            return ()
        heads = self._anchors.heads(self._signer.key(self.origin), min(sizes))
        return tuple(reversed([line for line, head in heads if head.size in sizes]))

    # What the faces need to remember

    def cursor(self, name: str) -> int:
        """Return how far a reader of the ledger has come."""
        with self._database.reading() as connection:
            return connection.scalar(select(cursors.c.seq).where(cursors.c.name == name)) or 0

    def advance(self, name: str, seq: int) -> None:
        """Note how far a reader has come; a cursor never goes back."""
        with self._writing() as write:
            old = write.connection.scalar(select(cursors.c.seq).where(cursors.c.name == name))
            if old is None:
                write.connection.execute(insert(cursors).values(name=name, seq=seq))
            elif seq > old:
                write.connection.execute(update(cursors).where(cursors.c.name == name).values(seq=seq))

    def chat_message(self, change_id: str, channel: str, gate: str = PLAN) -> ChatMessage | None:
        """Return the parent message of a change in a channel, or the one of a second gate, if it was posted."""
        query = select(chat_messages.c.ts, chat_messages.c.digest)
        query = query.where(
            chat_messages.c.change == change_id, chat_messages.c.channel == channel, chat_messages.c.gate == gate
        )
        with self._database.reading() as connection:
            row = connection.execute(query).first()
            return ChatMessage(ts=row.ts, digest=row.digest) if row else None

    def save_chat_message(self, change_id: str, channel: str, ts: str, digest: str, gate: str = PLAN) -> None:
        """Note the parent message of a change, or the one of a second gate, and what it shows."""
        with self._writing() as write:
            here = (chat_messages.c.change == change_id) & (chat_messages.c.channel == channel)
            here &= chat_messages.c.gate == gate
            values = {"ts": ts, "digest": digest}
            if not write.connection.execute(update(chat_messages).where(here).values(**values)).rowcount:
                write.connection.execute(
                    insert(chat_messages).values(change=change_id, channel=channel, gate=gate, **values)
                )

    def inbox_put(self, key: str, payload: dict[str, Any], at: datetime) -> bool:
        """Keep what came in until it is dealt with; False when it came before."""
        with self._writing() as write:
            if write.connection.scalar(select(inbox.c.key).where(inbox.c.key == key)) is not None:
                return False
            write.connection.execute(insert(inbox).values(key=key, payload=json.dumps(payload), at=at))
            return True

    def inbox_open(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """Return what came in and is not dealt with, the oldest first."""
        query = select(inbox.c.key, inbox.c.payload).where(inbox.c.done_at.is_(None)).order_by(inbox.c.at, inbox.c.key)
        with self._database.reading() as connection:
            return tuple((row.key, json.loads(row.payload)) for row in connection.execute(query))

    def inbox_done(self, key: str, outcome: str, at: datetime) -> None:
        """Note that what came in was dealt with, and how."""
        with self._writing() as write:
            write.connection.execute(update(inbox).where(inbox.c.key == key).values(outcome=outcome, done_at=at))

    def issue_token(self, person: str, at: datetime, by: Actor | None = None) -> str:
        """Make a personal token. It is shown this once: only its hash is kept, and the record says whose it is."""
        token = "pg_" + secrets.token_urlsafe(32)
        with self._writing() as write:
            write.connection.execute(insert(personal_tokens).values(sha256=_sha256(token), person=person, at=at))
            data = {"person": person}
            write.append(Event(type=EventType.TOKEN, change="", actor=by or PASSGATE, at=at, data=data))
        return token

    def revoke_tokens(self, person: str, at: datetime, by: Actor | None = None) -> int:
        """Remove all tokens of a person; return how many there were. Without any, nothing happens."""
        with self._writing() as write:
            theirs = delete(personal_tokens).where(personal_tokens.c.person == person)
            count = write.connection.execute(theirs).rowcount
            if count:
                data = {"person": person, "count": str(count)}
                write.append(Event(type=EventType.TOKEN_REVOKED, change="", actor=by or PASSGATE, at=at, data=data))
            return count

    def person_of_token(self, token: str) -> str | None:
        """Return whose token that is, if it is anybody's."""
        with self._database.reading() as connection:
            # The lookup is by hash, so that its timing says nothing about tokens that exist.
            query = select(personal_tokens.c.person).where(personal_tokens.c.sha256 == _sha256(token))
            return connection.scalar(query)

    @contextmanager
    def _writing(self, *, sign: bool = False) -> Iterator[_Write]:
        """Open the writer's transaction; sign, anchor and wake the listeners when events were appended."""
        head = None
        with self._database.writing() as connection:
            write = _Write(connection)
            yield write
            if self._signer and (sign or record.wants_signature(connection, write.events)):
                anchored = None
                if self._anchors:
                    self._anchors.require_writable()
                    anchored = self._anchors.newest(self._signer.key(self.origin))
                head = record.sign_head(connection, self._signer, self.origin, anchored)
        if head and self._anchors:
            try:
                self._anchors.append(head)
            except OSError as error:
                # The events are committed and signed; the next head that reaches the file covers these as well.
                log.warning(
                    "A signed head of the ledger did not reach %s: %s. The next one covers it as well.",
                    self._anchors.path,
                    error.strerror,
                )
        if write.events:
            for listener in self.listeners:
                listener()


class _Write:
    """Hold the writer's transaction and what was appended in it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.events: list[RecordedEvent] = []

    def append(self, event: Event) -> RecordedEvent:
        recorded = record.append(self.connection, event)
        self.events.append(recorded)
        return recorded


def _refuse_secrets(**said: str | None) -> None:
    """Refuse at the door what a person typed and can say otherwise; what was read in the estate is never refused."""
    for field, text in said.items():
        if text and LEFT_OUT in recordable(text):
            raise InputError(
                f"The {field} holds what looks like a password, token or key. Nothing was recorded.",
                hint="Say it without: what is in the record can't be taken out again.",
                subject=field,
            )


def _refuse_secret_fields(ask: dict[str, Any]) -> None:
    for field, value in ask.items():
        if value and is_named_like_a_secret(field):
            raise InputError(
                f"The field {field} is named like a secret. Nothing was recorded.",
                hint="A runbook must not ask for secrets; give it a reference to where the secret is kept.",
                subject=field,
            )


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _change_in(connection: Connection, change_id: str) -> Change:
    row = connection.execute(select(changes).where(changes.c.id == change_id)).first()
    if row is None:
        newest = connection.scalar(select(changes.c.id).order_by(changes.c.number.desc()).limit(1))
        raise UnknownNameError(
            f"There is no change {change_id}.",
            hint=f"The newest is {newest}; `passgate list` shows them." if newest else "No change was requested yet.",
            subject=change_id,
        )
    return _change(row, gates.of_changes(connection, [change_id]).get(change_id, ()))


def _change(row: Row[Any], come_to: tuple[Gate, ...]) -> Change:
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
    )


def _hold_until(connection: Connection, change_id: str, until: datetime) -> None:
    shorter = (leases.c.change == change_id) & (leases.c.until < until)
    connection.execute(update(leases).where(shorter).values(until=until))


def _require_current(connection: Connection, change_id: str, tokens: Mapping[str, int] | None) -> None:
    """Raise SupersededError unless the change holds these leases under these tokens, be it past their time."""
    rows = connection.execute(select(leases).where(leases.c.resource.in_(tokens or ())))
    held = {row.resource: row.token for row in rows if row.change == change_id}
    lost = sorted(resource for resource, token in (tokens or {}).items() if held.get(resource) != token)
    if lost:
        raise SupersededError(
            f"This run of {change_id} does not hold {', '.join(lost)} any more: a newer run took over, or it was "
            "given back. Nothing was recorded.",
            hint=f"The newer run goes on by itself; `passgate show {change_id}` tells.",
            subject=change_id,
        )


def _require_own(change_id: str, event: Event) -> None:
    if event.change != change_id:
        raise RecordError(f"An event of {event.change} can't stand for one of {change_id}. Nothing was recorded.")


def _write_journal(connection: Connection, change_id: str, steps: Sequence[PlannedStep]) -> None:
    there = {entry.index for entry in _journal_in(connection, change_id)}
    rows = [
        {
            "change": change_id, "index": step.index, "kind": step.kind, "title": step.title,
            "state": StepState.PENDING.value, "attempts": 0, "saw": "", "error": "",
        }
        for step in steps
        if step.index not in there
    ]  # fmt: skip
    if rows:
        connection.execute(insert(journal), rows)


def _moved(before: State, to: State, why: str) -> dict[str, str]:
    return {"from": before.value, "to": to.value, "why": why}


def _journal_in(connection: Connection, change_id: str) -> tuple[JournalEntry, ...]:
    query = select(journal).where(journal.c.change == change_id).order_by(journal.c.index)
    rows = connection.execute(query)
    return tuple(JournalEntry(**row._asdict() | {"state": StepState(row.state)}) for row in rows)


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
