"""Promise: however often, late, twice, out of order and at once people click, one outcome comes of each change.

1,000 deliveries on the wires of the lab's Slack, each act doubled or delayed, go to the sockets of three replicas, of
which one after the other is killed meanwhile. Judges are the messages in Slack, the table of decisions, the ledger and
the lab's own log of what it was told to do.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from passgate.ledger.verify import Proven
from passgate.model.change import Change, EventType
from tests.house import House, until
from tests.lab_site import LabError
from tests.replicas import FIRST, Replicas, replicas
from tests.slack_channel import ALICE, APPROVE, BOB, CAROL, DAVE, DENY, GUEST, Channel

pytestmark = pytest.mark.timeout(300)  # three replicas start, and each starts anew

ACTS = 540
"""What people do; nine of ten of it is delivered twice."""
THIRD = ACTS // 3
HANDS = 12
SEED = 20261125
OUTSIDERS = (ALICE, DAVE, GUEST)
"""Who asked, a person of no group, and a guest: none of them may decide."""


class Act(NamedTuple):
    """One click that is to be made: by whom, on which change, and which button."""

    person: str
    change: str
    button: str = APPROVE
    fields: dict[str, str] | None = None


def planned(pair: str, denied: str, waits: str) -> list[Act]:
    """Return all clicks in the order in which hands take them up; who settles something does so late in the storm."""
    dice = random.Random(SEED)  # noqa: S311 - a plan that is the same each time, no secret
    noise = [
        *(Act(person, change) for person in OUTSIDERS for change in (pair, denied, waits)),
        *(Act(person, change, DENY) for person in OUTSIDERS for change in (pair, waits)),
        Act(BOB, pair),
        Act(BOB, pair, DENY),  # opens a dialog that nobody sends
    ]
    acts = dice.choices(noise, k=ACTS)
    because = {"reason": "Not during the audit"}
    for at in dice.sample(range(THIRD, ACTS), ACTS // 10):
        acts[at] = Act(CAROL, pair)
    for at in dice.sample(range(ACTS // 2, ACTS), 6):
        acts[at] = Act(CAROL, denied, DENY, because)
    return acts


class Storm:
    """Let people click until Slack tells them that their click arrived."""

    def __init__(self, house: House, messages: dict[str, str]) -> None:
        self._house, self._messages = house, messages

    def click(self, act: Act) -> None:
        """Click until it is acknowledged; a client that is behind shows buttons that are gone already."""
        said: dict[str, Any] = {}
        for _ in range(50):
            try:
                said = self._house.lab.control.slack(
                    "click", user=act.person, message_ts=self._messages[act.change], action_id=act.button,
                    confirm=True, late=True, fields=act.fields,
                )  # fmt: skip
            except LabError as error:  # no dialog opened, or another one of theirs is on top
                said = {"error": str(error)}
                if self._house.store.change(act.change).state.is_end:
                    return
            if said.get("acked"):
                return
        raise AssertionError(f"{act} was never acknowledged: {said}")


@pytest.fixture
def three(house: House) -> Iterator[Replicas]:
    """Run three replicas, each with a socket to Slack."""
    house.lab.control.rename_vm("win-01", "pair-01")
    with replicas(house, "b", "c") as found:
        found.listen()
        yield found
    house.lab.control.slack("faults", clear=True)


def decided(house: House, change: Change) -> list[tuple[str, str]]:
    """Return who decided what, sorted."""
    return sorted((one.person, one.verdict.value) for one in house.store.decisions(change.id))


def moves(house: House, change: Change) -> list[str]:
    """Return the states that the ledger says the change came to."""
    return [one.data["to"] for one in house.store.events_of(change.id, EventType.STATE)]


def rage(storm: Storm, acts: list[Act], three: Replicas) -> None:
    """Let all clicks be made, and kill the replica that works, a door, and the one that took over, meanwhile."""
    with ThreadPoolExecutor(HANDS) as hands, ThreadPoolExecutor(2) as helpers:
        first = [hands.submit(storm.click, act) for act in acts[:THIRD]]
        first[THIRD // 2].result()
        risen = [helpers.submit(three.up, FIRST)]
        second = [hands.submit(storm.click, act) for act in acts[THIRD : 2 * THIRD]]
        works = three.one_works()
        door = next(name for name in ("b", "c") if name != works)
        three.kill(door)
        risen.append(helpers.submit(three.up, door))
        second[THIRD // 2].result()
        last = [hands.submit(storm.click, act) for act in acts[2 * THIRD :]]
        risen[0].result()
        three.kill(works)
        risen.append(helpers.submit(three.up, works))
        for one in (*first, *second, *last, *risen):
            one.result()


def test_a_thousand_clicks_over_three_replicas_make_one_outcome_of_each_change(house: House, three: Replicas) -> None:
    """R21, R23, R28, R29: no vote is lost or doubled, each change has one outcome, and the buttons are gone."""
    channel = Channel(house)
    pair, denied, *waits = asked = [house.request(vm="pair-01") for _ in range(5)]
    for change in asked:
        channel.shows_buttons(change)
    # One vote each, once alone and one after the other at each socket: the replica that works is killed after its ack.
    storm = Storm(house, {change.id: channel.parent(change)["ts"] for change in asked})
    for change in waits:
        storm.click(Act(BOB, change.id))
    three.kill(FIRST)  # the one that works
    for _ in range(ACTS // 50 * 2):
        house.lab.control.slack("faults", envelope="duplicate", times=45)
        house.lab.control.slack("faults", envelope="delay", times=5, seconds=0.4)

    rage(storm, planned(pair.id, denied.id, waits[0].id), three)
    three.one_works()
    until(lambda: house.store.inbox_open() == (), "all clicks are worked off", told=channel.trouble)
    house.ends(pair)
    house.ends(denied)
    for change in waits:
        until(lambda one=change: decided(house, one) == [("bob", "approve")], f"the one vote on {change.id} counts")
        assert house.call("alice", "POST", f"/v1/changes/{change.id}/withdraw", reason="over").status_code < 300

    assert decided(house, pair) == [("bob", "approve"), ("carol", "approve")]
    assert decided(house, denied) == [("carol", "deny")]
    assert moves(house, pair) == ["waiting", "approved", "applying", "done"]
    assert moves(house, denied) == ["waiting", "denied"]
    assert [moves(house, change) for change in waits] == [["waiting", "withdrawn"]] * 3
    for change in asked:
        assert len(house.store.events_of(change.id, EventType.DECISION)) == len(decided(house, change))
        channel.has_no_buttons(change)
        assert len(channel.parents(change)) == 1
    methods = [one["method"] for one in house.touched()]
    assert sorted(methods) == ["PowerOnVM_Task", "ReconfigVM_Task", "ReconfigVM_Task", "ShutdownGuest"]
    assert isinstance(house.store.verify(), Proven)
