"""Say in Slack's blocks, and in text, what is known of a change. Pure: records in, messages out.

The parent message is a function of the present state. The thread has one message for each event worth telling. Both
say only what the records say; every word from outside goes through `text.safe`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from passgate.faces.chat import hurry
from passgate.faces.chat.buttons import again_block, decide_block, stands_for
from passgate.faces.chat.directory import Directory
from passgate.faces.chat.elsewhere import elsewhere
from passgate.faces.chat.overriding import held_up, override_block
from passgate.faces.chat.plan_file import name_of
from passgate.faces.chat.reviewing import review_block
from passgate.faces.chat.schedules import of_schedule
from passgate.faces.chat.seats import needs
from passgate.faces.chat.text import fit, fit_lines, plain, safe
from passgate.faces.chat.thread import told
from passgate.faces.chat.words import (
    MARKS,
    SYMBOLS,
    WORDS,
    View,
    asked_at,
    moment,
    no_longer_holds,
    title,
    touched,
    vote,
    waits_at,
    what_next,
    who,
)
from passgate.model.change import Change, Event, EventType, Gate, GateState, JournalEntry, State, StepState
from passgate.model.decision import PLAN, GlassBroken
from passgate.model.plan import Plan, PlannedStep
from passgate.policy.explain import span_words

Block = dict[str, Any]

SECTION = 2900
HEADLINE, IMPACT, WARNINGS = 2000, 1800, 1800
"""Characters of the parts of a parent message: together with steps, outcome and buttons they stay below 13,200, where
Slack says msg_blocks_too_long."""
TEXT = 3500
HEADER = 150


@dataclass(frozen=True)
class Message:
    """Hold a message in both forms; Slack shows `text` in notifications and wherever blocks can't be shown."""

    text: str
    blocks: tuple[Block, ...]

    @property
    def digest(self) -> str:
        """Return what tells this rendering from another."""
        return hashlib.sha256(json.dumps([self.text, self.blocks], sort_keys=True).encode()).hexdigest()

    @property
    def minimal(self) -> str:
        """Return the text alone, for when Slack refuses the blocks."""
        return fit(self.text, 1000)


