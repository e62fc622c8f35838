"""Map a USB bus to its controller on a person's word in config/site.yaml, from the file to the plan."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from passgate.engine.estate import Estate
from passgate.engine.planning import make_plan
from passgate.errors import ConfigError
from passgate.settings.load import load_config
from tests.lab_site import Lab
from tests.scenarios.plans import RUNBOOKS

RECORD = """
pci:
  controllers:
    - {host: esx-02.lab.example, bus: 3, address: "0000:05:00.0", confirmed_by: alice, at: 2026-11-25}
"""
TWICE = '    - {host: esx-02.lab.example, bus: 3, address: "0000:00:14.0", confirmed_by: bob, at: 2026-11-25}\n'


def test_a_record_proves_the_bus_and_the_plan_names_who_said_so(tmp_path: Path) -> None:
    """Where the root hubs name nothing, the record does, and its author and date are shown before anybody approves."""
    with Lab.start(tmp_path) as lab:
        lab.control.passthrough("esx-02.lab.example", names_buses=False)
        site = lab.config / "site.yaml"
        site.write_text(site.read_text("utf-8") + RECORD, encoding="utf-8")
        estate = Estate(load_config(lab.config), lab.home)
        book = RUNBOOKS["pci-enable"]
        ask = book.ask.model_validate({"host": "esx-02.lab.example", "device": "0951:1666", "shut_down": True})
        plan = make_plan(book, ask, asyncio.run(estate.read_for(book, ask)))
        estate.close()
    said = "alice confirmed on 2026-11-25 (config/site.yaml) that bus 3 is 0000:05:00.0"
    [check] = [one for one in plan.checks if one.code == "PCI-USB-01"]
    assert (check.met, said in check.saw) == (True, True)
    [step] = [one for one in plan.steps if one.kind == "passthrough.Set"]
    assert said in step.before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RECORD + TWICE, "one record per host and bus"),
        (RECORD.replace("0000:05:00.0", "05:00.0"), "address"),
        (RECORD.replace(", confirmed_by: alice", ""), "confirmed_by"),
        (RECORD.replace("2026-11-25", "yesterday"), "at"),
        (RECORD.replace("bus: 3", "bus: 0"), "bus"),
    ],
)
def test_a_record_that_says_too_little_or_too_much_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """Who, when, which bus and which address: each must be there, once, and readable."""
    shutil.copytree(Path(__file__).parents[2] / "config", tmp_path / "config")
    site = tmp_path / "config/site.yaml"
    site.write_text(site.read_text("utf-8") + text, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_config(tmp_path / "config")
    assert said in f"{refused.value.message} {refused.value.hint}"
