"""Tell one whole change to a store, as the engine does: from the request to the end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from passgate.ledger.signer import Signer
from passgate.model.change import Actor, Change, Door, Event, EventType, State, StepState
from passgate.model.decision import Decision, Terms, Verdict
from passgate.model.plan import Plan, PlannedStep, Risk
from passgate.store.store import Store

ORIGIN = "passgate.example/test"
AT = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
ALICE = Actor(person="alice", door=Door.CLI)
BOB = Actor(person="bob", door=Door.SLACK)
ENGINE = Actor(person="passgate", door=Door.ENGINE)
TERMS = Terms(policy="usb", groups=("operations",), voters=("bob", "carol"))
PLAN = Plan(
    runbook="usb-attach",
    title="Attach a USB device",
    risk=Risk.DISRUPTIVE,
    target="win-01",
    resources=("vm:vm-7", "host:host-3"),
    checks=(),
    impact=("win-01 is off for a minute",),
    steps=tuple(
        PlannedStep(
            index=index, kind="power.Off", fields={"vm": "vm-7"}, title=f"Step {index} of win-01 \u7aef\u672b",
            needed=True, mutates=True, before="on", after="off",
        )
        for index in range(2)
    ),
)  # fmt: skip


def open_store(folder: Path, url: str | None = None) -> Store:
    """Open a migrated store whose key and anchor file are in the folder."""
    signer = Signer.load_or_create(folder / "ledger.key")
    url = url or f"sqlite:///{folder / 'passgate.db'}"
    store = Store(url, origin=ORIGIN, signer=signer, anchors=folder / "anchors.log")
    store.migrate()
    return store


def waiting_change(store: Store, at: datetime = AT) -> Change:
    """File and plan a change that waits for a decision."""
    change = store.file_change("usb-attach", {"vm": "win-01"}, ALICE, "backup", "T-1", at)
    store.save_plan(change.id, PLAN, TERMS, at + timedelta(hours=8), at)
    return store.move(change.id, State.WAITING, ENGINE, "", at)


def vote(change: Change, person: str = "bob", verdict: Verdict = Verdict.APPROVE, at: datetime = AT) -> Decision:
    """Return a person's decision on the current plan of a change."""
    return Decision(change=change.id, digest=change.digest or "", person=person, door="slack", verdict=verdict, at=at)


def step_event(change: str, index: int, kind: EventType, state: StepState, at: datetime = AT) -> Event:
    """Return the event that the engine writes for a step."""
    data = {"step": str(index), "title": PLAN.steps[index].title, "state": state.value}
    return Event(type=kind, change=change, actor=ENGINE, at=at, data=data)


def whole_change(store: Store, at: datetime = AT) -> Change:
    """Carry one change from the request to done."""
    change = waiting_change(store, at)
    store.decide(vote(change, at=at), BOB)
    store.move(change.id, State.APPROVED, ENGINE, "", at, execute_by=at + timedelta(hours=4))
    store.move(change.id, State.APPLYING, ENGINE, "", at)
    store.take_leases(change.id, [f"vm:of-{change.id}"], timedelta(minutes=1), at)
    store.begin_journal(change.id, PLAN.steps)
    for step in PLAN.steps:
        for kind, state in ((EventType.STEP_INTENT, StepState.INTENT), (EventType.STEP_OUTCOME, StepState.DONE)):
            store.step(change.id, step.index, state, step_event(change.id, step.index, kind, state, at))
    store.give_leases_back(change.id, at)
    return store.move(change.id, State.DONE, ENGINE, "", at, outcome="the guest sees it")
