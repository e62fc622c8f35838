"""Hold what a watch knows while it goes on, and say what it tells of that, and when. Pure.

All of it can be written down and read again, so that a watch goes on after its process died: until the same moment, and
without telling anything twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from pydantic import Field

from passgate.model.census import Census, EstateReading, take_census
from passgate.model.counted import counted
from passgate.model.frozen import Frozen
from passgate.model.inventory import HostId
from passgate.model.table import Table
from passgate.model.watch import HostState, News, NewsKind, compared, states_of

EVERY = timedelta(seconds=5)
"""Time between two looks at everything when nothing calls for one."""
AT_ONCE = timedelta(seconds=1)
"""Time between two looks when lines of a log call for them; a chatty host must not be asked without end."""
SHARE = 4
"""How many times longer than a look took the next one waits: a watch of thousands of hosts is no constant load."""
MINUTE = timedelta(minutes=1)
A_MINUTE = 10
"""Messages in a minute; what is beyond that is told as one sum. Slack takes one message a second from all of us."""
KEPT_NEWS = 2000
"""News that the table at the end holds; a device that comes and goes every second must not fill the disk."""
LINES, LINE = 3, 200
"""How many lines of a host's log are shown with its news, and how much of each."""
STANDING = 5
"""How many of the findings at the start are told; all of them are in the table at the end."""


class Noted(Frozen):
    """Hold one piece of news with its moment, and the lines of the host's log that came right before."""

    at: datetime
    news: News
    log: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Return it as people are told it; the log's lines are shown as they came, and nothing is read from them."""
        host = f"{self.news.host}: " if self.news.host else ""
        log = f" (vmkernel.log: {' | '.join(self.log)})" if self.log else ""
        return f"{self.at:%H:%M:%S} {host}{self.news.words}{log}"


class Message(Frozen):
    """Hold a message that is to be told; its number is told with it, so that it is told once."""

    number: int
    words: str
    facts: dict[str, str] = Field(default_factory=dict)


class Watching(Frozen):
    """Hold a watch: until when it goes on, what was seen last, what was noted, and what is still to be told.

    `lines` are those of logs since the last look, by host. `held` counts by kind what was not told in this minute.
    """

    until: datetime
    states: dict[str, HostState] = Field(default_factory=dict)
    ids: tuple[HostId, ...] = ()
    looks: int = 0
    looked_at: datetime | None = None
    took: timedelta = timedelta()
    vcenter_lost: str | None = None
    lines: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    is_called: bool = False
    noted: tuple[Noted, ...] = ()
    left_out: int = 0
    counts: dict[NewsKind, int] = Field(default_factory=dict)
    minute: datetime | None = None
    told_in_minute: int = 0
    held: dict[NewsKind, int] = Field(default_factory=dict)
    messages: int = 0
    to_tell: tuple[Message, ...] = ()

    def is_over(self, at: datetime) -> bool:
        """Say whether its time is over."""
        return at >= self.until

    def is_due(self, at: datetime) -> bool:
        """Say whether it is time to look."""
        if self.looked_at is None or self.is_over(at):
            return True
        pause = max(AT_ONCE if self.is_called else EVERY, self.took * SHARE)
        return at - self.looked_at >= pause

    def with_lines(self, host: str, lines: Iterable[str]) -> Watching:
        """Take in new lines of a host's log, or that it is followed anew: a reason to look either way."""
        kept = (*self.lines.get(host, ()), *(line[:LINE] for line in lines))[-LINES:]
        return self.model_copy(update={"lines": {**self.lines, host: kept}, "is_called": True})

    def with_reading(self, reading: EstateReading, at: datetime, took: timedelta) -> Watching:
        """Compare a reading with what was seen last, and note the difference."""
        noted: list[Noted] = []
        if self.vcenter_lost:
            noted.append(Noted(at=at, news=_of_vcenter(NewsKind.VCENTER_BACK, "vCenter can be read again")))
        states: dict[str, HostState] = {}
        now = states_of(reading)
        for ref, state in now.items():
            news, states[ref] = compared(self.states.get(ref), state)
            noted += [Noted(at=at, news=one, log=self.lines.get(state.host, ())) for one in news]
        for ref, state in self.states.items():
            if ref not in now:
                gone = News(kind=NewsKind.HOST_LOST, host=state.host, words="is not in vCenter any more")
                noted.append(Noted(at=at, news=gone))
        looked = self.model_copy(
            update={
                "states": states,
                "ids": tuple(one.host.id for one in reading.readings),
                "looks": self.looks + 1,
                "looked_at": at,
                "took": took,
                "vcenter_lost": None,
                "lines": {},
                # What follows from a change, such as a VM that loses its device, comes moments later.
                "is_called": bool(noted),
            }
        )
        if not self.looks:
            looked = _begun(looked, take_census(reading), at)
        return _with(looked, noted, at)

    def without_reading(self, why: str, at: datetime, took: timedelta) -> Watching:
        """Note that nothing could be read; it is told once, until it can be read again."""
        news = _of_vcenter(NewsKind.VCENTER_LOST, f"nothing can be read: {why}")
        looked = self.model_copy(
            update={"looked_at": at, "took": took, "vcenter_lost": why, "is_called": False, "lines": {}}
        )
        return looked if self.vcenter_lost else _with(looked, [Noted(at=at, news=news)], at)

    def at_moment(self, at: datetime) -> Watching:
        """Tell what was held back in a minute that is over, or at the end."""
        if self.minute is None or (at - self.minute < MINUTE and not self.is_over(at)):
            return self
        return _flushed(self, at)

    def told(self) -> Watching:
        """Return the watch when all that was to be told was told."""
        return self.model_copy(update={"to_tell": ()})

    @property
    def summary(self) -> str:
        """Say what happened, in a line."""
        counts = {kind: count for kind, count in self.counts.items() if kind is not NewsKind.STANDING}
        what = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing happened"
        standing = self.counts.get(NewsKind.STANDING, 0)
        start = f"; {standing} against config from the start" if standing else ""
        lost = f"; at the end nothing could be read: {self.vcenter_lost}" if self.vcenter_lost else ""
        return (
            f"{counted(len(self.states), 'host')} watched until {self.until:%H:%M:%S} UTC, "
            f"{counted(self.looks, 'look')}: {what}{start}{lost}"
        )

    def table(self) -> Table:
        """Return what was noted, the oldest first."""
        rows = tuple(
            (
                f"{one.at:%Y-%m-%d %H:%M:%S}", one.news.host, one.news.kind.value, one.news.device, one.news.place,
                one.news.vm, one.news.words, " | ".join(one.log),
            )
            for one in self.noted
        )  # fmt: skip
        more = f" ({self.left_out} more are only counted)" if self.left_out else ""
        columns = ("when (UTC)", "host", "what", "ids", "path", "vm", "words", "vmkernel.log")
        brief = ("when (UTC)", "host", "what", "words")
        return Table(name="usb-watch", title=f"{self.summary}{more}", columns=columns, rows=rows, brief=brief)


