"""Say who may let a change through a freeze. Pure."""

from __future__ import annotations

from collections.abc import Collection

from passgate.errors import InputError, PolicyError, UnknownNameError
from passgate.model.decision import Terms
from passgate.policy.facts import Facts, selects
from passgate.settings.calendar import Calendar, Freeze
from passgate.settings.people import People


def may_override(  # noqa: PLR0917 - what the words of a refusal need
    calendar: Calendar, facts: Facts, terms: Terms | None, people: People, person: str, freeze: str
) -> None:
    """Return when that person may let that change through that freeze; raise in words when not.

    Only members of the groups that the freeze names may, never for a change of their own: neither who asked, nor
    whoever stands behind it or acts for them. Raises UnknownNameError for a freeze that is not there, InputError for
    one that is not about the change, and PolicyError for whom it does not let.
    """
    found = next((one for one in calendar.freezes if one.name == freeze), None)
    about = [one.name for one in calendar.freezes if selects(one, facts, every=False)]
    if found is None:
        raise UnknownNameError(
            f"There is no freeze {freeze!r} in config/calendar/.",
            hint=f"Freezes that are about this change: {', '.join(about) or 'none'}.",
            subject="freeze",
        )
    if freeze not in about:
        raise InputError(
            f"The freeze {freeze!r} is not about this change, and does not stop it.",
            hint=f"Freezes that are: {', '.join(about) or 'none'}.",
            subject="freeze",
        )
    excluded = terms.excluded if terms else {}
    if person == facts.requester or person in excluded:
        why = excluded.get(person, "asks for it")
        raise PolicyError(
            f"{person}, who {why}, can't let this change through a freeze.",
            hint=f"Ask one of: {', '.join(_others(found, people, {facts.requester, *excluded})) or 'nobody'}.",
            subject=person,
        )
    if person not in _others(found, people, set()):
        raise PolicyError(
            f"{person} is not among those who may override the freeze {freeze!r}.",
            hint=f"Members of {' or '.join(found.override) or 'no group'} may: "
            f"{', '.join(_others(found, people, {facts.requester, *excluded})) or 'nobody'}.",
            subject=person,
        )


def _others(freeze: Freeze, people: People, but: Collection[str]) -> tuple[str, ...]:
    return tuple(one.id for one in people.people if one.id not in but and set(one.groups) & set(freeze.override))
