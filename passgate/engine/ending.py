"""End a change: give back what it held, say exactly what is and what isn't done, write the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from passgate.engine.authority import ENGINE
from passgate.engine.runtime import Runtime
from passgate.ledger.evidence import write_evidence as write_file
from passgate.model.change import Change, Event, EventType, JournalEntry, State, StepState


async def end(runtime: Runtime, change: Change, failed: str | None, left: tuple[str, ...]) -> Change:
    """Give the leases back, say exactly what is and what isn't done, and write the evidence."""
    store = runtime.store
    journal = store.journal(change.id)
    done = [entry.title for entry in journal if entry.state is StepState.DONE]
    proof = journal[-1].saw if journal else ""
    if failed is None:
        state, why = State.DONE, proof or "all steps are done"
    elif not left and all(entry.state in _TAKEN_BACK for entry in _mutating(change, journal)):
        undone = any(entry.state is StepState.UNDONE for entry in journal)
        rest = "What was done before was taken back." if undone else "Nothing was changed."
        state, why = State.UNDONE, f"{failed} {rest}"
    else:
        state = State.STOPPED
        rest = "; ".join(left) or f"done and left as it is: {', '.join(done) or 'nothing'}"
        target = change.plan.target if change.plan else "the target"
        why = f"{failed} {rest.rstrip('.')}. A person is needed: look at {target}."
    now = runtime.clock()
    store.give_leases_back(change.id, now)
    change = store.move(change.id, state, ENGINE, why, now, outcome=why)
    await write_evidence(runtime, change)
    return change


async def write_evidence(runtime: Runtime, change: Change) -> None:
    """Write the change's evidence file into the home, and record its SHA-256."""
    path = evidence_file(runtime.home, change.id)
    path.parent.mkdir(parents=True, exist_ok=True)

    def write() -> str:
        return write_file(path, runtime.store.evidence_data(change.id))

    digest = await runtime.estate.in_thread(write)
    data = {"file": path.name, "sha256": digest}
    runtime.store.append(Event(type=EventType.EVIDENCE, change=change.id, actor=ENGINE, at=runtime.clock(), data=data))


def evidence_file(home: Path, change_id: str) -> Path:
    """Return where a change's evidence is kept."""
    return home / "evidence" / f"{change_id}.zip"


_TAKEN_BACK = frozenset({StepState.UNDONE, StepState.PENDING, StepState.NOT_NEEDED})


def _mutating(change: Change, journal: Sequence[JournalEntry]) -> list[JournalEntry]:
    wanted = {step.index for step in (change.plan.steps if change.plan else ()) if step.mutates}
    return [entry for entry in journal if entry.index in wanted]
