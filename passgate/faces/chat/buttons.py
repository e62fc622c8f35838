"""Draw the buttons by which people decide, what they confirm, and the dialog that asks for a reason. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from passgate.faces.chat.elsewhere import elsewhere
from passgate.faces.chat.text import plain, safe
from passgate.faces.chat.words import title
from passgate.model.change import Change, State
from passgate.model.decision import PLAN, Decision, Verdict
from passgate.policy.votes import standing

Block = dict[str, Any]

APPROVE = "passgate_approve"
DENY = "passgate_deny"
STAND = "passgate_stand"
"""Approves for later runs of a schedule too."""
RETRACT = "passgate_retract"
VERDICTS = {APPROVE: Verdict.APPROVE, STAND: Verdict.APPROVE, DENY: Verdict.DENY, RETRACT: Verdict.RETRACT}
DENY_MODAL, APPROVE_MODAL, STAND_MODAL = "passgate_deny_reason", "passgate_approve_reason", "passgate_stand_reason"
REASON_MODALS = {DENY_MODAL: Verdict.DENY, APPROVE_MODAL: Verdict.APPROVE, STAND_MODAL: Verdict.APPROVE}
REASON_BLOCK, REASON_INPUT = "reason", "text"
UNTIL_BLOCK, UNTIL_INPUT = "until", "day"
AGAIN = "passgate_again"
AT_AGAIN = "@again"
"""What the value of that button is sealed for; no gate can be called so."""
CAME_TO_NOTHING = frozenset({State.VOID, State.EXPIRED})
"""Ends after which nobody said no: Slack offers to ask again."""
BUTTON, CONFIRM_TITLE, CONFIRM_TEXT, CONFIRM_BUTTON = 75, 100, 300, 30
REASON = 500


def decide_block(
    change: Change,
    gate: str,
    decisions: Collection[Decision],
    seal: Callable[[Change, str], str],
    block_id: str = "decide",
) -> Block | None:
    """Return the buttons of a gate as it is now, or where else it is decided; None where there is nothing to decide."""
    waits = change.state is State.WAITING if gate == PLAN else _at(change, gate)
    if other := elsewhere(change, gate):
        text = {"type": "mrkdwn", "text": f"🔒 {other}", "verbatim": True}
        return {"type": "section", "block_id": block_id, "text": text} if waits else None
    votes = standing(decisions, gate=gate, digest=change.digest or "").values()
    given = {one.verdict for one in votes}
    value = seal(change, gate)
    longer = [_stand(value)] if gate == PLAN and stands_for(change) else []
    elements = [_approve(change, gate, value), *longer, _deny(value)] if waits else []
    if given and (waits or (gate == PLAN and change.state in {State.APPROVED, State.SCHEDULED})):
        elements.append(_retract(change, value, Verdict.APPROVE if Verdict.APPROVE in given else Verdict.DENY))
    return {"type": "actions", "block_id": block_id, "elements": elements} if elements else None


def again_block(
    change: Change, again: str, seal: Callable[[Change, str], str], block_id: str = "again"
) -> Block | None:
    """Return the button that asks again for what came to nothing; None once it was, by the change `again`."""
    if change.state not in CAME_TO_NOTHING or again:
        return None
    asked = "The same is asked for in your name, and planned and decided anew. You can't approve it."
    button = {
        "type": "button",
        "action_id": AGAIN,
        "text": _plain("Ask again", BUTTON),
        "value": seal(change, AT_AGAIN),
        "confirm": _confirm(f"Ask for {change.id} again?", asked, "Ask again"),
    }
    return {"type": "actions", "block_id": block_id, "elements": [button]}


def stands_for(change: Change) -> timedelta | None:
    """Return for how long an approval of that change's plan may stand for later runs of its schedule, if it may."""
    return change.terms.standing if change.schedule and change.terms else None


def reason_modal(change: Change, gate: str, verdict: Verdict, value: str, until: date | None = None) -> dict[str, Any]:
    """Return the dialog that asks for the reason of a decision; `value` comes back with it.

    With `until`, the last day that there may be, it asks too until when an approval stands for later runs.
    """
    deny = verdict is Verdict.DENY
    callback = DENY_MODAL if deny else STAND_MODAL if until else APPROVE_MODAL
    asked = "The reason goes to who asked and into the record."
    wants = "Policy wants a reason for an approval too. "
    if until:
        wants = (
            f"It counts for each later run of the schedule *{safe(change.schedule, 64)}* with this very plan, as long "
            f"as you say; any other plan is asked for anew. `passgate schedule revoke {safe(change.schedule, 64)}` "
            "ends it. "
        )
    more = "" if deny else f"\n{safe(_effect(change, gate), 1500)}\n{wants}"
    asks = Question(
        f"{'Deny' if deny else 'Approve'} {change.id}",
        f"*{safe(title(change), 200)}*{more or chr(10)}{asked}",
        "Why not?" if deny else "Why is it right?",
        "Deny" if deny else "Approve",
    )
    return reason_view(callback, value, asks, [_until(until)] if until else [])


