"""Take what Slack delivers to whom it concerns, by its kind and name; what concerns nobody passes by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from passgate.connect.slack import Envelope, Reply
from passgate.faces.chat.buttons import AGAIN, REASON_MODALS, VERDICTS
from passgate.faces.chat.commands import COMMAND, SHORTCUT
from passgate.faces.chat.dialogs import ASK_MODAL, PICK_MODAL
from passgate.faces.chat.home_view import REQUEST

if TYPE_CHECKING:
    from passgate.faces.chat.asking import Asking
    from passgate.faces.chat.clicks import Clicks
    from passgate.faces.chat.commands import Commands
    from passgate.faces.chat.dialogue import Dialogue
    from passgate.faces.chat.home import Homes

Payload = dict[str, Any]


class Reception:
    """Answer each delivery: kept where it must not be lost, acknowledged at once, worked on afterwards."""

    def __init__(
        self, clicks: Clicks, asking: Asking, commands: Commands, homes: Homes, dialogues: Sequence[Dialogue]
    ) -> None:
        self._dialogues = {name: one for one in dialogues for name in one.act.names}
        self._clicks, self._asking, self._commands, self._homes = clicks, asking, commands, homes
        self._interactive: dict[str, Callable[[Payload], Awaitable[Reply]]] = {
            "block_actions": self._pressed,
            "view_submission": self._submitted,
            "shortcut": self._shortcut,
        }

    async def take(self, envelope: Envelope) -> Reply:
        """Return what goes out with the acknowledgement, and what is done once it is sent."""
        payload = envelope.payload
        match envelope.type:
            case "interactive" if answer := self._interactive.get(str(payload.get("type"))):
                return await answer(payload)
            case "slash_commands" if payload.get("command") == COMMAND:
                return await self._commands.slash(payload)
            case "events_api":
                return self._homes.heard(payload.get("event") or {})
        return Reply()

    async def _pressed(self, payload: Payload) -> Reply:
        for action in payload.get("actions") or ():
            if action.get("action_id") in VERDICTS:
                return await self._clicks.pressed(payload, action)
            if dialogue := self._dialogues.get(str(action.get("action_id"))):
                return await dialogue.pressed(payload, action)
            if action.get("action_id") == AGAIN:
                return await self._asking.again(payload, action)
            if action.get("action_id") == REQUEST:
                return await self._commands.shortcut(payload)
        return Reply()

    async def _submitted(self, payload: Payload) -> Reply:
        view = payload.get("view") or {}
        name = str(view.get("callback_id"))
        if verdict := REASON_MODALS.get(name):
            return await self._clicks.explained(payload, view, verdict)
        if dialogue := self._dialogues.get(name):
            return await dialogue.submitted(payload, view)
        if name == PICK_MODAL:
            return self._asking.picked(view)
        return await self._asking.submitted(payload, view) if name == ASK_MODAL else Reply()

    async def _shortcut(self, payload: Payload) -> Reply:
        return await self._commands.shortcut(payload) if payload.get("callback_id") == SHORTCUT else Reply()
