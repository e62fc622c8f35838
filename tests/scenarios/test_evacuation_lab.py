"""Empty a host of the lab, reboot it and fill it again: everything but the boot time is as it was before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from passgate.engine.steps import Check, Remedy, Saw, Step
from passgate.errors import RefusedError
from tasks import evacuation, maintenance
from tests.lab_site import Lab
from tests.scenarios.stage import Given, Scenario, Stage

ESX_01, ESX_02 = "esx-01.lab.example", "esx-02.lab.example"


@pytest.fixture(scope="module")
def whole_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Run one lab for all tests here."""
    with Lab.start(tmp_path_factory.mktemp("evacuation")) as lab:
        stage = Stage(lab)
        yield stage
        stage.close()


@pytest.fixture
def stage(whole_stage: Stage) -> Stage:
    """Lend the lab, as it was at its start."""
    whole_stage.lab.control.reset()
    return whole_stage


def read(stage: Stage) -> Given:
    """Read the first host and the second one in depth."""
    return stage.given(Scenario("", "win-01", maintenance_of_nobody, hosts=(ESX_01, ESX_02)))


def maintenance_of_nobody(given: Given) -> Step:
    """Stand for a step: these tests make their own."""
    return maintenance.Exit(given.host)


def world(stage: Stage) -> dict[str, Any]:
    """Return what the lab says, without boot times and services that start with the host."""
    told = stage.world()
    for host in told["hosts"]:
        del host["boot_time"], host["services"]
    return told


def carried_out(stage: Stage, step: Step) -> bool:
    """Carry a step out as the engine does: a remedy only where all is not well without it."""
    if isinstance(step, Remedy) and step.well(stage.allowed).saw is Saw.YES:
        return False
    stage.done(step)
    return True


@pytest.mark.parametrize("autostart", [True, False])
def test_everything_is_back_after_a_reboot(stage: Stage, *, autostart: bool) -> None:
    """One VM moves, one is shut down for its local stick, one stays off; the stick is connected again at the end."""
    control = stage.lab.control
    control.attach("win-01", ESX_01, "0/1/3", local=True)
    control.post("/arbitrator", host=ESX_01, autostart=autostart)
    given, before = read(stage), world(stage)
    host, site = given.site.host(ESX_01), given.site
    checks: list[Check] = list(evacuation.requirements(host, shut_down=True))
    assert [one.code for one in checks if not one.look(site)[0]] == []

    steps = list(evacuation.clear(host, site, shut_down=True))
    for step in steps:
        stage.done(step)
    vms = {one["name"]: (one["host"], one["power"]) for one in control.state()["vms"]}
    assert (vms["lnx-01"], vms["win-01"]) == ((ESX_02, "poweredOn"), (ESX_01, "poweredOff"))
    stage.done(evacuation.reboot(host, site))
    done = {type(one).__name__: carried_out(stage, one) for one in evacuation.refill(host, site, shut_down=True)}

    assert done["StartAgain"] is not autostart
    assert world(stage) == before
    booted = read(stage).site.host(ESX_01).boot_time
    assert booted is not None
    assert host.boot_time is not None
    assert booted > host.boot_time


def test_whatever_was_begun_is_given_back_by_the_undos_alone(stage: Stage) -> None:
    """A change that fails before the reboot takes the host and its VMs back by the undos of its temporary steps."""
    stage.lab.control.attach("win-01", ESX_01, "0/1/3", local=True)
    given, before = read(stage), world(stage)
    steps = list(evacuation.clear(given.site.host(ESX_01), given.site, shut_down=True))
    for step in steps:
        stage.done(step)
    assert world(stage) != before
    for step in reversed([one for one in steps if one.mutates]):
        back = step.undo()
        assert isinstance(back, Step)
        stage.done(back)
    assert world(stage) == before


def test_a_vm_that_came_meanwhile_keeps_the_host_open_and_is_named(stage: Stage) -> None:
    """Somebody starts a VM that may not leave after the plan was made: the host is not rebooted under it."""
    given = read(stage)
    host = given.site.host(ESX_01)
    for step in evacuation.clear(host, given.site, shut_down=False):
        if not isinstance(step, maintenance.Enter):
            stage.done(step)
    stage.lab.control.set_vm("old-01", power="poweredOn")
    stage.lab.control.drs("old-01", "manual")
    enter = maintenance.Enter(host.id, minutes=0)
    with pytest.raises(RefusedError, match="still running there: old-01"):
        enter.apply(stage.allowed)
    assert enter.confirm(stage.allowed).saw is Saw.NO
    with pytest.raises(RefusedError):
        evacuation.reboot(host, given.site).apply(stage.allowed)
    assert stage.lab.control.vm("old-01")["power"] == "poweredOn"


def test_a_host_that_vcenter_let_go_after_its_reboot_is_taken_hold_of_again(stage: Stage) -> None:
    """The step looks first: a disconnected host is reconnected, and not rebooted once more."""
    stage.lab.control.set_host(ESX_01, maintenance=True)
    given = read(stage)
    reboot = evacuation.reboot(given.site.host(ESX_01), given.site)
    stage.lab.control.reboot(ESX_01)
    stage.seen(reboot)
    stage.lab.control.set_host(ESX_01, connection="disconnected")
    assert reboot.confirm(stage.allowed).saw is Saw.NO
    reboot.apply(stage.allowed)
    stage.seen(reboot)
    reboot.apply(stage.allowed)
    sent = [one["method"] for one in stage.lab.control.mutations() if "InGuest" not in one["method"]]
    assert sent == ["ReconnectHost_Task"]
