"""Promise: a second gate is opened and settled once, on the record; its decisions are apart from the plan's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from passgate.errors import ConflictError, SupersededError
from passgate.ledger.evidence import BadEvidence, Evidence, verify_evidence, write_evidence
from passgate.ledger.verify import Finding, Proven
from passgate.model.change import Actor, Change, Door, EventType, Gate, GateState, State, StepState
from passgate.model.decision import Decision, GateTerms, Verdict
from passgate.model.plan import CheckResult, Severity
from passgate.store.store import Store
from tests.record_story import ALICE, AT, BOB, ENGINE, PLAN, TERMS, open_store, step_event

REBOOT = "host-reboot"
LATER = AT + timedelta(minutes=1)
KEEP = timedelta(minutes=2)
CAROL = Actor(person="carol", door=Door.CLI)
WARNING = CheckResult(code="USB-DEV-04", rule="No video", severity=Severity.WARNING, met=False, saw="it shows video")
GATED = PLAN.model_copy(
    update={
        "steps": (PLAN.steps[0], PLAN.steps[1].model_copy(update={"gate": REBOOT})),
        "checks": (WARNING,),
    }
)
GATE_TERMS = GateTerms(voters=("bob", "carol"), groups=("operations",), others=True, approve_within=timedelta(hours=2))


@dataclasses.dataclass
class Half:
    """A change whose first step is done, and whose second has a gate."""

    store: Store
    change: Change
    tokens: dict[str, int]
    folder: Path

    def gate(self, **fields: object) -> Gate:
        """Return the gate as it is come to."""
        made = {"name": REBOOT, "step": 1, "opened_at": AT, "approve_by": AT + timedelta(hours=2), "why": "needs 1"}
        return Gate.model_validate({**made, **fields})

    def open(self, **fields: object) -> Change:
        """Come to the gate."""
        return self.store.open_gate(self.change.id, self.gate(**fields), ENGINE, keep=KEEP, tokens=self.tokens)

    def settle(self, state: GateState, actor: Actor = ENGINE, at: datetime = LATER) -> Change:
        """Settle the gate."""
        return self.store.settle_gate(self.change.id, self.gate(state=state, why="said so"), actor, at)

    def vote(self, actor: Actor = CAROL, verdict: Verdict = Verdict.APPROVE, gate: str = REBOOT) -> bool:
        """Decide there."""
        return self.store.decide(
            Decision(
                change=self.change.id,
                digest=self.change.digest or "",
                gate=gate,
                person=actor.person,
                door="cli",
                verdict=verdict,
                at=LATER,
            ),
            actor,
        )

    def second_step(self) -> None:
        """Do the step behind the gate, and end the change."""
        for kind, state in ((EventType.STEP_INTENT, StepState.INTENT), (EventType.STEP_OUTCOME, StepState.DONE)):
            self.store.step(self.change.id, 1, state, step_event(self.change.id, 1, kind, state, LATER))
        self.end()

    def end(self, state: State = State.DONE) -> None:
        """End the change."""
        self.store.move(self.change.id, state, ENGINE, "", LATER, outcome="it ended")

    def proven(self) -> Evidence | BadEvidence:
        """Write the evidence and check it offline."""
        path = self.folder / "evidence.zip"
        write_evidence(path, self.store.evidence_data(self.change.id))
        key = self.store.verifier_key
        assert key is not None
        return verify_evidence(path, key.text)


@pytest.fixture
def half(tmp_path: Path) -> Iterator[Half]:
    """Bring a change as far as its second gate."""
    store = open_store(tmp_path)
    change = store.file_change("pci-enable", {"vm": "win-01"}, ALICE, "", None, AT)
    terms = TERMS.model_copy(update={"gates": {REBOOT: GATE_TERMS}})
    store.save_plan(change.id, GATED, terms, AT + timedelta(hours=8), AT)
    change = store.move(change.id, State.WAITING, ENGINE, "", AT)
    store.decide(
        Decision(change=change.id, digest=change.digest or "", person="bob", door="slack", verdict="approve", at=AT),
        BOB,
    )
    store.move(change.id, State.APPROVED, ENGINE, "", AT, execute_by=AT + timedelta(hours=4))
    store.move(change.id, State.APPLYING, ENGINE, "", AT)
    tokens = store.take_leases(change.id, GATED.resources, KEEP, AT)
    store.begin_journal(change.id, GATED.steps)
    for kind, state in ((EventType.STEP_INTENT, StepState.INTENT), (EventType.STEP_OUTCOME, StepState.DONE)):
        store.step(change.id, 0, state, step_event(change.id, 0, kind, state))
    yield Half(store, store.change(change.id), tokens, tmp_path)
    store.close()


def test_an_open_gate_shows_with_its_change_and_holds_its_leases(half: Half) -> None:
    """Nobody renews them while no process has the change: they hold for as long as the gate is open, and then some."""
    change = half.open()
    assert change.open_gate == half.gate()
    assert half.store.changes((State.APPLYING,))[0].open_gate == half.gate()
    assert half.store.change_of_flow_run("none") is None
    end = AT + timedelta(hours=2)
    for resource, token in half.tokens.items():
        assert half.store.lease_holds(change.id, resource, token, end)
        assert not half.store.lease_holds(change.id, resource, token, end + KEEP)
    half.store.renew_leases(change.id, KEEP, AT, tokens=half.tokens)
    assert all(half.store.lease_holds(change.id, resource, token, end) for resource, token in half.tokens.items())


def test_a_gate_is_opened_once_by_the_run_that_holds_the_leases(half: Half) -> None:
    """An older run of the change can't open it, and nobody opens it twice."""
    with pytest.raises(SupersededError):
        half.store.open_gate(half.change.id, half.gate(), ENGINE, keep=KEEP, tokens={"vm:vm-7": 9})
    half.open()
    with pytest.raises(ConflictError, match="has come to it before"):
        half.open()


