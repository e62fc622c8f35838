"""Hold the plans of plans_*.yaml: make the world as it says, plan in it, and choose the example for the docs."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from passgate.engine.catalogue import load
from passgate.engine.estate import Estate
from passgate.engine.planning import make_plan
from passgate.engine.steps import Runbook
from passgate.model.plan import Plan
from tests.lab_site import Lab

ROOT = Path(__file__).parents[2]
Scenario = dict[str, Any]
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?")
NOON = "2026-10-26 12:00:00"
RUNBOOKS: dict[str, Runbook[Any]] = load(ROOT)
SCENARIOS: list[Scenario] = [
    scenario
    for file in sorted(Path(__file__).parent.glob("plans_*.yaml"))
    for scenario in YAML(typ="safe").load(file.read_text("utf-8"))
]


def slug_of(scenario: Scenario) -> str:
    """Return the runbook that a scenario is about."""
    return str(scenario.get("runbook", "usb-attach"))


def planned(lab: Lab, estate: Estate, scenario: Scenario) -> Plan:
    """Put the lab as the scenario has it, and plan what it asks for."""
    lab.control.reset()
    for call in scenario.get("given", ()):
        for act, how in call.items():
            getattr(lab.control, act)(**how)
    book = RUNBOOKS[slug_of(scenario)]
    ask = book.ask.model_validate(scenario["ask"])
    return make_plan(book, ask, asyncio.run(estate.read_for(book, ask)))


def shown(plan: Plan) -> Plan:
    """Return what the docs keep of a plan: what people read of it, every moment in it the same at each recording."""
    steps = [one.model_copy(update={"fields": {}}) for one in plan.steps]
    checks = [one.model_copy(update={"hint": "", "source": ""}) if one.met else one for one in plan.checks]
    kept = plan.model_copy(update={"steps": tuple(steps), "checks": tuple(checks)})
    return Plan.model_validate_json(MOMENT.sub(NOON, kept.model_dump_json()))


def example_of(slug: str) -> Scenario | None:
    """Return the scenario that the docs show of a runbook.

    The first that has something to do and meets all checks; one in a lab as it starts goes before others.
    """
    fit = [one for one in SCENARIOS if slug_of(one) == slug and one.get("needed") and not one.get("unmet")]
    return min(fit, key=lambda one: bool(one.get("given")), default=None)
