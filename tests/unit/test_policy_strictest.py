"""Prove that of all rules that match the strictest wins, field by field, and that nobody is excused by a part of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passgate.errors import PolicyError
from passgate.model.decision import PLAN, Decision, Kind, Terms, Verdict
from passgate.model.plan import Risk
from passgate.policy import Facts, Outcome, Target, choose, selects, tally
from passgate.policy.facts import in_hours
from passgate.policy.seats import can_fill, seated
from passgate.settings.agree import disagreements
from passgate.settings.people import Absence, People, Person
from passgate.settings.rules import Approval, BreakGlass, GateRule, Hours, Limit, Policy, PolicyRule, Selector

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DIGEST = "sha256:plan"
STAFF = People(
    people=(
        Person(id="alice", name="Alice"),
        Person(id="bob", name="Bob", groups=("operations", "oncall")),
        Person(id="carol", name="Carol", groups=("operations",)),
        Person(id="dave", name="Dave", groups=("storage",)),
        Person(id="erin", name="Erin", groups=("operations", "storage")),
    )
)
OPERATIONS = Approval(groups=("operations",))
STORAGE = Approval(groups=("storage",))
DEFAULT = PolicyRule(name="default", default=True, approval=(OPERATIONS,))


def facts(*vms: str, requester: str = "alice", **more: Any) -> Facts:
    """Say of a change of these VMs what policy needs to know."""
    targets = tuple(Target(kind="vm", name=vm, host="esx-01", cluster="prod") for vm in vms)
    given = {"runbook": "usb-attach", "risk": Risk.DISRUPTIVE, "at": NOW, "targets": targets, **more}
    return Facts(requester=requester, **given)


def chosen(*rules: PolicyRule, people: People = STAFF, about: Facts | None = None) -> Terms:
    """Choose terms by these rules and the default."""
    return choose(Policy(rules=(*rules, DEFAULT)), people, about or facts("win-01"))


def vote(person: str, verdict: Verdict = Verdict.APPROVE, minute: int = 0, door: str = "cli") -> Decision:
    """Return a vote on the plan."""
    at = NOW + timedelta(minutes=minute)
    return Decision(change="CHG-0001", digest=DIGEST, person=person, door=door, verdict=verdict, at=at)


def counted(terms: Terms, *cast: Decision, now: datetime = NOW + HOUR) -> Outcome:
    """Return what the votes amount to."""
    return tally(terms, cast, digest=DIGEST, requester="alice", now=now, opened_at=NOW).outcome


# Seats

PEOPLE = st.dictionaries(st.sampled_from("abcdef"), st.sets(st.integers(0, 2)), max_size=5)


@given(st.lists(st.integers(0, 2), min_size=3, max_size=3), PEOPLE)
def test_as_many_seats_are_taken_as_people_can_take(needed: list[int], may_sit: dict[str, set[int]]) -> None:
    """Beside the brute force: every order of people, each on any seat that is free."""
    best = 0
    seats = [position for position, count in enumerate(needed) for _ in range(count)]
    for order in permutations([*may_sit, *("" for _ in seats)], len(seats)):
        best = max(best, sum(bool(who) and seat in may_sit[who] for seat, who in zip(seats, order, strict=True)))
        if best == min(len(seats), len(may_sit)):
            break
    found = seated(needed, may_sit)
    assert sum(found) == best
    assert all(have <= want for have, want in zip(found, needed, strict=True))
    assert can_fill(needed, may_sit) is (best == len(seats))


def test_one_from_each_group_by_different_people() -> None:
    """R3: one from operations and one from storage; who is in both fills one place, whatever door they use (R1)."""
    terms = chosen(PolicyRule(name="both", approval=(OPERATIONS, STORAGE)))
    assert [one.name for one in terms.requirements] == ["operations", "storage"]
    assert counted(terms, vote("erin"), vote("erin", minute=1, door="slack")) is Outcome.WAITING
    assert counted(terms, vote("bob"), vote("carol")) is Outcome.WAITING
    # Erin came first and could have sat at either: she makes room.
    assert counted(terms, vote("erin"), vote("bob", minute=1)) is Outcome.APPROVED
    assert counted(terms, vote("erin"), vote("dave", minute=1)) is Outcome.APPROVED
    assert counted(terms, vote("bob"), vote("dave", Verdict.DENY, 1)) is Outcome.DENIED


# Which rules apply

RULES = st.builds(
    PolicyRule,
    name=st.sampled_from(["one", "two", "three"]),
    approval=st.lists(
        st.builds(Approval, needed=st.integers(1, 2), groups=st.sampled_from([("operations",), ("storage", "oncall")])),
        max_size=2,
    ).map(tuple),
    vms=st.sampled_from([("*",), ("win-*",), ("test-*",), ("win-*", "test-*")]),
    approve_within=st.sampled_from([None, HOUR, 2 * HOUR]),
    execute_within=st.sampled_from([None, HOUR, 2 * HOUR]),
    undo_on_failure=st.booleans(),
    reason_required=st.booleans(),
)


@given(st.lists(RULES, max_size=3), RULES, st.sampled_from([("win-01",), ("win-01", "test-1"), ("test-1",)]))
def test_one_more_rule_never_asks_for_less(rules: list[PolicyRule], more: PolicyRule, vms: tuple[str, ...]) -> None:
    """Only the default gives way, and only to a rule that says of the whole change who approves."""
    about = facts(*vms)
    try:
        before, after = chosen(*rules, about=about), chosen(*rules, more, about=about)
    except PolicyError as error:
        assert "nobody can satisfy" in error.message  # noqa: PT017 - what is refused here is refused by number
        return
    needed = {one.groups: one.needed for one in after.requirements}
    for rule in rules:
        for approval in rule.approval if selects(rule, about, every=False) else ():
            assert needed[approval.groups] >= approval.needed
    if "default" in before.policy:
        assert "default" in after.policy or (more.approval and selects(more, about, every=True))
    applies = selects(more, about, every=False)
    for field in ("approve_within", "execute_within"):
        asked = getattr(more, field) if applies else None
        assert asked is None or (getattr(after, field) or asked) <= asked
    assert after.reason_required or not (applies and more.reason_required)
    assert not after.undo_on_failure or not applies or more.undo_on_failure


def test_one_test_machine_does_not_carry_another_machine_through() -> None:
    """What authorises, or asks for little, must fit the whole change; what asks for much is content with a part."""
    standard = PolicyRule(name="standard", vms=("test-*",), pre_authorised=True)
    easy = PolicyRule(name="easy", vms=("test-*",), approval=(STORAGE,))
    hard = PolicyRule(name="hard", vms=("win-*",), approval=(Approval(groups=("operations",), needed=2),))
    assert chosen(standard, about=facts("test-1")).kind is Kind.STANDARD
    assert not chosen(standard, about=facts("test-1", "win-01")).pre_authorised
    assert [one.rule for one in chosen(easy, about=facts("test-1")).requirements] == ["easy"]
    assert [one.rule for one in chosen(easy, about=facts("test-1", "win-01")).requirements] == ["easy", "default"]
    both = chosen(hard, about=facts("test-1", "win-01")).requirements
    assert [(one.rule, one.needed) for one in both] == [("hard + default", 2)]


def test_a_rule_that_asks_beats_one_that_authorises_in_advance() -> None:
    """And the words of both say so."""
    standard = PolicyRule(name="standard", pre_authorised=True)
    strict = PolicyRule(name="prod", clusters=("prod",), approval=(OPERATIONS,))
    terms = chosen(standard, strict)
    assert (terms.pre_authorised, terms.policy) == (False, "prod")
    said = {one.rule: "; ".join(one.words) for one in terms.said}
    assert said["standard"] == "does not apply: 'prod' asks for an approval, and the stricter rule wins"
    assert said["prod"] == "1 approval by operations"
    assert said["default"] == "does not apply: a default rule; 'prod' says who approves"


def test_a_limit_ends_what_is_authorised_in_advance() -> None:
    """A standard change within its limit; the next one has to be approved, until the first is old enough."""
    rule = PolicyRule(name="few", pre_authorised=True, limit=Limit(changes=2, within=HOUR))
    used = {"few": (NOW - timedelta(minutes=50), NOW - timedelta(minutes=10))}
    assert not chosen(rule, about=facts("win-01", used=used)).pre_authorised
    later = facts("win-01", used=used, at=NOW + timedelta(minutes=11))
    assert chosen(rule, about=later).pre_authorised


@pytest.mark.parametrize("kind", [Kind.NORMAL, Kind.EMERGENCY])
def test_an_emergency_may_have_rules_of_its_own(kind: Kind) -> None:
    """Others, and faster; a normal change does not see them."""
    rule = PolicyRule(name="fast", kinds=("emergency",), approval=(Approval(groups=("oncall",)),), approve_within=HOUR)
    terms = chosen(rule, about=facts("win-01", kind=kind))
    assert (terms.voters == ("bob",), terms.kind) == (kind is Kind.EMERGENCY, kind)


def test_doors_are_those_that_all_rules_leave_open() -> None:
    """R14: policy may keep decisions out of Slack; rules that leave no door are refused in words."""
    shell = PolicyRule(name="shell", doors=("cli", "api"))
    assert chosen(shell, PolicyRule(name="cli", doors=("cli", "slack"))).doors == ("cli",)
    with pytest.raises(PolicyError, match="leave no door"):
        chosen(shell, PolicyRule(name="chat", doors=("slack",)))


# Four eyes

AWAY = {"since": NOW - HOUR, "until": NOW + 24 * HOUR}


def test_who_stands_behind_a_change_never_counts() -> None:
    """R1: who asked, a schedule's author, and whoever acts for one of them."""
    people = STAFF.model_copy(
        update={
            "people": (
                *(one for one in STAFF.people if one.id != "alice"),
                Person(id="alice", name="Alice", absences=(Absence(**AWAY, delegate="carol"),)),
            )
        }
    )
    terms = chosen(people=people, about=facts("win-01", behind=("bob",)))
    assert terms.excluded == {"alice": "asks for it", "bob": "stands behind it", "carol": "acts for alice"}
    assert terms.voters == ("erin",)
    assert counted(terms, vote("bob"), vote("carol")) is Outcome.WAITING


