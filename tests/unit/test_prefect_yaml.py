"""Hold prefect.yaml to the runbooks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from passgate.engine.catalogue import load
from passgate.engine.prefect_yaml import missing, prefect_yaml

ROOT = Path(__file__).parents[2]
LOAD = (
    "import sys\n"
    "from prefect.flows import load_flow_from_entrypoint\n"
    "print(*(load_flow_from_entrypoint(one).name for one in sys.argv[1:]))\n"
)


def test_names_exactly_the_deployments_that_are_missing_or_too_many() -> None:
    """A new runbook is named by the check, and so is one that is gone."""
    attach, add, *_ = load(ROOT).values()
    assert missing(prefect_yaml([attach]), prefect_yaml([attach, add])) == [add.slug]
    assert missing(prefect_yaml([attach, add]), prefect_yaml([add])) == [attach.slug]
    assert missing("", prefect_yaml([attach])) == [attach.slug]


def test_a_plain_prefect_worker_finds_each_flow(tmp_path: Path) -> None:
    """Every entry point loads, by Prefect's own loader in a process of its own, as the flow of its runbook."""
    deployments = YAML(typ="safe").load(prefect_yaml(load(ROOT).values()))["deployments"]
    places = {"PASSGATE_HOME": "home", "PREFECT_HOME": "prefect"}
    environment = {
        **os.environ,
        "PASSGATE_CONTENT": str(ROOT),
        **{key: str(tmp_path / at) for key, at in places.items()},
    }
    words = [sys.executable, "-c", LOAD, *(one["entrypoint"] for one in deployments)]
    told = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True, env=environment)
    assert told.stdout.split() == [one["name"] for one in deployments]
