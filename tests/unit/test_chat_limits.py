"""R22: The largest plan, and any number of changes, stay within what Slack takes; the whole plan goes as a file."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View as SlackView

from passgate.faces.chat import home_view
from passgate.faces.chat.buttons import decide_block
from passgate.faces.chat.home_view import Listed, Shown
from passgate.faces.chat.plan_file import name_of, needs_file, plan_file
from passgate.faces.chat.render import Renderer
from passgate.faces.chat.words import View
from passgate.lab.slack.blocks import TEXT_OF_ALL_BLOCKS, faults_of_blocks, faults_of_view, text_in
from passgate.model.change import Change, State
from passgate.model.decision import PLAN, Requirement, Terms, Verdict
from passgate.model.plan import CheckResult, Plan, PlannedStep, Risk, Severity
from passgate.model.review import Review
from passgate.policy.opening import Holding
from tests.unit.test_chat_render import AT, SEAL, assert_safe, decided, people, view

LONG = ("🔥", "仮想マシン", "نظام ", "\u202eabc", "&<>", "*_~`", "a\n", "x")
REVIEW = Review(change="CHG-0042", by="alice", reviewers=("bob",), opened_at=AT, due_at=AT + timedelta(days=3))
names = st.one_of(
    st.just("win-01"),
    st.text(max_size=200),
    st.builds(lambda part, times: part * times, st.sampled_from(LONG), st.integers(1, 3000)),
).map(lambda text: text[:3000])


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Return plans with up to hundreds of steps, warnings and lines of impact, with names of any length."""
    name, count = draw(names), draw(st.sampled_from([0, 1, 5, 60, 400]))
    steps = tuple(
        PlannedStep(
            index=index, kind="power.Off", fields={}, title=f"{index} {name}", needed=index % 3 > 0, mutates=True,
            before=name, after=name, impact=name, gate="host-reboot" if index == 1 else "",
        )
        for index in range(count)
    )  # fmt: skip
    checks = tuple(
        CheckResult(code=f"USB-{index}", rule=name, severity=Severity.WARNING, met=index % 2 > 0, saw=name, hint=name)
        for index in range(draw(st.sampled_from([0, 1, 200])))
    )
    impact = (name,) * draw(st.sampled_from([0, 1, 300]))
    return Plan(
        runbook="usb-attach", title=f"Attach {name}", risk=Risk.HOST_WIDE, target=name, resources=(),
        checks=checks, steps=steps, impact=impact,
    )  # fmt: skip


def seen(plan: Plan, text: str, *, state: State = State.WAITING, seats: int = 1, reason: bool = False) -> View:
    """Return a change with that plan in which everything that people wrote is that text."""
    asked = tuple(
        Requirement(name=f"{index} {text}", rule=text, needed=2, voters=("bob", "carol")) for index in range(seats)
    )
    change = view(text[:500], state=state).change.model_copy(
        update={
            "plan": plan,
            "terms": Terms(policy=text, requirements=asked, reason_required=reason, standing=timedelta(days=90)),
            "schedule": text[:64],
        }
    )
    decisions = tuple(decided(Verdict.APPROVE, who, text[:500]) for who in ("bob", "carol"))
    freeze = Holding(name="f" * 63, kind="freeze", text=text[:300], until=AT, override=(text[:64],) * 3)
    held = (freeze,) * 9 if state is State.SCHEDULED else ()
    return View(change, decisions, plan_file="ab" * 32, held=held)


@given(plan=plans(), text=names, state=st.sampled_from(State), seats=st.integers(1, 30), reason=st.booleans())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_message_of_any_plan_keeps_the_limits(
    plan: Plan, text: str, state: State, seats: int, reason: bool
) -> None:
    """R22: Hundreds of steps, emoji, text from right to left and names of 3,000 characters fit, by both judges."""
    shown = seen(plan, text, state=state, seats=seats, reason=reason)
    message = Renderer(people(), SEAL).parent(shown)
    assert_safe(message)
    blocks = json.loads(json.dumps(message.blocks))
    for block in Block.parse_all(blocks):
        block.validate_json()
    assert len(blocks) <= 50
    assert text_in(blocks) <= TEXT_OF_ALL_BLOCKS
    assert name_of(shown.change) in str(blocks)