def test_an_unknown_requester_costs_one_approval_more() -> None:
    """R1: whoever asked through Prefect may be among those who approve; of two different people, one is another."""
    assert chosen(about=facts("win-01", requester="prefect")).approvals == 2
    assert chosen(about=facts("win-01")).approvals == 1


def test_nobody_breaks_the_glass_where_a_rule_that_applies_forbids_it() -> None:
    """All rules that speak of it must let the person, and somebody else must be there to review it."""
    lets = PolicyRule(name="lets", break_glass=BreakGlass(groups=("oncall",), reviewers=("operations",)))
    never = PolicyRule(name="never", clusters=("prod",), break_glass=BreakGlass())
    about = facts("win-01", requester="bob", kind=Kind.BREAK_GLASS)
    terms = chosen(lets, about=about)
    assert terms.break_glass is not None
    assert (terms.break_glass.reviewers, terms.requirements, terms.gates) == (("carol", "erin"), (), {})
    assert terms.execute_within == timedelta(minutes=30)
    with pytest.raises(PolicyError, match="'never' does not let bob break the glass"):
        chosen(lets, never, about=about)
    with pytest.raises(PolicyError, match="'lets' does not let alice break the glass"):
        chosen(lets, about=facts("win-01", kind=Kind.BREAK_GLASS))
    with pytest.raises(PolicyError, match="does not let"):
        chosen(about=about)
    alone = PolicyRule(name="alone", break_glass=BreakGlass(groups=("oncall",), reviewers=("oncall",)))
    with pytest.raises(PolicyError, match="Nobody besides bob, who asks for it, could review it"):
        chosen(alone, about=about)


