"""Take requests for changes from Slack to the desk: a form is checked, kept durably, acknowledged, and then planned.

Slack waits three seconds for an answer, a plan may take longer: so the dialog says that it is being made, and is
changed when it is known what came of it. What was kept is worked on after a crash too, and files one change (its key).
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from passgate.connect.slack import Reply
from passgate.engine.steps import Runbook
from passgate.errors import InputError, PassgateError, RecordError, UnknownNameError, WorldError
from passgate.faces.chat import dialogs, form
from passgate.faces.chat.buttons import AT_AGAIN
from passgate.faces.chat.inbox import Inbox
from passgate.faces.chat.seats import needs
from passgate.faces.chat.text import fit, fit_lines, safe
from passgate.faces.chat.words import SYMBOLS, WORDS, title
from passgate.model.change import Actor, Change, Door, State
from passgate.model.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from passgate.connect.slack import SlackConnector
    from passgate.faces.chat.callers import Callers
    from passgate.faces.chat.clicks import Seal
    from passgate.faces.chat.directory import Directory
    from passgate.store.store import Store

log = logging.getLogger(__name__)

KEY = "ask:"
"""How the keys of requests begin in the inbox."""
SAID = 900
BESIDE = 500
"""Characters of what is said beside one field."""


_BROKEN = (
    "Working on your request failed, and nothing was touched. Ask with `passgate request`, and tell "
    "whoever runs Passgate to look into its log."
)


_FOREIGN = (
    "This button was not made by this Passgate for a change of today, so nothing was asked for. Ask with `/passgate`."
)


class _LaterError(Exception):
    """Raised when a request can't be worked on now, and nobody could be told of it: it stays in the inbox."""


class Desk(Protocol):
    """What asking needs of the engine."""

    def runbooks(self) -> tuple[Runbook[Any], ...]:
        """Return all runbooks."""

    def wrong_fields(self, runbook: str, ask: dict[str, Any]) -> dict[str, str]:
        """Return what is wrong with each field, in words."""

    async def request(self, runbook: str, ask: dict[str, Any], actor: Actor, *, key: str = "") -> Change:
        """File a change, or refuse it with a PassgateError."""

    async def again(self, change_id: str, actor: Actor, *, key: str = "") -> Change:
        """File anew what a change that came to nothing asked for, or refuse it with a PassgateError."""


class Asked(Frozen):
    """Hold one request as it came from Slack: only what is needed to work on it, no token and no ticket.

    `again` is the change that is asked for again, by a button: there is no dialog then, and `view` is empty.
    """

    runbook: str
    ask: dict[str, Any]
    user: str
    team: str
    channel: str
    view: str
    again: str = ""


