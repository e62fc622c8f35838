"""Read plans_*.yaml: what was changed in the lab, what is asked, and the plan that people are shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from passgate.engine.estate import Estate
from passgate.model.plan import Plan
from passgate.settings.load import load_config
from tests.lab_site import Lab
from tests.scenarios.plans import ROOT, SCENARIOS, example_of, planned, shown, slug_of

MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
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

    plan = planned(lab, estate, scenario)

    assert [step.title for step in plan.todo] == scenario.get("needed", [])
    assert [check.code for check in plan.checks if not check.met] == scenario.get("unmet", [])
    wanted = scenario.get("impact", [])
    assert len(plan.impact) == len(wanted), plan.impact
    for said, part in zip(plan.impact, wanted, strict=True):
        assert part in said
    assert [one for one in lab.control.mutations() if "InGuest" not in one["method"]] == []
    names_all(plan)
    if scenario is example_of(slug_of(scenario)):
        is_shown(plan)


def names_all(plan: Plan) -> None:
    """Demand that the runbook's page, which is read from its source, leaves out no step and no check of the plan."""
    page = (ROOT / f"docs/reference/runbooks/{plan.runbook}.md").read_text("utf-8")
    assert [step.kind for step in plan.steps if f" `{step.kind}`" not in page] == []
    assert [check.code for check in plan.checks if f"- [{check.code}](" not in page] == []


def is_shown(plan: Plan) -> None:
    """Demand that the runbook's page shows that plan."""
    file = ROOT / f"docs/examples/{plan.runbook}.json"
    mend = f"run: python docs/examples.py {plan.runbook} && python docs/generate.py"
    assert file.exists(), mend
    assert Plan.model_validate(json.loads(file.read_text("utf-8"))["plan"]) == shown(plan), mend
