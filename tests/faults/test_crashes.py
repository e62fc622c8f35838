"""Kill every process at every step: the change goes on from its journal, nothing is done twice, nothing is lost."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from passgate.model.change import Change, EventType, State
from tests.house import House, until

ONCE = Counter({"ShutdownGuest": 1, "ReconfigVM_Task": 2, "PowerOnVM_Task": 1})
"""What an attach with a new controller sends to vCenter, however often Passgate died on the way."""


@pytest.mark.parametrize("method", ["ShutdownGuest", "ReconfigVM_Task", "PowerOnVM_Task"])
def test_goes_on_after_the_service_was_killed_inside_a_step(house: House, method: str) -> None:
    """R40: A kill while vCenter works on a call: the next process looks first, and it is not sent a second time."""
    change = house.request()
    house.suspended(change)
    house.lab.control.fault(method, delay=2.0, times=1)
    house.decide("bob", change)
    until(lambda: method in _sent(house), f"{method} is sent", told=house.told(change))
    house.kill_service()

    house.up()
    ended = house.ends(change)

    assert ended.state is State.DONE, ended.outcome
    assert _sent(house) == ONCE
    assert house.lab.control.vm("win-01")["usb"][0]["connected"]


def test_goes_on_taking_back_after_the_service_was_killed_on_the_way_back(house: House) -> None:
    """A kill while steps are taken back: the next process takes the rest back, and still knows why."""
    before = house.lab.control.vm("win-01")
    change = house.request()
    house.suspended(change)
    house.lab.control.fault("PowerOnVM_Task", "NotSupported", times=1)
    house.decide("bob", change)
    until(lambda: _told(house, change, EventType.UNDO_INTENT), "it is taken back", told=house.told(change))
    house.kill_service()

    house.up()
    ended = house.ends(change)

    assert ended.state is State.UNDONE, ended.outcome
    assert "NotSupported" in ended.outcome
    after = house.lab.control.vm("win-01")
    assert (after["power"], after["usb"]) == (before["power"], before["usb"])


def test_stops_when_somebody_changed_the_world_while_passgate_was_dead(house: House) -> None:
    """What was approved is what runs: a VM that was powered on meanwhile is not reconfigured while it runs."""
    change = house.request()
    house.suspended(change)
    house.lab.control.fault("ReconfigVM_Task", delay=3.0, times=1)
    house.decide("bob", change)
    until(lambda: "ShutdownGuest" in _sent(house), "the guest is shut down", told=house.told(change))
    until(lambda: _told(house, change, EventType.STEP_OUTCOME, "vCenter shows win-01 off"), "it is off")
    time.sleep(0.5)  # the next call is on its way by then, and takes 3 s
    house.kill_service()
    until(lambda: "ReconfigVM_Task" in _sent(house), "the call that was under way has ended")
    house.lab.control.set_vm("win-01", power="poweredOn")

    house.up()
    ended = house.ends(change)

    assert ended.state in {State.UNDONE, State.STOPPED}, ended.outcome
    assert "does not hold any more" in ended.outcome
    assert _sent(house)["PowerOnVM_Task"] == 0


def test_goes_on_after_the_service_was_killed_while_waiting(house: House) -> None:
    """A wait holds no process: an approval after the restart finds the change as it was.

    So it finds Prefect: a deployment that somebody altered meanwhile is put right, and no other is written again.
    """
    change = house.request()
    house.suspended(change)
    before = _deployments(house)
    house.kill_service()
    altered = {"parameters": {"vm": "win-02"}, "paused": True, "enforce_parameter_schema": False}
    path = f"/deployments/{before['usb-attach']['id']}"
    assert house.prefect("PATCH", path, **altered).status_code == 204
    house.up()
    after = _deployments(house)
    assert {name: after["usb-attach"][name] for name in altered} == {
        "parameters": {},
        "paused": False,
        "enforce_parameter_schema": True,
    }
    assert [slug for slug in before if after[slug]["updated"] != before[slug]["updated"]] == ["usb-attach"]
    house.decide("bob", change)
    assert house.ends(change).state is State.DONE


def test_goes_on_after_the_decision_was_stored_and_the_bell_not_rung(house: House) -> None:
    """A kill right after the decision was committed: the clockwork of the next process rings."""
    change = house.request()
    house.suspended(change)
    assert house.decide("bob", change).is_success
    house.kill_service()
    house.up()
    ended = house.ends(change)
    assert ended.state is State.DONE, ended.outcome
    assert _sent(house) == ONCE


def test_goes_on_after_prefects_server_was_killed_while_waiting(house: House) -> None:
    """Prefect's books survive on disk; the gate stands in ours."""
    change = house.request()
    house.suspended(change)
    house.kill_prefect()
    house.up()
    house.decide("bob", change)
    ended = house.ends(change)
    assert ended.state is State.DONE, ended.outcome
    assert _sent(house) == ONCE


def test_ends_in_a_known_state_when_prefects_server_dies_inside_a_step(house: House) -> None:
    """Losing Prefect in the middle loses nothing: the change goes on once it is back."""
    change = house.request()
    house.suspended(change)
    house.lab.control.fault("ReconfigVM_Task", delay=2.0, times=1)
    house.decide("bob", change)
    until(lambda: "ReconfigVM_Task" in _sent(house), "the controller is added", told=house.told(change))
    house.kill_prefect()
    house.up()
    ended = house.ends(change)
    assert ended.state is State.DONE, ended.outcome
    assert _sent(house) == ONCE


def _told(house: House, change: Change, kind: EventType, saw: str = "") -> bool:
    events = house.store.events(change=change.id)
    return any(event.type is kind and saw in str(event.data.get("saw", "")) for event in events)


def _sent(house: House) -> Counter[str]:
    return Counter(one["method"] for one in house.touched() if one["accepted"])


def _deployments(house: House) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in house.prefect("POST", "/deployments/filter", limit=200).json()}