def test_decisions_at_two_gates_are_kept_apart(half: Half) -> None:
    """One person may decide at each, once; a decision for a gate that is not open is refused."""
    with pytest.raises(ConflictError, match=r"waits for no decision at the gate host-reboot"):
        half.vote()
    half.open()
    with pytest.raises(ConflictError, match="waits for no decision on its plan") as caught:
        half.vote(gate="plan")
    assert "--gate host-reboot" in caught.value.hint
    with pytest.raises(ConflictError, match="at the gate guest-reboot"):
        half.vote(gate="guest-reboot")
    assert half.vote()
    assert not half.vote()
    with pytest.raises(ConflictError, match="decided on CHG-0001 before"):
        half.vote(verdict=Verdict.DENY)
    assert [(one.person, one.gate) for one in half.store.decisions(half.change.id)] == [
        ("bob", "plan"),
        ("carol", REBOOT),
    ]
    half.settle(GateState.PASSED)
    with pytest.raises(ConflictError, match="waits for no decision"):
        half.vote(BOB)


def test_a_gate_is_settled_once(half: Half) -> None:
    """Two that count in the same moment: one of them wins, the other learns it."""
    with pytest.raises(ConflictError, match="not open yet"):
        half.settle(GateState.PASSED)
    half.open()
    half.vote()
    change = half.settle(GateState.PASSED)
    assert (change.open_gate, change.gates[0].state, change.gates[0].settled_at) == (None, GateState.PASSED, LATER)
    with pytest.raises(ConflictError, match="is passed"):
        half.settle(GateState.DENIED)


def test_evidence_proves_who_decided_at_which_gate_and_what_was_overridden(half: Half) -> None:
    """Both gates' decisions, and the warning that the plan's approval overrode, are in the words of the proof."""
    half.open()
    half.vote()
    half.settle(GateState.PASSED)
    half.second_step()
    proven = half.proven()
    assert isinstance(proven, Evidence), proven
    assert proven.approved_by == ("bob",)
    assert proven.gates == ((REBOOT, "passed", ("carol",), ()),)
    assert proven.overrides == ("USB-DEV-04",)
    assert "approved by bob (warnings overridden: USB-DEV-04)" in proven.words
    assert "The gate host-reboot was passed, decided on by carol (approved)." in proven.words
    assert isinstance(half.store.verify(), Proven)


WRONG: dict[str, tuple[Callable[[Half], object], str]] = {
    "nobody came to the gate": (lambda half: half.second_step(), "behind the gate host-reboot, which was not passed"),
    "it was left open": (lambda half: (half.open(), half.second_step()), "which was not passed"),
    "it was passed without a decision": (
        lambda half: (half.open(), half.settle(GateState.PASSED), half.second_step()),
        "settled as passed, which its decisions (none) deny",
    ),
    "it was passed although it was denied": (
        lambda half: (half.open(), half.vote(verdict=Verdict.DENY), half.settle(GateState.PASSED), half.second_step()),
        "settled as passed, which its decisions (deny) deny",
    ),
    "who approved the plan decided": (
        lambda half: (half.open(), half.vote(BOB), half.settle(GateState.PASSED), half.second_step()),
        "bob decided at the gate host-reboot, which is for others than who approved the plan",
    ),
    "who asked decided": (lambda half: (half.open(), half.vote(ALICE), half.end()), "alice decided on a change of"),
    "a stranger decided": (
        lambda half: (half.open(), half.vote(Actor(person="dave", door=Door.CLI)), half.end()),
        "dave decided without being entitled to",
    ),
    "it expired before its time": (
        lambda half: (half.open(), half.settle(GateState.EXPIRED), half.end(State.UNDONE)),
        "settled as expired, which its decisions (none) deny",
    ),
    "somebody else withdrew": (
        lambda half: (half.open(), half.settle(GateState.WITHDRAWN, BOB), half.end(State.UNDONE)),
        "settled as withdrawn",
    ),
    "it is before another step": (lambda half: (half.open(step=0), half.end()), "no such gate before step 0"),
}
"""What a store without the engine can be made to record, and what is found offline."""


@pytest.mark.parametrize("what", WRONG)
def test_a_story_that_broke_the_rules_of_a_gate_is_found_offline(half: Half, what: str) -> None:
    """The ledger is whole and signed, and still does not prove what its events deny."""
    act, words = WRONG[what]
    act(half)
    bad = half.proven()
    assert isinstance(bad, BadEvidence), bad
    assert words in bad.reason
    finding = half.store.verify()
    assert isinstance(finding, Finding)
    assert words in finding.words


def test_evidence_of_a_gate_that_was_denied_or_expired_holds(half: Half) -> None:
    """A change that was taken back at its gate proves who said no."""
    half.open()
    half.vote(verdict=Verdict.DENY)
    half.settle(GateState.DENIED)
    half.end(State.UNDONE)
    proven = half.proven()
    assert isinstance(proven, Evidence), proven
    assert proven.gates == ((REBOOT, "denied", (), ("carol",)),)


def test_a_plan_without_gates_has_the_digest_that_it_had_before_there_were_any() -> None:
    """An approval that was given before an update still speaks for its plan."""
    assert PLAN.digest == "sha256:d77b56d863bd0b9261605d1e82b25ef0726519bed199a215f436c7f3261f3b55"
    assert GATED.digest != PLAN.digest
