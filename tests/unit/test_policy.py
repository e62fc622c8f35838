"""Prove that nobody approves what they may not: properties over any votes, and the words for who is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passgate.errors import PolicyError
from passgate.model.decision import Decision, Terms, Verdict
from passgate.model.plan import Risk
from passgate.policy import Facts, Outcome, Target, choose, may_vote, tally
from passgate.settings.load import load_config
from passgate.settings.people import People, Person
from passgate.settings.rules import Approval, Policy, PolicyRule

CONFIG = load_config(Path(__file__).parents[2] / "config")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PLAN = "sha256:plan"
NAMES = ("alice", "bob", "carol", "dave", "erin")

decision = st.builds(
    Decision,
    change=st.just("CHG-0001"),
    digest=st.sampled_from([PLAN, "sha256:other"]),
    person=st.sampled_from(NAMES),
    door=st.sampled_from(["slack", "cli"]),
    verdict=st.sampled_from([Verdict.APPROVE, Verdict.DENY]),
    at=st.integers(-20, 20).map(lambda minutes: NOW + timedelta(minutes=minutes)),
)
votes = st.lists(decision, max_size=12)
terms = st.builds(
    Terms,
    policy=st.just("any"),
    approvals=st.integers(0, 3),
    denials=st.integers(1, 2),
    groups=st.just(("operations",)),
    voters=st.lists(st.sampled_from(NAMES), unique=True).map(tuple),
)


def facts(runbook: str, risk: Risk, vms: list[str], requester: str, **more: Any) -> Facts:
    """Say of a change what policy needs to know."""
    targets = tuple(Target(kind="vm", name=vm) for vm in vms)
    return Facts(runbook=runbook, risk=risk, requester=requester, at=NOW, targets=targets, **more)


@given(terms, votes, st.sampled_from(NAMES))
def test_approved_means_enough_different_voters_on_this_plan_in_time(
    asked: Terms, cast: list[Decision], requester: str
) -> None:
    """Approved is never the work of the requester, an outsider, one person twice, another plan, or a late vote."""
    result = tally(asked, cast, digest=PLAN, requester=requester, now=NOW, approve_by=NOW)
    valid = {
        one.person
        for one in cast
        if one.verdict is Verdict.APPROVE
        and one.digest == PLAN
        and one.person in asked.voters
        and one.person != requester
        and one.at < NOW
    }
    if result.outcome is Outcome.APPROVED:
        assert len(valid) >= asked.approvals > 0
    assert set(result.approvals) <= valid
    assert len(set(result.approvals)) == len(result.approvals)
    assert not set(result.approvals) & set(result.denials)


@given(terms, votes)
def test_order_of_arrival_changes_nothing(asked: Terms, cast: list[Decision]) -> None:
    """Votes that arrive by several doors in any order amount to the same; votes of one moment have no order."""
    distinct = list({one.at: one for one in cast}.values())
    results = [
        tally(asked, order, digest=PLAN, requester="alice", now=NOW, approve_by=NOW)
        for order in (distinct, distinct[::-1])
    ]
    assert results[0] == results[1]


@given(terms, votes)
def test_without_a_deadline_nothing_expires(asked: Terms, cast: list[Decision]) -> None:
    """R25: To wait for ever is allowed."""
    result = tally(asked, cast, digest=PLAN, requester="alice", now=NOW, approve_by=None)
    assert result.outcome is not Outcome.EXPIRED


@given(votes)
def test_a_denial_that_suffices_stands_against_any_approvals(cast: list[Decision]) -> None:
    """A voter's denial ends the change, however many approved."""
    asked = Terms(policy="any", approvals=1, voters=("bob", "carol", "erin"), groups=("operations",))
    denial = Decision(
        change="CHG-0001", digest=PLAN, person="erin", door="cli", verdict=Verdict.DENY, at=NOW - timedelta(hours=1)
    )
    result = tally(asked, [*cast, denial], digest=PLAN, requester="alice", now=NOW, approve_by=NOW)
    assert result.outcome is Outcome.DENIED


