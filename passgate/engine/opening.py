"""Ask the calendar of a change: may it begin, when next, and must a run that is under way stop."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from passgate.engine.runtime import Runtime
from passgate.engine.steps import Step
from passgate.model.change import Change
from passgate.model.decision import Kind
from passgate.model.plan import Plan, Risk
from passgate.policy.calendar import look, overrun
from passgate.policy.estimate import Expected, estimate, total
from passgate.policy.facts import Facts
from passgate.policy.opening import Opening
from passgate.settings.calendar import Calendar, Overrun


def facts_of(runtime: Runtime, change: Change) -> Facts:
    """Return what the calendar is told of a change, as it was when it was filed."""
    requester = change.requester.person
    terms, plan = change.terms, change.plan
    return Facts(
        runbook=change.runbook,
        risk=plan.risk if plan else Risk.HOST_WIDE,
        requester=requester,
        at=change.created_at,
        kind=Kind(change.ask.get("urgency", Kind.NORMAL)),
        targets=terms.targets if terms else (),
        groups=groups_of(runtime, requester),
    )


def groups_of(runtime: Runtime, person: str) -> tuple[str, ...]:
    """Return the groups that a person is in."""
    return next((one.groups for one in runtime.config.people.people if one.id == person), ())


def expected_of(runtime: Runtime, plan: Plan) -> tuple[Expected, ...]:
    """Return how long each step that has something to do is expected to take."""
    steps = [runtime.catalogue.step(one.kind, one.fields) for one in plan.todo]
    # What a step's own fields tell of it is not what others of its kind took.
    alike = {step.kind() for step in steps if type(step).expected is Step.expected}
    before = runtime.store.lengths(alike)
    return estimate([(step.kind(), step.expected()) for step in steps], before)


def opening(runtime: Runtime, change: Change, at: datetime) -> Opening:
    """Return whether a change may begin at that moment, with the time that it is expected to take."""
    takes = total(expected_of(runtime, change.plan)) if change.plan else timedelta()
    return _look(runtime, change, at, takes)


def stops(runtime: Runtime, change: Change, at: datetime) -> tuple[Overrun, Opening] | None:
    """Return what a run that is under way must do before its next step, and why; None while it is open."""
    found = _look(runtime, change, at, timedelta())
    if found.open:
        return None
    names = {one.freeze for one in change.overrides}
    return overrun(_calendar(runtime, change), facts_of(runtime, change), at, names), found


def refuses(runtime: Runtime, change: Change, step: int, at: datetime) -> str | None:
    """Say why the calendar lets no call of that step be sent now; None where it does.

    What was begun in time may end: the step, and where the calendar says `finish-run`, the run.
    """
    stopped = stops(runtime, change, at)
    if stopped is None:
        return None
    journal = runtime.store.journal(change.id)
    begun = [one.started_at for one in journal if one.started_at and (stopped[0] == "finish-run" or one.index == step)]
    if begun and _look(runtime, change, min(begun), timedelta()).open:
        return None
    return f"the calendar is closed for {change.id}: {'; '.join(stopped[1].reasons)}"


def in_utc(runtime: Runtime, moment: datetime) -> datetime:
    """Return a moment in UTC; one without an offset is meant in the site's zone."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(runtime.config.calendar.zone))).astimezone(UTC)


def _look(runtime: Runtime, change: Change, at: datetime, takes: timedelta) -> Opening:
    found = look(
        _calendar(runtime, change),
        facts_of(runtime, change),
        at,
        takes=takes,
        not_before=_not_before(change),
        overridden={one.freeze for one in change.overrides},
    )
    if not _broken_through(change):
        return found
    said = "the glass was broken, and policy lets that pass by windows and freezes"
    return found.model_copy(update={"reasons": (said, *found.reasons[:-1])})


def _calendar(runtime: Runtime, change: Change) -> Calendar:
    return Calendar(zone=runtime.config.calendar.zone) if _broken_through(change) else runtime.config.calendar


def _broken_through(change: Change) -> bool:
    glass = change.terms.break_glass if change.terms else None
    return glass is not None and glass.overrides_freezes


def _not_before(change: Change) -> datetime | None:
    given = change.ask.get("not_before")
    return datetime.fromisoformat(given) if given else None
