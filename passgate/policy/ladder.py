"""Say when who decides is reminded, and when others may decide too. Pure: the moments follow from the frozen terms."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from passgate.model.change import Change, State
from passgate.model.decision import PLAN, Asked, Decision, Terms
from passgate.policy.votes import Ballot, left_at
from passgate.settings.people import People

LAST = 3 / 4
"""Where nobody configured reminders, one goes out after this part of the time, before it is over (R25)."""

REMIND, ESCALATE = "remind", "escalate"


class Rung(NamedTuple):
    """Hold one moment of the ladder (R30): a reminder, or an escalation to more people.

    `name` tells it from the others of its gate. `is_last` says of a reminder that none follows before the time is over.
    """

    kind: str
    name: str
    at: datetime
    is_last: bool = False
    groups: tuple[str, ...] = ()
    voters: tuple[str, ...] = ()


def rungs(asked: Asked, opened_at: datetime, approve_by: datetime | None) -> tuple[Rung, ...]:
    """Return all moments of a gate in their order; what would come when its time is over is none."""
    moments = [opened_at + after for after in asked.remind]
    if not moments and approve_by is not None:
        moments = [opened_at + (approve_by - opened_at) * LAST]
    in_time = [at for at in moments if approve_by is None or at < approve_by]
    last = max(in_time, default=None) if approve_by is not None else None
    found = [Rung(REMIND, _name(REMIND, at, opened_at), at, is_last=at == last) for at in in_time]
    for one in asked.escalations:
        at = opened_at + one.after
        if approve_by is None or at < approve_by:
            name = _name(ESCALATE, at, opened_at, *one.groups)
            found.append(Rung(ESCALATE, name, at, groups=one.groups, voters=one.voters))
    return tuple(sorted(found, key=lambda one: (one.at, one.kind, one.name)))


def due(all_of_them: Collection[Rung], made: Collection[str], now: datetime) -> tuple[Rung, ...]:
    """Return what is to be made now and was not, in its order: each escalation, and of the reminders the newest.

    Those that were missed, as while the service was down, are not told one after the other.
    """
    past = [one for one in all_of_them if one.at <= now]
    newest = max((one.at for one in past if one.kind == REMIND), default=None)
    return tuple(one for one in past if one.name not in made and (one.kind == ESCALATE or one.at == newest))


def waits_at(change: Change) -> tuple[str, datetime, datetime | None] | None:
    """Return the gate at which a change waits for decisions now, since when and until when; None where it does not."""
    if gate := change.open_gate:
        return gate.name, gate.opened_at, gate.approve_by
    return (PLAN, change.created_at, change.approve_by) if change.state is State.WAITING else None


def ladder(change: Change) -> tuple[Rung, ...]:
    """Return all moments of the gate at which the change waits now."""
    waits, terms = waits_at(change), change.terms or Terms(policy="none")
    return rungs(terms.asked_at(waits[0]), *waits[1:]) if waits else ()


def still_asked(
    asked: Ballot, decisions: Collection[Decision], people: People, *, gate: str, digest: str, now: datetime
) -> tuple[str, ...]:
    """Return who may decide now and did not: not those who are away, nor one whose vote somebody else gave.

    Where everybody is away, all of them: somebody has to hear of it.
    """
    left = left_at(asked, decisions, gate=gate, digest=digest, at=now)
    away = {one.id for one in people.people if any(each.since <= now < each.until for each in one.absences)}
    away |= {one.of for one in asked.stand_ins if one.since <= now < one.until}
    return tuple(one for one in left if one not in away) or left


def _name(kind: str, at: datetime, opened_at: datetime, *groups: str) -> str:
    seconds = int((at - opened_at).total_seconds())
    return ":".join((kind, str(seconds), *groups))[:64]
