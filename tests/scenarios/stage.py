"""Act on one lab as the engine would: what scenarios of steps are made of, and the stage that they play on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from passgate.connect.vsphere.reading import Scope
from passgate.engine.estate import Estate
from passgate.engine.steps import Confirmation, Saw, Step, UsbSelector
from passgate.errors import NotAuthorizedError, UnreachableError
from passgate.model.inventory import Host, HostUsbDevice, Inventory, Vm
from passgate.settings.load import load_config
from tests.lab_site import Lab


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

    @property
    def host(self) -> Host:
        """Return the host that the VM is on."""
        return self.site.host(self.vm.host.ref)


Make = Callable[[Given], Step]


@dataclass(frozen=True)
class Scenario:
    """One step on one VM of the lab; `first` are steps that are done before.

    `given` are calls of the lab's control (`LabControl`) before that, `of` the step's class where `step` can't be made
    of the small estate on paper, `hosts` are read in depth beside the VM's own, `undone` False where the way back does
    not restore the whole world (say why in `why`).
    """

    why: str
    vm: str
    step: Make
    first: Sequence[Make] = field(default=())
    device: str | None = None
    given: Sequence[tuple[str, dict[str, Any]]] = field(default=())
    then: Sequence[tuple[str, dict[str, Any]]] = field(default=())
    of: type[Step] | None = None
    hosts: Sequence[str] = ()
    undone: bool = True


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

    def prepare(self, scenario: Scenario) -> None:
        """Set the lab as the scenario wants it, and do the steps that come first."""
        for act, how in scenario.given:
            getattr(self.lab.control, act)(**how)
        for make in scenario.first:
            self.done(make(self.given(scenario)))
        for act, how in scenario.then:
            getattr(self.lab.control, act)(**how)

    def given(self, scenario: Scenario) -> Given:
        """Read the estate as the scenario sees it now."""
        scope = Scope(vms=(scenario.vm,), hosts=tuple(scenario.hosts), usb=True, pci=True)
        site = asyncio.run(self._estate.read(scope, guests=True))
        vm, host = site.vm_and_host(scenario.vm)
        home = next((site.host(entry.hostname) for entry in vm.usb if entry.hostname), host)
        return Given(site, vm, home.usb_device(UsbSelector(scenario.device)) if scenario.device else None)

    def done(self, step: Step) -> None:
        """Do a step, and see that it is done."""
        step.apply(self.allowed)
        self.seen(step)

    def seen(self, step: Step) -> Confirmation:
        """Look until a fresh reading says yes; fail with its words when it does not."""
        deadline = time.monotonic() + 30
        while True:
            try:
                seen = step.confirm(self.allowed)
            except UnreachableError as error:  # as a guest that boots
                seen = Confirmation(Saw.UNKNOWN, error.message)
            if seen.saw is Saw.YES:
                return seen
            assert time.monotonic() < deadline, seen.words
            time.sleep(0.02)

    def sent(self) -> int:
        """Return how many changes were asked for so far, looks into guests left out."""
        acts = {"ShutdownGuest", "RebootGuest"}
        return sum("Guest" not in one["method"] or one["method"] in acts for one in self._mutations())

    def _mutations(self) -> list[dict[str, Any]]:
        return self.lab.control.mutations()

    def world(self) -> dict[str, Any]:
        """Return what the lab itself says of the world, without what differs from moment to moment."""
        while _connects(state := self.lab.control.state()):
            time.sleep(0.02)
        for vm in state["vms"]:
            del vm["tools_running"]
            vm["usb"] = [(one["pattern"], one["hostname"], one["device"]) for one in vm["usb"]]
            vm["controllers"] = sorted(vm["controllers"])
        return {"vms": state["vms"], "hosts": state["hosts"]}


def _connects(state: dict[str, Any]) -> bool:
    """Say whether a device is on its way to a VM, so that its guest will see it in a moment."""
    return any(one["device"] and not one["connected"] for vm in state["vms"] for one in vm["usb"])


def _no_authority(action: str, subject: str) -> None:
    raise NotAuthorizedError(f"{action} on {subject}: not in this test.")
