"""Take clicks from Slack to the desk: kept durably before they are acknowledged, then decided by the engine.

Nothing is decided here. A click says who (a Slack user, looked up in config/people.yaml), which change, which plan and
which verdict; the desk says what comes of it, and what it refuses goes to that person alone, in words.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from passgate.connect.slack import Reply
from passgate.engine.standing import may_stand
from passgate.errors import InputError, PassgateError, RecordError, UnknownNameError, WorldError
from passgate.faces.chat.buttons import (
    REASON_BLOCK,
    REASON_INPUT,
    STAND,
    STAND_MODAL,
    UNTIL_BLOCK,
    UNTIL_INPUT,
    VERDICTS,
    reason_modal,
    stands_for,
)
from passgate.faces.chat.elsewhere import elsewhere
from passgate.faces.chat.inbox import Inbox
from passgate.faces.chat.text import safe
from passgate.model.change import Actor, Change, Door
from passgate.model.decision import PLAN, Verdict
from passgate.model.frozen import Frozen
from passgate.policy.votes import standing

if TYPE_CHECKING:
    from passgate.connect.slack import SlackConnector
    from passgate.faces.chat.callers import Callers
    from passgate.store.store import Store

log = logging.getLogger(__name__)

SEAL_PART = 32
SECOND = timedelta(seconds=1)


class Desk(Protocol):
    """What clicks ask of the engine."""

    async def decide(
        self,
        change_id: str,
        actor: Actor,
        verdict: Verdict,
        reason: str = "",
        digest: str | None = None,
        *,
        gate: str = PLAN,
        standing_until: datetime | None = None,
    ) -> Change:
        """Record a decision, or refuse it with a PassgateError."""

    async def retract(
        self, change_id: str, actor: Actor, reason: str = "", digest: str | None = None, *, gate: str = PLAN
    ) -> Change:
        """Take the person's own decision back, or refuse it with a PassgateError."""


class Click(Frozen):
    """Hold one verdict as it came from Slack: only what is needed to work on it, no token and no ticket.

    `stamp` is Slack's own of this click or dialog. `channel` is empty for one in the App Home. `standing_until` is for
    how long an approval stands for later runs of a schedule.
    """

    change: str
    digest: str
    gate: str = PLAN
    verdict: Verdict
    user: str
    team: str
    channel: str
    thread: str | None = None
    reason: str = ""
    stamp: str = ""
    standing_until: datetime | None = None

    @property
    def key(self) -> str:
        """Return what makes this click one, however often it is delivered (R23).

        Two clicks alike are one decision by what stands in the store. The stamp keeps a copy that comes late from
        deciding again once the decision was taken back.
        """
        at = "" if self.gate == PLAN else f":{self.gate}"
        return f"{self.change}{at}:{self.user}:{self.verdict}:{self.stamp or datetime.now(UTC).isoformat()}"


class Seal:
    """Make the values of our buttons, so that only a button made for this very change, plan and gate speaks for it.

    A value is `change:seal`, at a second gate `change:gate:seal`. Numbers come again in a new home, and the bot token
    may stay; so the ledger's name and the moment of filing are sealed too, lest an old message's button speak for the
    new change of that number.
    """

    def __init__(self, secret: str, origin: str) -> None:
        self._key = hashlib.sha256(b"passgate button:" + secret.encode()).digest()
        self._origin = origin

    def __call__(self, change: Change, gate: str = PLAN) -> str:
        """Return the value for the change's buttons at that gate."""
        at = () if gate == PLAN else (gate,)
        words = "\n".join((self._origin, change.id, change.created_at.isoformat(), change.digest or "", *at))
        seal = hmac.new(self._key, words.encode(), hashlib.sha256).hexdigest()[:SEAL_PART]
        return ":".join((change.id, *at, seal))

    def gate_of(self, value: str, change: Change) -> str | None:
        """Return the gate that we made that value for, with this change and plan; None if we did not make it."""
        _, _, rest = value.partition(":")
        gate = rest.rpartition(":")[0] or PLAN
        return gate if hmac.compare_digest(self(change, gate).encode(), value.encode()) else None