class Asking:
    """Open the dialogs that ask for a change, and file what was filled in."""

    def __init__(
        self,
        connector: SlackConnector,
        store: Store,
        desk: Desk,
        callers: Callers,
        *,
        people: Directory,
        seal: Seal,
        channel: str,
        at_home: Callable[[str, str], None],
        longest_pause: float = 30.0,
    ) -> None:
        """Take `at_home`, which shows a person words in their App Home: there is no channel to tell them in."""
        self._slack, self._store, self._desk = connector, store, desk
        self._callers, self._people, self._channel = callers, people, channel
        self._seal, self._at_home = seal, at_home
        self.inbox = Inbox(
            store,
            lambda key: key.startswith(KEY),
            self._work,
            longest_pause=longest_pause,
            side_by_side=True,
        )

    def all(self) -> tuple[Runbook[Any], ...]:
        """Return all runbooks."""
        return self._desk.runbooks()

    def runbook(self, slug: str) -> Runbook[Any]:
        """Return a runbook. Raises UnknownNameError that lists what there is."""
        known = {one.slug: one for one in self._desk.runbooks()}
        if slug not in known:
            raise UnknownNameError(f"There is no runbook {slug!r}.", hint=f"Runbooks: {', '.join(known)}.")
        return known[slug]

    def wrong(self, runbook: Runbook[Any], ask: dict[str, Any]) -> dict[str, str]:
        """Return what is wrong with each field of an ask, in words."""
        return self._desk.wrong_fields(runbook.slug, ask)

    def picking(self, where: str) -> dict[str, Any]:
        """Return the dialog that asks which runbook."""
        return dialogs.pick(self._desk.runbooks(), where)

    def picked(self, view: dict[str, Any]) -> Reply:
        """Show the form of the runbook that was picked."""
        state = ((view.get("state") or {}).get("values") or {}).get(dialogs.PICK_BLOCK) or {}
        slug = str(((state.get(form.INPUT) or {}).get("selected_option") or {}).get("value") or "")
        try:
            runbook = self.runbook(slug)
        except UnknownNameError as error:
            words = fit(f"{error.message} {error.hint}", BESIDE)
            return Reply({"response_action": "errors", "errors": {dialogs.PICK_BLOCK: words}})
        return _showing(dialogs.ask(runbook, dialogs.place(view).get("channel", "")))

    async def submitted(self, payload: dict[str, Any], view: dict[str, Any]) -> Reply:
        """Check a form, and keep it: what is wrong stands beside its field, and nothing was kept then."""
        place = dialogs.place(view)
        try:
            runbook = self.runbook(place.get("runbook", ""))
        except UnknownNameError as error:
            return _showing(dialogs.said(f"{safe(error.message, SAID)} {safe(error.hint, SAID)}"))
        ask = form.read(runbook, (view.get("state") or {}).get("values") or {})
        wrong = self.wrong(runbook, ask)
        if wrong:
            names = [field.name for field in form.fields_of(runbook)]
            beside: dict[str, str] = {}
            for name, words in wrong.items():
                field = name if name in names else names[0]
                beside[field] = fit(f"{beside.get(field, '')} {words}".strip(), BESIDE)
            return Reply({"response_action": "errors", "errors": beside})
        user = payload.get("user") or {}
        asked = Asked(
            runbook=runbook.slug,
            ask=ask,
            user=str(user.get("id", "")),
            team=str(user.get("team_id") or (payload.get("team") or {}).get("id", "")),
            channel=place.get("channel", ""),
            view=str(view.get("id", "")),
        )
        # A dialog changes its hash whenever it changes: the same hash is the same form, sent twice.
        await self.inbox.keep(f"{KEY}{asked.view}:{view.get('hash', '')}", asked.model_dump(mode="json"))
        return Reply(_showing(dialogs.planning(runbook)).payload, then=self.inbox.wake)

    async def again(self, payload: dict[str, Any], action: dict[str, Any]) -> Reply:
        """Keep a click on Ask again. Its stamp is Slack's own: a second click is a second request, and is refused."""
        user, value = payload.get("user") or {}, str(action.get("value", ""))
        place = payload.get("channel") or {}
        asked = Asked(
            runbook="",
            ask={},
            user=str(user.get("id", "")),
            team=str(user.get("team_id") or (payload.get("team") or {}).get("id", "")),
            channel=str(place.get("id") or ""),
            view="",
            again=value.partition(":")[0],
        )
        try:
            change = await asyncio.to_thread(self._store.change, asked.again)
        except UnknownNameError:
            return Reply(then=lambda: self._note(asked, _FOREIGN))
        if self._seal.gate_of(value, change) != AT_AGAIN:
            return Reply(then=lambda: self._note(asked, _FOREIGN))
        key = f"{KEY}{AT_AGAIN}:{change.id}:{asked.user}:{action.get('action_ts', '')}"
        await self.inbox.keep(key, asked.model_dump(mode="json"))
        return Reply(then=self.inbox.wake)

    async def _work(self, key: str, payload: dict[str, Any]) -> bool:
        """File one request that was kept; False when it has to be tried again later."""
        try:
            asked = Asked.model_validate(payload)
        except ValidationError:
            log.warning("What was kept as %s is no request, and is put aside", key)
            return await self._done(key, "not readable")
        try:
            outcome = await self._file(key, asked)
        except _LaterError as error:
            log.warning("A request waits: %s", error)
            return False
        except PassgateError as error:
            outcome = f"refused: {error.message}"
            await self._tell(asked, self._refused(asked, error), _words(error))
        except Exception:
            log.exception("What was kept as %s could not be worked on", key)
            outcome = "failed"
            await self._tell(asked, dialogs.said(_BROKEN), _BROKEN)
        return await self._done(key, outcome)

    async def _file(self, key: str, asked: Asked) -> str:
        """Find out who asks, file the change, and tell them what came of it."""
        try:
            person = await self._callers.person(asked.user, asked.team, so="nothing was asked for")
        except WorldError as error:  # Slack itself does not answer: nobody could be told anything
            raise _LaterError(error.message) from error
        try:
            actor = Actor(person=person.id, door=Door.SLACK)
            if asked.again:
                change = await self._desk.again(asked.again, actor, key=key)
            else:
                change = await self._desk.request(asked.runbook, asked.ask, actor, key=key)
        except RecordError as error:
            raise _LaterError(error.message) from error
        words = self._filed(change)
        await self._tell(asked, dialogs.said(words), words)
        return f"filed as {change.id}"

    def _refused(self, asked: Asked, error: PassgateError) -> dict[str, Any]:
        """Return the form as it was filled in, with what was refused beside what it is about."""
        runbook = next((one for one in self._desk.runbooks() if one.slug == asked.runbook), None)
        if runbook is None:
            return dialogs.said(_words(error))
        about = [name for name, value in asked.ask.items() if error.subject and error.subject in {name, str(value)}]
        words = f"{error.message} {error.hint}".strip()
        nothing = "Nothing was filed, and nothing was touched."
        if about and isinstance(error, InputError):
            above = f"⚠️ *Not asked for yet*: see below. {nothing}"
            return dialogs.ask(runbook, asked.channel, dialogs.Filled(asked.ask, {about[0]: words}, above))
        above = f"⛔ *Refused.* {_words(error)}\n{nothing} Put it right and ask again, or close this."
        return dialogs.ask(runbook, asked.channel, dialogs.Filled(asked.ask, above=fit(above, dialogs.WORDS)))

    def _filed(self, change: Change) -> str:
        """Sum up what was filed: state, impact, steps, what it needs, and where it goes on."""
        plan = change.plan
        lines = [f"{SYMBOLS[change.state]} *{safe(title(change), 200)}*: {WORDS[change.state]}."]
        if plan:
            told = [f"• {safe(line, 300)}" for line in plan.impact]
            lines.append(fit_lines(told, SAID, more="… and {left} more") if told else "• Nobody loses anything by it.")
            warned = f", {len(plan.warnings)} with a warning" if plan.warnings else ""
            lines.append(
                f"{len(plan.todo)} of {len(plan.steps)} steps have something to do; "
                f"{sum(check.met for check in plan.checks)} of {len(plan.checks)} checks are met{warned}."
            )
        if change.state is State.WAITING:
            lines.append(needs(self._people, change, ()))
        if change.outcome:
            lines.append(safe(change.outcome, SAID))
        lines.append(f"It goes on in <#{self._channel}>, and in this app's Home. Also: `passgate show {change.id}`")
        return fit("\n".join(lines), dialogs.WORDS)

    async def _tell(self, asked: Asked, view: dict[str, Any], words: str) -> None:
        """Show what came of it in the dialog; where there is none, or it was closed, in a private note."""
        if not asked.view:
            await self._note(asked, fit(words, dialogs.WORDS))
            return
        try:
            await self._slack.update_modal(asked.view, view)
        except WorldError as error:
            log.info("The dialog of %s is gone (%s), so a note says it", asked.user, error.message)
            await self._note(asked, fit(words, dialogs.WORDS))

    async def _note(self, asked: Asked, words: str) -> None:
        if not asked.view and not asked.channel:
            self._at_home(asked.user, words)
            return
        for channel in dict.fromkeys((asked.channel or self._channel, self._channel)):
            try:
                await self._slack.ephemeral(channel, asked.user, words)
            except WorldError as error:
                log.warning("A private note did not reach %s: %s", asked.user, error.message)
            else:
                return

    async def _done(self, key: str, outcome: str) -> bool:
        await asyncio.to_thread(self._store.inbox_done, key, outcome, datetime.now(UTC))
        return True


def _showing(view: dict[str, Any]) -> Reply:
    return Reply({"response_action": "update", "view": view})


def _words(error: PassgateError) -> str:
    return f"{safe(error.message, SAID)} {safe(error.hint, SAID)}".strip()
