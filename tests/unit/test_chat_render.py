"""What chat says: safe for Slack whatever the names are, within its limits, and never more than the records say."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from passgate.faces.chat.buttons import reason_modal
from passgate.faces.chat.clicks import Seal
from passgate.faces.chat.directory import Directory
from passgate.faces.chat.render import Message, Renderer
from passgate.faces.chat.text import fit, fit_lines, safe, units
from passgate.faces.chat.words import View
from passgate.lab.slack.blocks import TEXT_OF_ALL_BLOCKS, faults_of_blocks, faults_of_view, text_in
from passgate.model.change import ENDS, Actor, Change, Door, Event, EventType, JournalEntry, State, StepState
from passgate.model.decision import PLAN, Decision, Terms, Verdict
from passgate.model.plan import CheckResult, Plan, PlannedStep, Risk, Severity
from passgate.settings.people import People, Person

AT = datetime(2026, 11, 23, 7, 5, tzinfo=UTC)
ALICE, ENGINE = Actor(person="alice", door=Door.CLI), Actor(person="passgate", door=Door.ENGINE)
SEAL = Seal("xoxb-secret", "passgate.example/test")
HOSTILE = (
    "<!channel>", "<@U0DAVE>", "@here", "a\nb", "```", "*bold*", "_it_", "~no~", "&amp;<b>", "\u202egnp.exe", "🔥" * 90,
    "仮想マシン" * 30, "<https://evil.example|click>", ":white_check_mark:", "x" * 300, "\x00\x1b[31m", "&" * 200,
    "\ud800", "'; DROP TABLE",
)  # fmt: skip
names = st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=400), st.just("win-01"))
ALLOWED = {"<@U0ALICE>", "<@U0BOB>", "<@U0CAROL>"}


def people(name: str = "Alice Archer") -> Directory:
    """Return the directory of the tests."""
    return Directory(
        People(
            people=(
                Person(id="alice", name=name, slack="U0ALICE"),
                Person(id="bob", name="Bob Berger", slack="U0BOB"),
                Person(id="carol", name="Carol Chen", slack="U0CAROL"),
            )
        )
    )


def view(
    text: str = "win-01",
    *,
    state: State = State.WAITING,
    steps: int = 4,
    outcome: str = "",
    journal: tuple[StepState, ...] = (),
    decisions: tuple[Decision, ...] = (),
    approvals: int = 1,
) -> View:
    """Return a change in which everything that comes from outside is that text."""
    plan = Plan(
        runbook="usb-attach",
        title=f"Attach Verbatim STORE N GO to {text}",
        risk=Risk.DISRUPTIVE,
        target=text,
        resources=("vm:vm-7",),
        checks=(
            CheckResult(code="USB-1", rule="The arbitrator runs", severity=Severity.STOP, met=True, saw="it runs"),
            CheckResult(code="USB-2", rule=text, severity=Severity.WARNING, met=False, saw=text, hint=text),
        ),
        steps=tuple(
            PlannedStep(
                index=index, kind="power.Off", fields={}, title=f"Step on {text}", needed=index != 1, mutates=True,
                before=text, after=text,
            )
            for index in range(steps)
        ),
        impact=(f"{text} will be powered off",),
    )  # fmt: skip
    change = Change(
        id="CHG-0042", runbook="usb-attach", ask={}, requester=ALICE, reason=text, ticket=text, state=state,
        created_at=AT, plan=plan, digest="sha256:" + "ab" * 32, outcome=outcome,
        terms=Terms(policy="normal", approvals=approvals, groups=("operations", text), voters=("bob", "carol")),
        approve_by=AT + timedelta(hours=8), ended_at=AT if state.is_end else None,
    )  # fmt: skip
    entries = tuple(
        JournalEntry(change=change.id, index=index, kind="power.Off", title=text, state=one, saw=text, error=text)
        for index, one in enumerate(journal)
    )
    moved = Event(type=EventType.STATE, change=change.id, actor=ENGINE, at=AT, data={"to": state.value, "why": text})
    return View(change, decisions, entries, moved)


def decided(verdict: Verdict, person: str = "bob", reason: str = "") -> Decision:
    """Return a decision."""
    digest = "sha256:" + "ab" * 32
    return Decision(
        change="CHG-0042", digest=digest, person=person, door="slack", verdict=verdict, reason=reason, at=AT
    )


def every_event(text: str) -> list[Event]:
    """Return events of each kind, in the shape that the engine gives them, with that text wherever text can stand."""
    step = {"step": "0", "title": text, "saw": text, "why": text, "undo": text, "attempt": "1"}
    data: dict[EventType, list[dict[str, Any]]] = {
        EventType.STATE: [{"from": "waiting", "to": state.value, "why": text} for state in State],
        EventType.DECISION: [{"digest": text, "person": text, "door": "slack", "verdict": "deny", "reason": text}],
        EventType.STEP_OUTCOME: [{**step, "state": state.value} for state in StepState],
        EventType.UNDO_OUTCOME: [{**step, "state": state.value} for state in StepState],
        EventType.STEP_ATTEMPT_FAILED: [{**step, "next_in": "2"}, {**step, "next_in": ""}],
        EventType.REFUSED: [{**step, "action": text, "subject": text}],
        EventType.EVIDENCE: [{"file": text}],
        EventType.RESUMED: [{"state": "applying"}],
    }
    return [
        Event(type=kind, change="CHG-0042", actor=ENGINE, at=AT, data=one)
        for kind in EventType
        for one in data.get(kind, [step])
    ]


def assert_safe(message: Message) -> None:
    """Check one message against Slack's limits, and for anything that pings, links or formats beyond our own words."""
    blocks = json.loads(json.dumps(message.blocks))
    assert faults_of_blocks(blocks) == []
    assert text_in(blocks) <= TEXT_OF_ALL_BLOCKS
    assert 0 < units(message.text) <= 3600
    marked = [message.text, *_mrkdwn(blocks)]
    for text in marked:
        assert set(re.findall(r"<[^>]*>?", text)) <= ALLOWED
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert text.count("```") == 0


