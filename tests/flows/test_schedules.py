"""Have Prefect's own scheduler ring for schedules: what it makes is obeyed only as far as our table says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from passgate.model.change import Change, State
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
    """R1, R39: the run that Prefect made carries out one change, asked for by the author, who can't approve it."""
    house = quiet
    told = add(house, "daily-census")
    assert len(told["upcoming"]) == 5
    until(lambda: bool(filed(house, "daily-census")), "the change of the schedule is filed")
    (change,) = filed(house, "daily-census")
    assert (change.requester.person, change.requester.door) == ("dave", "schedule")
    done = house.ends(change)
    assert done.state is State.DONE, done.outcome

    run = house.prefect("GET", f"/flow_runs/{done.flow_run}").json()
    assert run["created_by"]["type"] == "SCHEDULE"
    assert run["created_by"]["display_value"] == "daily-census"
    assert run["name"].startswith(change.id)
    (became,) = house.store.schedules.occurrences("daily-census")
    assert became.change == change.id
    assert len(filed(house, "daily-census")) == 1
