"""Say at the end of a change what was proven, and no step that had nothing to do."""

from __future__ import annotations

from datetime import UTC, datetime

from passgate.engine.ending import _outcome
from passgate.model.change import Actor, Change, Door, JournalEntry, State, StepState
from tests.scenarios.paper import plan


def ended(*states: StepState, aside: tuple[int, ...] = ()) -> tuple[State, str]:
    """End a change of usb-attach whose last steps stand like that; all before are done."""
    made = plan()
    change = Change(
        id="CHG-0001", runbook=made.runbook, ask={}, reason="", state=State.APPLYING, plan=made, digest=made.digest,
        requester=Actor(person="alice", door=Door.CLI), created_at=datetime(2026, 11, 23, tzinfo=UTC),
    )  # fmt: skip
    all_ = [*[StepState.DONE] * (len(made.steps) - len(states)), *states]
    journal = [
        JournalEntry(
            change="CHG-0001", index=step.index, kind=step.kind, title=step.title, state=state, saw=f"seen {step.title}"
        )
        for step, state in zip(made.steps, all_, strict=True)
    ]
    return _outcome(change, journal, None, aside)


def test_the_last_look_is_the_outcome() -> None:
    """The guest's word, where it was asked."""
    assert ended() == (State.DONE, "seen See STORE N GO in the guest of win-01")


def test_a_look_at_what_the_change_was_not_for_is_its_outcome_only_alone() -> None:
    """That the host is back at work says nothing of the passthrough that it was rebooted for."""
    last = len(plan().steps) - 1
    assert ended(aside=(last,)) == (State.DONE, "seen See STORE N GO connected to win-01")
    nothing = [StepState.NOT_NEEDED] * last
    assert ended(*nothing, StepState.DONE, aside=(last,))[1] == "seen See STORE N GO in the guest of win-01"


def test_a_step_with_nothing_to_do_is_no_outcome() -> None:
    """That a VM is on anyway says nothing of what the change was for."""
    assert ended(StepState.NOT_NEEDED) == (State.DONE, "seen See STORE N GO connected to win-01")


def test_where_no_step_looked_it_is_how_the_last_one_left_the_world() -> None:
    """A change whose steps prove themselves ends with the word of its last one."""
    states = [StepState.NOT_NEEDED] * len(plan().steps)
    assert ended(*states) == (State.DONE, "seen See STORE N GO in the guest of win-01")
