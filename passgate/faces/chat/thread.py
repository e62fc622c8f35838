"""Say in a change's thread what happened, one message for each event worth telling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from passgate.faces.chat import hurry
from passgate.faces.chat.directory import Directory
from passgate.faces.chat.seats import needs, still
from passgate.faces.chat.text import block, safe
from passgate.faces.chat.words import (
    MARKS,
    SYMBOLS,
    WORDS,
    View,
    asked_at,
    moment,
    title,
    touched,
    vote,
    what_next,
    who,
)
from passgate.ledger.canonical import time_of
from passgate.model.change import Event, EventType, GateState, State, StepState
from passgate.model.decision import PLAN, Decision, Verdict
from passgate.model.table import columns
from passgate.policy.votes import ballot, standing

TABLE = 1600
"""UTF-16 units of a table in the thread: with the words around it, it stays within one section."""


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
    change = it.view.change
    instead = f", in the place of {change.replaces}, which came to nothing" if change.replaces else ""
    return f"📝 {who(it.people, it.event.actor)} asked for {safe(title(change), 200)}{instead}. The plan is being made."


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
        gate=str(data.get("gate") or PLAN),
        person=str(data.get("person", it.event.actor.person)),
        door=str(data.get("door", it.event.actor.door)),
        verdict=Verdict(data.get("verdict", Verdict.APPROVE)),
        reason=str(data.get("reason") or ""),
        at=it.event.at,
        standing_until=time_of(str(data["standing_until"])) if data.get("standing_until") else None,
        standing_from=data.get("standing_from"),
    )
    change = it.view.change
    here = [one for one in it.view.decisions if one.gate == decision.gate and one.at <= it.event.at]
    votes = standing(here, gate=decision.gate, digest=decision.digest).values()
    approvals = sum(one.verdict is Verdict.APPROVE for one in votes)
    asked = ballot(change.terms, decision.gate, "", ()) if change.terms else None
    count = f" ({approvals} of {asked.approvals})" if asked and decision.verdict is Verdict.APPROVE else ""
    codes = ", ".join(safe(code, 40) for code in data.get("overrides") or ())
    said = vote(it.people, decision) + count + (f". Overrides: {codes}" if codes else "")
    open_still = decision.verdict is Verdict.APPROVE and asked is not None and approvals < asked.approvals
    asks = still(it.people, change, tuple(here), decision.gate, it.event.at) if open_still else ""
    return f"{said}\nStill needed: {asks}" if asks else said


def _gate_settled(it: Told) -> str:
    """Tell what became of a second gate; what it asked for stands in its own message, above."""
    data = it.event.data
    state, name = GateState(data.get("state", GateState.OPEN)), safe(data.get("gate") or "", 64)
    if state is GateState.PASSED:
        return f"👍 The gate *{name}* is passed: {_reason(it)}."
    return f"⛔ The gate *{name}* is {state}: {_reason(it)}. What was done is taken back as far as policy says so."


def _moved(it: Told) -> str:
    """Tell a new state; the requester is called by name at every end (R12), the voters when they are needed."""
    change, to = it.view.change, State(it.event.data.get("to", it.view.change.state))
    why = safe(it.event.data.get("outcome") or it.event.data.get("why") or "", 900)
    if hurry.is_emergency_asked(it.event, it.view):
        return hurry.emergency(it.people, it.event, it.view)
    if to is State.WAITING and change.terms:
        voters = it.people.mentions(asked_at(it.people, change, (), it.event.at))
        again = ", ".join(safe(name, 64) for name in change.terms.gates)
        later = f" It waits once more at: {again}." if again else ""
        needed = needs(it.people, change, (), at=it.event.at)
        if len(change.terms.requirements) == 1:
            needed = f"{needed.partition(': ')[0]}."  # its names follow, as calls
        return f"⏳ {needed} Who can decide: {voters}.{later}"
    if to.is_end:
        known = "\n".join(line for line in (touched(it.view), what_next(it.view)) if line) if change.state is to else ""
        by = f" by {who(it.people, it.event.actor)}" if it.event.actor.person != "passgate" else ""
        requester = it.people.mention(change.requester.person)
        return f"{SYMBOLS[to]} {requester} *{change.id}: {WORDS[to]}*{by}. {why}\n{known}".strip()
    return f"{SYMBOLS[to]} *{WORDS[to]}*{_opens(it)}{f': {why}' if why else ''}"


def _rescheduled(it: Told) -> str:
    return f"🗓️ It waits for another opening{_opens(it) or ', and none is in sight'}. {_reason(it)}"


def _opens(it: Told) -> str:
    at = it.event.data.get("starts_at")
    return f" at {moment(datetime.fromisoformat(str(at)))}" if at else ""


def _overridden(it: Told) -> str:
    """Tell of an override aloud: who asked is called by name."""
    freeze, reason = (safe(it.event.data.get(name) or "", 500) for name in ("freeze", "reason"))
    by, requester = who(it.people, it.event.actor), it.people.mention(it.view.change.requester.person)
    return f"🚨 *The freeze {freeze} was overridden* for this change by {by}: {reason}. {requester}"


def _step_begins(it: Told) -> str:
    attempt = str(it.event.data.get("attempt") or "1")
    return f"🔧 {_step_name(it)}{f', attempt {safe(attempt, 10)}' if attempt != '1' else ''}"


def _attempt_failed(it: Told) -> str:
    data = it.event.data
    attempt = f"attempt {safe(data['attempt'], 10)}" if data.get("attempt") else "an attempt"
    again = f"Next try in {safe(data['next_in'], 20)} s." if data.get("next_in") else "No further try."
    return f"⚠️ {_step_name(it)}: {attempt} failed. {_reason(it)} {again}"


def _step_ends(it: Told) -> str:
    state = _step_state(it)
    words = {
        StepState.DONE: "done",
        StepState.NOT_NEEDED: "nothing to do",
        StepState.FAILED: "*failed*",
        StepState.REFUSED: "*refused*; nothing was sent",
        StepState.UNKNOWN: "*outcome unknown*",
        StepState.UNDONE: "taken back",
    }.get(state, "ended")
    error = f" {_reason(it)}" if state in {StepState.FAILED, StepState.REFUSED, StepState.UNKNOWN} else ""
    return f"{MARKS[state]}{_step_name(it)}: {words}.{_seen(it)}{error}{_table(it)}"


def _table(it: Told) -> str:
    """Show the first rows of a table that the step reports, and say where all of it is."""
    table = it.event.data.get("table")
    if not table:
        return ""
    change = it.view.change.id
    names = ", ".join(safe(name, 80) for name in table["files"])
    where = f"All {table['rows']} rows: `passgate evidence fetch {change}` (tables/ in it: {names})"
    if not table["head"]:
        return f"\n{where}"
    shown = block(columns(table["columns"], table["head"]), TABLE, more="… and {left} more lines")
    return f"\n{shown}\n{where}"


def _noticed(it: Told) -> str:
    return f"👀 {safe(it.event.data.get('saw') or '', 1500)}"


def _undo_begins(it: Told) -> str:
    how = safe(it.event.data.get("undo") or "", 200)
    return f"⏪ Taking back: {_step_name(it)}{f'. {how}' if how else ''}"


def _undo_ends(it: Told) -> str:
    if _step_state(it) is StepState.UNDONE:
        return f"⏪ {_step_name(it)}: taken back.{_seen(it)}"
    return f"❌ {_step_name(it)}: *could not be taken back*.{_seen(it)} {_reason(it)}"


def _refused(it: Told) -> str:
    what = " on ".join(safe(it.event.data[key], 200) for key in ("action", "subject") if it.event.data.get(key))
    return f"🛡️ The gate held: {what or 'a call'} was not sent. {_reason(it)}"


def _resumed(it: Told) -> str:
    """Tell of a run that goes on in the middle; that it wakes to look at a decision is not worth a message."""
    applying = it.event.data.get("state") == State.APPLYING
    if applying and it.event.data.get("why"):
        return f"▶️ Gone on: {_reason(it)}"
    return "▶️ Gone on after an interruption: what the journal leaves open is looked at first." if applying else ""


def _held_up(it: Told) -> str:
    """Say why an approved change does not begin, or go on, and for how long it is tried again."""
    if it.event.data.get("state") == State.APPLYING:
        return f"⏳ It can't go on yet, and is tried again. {_reason(it)}"
    until = it.view.change.execute_by
    good = f" until {moment(until)}, as long as the approval is good" if until else ""
    return f"⏳ It can't begin yet, and is tried again{good}. {_reason(it)}"


def _proof(it: Told) -> str:
    saw = safe(it.event.data.get("saw") or "", 1500)
    return f"🔎 {_step_name(it)}. *Seen in the guest*: {saw}" if saw else ""


def _of_its_schedule(it: Told) -> str:
    """Say on a scheduled change what differs from the plan that was approved for longer."""
    return f"📅 Schedule *{safe(it.event.data.get('name') or '', 64)}*: {_reason(it)}."


def _evidence(it: Told) -> str:
    name = str(it.event.data.get("file") or "").rpartition("/")[2]
    return f"🗂️ The evidence is written: {safe(name, 200)}. Anybody can check it: `passgate evidence verify`."


_TELLERS: dict[EventType, Callable[[Told], str]] = {
    EventType.REQUESTED: _requested,
    EventType.PLANNED: _planned,
    EventType.DECISION: _decided,
    EventType.STATE: _moved,
    EventType.RESCHEDULED: _rescheduled,
    EventType.OVERRIDDEN: _overridden,
    EventType.GATE_SETTLED: _gate_settled,
    EventType.REMINDED: lambda it: hurry.reminded(it.people, it.event, it.view),
    EventType.ESCALATED: lambda it: hurry.escalated(it.people, it.event, it.view),
    EventType.REVIEW_OPENED: lambda it: hurry.review_opened(it.people, it.event, it.view),
    EventType.REVIEW_OVERDUE: lambda it: hurry.review_overdue(it.people, it.event, it.view),
    EventType.REVIEW_CLOSED: lambda it: hurry.review_closed(it.people, it.event, it.view),
    EventType.STEP_INTENT: _step_begins,
    EventType.STEP_ATTEMPT_FAILED: _attempt_failed,
    EventType.STEP_OUTCOME: _step_ends,
    EventType.NOTICED: _noticed,
    EventType.UNDO_INTENT: _undo_begins,
    EventType.UNDO_OUTCOME: _undo_ends,
    EventType.REFUSED: _refused,
    EventType.RESUMED: _resumed,
    EventType.HELD_UP: _held_up,
    EventType.GUEST_PROOF: _proof,
    EventType.EVIDENCE: _evidence,
    EventType.OCCURRENCE: _of_its_schedule,
    EventType.MENDS: lambda it: f"🧰 To mend the drift: {_reason(it)}.",
}
"""The events that the thread tells. Leases, restore points, reads and keys are for the ledger alone."""


def _step_name(it: Told) -> str:
    """Return `Step 3 of 6, Power off win-01`."""
    index = str(it.event.data.get("step"))
    entry = next((entry for entry in it.view.journal if str(entry.index) == index), None)
    named = safe(it.event.data.get("title") or (entry.title if entry else "") or "a step", 200)
    return f"Step {entry.index + 1} of {len(it.view.journal)}, {named}" if entry else named


def _step_state(it: Told) -> StepState:
    return StepState(it.event.data.get("state", StepState.UNKNOWN))


def _seen(it: Told) -> str:
    saw = safe(it.event.data.get("saw") or "", 900)
    return f" Seen: {saw.rstrip('.')}." if saw else ""


def _reason(it: Told) -> str:
    return safe(it.event.data.get("why") or "", 900)
