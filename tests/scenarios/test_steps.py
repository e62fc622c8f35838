"""Prove of every step in tasks/, on a real lab over the wire, what its base class promises.

A scenario is data: what is done first, and the step; they are in the files `steps_*.py` beside this one. The one runner
below demands the same of each: the paper calls nothing and foretells what happens, a second run sends nothing, a fresh
reading says yes, undo restores the first state, and without authority nothing is sent.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from passgate.engine.steps import NoUndo, Remedy, Saw, Step
from passgate.errors import NotAuthorizedError
from passgate.model.inventory import HostUsbDevice, Inventory, Vm
from tasks import arbitrator
from tests.lab_site import Lab
from tests.scenarios import steps_usb
from tests.scenarios.stage import Given, Scenario, Stage

SCENARIOS: tuple[Scenario, ...] = tuple(
    scenario
    for file in sorted(Path(__file__).parent.glob("steps_*.py"))
    for scenario in importlib.import_module(f"tests.scenarios.{file.stem}").SCENARIOS
)


@pytest.fixture(scope="module")
def whole_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Run one lab for all scenarios."""
    with Lab.start(tmp_path_factory.mktemp("steps")) as lab:
        stage = Stage(lab)
        yield stage
        stage.close()


@pytest.fixture
def stage(whole_stage: Stage) -> Stage:
    """Lend the lab, as it was at its start."""
    whole_stage.lab.control.reset()
    return whole_stage


def name_of(scenario: Scenario) -> str:
    """Return the scenario's name."""
    return f"{scenario.vm}: {scenario.why}"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=name_of)
def test_keeps_what_a_step_promises(stage: Stage, scenario: Scenario) -> None:
    """Paper calls nothing and foretells; acting works once and is confirmed; undo restores what was."""
    stage.prepare(scenario)
    given = stage.given(scenario)
    step, before, sent = as_planned(scenario.step(given)), stage.world(), stage.sent()

    effect = step.effect(given.site)
    assert effect.needed
    assert (stage.world(), stage.sent()) == (before, sent), "paper changed something"
    assert scenario.step(given).effect(given.site) == effect, "identities alone plan something else"

    if step.mutates:
        with pytest.raises(NotAuthorizedError):
            step.apply(stage.refused)
        assert (stage.world(), stage.sent()) == (before, sent), "something was sent without authority"

    stage.done(step)
    assert (stage.sent() > sent) is step.mutates
    after, sent = stage.world(), stage.sent()
    if not isinstance(step, Remedy):  # whether it will be called for, paper can't foretell
        assert meaning(stage.given(scenario).site) == meaning(effect.then), "paper foretold something else"
    stage.done(step)
    assert (stage.world(), stage.sent()) == (after, sent), "a second run did something"
    if isinstance(step, Remedy):
        assert step.well(stage.allowed).saw is Saw.YES, "the remedy did not help"
    elif step.mutates:
        assert not step.effect(stage.given(scenario).site).needed

    back = step.undo()
    assert step.mutates or isinstance(back, NoUndo)
    if isinstance(back, Step):
        assert back.effect(stage.given(scenario).site).needed
        stage.done(back)
        assert (stage.world() == before) is scenario.undone, "undo did not restore what was"
        sent = stage.sent()
        stage.done(back)
        assert stage.sent() == sent, "a second undo did something"


def test_the_arbitrator_stays_while_a_vm_uses_a_device(stage: Stage) -> None:
    """Stopping it would cut lic-01 off its licence, so the way back leaves it running and says so."""
    given = stage.given(Scenario("", "lic-01", steps_usb.on))
    sent = stage.sent()
    with pytest.raises(Exception, match="lic-01 use USB devices by now"):
        arbitrator.Stop(given.vm.host).apply(stage.allowed)
    assert stage.sent() == sent


def test_every_step_has_a_scenario() -> None:
    """A step that no scenario runs has promised without proof."""
    asked = Given(*_any_estate())
    covered = {scenario.of or type(scenario.step(asked)) for scenario in SCENARIOS}
    assert covered == set(steps())


def as_planned(step: Step) -> Step:
    """Return the step as it comes out of a stored plan, with identities in place of readings."""
    return type(step).from_fields(step.fields())


def steps() -> list[type[Step]]:
    """Return the step classes of tasks/."""
    found: list[type[Step]] = []
    for file in sorted((Path(__file__).parents[2] / "tasks").glob("*.py")):
        module = importlib.import_module(f"tasks.{file.stem}")
        found += [
            one for one in vars(module).values()
            if isinstance(one, type) and issubclass(one, Step) and one.__module__ == module.__name__
        ]  # fmt: skip
    return found


def meaning(site: Inventory) -> dict[str, Any]:
    """Return what a plan foretells of an estate: what steps change of VMs, hosts and clusters."""
    return {
        **{
            vm.name: (
                vm.power,
                vm.host.name,
                sorted(one.kind for one in vm.controllers),
                sorted((one.pattern, one.hostname or "") for one in vm.usb),
                sorted(one.address or "" for one in vm.pci),
                (vm.cpus, vm.memory_mb, vm.memory_locked),
                vm.extra,
            )
            for vm in site.vms
        },
        **{
            host.name: (
                host.arbitrator,
                host.maintenance,
                sorted(one.address for one in host.pci if one.enabled),
                sorted((one.key, one.running, one.policy) for one in host.services or ()),
            )
            for host in site.hosts
        },
        **{one.name: (one.drs_overrides, one.dpm_overrides) for one in site.clusters},
    }


def _any_estate() -> tuple[Inventory, Vm, HostUsbDevice]:
    from tests.scenarios.paper import estate

    site = estate()
    return site, site.vms[0], site.hosts[0].usb[0]