@given(plan=plans())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_plan_is_whole_in_its_message_or_in_its_file(plan: Plan) -> None:
    """Each step is in the message, or the plan goes as a file; the file has every step, in a line of its own."""
    change: Change = view().change.model_copy(update={"plan": plan})
    message = str(Renderer(people(), SEAL).parent(View(change)).blocks)
    whole = plan_file(change, plan)
    if not needs_file(plan):
        assert "… and" not in message
    lines = whole.body.decode().splitlines()
    assert sum(line.startswith(f"{step.index + 1}. ") for step in plan.steps for line in lines) >= len(plan.steps)
    assert plan_file(change, plan).sha256 == whole.sha256
    assert whole.name == "CHG-0042-plan-abababababab.txt"


@given(text=names, waiting=st.integers(0, 40), others=st.integers(0, 40))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_home_keeps_the_limits(text: str, waiting: int, others: int) -> None:
    """Whatever waits, is open or has ended, a Home has at most 100 blocks, and no block_id twice."""
    shown = Shown(
        listed(text, waiting, State.WAITING)[: home_view.MOST_WAITING],
        listed(text, others, State.APPROVED, 100)[: home_view.MOST_DECIDED],
        listed(text, others, State.APPLYING, 200)[: home_view.MOST_MINE],
        listed(text, others, State.EXPIRED, 300)[: home_view.MOST_ENDED],
        waiting > home_view.MOST_WAITING,
        text[:2000],
        tuple((text[:64], decided(Verdict.APPROVE, "bob", text[:500])) for _ in range(others)),
        tuple((one, REVIEW) for one in listed(text, others, State.DONE, 400)[: home_view.MOST_REVIEWS]),
    )
    drawn: dict[str, Any] = home_view.home(people(), SEAL, shown)
    assert faults_of_view(drawn) == []
    SlackView(**drawn).validate_json()
    assert len(drawn["blocks"]) <= 100


def listed(text: str, count: int, state: State, start: int = 0) -> tuple[Listed, ...]:
    """Return so many changes as a Home lists them."""
    base = view(text[:400], state=state).change
    return tuple(
        Listed(
            base.model_copy(update={"id": f"CHG-{start + index:04}"}),
            (decided(Verdict.APPROVE),),
            "https://lab.example/archives/C0/p1",
        )
        for index in range(count)
    )


def test_a_confirm_tells_what_is_overridden_and_what_is_lost() -> None:
    """A dialog asks before an approval counts, within 300 characters; where a reason is asked for, its dialog does."""
    shown = seen(view("x" * 3000).change.plan or Plan.model_construct(), "win-01")
    block = decide_block(shown.change, PLAN, (), SEAL)
    assert block is not None
    approve, *_, deny = block["elements"]
    assert "You override warnings: USB-2." in approve["confirm"]["text"]["text"]
    assert "confirm" not in deny
    asks_why = shown.change.model_copy(update={"terms": Terms(policy="p", reason_required=True)})
    block = decide_block(asks_why, PLAN, (), SEAL)
    assert block is not None
    assert "confirm" not in block["elements"][0]
    assert faults_of_blocks([block]) == []


def test_what_was_approved_can_be_taken_back_until_it_begins() -> None:
    """The button to take an approval back stands while it is possible, and nobody can decide then but those asked."""
    vote = (decided(Verdict.APPROVE),)

    def buttons(state: State) -> list[str]:
        block = decide_block(view(state=state).change, PLAN, vote, SEAL)
        return [one["action_id"].removeprefix("passgate_") for one in block["elements"]] if block else []

    assert buttons(State.WAITING) == ["approve", "deny", "retract"]
    assert buttons(State.APPROVED) == buttons(State.SCHEDULED) == ["retract"]
    assert not any(buttons(state) for state in State if state.is_end or state is State.APPLYING)
    assert decide_block(view(state=State.APPROVED).change, PLAN, (), SEAL) is None


def test_the_message_counts_each_requirement_and_says_who_is_left() -> None:
    """R4, R8: One of two is counted at each requirement, and those who can still approve are named there."""
    asked = (
        Requirement(name="operations", rule="a", needed=1, voters=("bob", "carol")),
        Requirement(name="owners", rule="b", needed=1, voters=("carol",)),
    )
    change = view().change.model_copy(update={"terms": Terms(policy="p", requirements=asked)})
    shown = View(change, (decided(Verdict.APPROVE),), at=AT + timedelta(hours=1))
    words = str(Renderer(people(), SEAL).parent(shown).blocks)
    assert "*Needs* 2 approvals by different people (1 of 2 so far)" in words
    assert "operations: 1 of 1" in words
    assert "owners: 0 of 1, can still approve: Carol Chen" in words
