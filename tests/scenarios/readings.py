"""Read the lab for the example plan of each shipped runbook, so that it can be planned again and again on paper."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from passgate.engine.estate import Estate
from passgate.engine.planning import make_plan
from passgate.engine.steps import Ask, Runbook
from passgate.model.inventory import Inventory
from passgate.model.plan import Plan
from passgate.settings.load import load_config
from tests.lab_site import Lab
from tests.scenarios.plans import RUNBOOKS, example_of


@dataclass(frozen=True)
class Reading:
    """Hold what was read for one ask, and the plan that was made of it."""

    runbook: Runbook[Any]
    ask: Ask
    site: Inventory
    plan: Plan
    digest: str

    @classmethod
    def of(cls, runbook: Runbook[Any], ask: dict[str, Any], site: Inventory) -> Reading:
        """Plan that ask on that estate."""
        asked = runbook.ask.model_validate(ask)
        plan = make_plan(runbook, asked, site)
        return cls(runbook, asked, site, plan, plan.digest)

    def again(self, site: Inventory) -> Plan:
        """Plan the same ask on another reading."""
        return make_plan(self.runbook, self.ask, site)


def read_examples(home: Path) -> Iterator[Reading]:
    """Yield a reading for the example of each runbook, each on a lab as its scenario has it."""
    with Lab.start(home) as lab:
        estate = Estate(load_config(lab.config), lab.home)
        try:
            for slug, runbook in RUNBOOKS.items():
                scenario = example_of(slug)
                assert scenario is not None, f"{slug} has no example plan in tests/scenarios/plans_*.yaml"
                lab.control.reset()
                for call in scenario.get("given", ()):
                    for act, how in call.items():
                        getattr(lab.control, act)(**how)
                asked = runbook.ask.model_validate(scenario["ask"])
                site = asyncio.run(estate.read_for(runbook, asked))
                yield Reading.of(runbook, scenario["ask"], site)
        finally:
            estate.close()
