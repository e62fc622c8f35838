"""Give back what was for the time of the change only, on every end, whatever policy says of the rest."""

from __future__ import annotations

from passgate.model.change import Change, State, StepState
from tests.house import House
from tests.workshop import Workshop


def carried_out(house: House, steps: str) -> Change:
    """Carry a change out whose policy leaves a failed one as it is."""
    house.lab.control.rename_vm("win-01", "kept-1")
    ask = {"vm": "kept-1", "steps": steps, "reason": "a test"}
    answer = house.call("alice", "POST", "/v1/changes", runbook="prove-steps", ask=ask)
    assert answer.is_success, answer.text
    return house.ends(house.store.change(answer.json()["id"]))


def test_a_failed_change_that_stays_as_it_is_gives_back_what_was_temporary(workshop: Workshop) -> None:
    """The VM stays off, as policy says; the controller that was for the way only is gone, and the end says what is."""
    change = carried_out(workshop, "off, held, fail")
    assert change.state is State.STOPPED, change.outcome
    vm = workshop.lab.control.vm("kept-1")
    assert (vm["power"], len(vm["controllers"])) == ("poweredOff", 1)
    journal = workshop.store.journal(change.id)
    assert [one.state for one in journal] == [StepState.DONE, StepState.UNDONE, StepState.FAILED]
    assert journal[1].title not in change.outcome


def test_a_change_that_is_done_holds_nothing_that_was_temporary(workshop: Workshop) -> None:
    """A runbook that does not end it itself has it ended."""
    change = carried_out(workshop, "off, held, restart")
    assert change.state is State.DONE, change.outcome
    vm = workshop.lab.control.vm("kept-1")
    assert (vm["power"], vm["controllers"]) == ("poweredOff", [])
