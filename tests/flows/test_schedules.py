"""Have Prefect's own scheduler ring for schedules: what it makes is obeyed only as far as our table says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from passgate.model.change import Change, EventType, State
from tests.house import House, until

CENSUS = {"reason": "Who has what", "shells": False}


def soon(seconds: float = 12) -> str:
    """Return the wall clock in a moment, in UTC."""
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S}"


def add(house: House, name: str, **over: Any) -> dict[str, Any]:
    """Add a daily schedule in Dave's name whose first occurrence is in a moment; return what was told."""
    body = {
        "name": name, "runbook": "usb-census", "ask": CENSUS, "zone": "UTC", "rrule": "FREQ=DAILY", "first": soon(),
        **over,
    }  # fmt: skip
    answer = house.call("dave", "POST", "/v1/schedules", **body)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def filed(house: House, name: str) -> list[Change]:
    """Return the changes of a schedule."""
    return [one for one in house.store.changes() if one.schedule == name]


def in_prefect(house: House, runbook: str = "usb-census") -> dict[str, dict[str, Any]]:
    """Return the schedules of a runbook's deployment on the Prefect server, by slug."""
    found = house.prefect("GET", f"/deployments/name/{runbook}/{runbook}").json()
    return {one["slug"]: one for one in found["schedules"]}


@pytest.fixture
def quiet(house: House) -> Any:
    """Lend the house, and leave no schedule in it."""
    yield house
    for one in house.store.schedules.all():
        house.call(one.rule.author, "POST", f"/v1/schedules/{one.name}/remove")


def test_prefects_scheduler_rings_and_our_table_files(quiet: House) -> None:
    """R1, R39: one run carries out one change, asked for by the author, who can't approve it.

    Prefect's trigger makes the run; where its scheduler is late, as on a machine with much to do, our own round does.
    """
    house = quiet
    told = add(house, "daily-census")
    assert len(told["upcoming"]) == 5
    until(lambda: bool(filed(house, "daily-census")), "the change of the schedule is filed")
    (change,) = filed(house, "daily-census")
    assert (change.requester.person, change.requester.door) == ("dave", "schedule")
    done = house.ends(change)
    assert done.state is State.DONE, done.outcome

    run = house.prefect("GET", f"/flow_runs/{done.flow_run}").json()
    if run["created_by"] is not None:
        assert run["created_by"]["type"] == "SCHEDULE"
        assert run["created_by"]["display_value"] == "daily-census"
    assert run["name"].startswith(change.id)
    (became,) = house.store.schedules.occurrences("daily-census")
    assert became.change == change.id
    assert len(filed(house, "daily-census")) == 1


def test_what_somebody_does_to_schedules_in_prefect_is_put_right(quiet: House) -> None:
    """A schedule that was altered, and one that only Prefect has, are undone and recorded, and neither is obeyed."""
    house = quiet
    add(house, "tampered", rrule=None, first=None, cron="0 3 1 1 *")
    until(lambda: "tampered" in in_prefect(house), "the trigger is in Prefect")
    ours = in_prefect(house)["tampered"]
    assert ours["parameters"] == CENSUS
    altered = {"parameters": {"reason": "other", "shells": True}}
    path = f"/deployments/{ours['deployment_id']}/schedules"
    assert house.prefect("PATCH", f"{path}/{ours['id']}", **altered).status_code == 204
    strange = [{"schedule": {"cron": "* * * * *"}, "slug": "strange", "active": True, "parameters": CENSUS}]
    assert house.prefect("POST", path, strange).status_code == 201

    house.call("dave", "POST", "/v1/schedules/tampered/pause")  # each change of ours compares them all
    until(lambda: in_prefect(house).keys() == {"tampered"}, "the strange one is gone")
    until(lambda: in_prefect(house).get("tampered", {}).get("parameters") == CENSUS, "ours is as it was")
    assert in_prefect(house)["tampered"]["active"] is False
    told = [one.data["why"] for one in house.store.events(limit=10_000) if one.type is EventType.TRIGGER]
    assert any("strange" in why and "none of Passgate's" in why for why in told)
    assert any("tampered" in why and "was altered" in why for why in told)
    assert filed(house, "strange") == []
