"""End a change: give back what it held, say exactly what is and what isn't done, write the evidence."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from passgate.engine import tables
from passgate.engine.authority import ENGINE
from passgate.engine.runtime import Runtime
from passgate.engine.steps import Look
from passgate.ledger.evidence import write_evidence as write_file
from passgate.model.change import Change, Event, EventType, JournalEntry, State, StepState


async def end(runtime: Runtime, change: Change, failed: str | None, tokens: Mapping[str, int]) -> Change:
    """Say exactly what is and what isn't done, give the leases back, and write the evidence.

    Everything that is said follows from the journal, so that it is the same after a crash on the way.
    """
    store = runtime.store
    aside = _aside(runtime, change) if failed is None else frozenset()
    state, why = _outcome(change, store.journal(change.id), failed, aside)
    now = runtime.clock()
    change = store.move(change.id, state, ENGINE, why, now, outcome=why, tokens=tokens)
    store.give_leases_back(change.id, now, tokens=tokens)
    await write_evidence(runtime, change)
    return change


def _outcome(
    change: Change, journal: Sequence[JournalEntry], failed: str | None, aside: Collection[int] = ()
) -> tuple[State, str]:
    if failed is None:
        return State.DONE, _proof(change, journal, aside) or "all steps are done"
    mutating = {step.index for step in (change.plan.steps if change.plan else ()) if step.mutates}
    left = [entry for entry in journal if entry.index in mutating and entry.state not in _AS_BEFORE]
    if not left:
        undone = any(entry.state is StepState.UNDONE for entry in journal)
        return State.UNDONE, f"{failed} {'What was done before was taken back.' if undone else 'Nothing was changed.'}"
    rest = "; ".join(f"{entry.title}: {_LEFT.get(entry.state, entry.state)}{_because(entry)}" for entry in left)
    target = change.plan.target if change.plan else "the target"
    return State.STOPPED, f"{failed} Left as it is: {rest.rstrip('.')}. A person is needed: look at {target}."


def _proof(change: Change, journal: Sequence[JournalEntry], aside: Collection[int]) -> str:
    """Return what the last step that looked has seen; where none looked, how the last step left the world.

    Steps `aside` looked at what the change was not for: theirs is the last word only where no other one looked.
    """
    looks = {step.index for step in (change.plan.steps if change.plan else ()) if not step.mutates}
    seen = [entry for entry in journal if entry.index in looks and entry.state is StepState.DONE and entry.saw]
    told = [entry for entry in seen if entry.index not in aside] or seen or journal
    return told[-1].saw if told else ""


def _aside(runtime: Runtime, change: Change) -> frozenset[int]:
    looks = [step for step in (change.plan.steps if change.plan else ()) if not step.mutates]
    kinds = {step.index: runtime.catalogue.step(step.kind, step.fields) for step in looks}
    return frozenset(index for index, step in kinds.items() if isinstance(step, Look) and step.aside)


def _because(entry: JournalEntry) -> str:
    return f" ({entry.error.rstrip('.')})" if entry.error and entry.state is not StepState.DONE else ""


async def write_evidence(runtime: Runtime, change: Change) -> None:
    """Write the change's evidence file into the home, and record its SHA-256."""
    path = evidence_file(runtime.home, change.id)
    path.parent.mkdir(parents=True, exist_ok=True)

    def write() -> str:
        data = runtime.store.evidence_data(change.id)
        return write_file(path, replace(data, tables=tables.files_of(runtime.home, change.id, data.told)))

    digest = await runtime.estate.in_thread(write)
    data = {"file": path.name, "sha256": digest}
    runtime.store.append(Event(type=EventType.EVIDENCE, change=change.id, actor=ENGINE, at=runtime.clock(), data=data))


def is_kept(runtime: Runtime, change_id: str) -> bool:
    """Say whether a change's evidence is in its file and on record; a crash may come between the two."""
    recorded = runtime.store.events_of(change_id, EventType.EVIDENCE)
    return bool(recorded) and evidence_file(runtime.home, change_id).exists()


def evidence_file(home: Path, change_id: str) -> Path:
    """Return where a change's evidence is kept."""
    return home / "evidence" / f"{change_id}.zip"


_AS_BEFORE = frozenset({StepState.UNDONE, StepState.PENDING, StepState.NOT_NEEDED, StepState.REFUSED})
"""States of a step that leave the world as it was before the step."""
_LEFT = {
    StepState.DONE: "done",
    StepState.UNKNOWN: "could not be taken back",
    StepState.FAILED: "failed, not taken back",
}
