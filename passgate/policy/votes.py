"""Say who may vote, and what the votes so far amount to. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from passgate.errors import PolicyError
from passgate.model.change import Change
from passgate.model.decision import PLAN, Asked, Decision, Requirement, StandIn, Terms, Verdict
from passgate.model.frozen import Frozen
from passgate.policy.seats import seated
from passgate.settings.people import People


class Outcome(StrEnum):
    """Name what the votes amount to."""

    WAITING = "waiting"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"


class Tally(Frozen):
    """Hold what the votes amount to.

    `approvals` and `denials` are the people whose votes count, `filled` how many places of each requirement are taken,
    `missing` how many approvals are still needed, `reasons` say in words how the outcome came about, with every vote
    that was left out and why.
    """

    outcome: Outcome
    approvals: tuple[str, ...] = ()
    denials: tuple[str, ...] = ()
    filled: tuple[int, ...] = ()
    missing: int = 0
    reasons: tuple[str, ...] = ()


class Ballot(NamedTuple):
    """Hold what is asked at one gate, and whose votes don't count there.

    `opened_at` is when the decision was asked for: escalations count from then on. `barred` are those who approved the
    plan, where the gate is for others.
    """

    asked: Asked
    excluded: dict[str, str]
    stand_ins: tuple[StandIn, ...]
    opened_at: datetime | None = None
    barred: frozenset[str] = frozenset()

    @property
    def requirements(self) -> tuple[Requirement, ...]:
        """Return what has to be met."""
        return self.asked.requirements

    @property
    def approvals(self) -> int:
        """Return how many approvals are needed in all."""
        return self.asked.approvals

    @property
    def groups(self) -> tuple[str, ...]:
        """Return whose approval is asked for, in words."""
        return tuple(dict.fromkeys(one.name for one in self.requirements))

    @property
    def voters(self) -> tuple[str, ...]:
        """Return who may decide from the beginning and is not barred."""
        return tuple(one for one in self.asked.voters if one not in self.barred)

    def voters_at(self, at: datetime) -> tuple[str, ...]:
        """Return all who may decide at that moment: those away have somebody in their place, others come in later."""
        late = (one for escalation in self._escalated(at) for one in escalation)
        away = {one.of: one.person for one in self.stand_ins if one.since <= at < one.until}
        stand_ins = (person for of, person in away.items() if of in self.asked.voters)
        everybody = dict.fromkeys((*self.asked.voters, *stand_ins, *late))
        return tuple(one for one in everybody if one not in self.barred and one not in self.excluded)

    def may_sit(self, person: str, at: datetime) -> dict[int, tuple[str, ...]]:
        """Return the requirements, by position, at which that person may decide at that moment.

        With each goes in whose place: nobody's (empty) for who may by themselves, else the people who are away.
        """
        if person in self.barred or person in self.excluded:
            return {}
        of = tuple(one.of for one in self.stand_ins if one.person == person and one.since <= at < one.until)
        is_late = any(person in late for late in self._escalated(at))
        found: dict[int, tuple[str, ...]] = {}
        for position, one in enumerate(self.requirements):
            if person in one.voters or is_late:
                found[position] = ()
            elif away := tuple(each for each in of if each in one.voters and each not in self.barred):
                found[position] = away
        return found

    def _escalated(self, at: datetime) -> Iterable[tuple[str, ...]]:
        opened = self.opened_at
        return (one.voters for one in self.asked.escalations if opened is not None and at >= opened + one.after)


def ballot(
    terms: Terms, gate: str, digest: str, decisions: Collection[Decision], opened_at: datetime | None = None
) -> Ballot:
    """Return what is asked at that gate, given what was decided before. A gate without terms can't be passed."""
    asked = terms.asked_at(gate)
    barred = (
        frozenset(_approved_plan(decisions, digest))
        if gate != PLAN and getattr(asked, "others", False)
        else frozenset()
    )
    return Ballot(asked, terms.excluded, terms.stand_ins, opened_at, barred)


def ballot_of(change: Change, gate: str, decisions: Collection[Decision]) -> Ballot:
    """Return what is asked of a change at that gate."""
    terms = change.terms or Terms(policy="none")
    return ballot(terms, gate, change.digest or "", decisions, _opened(change, gate))


