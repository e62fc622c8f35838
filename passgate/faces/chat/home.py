"""Keep people's App Homes up to date: when one is opened, and when something happens that concerns who has one.

Which Homes were opened is kept in the store as readers of the ledger, so that a Home that is open while the service
restarts is brought up to date by the next one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from passgate.connect.slack import Reply, backoff
from passgate.errors import NotAuthorizedError, PassgateError, UnknownNameError
from passgate.faces.chat import home_view
from passgate.faces.chat.home_view import Listed, Shown
from passgate.faces.chat.sender import Bucket
from passgate.model.change import Change, EventType, State
from passgate.model.decision import PLAN
from passgate.policy.votes import standing

if TYPE_CHECKING:
    from collections.abc import Callable

    from passgate.connect.slack import SlackConnector
    from passgate.faces.chat.callers import Callers
    from passgate.faces.chat.directory import Directory
    from passgate.faces.chat.links import Links
    from passgate.faces.chat.waits import Waits
    from passgate.store.store import Store

log = logging.getLogger(__name__)

CURSOR = "slack:homes"
OPENED = "slack:home:"
"""How the names of the readers begin that stand for Homes; the user's id follows."""
POLL = 1.0
BATCH = 500
NOT_BEGUN = (State.WAITING, State.APPROVED, State.SCHEDULED)
LOOKED_AT = 50
"""So many of the changes that are not begun are looked at for what a person decided."""


