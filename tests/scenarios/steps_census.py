"""Scenarios of the steps that take a census and watch: they only read."""

from __future__ import annotations

from tasks import census, drift, watch
from tests.scenarios.stage import Scenario

SCENARIOS = (
    Scenario("the census of all hosts", "lic-01", lambda _: census.Take()),
    Scenario("the census of one host, without its shell", "win-01", lambda _: census.Take(("esx-01*",), shells=False)),
    Scenario("the census while a host does not respond", "win-01", lambda _: census.Take(),
             given=[("set_host", {"host": "esx-02.lab.example", "connection": "notResponding"})]),
    Scenario("all devices against what is declared", "win-01", lambda _: drift.Compare()),
    Scenario("one look at all hosts", "win-01", lambda _: watch.Usb()),
    Scenario("a watch of a second", "lic-01", lambda _: watch.Usb(("esx-02*",), "1s")),
)  # fmt: skip
