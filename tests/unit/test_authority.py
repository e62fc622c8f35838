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
from passgate.model.change import Actor, Door, Event, EventType, Gate, GateState, State, StepState
from passgate.model.decision import Decision, GateTerms, Terms, Verdict
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


def begin(store: Store, *, decided_by: Actor | None = BOB, gate: str = "") -> Office:
    """Bring a change to where its first step has an intent."""
    plan = Plan(
        runbook="usb-attach",
        title="Attach",
        risk=Risk.DISRUPTIVE,
        target="win-01",
        resources=(VM,),
        checks=(),
        steps=(step(0), step(1, gate), step(2)) if gate else (step(0), step(1)),
    )
    voters = {"groups": ("operations",), "voters": ("bob", "carol")}
    asked = GateTerms(others=True, approve_within=timedelta(hours=9), **voters)
    terms = Terms(
        policy="normal", approvals=1, execute_within=timedelta(hours=4), gates={gate: asked} if gate else {}, **voters
    )
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
    made = Office(store, change, Warrant(store, lambda: made.now, change, 0, tokens, lambda *_: None))
    return made


def step(index: int, gate: str = "") -> PlannedStep:
    """Return a step on paper."""
    return PlannedStep(
        index=index, kind="power.Off", fields={}, title="Off", needed=True, mutates=True, before="on", after="off",
        gate=gate,
    )  # fmt: skip


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
    """R7: A state that says approved is worth nothing; the decisions are counted anew before each call."""
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


REBOOT = "host-reboot"
AFTER = timedelta(hours=3)


@pytest.fixture
def gated(tmp_path: Path) -> Iterator[Office]:
    """Open an office whose change has a second gate before its second step; that step has its intent."""
    store = Store(f"sqlite:///{tmp_path}/p.db", origin="test", signer=Signer.load_or_create(tmp_path / "key"))
    store.migrate()
    made = begin(store, gate=REBOOT)
    for index in (1, 2):
        event = Event(type=EventType.STEP_INTENT, change=made.change, actor=ALICE, at=NOON, data={"step": str(index)})
        store.step(made.change, index, StepState.INTENT, event, attempt=True)
    yield made
    store.close()


def come_to(office: Office) -> Gate:
    """Open the gate."""
    gate = Gate(name=REBOOT, step=1, opened_at=NOON, approve_by=NOON + timedelta(hours=9))
    office.store.open_gate(office.change, gate, ALICE, keep=TTL, tokens=office.warrant.tokens)
    return gate


def vote(office: Office, person: str) -> None:
    """Approve at the gate, whatever policy says of that person."""
    digest = office.store.change(office.change).digest or ""
    office.store.decide(
        Decision(
            change=office.change, digest=digest, gate=REBOOT, person=person, door="cli", verdict=Verdict.APPROVE,
            at=NOON + AFTER,
        ),
        Actor(person=person, door=Door.CLI),
    )  # fmt: skip


def passed(office: Office, *people: str) -> None:
    """Open the gate, let these people approve, and write down that it is passed."""
    gate = come_to(office)
    for person in people:
        vote(office, person)
    office.now = NOON + AFTER
    shut = gate.model_copy(update={"state": GateState.PASSED})
    office.store.settle_gate(office.change, shut, ALICE, office.now)


def test_a_step_behind_a_gate_needs_the_gates_own_votes(gated: Office) -> None:
    """The step itself, and every one after it; what is before it, and the way back, need the plan's alone."""
    gated.warrant("power_off", VM)
    for index in (1, 2):
        behind = replace(gated.warrant, step=index)
        assert "the gate host-reboot of CHG-0001 was not passed" in gated.refused(behind)
        replace(behind, undoing=True)("power_on", VM)
    come_to(gated)
    assert "was not passed" in gated.refused(replace(gated.warrant, step=1))
    vote(gated, "carol")
    assert "was not passed" in gated.refused(replace(gated.warrant, step=1)), "it is counted, not yet settled"


@pytest.mark.parametrize("people", [(), ("bob",), ("dave",), ("alice",)], ids=["none", "approver", "other", "own"])
def test_a_gate_that_was_passed_without_votes_that_count_is_none(gated: Office, people: tuple[str, ...]) -> None:
    """R5: Its row says that it was passed; the votes are counted anew all the same."""
    passed(gated, *people)
    assert "not approved at the gate host-reboot" in gated.refused(replace(gated.warrant, step=1))


def test_a_gate_that_was_passed_lets_its_step_and_those_after_it_act(gated: Office) -> None:
    """Carol did not approve the plan, so she counts."""
    passed(gated, "carol")
    for index in (0, 1, 2):
        replace(gated.warrant, step=index)("power_off", VM)


def test_an_approval_at_a_gate_is_as_fresh_as_one_of_the_plan(gated: Office) -> None:
    """Behind the gate the window counts from there on; before it, from the plan's approval."""
    passed(gated, "carol")
    gated.now = NOON + timedelta(hours=4)
    assert "was good until" in gated.refused()
    replace(gated.warrant, step=1)("power_off", VM)
    gated.now = NOON + AFTER + timedelta(hours=4)
    assert "was good until" in gated.refused(replace(gated.warrant, step=1))


def test_the_gate_of_a_step_that_was_not_needed_is_not_asked_for(gated: Office) -> None:
    """A remedy that was spared never opened its gate; the steps after it go on."""
    data = {"step": "1", "state": "not needed"}
    event = Event(type=EventType.STEP_OUTCOME, change=gated.change, actor=ALICE, at=NOON, data=data)
    gated.store.step(gated.change, 1, StepState.NOT_NEEDED, event)
    replace(gated.warrant, step=2)("power_off", VM)
