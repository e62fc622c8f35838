# ruff: noqa: INP001 - a program of its own, no package
"""Record an example plan of each runbook on the lab: `python docs/examples.py [RUNBOOK ...]`.

The example is the first plan in `tests/scenarios/plans_*.yaml` that has something to do and meets all checks, one for
which nothing was changed in the lab before, if there is one. `docs/generate.py` shows it on the runbook's page.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs/examples"
sys.path.insert(0, str(ROOT))

from passgate.engine.estate import Estate  # noqa: E402 - below the path of the checkout
from passgate.settings.load import load_config  # noqa: E402
from tests.lab_site import Lab  # noqa: E402
from tests.scenarios.plans import RUNBOOKS, Scenario, example_of, planned, shown  # noqa: E402


def main(wanted: Iterable[str]) -> int:
    """Plan on a lab, and write down what it says; an example whose runbook or scenario is gone goes too."""
    EXAMPLES.mkdir(exist_ok=True)
    for path in EXAMPLES.glob("*.json"):
        if example_of(path.stem) is None:
            path.unlink()
    with tempfile.TemporaryDirectory() as folder, Lab.start(Path(folder)) as lab:
        estate = Estate(load_config(lab.config), lab.home)
        for slug in wanted or RUNBOOKS:
            scenario = example_of(slug)
            if scenario is None:
                sys.stderr.write(f"{slug}: no plan in tests/scenarios/plans_*.yaml serves as its example.\n")
                continue
            text = json.dumps(recorded(scenario, lab, estate), indent=1, ensure_ascii=False)
            (EXAMPLES / f"{slug}.json").write_text(text + "\n", encoding="utf-8")
        estate.close()
    return 0


def recorded(scenario: Scenario, lab: Lab, estate: Estate) -> dict[str, Any]:
    """Return what is kept of an example: what was asked, in which lab, and the plan."""
    plan = shown(planned(lab, estate, scenario))
    return {
        "name": scenario["name"],
        "given": scenario.get("given", []),
        "ask": scenario["ask"],
        "plan": plan.model_dump(mode="json"),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
