"""Let one change through a freeze from Slack: a button where a freeze holds it up, and a dialog for the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from passgate.faces.chat.buttons import BUTTON, Block, Question
from passgate.faces.chat.dialogue import Act
from passgate.faces.chat.text import plain, safe
from passgate.faces.chat.words import View, moment, title
from passgate.model.change import Actor, Change
from passgate.policy.opening import Holding

KEY = "override:"
OVERRIDE = "passgate_override"
AT = "@freeze:"
"""What the value of a button is sealed for, with the freeze's name behind it; no gate can be called so."""
MOST = 5
"""So many freezes have a button; the others are overridden at a shell."""


class Desk(Protocol):
    """What this needs of the engine."""

    def held_up(self, change: Change) -> tuple[Holding, ...]:
        """Return the freezes that hold a change up now, and that somebody may let it through."""

    def may_override(self, change_id: str, person: str, freeze: str) -> None:
        """Return when that person may let that change through, or refuse it with a PassgateError."""

    async def override(self, change_id: str, actor: Actor, freeze: str, reason: str) -> Change:
        """Let a change through a freeze, or refuse it with a PassgateError."""


def override_block(view: View, seal: Callable[[Change, str], str]) -> Block | None:
    """Return a button for each freeze that holds a change up and that some may override."""
    elements = [
        {
            "type": "button",
            "action_id": f"{OVERRIDE}:{number}",
            "text": _plain(f"Override the freeze {one.name}", BUTTON),
            "value": seal(view.change, f"{AT}{one.name}"),
        }
        for number, one in enumerate(view.held[:MOST])
    ]
    return {"type": "actions", "block_id": "override", "elements": elements} if elements else None


def held_up(view: View) -> list[str]:
    """Say which freezes hold a change up, until when, and who may let it through."""
    return [
        f"🧊 The freeze *{safe(one.name, 64)}*{f' ({safe(one.text, 200)})' if one.text else ''} holds it up"
        f"{f' until {moment(one.until)}' if one.until else ''}. Somebody else of "
        f"{' or '.join(safe(group, 60) for group in one.override)} may let it through, with a reason."
        for one in view.held
    ]


def overrides(desk: Desk) -> Act:
    """Return the act of overriding a freeze; it is about the freeze's name."""
    return Act(
        key=KEY,
        names=tuple(f"{OVERRIDE}:{number}" for number in range(MOST)),
        what=lambda _name, at: at.removeprefix(AT) if at.startswith(AT) else "",
        ask=_question,
        do=desk.override,
        so="the freeze was not overridden",
        command=lambda change, what: f'passgate override {change} --freeze {what} --reason "…"',
        may=desk.may_override,
    )


def _question(change: Change, what: str) -> Question:
    words = (
        f"*{safe(title(change), 200)}*\nThe freeze *{safe(what, 64)}* is overridden for this change alone. "
        "Decisions and windows count as before. The reason goes to who asked and into the record."
    )
    return Question("Override a freeze", words, "Why can't it wait?", "Let it through")


def _plain(text: str, longest: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": plain(text, longest), "emoji": False}