@dataclass(frozen=True)
class Question:
    """Hold what a dialog says that asks for words: its title, its text in mrkdwn, the label, and the button."""

    title: str
    text: str
    label: str
    submit: str


def reason_view(callback: str, kept: str, asks: Question, before: Sequence[Block] = ()) -> dict[str, Any]:
    """Return a dialog that asks for words; `kept` comes back with them, `before` stands before their input."""
    return {
        "type": "modal",
        "callback_id": callback,
        "private_metadata": kept,
        "title": _plain(asks.title, 24),
        "submit": _plain(asks.submit, 24),
        "close": _plain("Back", 24),
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": asks.text}},
            *before,
            {
                "type": "input",
                "block_id": REASON_BLOCK,
                "label": _plain(asks.label, 100),
                "element": {
                    "type": "plain_text_input",
                    "action_id": REASON_INPUT,
                    "multiline": True,
                    "min_length": 3,
                    "max_length": REASON,
                },
            },
        ],
    }


def _at(change: Change, gate: str) -> bool:
    return change.open_gate is not None and change.open_gate.name == gate


def _approve(change: Change, gate: str, value: str) -> Block:
    """Return Approve, with what it does to confirm; where a reason is asked for, its dialog does that."""
    button = {"type": "button", "action_id": APPROVE, "text": _plain("Approve", BUTTON), "style": "primary"}
    if change.terms is not None and change.terms.asked_at(gate).reason_required:
        return {**button, "value": value}
    return {**button, "value": value, "confirm": _confirm(f"Approve {change.id}?", _effect(change, gate), "Approve")}


def _effect(change: Change, gate: str) -> str:
    """Say what an approval lets happen. What is overridden comes before the impact: that is cut where room ends."""
    at, plan = change.gate(gate), change.plan
    todo = plan.steps[at.step :] if plan and at else ()
    impact = "; ".join(step.impact for step in todo if step.impact) if at else "; ".join(plan.impact if plan else ())
    codes = ", ".join(check.code for check in plan.warnings) if plan and not at else ""
    overrides = f" You override warnings: {codes}." if codes else ""
    return f"Passgate carries {'the rest of ' if at else ''}the plan out as it is shown.{overrides} {impact}"


def _until(last: date) -> Block:
    """Return the input for the last day of an approval that stands."""
    return {
        "type": "input",
        "block_id": UNTIL_BLOCK,
        "label": _plain("Until when?", 100),
        "hint": _plain(f"Until the end of that day in UTC; {last} at the latest.", 100),
        "element": {"type": "datepicker", "action_id": UNTIL_INPUT, "initial_date": last.isoformat()},
    }


def _stand(value: str) -> Block:
    text = _plain("Approve for later runs too", BUTTON)
    return {"type": "button", "action_id": STAND, "text": text, "value": value}


def _deny(value: str) -> Block:
    return {
        "type": "button",
        "action_id": DENY,
        "text": _plain("Deny", BUTTON),
        "style": "danger",
        "value": value,
    }


def _retract(change: Change, value: str, given: Verdict) -> Block:
    noun = "approval" if given is Verdict.APPROVE else "denial"
    asked = f"Your own {noun} of {change.id} no longer counts, and what hung on it waits again. Others' stay."
    return {
        "type": "button",
        "action_id": RETRACT,
        "text": _plain(f"Take my {noun} back", BUTTON),
        "value": value,
        "confirm": _confirm(f"Take your {noun} back?", asked, "Take it back"),
    }


def _confirm(asked: str, text: str, yes: str) -> Block:
    return {
        "title": _plain(asked, CONFIRM_TITLE),
        "text": _plain(text, CONFIRM_TEXT),
        "confirm": _plain(yes, CONFIRM_BUTTON),
        "deny": _plain("Back", CONFIRM_BUTTON),
    }


def _plain(text: str, longest: int) -> Block:
    return {"type": "plain_text", "text": plain(text, longest), "emoji": False}
