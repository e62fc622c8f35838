"""Find what is right in each entry of the calendar and still can't be meant, such as a name that two of them bear."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from passgate.settings.agree import Disagreement
from passgate.settings.calendar import Entry, Freeze, Window
from passgate.settings.people import Person


def calendar_disagreements(
    windows: Sequence[Window], freezes: Sequence[Freeze], people: Sequence[Person]
) -> Iterator[Disagreement]:
    """Yield everything that can't be meant, windows first; `part` is `windows` or `freezes`."""
    groups = {group for person in people for group in person.groups}
    names = {person.id for person in people} | groups
    seen: set[str] = set()
    for part, entries in (("windows", windows), ("freezes", freezes)):
        for index, entry in enumerate(entries):
            yield from _about(part, index, entry, seen, names)
            if isinstance(entry, Freeze):
                for group in (one for one in entry.override if one not in groups):
                    yield Disagreement(part, index, "override", f"nobody in people.yaml is in the group {group!r}")


def _about(part: str, index: int, entry: Entry, seen: set[str], names: set[str]) -> Iterator[Disagreement]:
    if entry.name in seen:
        yield Disagreement(part, index, "name", f"there are two entries called {entry.name!r}")
    seen.add(entry.name)
    for unknown in (one for one in entry.requesters if one not in names | {"*"}):
        yield Disagreement(part, index, "requesters", f"{unknown!r} is neither a person nor a group in people.yaml")
