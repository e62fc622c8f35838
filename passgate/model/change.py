"""Describe a change, its states, and the reports that people and the ledger get of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from passgate.model.decision import Terms
from passgate.model.frozen import Frozen
from passgate.model.plan import Plan


class State(StrEnum):
    """Name the states of a change; the words are the same in chat, CLI, database and ledger (DESIGN, path)."""

    REQUESTED = "requested"
    PLANNED = "planned"
    WAITING = "waiting"
    APPROVED = "approved"
    SCHEDULED = "scheduled"
    APPLYING = "applying"
    DONE = "done"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    VOID = "void"
    UNDONE = "undone"
    STOPPED = "stopped"

    @property
    def is_end(self) -> bool:
        """Say whether nothing follows any more."""
        return self in ENDS


ENDS = frozenset({State.DONE, State.DENIED, State.EXPIRED, State.WITHDRAWN, State.VOID, State.UNDONE, State.STOPPED})
"""The ends, told apart everywhere."""

BEFORE_APPLY = frozenset({State.REQUESTED, State.PLANNED, State.WAITING, State.APPROVED, State.SCHEDULED})

TRANSITIONS: dict[State, frozenset[State]] = {
    State.REQUESTED: frozenset({State.PLANNED, State.VOID, State.WITHDRAWN, State.STOPPED}),
    State.PLANNED: frozenset({State.WAITING, State.APPROVED, State.VOID, State.WITHDRAWN, State.STOPPED}),
    State.WAITING: frozenset({State.APPROVED, State.DENIED, State.EXPIRED, State.WITHDRAWN, State.VOID, State.STOPPED}),
    State.APPROVED: frozenset(
        {State.WAITING, State.SCHEDULED, State.APPLYING, State.EXPIRED, State.WITHDRAWN, State.VOID, State.STOPPED}
    ),
    State.SCHEDULED: frozenset(
        {State.WAITING, State.APPLYING, State.EXPIRED, State.WITHDRAWN, State.VOID, State.STOPPED}
    ),
    State.APPLYING: frozenset({State.DONE, State.UNDONE, State.STOPPED, State.VOID}),
    **{end: frozenset() for end in ENDS},
}
"""What may follow what. The store refuses everything else with ConflictError. A decision that is taken back puts what
was approved back to waiting."""

EXIT_CODES: dict[State, int] = {
    State.DONE: 0,
    State.DENIED: 10,
    State.EXPIRED: 11,
    State.WITHDRAWN: 12,
    State.VOID: 13,
    State.UNDONE: 14,
    State.STOPPED: 15,
}
"""Exit codes of `passgate request --wait` and `passgate watch`: each end has its own."""


class Door(StrEnum):
    """Name the ways in which people reach Passgate."""

    CLI = "cli"
    SLACK = "slack"
    WEB = "web"
    API = "api"
    PREFECT = "prefect"
    SCHEDULE = "schedule"
    ENGINE = "engine"


class Actor(Frozen):
    """Name who did something, and by which door. `person` is an id from config/people.yaml, or `passgate` itself."""

    person: str
    door: Door


class GateState(StrEnum):
    """Name how a second gate stands. All but PASSED and OPEN end the change: what was done is taken back."""

    OPEN = "open"
    PASSED = "passed"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class Gate(Frozen):
    """Hold a second gate that a change has come to: right before which step, and until when it may be passed.

    `why` says in words what it needs while it is open, and how it was settled afterwards.
    """

    name: str
    step: int
    state: GateState = GateState.OPEN
    opened_at: datetime
    approve_by: datetime
    settled_at: datetime | None = None
    why: str = ""


class Override(Frozen):
    """Hold that somebody let one change through a freeze, and why."""

    freeze: str
    person: str
    door: str
    reason: str
    at: datetime


class Change(Frozen):
    """Hold one request to run a runbook. `ask` is the runbook's own model as JSON; times are UTC.

    `schedule` names the one that it was filed for, if it was, `replaces` a change that came to nothing and is asked for
    again by this one. `starts_at` is the opening that a scheduled change waits for; None while there is none in sight.
    """

    id: str = Field(pattern=r"^CHG-\d{4,}$")
    runbook: str
    ask: dict[str, Any]
    requester: Actor
    reason: str
    ticket: str | None = None
    state: State = State.REQUESTED
    created_at: datetime
    plan: Plan | None = None
    digest: str | None = None
    terms: Terms | None = None
    approve_by: datetime | None = None
    execute_by: datetime | None = None
    flow_run: str | None = None
    ended_at: datetime | None = None
    outcome: str = ""
    gates: tuple[Gate, ...] = ()
    schedule: str | None = None
    replaces: str | None = None
    starts_at: datetime | None = None
    overrides: tuple[Override, ...] = ()

    @property
    def open_gate(self) -> Gate | None:
        """Return the second gate that the change waits at now, if it does."""
        at_one = self.state is State.APPLYING
        return next((gate for gate in self.gates if gate.state is GateState.OPEN), None) if at_one else None

    def gate(self, name: str) -> Gate | None:
        """Return the second gate of that name, if the change has come to it."""
        return next((gate for gate in self.gates if gate.name == name), None)


class StepState(StrEnum):
    """Name the states of one step in the journal.

    INTENT without an outcome is looked at anew after a crash. REFUSED failed before any mutating call was sent.
    """

    PENDING = "pending"
    INTENT = "intent"
    DONE = "done"
    NOT_NEEDED = "not needed"
    FAILED = "failed"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    UNDONE = "undone"


class JournalEntry(Frozen):
    """Hold the state of one step of one change; `saw` is what the fresh reading showed."""

    change: str
    index: int
    kind: str
    title: str
    state: StepState = StepState.PENDING
    attempts: int = 0
    saw: str = ""
    error: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None


class EventType(StrEnum):
    """Name what is recorded in the ledger and told to people."""

    REQUESTED = "change.requested"
    PLANNED = "change.planned"
    STATE = "change.state"
    DECISION = "decision.recorded"
    GATE_OPENED = "gate.opened"
    GATE_SETTLED = "gate.settled"
    REMINDED = "gate.reminded"
    ESCALATED = "gate.escalated"
    REVIEW_OPENED = "review.opened"
    REVIEW_OVERDUE = "review.overdue"
    REVIEW_CLOSED = "review.closed"
    RESCHEDULED = "change.rescheduled"
    OVERRIDDEN = "freeze.overridden"
    REFUSED = "authority.refused"
    RESTORE_POINT = "restore.saved"
    STEP_INTENT = "step.intent"
    STEP_ATTEMPT_FAILED = "step.attempt_failed"
    STEP_OUTCOME = "step.outcome"
    NOTICED = "step.noticed"
    UNDO_INTENT = "undo.intent"
    UNDO_OUTCOME = "undo.outcome"
    LEASE = "lease.changed"
    RESUMED = "run.resumed"
    HELD_UP = "run.held_up"
    GUEST_PROOF = "guest.proof"
    EVIDENCE = "evidence.written"
    MENDS = "drift.mends"
    SCHEDULE = "schedule.changed"
    OCCURRENCE = "schedule.occurrence"
    TRIGGER = "schedule.put_right"
    CHAT_DEAF = "chat.deaf"
    CHAT_HEARD = "chat.heard"
    READ = "ledger.read"
    KEY = "ledger.key"
    TOKEN = "token.issued"  # noqa: S105 - the name of an event
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 - the name of an event


class Event(Frozen):
    """Hold one thing that happened, before it has its place in the ledger.

    `data` holds strings, no number beyond 2**53, and no secret (reference audit, step 7).
    """

    type: EventType
    change: str
    actor: Actor
    at: datetime
    data: dict[str, Any] = Field(default_factory=dict)


class RecordedEvent(Event):
    """Hold an event with its place in the ledger."""

    seq: int
    leaf: str
