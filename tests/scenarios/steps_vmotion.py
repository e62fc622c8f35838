"""Scenarios of the steps that bring VMs and their USB devices together again."""

from __future__ import annotations

from tasks import away
from tests.scenarios.stage import Scenario

ESX_01 = "esx-01.lab.example"
STICK = "18a5:0302"

SCENARIOS = (
    Scenario("whose stick was lost while it ran", "win-01", lambda one: away.CycleAtHome(one.vm, (one.device,)),
             given=[("attach", {"vm": "win-01", "host": ESX_01, "path": "0/1/3"}),
                    ("arbitrator", {"host": ESX_01, "running": False}),
                    ("arbitrator", {"host": ESX_01, "running": True})], device=STICK),
)  # fmt: skip
