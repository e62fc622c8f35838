"""Say of each deployment whether it stands as it should: one that somebody altered in Prefect does not."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule

from passgate.engine.bell import deployment_of, stands
from passgate.engine.catalogue import load
from tests.house import ROOT

SHOULD = deployment_of(load(ROOT)["usb-attach"])
TIMES = CronSchedule(cron="0 3 * * *", timezone="Europe/Berlin")
OURS = DeploymentScheduleCreate(schedule=TIMES, active=True, parameters={"vm": "win-01"}, slug="nightly")


def found(**altered: Any) -> DeploymentResponse:
    """Return the deployment as Prefect has it."""
    there = {"id": uuid4(), "name": "usb-attach", "flow_id": uuid4(), "schedules": [schedule()], **SHOULD, **altered}
    return DeploymentResponse.model_validate(there)


def schedule(**altered: Any) -> dict[str, Any]:
    """Return the deployment schedule as Prefect has it."""
    return {"schedule": TIMES, "active": True, "parameters": {"vm": "win-01"}, "slug": "nightly", **altered}


def test_one_that_was_left_alone_stands() -> None:
    """Nothing is written at a start where nothing was altered."""
    assert stands(found(), SHOULD, [OURS])


@pytest.mark.parametrize(
    "altered",
    [
        {"entrypoint": "elsewhere.flow"},
        {"work_pool_name": "another"},
        {"description": ""},
        {"parameter_openapi_schema": {}},
        {"enforce_parameter_schema": False},
        {"tags": []},
        {"pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "reboot"}}]},
        {"parameters": {"vm": "win-02"}},
        {"job_variables": {"env": {"PASSGATE_HOME": "elsewhere"}}},
        {"paused": True},
        {"global_concurrency_limit": {"id": uuid4(), "name": "one", "limit": 1, "active": True, "active_slots": 0}},
        {"schedules": []},
        {"schedules": [schedule(), schedule(slug="strange")]},
        {"schedules": [schedule(parameters={"vm": "win-02"})]},
        {"schedules": [schedule(active=False)]},
    ],
    ids=lambda altered: f"{next(iter(altered))} {len(str(altered))}",
)
def test_one_that_was_altered_does_not_stand(altered: dict[str, Any]) -> None:
    """Whatever Prefect's page or API let somebody alter is written anew."""
    assert not stands(found(**altered), SHOULD, [OURS])
