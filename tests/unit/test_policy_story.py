"""Prove that the offline verifier and the policy agree on any history of votes: the same outcome, the same refusals.

They are written twice on purpose: `ledger/offline.py` needs nothing but Python, and believes nothing that we say.
"""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from passgate.errors import PolicyError
from passgate.ledger.canonical import time_text
from passgate.ledger.offline import Story
from passgate.model.change import Actor, Change, Door, Gate, State
from passgate.model.decision import PLAN, Decision, Escalation, GateTerms, Requirement, StandIn, Terms, Verdict
from passgate.model.plan import Plan, PlannedStep, Risk
from passgate.policy.votes import Outcome, may_decide, standing, tally_of
from passgate.settings.people import People, Person

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NAMES = ("alice", "bob", "carol", "dave", "erin", "frank")
PEOPLE = People(people=tuple(Person(id=one, name=one.title()) for one in NAMES))
REBOOT = "host-reboot"
PLANNED = Plan(
    runbook="usb-attach", title="Attach", risk=Risk.DISRUPTIVE, target="win-01", resources=("vm:vm-7",), checks=(),
    impact=(),
    steps=(
        PlannedStep(index=0, kind="power.Off", fields={}, title="Reboot", needed=True, mutates=True, before="on",
                    after="off",
                    gate=REBOOT),
    ),
)  # fmt: skip

persons = st.sampled_from(NAMES)
some = st.lists(persons, unique=True, max_size=4).map(tuple)
minutes = st.integers(0, 60)


@st.composite
def requirement(draw: st.DrawFn) -> Requirement:
    """Make one requirement."""
    return Requirement(
        name=draw(st.sampled_from(["operations", "owners", "security"])),
        rule="any",
        needed=draw(st.integers(1, 2)),
        denials=draw(st.integers(1, 2)),
        voters=draw(some),
    )


escalation = st.builds(
    Escalation, after=minutes.map(lambda one: one * MINUTE), groups=st.just(("managers",)), voters=some
)
requirements = st.lists(requirement(), min_size=1, max_size=3).map(tuple)
escalations = st.lists(escalation, max_size=2).map(tuple)


@st.composite
def stand_in(draw: st.DrawFn) -> StandIn:
    """Let one stand in for another, for a part of the hour."""
    person, of = draw(st.lists(persons, unique=True, min_size=2, max_size=2))
    since = draw(st.integers(-10, 50))
    until = draw(st.integers(since + 1, 70))
    return StandIn(person=person, of=of, since=AT + since * MINUTE, until=AT + until * MINUTE)


@st.composite
def terms(draw: st.DrawFn) -> Terms:
    """Make terms as policy does: who is excluded is in no list of voters, and stands in for nobody."""
    out = {"alice": "asks for it"} | ({"frank": "acts for alice"} if draw(st.booleans()) else {})

    def without(asked: tuple[Any, ...]) -> tuple[Any, ...]:
        kept = [one.model_copy(update={"voters": tuple(v for v in one.voters if v not in out)}) for one in asked]
        return tuple(kept)

    stand_ins = draw(st.lists(stand_in(), max_size=3))
    gate = GateTerms(
        requirements=without(draw(requirements)),
        escalations=without(draw(escalations)),
        others=draw(st.booleans()),
        approve_within=timedelta(minutes=50),
    )
    return Terms(
        policy="any",
        excluded=out,
        requirements=without(draw(requirements)),
        escalations=without(draw(escalations)),
        stand_ins=tuple(one for one in stand_ins if one.person not in out and one.of not in out),
        gates={REBOOT: gate},
    )


acts = st.lists(
    st.tuples(minutes, persons, st.sampled_from([Verdict.APPROVE, Verdict.APPROVE, Verdict.DENY, Verdict.RETRACT])),
    max_size=14,
).map(lambda them: sorted(them, key=lambda one: one[0]))


