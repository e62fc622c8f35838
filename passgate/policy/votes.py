"""Say who may vote, and what the votes so far amount to."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from passgate.errors import PolicyError
from passgate.model.decision import Decision, Terms, Verdict
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


def may_vote(terms: Terms, people: People, person: str, requester: str) -> None:
    """Return when that person may decide; raise PolicyError in words when not."""
    if person == requester:
        raise PolicyError(
            "Who asked for a change can't decide on it.",
            hint=f"Ask one of: {_who(terms, people)}. To take your own change back, withdraw it.",
            subject=person,
        )
    if all(one.id != person for one in people.people):
        raise PolicyError(f"{person!r} is not in config/people.yaml.", subject=person)
    if person not in terms.voters:
        raise PolicyError(
            f"{person} is not among those who may decide on this change.",
            hint=f"Policy {terms.policy!r} asks {' or '.join(terms.groups) or 'nobody'}: {_who(terms, people)}.",
            subject=person,
        )


def tally(
    terms: Terms,
    decisions: Iterable[Decision],
    *,
    digest: str,
    requester: str,
    now: datetime,
    approve_by: datetime | None = None,
) -> Tally:
    """Return what the decisions amount to at that moment.

    A vote counts if it was given by one of the terms' voters who did not ask for the change, on this very plan, in
    time; each person's first such vote is the one. A denial that suffices stands against any number of approvals.
    """
    counted: dict[str, Verdict] = {}
    left_out: list[str] = []
    for one in sorted(decisions, key=lambda each: each.at):
        why = _why_not_counted(one, terms, digest=digest, requester=requester, approve_by=approve_by, counted=counted)
        if why:
            left_out.append(f"{one.person}'s {one.verdict.value} does not count: {why}")
        else:
            counted[one.person] = one.verdict
    approvals = tuple(person for person, verdict in counted.items() if verdict is Verdict.APPROVE)
    denials = tuple(person for person, verdict in counted.items() if verdict is Verdict.DENY)
    missing = max(0, terms.approvals - len(approvals))
    outcome, reason = _outcome(terms, approvals, denials, now, approve_by)
    return Tally(outcome=outcome, approvals=approvals, denials=denials, missing=missing, reasons=(reason, *left_out))


def _outcome(
    terms: Terms, approvals: tuple[str, ...], denials: tuple[str, ...], now: datetime, approve_by: datetime | None
) -> tuple[Outcome, str]:
    if len(denials) >= terms.denials:
        return Outcome.DENIED, f"denied by {', '.join(denials)}"
    if terms.pre_authorised:
        return Outcome.APPROVED, f"policy {terms.policy!r} authorises it in advance"
    # Terms that ask for no approval and are not pre-authorised are a mistake somewhere: such a change waits for ever.
    if terms.approvals > 0 and len(approvals) >= terms.approvals:
        return Outcome.APPROVED, f"approved by {', '.join(approvals)}"
    if approve_by is not None and now >= approve_by:
        return Outcome.EXPIRED, f"{len(approvals)} of {terms.approvals} approvals by {approve_by:%Y-%m-%d %H:%M} UTC"
    return Outcome.WAITING, f"{len(approvals)} of {terms.approvals} approvals"


def _why_not_counted(
    decision: Decision,
    terms: Terms,
    *,
    digest: str,
    requester: str,
    approve_by: datetime | None,
    counted: dict[str, Verdict],
) -> str:
    reasons = {
        "it was given on another plan": decision.digest != digest,
        "who asks for a change can't decide on it": decision.person == requester,
        f"not among the voters of policy {terms.policy!r}": decision.person not in terms.voters,
        "it came too late": approve_by is not None and decision.at >= approve_by,
        "one person has one vote": decision.person in counted,
    }
    return next((words for words, holds in reasons.items() if holds), "")


def _who(terms: Terms, people: People) -> str:
    names = {person.id: person.name for person in people.people}
    return ", ".join(names.get(voter, voter) for voter in terms.voters) or "nobody"