# Decisions that are taken back

TRAIL = st.lists(
    st.tuples(st.sampled_from(["bob", "carol", "erin"]), st.sampled_from(Verdict), st.sampled_from(["cli", "slack"])),
    max_size=12,
)


@given(TRAIL)
def test_what_counts_is_what_each_person_said_first_since_they_last_took_it_back(
    trail: list[tuple[str, Verdict, str]],
) -> None:
    """Beside a replay that knows no seats: one group, two approvals, two denials."""
    approval = Approval(groups=("operations",), needed=2, denials=2)
    terms = choose(Policy(rules=(PolicyRule(name="two", default=True, approval=(approval,)),)), STAFF, facts("win-01"))
    stands: dict[str, Verdict] = {}
    for person, verdict, _ in trail:
        if verdict is Verdict.RETRACT:
            stands.pop(person, None)
        else:
            stands.setdefault(person, verdict)
    said = list(stands.values())
    expected = (
        Outcome.DENIED
        if said.count(Verdict.DENY) >= 2
        else Outcome.APPROVED
        if said.count(Verdict.APPROVE) >= 2
        else Outcome.WAITING
    )
    cast = [vote(person, verdict, minute, door) for minute, (person, verdict, door) in enumerate(trail)]
    assert counted(terms, *cast) is expected