class Told:
    """Tell one change to the verifier and to the policy, event by event."""

    def __init__(self, terms: Terms, gate: str, votes_on_plan: tuple[str, ...] = ()) -> None:
        self.gate, self.story, self.seq, self.before = gate, Story(), 0, 0
        self.change = Change(
            id="CHG-0001", runbook="usb-attach", ask={}, requester=Actor(person="alice", door=Door.CLI), reason="",
            state=State.WAITING, created_at=AT, plan=PLANNED, digest=PLANNED.digest, terms=terms,
            approve_by=AT + timedelta(minutes=50),
        )  # fmt: skip
        self.decisions: list[Decision] = []
        self.tell("change.requested", AT, {}, "alice")
        data = {
            "digest": PLANNED.digest,
            "terms": terms.model_dump(mode="json"),
            "steps": [{"index": 0, "gate": REBOOT}],
        }
        self.tell("change.planned", AT, data | {"approve_by": time_text(AT + timedelta(minutes=50))})
        self.tell("change.state", AT, {"from": "planned", "to": "waiting"})
        if gate == PLAN:
            return
        told = self.story.told["CHG-0001"]
        for person in votes_on_plan:
            self.decide(person, Verdict.APPROVE, AT, PLAN)
        told.state = "applying"  # how the plan was approved is not the matter here
        opened = Gate(name=REBOOT, step=0, opened_at=AT, approve_by=AT + timedelta(minutes=50))
        self.change = self.change.model_copy(update={"state": State.APPLYING, "gates": (opened,)})
        data = {"gate": REBOOT, "step": "0", "digest": PLANNED.digest, "approve_by": time_text(opened.approve_by)}
        assert self.tell("gate.opened", AT, data) is None

    def event(self, kind: str, at: datetime, data: dict[str, Any], person: str = "passgate") -> dict[str, Any]:
        """Make an event as the ledger has it."""
        return {
            "seq": str(self.seq + 1), "before": str(self.before), "change": "CHG-0001", "at": time_text(at),
            "type": kind, "actor": {"person": person, "door": "cli"}, "data": data,
        }  # fmt: skip

    def tell(self, kind: str, at: datetime, data: dict[str, Any], person: str = "passgate") -> str | None:
        """Tell it to the verifier."""
        wrong = self.story.wrong(self.event(kind, at, data, person))
        self.seq += 1
        self.before = self.seq
        return wrong

    def decide(self, person: str, verdict: Verdict, at: datetime, gate: str | None = None) -> tuple[bool, str | None]:
        """Say whether the engine records that decision, and what the verifier says if it stands in the record."""
        gate = gate or self.gate
        one = Decision(
            change="CHG-0001", digest=PLANNED.digest, gate=gate, person=person, door="cli", verdict=verdict, at=at
        )
        data = one.model_dump(mode="json", include={"digest", "gate", "person", "verdict"})
        stands = standing(self.decisions, gate=gate, digest=PLANNED.digest)
        if verdict is Verdict.RETRACT:
            recorded = person in stands
        else:
            recorded = person not in stands and self._may(person, at, gate)
        if not recorded:
            return False, copy.deepcopy(self.story).wrong(self.event("decision.recorded", at, data, person))
        self.decisions.append(one)
        return True, self.tell("decision.recorded", at, data, person)

    def _may(self, person: str, at: datetime, gate: str) -> bool:
        settled = tally_of(self.change, self.decisions, at, gate).outcome
        if settled is not Outcome.WAITING:
            return False
        try:
            may_decide(self.change, PEOPLE, person, gate=gate, decisions=self.decisions, at=at, door="cli")
        except PolicyError:
            return False
        return True


def agree(told: Told, history: list[tuple[int, str, Verdict]]) -> None:
    """Take a history through both, and compare after each act."""
    terms = told.change.terms
    assert terms is not None
    asked = terms.model_dump(mode="json") if told.gate == PLAN else terms.model_dump(mode="json")["gates"][REBOOT]
    for number, (minute, person, verdict) in enumerate(history):
        at = AT + minute * MINUTE + timedelta(seconds=number)
        before = tally_of(told.change, told.decisions, at, told.gate).outcome
        recorded, wrong = told.decide(person, verdict, at)
        if recorded:
            assert wrong is None
        elif before is Outcome.WAITING:
            assert wrong is not None, f"{person} was refused, and the verifier would not mind"
        here = told.story.told["CHG-0001"]
        votes = here.votes if told.gate == PLAN else here.gates[REBOOT].votes
        outcome = tally_of(told.change, told.decisions, at, told.gate).outcome
        denied = votes.deny(asked)
        assert denied is (outcome is Outcome.DENIED)
        if not denied:
            assert votes.approve(asked) is (outcome is Outcome.APPROVED)


@given(terms(), acts)
def test_the_verifier_and_the_policy_agree_on_the_plan(asked: Terms, history: list[tuple[int, str, Verdict]]) -> None:
    """Votes, votes taken back, several requirements, stand-ins, escalations: what is recorded is never a finding."""
    agree(Told(asked, PLAN), history)


@given(terms(), acts, st.lists(persons, unique=True, max_size=2).map(tuple))
def test_they_agree_at_a_second_gate(
    asked: Terms, history: list[tuple[int, str, Verdict]], approvers: tuple[str, ...]
) -> None:
    """There too, and whoever approved the plan is kept out where policy wants others."""
    agree(Told(asked, REBOOT, approvers), history)


def test_who_stands_in_for_two_speaks_for_the_same_one_in_both() -> None:
    """The first whom config names, whatever the order of the requirements; the other one may come back and vote."""
    away = [StandIn(person="carol", of=of, since=AT - MINUTE, until=AT + 60 * MINUTE) for of in ("bob", "erin")]
    each = [Requirement(name=one, rule="any", voters=(one,)) for one in ("erin", "bob")]
    asked = Terms(policy="any", excluded={"alice": "asks for it"}, requirements=tuple(each), stand_ins=tuple(away))
    told = Told(asked.model_copy(update={"gates": {REBOOT: GateTerms(approve_within=MINUTE)}}), PLAN)
    agree(told, [(1, "carol", Verdict.APPROVE), (2, "bob", Verdict.APPROVE), (3, "erin", Verdict.APPROVE)])
    assert [one.person for one in told.decisions] == ["carol", "erin"]
    assert tally_of(told.change, told.decisions, AT + 4 * MINUTE).outcome is Outcome.APPROVED
