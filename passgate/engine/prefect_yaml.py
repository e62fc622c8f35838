"""Write prefect.yaml, for Prefect's own tools: `python -m passgate.engine.prefect_yaml [--check]`.

`passgate up` deploys the runbooks by itself and does not read that file; `prefect deploy --all` does, and comes to the
same deployments.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import version
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from passgate.engine.catalogue import load
from passgate.engine.deployed import entry_point
from passgate.engine.steps import Runbook
from passgate.engine.triggers import trigger_of
from passgate.engine.worker import POOL
from passgate.settings.load import load_config
from passgate.settings.place import config_dir, content
from passgate.settings.schedules import ScheduleRule

HEAD = """\
# Written by `python -m passgate.engine.prefect_yaml`; `make check` compares. `passgate up` deploys the same by itself.
# Entry points are modules, not paths: the path form loads a module twice, under two names. `pull: []` says that a
# worker has the content already; left out, Prefect would write down the folder of the machine that deploys.

"""


def prefect_yaml(runbooks: Iterable[Runbook[Any]], schedules: Iterable[ScheduleRule] = ()) -> str:
    """Return the text of prefect.yaml for those runbooks, with the schedules that config has of them."""
    of_each: dict[str, list[dict[str, Any]]] = {}
    for rule in schedules:
        of_each.setdefault(rule.runbook, []).append(_schedule(rule))
    deployments: list[dict[str, Any]] = [
        {
            "name": one.slug,
            "entrypoint": entry_point(one.slug),
            "description": one.title,
            "tags": ["passgate", one.risk.value],
            "enforce_parameter_schema": True,
            "work_pool": {"name": POOL},
            **({"schedules": of_each[one.slug]} if one.slug in of_each else {}),
        }
        for one in runbooks
    ]
    text = StringIO()
    YAML().dump(
        {"name": "passgate", "prefect-version": version("prefect"), "pull": [], "deployments": deployments}, text
    )
    return HEAD + text.getvalue()


def _schedule(rule: ScheduleRule) -> dict[str, Any]:
    """Return a schedule as Prefect takes it. What it rings for is decided by Passgate's own table."""
    trigger = trigger_of(rule).model_dump(include={"cron", "rrule", "timezone"}, exclude_none=True)
    ask = rule.model_dump(mode="json")["ask"]
    return {"slug": rule.name, **trigger, "active": not rule.paused, "parameters": ask}


def missing(text: str, wanted: str) -> list[str]:
    """Return what a prefect.yaml that differs from the wanted one is about: deployments that only one of them has."""
    there, should = (
        {one["name"] for one in YAML(typ="safe").load(each or "{}").get("deployments", ())} for each in (text, wanted)
    )
    return sorted(there ^ should)


def main(arguments: list[str]) -> int:
    """Write prefect.yaml beside flows/, or with `--check` say that it differs."""
    file = content() / "prefect.yaml"
    wanted = prefect_yaml(load(content()).values(), load_config(config_dir()).schedules.schedules)
    if "--check" not in arguments:
        file.write_text(wanted, encoding="utf-8")
        return 0
    there = file.read_text(encoding="utf-8") if file.exists() else ""
    if there == wanted:
        return 0
    about = f" ({', '.join(missing(there, wanted))})" if missing(there, wanted) else ""
    said = f"{file} differs from flows/ and config/schedules/{about}."
    sys.stderr.write(f"{said} Run: python -m passgate.engine.prefect_yaml\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
