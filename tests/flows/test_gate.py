"""Try every known way around the gate. The lab's own log of mutating calls is the judge, not the engine's."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from passgate.model.change import Change, EventType, State
from tests.house import House, until
from tests.workshop import Workshop

Way = Callable[[House, str], Any]


def resume(house: House, run: str) -> None:
    """Resume the run, as Prefect's button does."""
    house.prefect("POST", f"/flow_runs/{run}/resume").raise_for_status()


def schedule(house: House, run: str) -> None:
    """Put the run into Scheduled."""
    _state(house, run, "SCHEDULED", force=False)


def schedule_by_force(house: House, run: str) -> None:
    """Put the run into Scheduled by force, which skips the rule that clears the gate's keys."""
    _state(house, run, "SCHEDULED", force=True)


def cancel_and_retry_by_force(house: House, run: str) -> None:
    """Cancel the run and retry it by force, as the CLI's and the UI's Retry do."""
    _state(house, run, "CANCELLED", force=True)
    _state(house, run, "SCHEDULED", "AwaitingRetry", force=True)


def crash_and_retry(house: House, run: str) -> None:
    """Mark the run as crashed and let it be retried."""
    _state(house, run, "CRASHED", force=True)
    _state(house, run, "SCHEDULED", "AwaitingRetry", force=False)


def retry_on_the_command_line(house: House, run: str) -> None:
    """Fail the run and use Prefect's own command line."""
    from passgate.engine.lifecycle import prefect_environment

    _state(house, run, "FAILED", force=True)
    words = [sys.executable, "-m", "prefect", "flow-run", "retry", run]
    subprocess.run(words, env=prefect_environment(house.home), capture_output=True, timeout=60, check=False)


WAYS: tuple[Way, ...] = (
    resume, schedule, schedule_by_force, cancel_and_retry_by_force, crash_and_retry, retry_on_the_command_line,
)  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_wake_up_without_a_decision_goes_back_to_sleep(house: House, way: Way) -> None:
    """Whatever Prefect is told to do with the run, nothing is sent to vCenter, and an approval still works after it."""
    change = house.request()
    run = house.suspended(change)

    way(house, run)
    _woke_up(house, change, times=1)
    house.suspended(change)

    assert house.touched() == []
    assert house.store.change(change.id).state is State.WAITING
    house.decide("bob", change)
    assert house.ends(change).state is State.DONE


def test_a_run_forced_into_running_is_carried_out_by_nobody(house: House) -> None:
    """A state that says Running starts no code of ours."""
    change = house.request()
    run = house.suspended(change)
    _state(house, run, "RUNNING", force=True)
    assert house.touched() == []
    house.decide("bob", change)
    assert house.ends(change).state is State.DONE


def test_a_denied_change_stays_denied_whatever_prefect_does(house: House) -> None:
    """A retry of a run whose change has ended does nothing."""
    change = house.request()
    run = house.suspended(change)
    assert house.decide("bob", change, "deny", "not tonight").is_success
    ended = house.ends(change)
    assert ended.state is State.DENIED
    assert "not tonight" in ended.outcome
    until(lambda: house.run_state(change) == "Cancelled", "the run ends", told=lambda: house.run_state(change))

    _state(house, run, "SCHEDULED", "AwaitingRetry", force=True)
    until(lambda: house.run_state(change) == "Cancelled", "the run ends again", told=lambda: house.run_state(change))
    assert house.touched() == []


def test_a_run_that_prefect_starts_itself_files_a_change_and_waits(house: House) -> None:
    """R1: Prefect's form passes the same gate; nobody knows who asked, so it takes one approval more than usual."""
    deployment = house.prefect("GET", "/deployments/name/usb-attach/usb-attach").json()
    run = house.prefect(
        "POST",
        f"/deployments/{deployment['id']}/create_flow_run",
        parameters={"vm": "win-01", "device": "18a5:0302"},
    ).json()
    until(lambda: house.store.change_of_flow_run(run["id"]) is not None, "the run files a change")
    change = house.store.change_of_flow_run(run["id"])
    assert change is not None
    house.suspended(change)
    assert (change.requester.person, change.requester.door) == ("prefect", "prefect")
    assert house.touched() == []

    house.decide("bob", change)
    house.suspended(change)
    assert house.touched() == []
    house.decide("carol", change)
    assert house.ends(change).state is State.DONE