def _mrkdwn(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["text"]] if part.get("type") == "mrkdwn" else []
        return own + [text for value in part.values() for text in _mrkdwn(value)]
    return [text for value in part for text in _mrkdwn(value)] if isinstance(part, list) else []


@given(text=names, state=st.sampled_from(State), steps=st.integers(0, 60), name=names)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_name_harms_the_parent(text: str, state: State, steps: int, name: str) -> None:
    """Whatever VMs, people, reasons and tickets are called, the parent keeps Slack's limits and pings nobody."""
    journal = tuple(list(StepState)[index % len(StepState)] for index in range(steps))
    decisions = (decided(Verdict.APPROVE, reason=text), decided(Verdict.DENY, "carol", text))
    whole = view(text, state=state, steps=steps, outcome=text, journal=journal, decisions=decisions)
    message = Renderer(people(name), SEAL).parent(whole)
    assert_safe(message)
    assert "<" not in message.text + "".join(_mrkdwn(json.loads(json.dumps(message.blocks))))
    for verdict in (Verdict.APPROVE, Verdict.DENY):
        assert faults_of_view(json.loads(json.dumps(reason_modal(whole.change, PLAN, verdict, "value")))) == []


@given(text=names)
@settings(max_examples=60, deadline=None)
def test_no_name_harms_the_thread(text: str) -> None:
    """Whatever the records say, each message of the thread keeps the limits and pings only whom we mean to."""
    render = Renderer(people(), SEAL)
    for event in every_event(text):
        message = render.told(event, view(text, journal=(StepState.DONE, StepState.INTENT)))
        if message is not None:
            assert_safe(message)


@given(text=st.text(max_size=300), longest=st.integers(2, 100))
def test_a_shortened_text_fits_and_says_so(text: str, longest: int) -> None:
    """A text is whole or ends in an ellipsis, and is never longer than asked for, counted as Slack's servers count."""
    short = fit(text, longest)
    assert units(short) <= longest
    assert short == text or short.endswith("…")


@given(lines=st.lists(st.text(alphabet="ab", max_size=40), max_size=40))
def test_left_out_lines_are_counted(lines: list[str]) -> None:
    """Lines that do not fit are counted, so that nobody takes a part for the whole."""
    shown = fit_lines(lines, 200, more="and {left} more").split("\n")
    assert units("\n".join(shown)) <= 200
    if shown != (lines or [""]):
        kept = shown[:-1]
        assert kept == lines[: len(kept)]
        assert shown[-1] == f"and {len(lines) - len(kept)} more"


@pytest.mark.parametrize("text", ["win_01_db", "a-b.c", "18a5:0302", "Zoë's VM", "仮想"])
def test_ordinary_names_stay_as_they_are(text: str) -> None:
    """Names of every day are not changed, so that they can be copied."""
    assert safe(text) == text


def test_what_an_outsider_reads_while_it_waits() -> None:
    """R15, R16: The parent alone says what, to what, who asked, why, what is lost, each step, who decides, by when."""
    message = Renderer(people(), SEAL).parent(view())
    shown = json.dumps(message.blocks, ensure_ascii=False)
    for words in (
        "CHG-0042 · Attach Verbatim STORE N GO to win-01", "Waiting for a decision", "Alice Archer at the command line",
        "ticket win-01", "win-01 will be powered off", "For how long is not known", "1. Step on win-01: win-01 →",
        "2. Step on win-01: nothing to do", "1 approval from operations", "Bob Berger, Carol Chen",
        "not Alice Archer, who asked", "approve by 2026-11-23 15:05 UTC", "sha256:abababab", "Approve", "Deny",
    ):  # fmt: skip
        assert words in shown
    assert "CHG-0042" in message.text
    assert "passgate approve CHG-0042" in message.text


