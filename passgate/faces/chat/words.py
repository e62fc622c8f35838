"""Say what the parent message and its thread both say: states, people, votes, what was touched and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from passgate.faces.chat.directory import Directory
from passgate.faces.chat.text import fit_lines, safe
from passgate.model.change import Actor, Change, Door, Event, Gate, JournalEntry, State, StepState
from passgate.model.decision import PLAN, Decision, Verdict
from passgate.model.review import Review
from passgate.policy.ladder import still_asked
from passgate.policy.opening import Holding
from passgate.policy.votes import ballot_of

SYMBOLS = {
    State.REQUESTED: "📝",
    State.PLANNED: "📝",
    State.WAITING: "⏳",
    State.APPROVED: "👍",
    State.SCHEDULED: "🗓️",
    State.APPLYING: "🔧",
    State.DONE: "✅",
    State.DENIED: "⛔",
    State.EXPIRED: "⌛",
    State.WITHDRAWN: "↩️",
    State.VOID: "🚫",
    State.UNDONE: "⏪",
    State.STOPPED: "🛑",
}
WORDS = {
    State.REQUESTED: "Asked for; the plan is being made",
    State.PLANNED: "Planned",
    State.WAITING: "Waiting for a decision",
    State.APPROVED: "Approved; not started yet",
    State.SCHEDULED: "Approved; starts when its window opens",
    State.APPLYING: "In progress",
    State.DONE: "Done",
    State.DENIED: "Denied",
    State.EXPIRED: "Expired",
    State.WITHDRAWN: "Withdrawn",
    State.VOID: "Void: this plan does not hold any more",
    State.UNDONE: "Undone: what had been done was taken back",
    State.STOPPED: "Stopped: a person is needed",
}
MARKS = {
    StepState.PENDING: "",
    StepState.INTENT: "🔧 ",
    StepState.DONE: "✅ ",
    StepState.NOT_NEEDED: "⏭️ ",
    StepState.FAILED: "❌ ",
    StepState.REFUSED: "❌ ",
    StepState.UNKNOWN: "❓ ",
    StepState.UNDONE: "⏪ ",
}
DOORS = {
    Door.CLI: "at the command line",
    Door.SLACK: "in Slack",
    Door.WEB: "on the web page",
    Door.API: "through the API",
    Door.PREFECT: "in Prefect",
    Door.SCHEDULE: "by a schedule",
    Door.ENGINE: "itself",
}
VOTES = {
    Verdict.APPROVE: ("👍", "Approved"),
    Verdict.DENY: ("⛔", "Denied"),
    Verdict.RETRACT: ("↩️", "Decision taken back"),
}
_TOUCHED = frozenset({StepState.INTENT, StepState.DONE, StepState.FAILED, StepState.UNKNOWN, StepState.UNDONE})


@dataclass(frozen=True)
class View:
    """Hold what is known of a change at one moment, `at`. `moved` is the event that brought its present state.

    `plan_file` is the SHA-256 of the file with the whole plan, once it is in the thread. `review` is that of a broken
    glass. `again` is the change by which it was asked for again. `held` are the freezes that hold it up, and
    that some may override.
    """

    change: Change
    decisions: tuple[Decision, ...] = ()
    journal: tuple[JournalEntry, ...] = ()
    moved: Event | None = None
    at: datetime | None = None
    review: Review | None = None
    plan_file: str = ""
    again: str = ""
    held: tuple[Holding, ...] = ()


def title(change: Change) -> str:
    """Return `CHG-0042 · Attach a USB device to win-01`, not yet made safe."""
    what = change.plan.title if change.plan else change.runbook
    target = change.plan.target if change.plan else ""
    return f"{change.id} · {what}{f' · {target}' if target and target not in what else ''}"


def moment(at: datetime) -> str:
    """Return a time as people and logs both read it."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def who(people: Directory, actor: Actor) -> str:
    """Say who did it, and by which door."""
    return f"{people.name(actor.person)} {DOORS[actor.door]}"


def asked_at(
    people: Directory, change: Change, decisions: tuple[Decision, ...], at: datetime, gate: str = PLAN
) -> tuple[str, ...]:
    """Return who is called to decide at that moment: in place of those who are away, those who stand in for them."""
    asked = ballot_of(change, gate, decisions)
    return still_asked(asked, decisions, people.people, gate=gate, digest=change.digest or "", now=at)


