"""Close the review of a broken glass from Slack: a button for each verdict, a dialog for the words, then the desk.

Like a click, what was submitted is kept durably before it is acknowledged. Who may is the engine's to say.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from passgate.connect.slack import Reply
from passgate.errors import PassgateError, RecordError, UnknownNameError, WorldError
from passgate.faces.chat.buttons import BUTTON, REASON, REASON_BLOCK, REASON_INPUT, Block
from passgate.faces.chat.inbox import Inbox
from passgate.faces.chat.text import plain, safe
from passgate.faces.chat.words import View, title
from passgate.model.change import Actor, Change, Door
from passgate.model.frozen import Frozen
from passgate.model.review import Review, ReviewVerdict

if TYPE_CHECKING:
    from passgate.connect.slack import SlackConnector
    from passgate.faces.chat.callers import Callers
    from passgate.faces.chat.clicks import Seal
    from passgate.store.store import Store

log = logging.getLogger(__name__)

KEY = "review:"
"""How the keys of reviews begin in the inbox."""
AT = "@review"
"""What the value of a button is sealed for; no gate can be called so."""
VERDICTS = {
    "passgate_review_justified": ReviewVerdict.JUSTIFIED,
    "passgate_review_not_justified": ReviewVerdict.NOT_JUSTIFIED,
}
"""Buttons, and the dialogs that they open, by their names."""
LABELS = {ReviewVerdict.JUSTIFIED: "It was justified", ReviewVerdict.NOT_JUSTIFIED: "It was not"}
_FOREIGN = "This button was not made by this Passgate for a review of today. Use `passgate review` at a shell."


class Desk(Protocol):
    """What this needs of the engine."""

    async def close_review(self, change_id: str, actor: Actor, verdict: ReviewVerdict, reason: str) -> Review:
        """Close a review, or refuse it with a PassgateError."""


class Submitted(Frozen):
    """Hold one review as it came from Slack."""

    change: str
    verdict: ReviewVerdict
    reason: str
    user: str
    team: str
    channel: str


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


class Reviewing:
    """Open the dialog of a review, and hand what was written in it to the desk."""

    def __init__(
        self,
        connector: SlackConnector,
        store: Store,
        desk: Desk,
        callers: Callers,
        *,
        seal: Seal,
        channel: str,
        longest_pause: float = 30.0,
    ) -> None:
        self._slack, self._store, self._desk, self._callers = connector, store, desk, callers
        self._seal, self._channel = seal, channel
        self.inbox = Inbox(store, lambda key: key.startswith(KEY), self._work, longest_pause=longest_pause)

    async def pressed(self, payload: dict[str, Any], action: dict[str, Any]) -> Reply:
        """Open the dialog for the words; its trigger lives for three seconds."""
        value, name = str(action.get("value", "")), str(action.get("action_id"))
        change = await self._sealed(value)
        user = str((payload.get("user") or {}).get("id", ""))

        async def open_it() -> None:
            if change is None:
                await self._say(user, _FOREIGN)
                return
            try:
                await self._slack.open_modal(str(payload.get("trigger_id")), _modal(change, name, value))
            except WorldError as error:
                log.warning("The dialog of the review of %s did not open: %s", change.id, error.message)
                await self._say(
                    user, f"The dialog did not open. Click again, or use `passgate review close {change.id}`."
                )

        return Reply(then=open_it)

    async def submitted(self, payload: dict[str, Any], view: dict[str, Any]) -> Reply:
        """Keep what a reviewer found."""
        change = await self._sealed(str(view.get("private_metadata", "")))
        values = ((view.get("state") or {}).get("values") or {}).get(REASON_BLOCK) or {}
        words = str((values.get(REASON_INPUT) or {}).get("value") or "").strip()
        wrong = _FOREIGN if change is None else "" if words else "Say what was found: it goes into the record."
        if change is None or wrong:
            return Reply({"response_action": "errors", "errors": {REASON_BLOCK: wrong}})
        user = payload.get("user") or {}
        found = Submitted(
            change=change.id,
            verdict=VERDICTS[str(view.get("callback_id"))],
            reason=words,
            user=str(user.get("id", "")),
            team=str(user.get("team_id") or (payload.get("team") or {}).get("id", "")),
            channel=self._channel,
        )
        await self.inbox.keep(f"{KEY}{change.id}:{found.user}:{view.get('id', '')}", found.model_dump(mode="json"))
        await self.inbox.wake()
        return Reply()

    async def _sealed(self, value: str) -> Change | None:
        """Return the change that a button's value was made for, if we made it for its review."""
        try:
            change = await asyncio.to_thread(self._store.change, value.partition(":")[0])
        except UnknownNameError:
            return None
        return change if self._seal.gate_of(value, change) == AT else None

    async def _work(self, key: str, payload: dict[str, Any]) -> bool:
        """Close one review; False when it has to be tried again later."""
        found = Submitted.model_validate(payload)
        try:
            person = await self._callers.person(found.user, found.team, so="the review was not closed")
            actor = Actor(person=person.id, door=Door.SLACK)
            await self._desk.close_review(found.change, actor, found.verdict, found.reason)
            outcome = "closed"
        except RecordError as error:
            log.warning("The review of %s waits: %s", found.change, error.message)
            return False
        except PassgateError as error:
            if isinstance(error, WorldError) and error.safe_to_repeat:
                log.warning("The review of %s waits: %s", found.change, error.message)
                return False
            outcome = f"refused: {error.message}"
            await self._say(found.user, f"{safe(error.message, 600)} {safe(error.hint, 400)}".strip())
        await asyncio.to_thread(self._store.inbox_done, key, outcome, datetime.now(UTC))
        return True

    async def _say(self, user: str, words: str) -> None:
        try:
            await self._slack.ephemeral(self._channel, user, words)
        except WorldError as error:
            log.warning("A private note did not reach %s: %s", user, error.message)


def _modal(change: Change, name: str, value: str) -> dict[str, Any]:
    asked = "What you found goes to who broke the glass, into the record and into the evidence."
    return {
        "type": "modal",
        "callback_id": name,
        "private_metadata": value,
        "title": _plain(f"Review {change.id}", 24),
        "submit": _plain("Close the review", 24),
        "close": _plain("Back", 24),
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": f"*{safe(title(change), 200)}*\n{asked}"}},
            {
                "type": "input",
                "block_id": REASON_BLOCK,
                "label": _plain(f"{LABELS[VERDICTS[name]]}: why?", 100),
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


def _plain(text: str, longest: int) -> Block:
    return {"type": "plain_text", "text": plain(text, longest), "emoji": False}
