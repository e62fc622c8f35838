"""Find what is right in each file of config/ and still can't be meant, such as policies that nobody can satisfy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from passgate.settings.shape import Approval, Person, PolicyRule

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
    catch_all: PolicyRule | None = None
    for index, rule in enumerate(rules):
        if rule.name in seen:
            yield Disagreement("rules", index, "name", f"there are two rules called {rule.name!r}")
        seen[rule.name] = index
        if catch_all is not None:
            yield Disagreement(
                "rules", index, "name", f"rule {rule.name!r} is never reached: {catch_all.name!r} before it matches all"
            )
        elif matches_everything(rule):
            catch_all = rule
        for unknown in sorted(set(rule.requesters) - names - {"*"}):
            yield Disagreement(
                "rules", index, "requesters", f"{unknown!r} is neither a person nor a group in people.yaml"
            )
        yield from _about_approval(index, rule, people)
    if rules and catch_all is None:
        yield Disagreement(
            "rules",
            len(rules) - 1,
            "name",
            "no rule matches every change; let the last one have no runbooks, risks, vms and requesters",
        )


def matches_everything(rule: PolicyRule) -> bool:
    """Say whether no change passes that rule by."""
    return "*" in rule.runbooks and not rule.risks and "*" in rule.vms and "*" in rule.requesters


def _about_people(people: Sequence[Person]) -> Iterator[Disagreement]:
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


def _about_approval(index: int, rule: PolicyRule, people: Sequence[Person]) -> Iterator[Disagreement]:
    if rule.pre_authorised == (rule.approval is not None):
        both = (
            "both pre_authorised and an approval" if rule.pre_authorised else "neither pre_authorised nor an approval"
        )
        yield Disagreement("rules", index, "name", f"rule {rule.name!r} has {both}; it needs exactly one of them")
    if rule.approval is not None:
        yield from _about_groups(index, f"rule {rule.name!r}", "approval", rule.approval, people)
    for name, gate in rule.gates.items():
        if name == PLAN:
            yield Disagreement("rules", index, "gates", f"{PLAN!r} is the gate before the first step: see approval")
        yield from _about_groups(index, f"gate {name!r} of rule {rule.name!r}", "gates", gate.approval, people)
        yield from _about_others(index, rule, name, people)


def _about_groups(
    index: int, what: str, field: str, approval: Approval, people: Sequence[Person]
) -> Iterator[Disagreement]:
    for group in approval.groups:
        if not any(group in person.groups for person in people):
            yield Disagreement("rules", index, field, f"nobody in people.yaml is in the group {group!r}")
    members = _members(approval, people)
    for word, count in (("approvals", approval.needed), ("denials", approval.denials)):
        if members and count > len(members):
            yield Disagreement(
                "rules",
                index,
                field,
                f"{what} needs {count} {word}, but {' and '.join(approval.groups)} have only "
                f"{len(members)} members ({', '.join(sorted(members))}): a policy that nobody can satisfy",
            )


def _about_others(index: int, rule: PolicyRule, name: str, people: Sequence[Person]) -> Iterator[Disagreement]:
    gate = rule.gates[name]
    if rule.approval is None or not gate.others:
        return
    both = _members(rule.approval, people) | _members(gate.approval, people)
    needed = rule.approval.needed + gate.approval.needed
    if both and needed > len(both):
        yield Disagreement(
            "rules",
            index,
            "gates",
            f"rule {rule.name!r} and its gate {name!r} need {needed} different people, but their groups have only "
            f"{len(both)} members ({', '.join(sorted(both))}): a policy that nobody can satisfy",
        )


def _members(approval: Approval, people: Sequence[Person]) -> set[str]:
    return {person.id for person in people if set(person.groups) & set(approval.groups)}