class Clicks:
    """Keep clicks, answer Slack, and work them off; what a crash left over is worked off at the next start."""

    def __init__(
        self,
        connector: SlackConnector,
        store: Store,
        desk: Desk,
        callers: Callers,
        *,
        seal: Seal,
        channel: str,
        at_home: Callable[[str, str], None] = lambda _user, _words: None,
        longest_pause: float = 30.0,
    ) -> None:
        """Take `at_home`, which shows a person words in their App Home: there is no channel to tell them in."""
        self._slack, self._store, self._desk = connector, store, desk
        self._callers, self._seal, self._channel, self._at_home = callers, seal, channel, at_home
        self.inbox = Inbox(
            store,
            lambda key: key.startswith("CHG-"),
            self._work,
            longest_pause=longest_pause,
        )

    async def pressed(self, payload: dict[str, Any], action: dict[str, Any]) -> Reply:
        """Keep a click durably, or ask for the reason first where one is needed."""
        value, name = str(action.get("value", "")), str(action.get("action_id"))
        verdict = VERDICTS[name]
        sealed = await self._sealed(value)
        if sealed is None:
            return Reply(then=self._note_to(payload, _FOREIGN))
        change, gate = sealed
        if other := elsewhere(change, gate):
            return Reply(then=self._note_to(payload, f"{other} Your click was not counted."))
        if name == STAND:
            return self._ask_how_long(payload, value, sealed)
        asks_why = change.terms is not None and change.terms.asked_at(gate).reason_required
        if verdict is Verdict.DENY or (verdict is Verdict.APPROVE and asks_why):
            return self._ask_why(payload, value, sealed, verdict)
        stamp = str(action.get("action_ts", ""))
        return await self._keep(_click(payload, sealed, verdict).model_copy(update={"stamp": stamp}))

    async def _sealed(self, value: str) -> tuple[Change, str] | None:
        """Return the change and the gate that a button's value was made for; None when there is none such now."""
        try:
            change = await asyncio.to_thread(self._store.change, value.partition(":")[0])
        except UnknownNameError:
            return None
        gate = self._seal.gate_of(value, change)
        return (change, gate) if gate is not None else None

    def _ask_how_long(self, payload: dict[str, Any], value: str, sealed: tuple[Change, str]) -> Reply:
        """Open the dialog for an approval that stands; where policy lets none stand, say so."""
        now, (change, gate) = datetime.now(UTC), sealed
        try:
            may_stand(change, now + SECOND, now, gate=gate, verdict=Verdict.APPROVE)
        except PassgateError as error:
            return Reply(then=self._note_to(payload, _words(error)))
        last = (now + (stands_for(change) or SECOND) + SECOND).date() - timedelta(days=1)
        return self._ask_why(payload, value, sealed, Verdict.APPROVE, last)

    def _ask_why(
        self,
        payload: dict[str, Any],
        value: str,
        sealed: tuple[Change, str],
        verdict: Verdict,
        until: date | None = None,
    ) -> Reply:
        """Open the dialog right after the ack: its trigger lives for three seconds, so it can't wait in the inbox."""
        change, gate = sealed
        at = "" if gate == PLAN else f" --gate {gate}"
        click = _click(payload, sealed, verdict)

        async def open_it() -> None:
            where = f"{value}\n{click.channel}\n{click.thread or ''}"
            try:
                modal = reason_modal(change, gate, verdict, where, until)
                await self._slack.open_modal(str(payload.get("trigger_id")), modal)
            except WorldError as error:
                log.warning("The dialog for the reason on %s did not open: %s", change.id, error.message)
                words = f"The dialog for the reason did not open. Click {verdict.value.capitalize()} again, or use: "
                await self._say(click, f'{words}`passgate {verdict} {change.id}{at} --reason "…"`')

        return Reply(then=open_it)

    async def explained(self, payload: dict[str, Any], view: dict[str, Any], verdict: Verdict) -> Reply:
        """Keep a decision that came with its reason."""
        value, _, place = str(view.get("private_metadata", "")).partition("\n")
        channel, _, thread = place.partition("\n")
        sealed = await self._sealed(value)
        if sealed is None:
            return _complain("This dialog is not of this Passgate. Close it and click the button again.")
        values = ((view.get("state") or {}).get("values") or {}).get(REASON_BLOCK) or {}
        reason = str((values.get(REASON_INPUT) or {}).get("value") or "").strip()
        if not reason:
            return _complain("Say why: the reason goes to who asked and into the record.")
        until = None
        if view.get("callback_id") == STAND_MODAL:
            try:
                until = _end_of_day(view)
                may_stand(sealed[0], until, datetime.now(UTC), gate=sealed[1], verdict=verdict)
            except PassgateError as error:
                return _complain(f"{error.message} {error.hint}", UNTIL_BLOCK)
        here: dict[str, Any] = {
            "reason": reason,
            "channel": channel,
            "thread": thread or None,
            "stamp": str(view.get("id", "")),
        }
        here |= {"standing_until": until}
        return await self._keep(_click(payload, sealed, verdict).model_copy(update=here))

    async def _keep(self, click: Click) -> Reply:
        """Write the click down. Another click of the same person is kept too: it is harmless, and may be right now."""
        await self.inbox.keep(click.key, click.model_dump(mode="json"))
        await self.inbox.wake()
        return Reply()

    async def _work(self, key: str, payload: dict[str, Any]) -> bool:
        """Work on one kept click; False when it has to be tried again later."""
        try:
            click = Click.model_validate(payload)
        except ValidationError:
            log.warning("What was kept as %s is no click, and is put aside", key)
            await asyncio.to_thread(self._store.inbox_done, key, "not readable", datetime.now(UTC))
            return True
        try:
            outcome = await self._decide(click)
        except (WorldError, RecordError) as error:
            if not error.safe_to_repeat and isinstance(error, WorldError):
                outcome = f"refused: {error.message}"
                await self._say(click, _words(error))
            else:
                log.warning("A click on %s waits: %s", click.change, error.message)
                return False
        except PassgateError as error:
            outcome = f"refused: {error.message}"
            await self._say(click, _words(error))
        except Exception:
            log.exception("A click on %s could not be worked on", click.change)
            outcome = "failed"
            await self._say(click, _BROKEN.format(verdict=click.verdict, change=click.change))
        await asyncio.to_thread(self._store.inbox_done, key, outcome, datetime.now(UTC))
        return True

    async def _decide(self, click: Click) -> str:
        """Find out who clicked, and hand the verdict to the desk."""
        person = (await self._callers.person(click.user, click.team, so="your click was not counted")).id
        change = await asyncio.to_thread(self._store.change, click.change)
        if change.digest != click.digest:
            raise InputError(
                f"The plan of {change.id} is not the one that this button was made for; nothing was recorded.",
                hint="Look at the message as it is now, and decide on that.",
                subject=change.id,
            )
        actor = Actor(person=person, door=Door.SLACK)
        if click.verdict is Verdict.RETRACT:
            await self._desk.retract(change.id, actor, click.reason, change.digest, gate=click.gate)
            await self._say(click, f"What you decided on {change.id} is taken back. You may decide again.")
            return "taken back"
        decisions = await asyncio.to_thread(self._store.decisions, change.id)
        stands = standing(decisions, gate=click.gate, digest=click.digest).get(person)
        if stands is not None and (stands.verdict, stands.standing_until) == (click.verdict, click.standing_until):
            at = "" if click.gate == PLAN else f" at the gate {safe(click.gate, 64)}"
            await self._say(
                click, f"Your decision on {change.id}{at} ({click.verdict}) was counted before. Nothing changed."
            )
            return "counted before"
        await self._desk.decide(
            change.id, actor, click.verdict, click.reason, change.digest,
            gate=click.gate, standing_until=click.standing_until,
        )  # fmt: skip
        return "handed to the desk"

    def _note_to(self, payload: dict[str, Any], words: str) -> Callable[[], Awaitable[None]]:
        """Return the work of telling the person who clicked something, privately."""
        click = _click(payload, None, Verdict.DENY)
        return lambda: self._say(click, words)

    async def _say(self, click: Click, words: str) -> None:
        """Show the person a private note; the decision does not hang on it."""
        if not click.channel:
            self._at_home(click.user, words)
            return
        try:
            await self._slack.ephemeral(click.channel or self._channel, click.user, words, thread=click.thread)
        except WorldError as error:
            log.warning("A private note on %s did not reach %s: %s", click.change, click.user, error.message)


