"""Watch a whole lab: what happens is told in the change's thread, once, whatever dies meanwhile; nothing is touched."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from datetime import UTC, datetime
from typing import Any

import pytest

from passgate.ledger.evidence import Evidence, verify_evidence
from passgate.model.change import Change, EventType, State
from tests.house import House, until
from tests.slack_channel import Channel
from tests.workshop import Workshop

ESX_01, ESX_02, ESX_03 = (f"esx-0{number}.lab.example" for number in (1, 2, 3))
STRANGER = {"vendor": 0x0781, "product": 0x5583, "name": "SanDisk Ultra Fit", "serial": "X1"}


def watched(house: House, **ask: Any) -> Change:
    """File a watch as alice, and wait until it has looked for the first time."""
    answer = house.call("alice", "POST", "/v1/changes", runbook="usb-watch", ask={"reason": "a test", **ask})
    assert answer.status_code == 201, answer.text
    change = house.store.change(answer.json()["id"])
    until(lambda: bool(told(house, change)), "the watch has begun", told=house.told(change))
    return change


def told(house: House, change: Change) -> list[str]:
    """Return what the watch told so far."""
    events = house.store.events_of(change.id, EventType.NOTICED)
    return [str(one.data["saw"]) for one in events]


def kinds(house: House, change: Change) -> list[tuple[str, str]]:
    """Return what the watch told so far, as kind and host."""
    events = house.store.events_of(change.id, EventType.NOTICED)
    facts = [one.data["facts"] for one in events if "what" in one.data["facts"]]
    return [(one["what"], one["host"]) for one in facts]


def hears(house: House, change: Change, kind: str, host: str) -> None:
    """Wait until the watch told that."""
    until(lambda: (kind, host) in kinds(house, change), f"it tells {kind} of {host}", told=house.told(change))


def rows_of(house: House, change: Change) -> list[dict[str, str]]:
    """Return the rows of the watch's table, out of evidence that holds."""
    path = house.home / "evidence" / f"{change.id}.zip"
    until(path.exists, "evidence", told=house.told(change))
    assert house.store.verifier_key is not None
    assert isinstance(verify_evidence(path, house.store.verifier_key.text), Evidence)
    with zipfile.ZipFile(path) as bundle:
        text = bundle.read("tables/1-usb-watch.csv").decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_what_comes_goes_is_exchanged_and_falls_off_is_told_in_the_thread(house: House) -> None:
    """A stick in a dongle's port: its VM is named. A shell and a host that go: one message, not one for each look."""
    change = watched(house, lasting="14s", host=[ESX_01, ESX_02])
    house.lab.control.unplug(ESX_02, "0/1/2")
    hears(house, change, "fell off its VM", ESX_02)
    house.lab.control.plug(ESX_02, "0/9/9", to="0/1/2", **STRANGER)
    hears(house, change, "exchanged", ESX_02)
    house.lab.control.set_host(ESX_01, connection="notResponding")
    house.lab.control.service(ESX_02, "TSM-SSH", running=False)
    hears(house, change, "host lost", ESX_01)
    hears(house, change, "shell lost", ESX_02)
    house.lab.control.set_host(ESX_01, connection="connected")
    house.lab.control.service(ESX_02, "TSM-SSH", running=True)
    ended = house.ends(change)

    assert ended.state is State.DONE, ended.outcome
    assert "1 exchanged" in ended.outcome
    for kind, host in (("host lost", ESX_01), ("host back", ESX_01), ("shell lost", ESX_02), ("shell back", ESX_02)):
        assert kinds(house, change).count((kind, host)) == 1, kind
    assert house.lab.control.mutations() == []
    said = told(house, change)
    swap = next(one for one in said if "in place of" in one)
    assert "SanDisk Ultra Fit (0781:5583 at path:0/1/2, serial X1)" in swap
    assert "lic-01 names that path" in swap
    assert "LabUsb" in swap, "the line of the log is shown beside it"
    assert len(said) == len(set(said)), "told twice"
    assert [row["what"] for row in rows_of(house, ended)] == [kind for kind, _ in kinds(house, change)]
    thread = "\n".join(Channel(house).told(change))
    assert "in place of" in thread
    assert "lic-01 runs, but lost" in thread


def test_a_watch_whose_service_is_killed_goes_on_until_the_same_moment_and_tells_nothing_twice(house: House) -> None:
    """What happened while nobody looked is told by the next process; what was told before is not told again."""
    change = watched(house, lasting="9s")
    until_when = next(one for one in told(house, change)).partition("until ")[2][:8]
    house.lab.control.unplug(ESX_02, "0/1/2")
    hears(house, change, "pulled out", ESX_02)
    house.kill_service()
    house.lab.control.unplug(ESX_01, "0/1/3")

    house.up()
    hears(house, change, "pulled out", ESX_01)
    ended = house.ends(change)

    assert ended.state is State.DONE, ended.outcome
    said = told(house, change)
    assert sum("At the start" in one for one in said) == 1
    assert kinds(house, change).count(("pulled out", ESX_02)) == 1
    assert kinds(house, change).count(("pulled out", ESX_01)) == 1
    assert f"until {until_when} UTC" in ended.outcome
    ended_at = ended.ended_at
    assert ended_at is not None
    assert f"{ended_at:%H:%M:%S}" >= until_when


def test_a_watch_does_not_stand_in_the_way_of_other_changes_nor_of_the_end_of_the_service(house: House) -> None:
    """Watches hold no thread between two looks: a change runs beside many of them, and `down` ends at once."""
    watches = [watched(house, lasting="1h", host=["esx-03*"], shells=False) for _ in range(2)]

    change = house.request()
    house.decide("bob", change)
    assert house.ends(change).state is State.DONE

    assert house.passgate("down").returncode == 0
    assert {house.store.change(one.id).state for one in watches} == {State.APPLYING}
    for one in watches:
        is_over_now(house, one)
    house.up()
    for one in watches:
        assert house.ends(one).state is State.DONE


def is_over_now(house: House, change: Change) -> None:
    """Let a watch that would go on for hours be over, by the moment in its notes."""
    path = house.home / "notes" / change.id / "1.json"
    notes = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**notes, "until": datetime.now(UTC).isoformat()}), encoding="utf-8")


def test_one_look_says_how_things_stand(workshop: Workshop) -> None:
    """`once` ends after the first look, with what is against config in its table."""
    workshop.lab.control.set_vm("lic-01", power="poweredOff")
    workshop.lab.control.unplug(ESX_02, "0/1/2")

    ended = workshop.ends(watched(workshop, once=True))

    assert ended.state is State.DONE, ended.outcome
    assert "1 against config from the start" in ended.outcome
    assert ("so from the start", "lic-01") in [(row["what"], row["vm"]) for row in rows_of(workshop, ended)]


@pytest.mark.parametrize("lasting", ["0s", "9h", "481m", "10", "1d", "-5m", "10 m", ""])
def test_a_time_that_can_not_be_is_refused_at_the_door(workshop: Workshop, lasting: str) -> None:
    """The field is named, and what is accepted."""
    answer = workshop.call("alice", "POST", "/v1/changes", runbook="usb-watch", ask={"lasting": lasting})

    assert answer.status_code == 400
    assert answer.json()["error"]["subject"] == "lasting"
    assert "at most 8h" in answer.json()["error"]["hint"]
