"""Say what a gate needs and how far it is: per requirement, with who can still approve (R4, R8). Pure."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from passgate.faces.chat.directory import Directory
from passgate.faces.chat.text import safe
from passgate.faces.chat.words import asked_at, others
from passgate.model.change import Change
from passgate.model.decision import PLAN, Decision
from passgate.policy.votes import ballot_of, standing, tally_of


class Seats(NamedTuple):
    """Hold how far one requirement is: its name, how many it needs and has, and who can still approve."""

    name: str
    needed: int
    taken: int
    free: tuple[str, ...]


def seats(change: Change, decisions: tuple[Decision, ...], gate: str, at: datetime | None) -> tuple[Seats, ...]:
    """Return how far each requirement of a gate is at that moment; none: when its last decision was given."""
    opened = change.gate(gate)
    given = [one.at for one in decisions if one.gate == gate]
    now = at or max([opened.opened_at if opened else change.created_at, *given])
    asked = ballot_of(change, gate, decisions)
    voted = standing(decisions, gate=gate, digest=change.digest or "")
    filled = tally_of(change, decisions, now, gate).filled
    may = {person: asked.may_sit(person, now) for person in asked.voters_at(now) if person not in voted}
    return tuple(
        Seats(one.name, one.needed, filled[position], tuple(who for who, places in may.items() if position in places))
        for position, one in enumerate(asked.requirements)
    )


def needs(
    people: Directory,
    change: Change,
    decisions: tuple[Decision, ...],
    gate: str = PLAN,
    at: datetime | None = None,
) -> str:
    """Say how many approvals are missing at a gate, and who can still give them."""
    if change.terms is None:
        return ""
    found = seats(change, decisions, gate, at)
    barred = ballot_of(change, gate, decisions).barred
    so = f"; not {people.name(change.requester.person)}, who asked"
    so += f", nor {people.names(sorted(barred))}, who approved the plan" if barred else ""
    if len(found) == 1:
        (one,) = found
        count = f" ({one.taken} of {one.needed} so far)" if one.needed > 1 else ""
        approvals = "approval" if one.needed == 1 else "approvals"
        later = "".join(f" {line}" for line in others(people, change, gate))
        return f"*Needs* {one.needed} {approvals} from {_named(one)}{count}: {_who(people, one)}{so}.{later}"
    total = sum(one.needed for one in found)
    lines = [
        f"*Needs* {total} approvals by different people ({sum(one.taken for one in found)} of {total} so far){so}:"
    ]
    lines += [f"• {_named(one)}: {one.taken} of {one.needed}{_still(people, one)}" for one in found]
    lines += others(people, change, gate)
    return "\n".join(lines)


def still(people: Directory, change: Change, decisions: tuple[Decision, ...], gate: str, at: datetime) -> str:
    """Call those who can still approve by name, so that Slack pings them; nothing when no approval is missing."""
    if change.terms is None:
        return ""
    open_seats = [one for one in seats(change, decisions, gate, at) if one.taken < one.needed]
    free = {who for one in open_seats for who in one.free}
    return people.mentions([who for who in asked_at(people, change, decisions, at, gate) if who in free])


def _named(one: Seats) -> str:
    return safe(one.name, 60) or "anybody listed"


def _who(people: Directory, one: Seats) -> str:
    if one.taken >= one.needed:
        return "complete"
    return people.names(one.free) or "nobody is left who could"


def _still(people: Directory, one: Seats) -> str:
    return "" if one.taken >= one.needed else f", can still approve: {_who(people, one)}"
