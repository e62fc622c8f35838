"""Prove that a second gate has decisions of its own: no votes for one gate ever count for the other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passgate.errors import PolicyError
from passgate.model.decision import PLAN, Decision, GateTerms, Requirement, Terms, Verdict
from passgate.model.plan import Risk
from passgate.policy import Facts, Outcome, choose, may_approve_plan, may_vote, standing, tally
from passgate.settings.agree import disagreements
from passgate.settings.load import load_config
from passgate.settings.people import People, Person
from passgate.settings.rules import Approval, GateRule, Policy, PolicyRule

CONFIG = load_config(Path(__file__).parents[2] / "config")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DIGEST = "sha256:plan"
REBOOT = "host-reboot"
NAMES = ("alice", "bob", "carol", "dave", "erin")
HOUR = timedelta(hours=1)

decision = st.builds(
    Decision,
    change=st.just("CHG-0001"),
    digest=st.sampled_from([DIGEST, "sha256:other"]),
    gate=st.sampled_from([PLAN, REBOOT, "guest-reboot"]),
    person=st.sampled_from(NAMES),
    door=st.sampled_from(["slack", "cli"]),
    verdict=st.sampled_from([Verdict.APPROVE, Verdict.DENY]),
    at=st.integers(-20, 20).map(lambda minutes: NOW + timedelta(minutes=minutes)),
)
votes = st.lists(decision, max_size=16)
people = st.lists(st.sampled_from(NAMES), unique=True).map(tuple)
asked_at_gate = st.builds(
    GateTerms,
    approvals=st.integers(1, 3),
    denials=st.integers(1, 2),
    groups=st.just(("operations",)),
    voters=people,
    others=st.booleans(),
    approve_within=st.just(HOUR),
)
terms = st.builds(
    Terms,
    policy=st.just("any"),
    approvals=st.integers(1, 3),
    denials=st.integers(1, 2),
    groups=st.just(("operations",)),
    voters=people,
    gates=st.fixed_dictionaries({REBOOT: asked_at_gate}),
)


def counted(asked: Terms, cast: list[Decision], gate: str, requester: str = "alice") -> Any:
    """Return what the votes amount to at that gate."""
    return tally(asked, cast, digest=DIGEST, requester=requester, now=NOW, approve_by=NOW, gate=gate)


@given(terms, votes, st.sampled_from(NAMES), st.randoms(use_true_random=False))
def test_no_order_of_votes_lets_one_gates_votes_count_for_the_other(
    asked: Terms, cast: list[Decision], requester: str, chance: Any
) -> None:
    """The outcome at a gate is that of its own votes alone, in whatever order all of them came."""
    shuffled = list(cast)
    chance.shuffle(shuffled)
    plan_alone = [one for one in shuffled if one.gate == PLAN]
    assert counted(asked, shuffled, PLAN, requester) == counted(asked, plan_alone, PLAN, requester)
    here = counted(asked, shuffled, REBOOT, requester)
    valid = {
        one.person
        for one in cast
        if (one.gate, one.digest, one.verdict) == (REBOOT, DIGEST, Verdict.APPROVE)
        and one.person in asked.gates[REBOOT].voters
        and one.person != requester
        and one.at < NOW
    }
    assert set(here.approvals) <= valid
    if here.outcome is Outcome.APPROVED:
        assert len(valid) >= asked.gates[REBOOT].approvals
    if asked.gates[REBOOT].others:
        stand = standing(plan_alone, gate=PLAN, digest=DIGEST)  # a second vote of one person is none
        approvers = {person for person, one in stand.items() if one.verdict is Verdict.APPROVE}
        assert not approvers & {*here.approvals, *here.denials}
    # A gate that policy has no terms for is never passed by any votes.
    assert counted(asked, shuffled, "guest-reboot", requester).outcome is not Outcome.APPROVED


@given(terms, votes)
def test_a_denial_at_a_gate_wins_over_any_approvals(asked: Terms, cast: list[Decision]) -> None:
    """One that suffices stands, whatever the plan's voters and the gate's other voters said."""
    needed = asked.gates[REBOOT].approvals
    gate = GateTerms(approvals=needed, denials=1, voters=("bob", "erin"), approve_within=HOUR)
    strict = asked.model_copy(update={"gates": {REBOOT: gate}})
    denial = Decision(
        change="CHG-0001", digest=DIGEST, gate=REBOOT, person="erin", door="cli", verdict=Verdict.DENY, at=NOW - HOUR
    )
    assert counted(strict, [*cast, denial], REBOOT).outcome is Outcome.DENIED
    at_plan = counted(strict, [*cast, denial], PLAN)
    assert at_plan == counted(strict, cast, PLAN)


@pytest.mark.parametrize("others", [True, False])
@pytest.mark.parametrize("first", [PLAN, REBOOT])
def test_who_approved_the_plan_counts_at_the_gate_only_where_it_is_for_all(first: str, others: bool) -> None:
    """Whichever of a person's two votes came first."""
    gate = GateTerms(voters=("bob", "carol"), groups=("operations",), others=others, approve_within=HOUR)
    asked = Terms(policy="any", voters=("bob", "carol"), gates={REBOOT: gate})
    both = [
        Decision(
            change="CHG-0001",
            digest=DIGEST,
            gate=name,
            person="bob",
            door="cli",
            verdict=Verdict.APPROVE,
            at=NOW - HOUR * (2 if name == first else 1),
        )
        for name in (PLAN, REBOOT)
    ]
    found = counted(asked, both, REBOOT)
    assert found.approvals == (() if others else ("bob",))
    assert ("who approved the plan does not count" in " ".join(found.reasons)) is others
    assert counted(asked, both, PLAN).outcome is Outcome.APPROVED


