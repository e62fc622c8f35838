"""Read from Prefect's server the form of each runbook: its UI shows what the ask takes, and refuses the rest."""

from __future__ import annotations

from typing import Any

import pytest

from passgate.engine.catalogue import load
from passgate.engine.deployed import entry_point
from passgate.engine.steps import Ask
from tests.house import ROOT, House

RUNBOOKS = load(ROOT)
COMMON = list(Ask.model_fields)


@pytest.fixture
def deployments(house: House) -> dict[str, dict[str, Any]]:
    """Return all deployments of the server by name."""
    answer = house.prefect("POST", "/deployments/filter", limit=200)
    answer.raise_for_status()
    return {one["name"]: one for one in answer.json()}


@pytest.mark.parametrize("slug", RUNBOOKS)
def test_each_runbook_has_its_form(slug: str, house: House, deployments: dict[str, dict[str, Any]]) -> None:
    """The server holds every field with its words, type, default and bounds, own fields before reason and ticket."""
    runbook, deployment = RUNBOOKS[slug], deployments[slug]
    form = deployment["parameter_openapi_schema"]
    schema = runbook.ask.model_json_schema(ref_template="#/definitions/{model}")

    assert form["properties"].keys() == runbook.ask.model_fields.keys()
    for name, field in form["properties"].items():
        assert {key: value for key, value in field.items() if key != "position"} == schema["properties"][name]
        meant = {**form["definitions"].get(field.get("$ref", "").rpartition("/")[2], {}), **field}
        assert meant["title"], name
        assert meant["description"], name
    assert form["required"] == schema.get("required", [])
    assert form["definitions"] == schema.get("$defs", {})
    shown = sorted(form["properties"], key=lambda name: form["properties"][name]["position"])
    assert shown == [*(name for name in runbook.ask.model_fields if name not in COMMON), *COMMON]

    assert deployment["entrypoint"] == entry_point(slug)
    assert deployment["description"].startswith(runbook.title)
    assert deployment["enforce_parameter_schema"] is True


@pytest.mark.parametrize("slug", RUNBOOKS)
def test_the_server_refuses_what_the_form_does_not_take(
    slug: str, house: House, deployments: dict[str, dict[str, Any]]
) -> None:
    """A ticket longer than the field takes makes no run, and so nothing is filed."""
    deployment = deployments[slug]
    filled = dict.fromkeys(deployment["parameter_openapi_schema"]["required"], "x")
    path = f"/deployments/{deployment['id']}/create_flow_run"
    refused = house.prefect("POST", path, parameters={**filled, "ticket": "x" * 101})
    assert refused.status_code == 409, refused.text
    assert "ticket" in refused.text
