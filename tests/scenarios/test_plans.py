"""Read plans_*.yaml: what was changed in the lab, what is asked, and the plan that people are shown."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from passgate.engine.estate import Estate
from passgate.engine.planning import make_plan
from passgate.settings.load import load_config
from tests.lab_site import Lab
from tests.scenarios.paper import RUNBOOKS

SCENARIOS: list[dict[str, Any]] = [
    scenario
    for file in sorted(Path(__file__).parent.glob("plans_*.yaml"))
    for scenario in YAML(typ="safe").load(file.read_text("utf-8"))
]
WORDS = {"name", "given", "runbook", "ask", "needed", "impact", "unmet"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run one lab for all scenarios."""
    with Lab.start(tmp_path_factory.mktemp("plans")) as lab:
        yield lab


@pytest.fixture(scope="module")
def estate(lab: Lab) -> Iterator[Estate]:
    """Connect to the lab."""
    estate = Estate(load_config(lab.config), lab.home)
    yield estate
    estate.close()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one["name"])
def test_plans_what_the_scenario_says(lab: Lab, estate: Estate, scenario: dict[str, Any]) -> None:
    """Steps in order, impact in words, and checks that are not met; and planning sent nothing."""
    assert scenario.keys() <= WORDS
    lab.control.reset()
    for call in scenario.get("given", ()):
        for act, how in call.items():
            getattr(lab.control, act)(**how)
    book = RUNBOOKS[scenario.get("runbook", "usb-attach")]
    ask = book.ask.model_validate(scenario["ask"])

    plan = make_plan(book, ask, asyncio.run(estate.read_for(book, ask)))

    assert [step.title for step in plan.todo] == scenario.get("needed", [])
    assert [check.code for check in plan.checks if not check.met] == scenario.get("unmet", [])
    wanted = scenario.get("impact", [])
    assert len(plan.impact) == len(wanted), plan.impact
    for said, part in zip(plan.impact, wanted, strict=True):
        assert part in said
    assert lab.control.mutations() == []