class Homes:
    """Publish Homes, each at most about once in a second all together (views.publish is Tier 4: 100 a minute)."""

    def __init__(
        self,
        connector: SlackConnector,
        store: Store,
        people: Directory,
        callers: Callers,
        *,
        seal: Callable[[Change, str], str],
        waits: Waits,
        links: Links,
        burst: int = 20,
        longest_pause: float = 30.0,
    ) -> None:
        self._slack, self._store, self._people, self._callers = connector, store, people, callers
        self._seal, self._waits, self._links = seal, waits, links
        self._pace = Bucket(burst=burst, per_second=1.5)
        self._longest_pause = longest_pause
        self._stale: dict[str, None] = {}
        self._known: set[str] = set()
        """Whose Homes were brought up to date by this process; another replica may have heard that one was opened."""
        self._notes: dict[str, str] = {}
        self._showing: dict[str, str] = {}
        self._teams: dict[str, str] = {}
        self._woken: asyncio.Event = asyncio.Event()
        self._runs = False
        """Whether this replica brings all Homes up to date; one that stands by shows those that are opened there."""

    def heard(self, event: dict[str, Any]) -> Reply:
        """Bring a Home up to date that was opened; other events pass by."""
        if event.get("type") != "app_home_opened" or event.get("tab", "home") != "home":
            return Reply()
        user = str(event.get("user", ""))

        async def opened() -> None:
            await asyncio.to_thread(self._store.advance, f"{OPENED}{user}", 1)
            self._showing.pop(user, None)
            self._notes.pop(user, None)
            self._mark(user)
            if not self._runs:
                await self._publish()

        return Reply(then=opened)

    def note(self, user: str, words: str) -> None:
        """Tell somebody something in their Home, until they open it the next time."""
        self._notes[user] = words
        self._mark(user)

    async def run(self) -> NoReturn:
        """Publish for ever. Woken by the store at once; events of other processes are seen within a second."""
        loop = asyncio.get_running_loop()

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._woken.set)

        self._store.listeners.append(wake)
        pauses = backoff(longest=self._longest_pause)
        self._runs = True
        try:
            while True:
                self._woken.clear()
                try:
                    await self._look()
                    await self._publish()
                except Exception as error:  # noqa: BLE001 - Homes must go on whatever went wrong with one
                    log.warning(
                        "App Homes wait: %s", error if isinstance(error, PassgateError) else type(error).__name__
                    )
                    await asyncio.sleep(next(pauses))
                    continue
                pauses = backoff(longest=self._longest_pause)
                try:
                    await asyncio.wait_for(self._woken.wait(), POLL)
                except TimeoutError:
                    continue
        finally:
            self._runs = False
            self._store.listeners.remove(wake)

    def _mark(self, user: str) -> None:
        self._stale[user] = None
        self._woken.set()

    async def _look(self) -> None:
        """Mark the Homes of those whom the news concern, and those that are new here: at the start all are."""
        opened = {name.removeprefix(OPENED) for name in await asyncio.to_thread(self._store.cursors, OPENED)}
        self._stale |= dict.fromkeys(opened - self._known)
        self._known |= opened
        while True:
            cursor = await asyncio.to_thread(self._store.cursor, CURSOR)
            events = await asyncio.to_thread(self._store.events, cursor, None, BATCH)
            for change_id in {event.change for event in events}:
                concerned = await asyncio.to_thread(self._concerned, change_id)
                self._stale |= dict.fromkeys(user for user in opened if user in concerned)
            if any(event.type is EventType.SCHEDULE for event in events):  # approvals that stood may be revoked
                self._stale |= dict.fromkeys(opened)
            if events:
                await asyncio.to_thread(self._store.advance, CURSOR, events[-1].seq)
            if len(events) < BATCH:
                return

    def _concerned(self, change_id: str) -> set[str]:
        """Return the Slack ids of who asked for a change, and of all who may, might or did decide on it."""
        try:
            change = self._store.change(change_id)
        except UnknownNameError:
            return set()  # an event of the ledger itself, of no change
        people = {change.requester.person, *(one.person for one in self._store.decisions(change_id))}
        if change.replaces:
            people.add(self._store.change(change.replaces).requester.person)
        if change.terms:
            for asked in (change.terms, *change.terms.gates.values()):
                people |= {*asked.voters, *(one for late in asked.escalations for one in late.voters)}
            people |= {one.person for one in change.terms.stand_ins}
            people |= set(change.terms.break_glass.reviewers if change.terms.break_glass else ())
        return {user for one in people if (user := self._people.slack_of(one))}

    async def _publish(self) -> None:
        for user in tuple(self._stale):
            await self._pace.take()
            self._stale.pop(user, None)
            try:
                view = await self._view(user)
                digest = hashlib.sha256(json.dumps(view, sort_keys=True).encode()).hexdigest()
                if self._showing.get(user) != digest:
                    await self._slack.publish_home(user, view)
                    self._showing[user] = digest
            except Exception:
                self._stale[user] = None
                raise

    async def _view(self, user: str) -> dict[str, Any]:
        try:
            person = await self._callers.person(user, (await self._slack.me()).team, so="nothing is shown to you")
        except NotAuthorizedError:
            return home_view.stranger(user)
        shown = await asyncio.to_thread(self._facts, person.id)
        linked = {
            name: tuple([replace(one, link=await self._links.of(one.change.id)) for one in listed])
            for name, listed in shown.items()
        }
        reviews = (await self._waits.reviews(person.id))[: home_view.MOST_REVIEWS]
        waiting, more = linked["waiting"], len(linked["waiting"]) > home_view.MOST_WAITING
        return home_view.home(
            self._people,
            self._seal,
            Shown(
                waiting[: home_view.MOST_WAITING],
                linked["decided"],
                linked["mine"],
                linked["ended"],
                more,
                self._notes.get(user, ""),
                await asyncio.to_thread(self._store.schedules.standing_of, person.id, datetime.now(UTC)),
                tuple([(await self._reviewed(one.change), one) for one in reviews]),
            ),
        )

    async def _reviewed(self, change_id: str) -> Listed:
        change = await asyncio.to_thread(self._store.change, change_id)
        return Listed(change, link=await self._links.of(change_id))

    def _facts(self, person: str) -> dict[str, list[Listed]]:
        """Read what concerns one person."""
        store = self._store
        waiting, _ = self._waits.of(person, home_view.MOST_WAITING + 1)
        decided = [
            one
            for one in map(self._listed, store.changes(NOT_BEGUN, LOOKED_AT))
            if person in standing(one.decisions, gate=PLAN, digest=one.change.digest or "")
        ]
        return {
            "waiting": [self._listed(one) for one in waiting],
            "decided": decided[: home_view.MOST_DECIDED],
            "mine": [Listed(one) for one in store.of_requester(person, home_view.MOST_MINE, ended=False)],
            "ended": [
                Listed(one, again=store.in_place_of(one.id))
                for one in store.of_requester(person, home_view.MOST_ENDED, ended=True)
            ],
        }

    def _listed(self, change: Change) -> Listed:
        return Listed(change, self._store.decisions(change.id))
