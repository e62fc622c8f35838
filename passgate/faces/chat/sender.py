"""Send what happened to Slack: the outbox is the ledger itself, read behind a cursor.

Events go into the change's thread in the ledger's order; the cursor moves on only when Slack took the message. After a
crash, or an answer that was lost, the message is looked for by its mark before it is sent again. The parent message is
a function of the present state and is edited until Slack shows that state. Slack being down stops nothing but this.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from passgate.connect.slack import Mark, backoff
from passgate.errors import PassgateError, RefusedError, UnknownNameError
from passgate.faces.chat.hurry import is_loud
from passgate.faces.chat.plan_posts import NAME as PLAN_FILE
from passgate.faces.chat.render import Message
from passgate.faces.chat.words import View
from passgate.model.change import Change, EventType, RecordedEvent
from passgate.policy.opening import Holding

if TYPE_CHECKING:
    from passgate.connect.slack import SlackConnector
    from passgate.faces.chat.render import Renderer
    from passgate.store.store import Store

log = logging.getLogger(__name__)

CURSOR = "slack"
POLL = 1.0
BATCH = 100
RECENT = 200
REMEMBERED = 2000
"""Of so many changes it is known up to which decision the time to show it was measured."""

_MESSAGE_FAULTS = frozenset(
    {
        "invalid_blocks", "invalid_blocks_format", "msg_too_long", "msg_blocks_too_long", "no_text", "invalid_metadata",
        "invalid_metadata_format", "invalid_metadata_schema", "metadata_too_large", "invalid_attachments",
        "markdown_text_conflict", "invalid_arguments", "invalid_json",
    }
)  # fmt: skip
"""Faults of one message: it goes out smaller, or not at all, and the next one has its turn."""

_GONE_FAULTS = frozenset({"message_not_found", "thread_not_found", "cant_update_message", "edit_window_closed"})
"""Faults of a parent that somebody deleted or that can't be edited any more: a new one is posted."""


class Bucket:
    """Let so many through at once, and then so many a second (Slack: one message a second and channel, with bursts)."""

    def __init__(self, *, burst: int, per_second: float) -> None:
        self._burst, self._rate = float(burst), per_second
        self._tokens, self._at = float(burst), time.monotonic()

    def _refill(self) -> None:
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now

    def has_room(self) -> bool:
        """Say whether one may go now."""
        self._refill()
        return self._tokens >= 1

    async def take(self) -> None:
        """Wait until one may go, and count it."""
        self._refill()
        self._tokens -= 1
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / self._rate)


@dataclass
class SenderHealth:
    """Hold how the sender stands, for `status` and `doctor`."""

    behind: int = 0
    last_sent: datetime | None = None
    cut_down: int = 0
    trouble: str = ""