@dataclass(frozen=True)
class Renderer:
    """Render views and events. `seal` makes the value of a button of a gate, which only this installation can make."""

    people: Directory
    seal: Callable[[Change, str], str]

    def parent(self, view: View) -> Message:
        """Return the one message of a change in the channel."""
        change, plan = view.change, view.change.plan
        body = [
            _section(fit(self._headline(view), HEADLINE)),
            *(
                [_section(_impact(plan, ended=change.state.is_end)), _section(_steps(change, plan, view.journal))]
                if plan
                else []
            ),
            *([_section(_warnings(plan))] if plan and plan.warnings else []),
            *([_section(self._outcome(view))]),
        ]
        blocks = (
            {"type": "header", "text": _plain(title(change), HEADER)},
            *body,
            *([_whole_plan(view)] if view.plan_file else []),
            {"type": "context", "elements": [_mrkdwn(_small_print(change))]},
            *self._buttons(view, PLAN),
            *([block] if (block := override_block(view, self.seal)) else []),
            *([block] if (block := review_block(view, self.seal)) else []),
            *([block] if (block := again_block(change, view.again, self.seal)) else []),
        )
        decide = _how(change, PLAN) if change.state is State.WAITING else ""
        summary = f"{SYMBOLS[change.state]} {safe(title(change), 150)} · {WORDS[change.state]}."
        return Message(fit(f"{summary} {_one_line(self._outcome(view))}{decide}", TEXT), blocks)

    def told(self, event: Event, view: View) -> Message | None:
        """Return the thread message for an event, or None when it is not worth one."""
        if event.type is EventType.GATE_OPENED:
            return self.gate(view, str(event.data.get("gate", "")))
        words = told(self.people, event, view)
        if not words:
            return None
        words = fit(words, SECTION)
        return Message(words, (_section(words),))

    def of_schedule(self, event: Event) -> Message | None:
        """Return the message in the channel for an event of a schedule, or None when it is not worth one."""
        words = of_schedule(self.people, event)
        return Message(fit(words, TEXT), (_section(fit(words, SECTION)),)) if words else None

    def gate(self, view: View, name: str) -> Message | None:
        """Return the one message of a second gate, in the change's thread; None where the change never came to it.

        It shows the gate as it is now: what it needs and the buttons while it is open, and then what came of it.
        """
        change, gate = view.change, view.change.gate(name)
        if gate is None:
            return None
        votes = [vote(self.people, one) for one in view.decisions if one.gate == name]
        opened = change.open_gate == gate
        if opened:
            voters = self._asked_at(view, name)
            head = f"🚧 {title(change).partition(' · ')[0]} waits at {waits_at(change, gate)}."
            needed = needs(self.people, change, view.decisions, name, view.at)
            lines = [head, needed, *votes, f"Who can decide: {voters}"]
            lines.append(f"By {moment(gate.approve_by)}; after that, what was done is taken back.")
        else:
            settled = f", {moment(gate.settled_at)}" if gate.settled_at else ""
            mark = "👍" if gate.state is GateState.PASSED else "⛔"
            lines = [f"{mark} {change.id} was at {waits_at(change, gate)}: *{gate.state}*{settled}.", *votes]
            lines.append(safe(gate.why, 900))
        words = fit_lines(lines, SECTION, more="… and {left} more")
        buttons = self._buttons(view, name) if opened else ()
        decide = _how(change, name) if opened else ""
        impact = [_section(line) for line in (self._gate_impact(change, gate) if opened else ()) if line]
        return Message(fit(f"{_one_line(words)}{decide}", TEXT), (_section(words), *impact, *buttons))

    def _asked_at(self, view: View, name: str) -> str:
        """Call those by name who may decide at a gate."""
        change = view.change
        if change.terms is None:
            return ""
        gate = change.gate(name)
        at = gate.opened_at if gate else change.created_at
        on_plan = tuple(one for one in view.decisions if one.gate == PLAN)
        return self.people.mentions(asked_at(self.people, change, on_plan, at, name))

    @staticmethod
    def _gate_impact(change: Change, gate: Gate) -> tuple[str, ...]:
        steps = change.plan.steps[gate.step :] if change.plan else ()
        lines = [f"• {safe(step.impact, 400)}" for step in steps if step.impact]
        return (fit_lines(["*Impact of what follows*", *lines], SECTION, more="… and {left} more"),) if lines else ()

    def _headline(self, view: View) -> str:
        """Say the state, who asked, why, and for which ticket."""
        change = view.change
        ticket = f" · ticket {safe(change.ticket, 100)}" if change.ticket else ""
        why = f"\nWhy: “{safe(change.reason, 500)}”" if change.reason else "\nNo reason was given."
        kind = hurry.head(change.terms.kind if change.terms else None)
        return (
            f"{f'{kind} · ' if kind else ''}{SYMBOLS[change.state]} *{WORDS[change.state]}*{_progress(view)}\n"
            f"Asked for by {who(self.people, change.requester)}, {moment(change.created_at)}{ticket}{why}"
        )

    def _outcome(self, view: View) -> str:
        """Say what is needed, or what came of it: this stands in place of the buttons once there is a decision."""
        change = view.change
        lines = [vote(self.people, decision) for decision in view.decisions]
        if change.state in {State.PLANNED, State.WAITING} and change.terms and change.terms.requirements:
            lines.insert(0, needs(self.people, change, view.decisions, at=view.at))
        if change.state is State.WAITING and (longest := stands_for(change)):
            lines.append(
                f"🔁 Of the schedule *{safe(change.schedule, 64)}*: an approval may stand for its later runs with this "
                f"very plan, for {span_words(longest)} at the longest."
            )
        lines += held_up(view)
        if change.terms and change.terms.break_glass:
            lines.append(self._broken(change.terms.break_glass))
        if change.terms and change.terms.pre_authorised:
            lines.append(f"Pre-authorised by the policy “{safe(change.terms.policy, 80)}”: no approval is needed.")
        if change.open_gate:
            lines.append(f"🚧 Waits at {waits_at(change, change.open_gate)}: decide in the thread.")
        if change.state.is_end:
            lines.append(self._end(view))
        return fit_lines(lines or ["No decision is asked for yet."], SECTION, more="… and {left} more")

    def _broken(self, glass: GlassBroken) -> str:
        """Say who answers for a change that nobody approved, and who looks at it afterwards."""
        reviewers = self.people.names(glass.reviewers)
        return f"🔨 Begun without approval by {self.people.name(glass.by)}; reviewed afterwards by one of {reviewers}."

    def _end(self, view: View) -> str:
        """Say how it ended, what was and was not touched, and what a person does next."""
        change = view.change
        when = f", {moment(change.ended_at)}" if change.ended_at else ""
        by = f" by {who(self.people, view.moved.actor)}" if view.moved and view.moved.actor.person != "passgate" else ""
        said = change.outcome or (str(view.moved.data.get("why", "")) if view.moved else "")
        outcome = f"\n{safe(said, 900)}" if said else ""
        ending = f"{SYMBOLS[change.state]} *{WORDS[change.state]}*{by}{when}{outcome}"
        return "\n".join(line for line in (ending, touched(view), what_next(view)) if line)

    def _buttons(self, view: View, gate: str) -> tuple[Block, ...]:
        block = decide_block(view.change, gate, view.decisions, self.seal)
        return (block,) if block else ()


