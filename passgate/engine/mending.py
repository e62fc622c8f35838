"""File the changes that would mend a drift, after the change that found it; each passes a gate of its own.

They are asked for by who asked for that change, so that for a scheduled one neither its author nor who stands behind it
can approve what it leads to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from passgate.engine.authority import ENGINE, words
from passgate.engine.filing import asked, file_change
from passgate.engine.runtime import Runtime
from passgate.errors import PassgateError, RecordError, WorldError
from passgate.model.change import Change, Event, EventType, State
from passgate.model.drift import Mend

SAID_OTHERWISE = {"reason", "ticket"}
"""Fields in which two changes may differ that do the same."""


async def mend(runtime: Runtime, change: Change, start: Callable[[Change], Any]) -> None:
    """File what a finished change proposes to mend, once, where its policy lets it; record what became of each.

    Raises WorldError where the estate can't be read now: it is tried again then.
    """
    proposed = _proposed(runtime, change)
    if not proposed or runtime.store.events_of(change.id, EventType.MENDS):
        return
    if change.terms is None or not change.terms.mends:
        said = [f"{one.words}: not filed, for no rule of the policy lets drift be mended (mends)" for one in proposed]
    else:
        said = [await _filed(runtime, change, number, one, start) for number, one in enumerate(proposed)]
    data = {"why": "; ".join(said), "mends": said}
    runtime.store.append(Event(type=EventType.MENDS, change=change.id, actor=ENGINE, at=runtime.clock(), data=data))


def _proposed(runtime: Runtime, change: Change) -> list[Mend]:
    if change.state is not State.DONE or not change.ask.get("mend"):
        return []
    outcomes = runtime.store.events_of(change.id, EventType.STEP_OUTCOME)
    facts = [one.data.get("facts") or {} for one in outcomes]
    return [Mend.model_validate(each) for one in facts for each in one.get("mends", ())]


async def _filed(runtime: Runtime, change: Change, number: int, one: Mend, start: Callable[[Change], Any]) -> str:
    """File one and return in words what became of it; what is open already is not filed again.

    Its key finds what was filed before a crash that came before that was recorded.
    """
    key = f"mend:{change.id}:{number}"
    fields = {**one.ask, "reason": f"Mends the drift that {change.id} found"}
    behind = tuple(change.terms.excluded) if change.terms else ()
    try:
        there = _open_already(runtime, one.runbook, fields)
        if there and runtime.store.change_filed(key) is None:
            return f"{one.words}: {there} is open already"
        filed = await file_change(runtime, one.runbook, fields, change.requester, behind=behind, key=key)
    except (RecordError, WorldError):
        raise
    except PassgateError as error:
        return f"{one.words}: not filed, {words(error)}"
    await start(filed)
    return f"{one.words}: filed as {filed.id}"


def _open_already(runtime: Runtime, slug: str, fields: dict[str, Any]) -> str:
    runbook, ask = asked(runtime, slug, fields)
    meant = ask.model_dump(mode="json", exclude=SAID_OTHERWISE)
    open_states = tuple(state for state in State if not state.is_end)
    for change in runtime.store.changes(open_states, limit=10_000):
        if change.runbook == runbook.slug:
            known = {name: value for name, value in change.ask.items() if name not in SAID_OTHERWISE}
            if known == meant:
                return change.id
    return ""
