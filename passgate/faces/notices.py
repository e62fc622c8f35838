"""Tell other channels (Teams, Mattermost, mail) what happens, through apprise: notices, never decisions.

Like chat's outbox, what is sent is the ledger behind a cursor, one for each channel, so that one that is down holds up
nobody else. A notice names no secret, has no button and no link that decides anything (R19).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NoReturn

from passgate.connect.slack import backoff
from passgate.errors import PassgateError
from passgate.faces.chat.words import WORDS
from passgate.model.change import Change, EventType, RecordedEvent, State
from passgate.model.decision import Kind
from passgate.settings.load import resolve

if TYPE_CHECKING:
    from pathlib import Path

    from passgate.settings.shape import Notice
    from passgate.store.store import Store

POLL = 1.0
BATCH = 200
LONGEST_PAUSE = 60.0
STALE = timedelta(days=1)
"""So long one notice is tried on one channel that is down; then it is no news, is left out, and the log says so."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Words:
    """Hold what one notice says: a title and a few lines."""

    about: str
    title: str
    body: str


def words_of(event: RecordedEvent, change: Change | None) -> Words | None:
    """Return what other channels are told of an event, if anything."""
    if event.type in {EventType.CHAT_DEAF, EventType.CHAT_HEARD}:
        deaf = event.type is EventType.CHAT_DEAF
        title = "Passgate may not hear clicks in Slack" if deaf else "Passgate hears clicks in Slack again"
        body = f"{event.data.get('why', '')}. Use `passgate approve` and `passgate deny` at a shell meanwhile."
        return Words("chat-deaf", title, body if deaf else str(event.data.get("why", "")))
    if change is None:
        return None
    about = _about(event, change)
    if not about:
        return None
    what = change.plan.title if change.plan else change.runbook
    target = f" ({change.plan.target})" if change.plan else ""
    said = str(event.data.get("outcome") or event.data.get("why") or "")
    lines = [
        f"{what}{target}",
        f"Asked for by {change.requester.person}{f': {change.reason}' if change.reason else ''}",
        *([said] if said else []),
        f"Look at it, and decide, with: passgate show {change.id}",
    ]
    return Words(about, f"{change.id}: {_title(event, change)}", "\n".join(lines))


def _about(event: RecordedEvent, change: Change) -> str:
    """Return the word of config for what happened; empty where nobody is told."""
    to = State(event.data["to"]) if event.type is EventType.STATE else None
    if event.type is EventType.PLANNED and change.terms and change.terms.kind is Kind.BREAK_GLASS:
        return "break-glass"
    if to is State.WAITING or event.type in {EventType.GATE_OPENED, EventType.REMINDED, EventType.ESCALATED}:
        return "waiting"
    if to is not None and to.is_end:
        return "stopped" if to is State.STOPPED else "ended"
    return {
        EventType.REVIEW_OPENED: "review",
        EventType.REVIEW_OVERDUE: "review",
        EventType.REVIEW_CLOSED: "review",
    }.get(event.type, "")


def _title(event: RecordedEvent, change: Change) -> str:
    if event.type is EventType.STATE:
        return WORDS[State(event.data["to"])]
    if event.type is EventType.PLANNED:
        return f"{change.requester.person} broke the glass"
    return {
        EventType.GATE_OPENED: f"waits at the gate {event.data.get('gate')}",
        EventType.REMINDED: "still waits for a decision",
        EventType.ESCALATED: "still waits, and others may decide now",
        EventType.REVIEW_OPENED: "has to be reviewed",
        EventType.REVIEW_OVERDUE: "its review is overdue",
        EventType.REVIEW_CLOSED: "its review is closed",
    }[event.type]


class Notices:
    """Send what one channel wants to hear. `run` ends only when it is cancelled."""

    def __init__(self, notice: Notice, store: Store, home: Path, clock: Callable[[], datetime]) -> None:
        self._notice, self._store, self._home, self._clock = notice, store, home, clock
        self._cursor = f"notice:{notice.name}"

    async def run(self) -> NoReturn:
        """Send for ever what follows the cursor; a channel that is new begins with what happens from now on."""
        await asyncio.to_thread(self._begin)
        while True:
            try:
                sent = await self._batch()
            except PassgateError as error:
                log.warning("Notices for %s wait: %s", self._notice.name, error.message)
                sent = 0
            except Exception:
                log.exception("Notices for %s met a fault and go on after it", self._notice.name)
                sent = 0
            if not sent:
                await asyncio.sleep(POLL)

    def _begin(self) -> None:
        if not self._store.cursor(self._cursor):
            self._store.advance(self._cursor, self._store.newest_seq())

    async def _batch(self) -> int:
        events: Sequence[RecordedEvent] = await asyncio.to_thread(
            self._store.events, self._store.cursor(self._cursor), limit=BATCH
        )
        for event in events:
            change = self._store.change(event.change) if event.change.startswith("CHG-") else None
            words = words_of(event, change)
            if words and words.about in self._notice.about:
                await self._send(words, event.at)
            await asyncio.to_thread(self._store.advance, self._cursor, event.seq)
        return len(events)

    async def _send(self, words: Words, at: datetime) -> None:
        pauses = backoff(first=0.5, longest=LONGEST_PAUSE)
        while self._clock() - at < STALE:
            if await asyncio.to_thread(self._notified, words):
                return
            log.warning("%s did not take a notice; it is tried again", self._notice.name)
            await asyncio.sleep(next(pauses))
        log.warning("%s was not told %r: it is more than a day old", self._notice.name, words.title)

    def _notified(self, words: Words) -> bool:
        """Send it; False when the channel did not take it. The address is a secret and never logged."""
        import apprise  # noqa: PLC0415 - half a second that only sites with such channels pay

        logging.getLogger("apprise").disabled = True
        channel = apprise.Apprise()
        try:
            return channel.add(resolve(self._notice.url, self._home)) and bool(
                channel.notify(title=words.title, body=words.body)
            )
        except Exception as error:  # noqa: BLE001 - a hundred plug-ins of others raise what they like
            log.warning("%s could not be told: %s", self._notice.name, type(error).__name__)
            return False


def channels(
    notices: Sequence[Notice], store: Store, home: Path, clock: Callable[[], datetime]
) -> list[Callable[[], Coroutine[None, None, None]]]:
    """Return what runs for each channel that config names."""
    return [Notices(one, store, home, clock).run for one in notices]