def _of_vcenter(kind: NewsKind, words: str) -> News:
    return News(kind=kind, host="", words=words)


def _facts(one: Noted) -> dict[str, str]:
    return {
        "what": one.news.kind.value, "host": one.news.host, "device": one.news.device, "place": one.news.place,
        "vm": one.news.vm, "log": " | ".join(one.log),
    }  # fmt: skip


def _begun(watch: Watching, census: Census, at: datetime) -> Watching:
    """Tell how things stand at the start."""
    standing = [
        Noted(at=at, news=News(kind=NewsKind.STANDING, host=row.host, words=one.words, device=row.ids, vm=row.user))
        for row in census.rows
        for one in row.against_config
    ]
    first = [one.news.words for one in standing[:STANDING]]
    more = [f"{len(standing) - STANDING} more"] if len(standing) > STANDING else []
    found = f" Against config: {'; '.join([*first, *more])}." if standing else ""
    until = f"Watching until {watch.until:%H:%M:%S} UTC. At the start: " if watch.until > at else "One look: "
    words = f"{until}{census.summary}.{found}"
    return _telling(_noting(watch, standing), [(words, {})])


def _with(watch: Watching, noted: list[Noted], at: datetime) -> Watching:
    """Note it all, and tell as much of it as a minute has room for."""
    if not noted:
        return watch
    watch = _noting(watch, noted).at_moment(at)
    if watch.minute is None:
        watch = watch.model_copy(update={"minute": at})
    room = max(0, A_MINUTE - watch.told_in_minute)
    now, later = noted[:room], noted[room:]
    held = Counter(watch.held)
    held.update(one.news.kind for one in later)
    watch = watch.model_copy(update={"told_in_minute": watch.told_in_minute + len(now), "held": dict(held)})
    return _telling(watch, [(one.words, _facts(one)) for one in now])


def _noting(watch: Watching, noted: list[Noted]) -> Watching:
    kept = (*watch.noted, *noted)
    counts = Counter(watch.counts)
    counts.update(one.news.kind for one in noted)
    over = max(0, len(kept) - KEPT_NEWS)
    return watch.model_copy(
        update={"noted": kept[:KEPT_NEWS], "left_out": watch.left_out + over, "counts": dict(counts)}
    )


def _flushed(watch: Watching, at: datetime) -> Watching:
    calm = watch.model_copy(update={"minute": None, "told_in_minute": 0, "held": {}})
    if not watch.held:
        return calm
    what = ", ".join(f"{count} {kind}" for kind, count in watch.held.items())
    words = f"{at:%H:%M:%S} {sum(watch.held.values())} more since {watch.minute:%H:%M:%S}: {what}"
    return _telling(calm, [(f"{words}. All of it is in the table at the end.", {})])


def _telling(watch: Watching, said: list[tuple[str, Mapping[str, str]]]) -> Watching:
    new = tuple(
        Message(number=number, words=words, facts={**facts, "message": str(number)})
        for number, (words, facts) in enumerate(said, watch.messages + 1)
    )
    return watch.model_copy(update={"messages": watch.messages + len(new), "to_tell": (*watch.to_tell, *new)})
