"""Let an approval stand for later runs of a schedule: those whose plan has the very same digest, until its date.

It is given as a decision on a real change of the schedule, and counts on a later run as the decision of the same people
on the same plan: the later change's own terms say whether it suffices. Whatever else would have to be done is asked for
anew, with the difference in words.
"""

from __future__ import annotations

from datetime import datetime

from passgate.engine.authority import ENGINE
from passgate.engine.planning import differences
from passgate.engine.runtime import Runtime
from passgate.errors import InputError, PolicyError
from passgate.model.change import Actor, Change, Event, EventType, State
from passgate.model.decision import PLAN, Decision, Verdict
from passgate.model.schedule import Outcome
from passgate.policy.explain import span_words
from passgate.policy.votes import standing


def may_stand(change: Change, until: datetime, now: datetime, *, gate: str, verdict: Verdict) -> None:
    """Return when an approval may stand until then. Raises InputError or PolicyError in words when not."""
    if change.schedule is None:
        raise InputError(
            f"{change.id} belongs to no schedule, so its approval has nothing to stand for.",
            hint="Approve it without --standing-until.",
            subject="standing_until",
        )
    if verdict is not Verdict.APPROVE or gate != PLAN:
        raise InputError(
            "Only an approval of a plan can stand for later runs; a second gate is asked at each time.",
            hint="Leave --standing-until out.",
            subject="standing_until",
        )
    if until <= now:
        raise InputError(f"{until:%Y-%m-%d %H:%M} UTC is over.", hint="Give a day to come.", subject="standing_until")
    longest = change.terms.standing if change.terms else None
    if longest is None:
        raise PolicyError(
            f"No rule of the policy lets an approval of {change.id} stand for later runs.",
            hint="Approve it without --standing-until; or a rule gives `standing: 90d`.",
            subject=change.id,
        )
    if until > now + longest:
        raise PolicyError(
            f"Policy {change.terms.policy if change.terms else ''!r} lets an approval stand for {span_words(longest)}, "
            f"until {now + longest:%Y-%m-%d} at the longest.",
            hint="Give an earlier day.",
            subject=change.id,
        )


def let_stand(runtime: Runtime, change: Change) -> None:
    """Put the approvals that stand into a change of a schedule that was just planned; say what differs where none does.

    Who is no voter any more, or stands behind this very run, is asked for by nobody: theirs is left out.
    """
    if change.schedule is None or change.digest is None or change.terms is None or not change.terms.requirements:
        return
    if change.terms.standing is None:
        return
    store, now = runtime.store, runtime.clock()
    known = {person.id for person in runtime.config.people.people}
    found = [one for one in store.schedules.standing(change.schedule, change.digest, now) if one.person in known]
    may = {voter for one in change.terms.requirements for voter in one.voters}
    for one in found:
        if one.person in may:
            again = one.model_copy(update={"change": change.id, "at": now, "standing_from": one.change})
            store.decide(again, ENGINE)
    if not found:
        _say_what_differs(runtime, change)


def _say_what_differs(runtime: Runtime, change: Change) -> None:
    """Record on a change how its plan differs from the one that was approved for longer, if there is such."""
    store = runtime.store
    before = store.schedules.approved_for_longer(change.schedule or "", runtime.clock())
    if before is None or before.plan is None or change.plan is None:
        return
    words = "; ".join(differences(before.plan, change.plan))
    why = f"the approval that stands was given on {before.id}, for another plan: {words}. So it is asked for anew"
    data = {"name": change.schedule, "outcome": Outcome.FILED.value, "why": why}
    store.append(Event(type=EventType.OCCURRENCE, change=change.id, actor=ENGINE, at=runtime.clock(), data=data))


def revoke(runtime: Runtime, name: str, actor: Actor) -> tuple[str, ...]:
    """End the standing approvals of a schedule. Return the changes, not begun, that lose the approvals they rest on."""
    store, now = runtime.store, runtime.clock()
    schedule = store.schedules.one(name)
    ended = schedule.model_copy(update={"standing_since": now})
    store.schedules.put(ended, "revoked", actor, now, was=schedule)
    before = (State.PLANNED, State.WAITING, State.APPROVED, State.SCHEDULED)
    resting = [one for one in store.changes(before, limit=10_000) if one.schedule == name]
    return tuple(one.id for one in resting if _retracted(runtime, one, now))


def _retracted(runtime: Runtime, change: Change, now: datetime) -> bool:
    votes = standing(runtime.store.decisions(change.id), gate=PLAN, digest=change.digest or "")
    rested = [one for one in votes.values() if one.standing_from]
    for one in rested:
        over = Decision(
            change=change.id, digest=one.digest, person=one.person, door=one.door, verdict=Verdict.RETRACT,
            reason="the standing approval was revoked", at=now, standing_from=one.standing_from,
        )  # fmt: skip
        runtime.store.decide(over, ENGINE)
    return bool(rested)
