"""Close the review of a broken glass from Slack: a button for each verdict, and a dialog for what was found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from passgate.faces.chat.buttons import BUTTON, Block, Question
from passgate.faces.chat.dialogue import Act
from passgate.faces.chat.text import plain, safe
from passgate.faces.chat.words import View, title
from passgate.model.change import Actor, Change
from passgate.model.review import Review, ReviewVerdict

KEY = "review:"
AT = "@review"
"""What the value of a button is sealed for; no gate can be called so."""
VERDICTS = {
    "passgate_review_justified": ReviewVerdict.JUSTIFIED,
    "passgate_review_not_justified": ReviewVerdict.NOT_JUSTIFIED,
}
"""Buttons, and the dialogs that they open, by their names."""
LABELS = {ReviewVerdict.JUSTIFIED: "It was justified", ReviewVerdict.NOT_JUSTIFIED: "It was not"}


class Desk(Protocol):
    """What this needs of the engine."""

    async def close_review(self, change_id: str, actor: Actor, verdict: ReviewVerdict, reason: str) -> Review:
        """Close a review, or refuse it with a PassgateError."""


def review_block(view: View, seal: Callable[[Change, str], str]) -> Block | None:
    """Return the buttons of a review that can be closed now."""
    if view.review is None or not view.review.is_open or not view.change.state.is_end:
        return None
    value = seal(view.change, AT)
    elements = [
        {"type": "button", "action_id": name, "text": _plain(LABELS[verdict], BUTTON), "value": value}
        for name, verdict in VERDICTS.items()
    ]
    return {"type": "actions", "block_id": "review", "elements": elements}


def reviews(desk: Desk) -> Act:
    """Return the act of closing a review; it is about a verdict."""
    return Act(
        key=KEY,
        names=tuple(VERDICTS),
        what=lambda name, at: VERDICTS[name].value if at == AT else "",
        ask=_question,
        do=lambda change, actor, what, reason: desk.close_review(change, actor, ReviewVerdict(what), reason),
        so="the review was not closed",
        command=lambda change, _what: f"passgate review close {change}",
    )


def _question(change: Change, what: str) -> Question:
    asked = "What you found goes to who broke the glass, into the record and into the evidence."
    label = f"{LABELS[ReviewVerdict(what)]}: why?"
    return Question(f"Review {change.id}", f"*{safe(title(change), 200)}*\n{asked}", label, "Close the review")


def _plain(text: str, longest: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": plain(text, longest), "emoji": False}