# Hours


@pytest.mark.parametrize(
    ("local", "inside"),
    [
        ("2026-11-27T21:59+01:00", False),
        ("2026-11-27T22:00+01:00", True),
        ("2026-11-28T05:59+01:00", True),
        ("2026-11-28T06:00+01:00", False),
        ("2026-11-28T22:00+01:00", False),
        ("2026-07-03T20:00+00:00", True),
    ],
)
def test_hours_are_local_and_may_end_on_the_next_day(local: str, *, inside: bool) -> None:
    """Friday night in Vienna, in winter and in summer."""
    night = Hours(days=("fri",), start="22:00", end="06:00", zone="Europe/Vienna")
    assert in_hours((night,), datetime.fromisoformat(local)) is inside
    assert in_hours((), datetime.fromisoformat(local))


# Config that can't be meant


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ((PolicyRule(name="a", approval=(OPERATIONS,)),), "no rule is for what the others don't know"),
        (
            (PolicyRule(name="a", pre_authorised=True), PolicyRule(name="b", approval=(OPERATIONS,)), DEFAULT),
            "rule 'a' authorises nothing: 'b' asks for an approval of every change",
        ),
        ((PolicyRule(name="a", default=True, vms=("x",)), DEFAULT), "is a default and has neither"),
        ((PolicyRule(name="a", limit=Limit(changes=1, within=HOUR)), DEFAULT), "does not authorise in advance"),
        ((PolicyRule(name="a", hours=(Hours(zone="Mars/Base"),)), DEFAULT), "'Mars/Base' is no IANA time zone"),
        ((PolicyRule(name="a", break_glass=BreakGlass(groups=("oncall",))), DEFAULT), "nobody reviews it afterwards"),
        (
            (PolicyRule(name="a", approval=(Approval(people=("zoe",)),)), DEFAULT),
            "'zoe' is no person in people.yaml",
        ),
        (
            (PolicyRule(name="a", approval=(STORAGE, Approval(groups=("storage",), needed=2))), DEFAULT),
            "needs 3 different people, but there are only 2 (dave, erin)",
        ),
        (
            (PolicyRule(name="a", gates={PLAN: GateRule(approval=(OPERATIONS,))}), DEFAULT),
            "'plan' is the gate before the first step",
        ),
    ],
)
def test_policy_that_contradicts_itself_does_not_load(rules: tuple[PolicyRule, ...], words: str) -> None:
    """R6: it is refused when config is read, not when a change is waiting."""
    assert any(words in one.words for one in disagreements(STAFF.people, rules)), words


def test_a_selector_of_tagged_things_wants_each_of_them_where_it_allows() -> None:
    """Tags and environments belong to one thing each: two tags of one VM don't excuse another VM."""
    tagged = Target(kind="vm", name="a", tags=("env/test", "tier/low"), environments=("test",))
    plain = Target(kind="vm", name="b")
    both = facts().model_copy(update={"targets": (tagged, plain)})
    for selector in (Selector(tags=("env/*",)), Selector(environments=("test",))):
        assert selects(selector, both, every=False)
        assert not selects(selector, both, every=True)
        assert selects(selector, both.model_copy(update={"targets": (tagged,)}), every=True)