def test_terms_that_ask_for_nothing_by_mistake_wait() -> None:
    """Zero approvals without pre-authorisation is no authority."""
    asked = Terms(policy="any", approvals=0)
    assert tally(asked, [], digest=PLAN, requester="alice", now=NOW).outcome is Outcome.WAITING


def test_a_standard_change_is_approved_by_its_policy() -> None:
    """A pre-authorised change waits for nobody, and the reason names the policy."""
    chosen = choose(CONFIG.policy, CONFIG.people, facts("usb-controller-add", Risk.LOW, ["test-01"], "alice"))
    result = tally(chosen, [], digest=PLAN, requester="alice", now=NOW)
    assert (result.outcome, result.reasons[0]) == (
        Outcome.APPROVED,
        "policy 'standard-usb-controller' authorises it in advance",
    )


def test_a_riskier_plan_of_a_standard_runbook_needs_its_approval() -> None:
    """Pre-authorisation is for the risk that it names."""
    normal = PolicyRule(name="normal", default=True, approval=Approval(groups=("operations",)))
    rules = Policy(rules=(PolicyRule(name="standard", risks=("low",), pre_authorised=True), normal))
    chosen = choose(rules, CONFIG.people, facts("any", Risk.DISRUPTIVE, ["win-01"], "alice"))
    assert (chosen.policy, chosen.approvals, chosen.voters) == ("normal", 1, ("bob", "carol"))


def test_the_requester_is_no_voter() -> None:
    """A member of the group that asks is left out of those who may approve."""
    chosen = choose(CONFIG.policy, CONFIG.people, facts("usb-attach", Risk.DISRUPTIVE, ["win-01"], "bob"))
    assert chosen.voters == ("carol",)


def test_a_policy_that_nobody_can_satisfy_is_refused_at_the_door() -> None:
    """A change that could only be approved by who asks for it is not filed, and the words say why."""
    people = People(people=(Person(id="bob", name="Bob", groups=("operations",)), Person(id="al", name="Al")))
    policy = Policy(rules=(PolicyRule(name="all", approval=Approval(groups=("operations",))),))
    with pytest.raises(PolicyError, match=r"besides bob.*nobody could approve: a policy that nobody can satisfy"):
        choose(policy, people, facts("usb-attach", Risk.LOW, ["x"], "bob"))
    assert choose(policy, people, facts("usb-attach", Risk.LOW, ["x"], "al")).voters == ("bob",)


@pytest.mark.parametrize(
    ("vms", "policy"), [(["lab-1"], "lab"), (["lab-1", "prod-1"], "rest"), ([], "rest"), (["LAB-1"], "rest")]
)
def test_a_rule_for_some_vms_matches_only_when_all_vms_fit(vms: list[str], policy: str) -> None:
    """A change that touches one VM outside a rule's pattern does not pass under that rule."""
    rest = PolicyRule(name="rest", default=True, approval=Approval(groups=("operations",)))
    rules = Policy(rules=(PolicyRule(name="lab", vms=("lab-*",), pre_authorised=True), rest))
    chosen = choose(rules, CONFIG.people, facts("usb-attach", Risk.LOW, vms, "alice"))
    assert chosen.policy == policy


@pytest.mark.parametrize(
    ("person", "words"),
    [
        ("alice", "Who asked for a change can't decide on it"),
        ("dave", "dave is not among those who may decide"),
        ("mallory", "'mallory' is not in config/people.yaml"),
    ],
)
def test_who_may_not_vote_is_told_why_and_who_may(person: str, words: str) -> None:
    """A refused person learns the reason."""
    chosen = choose(CONFIG.policy, CONFIG.people, facts("usb-attach", Risk.DISRUPTIVE, ["win-01"], "alice"))
    with pytest.raises(PolicyError) as caught:
        may_vote(chosen, CONFIG.people, person, "alice")
    assert words in caught.value.message
    may_vote(chosen, CONFIG.people, "bob", "alice")