class Sender:
    """Post and edit until Slack shows what the ledger says."""

    def __init__(
        self,
        connector: SlackConnector,
        store: Store,
        renderer: Renderer,
        channel: str,
        *,
        held_up: Callable[[Change], tuple[Holding, ...]] = lambda _: (),
        burst: int = 20,
        longest_pause: float = 30.0,
    ) -> None:
        """Take `held_up`, which says which freezes hold a change up and may be overridden."""
        self._held_up = held_up
        self._slack, self._store, self._render, self._channel = connector, store, renderer, channel
        self._posts = Bucket(burst=burst, per_second=1.0)
        self._edits = Bucket(burst=burst, per_second=0.8)  # chat.update is Tier 3: 50 a minute
        self._longest_pause = longest_pause
        self._stale: dict[str, None] = {}
        self._certain = False
        """Whether the last call's answer was heard: if not, what it sent is looked for before it is sent again."""
        self.on_shown: Callable[[float], object] = float
        """Told how many seconds after the newest decision on a change its message shows that decision."""
        self._since, self._shown = datetime.now(UTC), dict[str, datetime]()
        self.health = SenderHealth()

    async def run(self) -> NoReturn:
        """Send for ever. Woken by the store at once; events of other processes are seen within a second."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(woken.set)

        self._store.listeners.append(wake)
        pauses = backoff(longest=self._longest_pause)
        try:
            await self._remember()
            while True:
                woken.clear()
                try:
                    await self._slack.me()  # so that a wrong token is told in `status` before there is a report
                    await self._work_off()
                except Exception as error:  # noqa: BLE001 - reports must go on whatever went wrong with one
                    self._certain = False
                    self._note(error)
                    await asyncio.sleep(next(pauses))
                    continue
                self.health.trouble = ""
                pauses = backoff(longest=self._longest_pause)
                try:
                    await asyncio.wait_for(woken.wait(), POLL)
                except TimeoutError:
                    continue
        finally:
            self._store.listeners.remove(wake)

    def look_again(self, change_id: str) -> None:
        """Bring the message of a change up to date, though nothing of it is in the ledger."""
        self._stale[change_id] = None

    async def _remember(self) -> None:
        """Look at the recent parents again: an edit that a crash took away is made now (R28)."""
        while True:
            try:
                changes = await asyncio.to_thread(self._store.changes, (), RECENT)
            except Exception as error:  # noqa: BLE001 - as in `run`
                self._note(error)
                await asyncio.sleep(POLL)
                continue
            for change in reversed(changes):
                if await asyncio.to_thread(self._store.chat_message, change.id, self._channel):
                    self._stale[change.id] = None
            return

    async def _work_off(self) -> None:
        """Send all that is behind the cursor, in order, then bring the parents up to date."""
        while True:
            cursor = await asyncio.to_thread(self._store.cursor, CURSOR)
            events = await asyncio.to_thread(self._store.events, cursor, None, BATCH)
            self.health.behind = len(events)
            for event in events:
                await self._tell(event)
                await asyncio.to_thread(self._store.advance, CURSOR, event.seq)
                self.health.behind -= 1
            if len(events) < BATCH:
                break
        for change_id in tuple(self._stale):
            await self._refresh(change_id)

    async def _tell(self, event: RecordedEvent) -> None:
        """Send what one event has to say: the parent if there is none yet, then the message in its thread."""
        try:
            view = await asyncio.to_thread(self._view, event.change)
        except UnknownNameError:
            # An event of no change: of the ledger itself, or of a schedule, which is told in the channel.
            words = _rendered(lambda: self._render.of_schedule(event), "schedules")
            if words is not None:
                await self._post_once(words, Mark("schedules", event.seq), thread=None, since=event.at)
            return
        message = _rendered(lambda: self._render.told(event, view), event.change)
        if message is None:
            return
        known = await asyncio.to_thread(self._store.chat_message, event.change, self._channel)
        thread = known.ts if known else await self._new_parent(view)
        self._stale[event.change] = None
        if event.type is EventType.REQUESTED and view.change.replaces:
            self._stale[view.change.replaces] = None  # its message says by which change it was asked for again
        await self._refresh(event.change, view)
        mark = Mark(event.change, event.seq)
        if is_loud(event, view):  # a message of its own, in the channel itself
            await self._post_once(message, mark, thread=None, since=event.at)
            return
        looked = not self._certain
        try:
            ts = await self._post_once(message, mark, thread=thread, since=event.at)
        except RefusedError as error:
            if error.fault not in _GONE_FAULTS:
                raise
            ts = await self._post_once(message, mark, thread=await self._new_parent(view, lost=True), since=event.at)
        if event.type is EventType.GATE_OPENED:
            # It has buttons, so it is edited like the parent. One that was found may show an older state.
            gate, shows = str(event.data["gate"]), "" if looked else message.digest
            await asyncio.to_thread(self._store.save_chat_message, event.change, self._channel, ts, shows, gate)
            self._stale[event.change] = None

    def _view(self, change_id: str) -> View:
        """Read what is known of a change now."""
        store = self._store
        change = store.change(change_id)
        moves = store.events(0, change_id) if change.state.is_end else ()
        moved = next((event for event in reversed(moves) if event.type is EventType.STATE), None)
        file = store.chat_message(change_id, self._channel, PLAN_FILE)
        return View(
            change,
            store.decisions(change_id),
            store.journal(change_id),
            moved,
            at=datetime.now(UTC),
            review=store.reviews.one(change_id) if change.terms and change.terms.break_glass else None,
            plan_file=file.digest if file else "",
            again=store.in_place_of(change_id) if change.state.is_end else "",
            held=self._held_up(change),
        )

    async def _new_parent(self, view: View, *, lost: bool = False) -> str:
        """Post the change's parent message and return its ts; `lost` says that the one before is gone."""
        change = view.change
        message = _rendered(lambda: self._render.parent(view), change.id) or _bare(change.id)
        looked, self._certain = self._certain, self._certain or lost
        ts = await self._post_once(message, Mark(change.id), thread=None, since=change.created_at)
        # One that was found, not posted, may show an older state: without a digest it is edited next.
        shows = message.digest if looked or lost else ""
        await asyncio.to_thread(self._store.save_chat_message, change.id, self._channel, ts, shows)
        return ts

    async def _refresh(self, change_id: str, view: View | None = None) -> None:
        """Edit the parent when it does not show the present state; put off while Slack's limit on edits is reached."""
        known = await asyncio.to_thread(self._store.chat_message, change_id, self._channel)
        now = await asyncio.to_thread(self._view, change_id) if view is None else view
        if not await self._refresh_gates(now):
            return
        message = _rendered(partial(self._render.parent, now), change_id) or _bare(change_id)
        if known is not None and known.digest != message.digest:
            if not self._edits.has_room():
                return
            await self._edits.take()
            try:
                await self._smaller_each_time(message, change_id, partial(self._edit, known.ts, Mark(change_id)))
            except RefusedError as error:
                if error.fault not in _GONE_FAULTS:
                    raise
                await self._new_parent(now, lost=True)
            else:
                saved = (change_id, self._channel, known.ts, message.digest)
                await asyncio.to_thread(self._store.save_chat_message, *saved)
                self._measure(now)
        self._stale.pop(change_id, None)

    def _measure(self, view: View) -> None:
        """Tell how long the newest decision took to be shown, once."""
        newest = max((one.at for one in view.decisions), default=None)
        if newest is not None and newest > self._shown.get(view.change.id, self._since):
            self.on_shown((datetime.now(UTC) - newest).total_seconds())
            self._shown[view.change.id] = newest
        if len(self._shown) > REMEMBERED:
            self._shown.pop(next(iter(self._shown)))
            self._since = max(self._since, newest or self._since)

    async def _refresh_gates(self, view: View) -> bool:
        """Edit the messages of second gates likewise: buttons go once a gate is settled. False when it is put off."""
        change = view.change
        for gate in change.gates:
            known = await asyncio.to_thread(self._store.chat_message, change.id, self._channel, gate.name)
            message = _rendered(partial(self._render.gate, view, gate.name), change.id)
            if known is None or message is None or known.digest == message.digest:
                continue
            if not self._edits.has_room():
                return False
            await self._edits.take()
            mark = Mark(change.id, await asyncio.to_thread(self._opened, change.id, gate.name))
            try:
                await self._smaller_each_time(message, change.id, partial(self._edit, known.ts, mark))
            except RefusedError as error:
                if error.fault not in _GONE_FAULTS:
                    raise  # one that somebody deleted is not posted again: what came of it is told in the thread
            saved = (change.id, self._channel, known.ts, message.digest, gate.name)
            await asyncio.to_thread(self._store.save_chat_message, *saved)
        return True

    def _opened(self, change_id: str, gate: str) -> int:
        """Return the place in the ledger of the event that a gate's message was posted for."""
        events = self._store.events(0, change_id, limit=10_000)
        return next(one.seq for one in events if one.type is EventType.GATE_OPENED and one.data.get("gate") == gate)

    async def _edit(self, ts: str, mark: Mark, message: Message) -> str:
        await self._slack.update(self._channel, ts, message.text, message.blocks, mark=mark)
        return ts

    async def _post_once(self, message: Message, mark: Mark, *, thread: str | None, since: datetime) -> str:
        """Post a message unless Slack has it already, and return its ts."""
        if not self._certain:
            found = await self._slack.find(self._channel, mark, thread=thread, since=since)
            self._certain = True
            if found:
                return found
        await self._posts.take()
        self._certain = False
        ts = await self._smaller_each_time(
            message,
            mark.change,
            lambda small: self._slack.post(self._channel, small.text, small.blocks, mark=mark, thread=thread),
        )
        self._certain = True
        self.health.last_sent = datetime.now(UTC)
        return ts

    async def _smaller_each_time(
        self, message: Message, change_id: str, send: Callable[[Message], Awaitable[str]]
    ) -> str:
        """Send a message; where Slack refuses its form, send the text alone, then the least that can be said."""
        for small in (message, Message(message.minimal, ())):
            try:
                return await send(small)
            except RefusedError as error:
                if error.fault not in _MESSAGE_FAULTS:
                    raise
                self.health.cut_down += 1
                log.warning("Slack refused the form of a message on %s (%s); it goes out smaller.", change_id, error)
        return await send(_bare(change_id))

    def _note(self, error: Exception) -> None:
        """Keep what is wrong for `status`; an error that nobody foresaw goes to the log whole."""
        if isinstance(error, PassgateError):
            self.health.trouble = f"{error.message} {error.hint}".strip()
            log.warning("Reports to Slack wait: %s", self.health.trouble)
        else:
            self.health.trouble = f"Reports to Slack wait: {type(error).__name__}, see the log."
            log.error("Reports to Slack wait", exc_info=error)


def _bare(change_id: str) -> Message:
    """Return the least that can be said; nothing in it can be refused."""
    return Message(f"{change_id}: there is news that Slack did not take. See: passgate show {change_id}", ())


def _rendered(render: Callable[[], Message | None], change_id: str) -> Message | None:
    """Render; a record that can't be rendered is told barely, and does not hold up those behind it."""
    try:
        return render()
    except Exception:
        log.exception("A message on %s could not be rendered", change_id)
        return _bare(change_id)