def standing(decisions: Iterable[Decision], *, gate: str, digest: str) -> dict[str, Decision]:
    """Return the vote of each person that stands at that gate on that plan: the first since they last took one back."""
    votes: dict[str, Decision] = {}
    for one in sorted(decisions, key=lambda each: each.at):
        if one.gate != gate or one.digest != digest:
            continue
        if one.verdict is Verdict.RETRACT:
            votes.pop(one.person, None)
        else:
            votes.setdefault(one.person, one)
    return votes


def may_vote(  # noqa: PLR0917 - the facade that faces and tests were written against
    terms: Terms,
    people: People,
    person: str,
    requester: str,
    gate: str = PLAN,
    digest: str = "",
    decisions: Collection[Decision] = (),
    *,
    at: datetime | None = None,
    opened_at: datetime | None = None,
    change: str = "CHANGE",
) -> None:
    """Return when that person may decide at that gate; raise PolicyError in words when not."""
    asked = ballot(terms, gate, digest, decisions, opened_at)
    if person == requester:
        raise PolicyError(
            "Who asked for a change can't decide on it.",
            hint=f"Ask one of: {_who(asked, people, at)}. To take your own change back: `passgate withdraw {change}`.",
            subject=person,
        )
    if all(one.id != person for one in people.people):
        raise PolicyError(f"{person!r} is not in config/people.yaml.", subject=person)
    where = "on this change" if gate == PLAN else f"at the gate {gate}"
    if person in terms.excluded:
        raise PolicyError(
            f"{person} {terms.excluded[person]}, and so can't decide {where}.",
            hint=f"Ask one of: {_who(asked, people, at)}.",
            subject=person,
        )
    if person in asked.barred:
        raise PolicyError(
            f"{person} approved the plan, and policy {terms.policy!r} wants others {where}.",
            hint=f"Ask one of: {_who(asked, people, at)}.",
            subject=person,
        )
    may = asked.may_sit(person, at) if at is not None else person in asked.voters
    if not may:
        raise PolicyError(
            f"{person} is not among those who may decide {where}.",
            hint=f"Policy {terms.policy!r} asks {' and '.join(asked.groups) or 'nobody'}: {_who(asked, people, at)}.",
            subject=person,
        )
    if at is not None:
        _refuse_spoken_for(asked, person, gate, digest, decisions, at)


def left_at(asked: Ballot, decisions: Collection[Decision], *, gate: str, digest: str, at: datetime) -> tuple[str, ...]:
    """Return who may decide at that moment and has a vote left: not who decided, nor one in whose place others did."""
    counted = _counted(asked, gate, digest, decisions)
    voted = standing(decisions, gate=gate, digest=digest)
    return tuple(one for one in asked.voters_at(at) if one not in voted and counted.in_whose_place(one, at) is None)


def _counted(asked: Ballot, gate: str, digest: str, decisions: Collection[Decision]) -> _Counted:
    counted = _Counted(asked, "", digest=digest, requester="", approve_by=None)
    for one in sorted(decisions, key=lambda each: each.at):
        if one.gate == gate:
            counted.take(one)
    return counted


def _refuse_spoken_for(  # noqa: PLR0917 - what one vote depends on
    asked: Ballot, person: str, gate: str, digest: str, decisions: Collection[Decision], at: datetime
) -> None:
    """Return unless that person's vote, or that of all whom they stand in for, is given already (R30)."""
    other = _counted(asked, gate, digest, decisions).in_whose_place(person, at)
    if other:
        raise PolicyError(
            f"{other[0]} and {other[1]} have one vote together while {other[1]} is away, and it was given by "
            f"{other[2]}. Nothing was recorded.",
            hint=f"To vote otherwise, {other[2]} takes theirs back first: `passgate retract`.",
            subject=person,
        )


def may_decide(
    change: Change, people: People, person: str, *, gate: str, decisions: Collection[Decision], at: datetime, door: str
) -> None:
    """Return when that person may decide on a change there, by that door; raise PolicyError in words when not."""
    terms = change.terms or Terms(policy="none")
    may_vote(
        terms,
        people,
        person,
        change.requester.person,
        gate,
        change.digest or "",
        decisions,
        at=at,
        opened_at=_opened(change, gate),
        change=change.id,
    )
    if terms.doors and door not in terms.doors:
        raise PolicyError(
            f"Policy {terms.policy!r} takes decisions on {change.id} only by {' or '.join(terms.doors)}, not by {door}."
            " Nothing was recorded.",
            hint=f"Use `passgate approve {change.id}` or `passgate deny {change.id}` at a shell."
            if "cli" in terms.doors
            else "",
            subject=change.id,
        )


