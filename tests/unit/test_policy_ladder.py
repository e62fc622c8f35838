"""Prove the ladder (R25, R30): each rung once and in time, nobody called who can't or need not decide."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passgate.errors import PolicyError
from passgate.model.change import Actor, Change, Door, State
from passgate.model.decision import Asked, Decision, Escalation, Kind, Requirement, StandIn, Terms, Verdict
from passgate.model.plan import Risk
from passgate.policy import Facts, Outcome, ballot_of, choose, may_decide, tally_of
from passgate.policy.ladder import ESCALATE, REMIND, due, ladder, rungs, still_asked
from passgate.policy.moments import next_moment
from passgate.settings.people import Absence, People, Person
from passgate.settings.rules import Approval, BreakGlass, Policy, PolicyRule
from passgate.settings.rules import Escalation as EscalationRule

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
spans = st.integers(1, 200).map(lambda one: one * MINUTE)
asked = st.builds(
    Asked,
    requirements=st.just((Requirement(name="operations", rule="any", voters=("bob", "carol")),)),
    remind=st.lists(spans, max_size=4, unique=True).map(lambda them: tuple(sorted(them))),
    escalations=st.lists(
        st.builds(Escalation, after=spans, groups=st.just(("managers",)), voters=st.just(("dave",))),
        max_size=2, unique_by=lambda one: one.after,
    ).map(tuple),
)  # fmt: skip


@given(asked, st.none() | spans, st.lists(st.integers(0, 250), max_size=40))
def test_each_rung_is_made_once_and_before_the_end(what: Asked, within: timedelta | None, looks: list[int]) -> None:
    """Whenever the clockwork looks, and however long it did not: an independent count of what must be made by then."""
    until = AT + within if within else None
    all_of_them = rungs(what, AT, until)
    made: list[str] = []
    for minute in sorted(looks):
        now = AT + minute * MINUTE
        new = due(all_of_them, made, now)
        assert all(one.at <= now for one in new)
        assert sum(one.kind == REMIND for one in new) <= 1  # a service that was down does not scold
        made += [one.name for one in new]
    assert len(made) == len(set(made))
    last = AT + max(looks, default=-1) * MINUTE
    escalated = {
        one.after for one in what.escalations if AT + one.after <= last and (not until or AT + one.after < until)
    }
    assert sum(name.startswith(ESCALATE) for name in made) == len(escalated)
    if what.remind:
        past = [one for one in what.remind if AT + one <= last and (until is None or AT + one < until)]
        assert any(name.startswith(REMIND) for name in made) == bool(past)
    elif until is not None:
        assert any(name.startswith(REMIND) for name in made) == (last >= AT + (until - AT) * 0.75)
    else:
        assert not any(name.startswith(REMIND) for name in made)


@given(asked, spans)
def test_before_an_expiry_there_is_a_last_reminder(what: Asked, within: timedelta) -> None:
    """Nothing expires without one, unless config asks for reminders that all come later (R25)."""
    last = [one for one in rungs(what, AT, AT + within) if one.is_last]
    if what.remind and min(what.remind) >= within:
        assert last == []
    else:
        assert len(last) == 1
        assert last[0].at < AT + within
    assert not any(one.is_last for one in rungs(what, AT, None))  # what waits for ever has no last one


def change(terms: Terms, **fields: object) -> Change:
    """Return a change that waits."""
    base = Change(
        id="CHG-0001", runbook="x", ask={}, requester=Actor(person="alice", door=Door.CLI), reason="",
        digest="sha256:p",
        state=State.WAITING, created_at=AT, terms=terms, approve_by=AT + 8 * HOUR,
    )  # fmt: skip
    return base.model_copy(update=fields)


@given(asked, st.integers(-10, 600))
def test_the_next_moment_is_the_first_that_is_left(what: Asked, minute: int) -> None:
    """Whoever looks at a change only at its moments misses none of them."""
    one, now = change(Terms(policy="any", **what.model_dump())), AT + minute * MINUTE
    moments = [*(rung.at for rung in ladder(one) if rung.at > now), AT + 8 * HOUR]
    assert next_moment(one, now) == min(moments)
    assert next_moment(one) == min([*(rung.at for rung in ladder(one)), AT + 8 * HOUR])
    ended = one.model_copy(update={"state": State.DONE})
    assert next_moment(ended, now) is None
    approved = one.model_copy(update={"state": State.APPROVED, "execute_by": AT + HOUR})
    assert next_moment(approved, AT) == AT + HOUR


STAFF = People(
    people=(
        Person(id="alice", name="Alice", groups=("oncall",)),
        Person(id="bob", name="Bob", groups=("operations",)),
        Person(
            id="carol",
            name="Carol",
            groups=("operations",),
            absences=(Absence(since=AT + HOUR, until=AT + 3 * HOUR, delegate="dave"),),
        ),
        Person(id="dave", name="Dave", groups=("managers",)),
    )
)
BOTH = Policy(
    rules=(
        PolicyRule(
            name="all",
            default=True,
            approval=Approval(needed=2, groups=("operations",)),
            escalate=(EscalationRule(after=5 * HOUR, groups=("managers",)),),
        ),
    )
)


def filed(people: People = STAFF, requester: str = "alice", policy: Policy = BOTH) -> Change:
    """Return a change with the terms that policy gives it."""
    terms = choose(policy, people, Facts(runbook="x", risk=Risk.LOW, requester=requester, at=AT))
    return change(terms, requester=Actor(person=requester, door=Door.CLI))


def cast(person: str, hours: float, verdict: Verdict = Verdict.APPROVE) -> Decision:
    """Return a vote at that hour."""
    return Decision(
        change="CHG-0001", digest="sha256:p", person=person, door="cli", verdict=verdict, at=AT + hours * HOUR
    )


def may(one: Change, person: str, hours: float, *before: Decision) -> str:
    """Return why that person may not decide at that hour; nothing when they may."""
    at = AT + hours * HOUR
    try:
        may_decide(one, STAFF, person, gate="plan", decisions=before, at=at, door="cli")
    except PolicyError as error:
        return error.message
    return ""


def called(one: Change, hours: float, *before: Decision) -> tuple[str, ...]:
    """Return who is called to decide at that hour."""
    asked_now = ballot_of(one, "plan", before)
    return still_asked(asked_now, before, STAFF, gate="plan", digest="sha256:p", now=AT + hours * HOUR)


def test_a_delegate_decides_during_the_absence_and_only_then() -> None:
    """Dates, not good will: before and after it he is nobody here (R30)."""
    one = filed()
    assert one.terms is not None
    assert one.terms.stand_ins == (StandIn(person="dave", of="carol", since=AT + HOUR, until=AT + 3 * HOUR),)
    assert "not among those who may decide" in may(one, "dave", 0.9)
    assert may(one, "dave", 1) == ""
    assert may(one, "dave", 2.9) == ""
    assert "not among those who may decide" in may(one, "dave", 3)
    assert (called(one, 0), called(one, 2), called(one, 4)) == (("bob", "carol"), ("bob", "dave"), ("bob", "carol"))


def test_who_is_away_and_their_delegate_have_one_vote_together() -> None:
    """Whoever of both comes first; the other is told so, and a vote that is taken back is free again."""
    one, first = filed(), cast("dave", 1.5)
    assert may(one, "carol", 2, first) == (
        "dave and carol have one vote together while carol is away, and it was given by dave. Nothing was recorded."
    )
    both = (first, cast("carol", 2))
    assert tally_of(one, both, AT + 2 * HOUR).approvals == ("dave",)
    assert "given by carol" in may(one, "dave", 2, cast("carol", 1.5))
    assert may(one, "carol", 2.5, first, cast("dave", 2, Verdict.RETRACT)) == ""
    assert called(one, 2, first) == ("bob",)
    assert called(one, 2, cast("carol", 1.5)) == ("bob",)
    assert tally_of(one, (first, cast("bob", 2)), AT + 2 * HOUR).outcome is Outcome.APPROVED


def test_who_acts_for_the_requester_is_excluded() -> None:
    """Carol asks and is away soon: Dave, who acts for her then, decides on nothing of hers (R1)."""
    single = BOTH.model_copy(
        update={
            "rules": (BOTH.rules[0].model_copy(update={"approval": (Approval(groups=("operations", "managers")),)}),)
        }
    )
    one = filed(requester="carol", policy=single)
    assert one.terms is not None
    assert one.terms.excluded == {"carol": "asks for it", "dave": "acts for carol"}
    assert one.terms.voters == ("bob",)
    for hours in (0, 2, 6):
        assert may(one, "dave", hours) == "dave acts for carol, and so can't decide on this change."
    assert not any(one.terms.escalations[0].voters)


def test_after_an_escalation_its_people_may_decide() -> None:
    """Not a moment earlier; and only they are new among those who are called."""
    one = filed()
    assert "not among those who may decide" in may(one, "dave", 4.99)
    assert may(one, "dave", 5) == ""
    assert called(one, 5) == ("bob", "carol", "dave")
    assert [(rung.kind, rung.at - AT) for rung in ladder(one)] == [(ESCALATE, 5 * HOUR), (REMIND, 6 * HOUR)]
    assert tally_of(one, (cast("bob", 5), cast("dave", 5.1)), AT + 6 * HOUR).outcome is Outcome.APPROVED


GLASS = st.builds(
    BreakGlass,
    groups=st.lists(st.sampled_from(["oncall", "operations", "managers"]), max_size=2, unique=True).map(tuple),
    people=st.lists(st.sampled_from(["alice", "bob", "dave"]), max_size=1).map(tuple),
    execute_within=spans,
    reviewers=st.lists(st.sampled_from(["operations", "managers"]), min_size=1, max_size=2, unique=True).map(tuple),
    review_within=spans,
    overrides_freezes=st.booleans(),
)
GROUPS = {person.id: set(person.groups) for person in STAFF.people}


@given(st.lists(st.tuples(GLASS, st.sampled_from(["x", "*", "y"])), max_size=3), st.sampled_from(sorted(GROUPS)))
def test_the_glass_is_broken_only_where_every_rule_that_speaks_of_it_lets_the_person(
    given_rules: list[tuple[BreakGlass, str]], person: str
) -> None:
    """An oracle that knows no policy code: sets of names, and the shortest of the times."""
    rules = [
        PolicyRule(name=f"rule {number}", runbooks=(runbook,), break_glass=glass)
        for number, (glass, runbook) in enumerate(given_rules)
    ]
    policy = Policy(rules=(*rules, *BOTH.rules))
    facts = Facts(runbook="x", risk=Risk.LOW, requester=person, at=AT, kind=Kind.BREAK_GLASS, gates=("host-reboot",))
    speaking = [glass for glass, runbook in given_rules if runbook != "y"]
    allowed = bool(speaking) and all(person in one.people or GROUPS[person] & set(one.groups) for one in speaking)
    # Carol is away soon, so Dave acts for her.
    out = {person} | ({"dave"} if person == "carol" else set())
    reviewing = {one for one, groups in GROUPS.items() for glass in speaking if groups & set(glass.reviewers)} - out
    if not allowed or not reviewing:
        with pytest.raises(PolicyError, match="Nothing was filed"):
            choose(policy, STAFF, facts)
        return
    terms = choose(policy, STAFF, facts)
    glass = terms.break_glass
    assert glass is not None
    assert (glass.by, set(glass.reviewers), terms.requirements, terms.gates) == (person, reviewing, (), {})
    assert terms.execute_within == min(one.execute_within for one in speaking)
    assert glass.review_within == min(one.review_within for one in speaking)
    assert glass.overrides_freezes == all(one.overrides_freezes for one in speaking)
    one = change(terms, requester=Actor(person=person, door=Door.CLI), approve_by=None)
    assert tally_of(one, (), AT).outcome is Outcome.APPROVED
    assert (next_moment(one, AT), terms.pre_authorised, terms.approve_within) == (None, False, None)
