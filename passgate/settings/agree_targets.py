"""Find what is right in config/targets.yaml, and in what speaks of it, and still can't be meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from passgate.settings.agree import Disagreement
from passgate.settings.calendar import Calendar
from passgate.settings.people import Person
from passgate.settings.rules import PolicyRule, Selector
from passgate.settings.targets import Targets


def target_disagreements(
    targets: Targets, rules: Sequence[PolicyRule], calendar: Calendar, people: Sequence[Person]
) -> Iterator[Disagreement]:
    """Yield owners that nobody is, environments that are not there, and owners who are asked where nobody owns."""
    yield from _about_owners(targets, people)
    selectors: dict[str, Sequence[Selector]] = {
        "rules": rules,
        "windows": calendar.windows,
        "freezes": calendar.freezes,
    }
    for part, entries in selectors.items():
        for index, entry in enumerate(entries):
            yield from (Disagreement(part, index, "environments", words) for words in _unknown(entry, targets))
    for index, rule in enumerate(rules):
        asked = (*rule.approval, *(one for gate in rule.gates.values() for one in gate.approval))
        if any(one.owners for one in asked) and not targets.owners:
            words = "it asks the owners of the VMs, but config/targets.yaml names no owners"
            yield Disagreement("rules", index, "approval", words)


def _about_owners(targets: Targets, people: Sequence[Person]) -> Iterator[Disagreement]:
    persons, groups = {one.id for one in people}, {group for one in people for group in one.groups}
    for index, owners in enumerate(targets.owners):
        for name in owners.people:
            if name not in persons:
                yield Disagreement("owners", index, "people", f"there is no person {name!r} in people.yaml")
        for name in owners.groups:
            if name not in groups:
                yield Disagreement("owners", index, "groups", f"nobody in people.yaml is in the group {name!r}")


def _unknown(entry: Selector, targets: Targets) -> Iterator[str]:
    """Yield words for each plain name that is not there; a pattern such as `prod-*` may fit none today."""
    for name in entry.environments:
        if name not in targets.environments and not set(name) & set("*?["):
            there = ", ".join(targets.environments) or "none"
            yield f"there is no environment {name!r} in config/targets.yaml (there: {there})"
