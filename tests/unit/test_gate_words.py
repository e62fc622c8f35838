"""What people read of a second gate, in chat, at the shell and in Prefect: who may decide, on what, until when."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passgate.engine import report
from passgate.faces.chat.render import Renderer
from passgate.faces.chat.words import View
from passgate.faces.cli.changes import how_to_go_on
from passgate.faces.cli.words import change_lines, event_line, plan_lines, standing
from passgate.model.change import Event, EventType, Gate, GateState, State
from passgate.model.decision import Decision, GateTerms, Requirement, Verdict
from tests.unit.test_chat_render import AT, ENGINE, SEAL, assert_safe, decided, names, people, view

GATE = "host-reboot"
UNTIL = AT + timedelta(hours=2)


def at_gate(
    text: str = "win-01",
    state: GateState = GateState.OPEN,
    decisions: tuple[Decision, ...] = (),
    ended: State = State.APPLYING,
) -> View:
    """Return a change that came to its gate before the third step; Bob approved the plan."""
    plain = view(text, state=ended, decisions=(decided(Verdict.APPROVE), *decisions))
    change, plan = plain.change, plain.change.plan
    assert plan is not None
    assert change.terms is not None
    steps = list(plan.steps)
    steps[2] = steps[2].model_copy(update={"gate": GATE, "impact": f"{text} is away for minutes"})
    asked = GateTerms(
        approvals=2,
        groups=("operations",),
        voters=("bob", "carol"),
        others=True,
        approve_within=timedelta(hours=2),
    )
    gate = Gate(
        name=GATE, step=2, state=state, opened_at=AT, approve_by=UNTIL, why=f"said: {text}",
        settled_at=None if state is GateState.OPEN else AT,
    )  # fmt: skip
    update = {
        "plan": plan.model_copy(update={"steps": tuple(steps)}),
        "terms": change.terms.model_copy(update={"gates": {GATE: asked}}),
        "gates": (gate,),
    }
    return View(change.model_copy(update=update), plain.decisions, plain.journal, plain.moved)


def there(person: str = "carol", verdict: Verdict = Verdict.APPROVE) -> Decision:
    """Return a decision at the gate."""
    return decided(verdict, person).model_copy(update={"gate": GATE})


def buttons(blocks: Any) -> list[str]:
    """Return the values of the buttons in a message."""
    found = [one for block in blocks if block["type"] == "actions" for one in block["elements"]]
    return [one["value"] for one in found]


@given(text=names, state=st.sampled_from(GateState), ended=st.sampled_from([State.APPLYING, State.UNDONE, State.DONE]))
@settings(max_examples=60, deadline=None)
def test_no_name_harms_the_message_of_a_gate(text: str, state: GateState, ended: State) -> None:
    """Whatever VMs and reasons are called, it keeps Slack's limits; buttons are there only while it is open."""
    shown = at_gate(text, state, (there(),), ended)
    message = Renderer(people(), SEAL).gate(shown, GATE)
    assert message is not None
    assert_safe(message)
    is_open = state is GateState.OPEN and ended is State.APPLYING
    assert buttons(message.blocks) == ([SEAL(shown.change, GATE)] * 3 if is_open else [])
    assert_safe(Renderer(people(), SEAL).parent(shown))


def test_an_open_gate_names_who_may_decide_and_who_may_not() -> None:
    """R8: Bob approved the plan and Alice asked; neither is called upon, and what follows is said again."""
    message = Renderer(people(), SEAL).gate(at_gate(decisions=(there(),)), GATE)
    assert message is not None
    said = json.dumps(message.blocks, ensure_ascii=False)
    assert "CHG-0042 waits at the gate *host-reboot*, before step 3, Step on win-01." in said
    assert "*Needs* 2 approvals from operations (1 of 2 so far): nobody is left who could; not Alice" in said
    assert "nor Bob Berger, who approved the plan." in said
    assert "Who can decide: <@U0CAROL>" in said
    assert "win-01 is away for minutes" in said
    assert "By 2026-11-23 09:05 UTC; after that, what was done is taken back." in said
    assert "Approved at the gate host-reboot by Carol Chen" in said


