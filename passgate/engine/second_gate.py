"""Come to a second gate, right before a step such as a host reboot, and go on behind it only as approved.

While a change waits there, no process has it. It keeps its leases until the gate's time is over, so that nobody changes
a host or VM that is half done; they are taken anew afterwards. Behind the gate what was done is looked at once more
(`Carrying.lost`), and the rest of the plan is planned again on a fresh reading: people approved that rest, no other.
"""

from __future__ import annotations

from passgate.engine.authority import ENGINE, words
from passgate.engine.beginning import LEASE
from passgate.engine.carrying import Attempt, Carrying
from passgate.engine.gate import needs
from passgate.engine.opening import opening
from passgate.engine.planning import rest_differs
from passgate.errors import ConfigError, PassgateError, RecordError, WorldError
from passgate.model.change import Change, Gate, GateState, StepState
from passgate.model.plan import PlannedStep


async def come_to(carrying: Carrying, planned: PlannedStep) -> Gate | None:
    """Return the gate before a step, opened at the first time; None when nothing keeps the step from being begun.

    A gate without terms is not asked at: the plan's approval covers its step. Neither is the gate of a step that was
    begun, or of a remedy that is not called for. One gate stands once in a change: who decided there decided for each
    step that has it.
    """
    store, change = carrying.runtime.store, carrying.runtime.store.change(carrying.change)
    asked = change.terms.gates.get(planned.gate) if change.terms else None
    if asked is None:
        return None
    entry = next(one for one in store.journal(change.id) if one.index == planned.index)
    if entry.state is not StepState.PENDING or not await carrying.is_called_for(planned, Attempt()):
        return None
    gate = change.gate(planned.gate)
    if gate is not None:
        return gate
    now = carrying.runtime.clock()
    by = now + asked.approve_within
    found = opening(carrying.runtime, change, now)
    opened = Gate(
        name=planned.gate,
        step=planned.index,
        opened_at=now,
        # Nobody's word may come so late that the step falls outside of the window that the change was begun in.
        approve_by=min(by, found.until) if found.open and found.until else by,
        why=needs(asked),
    )
    return store.open_gate(change.id, opened, ENGINE, keep=LEASE, tokens=carrying.tokens).gate(planned.gate)


async def rest_is_as_approved(carrying: Carrying, change: Change, planned: PlannedStep) -> bool:
    """Read the estate and plan the rest again; where it differs, the step is refused and the difference recorded.

    Raises WorldError or ConfigError when the estate can't be read now.
    """
    runtime = carrying.runtime
    runbook = runtime.catalogue.runbook(change.runbook)
    try:
        site = await runtime.estate.read_for(runbook, runbook.ask.model_validate(change.ask))
        why = rest_differs(carrying.plan, planned.index, carrying.step_of, site)
    except (RecordError, WorldError, ConfigError):
        raise
    except PassgateError as error:
        why = (words(error),)
    if why:
        said = f"behind the gate {planned.gate} the rest is not as it was approved: {'; '.join(why)}"
        carrying.refuse(planned, said)
    return not why


def has_just_passed(change: Change, carrying: Carrying) -> Gate | None:
    """Return the gate that a woken run has just passed: its step is not begun yet."""
    pending = {entry.index for entry in carrying.runtime.store.journal(change.id) if entry.state is StepState.PENDING}
    return next((gate for gate in change.gates if gate.state is GateState.PASSED and gate.step in pending), None)