def may_approve_plan(terms: Terms, person: str, digest: str, decisions: Collection[Decision]) -> None:
    """Return unless that person's approval of the plan would leave too few people for a gate that wants others.

    Such a change would be begun, and could only be taken back at that gate.
    """
    for name, gate in terms.gates.items():
        if not gate.others:
            continue
        asked = ballot(terms, name, digest, decisions)
        barred = asked.barred | {person}
        may_sit = {
            voter: [position for position, one in enumerate(gate.requirements) if voter in one.voters]
            for voter in gate.voters
            if voter not in barred
        }
        needed = [one.needed for one in gate.requirements]
        if seated(needed, may_sit) != tuple(needed):
            raise PolicyError(
                f"If {person} approved the plan, too few people would be left for the gate {name}: it needs "
                f"{gate.approvals} of {', '.join(gate.voters)} who did not approve the plan.",
                hint=f"Let somebody else approve the plan, and decide at the gate {name} later.",
                subject=person,
            )


def tally(
    terms: Terms,
    decisions: Collection[Decision],
    *,
    digest: str,
    requester: str,
    now: datetime,
    approve_by: datetime | None = None,
    gate: str = PLAN,
    opened_at: datetime | None = None,
) -> Tally:
    """Return what the decisions amount to at that gate and that moment.

    A vote counts if it was given at this gate, by somebody who may decide there and did not ask for the change, on this
    very plan, in time, and was not taken back; each person's first such vote is the one, and it fills one place. A
    denial that suffices stands against any number of approvals.
    """
    asked = ballot(terms, gate, digest, decisions, opened_at)
    counted = _Counted(asked, terms.policy, digest=digest, requester=requester, approve_by=approve_by)
    for one in sorted(decisions, key=lambda each: each.at):
        if one.gate == gate:
            counted.take(one)
    needed = [one.needed for one in asked.requirements]
    filled = seated(needed, counted.seats(Verdict.APPROVE))
    missing = sum(needed) - sum(filled)
    outcome, reason = _outcome(asked, counted, filled, now, approve_by, _in_advance(terms, gate))
    return Tally(
        outcome=outcome,
        approvals=counted.people(Verdict.APPROVE),
        denials=counted.people(Verdict.DENY),
        filled=filled,
        missing=missing,
        reasons=(reason, *counted.left_out),
    )


def tally_of(change: Change, decisions: Collection[Decision], now: datetime, gate: str = PLAN) -> Tally:
    """Return what the decisions on a change amount to at that gate; without terms it waits for ever."""
    at = change.gate(gate)
    return tally(
        change.terms or Terms(policy="none"),
        decisions,
        digest=change.digest or "",
        requester=change.requester.person,
        now=now,
        approve_by=at.approve_by if at else change.approve_by if gate == PLAN else None,
        gate=gate,
        opened_at=_opened(change, gate),
    )