def others(people: Directory, change: Change, gate: str) -> Iterator[str]:
    """Say who decides in whose place, and who may decide later: from when on, so that it stays right."""
    asked = ballot_of(change, gate, ())
    for one in asked.stand_ins:
        if one.of in asked.voters:
            span = f"from {moment(one.since)} until {moment(one.until)}"
            yield f"{people.name(one.person)} decides in the place of {people.name(one.of)} {span}."
    for later in asked.asked.escalations:
        if asked.opened_at is not None:
            groups = " and ".join(safe(group, 60) for group in later.groups)
            yield f"From {moment(asked.opened_at + later.after)} on {groups} too: {people.names(later.voters)}."


def waits_at(change: Change, gate: Gate) -> str:
    """Say before which step a change waits, or waited, at a second gate."""
    step = next((one for one in (change.plan.steps if change.plan else ()) if one.index == gate.step), None)
    before = f"step {gate.step + 1}{f', {safe(step.title, 200)}' if step else ''}"
    return f"the gate *{safe(gate.name, 64)}*, before {before}"


def vote(people: Directory, decision: Decision) -> str:
    """Say who decided what, when, where and why."""
    mark, word = VOTES[decision.verdict]
    where = DOORS[Door(decision.door)] if decision.door in set(Door) else f"by {safe(decision.door, 20)}"
    reason = f": “{safe(decision.reason, 500)}”" if decision.reason else ""
    at = "" if decision.gate == PLAN else f" at the gate {safe(decision.gate, 64)}"
    until = f" until {moment(decision.standing_until)}" if decision.standing_until else ""
    stands = f", given on {safe(decision.standing_from, 20)}" if decision.standing_from else ""
    standing = f" (stands for later runs of the schedule{until}{stands})" if until or stands else ""
    return f"{mark} {word}{at} by {people.name(decision.person)} {where}, {moment(decision.at)}{reason}{standing}"


def touched(view: View) -> str:
    """Say what was done and what was not, from the journal alone."""
    begun = [entry for entry in view.journal if entry.state in _TOUCHED]
    if not begun:
        return "" if view.change.state is State.DONE else "No step was begun."
    if view.change.state is State.DONE:
        return ""
    return fit_lines(
        [
            f"{MARKS[entry.state]}{entry.index + 1}. {safe(entry.title, 120)}: {_standing(entry, view.change)}"
            for entry in view.journal
        ],
        1500,
        more="… and {left} more steps",
    )


def no_longer_holds(entry: JournalEntry, change: Change) -> bool:
    """Say whether what a step saw was so only until the rest was taken back: of a step that only looked."""
    return change.state is State.UNDONE and entry.state is StepState.DONE


def _standing(entry: JournalEntry, change: Change) -> str:
    if no_longer_holds(entry, change):
        return "was so until it was taken back"
    words = {
        StepState.PENDING: "not begun",
        StepState.INTENT: "begun; whether it took effect is not known",
        StepState.NOT_NEEDED: "nothing to do",
        StepState.REFUSED: "refused before anything was sent",
    }.get(entry.state, entry.state.value)
    detail = safe(entry.error or entry.saw, 300)
    return f"{words}{f' ({detail})' if detail else ''}"


def what_next(view: View) -> str:
    """Say what a person does next, where something is to be done."""
    change = view.change
    ask_again = f"If it is still wanted, ask again: `passgate again {change.id}`."
    if view.again:
        ask_again = f"It was asked for again as {view.again}."
    begun = any(entry.state in _TOUCHED for entry in view.journal)
    return {
        State.STOPPED: f"*What to do*: look at the steps above and at `passgate show {change.id}`, put right what is "
        "unknown or failed by hand, then ask for a new change for what is left.",
        State.EXPIRED: ask_again,
        State.VOID: ask_again if not begun else f"*What to do*: look at `passgate show {change.id}`. {ask_again}",
        State.UNDONE: f"Find the cause of the failed step before asking again: `passgate show {change.id}`.",
    }.get(change.state, "")
