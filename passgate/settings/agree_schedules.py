"""Find what is right in each file of config/schedules/ and still can't be meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from passgate.settings.agree import Disagreement
from passgate.settings.people import Person
from passgate.settings.schedules import ScheduleRule


def schedule_disagreements(schedules: Sequence[ScheduleRule], people: Sequence[Person]) -> Iterator[Disagreement]:
    """Yield everything that can't be meant, in the order of the schedules."""
    known = {person.id for person in people}
    seen: set[str] = set()
    for index, one in enumerate(schedules):
        if one.name in seen:
            yield Disagreement("schedules", index, "name", f"there are two schedules called {one.name!r}")
        seen.add(one.name)
        if one.author not in known:
            yield Disagreement(
                "schedules",
                index,
                "author",
                f"{one.author!r} is not in people.yaml, and a schedule asks in the name of a person",
            )