@pytest.mark.parametrize("state", [state for state in State if state is not State.WAITING])
def test_buttons_stand_only_where_a_decision_is_waited_for(state: State) -> None:
    """No other state than waiting shows a button to decide; what came to nothing has one to ask again, once."""
    render, again = Renderer(people(), SEAL), "CHG-0043"
    shown, later = (
        [block["block_id"] for block in render.parent(one).blocks if block["type"] == "actions"]
        for one in (view(state=state), replace(view(state=state), again=again))
    )
    assert shown == (["again"] if state in {State.VOID, State.EXPIRED} else [])
    assert later == []


def test_every_end_has_words_of_its_own() -> None:
    """R12, R26: The ends are told apart in parent, text and thread, and each calls who asked by name."""
    render = Renderer(people(), SEAL)
    parents, texts, threads = set(), set(), set()
    for state in ENDS:
        whole = view(state=state)
        moved = Event(type=EventType.STATE, change="CHG-0042", actor=ENGINE, at=AT, data={"to": state.value})
        parents.add(json.dumps(render.parent(whole).blocks[1]))
        texts.add(render.parent(whole).text.split(" · ")[-1])
        told = render.told(moved, whole)
        assert told is not None
        assert "<@U0ALICE>" in told.text
        threads.add(told.text)
    assert len(parents) == len(texts) == len(threads) == len(ENDS)


def test_a_stopped_change_says_what_is_and_is_not_done() -> None:
    """A person who is needed reads which steps are done, which are in doubt, which were not begun, and what to do."""
    journal = (StepState.DONE, StepState.NOT_NEEDED, StepState.INTENT, StepState.PENDING)
    shown = json.dumps(Renderer(people(), SEAL).parent(view(state=State.STOPPED, journal=journal)).blocks)
    for words in ("1. win-01: done", "whether it took effect is not known", "4. win-01: not begun", "What to do"):
        assert words in shown


@pytest.mark.parametrize("state", [State.DENIED, State.EXPIRED, State.WITHDRAWN, State.VOID])
def test_nothing_begun_is_said_only_where_the_journal_says_so(state: State) -> None:
    """`No step was begun` comes from the journal, never from the state's name."""
    untouched = json.dumps(Renderer(people(), SEAL).parent(view(state=state)).blocks)
    begun = json.dumps(Renderer(people(), SEAL).parent(view(state=state, journal=(StepState.INTENT,))).blocks)
    assert "No step was begun" in untouched
    assert "No step was begun" not in begun


def test_votes_are_counted_in_the_message() -> None:
    """R4, R10: With two approvals needed, the message counts and names the first."""
    shown = json.dumps(
        Renderer(people(), SEAL).parent(view(approvals=2, decisions=(decided(Verdict.APPROVE),))).blocks,
        ensure_ascii=False,
    )
    assert "1 of 2 so far" in shown
    assert "Approved by Bob Berger in Slack, 2026-11-23 07:05 UTC" in shown


def test_a_failed_attempt_says_why_and_when_it_is_tried_again() -> None:
    """The thread tells the reason and the next try, and that there is none when there is none."""
    render, whole = Renderer(people(), SEAL), view(journal=(StepState.INTENT, StepState.PENDING))
    data = {"step": "0", "title": "Power off win-01", "state": "intent", "attempt": "1", "why": "vCenter is busy."}
    for next_in, words in (("2", "Next try in 2 s."), ("", "No further try.")):
        said = {**data, "next_in": next_in}
        event = Event(type=EventType.STEP_ATTEMPT_FAILED, change="CHG-0042", actor=ENGINE, at=AT, data=said)
        told = render.told(event, whole)
        assert told is not None
        assert told.text == f"⚠️ Step 1 of 2, Power off win-01: attempt 1 failed. vCenter is busy. {words}"


def test_a_seal_is_this_installations_own() -> None:
    """A button speaks for one change and plan of one ledger, not for the next one of that number in a new home."""
    change = view().change
    value = SEAL(change)
    assert SEAL.gate_of(value, change) == "plan"
    assert Seal("xoxb-other", "passgate.example/test").gate_of(value, change) is None
    assert Seal("xoxb-secret", "passgate.example/other").gate_of(value, change) is None
    for other in (
        {"id": "CHG-0043"},
        {"digest": "sha256:" + "cd" * 32},
        {"created_at": change.created_at + timedelta(microseconds=1)},
    ):
        assert SEAL.gate_of(value, change.model_copy(update=other)) is None
    assert SEAL.gate_of("", change) is None
    assert SEAL.gate_of("é:ü:ß", change) is None


def test_a_seal_is_of_one_gate() -> None:
    """A button for one gate never speaks for another, whatever is written into its value."""
    change = view().change
    plan, gate = SEAL(change), SEAL(change, "host-reboot")
    assert SEAL.gate_of(gate, change) == "host-reboot"
    seals = {value.rpartition(":")[2] for value in (plan, gate, SEAL(change, "guest-reboot"))}
    assert len(seals) == 3
    for seal, at in ((plan, "host-reboot:"), (gate, ""), (gate, "guest-reboot:"), (gate, "plan:")):
        assert SEAL.gate_of(f"{change.id}:{at}{seal.rpartition(':')[2]}", change) is None
