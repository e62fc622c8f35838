"""Choose the terms that a change has to meet, from the policy as it is when the change is filed. Pure.

All rules that match apply, and the strictest wins, field by field; what each asked for is kept in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from passgate.errors import PolicyError
from passgate.model.decision import (
    Escalation,
    GateTerms,
    GlassBroken,
    Kind,
    Requirement,
    Said,
    StandIn,
    Terms,
)
from passgate.policy.explain import said, span_words
from passgate.policy.facts import Facts, in_hours, selects
from passgate.policy.seats import can_fill
from passgate.settings.people import People
from passgate.settings.rules import APPROVE_WITHIN, EXECUTE_WITHIN, Approval, GateRule, Policy, PolicyRule
from passgate.settings.rules import Escalation as EscalationRule

UNKNOWN_REQUESTERS = frozenset({"prefect"})
"""Names that stand in the record for whoever asked, where nobody knows who it was (`passgate.settings.agree`)."""


class Match(NamedTuple):
    """Say whether a rule applies, and why not, if it matches and still does not."""

    rule: PolicyRule
    why_not: str = ""


def matching(policy: Policy, facts: Facts) -> tuple[Match, ...]:
    """Return the rules that match, in their order, each with the reason if it gives way.

    A rule that only authorises in advance must fit the whole change; it gives way to warnings, for to override one is a
    decision of a person, to its limit, and to any rule that asks. A default rule gives way where another rule says, of
    the whole change, who approves.
    """
    found = [one for one in policy.rules if _matches(one, facts)]
    standing = [one for one in found if not one.default and not _gives_way(one, facts)]
    asks = next((one for one in standing if one.approval), None)
    settling = [one for one in standing if one.approval or (one.pre_authorised and asks is None)]
    covers = next((one for one in settling if selects(one, facts, every=True)), None)
    matches = []
    for rule in found:
        why_not = _gives_way(rule, facts)
        if not why_not and rule.default and covers is not None:
            why_not = f"a default rule; {covers.name!r} says who approves"
        if not why_not and rule.pre_authorised and asks is not None:
            why_not = f"{asks.name!r} asks for an approval, and the stricter rule wins"
        matches.append(Match(rule, why_not))
    return tuple(matches)


def choose(policy: Policy, people: People, facts: Facts) -> Terms:
    """Return the terms of all rules that apply, put together.

    Raises PolicyError when no rule applies, when who asks may not break the glass, and when too few people besides
    those excluded could ever approve.
    """
    groups = tuple(group for one in people.people if one.id == facts.requester for group in one.groups)
    facts = facts.model_copy(update={"groups": groups})
    matches = matching(policy, facts)
    rules = tuple(one.rule for one in matches if not one.why_not)
    if not any(rule.settles for rule in rules):
        raise PolicyError(
            f"No rule in config/policies/ says who approves {facts.runbook} (risk {facts.risk.value}) asked for by "
            f"{facts.requester}{_gave_way(matches)}.",
            hint="Let one rule have `default: true`, no conditions, and an approval.",
            subject=facts.runbook,
        )
    excluded = dict(_excluded(people, facts))
    stand_ins = tuple(_stand_ins(people, facts, excluded))
    seats = _Seats(people, facts, excluded, stand_ins)
    terms = Terms(
        policy=" + ".join(rule.name for rule in rules if _has_a_say(rule)),
        kind=Kind.STANDARD if all(not rule.approval for rule in rules) and facts.kind is Kind.NORMAL else facts.kind,
        pre_authorised=all(not rule.approval for rule in rules),
        excluded=excluded,
        stand_ins=stand_ins,
        requirements=seats.requirements((rule.name, one) for rule in rules for one in rule.approval),
        doors=_doors(rules),
        approve_within=_shortest((rule.approve_within for rule in _saying(rules, "approve_within")), APPROVE_WITHIN),
        execute_within=_shortest((rule.execute_within for rule in _saying(rules, "execute_within")), EXECUTE_WITHIN),
        undo_on_failure=all(rule.undo_on_failure for rule in _saying(rules, "undo_on_failure")),
        reason_required=any(rule.reason_required for rule in rules),
        remind=_moments(rule.remind for rule in rules),
        escalations=seats.escalations(one for rule in rules for one in rule.escalate),
        standing=min((rule.standing for rule in rules if rule.standing), default=None),
        mends=_all_that_say(rule.mends for rule in rules),
        targets=facts.targets,
        said=(*(said(one.rule, one.why_not, facts) for one in matches), *_of_unknown(facts)),
    )
    if facts.kind is Kind.BREAK_GLASS:
        return _broken(terms, rules, people, facts)
    seats.require_enough(terms.requirements, f"Policy {terms.policy!r}")
    # A rule that may not authorise this in advance keeps its say about second gates.
    speaking = (*rules, *(one.rule for one in matches if one.why_not and one.rule.pre_authorised))
    known = [name for name in facts.gates if any(name in rule.gates for rule in speaking)]
    gates = {name: _gate(name, speaking, terms, seats) for name in known}
    return terms.model_copy(update={"gates": gates})


class _Seats:
    """Find who may decide what, besides those who are excluded."""

    def __init__(self, people: People, facts: Facts, excluded: dict[str, str], stand_ins: Sequence[StandIn]) -> None:
        self._people, self._facts, self._excluded, self._stand_ins = people, facts, excluded, stand_ins

    def requirements(self, asking: Iterable[tuple[str, Approval]]) -> tuple[Requirement, ...]:
        """Return what rules ask for; where several ask the same people, the one that asks for most."""
        same: dict[tuple[object, ...], list[tuple[str, Approval]]] = {}
        for rule, one in asking:
            same.setdefault((one.groups, one.people, one.owners), []).append((rule, one))
        return tuple(self._requirement(group) for group in same.values())

    def _requirement(self, asking: Sequence[tuple[str, Approval]]) -> Requirement:
        approval = asking[0][1]
        voters = self.voters(approval)
        # Whoever asked may be among those who approve: with one more, enough of them are somebody else.
        more = 1 if self._facts.requester in UNKNOWN_REQUESTERS else 0
        return Requirement(
            name=approval.of,
            rule=" + ".join(dict.fromkeys(rule for rule, _ in asking)),
            needed=max(one.needed for _, one in asking) + more,
            denials=max(1, min(len(voters), *(one.denials for _, one in asking))),
            groups=approval.groups,
            voters=voters,
        )

    def voters(self, approval: Approval) -> tuple[str, ...]:
        owners = {one for target in self._facts.targets for one in target.owners} if approval.owners else set()
        named = {*approval.people, *owners}
        return self.members(approval.groups, named)

    def members(self, groups: Iterable[str], named: Iterable[str] = ()) -> tuple[str, ...]:
        wanted, also = set(groups), set(named)
        return tuple(
            one.id
            for one in self._people.people
            if one.id not in self._excluded and (one.id in also or set(one.groups) & wanted)
        )

    def escalations(self, rules: Iterable[EscalationRule]) -> tuple[Escalation, ...]:
        found = {Escalation(after=one.after, groups=one.groups, voters=self.members(one.groups)) for one in rules}
        return tuple(sorted(found, key=lambda one: (one.after, one.groups)))

    def require_enough(self, requirements: Sequence[Requirement], what: str) -> None:
        if can_fill([one.needed for one in requirements], seats_of(requirements)):
            return
        facts = self._facts
        short = next((one for one in requirements if len(one.voters) < one.needed), None)
        asked = short or requirements[0]
        voters = asked.voters if short else tuple(seats_of(requirements))
        who = f"only {', '.join(voters)} could" if voters else "nobody could"
        count = asked.needed if short else sum(one.needed for one in requirements)
        of = asked.name if short else " and ".join(dict.fromkeys(one.name for one in requirements))
        raise PolicyError(
            f"{what} asks for {count} approval(s) of {facts.runbook} from {of}; "
            f"besides {besides(self._excluded)}, {who} approve: a policy that nobody can satisfy.",
            hint="Name owners of these VMs in config/targets.yaml, or let the rule ask somebody else."
            if short and not voters and "the owners of the VM" in asked.name
            else "Let somebody else ask for it, or add members to the group in config/people.yaml.",
            subject=asked.rule,
        )


def seats_of(requirements: Sequence[Requirement]) -> dict[str, list[int]]:
    """Return the requirements, by position, that each voter may sit at."""
    may_sit: dict[str, list[int]] = {}
    for position, one in enumerate(requirements):
        for voter in one.voters:
            may_sit.setdefault(voter, []).append(position)
    return may_sit


def besides(excluded: Mapping[str, str]) -> str:
    """Say who does not count, and why: `alice, who asks for it`."""
    return ", and ".join(f"{person}, who {why}" for person, why in excluded.items())


def _matches(rule: PolicyRule, facts: Facts) -> bool:
    # What only authorises must fit the whole change; what asks is content with a part of it.
    allows = rule.pre_authorised and not rule.approval
    return selects(rule, facts, every=allows) and in_hours(rule.hours, facts.at)


def _gives_way(rule: PolicyRule, facts: Facts) -> str:
    if not rule.pre_authorised:
        return ""
    if facts.warnings:
        return f"it has warnings ({', '.join(facts.warnings)}), so somebody has to approve it"
    if rule.limit is not None:
        since = facts.at - rule.limit.within
        used = sum(at > since for at in facts.used.get(rule.name, ()))
        if used >= rule.limit.changes:
            return f"it authorised {used} of {rule.limit.changes} changes in {span_words(rule.limit.within)} already"
    return ""


def _gave_way(matches: Iterable[Match]) -> str:
    said = [f"{one.rule.name!r}: {one.why_not}" for one in matches if one.why_not]
    return f" ({'; '.join(said)})" if said else ""


def _has_a_say(rule: PolicyRule) -> bool:
    return rule.settles or bool(rule.model_fields_set - {"name", "default"})


def _saying(rules: Iterable[PolicyRule], field: str) -> Iterator[PolicyRule]:
    """Yield the rules that say something of a field: one that is left out says nothing."""
    return (rule for rule in rules if field in rule.model_fields_set)


def _shortest(given: Iterable[timedelta | None], otherwise: timedelta) -> timedelta | None:
    spans = list(given)
    if not spans:
        return otherwise
    return min((span for span in spans if span is not None), default=None)


def _doors(rules: Iterable[PolicyRule]) -> tuple[str, ...]:
    named = [rule.doors for rule in rules if rule.doors]
    if not named:
        return ()
    common = tuple(door for door in named[0] if all(door in doors for doors in named))
    if not common:
        raise PolicyError(
            "The rules that apply leave no door where a decision could be given.",
            hint="Let the `doors` of rules in config/policies/ that may apply together have one in common.",
        )
    return common


def _moments(given: Iterable[Iterable[timedelta]]) -> tuple[timedelta, ...]:
    return tuple(sorted({span for spans in given for span in spans}))


def _of_unknown(facts: Facts) -> Iterator[Said]:
    if facts.requester in UNKNOWN_REQUESTERS:
        yield Said(rule="four eyes", words=("one approval more: nobody knows who asked, and it may be who approves",))


def _gate(name: str, rules: Sequence[PolicyRule], terms: Terms, seats: _Seats) -> GateTerms:
    asking: list[tuple[PolicyRule, GateRule]] = [(rule, rule.gates[name]) for rule in rules if name in rule.gates]
    requirements = seats.requirements((rule.name, one) for rule, gate in asking for one in gate.approval)
    others = any(gate.others for _, gate in asking)
    what = f"The gate {name!r} of policy {' + '.join(rule.name for rule, _ in asking)!r}"
    seats.require_enough(requirements, what)
    if others:
        both = (*requirements, *terms.requirements)
        if not can_fill([one.needed for one in both], seats_of(both)):
            raise PolicyError(
                f"{what} wants other people than those who approve the plan: {sum(one.needed for one in both)} in "
                f"all. Besides {besides(terms.excluded)}, only {', '.join(sorted(seats_of(both)))} could "
                "approve: a policy that nobody can satisfy.",
                hint="Let somebody else ask for it, or add members to the groups in config/people.yaml.",
                subject=asking[0][0].name,
            )
        taken = terms.approvals
        requirements = tuple(
            one.model_copy(update={"denials": max(1, min(one.denials, len(one.voters) - taken))})
            for one in requirements
        )
    return GateTerms(
        requirements=requirements,
        others=others,
        approve_within=min(gate.approve_within for _, gate in asking),
        remind=_moments(gate.remind for _, gate in asking),
        escalations=seats.escalations(one for _, gate in asking for one in gate.escalate),
        reason_required=any(gate.reason_required for _, gate in asking),
    )


def _excluded(people: People, facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield who never counts as an approver, and why: four eyes, whatever doors they use (R1)."""
    involved = dict.fromkeys((facts.requester, *facts.behind))
    for person in involved:
        yield person, "asks for it" if person == facts.requester else "stands behind it"
    for one in people.people:
        for absence in one.absences:
            acts = one.id in involved and absence.until > facts.at
            if acts and absence.delegate and absence.delegate not in involved:
                yield absence.delegate, f"acts for {one.id}"


