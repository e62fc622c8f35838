"""Know people by both their names: the id in config/people.yaml and the Slack user id."""

from __future__ import annotations

from collections.abc import Iterable

from passgate.faces.chat.text import safe
from passgate.settings.people import People, Person

MOST = 20
"""So many people are named in one message; the others are counted."""


class Directory:
    """Look people up. The table in config is the only way from a Slack user to a person (reference approvals 5.6)."""

    def __init__(self, people: People) -> None:
        self.people = people
        self._by_id = {person.id: person for person in people.people}
        self._by_slack = {person.slack: person for person in people.people if person.slack}

    def of_slack(self, user: str) -> Person | None:
        """Return the person with that Slack user id."""
        return self._by_slack.get(user)

    def slack_of(self, person: str) -> str | None:
        """Return the Slack user id of a person, if they have one."""
        known = self._by_id.get(person)
        return known.slack if known else None

    def name(self, person: str) -> str:
        """Return the person's name, safe to stand in a message; an id that is not listed stays as it is."""
        if person == "passgate":
            return "Passgate"
        known = self._by_id.get(person)
        return safe(known.name if known else person, 80)

    def mention(self, person: str) -> str:
        """Return what pings the person in Slack, or the name of one who has no Slack id."""
        known = self._by_id.get(person)
        return f"<@{known.slack}>" if known and known.slack else self.name(person)

    def names(self, people: Iterable[str]) -> str:
        """Return their names, the first MOST of them."""
        return _listed([self.name(person) for person in people])

    def mentions(self, people: Iterable[str]) -> str:
        """Return what pings them, the first MOST of them."""
        return _listed([self.mention(person) for person in people])


def _listed(words: list[str]) -> str:
    more = [f"and {len(words) - MOST} more"] if len(words) > MOST else []
    return ", ".join(words[:MOST] + more)
