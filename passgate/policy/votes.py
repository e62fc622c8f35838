"""Say who may vote, and what the votes so far amount to."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from passgate.errors import PolicyError
from passgate.model.decision import PLAN, Decision, Terms, Verdict
from passgate.model.frozen import Frozen
from passgate.settings.shape import People


class Outcome(StrEnum):
    """Name what the votes amount to."""

    WAITING = "waiting"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"


class Tally(Frozen):
    """Hold what the votes amount to.

    `approvals` and `denials` are the people whose votes count, `missing` how many approvals are still needed, `reasons`
    say in words how the outcome came about, with every vote that was left out and why.
    """

    outcome: Outcome
    approvals: tuple[str, ...] = ()
    denials: tuple[str, ...] = ()
    missing: int = 0
    reasons: tuple[str, ...] = ()


class Ballot(NamedTuple):
    """Hold what is asked at one gate: how many approvals, how many denials end it, whose votes count and whose don't.

    `barred` are those who approved the plan, where the gate is for others.
    """

    approvals: int
    denials: int
    groups: tuple[str, ...]
    voters: tuple[str, ...]
    barred: frozenset[str] = frozenset()


def ballot(terms: Terms, gate: str, digest: str, decisions: Iterable[Decision]) -> Ballot:
    """Return what is asked at that gate, given what was decided before. A gate without terms can't be passed."""
    if gate == PLAN:
        return Ballot(terms.approvals, terms.denials, terms.groups, terms.voters)
    if gate not in terms.gates:
        return Ballot(1, 1, (), ())
    asked = terms.gates[gate]
    barred = (one.person for one in decisions if (one.gate, one.digest) == (PLAN, digest) and _approves(one))
    return Ballot(asked.approvals, asked.denials, asked.groups, asked.voters, frozenset(barred if asked.others else ()))


def may_vote(  # noqa: PLR0917 - the facade that faces and tests were written against
    terms: Terms,
    people: People,
    person: str,
    requester: str,
    gate: str = PLAN,
    digest: str = "",
    decisions: Collection[Decision] = (),
) -> None:
    """Return when that person may decide at that gate; raise PolicyError in words when not."""
    asked = ballot(terms, gate, digest, decisions)
    if person == requester:
        raise PolicyError(
            "Who asked for a change can't decide on it.",
            hint=f"Ask one of: {_who(asked, people)}. To take your own change back, withdraw it.",
            subject=person,
        )
    if all(one.id != person for one in people.people):
        raise PolicyError(f"{person!r} is not in config/people.yaml.", subject=person)
    at = "on this change" if gate == PLAN else f"at the gate {gate}"
    if person not in asked.voters:
        raise PolicyError(
            f"{person} is not among those who may decide {at}.",
            hint=f"Policy {terms.policy!r} asks {' or '.join(asked.groups) or 'nobody'}: {_who(asked, people)}.",
            subject=person,
        )
    if person in asked.barred:
        raise PolicyError(
            f"{person} approved the plan, and policy {terms.policy!r} wants others {at}.",
            hint=f"Ask one of: {_who(asked, people)}.",
            subject=person,
        )


def may_approve_plan(terms: Terms, person: str, digest: str, decisions: Collection[Decision]) -> None:
    """Return unless that person's approval of the plan would leave too few people for a gate that wants others.

    Such a change would be begun, and could only be taken back at that gate.
    """
    for gate in terms.gates:
        asked = ballot(terms, gate, digest, decisions)
        left = asked._replace(barred=asked.barred | {person})
        if terms.gates[gate].others and len(set(left.voters) - left.barred) < asked.approvals:
            raise PolicyError(
                f"If {person} approved the plan, too few people would be left for the gate {gate}: it needs "
                f"{asked.approvals} of {', '.join(asked.voters)} who did not approve the plan.",
                hint=f"Let somebody else approve the plan, and decide at the gate {gate} later.",
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
) -> Tally:
    """Return what the decisions amount to at that gate and that moment.

    A vote counts if it was given at this gate, by one of its voters who did not ask for the change, on this very plan,
    in time; each person's first such vote is the one. A denial that suffices stands against any number of approvals.
    """
    counted: dict[str, Verdict] = {}
    left_out: list[str] = []
    asked = ballot(terms, gate, digest, decisions)
    for one in sorted(decisions, key=lambda each: each.at):
        if one.gate != gate:
            continue
        why = _why_not_counted(
            one, asked, terms.policy, digest=digest, requester=requester, approve_by=approve_by, counted=counted
        )
        if why:
            left_out.append(f"{one.person}'s {one.verdict.value} does not count: {why}")
        else:
            counted[one.person] = one.verdict
    approvals = tuple(person for person, verdict in counted.items() if verdict is Verdict.APPROVE)
    denials = tuple(person for person, verdict in counted.items() if verdict is Verdict.DENY)
    missing = max(0, asked.approvals - len(approvals))
    in_advance = f"policy {terms.policy!r} authorises it in advance" if gate == PLAN and terms.pre_authorised else ""
    outcome, reason = _outcome(asked, approvals, denials, now, approve_by, in_advance)
    return Tally(outcome=outcome, approvals=approvals, denials=denials, missing=missing, reasons=(reason, *left_out))


def _outcome(  # noqa: PLR0917 - the parts of one verdict
    asked: Ballot,
    approvals: tuple[str, ...],
    denials: tuple[str, ...],
    now: datetime,
    approve_by: datetime | None,
    in_advance: str,
) -> tuple[Outcome, str]:
    if len(denials) >= asked.denials:
        return Outcome.DENIED, f"denied by {', '.join(denials)}"
    if in_advance:
        return Outcome.APPROVED, in_advance
    # Terms that ask for no approval and are not pre-authorised are a mistake somewhere: such a change waits for ever.
    if asked.approvals > 0 and len(approvals) >= asked.approvals:
        return Outcome.APPROVED, f"approved by {', '.join(approvals)}"
    if approve_by is not None and now >= approve_by:
        return Outcome.EXPIRED, f"{len(approvals)} of {asked.approvals} approvals by {approve_by:%Y-%m-%d %H:%M} UTC"
    return Outcome.WAITING, f"{len(approvals)} of {asked.approvals} approvals"


def _approves(decision: Decision) -> bool:
    return decision.verdict is Verdict.APPROVE


def _why_not_counted(
    decision: Decision,
    asked: Ballot,
    policy: str,
    *,
    digest: str,
    requester: str,
    approve_by: datetime | None,
    counted: dict[str, Verdict],
) -> str:
    reasons = {
        "it was given on another plan": decision.digest != digest,
        "who asks for a change can't decide on it": decision.person == requester,
        f"not among the voters of policy {policy!r}": decision.person not in asked.voters,
        "who approved the plan does not count at this gate": decision.person in asked.barred,
        "it came too late": approve_by is not None and decision.at >= approve_by,
        "one person has one vote": decision.person in counted,
    }
    return next((words for words, holds in reasons.items() if holds), "")


def _who(asked: Ballot, people: People) -> str:
    names = {person.id: person.name for person in people.people}
    return ", ".join(names.get(voter, voter) for voter in asked.voters if voter not in asked.barred) or "nobody"
