"""Find what waits for a person, the soonest deadline first, without reading more than is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from passgate.model.change import Change
from passgate.model.review import Review

if TYPE_CHECKING:
    from passgate.store.store import Store

PAGE = 100


class Desk(Protocol):
    """What this needs of the engine."""

    def waits_for(self, change: Change, person: str) -> bool:
        """Say whether a change waits for that person's decision now."""

    async def reviews_for(self, person: str) -> tuple[Review, ...]:
        """Return the reviews that wait for that person now, the one that is due first at the top."""


class Waits:
    """Go through the open changes by their deadlines, as far as is asked."""

    def __init__(self, store: Store, desk: Desk) -> None:
        self._store, self._desk = store, desk

    async def reviews(self, person: str) -> tuple[Review, ...]:
        """Return the reviews of broken glasses that a person may close now."""
        return await self._desk.reviews_for(person)

    def of(self, person: str, most: int) -> tuple[list[Change], bool]:
        """Return what waits for a person, at most so many, and whether there is more."""
        found: list[Change] = []
        start = 0
        while page := self._store.soonest(start, PAGE):
            for change in page:
                if not self._desk.waits_for(change, person):
                    continue
                if len(found) == most:
                    return found, True
                found.append(change)
            start += PAGE
        return found, False