class _Counted:
    """Take votes in their order, and keep those that count with the places that each may fill."""

    def __init__(self, asked: Ballot, policy: str, *, digest: str, requester: str, approve_by: datetime | None) -> None:
        self._asked, self._policy = asked, policy
        self._digest, self._requester, self._approve_by = digest, requester, approve_by
        self._votes: dict[str, tuple[Verdict, tuple[int, ...]]] = {}
        self._in_place_of: dict[str, str] = {}
        """Who is away -> who decided in their place."""
        self.left_out: list[str] = []

    def take(self, one: Decision) -> None:
        """Count a vote, or say why it does not count."""
        if one.verdict is Verdict.RETRACT:
            if one.digest == self._digest and one.person in self._votes:
                del self._votes[one.person]
                self._in_place_of = {of: who for of, who in self._in_place_of.items() if who != one.person}
                self.left_out.append(f"{one.person} took their decision back")
            return
        seats, place_of = self._seats(one)
        why = self._why_not(one, seats)
        if why:
            self.left_out.append(f"{one.person}'s {one.verdict.value} does not count: {why}")
            return
        self._votes[one.person] = (one.verdict, seats)
        if place_of:
            self._in_place_of[place_of] = one.person

    def seats(self, verdict: Verdict) -> dict[str, tuple[int, ...]]:
        """Return the places that each counted vote of that kind may fill, in the order of the votes."""
        return {person: seats for person, (given, seats) in self._votes.items() if given is verdict}

    def people(self, verdict: Verdict) -> tuple[str, ...]:
        """Return whose votes of that kind count."""
        return tuple(self.seats(verdict))

    def in_whose_place(self, person: str, at: datetime) -> tuple[str, str, str] | None:
        """Return who stands in, for whom, and who of both voted, where that leaves this person without a vote now."""
        if by := self._in_place_of.get(person):
            return by, person, by
        may_sit = self._asked.may_sit(person, at)
        if person in self._votes or any(not of for of in may_sit.values()):
            return None
        away = [of for each in may_sit.values() for of in each]
        if not away or any(of not in self._votes and of not in self._in_place_of for of in away):
            return None
        return person, away[0], self._in_place_of.get(away[0], away[0])

    def _seats(self, one: Decision) -> tuple[tuple[int, ...], str]:
        """Return where a vote may count, and in whose place: one who is away and has no vote there yet."""
        may_sit = self._asked.may_sit(one.person, one.at)
        own = tuple(position for position, of in may_sit.items() if not of)
        away = {of for each in may_sit.values() for of in each} - self._votes.keys() - self._in_place_of.keys()
        free = [one.of for one in self._asked.stand_ins if one.of in away]
        if not free:
            return own, ""
        in_place = tuple(position for position, of in may_sit.items() if free[0] in of)
        return (*own, *in_place), free[0]

    def _why_not(self, one: Decision, seats: tuple[int, ...]) -> str:
        asked, person = self._asked, one.person
        reasons = {
            "it was given on another plan": one.digest != self._digest,
            "who asks for a change can't decide on it": person == self._requester,
            f"who {asked.excluded.get(person)} can't decide on it": person in asked.excluded,
            "who approved the plan does not count at this gate": person in asked.barred,
            "it came too late": self._approve_by is not None and one.at >= self._approve_by,
            "one person has one vote": person in self._votes,
            f"{self._in_place_of.get(person)} decided in their place before": person in self._in_place_of,
            f"not among the voters of policy {self._policy!r}": not seats,
        }
        return next((words for words, holds in reasons.items() if holds), "")


def _outcome(  # noqa: PLR0917 - the parts of one verdict
    asked: Ballot,
    counted: _Counted,
    filled: tuple[int, ...],
    now: datetime,
    approve_by: datetime | None,
    in_advance: str,
) -> tuple[Outcome, str]:
    denying = counted.seats(Verdict.DENY)
    for position, one in enumerate(asked.requirements):
        against = [person for person, seats in denying.items() if position in seats]
        if len(against) >= one.denials:
            return Outcome.DENIED, f"denied by {', '.join(against)}"
    if in_advance:
        return Outcome.APPROVED, in_advance
    needed = tuple(one.needed for one in asked.requirements)
    # Terms that ask for no approval and are not pre-authorised are a mistake somewhere: such a change waits for ever.
    if needed and filled == needed:
        return Outcome.APPROVED, f"approved by {', '.join(counted.people(Verdict.APPROVE))}"
    so_far = _so_far(asked, filled)
    if approve_by is not None and now >= approve_by:
        return Outcome.EXPIRED, f"{so_far} by {approve_by:%Y-%m-%d %H:%M} UTC"
    return Outcome.WAITING, so_far


def _so_far(asked: Ballot, filled: tuple[int, ...]) -> str:
    """Say `1 of 2 approvals`, or for each of several requirements how far it is."""
    if len(asked.requirements) > 1:
        each = zip(asked.requirements, filled, strict=True)
        return ", ".join(f"{have} of {one.needed} from {one.name}" for one, have in each)
    return f"{sum(filled)} of {asked.approvals} approvals"


def _in_advance(terms: Terms, gate: str) -> str:
    """Say what lets a change begin without a vote; nothing lets it pass a second gate so."""
    if gate != PLAN:
        return ""
    if terms.break_glass is not None:
        return f"{terms.break_glass.by} broke the glass; it is reviewed afterwards"
    return f"policy {terms.policy!r} authorises it in advance" if terms.pre_authorised else ""


def _approved_plan(decisions: Iterable[Decision], digest: str) -> Iterable[str]:
    votes = standing(decisions, gate=PLAN, digest=digest)
    return (person for person, one in votes.items() if one.verdict is Verdict.APPROVE)


def _opened(change: Change, gate: str) -> datetime | None:
    at = change.gate(gate)
    return at.opened_at if at else change.created_at if gate == PLAN else None


def _who(asked: Ballot, people: People, at: datetime | None) -> str:
    names = {person.id: person.name for person in people.people}
    voters = asked.voters_at(at) if at is not None else asked.voters
    return ", ".join(names.get(voter, voter) for voter in voters) or "nobody"
