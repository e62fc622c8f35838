"""Prove of every step in tasks/, on a real lab over the wire, what its base class promises.

A scenario is data: what is done first, and the step. The one runner below demands the same of each: the paper calls
nothing and foretells what happens, a second run sends nothing, a fresh reading says yes, undo restores the first state,
and without authority nothing is sent.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from passgate.connect.vsphere.reading import Scope
from passgate.engine.estate import Estate
from passgate.engine.steps import Confirmation, NoUndo, Saw, Step, UsbSelector
from passgate.errors import NotAuthorizedError
from passgate.model.inventory import ControllerKind, HostUsbDevice, Inventory, Vm
from passgate.settings.load import load_config
from tasks import arbitrator, guest, power, usb
from tests.lab_site import Lab

XHCI, EHCI = ControllerKind.XHCI, ControllerKind.EHCI
STICK = "18a5:0302"


@dataclass(frozen=True)
class Given:
    """Hold the estate as read, the VM and, where one is named, the device that a scenario is about."""

    site: Inventory
    vm: Vm
    _device: HostUsbDevice | None

    @property
    def device(self) -> HostUsbDevice:
        """Return the device."""
        assert self._device is not None
        return self._device


Make = Callable[[Given], Step]


@dataclass(frozen=True)
class Scenario:
    """One step on one VM of the lab; `first` are steps that are done before."""

    why: str
    vm: str
    step: Make
    first: Sequence[Make] = field(default=())
    device: str | None = None


def on(given: Given) -> Step:
    """Power the VM on."""
    return power.On(given.vm)


def off(given: Given) -> Step:
    """Power the VM off at once."""
    return power.Off(given.vm, power.How.HARD)


def xhci(given: Given) -> Step:
    """Add an xHCI controller."""
    return usb.AddController(given.vm, XHCI)


def attach(given: Given) -> Step:
    """Add the device to an xHCI controller, without vMotion support."""
    return usb.AddDevice(given.vm, given.device, XHCI)


def movable(given: Given) -> Step:
    """Add the device with vMotion support."""
    return usb.AddDevice(given.vm, given.device, XHCI, vmotion=True)


SCENARIOS = (
    Scenario("through the guest", "win-01", lambda one: power.Off(one.vm, power.How.GUEST)),
    Scenario("like pulling the plug", "lnx-01", off),
    Scenario("as gently as can be", "win-01", lambda one: power.Off(one.vm, power.How.GENTLEST)),
    Scenario("a VM that is off", "win-02", on),
    Scenario("where the arbitrator is stopped", "lnx-02", lambda one: arbitrator.Start(one.vm.host)),
    Scenario("where no VM uses a device", "win-01", lambda one: arbitrator.Stop(one.vm.host)),
    Scenario("xHCI on a VM that is off", "lnx-02", xhci),
    Scenario("EHCI beside xHCI", "win-02", lambda one: usb.AddController(one.vm, EHCI)),
    Scenario("xHCI on a running VM", "win-01", xhci),
    Scenario("a controller without devices", "win-02", lambda one: usb.RemoveController(one.vm, XHCI)),
    Scenario("to a VM that is off", "old-01", lambda one: usb.AddDevice(one.vm, one.device, EHCI),
             first=[lambda one: usb.AddController(one.vm, EHCI)], device=STICK),
    Scenario("to a running VM", "win-01", attach, first=[xhci], device=STICK),
    Scenario("with vMotion support", "win-01", movable, first=[off, xhci], device=STICK),
    Scenario("one of two twins", "win-02", attach, device="0529:0001,path:0/1/4"),
    Scenario("from a VM that is off", "win-02", lambda one: usb.RemoveDevice(one.vm, one.device), first=[attach],
             device="046d:082d"),
    Scenario("from a running VM, with vMotion support", "win-01",
             lambda one: usb.RemoveDevice(one.vm, one.device, XHCI, vmotion=True), first=[xhci, movable], device=STICK),
    Scenario("as the host says too", "win-01", lambda one: usb.Connected(one.vm, one.device), first=[xhci, attach],
             device=STICK),
    Scenario("in Windows", "win-01", lambda one: guest.SeesUsb(one.vm, one.device), first=[xhci, attach], device=STICK),
    Scenario("in Linux", "lnx-01",
             lambda one: guest.SeesUsb(one.vm, one.device),
             first=[lambda one: usb.AddDevice(one.vm, one.device, EHCI)], device=STICK),
)  # fmt: skip


class Stage:
    """Read and change one lab as the engine would, with all authority or with none."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._estate = Estate(load_config(lab.config), lab.home)
        self.allowed = self._estate.acting_under(lambda *_: None)
        self.refused = self._estate.acting_under(_no_authority)

    def close(self) -> None:
        """Close the connections."""
        self._estate.close()

    def given(self, scenario: Scenario) -> Given:
        """Read the estate as the scenario sees it now."""
        site = asyncio.run(self._estate.read(Scope(vms=(scenario.vm,), usb=True)))
        vm, host = site.vm_and_host(scenario.vm)
        return Given(site, vm, host.usb_device(UsbSelector(scenario.device)) if scenario.device else None)

    def done(self, step: Step) -> None:
        """Do a step, and see that it is done."""
        step.apply(self.allowed)
        self.seen(step)

    def seen(self, step: Step) -> Confirmation:
        """Look until a fresh reading says yes; fail with its words when it does not."""
        deadline = time.monotonic() + 30
        while (seen := step.confirm(self.allowed)).saw is not Saw.YES:
            assert time.monotonic() < deadline, seen.words
            time.sleep(0.02)
        return seen

    def sent(self) -> int:
        """Return how many changes were asked for so far, looks into guests left out."""
        return sum("Guest" not in one["method"] or one["method"] == "ShutdownGuest" for one in self._mutations())

    def _mutations(self) -> list[dict[str, Any]]:
        return self.lab.control.mutations()

    def world(self) -> dict[str, Any]:
        """Return what the lab itself says of the world, without what differs from moment to moment."""
        state = self.lab.control.state()
        for vm in state["vms"]:
            del vm["tools_running"]
            vm["usb"] = [(one["pattern"], one["hostname"], one["device"]) for one in vm["usb"]]
            vm["controllers"] = sorted(vm["controllers"])
        return {"vms": state["vms"], "hosts": state["hosts"]}