def rules(**gate: Any) -> Policy:
    """Return one rule with a gate."""
    both = {"approval": Approval(groups=("operations",)), **gate}
    return Policy(
        rules=(
            PolicyRule(
                name="all", default=True, approval=Approval(groups=("operations",)), gates={REBOOT: GateRule(**both)}
            ),
        )
    )


def chosen(policy: Policy = CONFIG.policy, requester: str = "alice", **how: Any) -> Terms:
    """Choose terms for a host-wide plan with a reboot."""
    asked = {"runbook": "pci-enable", "risk": Risk.HOST_WIDE, "gates": (REBOOT,), "at": NOW, **how}
    return choose(policy, CONFIG.people, Facts(requester=requester, **asked))


def test_the_shipped_policy_wants_other_eyes_before_a_host_reboot() -> None:
    """Who approved the plan does not count at the gate; a plan without that step has no such gate."""
    assert chosen().gates == {
        REBOOT: GateTerms(
            requirements=(
                Requirement(name="operations", rule="host-wide", groups=("operations",), voters=("bob", "carol")),
            ),
            others=True,
            approve_within=timedelta(hours=2),
        )
    }
    assert chosen(gates=()).gates == {}


def test_a_gate_that_policy_does_not_name_is_not_asked_at() -> None:
    """Its step is covered by the plan's approval."""
    assert chosen(gates=(REBOOT, "moon-landing")).gates.keys() == {REBOOT}


def test_a_gate_that_nobody_can_satisfy_is_refused_at_the_door() -> None:
    """A change that would only be taken back at its gate is not filed, and the words say why."""
    with pytest.raises(PolicyError, match=r"2 in all. Besides bob, who asks for it, only carol could approve"):
        chosen(rules(others=True), requester="bob")
    with pytest.raises(PolicyError, match=r"The gate 'host-reboot' of policy 'all' asks for 2 approval"):
        chosen(rules(approval=Approval(needed=2, groups=("operations",))), requester="bob")
    assert chosen(rules(others=False), requester="bob").gates[REBOOT].voters == ("carol",)


