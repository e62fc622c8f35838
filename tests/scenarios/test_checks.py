"""Fail each check of the shipped content for its own reason, and for nothing else."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path

import pytest

from passgate.engine.planning import refuse_stops
from passgate.engine.steps import Check
from passgate.errors import CheckFailedError
from passgate.model.inventory import Arbitrator, Power
from tests.scenarios.paper import ELSEWHERE, entry, estate, machine, plan
from tests.scenarios.unmet import STOP, Unmet
from tests.scenarios.unmet_usb import AT_HOME, CROWD, EHCI, HIDDEN, LINUX, USB3, XHCI

UNMET: tuple[Unmet, ...] = tuple(
    case
    for file in sorted(Path(__file__).parent.glob("unmet_*.py"))
    for case in importlib.import_module(f"tests.scenarios.{file.stem}").UNMET
)


@pytest.mark.parametrize("case", UNMET, ids=lambda case: f"{case.code}: {case.why}")
def test_is_not_met_for_this_reason_alone(case: Unmet) -> None:
    """Of all checks of its runbook exactly this one is not met, with its severity, and it says what was seen."""
    if case.check is not None:
        alone = case.check(case.site).result(case.site)
        assert (alone.code, alone.severity, alone.met) == (case.code, case.severity, False)
        assert case.said in alone.saw
        assert alone.hint
        return
    made = plan(case.site, runbook=case.runbook, **case.ask)
    unmet = [check for check in made.checks if not check.met]
    assert [(one.code, one.severity) for one in unmet] == [(case.code, case.severity)], unmet
    assert case.said in unmet[0].saw
    assert unmet[0].hint
    if case.severity is STOP:
        with pytest.raises(CheckFailedError) as refused:
            refuse_stops(made)
        assert case.code in refused.value.message
        assert unmet[0].hint in refused.value.hint
    else:
        refuse_stops(made)


MET = {
    "the plain case": estate(),
    "20 others minus one": estate(devices=CROWD[:19]),
    "the device itself is one of 20": estate(
        {"usb": (entry(), *(entry(f"0/8/{n}", key=n) for n in range(19)))},
        device={"used_by": "vm-7", "used_by_name": "win-01"},
        devices=CROWD[:19],
    ),
    "15 controllers, and the arbitrator does not run": estate(
        host={"usb_controllers": 15, "arbitrator": Arbitrator.STOPPED}, device=HIDDEN
    ),
    "another VM takes devices of other ids": estate(
        others=[machine("lnx-01", 8, usb=(entry(pattern="vid:529 pid:1"),))]
    ),
    "16 controllers, and the device is offered": estate(host={"usb_controllers": 16}),
    "the last API without xHCI, for a VM that needs none": estate(
        {"controllers": (EHCI,)}, site={"api_version": "4.1"}
    ),
    "ESXi 4.1": estate({"controllers": (EHCI,)}, host={"version": "4.1.0"}),
    "hardware version 7 for a USB 2 device": estate({"hardware_version": 7}),
    "Windows 7 for a USB 2 device": estate({"guest_id": "windows7_64Guest"}),
    "Windows 7 with both controllers": estate({"guest_id": "windows7_64Guest", "controllers": (XHCI, EHCI)}),
    "the oldest kernel with a driver": estate({**LINUX, "guest_version": "2.6.35"}, device=USB3),
    "the host of a USB 3.1 device runs 7.0": estate(
        host={"version": "7.0.0"}, device={"speeds": ("high", "superSpeedPlus")}
    ),
    "no disk, and the device is no drive": estate({"disks": 0}, device={"families": ("vendor_specific",)}),
    "off, away from its other device": estate(
        {"power": Power.OFF, "usb": (entry("0/1/4", hostname="esx-02.lab.example"),)}
    ),
    "another host's device at the same path": estate(
        others=[machine("lnx-01", 8, host=ELSEWHERE, usb=(entry(),))]
    ),
    "DPM without vMotion support": estate(host={"dpm": True, "management_ip": None}),
}  # fmt: skip


@pytest.mark.parametrize("why", MET)
def test_meets_every_check(why: str) -> None:
    """Right at a limit, and where a limit does not apply, nothing is refused and nothing is warned of."""
    assert [check for check in plan(MET[why]).checks if not check.met] == []


def test_a_moved_dongle_keeps_its_vm_with_vmotion_support() -> None:
    """The device's own entry counts neither as the one that keeps the VM from moving nor against the limits."""
    made = plan(estate({"usb": (AT_HOME,)}), vmotion=True)
    assert [check.code for check in made.checks if not check.met] == []
    assert [step.title for step in made.todo if step.mutates] == []


def test_every_check_has_a_scenario() -> None:
    """A check without a scenario that fails it is a claim that nobody proved."""
    shipped = {check.code for check in checks()}
    assert shipped == {case.code for case in UNMET}


def test_codes_are_one_per_check_and_every_check_says_where_it_comes_from() -> None:
    """A code means one rule for ever; rule, source and hint are there for people."""
    assert [code for code, times in Counter(check.code for check in checks()).items() if times > 1] == []
    assert [check for check in checks() if not (check.rule and check.source and check.hint)] == []


def checks() -> list[type[Check]]:
    """Return the check classes of tasks/."""
    found: list[type[Check]] = []
    for file in sorted((Path(__file__).parents[2] / "tasks").glob("*.py")):
        module = importlib.import_module(f"tasks.{file.stem}")
        found += [
            one for one in vars(module).values()
            if isinstance(one, type) and issubclass(one, Check) and one.__module__ == module.__name__
        ]  # fmt: skip
    return found
