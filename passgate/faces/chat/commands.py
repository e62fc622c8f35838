"""Answer `/passgate` and the shortcut: open a dialog, or tell who used it, alone, what they asked about."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from passgate.connect.slack import Reply
from passgate.errors import InputError, PassgateError, WorldError
from passgate.faces.chat import dialogs, form
from passgate.faces.chat.text import fit, fit_lines, safe
from passgate.faces.chat.words import SYMBOLS, WORDS, View, moment, title
from passgate.model.change import Change

if TYPE_CHECKING:
    from passgate.connect.slack import SlackConnector
    from passgate.faces.chat.asking import Asking
    from passgate.faces.chat.callers import Callers
    from passgate.faces.chat.links import Links
    from passgate.faces.chat.render import Renderer
    from passgate.faces.chat.waits import Waits
    from passgate.settings.people import Person
    from passgate.store.store import Store

log = logging.getLogger(__name__)

COMMAND = "/passgate"
SHORTCUT = "passgate_request"
LISTED = 15
LONGEST = 2900
_NUMBER = re.compile(r"(?:CHG-?)?(\d{1,12})", re.IGNORECASE)
HELP = f"""*What `{COMMAND}` can do*
• `{COMMAND}`: ask for a change. Choose what shall be done, and fill in its form.
• `{COMMAND} usb-attach`: the form of that runbook; `vm=win-01` behind it fills in a field.
• `{COMMAND} waiting`: what waits for your decision.
• `{COMMAND} list`: the newest changes.
• `{COMMAND} show CHG-0042`: one change: its plan, who decided, how far it is.
• `{COMMAND} help`: this.
What you asked for and what waits for you is in this app's Home too. Only you see these answers."""


@dataclass(frozen=True)
class Said:
    """Hold what a person typed behind the command, and where."""

    user: str
    team: str
    words: tuple[str, ...]
    channel: str
    trigger: str
    answer: str

    @classmethod
    def of(cls, payload: dict[str, Any]) -> Said:
        """Take it out of a delivery."""
        names = ("user_id", "team_id", "channel_id", "trigger_id", "response_url")
        user, team, channel, trigger, answer = (str(payload.get(name) or "") for name in names)
        return cls(user, team, tuple(str(payload.get("text") or "").split()), channel, trigger, answer)


Answer = tuple[str, tuple[dict[str, Any], ...]]
"""A text, and blocks where it has any."""


