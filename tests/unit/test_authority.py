"""Hold the one function that every mutating call asks: each thing that is missing is a refusal, and is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from passgate.engine.authority import Warrant
from passgate.errors import NotAuthorizedError
from passgate.ledger.signer import Signer
from passgate.model.change import Actor, Door, Event, EventType, State, StepState
from passgate.model.decision import Decision, Terms, Verdict
from passgate.model.plan import Plan, PlannedStep, Risk
from passgate.store.store import Store

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ALICE, BOB = (Actor(person=name, door=Door.CLI) for name in ("alice", "bob"))
TTL = timedelta(minutes=2)
VM = "vm:vm-7"


@dataclass
class Office:
    """Hold one approved change in the middle of its first step, and the clock."""

    store: Store
    change: str
    warrant: Warrant
    now: datetime = NOON

    def refused(self, warrant: Warrant | None = None, subject: str = VM) -> str:
        """Ask for a call and return why it was refused; the refusal must be in the ledger."""
        with pytest.raises(NotAuthorizedError) as refusal:
            (warrant or self.warrant)("power_off", subject)
        last = self.store.events(change=self.change)[-1]
        assert (last.type, last.data["subject"]) == (EventType.REFUSED, subject)
        assert last.data["why"] in refusal.value.message
        return str(last.data["why"])


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Open an office in which the call is allowed."""
    store = Store(f"sqlite:///{tmp_path}/p.db", origin="test", signer=Signer.load_or_create(tmp_path / "key"))
    store.migrate()
    made = begin(store)
    yield made
    store.close()


def begin(store: Store, *, decided_by: Actor | None = BOB) -> Office:
    """Bring a change to where its first step has an intent."""
    plan = Plan(
        runbook="usb-attach",
        title="Attach",
        risk=Risk.DISRUPTIVE,
        target="win-01",
        resources=(VM,),
        checks=(),
        steps=(step(0), step(1)),
    )
    terms = Terms(policy="normal", approvals=1, groups=("operations",), voters=("bob", "carol"))
    change = store.file_change("usb-attach", {}, ALICE, "a test", None, NOON).id
    store.save_plan(change, plan, terms, NOON + timedelta(hours=1), NOON)
    store.move(change, State.WAITING, ALICE, "waits", NOON)
    if decided_by:
        decision = Decision(
            change=change, digest=plan.digest, person=decided_by.person, door="cli", verdict=Verdict.APPROVE, at=NOON
        )
        store.decide(decision, decided_by)
    store.move(change, State.APPROVED, ALICE, "approved", NOON, execute_by=NOON + timedelta(hours=4))
    tokens = store.take_leases(change, plan.resources, TTL, NOON)
    store.begin_journal(change, plan.steps)
    store.move(change, State.APPLYING, ALICE, "begun", NOON)
    event = Event(type=EventType.STEP_INTENT, change=change, actor=ALICE, at=NOON, data={"step": "0"})
    store.step(change, 0, StepState.INTENT, event, attempt=True)
    made = Office(store, change, Warrant(store, lambda: made.now, change, 0, tokens))
    return made


def step(index: int) -> PlannedStep:
    """Return a step on paper."""
    return PlannedStep(
        index=index, kind="power.Off", fields={}, title="Off", needed=True, mutates=True, before="on", after="off"
    )


def test_lets_a_call_pass_that_has_everything(office: Office) -> None:
    """An approved change with intent and lease acts, and nothing is recorded as refused."""
    office.warrant("power_off", VM)
    assert all(event.type is not EventType.REFUSED for event in office.store.events(change=office.change))


def test_refuses_what_the_plan_does_not_name(office: Office) -> None:
    """A step can't act on an object outside of the approved plan."""
    assert "not part of the approved plan" in office.refused(subject="vm:vm-8")


def test_refuses_a_step_without_an_intent(office: Office) -> None:
    """Nothing happens unrecorded: the second step has no intent yet."""
    assert "no intent" in office.refused(replace(office.warrant, step=1))


def test_refuses_a_step_that_is_not_in_the_plan(office: Office) -> None:
    """A number beyond the plan's end has no authority."""
    assert "no intent" in office.refused(replace(office.warrant, step=9))


@pytest.mark.parametrize("tokens", [{}, {VM: 0}, {VM: 99}], ids=["none", "old", "invented"])
def test_refuses_a_run_without_the_fencing_token(office: Office, tokens: dict[str, int]) -> None:
    """A run that lost its lease, or never had it, can't act."""
    assert "lease" in office.refused(replace(office.warrant, tokens=tokens))


def test_refuses_a_run_whose_lease_was_taken_over(office: Office) -> None:
    """The same change carried out by a newer process: the older one has an old token."""
    office.store.take_leases(office.change, (VM,), TTL, NOON)
    assert "lease" in office.refused()


def test_refuses_when_the_lease_ran_out(office: Office) -> None:
    """A process that slept beyond its lease must take it anew."""
    office.now = NOON + TTL + timedelta(seconds=1)
    assert "lease" in office.refused()


def test_refuses_when_the_approval_is_too_old_but_lets_steps_be_taken_back(office: Office) -> None:
    """The second clock stops new steps; what was begun may still be taken back."""
    office.now = NOON + timedelta(hours=4)
    tokens = office.store.take_leases(office.change, (VM,), TTL, office.now)
    warrant = replace(office.warrant, tokens=tokens)
    assert "was good until" in office.refused(warrant)
    replace(warrant, undoing=True)("power_on", VM)


@pytest.mark.parametrize("person", [None, ALICE, Actor(person="dave", door=Door.SLACK)], ids=["none", "own", "other"])
def test_refuses_without_a_decision_that_counts(tmp_path: Path, person: Actor | None) -> None:
    """A state that says approved is worth nothing; the decisions are counted anew before each call."""
    store = Store(f"sqlite:///{tmp_path}/p.db", origin="test", signer=Signer.load_or_create(tmp_path / "key"))
    store.migrate()
    assert "not approved" in begin(store, decided_by=person).refused()
    store.close()


@pytest.mark.parametrize("end", [State.STOPPED, State.UNDONE, State.DONE])
def test_refuses_after_the_end(office: Office, end: State) -> None:
    """A change that has ended acts no more, whoever still holds its warrant."""
    office.store.move(office.change, end, ALICE, "ended", NOON)
    assert "not applying" in office.refused()


def test_the_refusal_reads_well(office: Office) -> None:
    """The message says what was not sent, to what, why, and where to look."""
    with pytest.raises(NotAuthorizedError, match="power_off on vm:vm-8 was not sent") as refusal:
        office.warrant("power_off", "vm:vm-8")
    assert f"passgate show {office.change}" in refusal.value.hint
