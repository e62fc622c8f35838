"""Watch hosts for USB devices that come, go, are exchanged, or fall off their VMs; it only reads and tells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from passgate.engine.steps import Confirmation, Effect, Look, NoUndo, Saw, Systems
from passgate.errors import PassgateError, RecordError, SupersededError, WorldError
from passgate.model.inventory import Inventory
from passgate.model.watching import Watching

UNITS = {"s": "seconds", "m": "minutes", "h": "hours"}


def span(text: str) -> timedelta:
    """Return how long `90s`, `10m` or `2h` is."""
    return timedelta(**{UNITS[text[-1]]: int(text[:-1])})


@dataclass(frozen=True)
class Usb(Look):
    """Watch the hosts whose names fit, all without a pattern, for `lasting`; an empty `lasting` looks once.

    One look is one short `confirm`, so that a watch of hours holds no thread and stands in nobody's way. What it knows
    is in its notes: after a crash it goes on until the moment that was set at its start, and tells nothing twice.
    """

    patience: ClassVar[timedelta] = timedelta(hours=9)  # more than the longest watch: each ends by itself
    look_every: ClassVar[timedelta] = timedelta(seconds=1)

    hosts: tuple[str, ...] = ()
    lasting: str = ""
    shells: bool = True

    @property
    def title(self) -> str:
        """Say what is done."""
        how = f"Watch the USB devices of {', '.join(self.hosts) or 'all hosts'}"
        return f"{how} for {self.lasting}" if self.lasting else f"{how}: one look"

    def effect(self, site: Inventory) -> Effect:
        """Change nothing; what will happen meanwhile is not known."""
        return Effect(needed=True, before="not watched", after="whatever came, went or fell off was told", then=site)

    def expected(self) -> timedelta:
        """Return how long it watches, and looks once."""
        return self.takes + (span(self.lasting) if self.lasting else timedelta())

    def confirm(self, systems: Systems) -> Confirmation:
        """Look, if it is time to, and tell what changed; say yes when the watch is over."""
        at = datetime.now(UTC)
        known = systems.notes.recall(Watching)
        watch = known or Watching(until=at + span(self.lasting) if self.lasting else at)
        if self.lasting and self.shells:
            for host, news in systems.logs.news(watch.ids).items():
                watch = watch.with_lines(host, news.lines)
        if watch.is_due(at):
            watch = self._looked(systems, watch)
        watch = watch.at_moment(at)
        if watch is not known:
            systems.notes.keep(watch)
        if watch.to_tell:
            watch = _told(systems, watch)
        if not watch.is_over(at):
            return Confirmation(Saw.NO, f"watching until {watch.until:%H:%M:%S} UTC; {watch.looks} looks so far")
        systems.logs.end()
        if not watch.looks:
            raise WorldError(f"Nothing could be watched: {watch.vcenter_lost}", subject=self.title)
        facts = {kind.value: count for kind, count in watch.counts.items()}
        return Confirmation(Saw.YES, watch.summary, {"looks": watch.looks, "news": facts}, table=watch.table())

    def _looked(self, systems: Systems, watch: Watching) -> Watching:
        began = datetime.now(UTC)
        try:
            reading = systems.survey.read(self.hosts, shells=self.shells)
        except (RecordError, SupersededError):
            raise
        except PassgateError as error:
            at = datetime.now(UTC)
            return watch.without_reading(f"{error.message} {error.hint}".strip(), at, at - began)
        at = datetime.now(UTC)
        return watch.with_reading(reading, at, at - began)

    def undo(self) -> NoUndo:
        """Leave nothing behind."""
        return NoUndo("it only reads", leaves=False)


def _told(systems: Systems, watch: Watching) -> Watching:
    """Tell what is to be told, and note that it was: what a killed process told just before is not told again."""
    for message in watch.to_tell:
        if not systems.notes.was_told(message.number):
            systems.tell(message.words, message.facts)
    systems.notes.all_told()
    told = watch.told()
    systems.notes.keep(told)
    return told