def test_who_asked_cannot_approve_by_any_door(workshop: Workshop) -> None:
    """Four eyes hold in the API and in Slack alike."""
    change = workshop.request("bob")
    workshop.suspended(change)
    answer = workshop.decide("bob", change)
    assert answer.status_code == 403, answer.text
    assert "asked" in answer.text
    assert workshop.store.decisions(change.id) == ()


def test_a_world_that_changed_voids_the_approval_and_says_what_changed(workshop: Workshop) -> None:
    """R34: What was approved is what runs: a VM that was powered off meanwhile makes another plan."""
    change = workshop.request()
    workshop.suspended(change)
    workshop.lab.control.set_vm("win-01", power="poweredOff")
    workshop.decide("bob", change)
    ended = workshop.ends(change)
    assert ended.state is State.VOID
    assert "win-01" in ended.outcome
    assert workshop.touched() == []


def test_a_withdrawn_change_cannot_be_approved(workshop: Workshop) -> None:
    """R11: Who asked may take it back before the first step, and is on record; after that no decision counts."""
    change = workshop.request()
    workshop.suspended(change)
    path = f"/v1/changes/{change.id}/withdraw"
    assert workshop.call("alice", "POST", path, reason="wrong VM").is_success
    assert workshop.ends(change).state is State.WITHDRAWN
    assert workshop.decide("bob", change).status_code == 409
    assert workshop.touched() == []
    ended = workshop.store.events_of(change.id, EventType.STATE)[-1]
    assert (ended.actor.person, ended.actor.door, ended.data["why"]) == ("alice", "api", "wrong VM")


def test_a_flow_called_directly_does_nothing(house: House) -> None:
    """Calling a runbook's flow from Python, in a process that is not the service, is refused in words."""
    code = (
        "import asyncio\n"
        "from passgate.engine import deployed\n"
        "asyncio.run(deployed.usb_attach(vm='win-01', device='18a5:0302'))\n"
    )
    from passgate.engine.lifecycle import prefect_environment

    filed = len(house.store.changes())
    environment = {**prefect_environment(house.home), **house.environment()}
    words = [sys.executable, "-c", code]
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode != 0
    assert "Changes are carried out by Passgate's own service" in ended.stderr
    assert (house.touched(), len(house.store.changes())) == ([], filed)


def test_a_retry_in_the_middle_of_a_step_starts_no_second_hand(house: House) -> None:
    """R32: Prefect's Retry while a change is applied: one process has the run, and each call is sent once."""
    change = house.request()
    run = house.suspended(change)
    house.lab.control.fault("ReconfigVM_Task", delay=1.5, times=1)
    house.decide("bob", change)
    until(lambda: house.store.change(change.id).state is State.APPLYING, "it is applied", told=house.told(change))
    for _ in range(3):
        _state(house, run, "SCHEDULED", "AwaitingRetry", force=True)
        time.sleep(0.3)

    ended = house.ends(change)

    assert ended.state is State.DONE, ended.outcome
    sent = Counter(one["method"] for one in house.touched() if one["accepted"])
    assert sent == {"ShutdownGuest": 1, "ReconfigVM_Task": 2, "PowerOnVM_Task": 1}
    until(lambda: house.run_state(change) == "Completed", "the run ends", told=lambda: house.run_state(change))
    told = [event.type for event in house.store.events(change=change.id)]
    assert told[-1] == "evidence.written"


def _state(house: House, run: str, kind: str, name: str | None = None, *, force: bool) -> None:
    state = {"type": kind, **({"name": name} if name else {})}
    house.prefect("POST", f"/flow_runs/{run}/set_state", state=state, force=force)


def _woke_up(house: House, change: Change, *, times: int) -> None:
    def wakings() -> int:
        return sum(event.type == "run.resumed" for event in house.store.events(change=change.id))

    until(lambda: wakings() >= times, "the run wakes up", told=lambda: house.run_state(change))
