"""Keep all of Passgate's state; each method is one transaction, and what happens is in the ledger or did not happen.

What a transaction does stands beside this file, by noun: changes, decisions, gates, journal, leases, tokens, what faces
remember, and the readings of the ledger. The store takes times as arguments and has no clock. Who may decide is
policy's matter; the store only sees to it that nobody decides twice, or on a plan that is not the current one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from passgate.errors import RecordError
from passgate.ledger.canonical import time_text
from passgate.ledger.evidence import EvidenceData
from passgate.ledger.note import BadNoteError, VerifierKey, open_checkpoint
from passgate.ledger.signer import Signer
from passgate.ledger.verify import Finding, Proven, verify
from passgate.model.change import (
    Actor,
    Change,
    Door,
    Event,
    EventType,
    Gate,
    JournalEntry,
    Override,
    RecordedEvent,
    State,
    StepState,
)
from passgate.model.decision import PLAN, Decision, Terms
from passgate.model.plan import Plan, PlannedStep
from passgate.store import (
    changes,
    counting,
    decisions,
    expiring,
    filings,
    gates,
    journal,
    leases,
    moments,
    reading,
    record,
    remembered,
    scheduling,
    seen,
    tokens,
)
from passgate.store.database import Database
from passgate.store.expiring import Judge
from passgate.store.news import News
from passgate.store.refusing import refuse_secret_fields, refuse_secrets
from passgate.store.remembered import ChatMessage
from passgate.store.reviews import Reviews
from passgate.store.rungs import Rungs
from passgate.store.schedules import ScheduleBook
from passgate.store.writing import PASSGATE, Write

log = logging.getLogger(__name__)


def _alive(connection: Connection, key: str) -> Change | None:
    """Return what was filed under a key, unless Passgate ended while it did: that is filed anew."""
    found = filings.change_of(connection, key) if key else None
    change = changes.one(connection, found) if found else None
    return None if change is None or (change.state is State.VOID and change.plan is None) else change


class Store:
    """Read and write changes, decisions, leases, the journal, the ledger and what faces need to remember."""

    def __init__(self, url: str, *, origin: str, signer: Signer | None, anchors: Path | None = None) -> None:
        self.origin = origin
        self.listeners: list[Callable[[], None]] = []
        """Called after each commit that appended events."""
        self._signer = signer
        self._anchors = record.AnchorFile(anchors) if anchors else None
        self._database = Database(url)
        self.reviews = Reviews(self._database.reading, self._writing)
        self.schedules = ScheduleBook(self._database.reading, self._writing)
        self.rungs = Rungs(self._database.reading, self._writing)
        self.news = News(self._database.reading)

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

    def still_holds(self) -> bool:
        """Say whether the right that `hold` took is still ours: PostgreSQL's ends with the connection that took it."""
        return self._database.still_holds()

    # Changes

    def file_change(  # noqa: PLR0917 - the facade that all faces were written against
        self,
        runbook: str,
        ask: dict[str, Any],
        requester: Actor,
        reason: str,
        ticket: str | None,
        at: datetime,
        *,
        replaces: str | None = None,
        key: str = "",
    ) -> Change:
        """File a new change under the next free id; one that was filed under that key is returned as it is.

        `replaces` is one that is asked for again.
        """
        refuse_secrets(reason=reason, ticket=ticket)
        refuse_secret_fields(ask)
        with self._writing() as write:
            if known := _alive(write.connection, key):
                return known
            change = changes.file(
                write, runbook, ask, requester, reason=reason, ticket=ticket, at=at, replaces=replaces
            )
            if key:
                filings.note(write.connection, key, change.id)
            return change

    def change_filed(self, key: str) -> Change | None:
        """Return the change that was filed under that key; None also where it was never planned and is void."""
        with self._database.reading() as connection:
            return _alive(connection, key)

    def change(self, change_id: str) -> Change:
        """Return a change, or raise UnknownNameError."""
        with self._database.reading() as connection:
            return changes.one(connection, change_id)

    def change_of_flow_run(self, flow_run: str) -> Change | None:
        """Return the change that a flow run carries out, if it does one."""
        with self._database.reading() as connection:
            return changes.of_flow_run(connection, flow_run)

    def changes(self, states: tuple[State, ...] = (), limit: int = 50) -> tuple[Change, ...]:
        """Return the newest changes, those in these states if any are named."""
        with self._database.reading() as connection:
            return changes.newest(connection, states, limit)

    def soonest(self, start: int, limit: int) -> tuple[Change, ...]:
        """Return changes that may wait for decisions, the soonest deadline first, those without one last."""
        with self._database.reading() as connection:
            return changes.soonest(connection, start, limit)

    def of_requester(self, person: str, limit: int, *, ended: bool) -> tuple[Change, ...]:
        """Return the newest changes that a person asked for: those that are open, or those that have ended."""
        with self._database.reading() as connection:
            return changes.of_requester(connection, person, limit, ended=ended)

    def in_place_of(self, change_id: str) -> str:
        """Return the newest change that asks anew for what that one asked for; empty where none does."""
        with self._database.reading() as connection:
            return changes.in_place_of(connection, change_id)

    def counts(self) -> dict[str, int]:
        """Return how many changes are in each state."""
        with self._database.reading() as connection:
            return changes.counts(connection)

    def counted(self, readers: tuple[str, ...]) -> counting.Counted:
        """Return how much was decided and clicked, and how many events these readers of the ledger are behind."""
        with self._database.reading() as connection:
            return counting.counted(connection, readers)

    def set_flow_run(self, change_id: str, flow_run: str) -> None:
        """Note which flow run carries the change out."""
        with self._writing() as write:
            changes.set_flow_run(write, changes.one(write.connection, change_id), flow_run)

    def save_plan(self, change_id: str, plan: Plan, terms: Terms, approve_by: datetime | None, at: datetime) -> Change:
        """Put the plan and its terms into a change that was just requested."""
        with self._writing() as write:
            return changes.save_plan(write, changes.one(write.connection, change_id), plan, terms, approve_by, at)

    def move(
        self,
        change_id: str,
        to: State,
        actor: Actor,
        why: str,
        at: datetime,
        *,
        execute_by: datetime | None = None,
        starts_at: datetime | None = None,
        outcome: str | None = None,
        tokens: Mapping[str, int] | None = None,
    ) -> Change:
        """Move a change to a state that may follow its own; ConflictError when it moved on meanwhile.

        With `tokens` (here and below), SupersededError unless these are the current tokens of leases it holds.
        """
        if actor.door is not Door.ENGINE:
            refuse_secrets(reason=why)
        with self._writing() as write:
            change = changes.one(write.connection, change_id)
            leases.require_current(write, change_id, tokens)
            return changes.move(
                write, change, to, actor, why=why, at=at, execute_by=execute_by, starts_at=starts_at, outcome=outcome
            )

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
            refuse_secrets(reason=why)
        with self._writing() as write:
            change = changes.one(write.connection, change_id)
            leases.require_current(write, change_id, tokens)
            return changes.begin(write, change, steps, events, actor, why=why, at=at)

    # Moments

    def over(self, at: datetime) -> tuple[str, ...]:
        """Return the ids of open changes whose time is over, those whose moment came first at the front."""
        with self._database.reading() as connection:
            return moments.over(connection, at)

    def expire(self, change_ids: Sequence[str], judge: Judge, actor: Actor, at: datetime) -> tuple[str, ...]:
        """End those of the changes that expire by what was decided on them, and return their ids."""
        with self._writing() as write:
            return expiring.expire(write, change_ids, judge, actor, at)

    def due(self, at: datetime) -> tuple[str, ...]:
        """Return the ids of open changes that have to be looked at now, those whose moment came first at the front."""
        with self._database.reading() as connection:
            return moments.due(connection, at)

    def scheduled(self) -> tuple[str, ...]:
        """Return the ids of all changes that wait for an opening."""
        with self._database.reading() as connection:
            return moments.scheduled(connection)

    def look_again(self, change_id: str, at: datetime | None) -> None:
        """Note when a change that was looked at has to be looked at next."""
        with self._writing() as write:
            moments.set_moment(write.connection, change_id, at)

    def unclosed(self, limit: int = 50) -> tuple[str, ...]:
        """Return the ids of changes that have ended and of whom something may be left to do, the oldest first."""
        with self._database.reading() as connection:
            return tuple(moments.unclosed(connection, limit))

    def close_change(self, change_id: str, at: datetime) -> None:
        """Note that nothing is left to do for a change that has ended."""
        with self._writing() as write:
            moments.close(write, change_id, at)

    # The calendar

    def reschedule(self, change_id: str, starts_at: datetime | None, why: str, at: datetime) -> None:
        """Let a scheduled change wait for another opening."""
        with self._writing() as write:
            scheduling.reschedule(write, changes.one(write.connection, change_id), starts_at, why, at)

    def override(self, change_id: str, given: Override, actor: Actor) -> bool:
        """Record that a change was let through a freeze; False when that person did so before."""
        refuse_secrets(reason=given.reason)
        with self._writing() as write:
            return scheduling.override(write, changes.one(write.connection, change_id), given, actor)

    def lengths(self, kinds: Collection[str]) -> dict[str, tuple[timedelta, ...]]:
        """Return how long steps of these kinds took that were done, the newest of each kind first."""
        with self._database.reading() as connection:
            return scheduling.lengths(connection, kinds)

    # Decisions

    def decide(self, decision: Decision, actor: Actor) -> bool:
        """Record a decision; False when this very one is there already, as after a second click."""
        refuse_secrets(reason=decision.reason)
        with self._writing() as write:
            return decisions.decide(write, changes.one(write.connection, decision.change), decision, actor)

    def decisions(self, change_id: str) -> tuple[Decision, ...]:
        """Return all decisions on a change, the first one first."""
        with self._database.reading() as connection:
            return decisions.of_change(connection, change_id)

    def open_gate(
        self, change_id: str, gate: Gate, actor: Actor, *, keep: timedelta, tokens: Mapping[str, int]
    ) -> Change:
        """Let a change that is under way wait at a second gate, and hold its leases until `keep` after its time.

        No process waits there, so nothing would renew them.
        """
        with self._writing() as write:
            change = changes.one(write.connection, change_id)
            leases.require_current(write, change_id, tokens)
            gates.open_one(write.connection, change, gate)
            leases.hold_until(write, change_id, gate.approve_by + keep)
            data = {
                "gate": gate.name, "step": str(gate.step), "digest": change.digest, "why": gate.why,
                "approve_by": time_text(gate.approve_by),
            }  # fmt: skip
            event = Event(type=EventType.GATE_OPENED, change=change_id, actor=actor, at=gate.opened_at, data=data)
            write.append(event)
            return changes.one(write.connection, change_id)

    def settle_gate(self, change_id: str, gate: Gate, actor: Actor, at: datetime) -> Change:
        """Note how an open second gate was settled; ConflictError when it was settled meanwhile."""
        if actor.door is not Door.ENGINE:
            refuse_secrets(reason=gate.why)
        with self._writing() as write:
            change = changes.one(write.connection, change_id)
            gates.settle_one(write.connection, change, gate.model_copy(update={"settled_at": at}))
            data = {"gate": gate.name, "step": str(gate.step), "state": gate.state.value, "why": gate.why}
            write.append(Event(type=EventType.GATE_SETTLED, change=change_id, actor=actor, at=at, data=data))
            return changes.one(write.connection, change_id)

    # The journal

    def begin_journal(self, change_id: str, steps: Sequence[PlannedStep]) -> None:
        """Write the steps down as pending; those that are there already stay as they are."""
        with self._writing() as write:
            journal.begin(write, changes.one(write.connection, change_id).id, steps)

    def journal(self, change_id: str) -> tuple[JournalEntry, ...]:
        """Return the state of each step, in order."""
        with self._database.reading() as connection:
            return journal.of_change(connection, change_id)

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
            change = changes.one(write.connection, change_id)
            leases.require_current(write, change_id, tokens)
            return journal.set_step(write, change, index, state, event, saw=saw, error=error, attempt=attempt)

    # Leases

    def take_leases(self, change_id: str, resources: Sequence[str], ttl: timedelta, at: datetime) -> dict[str, int]:
        """Take the exclusive right to change all these resources, or none; return a fencing token for each.

        A lease that ran out, or that this change holds, is taken over with a higher token.
        """
        with self._writing() as write:
            return leases.take(write, change_id, resources, ttl, at)

    def renew_leases(
        self, change_id: str, ttl: timedelta, at: datetime, tokens: Mapping[str, int] | None = None
    ) -> tuple[str, ...]:
        """Hold on to the leases that the change still has, never for a shorter time; return their resources."""
        with self._writing() as write:
            leases.require_current(write, change_id, tokens)
            leases.hold_until(write, change_id, at + ttl)
            return leases.held_by(write.connection, change_id)

    def give_leases_back(self, change_id: str, at: datetime, tokens: Mapping[str, int] | None = None) -> None:
        """End all leases of the change; without any, nothing happens."""
        with self._writing() as write:
            leases.require_current(write, change_id, tokens)
            leases.give_back(write, change_id, at)

    def lease_holds(self, change_id: str, resource: str, token: int, at: datetime) -> bool:
        """Say whether this token is still the one that may change the resource."""
        with self._database.reading() as connection:
            return leases.holds(connection, change_id, resource, token, at)

    # The ledger

    def append(self, event: Event, *, tokens: Mapping[str, int] | None = None) -> RecordedEvent:
        """Record an event that changes no state of ours."""
        with self._writing() as write:
            leases.require_current(write, event.change, tokens)
            return write.append(event)

    def events(self, after: int = 0, change: str | None = None, limit: int = 500) -> tuple[RecordedEvent, ...]:
        """Return the events behind a place in the ledger, those of one change if it is named."""
        with self._database.reading() as connection:
            return reading.after(connection, after, change, limit)

    def newest_seq(self) -> int:
        """Return the place of the newest event in the ledger; 0 while there is none."""
        with self._database.reading() as connection:
            return reading.newest_seq(connection)

    def events_of(self, change_id: str, kind: EventType) -> tuple[RecordedEvent, ...]:
        """Return all events of one type of a change, in order."""
        with self._database.reading() as connection:
            return reading.of_type(connection, change_id, kind)

    def last_event(self, change_id: str, *, without: Collection[EventType] = ()) -> RecordedEvent | None:
        """Return the newest event of a change, those types left out."""
        with self._database.reading() as connection:
            return reading.last(connection, change_id, without)

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
            change = changes.one(write.connection, change_id)
        with self._database.reading() as connection:
            return reading.evidence_data(connection, change, self._copies)

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
            return remembered.cursor(connection, name)

    def cursors(self, prefix: str) -> tuple[str, ...]:
        """Return the names of the readers of the ledger that begin so."""
        with self._database.reading() as connection:
            return remembered.cursors_like(connection, prefix)

    def advance(self, name: str, seq: int) -> None:
        """Note how far a reader has come; a cursor never goes back."""
        with self._writing() as write:
            remembered.advance(write.connection, name, seq)

    def chat_message(self, change_id: str, channel: str, gate: str = PLAN) -> ChatMessage | None:
        """Return the parent message of a change in a channel, or the one of a second gate, if it was posted."""
        with self._database.reading() as connection:
            return remembered.chat_message(connection, change_id, channel, gate)

    def save_chat_message(self, change_id: str, channel: str, ts: str, digest: str, gate: str = PLAN) -> None:
        """Note the parent message of a change, or the one of a second gate, and what it shows."""
        with self._writing() as write:
            message = ChatMessage(ts=ts, digest=digest)
            remembered.save_chat_message(write.connection, change_id, channel, gate, message)

    def once(self, key: str, at: datetime, keep: timedelta) -> bool:
        """Remember a key for a while; False when it was there before."""
        with self._writing() as write:
            return seen.once(write.connection, key, at, keep)

    def inbox_put(self, key: str, payload: dict[str, Any], at: datetime) -> bool:
        """Keep what came in until it is dealt with; False when it came before."""
        with self._writing() as write:
            return remembered.inbox_put(write.connection, key, payload, at)

    def inbox_open(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """Return what came in and is not dealt with, the oldest first."""
        with self._database.reading() as connection:
            return remembered.inbox_open(connection)

    def inbox_done(self, key: str, outcome: str, at: datetime) -> None:
        """Note that what came in was dealt with, and how."""
        with self._writing() as write:
            remembered.inbox_done(write.connection, key, outcome, at)

    def issue_token(self, person: str, at: datetime, by: Actor | None = None) -> str:
        """Make a personal token. It is shown this once: only its hash is kept, and the record says whose it is."""
        with self._writing() as write:
            return tokens.issue(write, person, at, by or PASSGATE)

    def revoke_tokens(self, person: str, at: datetime, by: Actor | None = None) -> int:
        """Remove all tokens of a person; return how many there were. Without any, nothing happens."""
        with self._writing() as write:
            return tokens.revoke(write, person, at, by or PASSGATE)

    def person_of_token(self, token: str) -> str | None:
        """Return whose token that is, if it is anybody's."""
        with self._database.reading() as connection:
            return tokens.person_of(connection, token)

    @contextmanager
    def _writing(self, *, sign: bool = False) -> Iterator[Write]:
        """Open the writer's transaction; sign, anchor and wake the listeners when events were appended."""
        head = None
        with self._database.writing() as connection:
            write = Write(connection)
            yield write
            moments.keep(write)
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
            self.news.note_own(write.events)
            self.tell()

    def tell(self) -> None:
        """Wake all listeners."""
        for listener in self.listeners:
            listener()
