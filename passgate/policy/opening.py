"""Hold what the calendar says of a change at a moment."""

from __future__ import annotations

from datetime import datetime

from passgate.model.frozen import Frozen


class Holding(Frozen):
    """Hold an entry of the calendar that is about a change, and when it holds, held last or will hold next."""

    name: str
    kind: str
    text: str = ""
    what: str = ""
    since: datetime | None = None
    until: datetime | None = None
    override: tuple[str, ...] = ()


class Opening(Frozen):
    """Hold whether a change may begin at a moment, and what that follows from.

    `since` and `until` bound how it stands at that moment (None: further than it is looked), whether a run fits or not;
    `next` is the next moment at which it may begin, `at` itself if it may now. `reasons` say all of it in words.
    """

    at: datetime
    open: bool
    fits: bool
    since: datetime | None = None
    until: datetime | None = None
    next: datetime | None = None
    windows: tuple[Holding, ...] = ()
    freezes: tuple[Holding, ...] = ()
    overridden: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def may_begin(self) -> bool:
        """Say whether a change may be begun now: it is open, and there is time enough."""
        return self.open and self.fits
