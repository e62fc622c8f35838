"""File what schedules ask for when it is due. Our table says what is due; Prefect's scheduler only rings.

Whoever notices first files: the run that Prefect's scheduler made, or, when that does not come, our own round. The
occurrence's key, schedule and local time, makes sure that there is one change.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from passgate.engine.authority import ENGINE, words
from passgate.engine.filing import ForSchedule, file_change
from passgate.engine.gate import settle
from passgate.engine.runtime import Runtime
from passgate.errors import ConflictError, PassgateError, RecordError, WorldError
from passgate.model.change import Actor, Change, Door, Event, EventType
from passgate.model.schedule import Due, Occurrence, Outcome, Schedule
from passgate.policy.schedules import due_between, judge

NONE = timedelta()

log = logging.getLogger(__name__)


async def take_due(
    runtime: Runtime, schedule: Schedule, *, flow_run: str | None = None, grace: timedelta = NONE
) -> Change | None:
    """Settle what is due of a schedule, and return the change if one was filed.

    With `grace`, what is due for a shorter time is left to Prefect's trigger.
    """
    book, now, name = runtime.store.schedules, runtime.clock(), schedule.name
    dues = () if schedule.paused else due_between(schedule.rule, schedule.since, now - grace)
    if not dues:
        return None
    queued = {one.local for one in book.occurrences(name) if one.outcome is Outcome.QUEUED}
    found = judge(schedule.rule, dues, now, queued=queued, busy=book.busy(name))
    for due, why in found.skipped:
        _note(runtime, name, due, Outcome.SKIPPED, why)
    if found.wait:
        _note(runtime, name, found.wait, Outcome.QUEUED, found.why)
    return await _filed(runtime, schedule, found.file, flow_run) if found.file else None


async def _filed(runtime: Runtime, schedule: Schedule, due: Due, flow_run: str | None) -> Change | None:
    try:
        return await file_occurrence(runtime, schedule, due, flow_run=flow_run)
    except RecordError:
        raise
    except ConflictError as error:
        log.info("%s: %s", schedule.name, error.message)
    except WorldError as error:
        _note(runtime, schedule.name, due, Outcome.QUEUED, f"it is tried again: {words(error)}")
    except PassgateError as error:
        _note(runtime, schedule.name, due, Outcome.NOT_FILED, words(error))
    return None


def _note(runtime: Runtime, name: str, due: Due, outcome: Outcome, why: str) -> None:
    found = Occurrence(**due.model_dump(), schedule=name, outcome=outcome, why=why, noted_at=runtime.clock())
    runtime.store.schedules.note(found)


async def file_occurrence(
    runtime: Runtime, schedule: Schedule, due: Due, *, by: str | None = None, flow_run: str | None = None
) -> Change:
    """File the change of an occurrence in the name of the schedule's author; `by` ran it by hand, and stands behind."""
    rule = schedule.rule
    behind = tuple(dict.fromkeys((rule.author, *((by,) if by else ()))))
    fields = {**rule.ask, "reason": rule.ask.get("reason") or f"Schedule {rule.name}: {rule.text or rule.times}"}
    actor = Actor(person=rule.author, door=Door.SCHEDULE)
    about = ForSchedule(rule.name, due, behind)
    change = await file_change(runtime, rule.runbook, fields, actor, flow_run=flow_run, schedule=about)
    return settle(runtime, change)  # approvals that stand may suffice already


async def triggered(
    runtime: Runtime, runbook: str, name: str, parameters: Mapping[str, Any], flow_run: str
) -> Change | str | None:
    """Take a run that Prefect's scheduler made: return its change, or in words why there is none.

    None says that it has a schedule's looks but other parameters: nobody knows who asks for these.
    """
    schedule = runtime.store.schedules.find(name)
    if schedule is None or schedule.rule.runbook != runbook:
        why = f"Prefect has a schedule {name!r} of {runbook} that Passgate does not know; its run was not obeyed"
        put_right(runtime, name, runbook, why)
        return f"{why}. Use `passgate schedule add`."
    if json.loads(json.dumps(dict(parameters))) != schedule.rule.model_dump(mode="json")["ask"]:
        return None
    if schedule.paused:
        return f"The schedule {name} is paused."
    change = await take_due(runtime, schedule, flow_run=flow_run)
    return change or f"Nothing of the schedule {name} is due now: see `passgate schedule show {name}`."


def put_right(runtime: Runtime, name: str, runbook: str, why: str) -> None:
    """Record that Prefect's schedules were not as our table says."""
    log.warning("%s", why)
    data = {"name": name, "runbook": runbook, "why": why}
    runtime.store.append(Event(type=EventType.TRIGGER, change="", actor=ENGINE, at=runtime.clock(), data=data))