def test_a_policy_of_too_few_people_for_its_gates_does_not_load() -> None:
    """Plan and gate ask for different people, and there is only one: config says so at once."""
    one = [Person(id="bob", name="Bob", groups=("operations",)), Person(id="al", name="Al")]
    (found,) = disagreements(one, rules(others=True).rules)
    assert (found.field, "need 2 different people" in found.words) == ("gates", True)
    assert list(disagreements(one, rules(others=False).rules)) == []


def test_who_approved_the_plan_is_told_to_leave_the_gate_to_others() -> None:
    """The refusal names the gate and who is left."""
    asked = chosen()
    first = Decision(change="CHG-0001", digest=DIGEST, person="bob", door="cli", verdict=Verdict.APPROVE, at=NOW)
    with pytest.raises(PolicyError, match=r"bob approved the plan, .* wants others at the gate host-reboot") as caught:
        may_vote(asked, CONFIG.people, "bob", "alice", REBOOT, DIGEST, (first,))
    assert "Carol Chen" in caught.value.hint
    assert "Bob" not in caught.value.hint
    may_vote(asked, CONFIG.people, "carol", "alice", REBOOT, DIGEST, (first,))
    may_vote(asked, CONFIG.people, "bob", "alice", REBOOT, "sha256:another plan", (first,))
    with pytest.raises(PolicyError, match="can't decide on it"):
        may_vote(asked, CONFIG.people, "alice", "alice", REBOOT, DIGEST, (first,))


def test_an_approval_of_the_plan_that_would_leave_nobody_for_the_gate_is_refused() -> None:
    """A change that could only be taken back at its gate is not begun."""
    gate = GateTerms(voters=("bob",), groups=("hosts",), others=True, approve_within=HOUR)
    asked = Terms(policy="any", voters=("bob", "carol"), gates={REBOOT: gate})
    with pytest.raises(PolicyError, match="too few people would be left for the gate host-reboot"):
        may_approve_plan(asked, "bob", DIGEST, ())
    may_approve_plan(asked, "carol", DIGEST, ())


def test_a_warning_takes_a_change_out_of_pre_authorisation() -> None:
    """To override a warning is a person's decision: the next rule that asks for an approval has its turn."""
    standard = PolicyRule(
        name="standard",
        pre_authorised=True,
        gates={REBOOT: GateRule(approval=Approval(groups=("operations",)))},
    )
    rest = PolicyRule(name="rest", default=True, approval=Approval(groups=("operations",)), undo_on_failure=False)
    policy = Policy(rules=(standard, rest))
    assert chosen(policy).pre_authorised
    warned = chosen(policy, warnings=("USB-DEV-04",))
    assert (warned.policy, warned.pre_authorised, warned.approvals, warned.voters) == (
        "rest",
        False,
        1,
        ("bob", "carol"),
    )
    assert warned.gates.keys() == {REBOOT}
    with pytest.raises(PolicyError, match=r"'standard': it has warnings \(USB-DEV-04\), so somebody has to approve it"):
        chosen(Policy(rules=(standard,)), warnings=("USB-DEV-04",))


def test_two_groups_may_share_the_gates() -> None:
    """Enough different people in both groups together are enough, whoever is in which."""
    staff = People(
        people=(
            Person(id="al", name="Al"),
            Person(id="bo", name="Bo", groups=("plans", "hosts")),
            Person(id="cy", name="Cy", groups=("hosts",)),
        )
    )
    gate = GateRule(approval=Approval(groups=("hosts",)), others=True)
    policy = Policy(rules=(PolicyRule(name="all", approval=Approval(groups=("plans",)), gates={REBOOT: gate}),))
    found = choose(policy, staff, Facts(runbook="x", risk=Risk.LOW, requester="al", at=NOW, gates=(REBOOT,)))
    assert (found.voters, found.gates[REBOOT].voters) == (("bo",), ("bo", "cy"))
