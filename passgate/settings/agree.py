"""Find what is right in each file of config/ and still can't be meant, such as policies that nobody can satisfy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from zoneinfo import available_timezones

from passgate.settings.people import Person
from passgate.settings.rules import Approval, Escalation, PolicyRule, Selector

PLAN = "plan"
"""Name that no second gate may bear: decisions on the plan as a whole have it (`passgate.model.decision.PLAN`)."""

RESERVED = {
    "passgate": "'passgate' is Passgate itself, no person may be called so",
    "prefect": "'prefect' stands in the record for whoever used Prefect directly, no person may be called so",
}
"""Names of the record that no person may bear, and why."""


class Disagreement(NamedTuple):
    """Say what can't be meant: which person or rule (`people` or `rules`, and its position), which field, and why."""

    part: str
    position: int
    field: str
    words: str


def disagreements(people: Sequence[Person], rules: Sequence[PolicyRule]) -> Iterator[Disagreement]:
    """Yield everything that can't be meant, people first, then the rules in their order."""
    yield from _about_people(people)
    groups = {group for person in people for group in person.groups}
    names = {person.id for person in people} | groups
    seen: dict[str, int] = {}
    for index, rule in enumerate(rules):
        if rule.name in seen:
            yield Disagreement("rules", index, "name", f"there are two rules called {rule.name!r}")
        seen[rule.name] = index
        for unknown in sorted(set(rule.requesters) - names - {"*"}):
            yield Disagreement(
                "rules", index, "requesters", f"{unknown!r} is neither a person nor a group in people.yaml"
            )
        yield from _about_approval(index, rule, people)
        yield from _about_hours(index, rule)
        yield from _about_glass(index, rule, groups, {person.id for person in people})
    yield from _about_all(rules)


def matches_everything(rule: PolicyRule) -> bool:
    """Say whether no change passes that rule by."""
    conditions = set(Selector.model_fields) | {"hours"}
    return all(not (said := getattr(rule, name)) or "*" in said for name in conditions)


def _meant_for_the_rest(rules: Sequence[PolicyRule]) -> int:
    """Return the position of the rule that is likeliest meant to be for all that the others don't know."""
    likely = (lambda rule: rule.default, lambda rule: bool(rule.approval) and matches_everything(rule))
    found = (index for test in likely for index, rule in enumerate(rules) if test(rule))
    return next(found, len(rules) - 1)


def _about_all(rules: Sequence[PolicyRule]) -> Iterator[Disagreement]:
    if rules and not any(rule.default and rule.approval and matches_everything(rule) for rule in rules):
        yield Disagreement(
            "rules",
            _meant_for_the_rest(rules),
            "name",
            "no rule is for what the others don't know; let one have `default: true`, an approval, and no conditions",
        )
    always = next((rule for rule in rules if not rule.default and rule.approval and matches_everything(rule)), None)
    for index, rule in enumerate(rules):
        if rule.pre_authorised and always is not None:
            yield Disagreement(
                "rules",
                index,
                "pre_authorised",
                f"rule {rule.name!r} authorises nothing: {always.name!r} asks for an approval of every change, and the "
                "stricter rule wins; give that one `default: true`",
            )


def _about_hours(index: int, rule: PolicyRule) -> Iterator[Disagreement]:
    for one in rule.hours:
        if one.zone not in available_timezones():
            yield Disagreement("rules", index, "hours", f"{one.zone!r} is no IANA time zone, such as Europe/Vienna")
        if one.start == one.end:
            yield Disagreement("rules", index, "hours", f"hours from {one.start} to {one.end} are none")


def _about_glass(index: int, rule: PolicyRule, groups: set[str], ids: set[str]) -> Iterator[Disagreement]:
    glass = rule.break_glass
    if glass is None:
        return
    named = [("group", one) for one in (*glass.groups, *glass.reviewers) if one not in groups]
    named += [("person", one) for one in glass.people if one not in ids]
    for what, name in named:
        yield Disagreement("rules", index, "break_glass", f"no {what} {name!r} is in people.yaml")
    if (glass.groups or glass.people) and not glass.reviewers:
        yield Disagreement("rules", index, "break_glass", "nobody reviews it afterwards; name reviewers")