class Commands:
    """Open dialogs and answer privately. Nothing is kept: who gets no answer asks again."""

    def __init__(
        self,
        connector: SlackConnector,
        store: Store,
        asking: Asking,
        callers: Callers,
        *,
        renderer: Renderer,
        waits: Waits,
        links: Links,
    ) -> None:
        self._slack, self._store, self._asking, self._callers = connector, store, asking, callers
        self._render, self._waits, self._links = renderer, waits, links
        self._answers: dict[str, Callable[[Said, Person], Awaitable[Answer]]] = {
            "help": self._help, "list": self._list, "show": self._show, "waiting": self._waiting,
        }  # fmt: skip

    async def slash(self, payload: dict[str, Any]) -> Reply:
        """Acknowledge a slash command, and answer it right afterwards: its trigger lives for three seconds."""
        said = Said.of(payload)

        async def answer() -> None:
            try:
                person = await self._callers.person(said.user, said.team, so="this command was not carried out")
                first = said.words[0].lower() if said.words else ""
                if answers := self._answers.get(first):
                    text, blocks = await answers(said, person)
                    await self._respond(said, text, blocks)
                else:
                    view = self._form(said, first) if first else self._asking.picking(said.channel)
                    await self._slack.open_modal(said.trigger, view)
            except PassgateError as error:
                await self._respond(said, fit(f"{safe(error.message, 1500)} {safe(error.hint, 1500)}".strip(), LONGEST))

        return Reply(then=answer)

    async def shortcut(self, payload: dict[str, Any]) -> Reply:
        """Open the dialog that asks which runbook."""
        user = payload.get("user") or {}
        who, team = str(user.get("id", "")), str(user.get("team_id") or (payload.get("team") or {}).get("id", ""))
        return Reply(then=lambda: self.open(who, team, str(payload.get("trigger_id") or "")))

    async def open(self, user: str, team: str, trigger: str) -> None:
        """Open the dialog that asks which runbook; who may not ask is told in a dialog, there is no other place."""
        try:
            await self._callers.person(user, team, so="you can't ask for a change")
            view = self._asking.picking("")
        except WorldError as error:
            log.warning("A dialog did not open: %s", error.message)
            return
        except PassgateError as error:
            view = dialogs.said(f"{safe(error.message, 900)} {safe(error.hint, 900)}".strip())
        try:
            await self._slack.open_modal(trigger, view)
        except WorldError as error:
            log.warning("A dialog did not open: %s", error.message)

    def _form(self, said: Said, first: str) -> dict[str, Any]:
        """Return the form of the runbook that was named, with the fields that were given filled in."""
        known = [one.slug for one in self._asking.all()]
        if first not in known:
            raise InputError(
                f"`{COMMAND} {' '.join(said.words)[:80]}` is neither a command nor a runbook; nothing was done.",
                hint=f"Commands: {', '.join(self._answers)}. Runbooks: {', '.join(known)}.",
            )
        runbook, words = self._asking.runbook(first), self._words(said, first)
        given = form.typed(runbook, words)
        wrong = {name: why for name, why in self._asking.wrong(runbook, given).items() if name in words}
        if wrong:
            told = ". ".join(f"{name}: {why}" for name, why in wrong.items())
            raise InputError(
                f"{told}. No form was opened, and nothing was done.",
                hint=f"For example: `{COMMAND} {first} {form.example(runbook, words, wrong)}`",
            )
        return dialogs.ask(runbook, said.channel, dialogs.Filled(given))

    @staticmethod
    def _words(said: Said, first: str) -> dict[str, str]:
        """Return what fields were typed behind the name of a runbook."""
        words: dict[str, str] = {}
        for word in said.words[1:]:
            name, equals, value = word.partition("=")
            if not equals:
                raise InputError(
                    f"{word[:80]!r} is not understood; nothing was done.",
                    hint=f"Fill a field in with its name, such as vm=win-01: `{COMMAND} {first} vm=win-01`.",
                )
            field = name.replace("-", "_")
            if field in words:
                raise InputError(
                    f"{name[:80]} is given twice, as {words[field][:80]!r} and as {value[:80]!r}; nothing was done.",
                    hint=f"Give it once: `{COMMAND} {first} {name[:80]}={value[:80]}`",
                )
            words[field] = value
        return words

    async def _help(self, _said: Said, _person: Person) -> Answer:
        return HELP, ()

    async def _list(self, _said: Said, _person: Person) -> Answer:
        found = await asyncio.to_thread(self._store.changes, (), LISTED)
        if not found:
            return f"No change was asked for yet. `{COMMAND}` asks for one.", ()
        lines = [await self._line(one) for one in found]
        return fit_lines(["*The newest changes*", *lines], LONGEST, more="… and {left} more: `passgate list`"), ()

    async def _waiting(self, _said: Said, person: Person) -> Answer:
        found, more = await asyncio.to_thread(self._waits.of, person.id, LISTED)
        lines = [await self._line(one) for one in found]
        lines += ["… and more: `passgate list --waits-for-me`"] if more else []
        reviews = await self._waits.reviews(person.id)
        lines += [
            f"🧯 {one.change}: its review, by {moment(one.due_at)}: `passgate review close {one.change}`"
            for one in reviews
        ]
        if not lines:
            return "Nothing waits for your decision.", ()
        return fit_lines(["*What waits for your decision*", *lines], LONGEST, more="… and {left} more"), ()

    async def _line(self, change: Change) -> str:
        until = f", until {moment(change.approve_by)}" if change.approve_by and change.state == "waiting" else ""
        link = await self._links.of(change.id)
        named = f"<{link}|{change.id}>" if link else change.id
        what = safe(title(change).partition(" · ")[2], 150)
        return f"{SYMBOLS[change.state]} {named} {what}: {WORDS[change.state]}{until}"

    async def _show(self, said: Said, _person: Person) -> Answer:
        number = _NUMBER.fullmatch(said.words[1]) if len(said.words) > 1 else None
        if number is None:
            raise InputError(f"Say which change: `{COMMAND} show CHG-0042`.", hint=f"`{COMMAND} list` shows them.")
        change = await asyncio.to_thread(self._store.change, f"CHG-{int(number[1]):04}")
        decisions = await asyncio.to_thread(self._store.decisions, change.id)
        journal = await asyncio.to_thread(self._store.journal, change.id)
        again = await asyncio.to_thread(self._store.in_place_of, change.id)
        message = self._render.parent(View(change, decisions, journal, again=again))
        blocks = tuple(one for one in message.blocks if one["type"] != "actions")
        link = await self._links.of(change.id)
        go = {"type": "section", "text": {"type": "mrkdwn", "text": f"<{link}|Its message in the channel>"}}
        return message.text, (*blocks, *((go,) if link else ()))

    async def _respond(self, said: Said, text: str, blocks: tuple[dict[str, Any], ...] = ()) -> None:
        try:
            await self._slack.respond(said.answer, text, blocks)
        except WorldError as error:
            log.warning("The answer to a command did not reach %s: %s", said.user, error.message)
