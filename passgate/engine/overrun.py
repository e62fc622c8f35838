"""Hold a run to the calendar at the borders of its steps: what it does when its window has ended or a freeze began."""

from __future__ import annotations

from passgate.engine.carrying import Carrying
from passgate.engine.opening import refuses, stops
from passgate.engine.runtime import Runtime
from passgate.model.change import Change, EventType, StepState
from passgate.model.plan import PlannedStep

OVERRUN = "overrun"
"""Field of the event that a step was not begun: what the calendar says becomes of the run."""


def out_of_time(carrying: Carrying, planned: PlannedStep) -> str | None:
    """Say why a step may not be begun any more, after recording so; None where it may.

    Steps that only look, or have nothing to do, take nothing away from anybody, and a step that was begun is ended.
    """
    runtime, now = carrying.runtime, carrying.runtime.clock()
    entry = next(one for one in runtime.store.journal(carrying.change) if one.index == planned.index)
    if not (planned.needed and planned.mutates) or entry.state is not StepState.PENDING:
        return None
    change = runtime.store.change(carrying.change)
    why = refuses(runtime, change, planned.index, now)
    stopped = stops(runtime, change, now) if why else None
    if why is None or stopped is None:
        return None
    carrying.refuse(planned, why, **{OVERRUN: stopped[0]})
    return f"{planned.title} was not begun: {why}."


def takes_all_back(runtime: Runtime, change: Change) -> bool:
    """Say whether a run that can't go on takes back what was done: the calendar says if it stopped it, else policy."""
    said: list[str | None] = [
        one.data.get(OVERRUN) for one in runtime.store.events_of(change.id, EventType.STEP_ATTEMPT_FAILED)
    ]
    stopped = next((one for one in reversed(said) if one), None)
    if stopped is None:
        return change.terms is not None and change.terms.undo_on_failure
    return stopped == "take-back"
