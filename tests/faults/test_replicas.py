"""Promise: several services may stand before one database; one works, all are doors, and a killed one is replaced."""

from __future__ import annotations

from passgate.model.change import EventType, State
from tests.house import House
from tests.replicas import FIRST, replicas


def test_a_door_takes_the_place_of_the_one_that_is_killed_and_nobody_restarts_anything(house: House) -> None:
    """A change filed and approved at doors is carried out by whichever works, across a kill -9 of that one."""
    with replicas(house, "b") as both:
        assert both.working() == [FIRST]
        assert both.status("b")["role"] == "stands by"
        answer = both.call(
            "b", "alice", "POST", "/v1/changes",
            runbook="usb-attach", ask={"vm": "win-01", "device": "18a5:0302", "reason": "a test"},
        )  # fmt: skip
        change = house.store.change(answer.json()["id"])
        house.suspended(change)  # the one that works heard of it, and made its run

        both.kill(FIRST)
        both.approve("b", "bob", change)  # at a door, the only one that is left
        ended = house.ends(change)

        assert ended.state is State.DONE, ended.outcome
        assert both.working() == ["b"]
        assert house.touched() != []
        assert [event.type for event in house.store.events(change=change.id)].count(EventType.DECISION) == 1
        told = house.passgate("show", change.id)  # the command line finds the one that answers
        assert told.returncode == 0, told.stderr