def _how(change: Change, gate: str) -> str:
    """Say how to decide, for who reads the text alone."""
    at = "" if gate == PLAN else f" --gate {gate}"
    return f" {elsewhere(change, gate) or f'Decide here, or with: passgate approve {change.id}{at}'}"


def _impact(plan: Plan, *, ended: bool) -> str:
    """Say what others lose; the plan can't know for how long, and says so."""
    lines = [f"• {safe(line, 400)}" for line in plan.impact]
    if not lines:
        return "*Impact of the plan*\nIt names nothing that anybody loses."
    if not ended:
        lines.append("• For how long is not known beforehand.")
    return fit_lines(["*Impact of the plan*", *lines], IMPACT, more="… and {left} more")


def _steps(change: Change, plan: Plan, journal: tuple[JournalEntry, ...]) -> str:
    """List the steps: what each is to change, and what came of it once it was begun."""
    entries = {entry.index: entry for entry in journal}
    lines = [_step_line(step, entries.get(step.index), change) for step in plan.steps]
    more = f"… and {{left}} more steps; all of them: `passgate show {change.id}`"
    return fit_lines(["*Steps*", *lines], SECTION, more=more)


def _step_line(step: PlannedStep, entry: JournalEntry | None, change: Change) -> str:
    """Say what a step will change; once it is done, what was seen of it in place of what was expected."""
    state = entry.state if entry else StepState.PENDING
    stops = bool(step.gate and change.terms and step.gate in change.terms.gates and state is StepState.PENDING)
    gate = f"🚧 behind the gate {safe(step.gate, 64)}: " if stops else ""
    name = f"{step.index + 1}. {MARKS[state]}{gate}{safe(step.title, 200)}"
    if not step.needed:
        return f"{name}: nothing to do, {safe(step.before, 200)}"
    if entry and no_longer_holds(entry, change):
        return f"{name}: was so until it was taken back"
    if entry and state is StepState.DONE and entry.saw:
        return f"{name}: {safe(entry.saw, 300)}"
    return f"{name}: {safe(step.before, 200)} → {safe(step.after, 200)}" if step.mutates else name


def _warnings(plan: Plan) -> str:
    """List the checks that are not met and that who decides may live with."""
    lines = [
        f"⚠️ {safe(check.rule, 300)}: {safe(check.saw, 300)} ({safe(check.code, 40)}){f'. {hint}' if hint else ''}"
        for check in plan.warnings
        for hint in [safe(check.hint, 200)]
    ]
    return fit_lines(lines, WARNINGS, more="… and {left} more warnings")


def _whole_plan(view: View) -> Block:
    """Name the file in the thread, where the plan is longer than a message; only once Slack has it."""
    words = f"📄 The whole plan is in this thread: {name_of(view.change)}, SHA-256 {safe(view.plan_file, 64)}"
    return {"type": "context", "elements": [_mrkdwn(words)]}


def _small_print(change: Change) -> str:
    parts = [f"runbook {safe(change.runbook, 60)}"]
    if change.plan:
        met = sum(check.met for check in change.plan.checks)
        parts += [f"risk {change.plan.risk}", f"{met} of {len(change.plan.checks)} checks met"]
    if change.digest:
        parts.append(f"plan {change.digest[:19]}")
    if change.approve_by and change.state in {State.PLANNED, State.WAITING}:
        parts.append(f"approve by {moment(change.approve_by)}")
    if change.starts_at and change.state is State.SCHEDULED:
        parts.append(f"starts at {moment(change.starts_at)}")
    parts += [f"freeze {safe(one.freeze, 64)} overridden by {safe(one.person, 64)}" for one in change.overrides]
    if change.execute_by and change.state in {State.APPROVED, State.SCHEDULED}:
        parts.append(f"approval good until {moment(change.execute_by)}")
    return " · ".join(parts)


def _progress(view: View) -> str:
    """Say how far the steps are, once they were begun."""
    done = sum(entry.state in {StepState.DONE, StepState.NOT_NEEDED} for entry in view.journal)
    return f": {done} of {len(view.journal)} steps" if view.journal and view.change.state is State.APPLYING else ""


def _one_line(text: str) -> str:
    return " ".join(text.replace("*", "").split())


def _section(text: str) -> Block:
    return {"type": "section", "text": _mrkdwn(text)}


def _mrkdwn(text: str) -> Block:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _plain(text: str, longest: int) -> Block:
    return {"type": "plain_text", "text": plain(text, longest), "emoji": False}