_FOREIGN = (
    "This button was not made by this Passgate for a change and plan of today, so the click was not counted. "
    "Look for the present message of the change, or use the command line."
)
_BROKEN = (
    "Your click was received, but working on it failed and it was not counted. Nothing was changed by it. "
    "Use `passgate {verdict} {change}`, and tell whoever runs Passgate to look into its log."
)


def _words(error: PassgateError) -> str:
    return f"{safe(error.message, 600)} {safe(error.hint, 400)}".strip()


def _complain(words: str, block: str = REASON_BLOCK) -> Reply:
    return Reply({"response_action": "errors", "errors": {block: words}})


def _end_of_day(view: dict[str, Any]) -> datetime:
    """Return the end of the day that was chosen, in UTC. Raises InputError for what is no day."""
    values = ((view.get("state") or {}).get("values") or {}).get(UNTIL_BLOCK) or {}
    day = str((values.get(UNTIL_INPUT) or {}).get("selected_date") or "")
    try:
        return datetime.combine(date.fromisoformat(day), time(23, 59, 59), UTC)
    except ValueError:
        raise InputError("No day was chosen.", hint="Choose the last day on which the approval counts.") from None


def _click(payload: dict[str, Any], sealed: tuple[Change, str] | None, verdict: Verdict) -> Click:
    """Take out of a delivery who clicked, and where."""
    change, gate = sealed or (None, PLAN)
    user = payload.get("user") or {}
    container = payload.get("container") or {}
    message = payload.get("message") or {}
    return Click(
        change=change.id if change else "",
        digest=(change.digest or "") if change else "",
        gate=gate,
        verdict=verdict,
        user=str(user.get("id", "")),
        team=str(user.get("team_id") or (payload.get("team") or {}).get("id", "")),
        channel=str((payload.get("channel") or {}).get("id") or container.get("channel_id") or ""),
        thread=_thread(message, container),
    )


def _thread(message: dict[str, Any], container: dict[str, Any]) -> str | None:
    """Return the thread of the message that was clicked; None for a message in the channel itself.

    A note goes where the click was: one in a thread that nobody has open is not seen.
    """
    thread, own = message.get("thread_ts"), message.get("ts") or container.get("message_ts")
    return str(thread) if thread and thread != own else None
