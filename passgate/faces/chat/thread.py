"""Say in a change's thread what happened, one message for each event worth telling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from passgate.faces.chat.directory import Directory
from passgate.faces.chat.text import fit, safe
from passgate.faces.chat.words import MARKS, SYMBOLS, WORDS, View, needs, title, touched, vote, what_next, who
from passgate.model.change import Event, EventType, State, StepState
from passgate.model.decision import Decision, Verdict


@dataclass(frozen=True)
class Told:
    """Hold an event together with what is known of its change and of people."""

    people: Directory
    event: Event
    view: View


def told(people: Directory, event: Event, view: View) -> str:
    """Return what an event has to say, in mrkdwn; nothing when it is not worth a message."""
    teller = _TELLERS.get(event.type)
    return teller(Told(people, event, view)) if teller else ""


def _requested(it: Told) -> str:
    return f"📝 {who(it.people, it.event.actor)} asked for {safe(title(it.view.change), 200)}. The plan is being made."


def _planned(it: Told) -> str:
    plan = it.view.change.plan
    if plan is None:
        return ""
    met = sum(check.met for check in plan.checks)
    todo = len(plan.todo)
    warnings = f", {len(plan.warnings)} with a warning" if plan.warnings else ""
    digest = str(it.event.data.get("digest", ""))[:19]
    return (
        f"📝 *The plan*: {todo} of {len(plan.steps)} steps have something to do; "
        f"{met} of {len(plan.checks)} checks are met{warnings}. Digest {safe(digest)}"
    )


def _decided(it: Told) -> str:
    data = it.event.data
    decision = Decision(
        change=it.view.change.id,
        digest=str(data.get("digest", "")),
        person=str(data.get("person", it.event.actor.person)),
        door=str(data.get("door", it.event.actor.door)),
        verdict=Verdict(data.get("verdict", Verdict.APPROVE)),
        reason=str(data.get("reason") or ""),
        at=it.event.at,
    )
    terms = it.view.change.terms
    approvals = sum(one.verdict is Verdict.APPROVE and one.at <= it.event.at for one in it.view.decisions)
    count = f" ({approvals} of {terms.approvals})" if terms and decision.verdict is Verdict.APPROVE else ""
    return vote(it.people, decision) + count


def _moved(it: Told) -> str:
    """Tell a new state; the requester is called by name at every end (R12), the voters when they are needed."""
    change, to = it.view.change, State(it.event.data.get("to", it.view.change.state))
    why = safe(it.event.data.get("outcome") or it.event.data.get("why") or "", 900)
    if to is State.WAITING and change.terms:
        voters = fit(", ".join(it.people.mention(voter) for voter in change.terms.voters), 2000)
        return f"⏳ {needs(it.people, change, ()).partition(': ')[0]}. Who can decide: {voters}"
    if to.is_end:
        known = "\n".join(line for line in (touched(it.view), what_next(it.view)) if line) if change.state is to else ""
        by = f" by {who(it.people, it.event.actor)}" if it.event.actor.person != "passgate" else ""
        requester = it.people.mention(change.requester.person)
        return f"{SYMBOLS[to]} {requester} *{change.id}: {WORDS[to]}*{by}. {why}\n{known}".strip()
    return f"{SYMBOLS[to]} *{WORDS[to]}*{f'. {why}' if why else ''}"


def _step_begins(it: Told) -> str:
    return f"🔧 {_step_name(it)}"


def _attempt_failed(it: Told) -> str:
    data = it.event.data
    attempt = f"attempt {safe(data['attempt'], 10)}" if "attempt" in data else "an attempt"
    wait = next((data[key] for key in ("next_in", "retry_in") if data.get(key) is not None), None)
    again = f" Next try in {safe(wait, 20)} s." if wait is not None else ""
    return f"⚠️ {_step_name(it)}: {attempt} failed. {_reason(it)}{again}"


def _step_ends(it: Told) -> str:
    state = _step_state(it.event.data.get("state"))
    words = {
        StepState.DONE: "done",
        StepState.NOT_NEEDED: "nothing to do",
        StepState.FAILED: "*failed*",
        StepState.UNKNOWN: "*outcome unknown*",
        StepState.UNDONE: "taken back",
    }.get(state, "ended")
    saw = safe(it.event.data.get("saw") or it.event.data.get("words") or "", 900)
    seen = f" Seen: {saw}" if saw else ""
    error = f" {_reason(it)}" if state in {StepState.FAILED, StepState.UNKNOWN} else ""
    return f"{MARKS[state]}{_step_name(it)}: {words}.{seen}{error}"


def _undo_begins(it: Told) -> str:
    return f"⏪ Taking back: {_step_name(it)}"


def _undo_ends(it: Told) -> str:
    saw = safe(it.event.data.get("saw") or it.event.data.get("words") or "", 900)
    undone = _step_state(it.event.data.get("state"), StepState.UNDONE) is StepState.UNDONE
    words = "taken back" if undone else "*could not be taken back*"
    seen = f" Seen: {saw}" if saw else ""
    return f"{'⏪' if undone else '❌'} {_step_name(it)}: {words}.{seen} {_reason(it)}".rstrip()


def _refused(it: Told) -> str:
    return f"🛡️ The gate held: nothing was sent. {_reason(it)}".rstrip()


def _resumed(it: Told) -> str:
    why = safe(it.event.data.get("why") or it.event.data.get("reason") or "", 500)
    return f"▶️ Gone on{f': {why}' if why else ' from the journal'}"


def _proof(it: Told) -> str:
    words = safe(it.event.data.get("words") or it.event.data.get("saw") or "", 1500)
    return f"🔎 *Seen in the guest*: {words}" if words else ""


def _evidence(it: Told) -> str:
    name = str(it.event.data.get("file") or it.event.data.get("path") or it.event.data.get("name") or "")
    file = f": {safe(name.rpartition('/')[2], 200)}" if name else ""
    return f"🗂️ The evidence is written{file}. Check it with `passgate evidence verify`."


_TELLERS: dict[EventType, Callable[[Told], str]] = {
    EventType.REQUESTED: _requested,
    EventType.PLANNED: _planned,
    EventType.DECISION: _decided,
    EventType.STATE: _moved,
    EventType.STEP_INTENT: _step_begins,
    EventType.STEP_ATTEMPT_FAILED: _attempt_failed,
    EventType.STEP_OUTCOME: _step_ends,
    EventType.UNDO_INTENT: _undo_begins,
    EventType.UNDO_OUTCOME: _undo_ends,
    EventType.REFUSED: _refused,
    EventType.RESUMED: _resumed,
    EventType.GUEST_PROOF: _proof,
    EventType.EVIDENCE: _evidence,
}
"""The events that the thread tells. Leases, restore points, reads and keys are for the ledger alone."""


def _step_name(it: Told) -> str:
    """Return `Step 3 of 6, Power off win-01`; an undo without a place in the plan bears its title alone."""
    index = it.event.data.get("index", it.event.data.get("step"))
    entry = next((entry for entry in it.view.journal if str(entry.index) == str(index)), None)
    named = safe(it.event.data.get("title") or (entry.title if entry else "") or "a step", 200)
    if entry is None:
        return named
    return f"Step {entry.index + 1} of {len(it.view.journal)}, {named}"


def _step_state(value: object, otherwise: StepState = StepState.DONE) -> StepState:
    return StepState(value) if value in {state.value for state in StepState} else otherwise


def _reason(it: Told) -> str:
    words = next((it.event.data[key] for key in ("error", "reason", "why", "message") if it.event.data.get(key)), "")
    return safe(words, 900)