def test_the_gate_of_a_change_that_never_came_to_it_is_no_message() -> None:
    """There is nothing to say of it."""
    assert Renderer(people(), SEAL).gate(view(), GATE) is None
    event = Event(type=EventType.GATE_OPENED, change="CHG-0042", actor=ENGINE, at=AT, data={"gate": "other"})
    assert Renderer(people(), SEAL).told(event, at_gate()) is None


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (GateState.OPEN, "It waits at the gate host-reboot, before step 3: said: win-01, until 2026-11-23 09:05 UTC."),
        (GateState.DENIED, "Gate host-reboot, before step 3: denied, said: win-01"),
        (GateState.EXPIRED, "Gate host-reboot, before step 3: expired, said: win-01"),
    ],
)
def test_the_command_line_says_how_a_gate_stands(state: GateState, words: str) -> None:
    """`show` says it, before and after it is settled; `list` has it beside the state."""
    shown = at_gate(state=state, decisions=(there("carol", Verdict.DENY),))
    change = shown.change.model_dump(mode="json")
    lines = "\n".join(
        change_lines({"change": change, "decisions": [one.model_dump(mode="json") for one in shown.decisions]})
    )
    assert words in lines
    assert "denied at the gate host-reboot by carol" in lines
    assert standing(change) == ("applying, waits at the gate host-reboot" if state is GateState.OPEN else "applying")


def test_a_plan_says_beforehand_where_it_will_wait_again() -> None:
    """At the shell and in Prefect's artifact, for whoever decides on the plan."""
    change = at_gate().change
    assert change.plan is not None
    assert change.terms is not None
    plan, terms = change.plan.model_dump(mode="json"), change.terms.model_dump(mode="json")
    again = (
        "Again before step 3, at the gate host-reboot: 2 approvals from operations (bob, carol), not from who approved"
    )
    assert again in "\n".join(plan_lines(plan, change.digest or "", terms))
    assert "- **Second gate `host-reboot`**, before step 3" in report.of_plan(change, change.plan)
    without = change.model_copy(update={"terms": change.terms.model_copy(update={"gates": {}})})
    assert "Second gate" not in report.of_plan(without, change.plan)


@pytest.mark.parametrize(
    ("kind", "data", "line"),
    [
        ("gate.opened", {"gate": GATE, "why": "needs 1", "approve_by": "2026-11-23T09:05:00Z"},
         "waits at the gate host-reboot: needs 1, until 2026-11-23 09:05 UTC"),
        ("gate.settled", {"gate": GATE, "state": "denied", "why": "denied by carol: no"},
         "the gate host-reboot is denied: denied by carol: no"),
        ("decision.recorded", {"gate": GATE, "person": "carol", "door": "cli", "verdict": "approve"},
         "approved at the gate host-reboot by carol (cli)"),
        ("decision.recorded", {"person": "bob", "door": "cli", "verdict": "approve", "overrides": ["USB-DEV-04"]},
         "approved by bob (cli); overrides USB-DEV-04"),
        ("run.held_up", {"why": "no vCenter", "state": "applying"}, "can't go on yet, and is tried again: no vCenter"),
        ("run.held_up", {"why": "no vCenter"}, "can't begin yet, and is tried again: no vCenter"),
        ("step.noticed", {"step": "0", "saw": "a stick was pulled"}, "noticed: a stick was pulled"),
    ],
)  # fmt: skip
def test_watch_tells_each_event_in_a_line(kind: str, data: dict[str, Any], line: str) -> None:
    """One line each, with what it means."""
    event = {
        "type": kind,
        "at": "2026-11-23T08:12:20Z",
        "actor": {"person": "passgate", "door": "engine"},
        "data": data,
    }
    assert event_line(event) == f"08:12:20  {line}"


def test_who_can_approve_nothing_now_is_left_out_and_told_why() -> None:
    """Terms name who counted when it was filed; whoever has a review to answer for since then is not asked in vain."""
    change = view().change
    assert change.terms is not None
    terms = change.terms.model_copy(
        update={"requirements": (Requirement(name="operations", rule="normal", voters=("bob", "carol")),)}
    )
    why = "broke the glass for CHG-0007, whose review is open"
    told = change.model_copy(update={"state": State.WAITING, "terms": terms}).model_dump(mode="json")
    barred = {"change": told, "may_not_approve": {"bob": why, "erin": why}}
    lines = "\n".join([*change_lines(barred), *how_to_go_on(barred)])
    assert "1 approval from operations (carol)" in lines
    assert f"Can approve nothing now: bob, who {why}" in lines
    assert "erin" not in lines, "who is not asked is not told of"
    assert f"passgate approve {change.id}    for carol;" in lines
    alone = {**barred, "may_not_approve": {"bob": why, "carol": why}}
    assert "1 approval from operations (nobody can now)" in "\n".join(change_lines(alone))


def test_an_outcome_of_several_differences_has_a_line_for_each() -> None:
    """What makes a change void is read difference by difference, in `show` and in `watch`."""
    said = "the world is not as it was:\nstep 1: a was b, is c;\nstep 2: d was e, is f"
    change = view().change.model_copy(update={"state": State.VOID, "outcome": said}).model_dump(mode="json")
    lines = list(change_lines({"change": change}))
    assert "  Outcome: the world is not as it was:" in lines
    assert "    step 2: d was e, is f" in lines