def _no_authority(action: str, subject: str) -> None:
    raise NotAuthorizedError(f"{action} on {subject}: not in this test.")


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
    for make in scenario.first:
        stage.done(make(stage.given(scenario)))
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
    assert meaning(stage.given(scenario).site) == meaning(effect.then), "paper foretold something else"
    stage.done(step)
    assert (stage.world(), stage.sent()) == (after, sent), "a second run did something"
    if step.mutates:
        assert not step.effect(stage.given(scenario).site).needed

    back = step.undo()
    assert isinstance(back, NoUndo) is not step.mutates
    if isinstance(back, Step):
        assert back.effect(stage.given(scenario).site).needed
        stage.done(back)
        assert stage.world() == before, "undo did not restore what was"
        sent = stage.sent()
        stage.done(back)
        assert stage.sent() == sent, "a second undo did something"


def test_the_arbitrator_stays_while_a_vm_uses_a_device(stage: Stage) -> None:
    """Stopping it would cut lic-01 off its licence, so the way back leaves it running and says so."""
    given = stage.given(Scenario("", "lic-01", on))
    sent = stage.sent()
    with pytest.raises(Exception, match="lic-01 use USB devices by now"):
        arbitrator.Stop(given.vm.host).apply(stage.allowed)
    assert stage.sent() == sent


def test_every_step_has_a_scenario() -> None:
    """A step that no scenario runs has promised without proof."""
    asked = Given(*_any_estate())
    covered = {type(scenario.step(asked)) for scenario in SCENARIOS}
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
    """Return what a plan foretells of an estate: power, controllers and USB entries of VMs, and the arbitrators."""
    return {
        **{
            vm.name: (
                vm.power,
                sorted(one.kind for one in vm.controllers),
                sorted((one.pattern, one.hostname or "") for one in vm.usb),
            )
            for vm in site.vms
        },
        **{host.name: host.arbitrator for host in site.hosts},
    }


def _any_estate() -> tuple[Inventory, Vm, HostUsbDevice]:
    from tests.scenarios.paper import estate

    site = estate()
    return site, site.vms[0], site.hosts[0].usb[0]
