"""Draw the dialogs that ask for a change: which runbook, its form, and what came of it. Pure: facts in, views out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from passgate.engine.steps import Runbook
from passgate.faces.chat import form
from passgate.faces.chat.text import fit, plain, safe
from passgate.model.plan import Risk

View = dict[str, Any]
Block = dict[str, Any]

PICK_MODAL = "passgate_pick"
ASK_MODAL = "passgate_ask"
PICK_BLOCK = "runbook"
TITLE = "Request a change"
WORDS = 2900
RISKS = {
    Risk.READ_ONLY: "only looks",
    Risk.LOW: "low risk",
    Risk.DISRUPTIVE: "disruptive: a VM or somebody's device may be away for a while",
    Risk.HOST_WIDE: "host-wide: a whole host may be away for a while",
}


@dataclass(frozen=True)
class Filled:
    """Hold a form as it was filled in, what is wrong with it by field, and what is to be said above it."""

    given: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    above: str = ""


EMPTY = Filled()


def pick(runbooks: Sequence[Runbook[Any]], where: str) -> View:
    """Return the dialog that asks which runbook; `where` is the channel that it was opened in, and comes back."""
    shown = runbooks[: form.MOST_OPTIONS]
    left = len(runbooks) - len(shown)
    more = f"\n{left} more are not in the list: `/passgate` and the name of the runbook opens any." if left else ""
    select = {
        "type": "static_select",
        "action_id": form.INPUT,
        "placeholder": _plain("Choose a runbook", 150),
        "options": [form.option(one.slug, one.title, f"{one.slug}: {RISKS[one.risk]}") for one in shown],
    }
    return {
        **_modal(PICK_MODAL, {"channel": where}, submit="Next"),
        "blocks": [
            _section(f"What shall be done? Nothing is touched before the plan is shown and approved.{more}"),
            {"type": "input", "block_id": PICK_BLOCK, "label": _plain("Runbook", 150), "element": select},
        ],
    }


def ask(runbook: Runbook[Any], where: str, filled: Filled = EMPTY) -> View:
    """Return a runbook's form."""
    above = [_section(filled.above)] if filled.above else []
    about = runbook.description.partition("\n\n")[0]
    head = f"*{safe(runbook.title, 300)}*\n{safe(about, 600)}" if about else f"*{safe(runbook.title, 300)}*"
    small = {"type": "context", "elements": [_mrkdwn(f"runbook {safe(runbook.slug, 80)} · {RISKS[runbook.risk]}")]}
    return {
        **_modal(ASK_MODAL, {"channel": where, "runbook": runbook.slug}, submit="Ask for it"),
        "blocks": [*above, _section(head), small, *form.inputs(runbook, filled.given, filled.notes)],
    }


def planning(runbook: Runbook[Any]) -> View:
    """Return what stands in the dialog while the estate is read and the plan is made."""
    words = (
        f"⏳ *Planning…* {safe(runbook.title, 200)}\nThe estate is read, and the plan and its checks are made. "
        "What comes of it shows here; you may close this, and are told all the same."
    )
    return {**_modal("passgate_planning", {}), "blocks": [_section(words)]}


def said(words: str) -> View:
    """Return a dialog that only tells something."""
    return {**_modal("passgate_said", {}), "blocks": [_section(fit(words, WORDS))]}


def place(view: Mapping[str, Any]) -> dict[str, str]:
    """Return what we wrote into a dialog for ourselves; nothing of one that we did not make."""
    try:
        found = json.loads(view.get("private_metadata") or "{}")
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _modal(callback: str, kept: dict[str, str], submit: str = "") -> View:
    return {
        "type": "modal",
        "callback_id": callback,
        "private_metadata": json.dumps(kept),
        "title": _plain(TITLE, 24),
        "close": _plain("Close", 24),
        **({"submit": _plain(submit, 24)} if submit else {}),
    }


def _section(text: str) -> Block:
    return {"type": "section", "text": _mrkdwn(text)}


def _mrkdwn(text: str) -> Block:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _plain(text: str, longest: int) -> Block:
    return {"type": "plain_text", "text": plain(text, longest), "emoji": False}
