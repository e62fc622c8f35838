"""Kill every process at every step: the change goes on from its journal, nothing is done twice, nothing is lost."""

from __future__ import annotations

from collections import Counter

import pytest

from passgate.model.change import State
from tests.house import House, until

ONCE = Counter({"ShutdownGuest": 1, "ReconfigVM_Task": 2, "PowerOnVM_Task": 1})
"""What an attach with a new controller sends to vCenter, however often Passgate died on the way."""


@pytest.mark.parametrize("method", ["ShutdownGuest", "ReconfigVM_Task", "PowerOnVM_Task"])
def test_goes_on_after_the_service_was_killed_inside_a_step(house: House, method: str) -> None:
    """A kill while vCenter works on a call: the next process looks first, and the call is not sent a second time."""
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


def test_goes_on_after_the_service_was_killed_while_waiting(house: House) -> None:
    """A wait holds no process: an approval after the restart finds the change as it was."""
    change = house.request()
    house.suspended(change)
    house.kill_service()
    house.up()
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


def _sent(house: House) -> Counter[str]:
    return Counter(one["method"] for one in house.touched() if one["accepted"])
