"""Take acts that need words: a button opens a dialog, and what is written in it goes to the desk.

Like a click, what was submitted is kept durably before it is acknowledged. Who may is the engine's to say.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import AliasChoices, Field, ValidationError

from passgate.connect.slack import Reply
from passgate.errors import PassgateError, RecordError, UnknownNameError, WorldError
from passgate.faces.chat.buttons import REASON_BLOCK, REASON_INPUT, Question, reason_view
from passgate.faces.chat.inbox import Inbox
from passgate.faces.chat.text import safe
from passgate.model.change import Actor, Change, Door
from passgate.model.frozen import Frozen

if TYPE_CHECKING:
    from passgate.connect.slack import SlackConnector
    from passgate.faces.chat.callers import Callers
    from passgate.faces.chat.clicks import Seal
    from passgate.store.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Act:
    """Describe one kind of act.

    `names` are its buttons, and the dialogs that they open. `what` returns what it is about, by the name and by what
    the button was sealed for; nothing for a button of another kind. `may` refuses who may not before anything is
    asked, `do` hands it to the desk: both with the change's id, and `what`.
    """

    key: str
    """How its keys begin in the inbox."""
    names: tuple[str, ...]
    what: Callable[[str, str], str]
    ask: Callable[[Change, str], Question]
    do: Callable[[str, Actor, str, str], Awaitable[object]]
    so: str
    """What came of it when it was refused, as in `the review was not closed`."""
    command: Callable[[str, str], str]
    """Return how it is done at a shell, for a change and `what`."""
    may: Callable[[str, str, str], None] = lambda _change, _person, _what: None


class Submitted(Frozen):
    """Hold one act as it came from Slack."""

    change: str
    what: str = Field(validation_alias=AliasChoices("what", "verdict"))
    """Reviews that were kept by an older version have a `verdict`."""
    reason: str
    user: str
    team: str
    channel: str


class Dialogue:
    """Open the dialog of an act, and hand what was written in it to the desk."""

    def __init__(
        self,
        connector: SlackConnector,
        store: Store,
        act: Act,
        callers: Callers,
        *,
        seal: Seal,
        channel: str,
        longest_pause: float = 30.0,
    ) -> None:
        self._slack, self._store, self._callers = connector, store, callers
        self._seal, self._channel = seal, channel
        self.act = act
        self.inbox = Inbox(store, lambda key: key.startswith(act.key), self._work, longest_pause=longest_pause)

    async def pressed(self, payload: dict[str, Any], action: dict[str, Any]) -> Reply:
        """Open the dialog for the words, unless the engine would refuse them; its trigger lives for three seconds."""
        value, name = str(action.get("value", "")), str(action.get("action_id"))
        sealed = await self._sealed(value, name)
        user, team = _who(payload)
        channel = str((payload.get("channel") or {}).get("id") or self._channel)

        async def open_it() -> None:
            if sealed is None:
                await self._say(channel, user, _FOREIGN)
                return
            change, what = sealed
            try:
                person = await self._callers.person(user, team, so=self.act.so)
                await asyncio.to_thread(self.act.may, change.id, person.id, what)
                view = reason_view(name, f"{value}\n{channel}", self.act.ask(change, what))
                await self._slack.open_modal(str(payload.get("trigger_id")), view)
            except WorldError as error:
                log.warning("A dialog on %s did not open: %s", change.id, error.message)
                how = self.act.command(change.id, what)
                await self._say(channel, user, f"The dialog did not open. Click again, or use `{how}`.")
            except PassgateError as error:
                await self._say(channel, user, _words(error))

        return Reply(then=open_it)

    async def submitted(self, payload: dict[str, Any], view: dict[str, Any]) -> Reply:
        """Keep what was written."""
        value, _, channel = str(view.get("private_metadata", "")).partition("\n")
        sealed = await self._sealed(value, str(view.get("callback_id")))
        values = ((view.get("state") or {}).get("values") or {}).get(REASON_BLOCK) or {}
        words = str((values.get(REASON_INPUT) or {}).get("value") or "").strip()
        wrong = _FOREIGN if sealed is None else "" if words else "Say it in a sentence: it goes into the record."
        if sealed is None or wrong:
            return Reply({"response_action": "errors", "errors": {REASON_BLOCK: wrong}})
        user, team = _who(payload)
        change, what = sealed
        found = Submitted(change=change.id, what=what, reason=words, user=user, team=team, channel=channel)
        await self.inbox.keep(f"{self.act.key}{change.id}:{user}:{view.get('id', '')}", found.model_dump(mode="json"))
        await self.inbox.wake()
        return Reply()

    async def _sealed(self, value: str, name: str) -> tuple[Change, str] | None:
        """Return the change that a button's value was made for, and what it is about, if we made it for this act."""
        try:
            change = await asyncio.to_thread(self._store.change, value.partition(":")[0])
        except UnknownNameError:
            return None
        at = self._seal.gate_of(value, change)
        what = self.act.what(name, at) if at else ""
        return (change, what) if what else None

    async def _work(self, key: str, payload: dict[str, Any]) -> bool:
        """Do one act; False when it has to be tried again later."""
        try:
            found = Submitted.model_validate(payload)
        except ValidationError:
            log.warning("What was kept as %s can't be read, and is put aside", key)
            await asyncio.to_thread(self._store.inbox_done, key, "not readable", datetime.now(UTC))
            return True
        try:
            person = await self._callers.person(found.user, found.team, so=self.act.so)
            await self.act.do(found.change, Actor(person=person.id, door=Door.SLACK), found.what, found.reason)
            outcome = "done"
        except PassgateError as error:
            if isinstance(error, RecordError) or (isinstance(error, WorldError) and error.safe_to_repeat):
                log.warning("What was kept as %s waits: %s", key, error.message)
                return False
            outcome = f"refused: {error.message}"
            await self._say(found.channel, found.user, _words(error))
        await asyncio.to_thread(self._store.inbox_done, key, outcome, datetime.now(UTC))
        return True

    async def _say(self, channel: str, user: str, words: str) -> None:
        try:
            await self._slack.ephemeral(channel or self._channel, user, words)
        except WorldError as error:
            log.warning("A private note did not reach %s: %s", user, error.message)


_FOREIGN = (
    "This button was not made by this Passgate for a change of today, so nothing was done. Look for the present "
    "message of the change, or use the command line."
)


def _who(payload: dict[str, Any]) -> tuple[str, str]:
    """Return the Slack ids of who acts, and of their workspace."""
    user = payload.get("user") or {}
    return str(user.get("id", "")), str(user.get("team_id") or (payload.get("team") or {}).get("id", ""))


def _words(error: PassgateError) -> str:
    return f"{safe(error.message, 600)} {safe(error.hint, 400)}".strip()