def _stand_ins(people: People, facts: Facts, excluded: dict[str, str]) -> Iterator[StandIn]:
    for one in people.people:
        for absence in one.absences:
            delegate = absence.delegate
            if delegate and delegate not in excluded and one.id not in excluded and absence.until > facts.at:
                yield StandIn(person=delegate, of=one.id, since=absence.since, until=absence.until)


def _broken(terms: Terms, rules: Sequence[PolicyRule], people: People, facts: Facts) -> Terms:
    """Return the terms of a change that begins without approval. All rules that speak of it must let the person."""
    speaking = [rule for rule in rules if rule.break_glass is not None]
    groups = set(facts.groups)
    allowing = [
        rule
        for rule in speaking
        if (one := rule.break_glass) and (facts.requester in one.people or groups & set(one.groups))
    ]
    if not speaking or len(allowing) < len(speaking):
        against = next((rule.name for rule in speaking if rule not in allowing), terms.policy)
        raise PolicyError(
            f"Policy {against!r} does not let {facts.requester} break the glass for {facts.runbook}. Nothing was "
            "filed.",
            hint="Ask for it as an emergency (--urgency emergency), or call somebody whom the policy lets do it.",
            subject="urgency",
        )
    asked = [rule.break_glass for rule in speaking if rule.break_glass is not None]
    review_groups = tuple(dict.fromkeys(group for one in asked for group in one.reviewers))
    reviewers = _Seats(people, facts, dict(terms.excluded), ()).members(review_groups)
    if not reviewers:
        raise PolicyError(
            f"Nobody besides {besides(terms.excluded)}, could review it afterwards "
            f"({' or '.join(review_groups) or 'no group is named'}), so the glass can't be broken. Nothing was filed.",
            hint="Name `reviewers` in `break_glass` of the policy, and members of theirs in config/people.yaml.",
            subject="urgency",
        )
    return terms.model_copy(
        update={
            "requirements": (),
            "pre_authorised": False,
            "kind": Kind.BREAK_GLASS,
            "approve_within": None,
            "execute_within": min(one.execute_within for one in asked),
            "remind": (),
            "escalations": (),
            "break_glass": GlassBroken(
                by=facts.requester,
                reviewers=reviewers,
                groups=review_groups,
                review_within=min(one.review_within for one in asked),
                overrides_freezes=all(one.overrides_freezes for one in asked),
            ),
        }
    )


def _all_that_say(said: Iterable[bool | None]) -> bool:
    """Say whether something is allowed that nothing allows by itself: one rule says so, and none forbids it."""
    return min((one for one in said if one is not None), default=False)