def _about_people(people: Sequence[Person]) -> Iterator[Disagreement]:
    everybody = {person.id for person in people}
    ids: dict[str, str] = {}
    slacks: dict[str, str] = {}
    groups = {group for person in people for group in person.groups}
    for index, person in enumerate(people):
        if person.id in RESERVED:
            yield Disagreement("people", index, "id", RESERVED[person.id])
        if person.id in groups:
            yield Disagreement(
                "people", index, "id", f"{person.id!r} is a group as well; policies could not tell them apart"
            )
        if person.id in ids:
            yield Disagreement("people", index, "id", f"{person.id!r} is also the id of {ids[person.id]}")
        ids[person.id] = person.name
        if person.slack is not None and person.slack in slacks:
            yield Disagreement(
                "people", index, "slack", f"{person.slack} is also the Slack user of {slacks[person.slack]}"
            )
        if person.slack is not None:
            slacks[person.slack] = person.id
        for absence in person.absences:
            if absence.delegate is not None and absence.delegate not in everybody - {person.id}:
                yield Disagreement(
                    "people", index, "absences", f"{absence.delegate!r} is nobody else in people.yaml who could decide"
                )


def _about_approval(index: int, rule: PolicyRule, people: Sequence[Person]) -> Iterator[Disagreement]:
    if rule.pre_authorised and rule.approval:
        yield Disagreement(
            "rules", index, "name", f"rule {rule.name!r} has both pre_authorised and an approval; it needs one of them"
        )
    if rule.default and not rule.settles:
        yield Disagreement(
            "rules", index, "name", f"rule {rule.name!r} is a default and has neither pre_authorised nor an approval"
        )
    if rule.limit and not rule.pre_authorised:
        yield Disagreement("rules", index, "limit", f"rule {rule.name!r} limits what it does not authorise in advance")
    yield from _about_approvals(index, f"rule {rule.name!r}", "approval", rule.approval, people)
    yield from _about_escalations(index, "escalate", rule.escalate, people)
    for name, gate in rule.gates.items():
        if name == PLAN:
            yield Disagreement("rules", index, "gates", f"{PLAN!r} is the gate before the first step: see approval")
        yield from _about_approvals(index, f"gate {name!r} of rule {rule.name!r}", "gates", gate.approval, people)
        yield from _about_escalations(index, "gates", gate.escalate, people)
        yield from _about_others(index, rule, name, people)


def _about_approvals(
    index: int, what: str, field: str, approvals: Sequence[Approval], people: Sequence[Person]
) -> Iterator[Disagreement]:
    for approval in approvals:
        yield from _about_one(index, what, field, approval, people)
    members = _members(approvals, people)
    needed = sum(one.needed for one in approvals)
    if len(approvals) > 1 and members and not any(one.owners for one in approvals) and needed > len(members):
        yield Disagreement(
            "rules",
            index,
            field,
            f"{what} needs {needed} different people, but there are only {len(members)} "
            f"({', '.join(sorted(members))}): a policy that nobody can satisfy",
        )


def _about_one(
    index: int, what: str, field: str, approval: Approval, people: Sequence[Person]
) -> Iterator[Disagreement]:
    for group in approval.groups:
        if not any(group in person.groups for person in people):
            yield Disagreement("rules", index, field, f"nobody in people.yaml is in the group {group!r}")
    for one in approval.people:
        if all(one != person.id for person in people):
            yield Disagreement("rules", index, field, f"{one!r} is no person in people.yaml")
    members = _members((approval,), people)
    for word, count in (("approvals", approval.needed), ("denials", approval.denials)):
        if members and not approval.owners and count > len(members):
            yield Disagreement(
                "rules",
                index,
                field,
                f"{what} needs {count} {word}, but {' and '.join((*approval.groups, *approval.people))} have only "
                f"{len(members)} members ({', '.join(sorted(members))}): a policy that nobody can satisfy",
            )


def _about_escalations(
    index: int, field: str, escalations: Sequence[Escalation], people: Sequence[Person]
) -> Iterator[Disagreement]:
    groups = {group for person in people for group in person.groups}
    for group in (group for one in escalations for group in one.groups if group not in groups):
        yield Disagreement("rules", index, field, f"nobody in people.yaml is in the group {group!r}")


def _about_others(index: int, rule: PolicyRule, name: str, people: Sequence[Person]) -> Iterator[Disagreement]:
    gate = rule.gates[name]
    both = (*rule.approval, *gate.approval)
    if not rule.approval or not gate.others or any(one.owners for one in both):
        return
    members = _members(both, people)
    needed = sum(one.needed for one in both)
    if members and needed > len(members):
        yield Disagreement(
            "rules",
            index,
            "gates",
            f"rule {rule.name!r} and its gate {name!r} need {needed} different people, but their groups have only "
            f"{len(members)} members ({', '.join(sorted(members))}): a policy that nobody can satisfy",
        )


def _members(approvals: Sequence[Approval], people: Sequence[Person]) -> set[str]:
    groups = {group for one in approvals for group in one.groups}
    named = {person for one in approvals for person in one.people}
    return {person.id for person in people if person.id in named or set(person.groups) & groups}
