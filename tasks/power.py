"""Power a VM off and on, suspend and resume it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar

from passgate.engine.steps import Confirmation, Effect, Saw, Step, Systems
from passgate.errors import RefusedError
from passgate.model.inventory import Inventory, Power, Vm, VmId


class How(StrEnum):
    """Name the ways to power off; GENTLEST decides at the time of acting and is for taking a power-on back."""

    GUEST = "guest"
    HARD = "hard"
    GENTLEST = "gentlest"


def gentlest(vm: Vm, *, force: bool = False) -> How:
    """Return how to power the VM off: through the guest where VMware Tools run, unless force was asked for."""
    return How.GUEST if vm.tools_running and not force else How.HARD


@dataclass(frozen=True)
class Off(Step):
    """Power a VM off: by a shutdown of its guest, or at once."""

    takes: ClassVar[timedelta] = timedelta(minutes=2)
    patience: ClassVar[timedelta] = timedelta(seconds=30)

    vm: VmId
    how: How = How.GUEST

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Power off {self.vm.name}" if self.how is How.HARD else f"Shut down the guest of {self.vm.name}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when the VM is off already."""
        vm = site.vm(self.vm.uuid)
        if vm.power is Power.OFF:
            return Effect.nothing(f"{vm.name} is off", site)
        gently = "at once, like pulling the plug" if self.how is How.HARD else "its guest is shut down first"
        return Effect(
            needed=True,
            before=f"{vm.name} is {vm.power}",
            after=f"{vm.name} is off",
            then=site.with_vm(vm.model_copy(update={"power": Power.OFF, "tools_running": False, "guest_ready": False})),
            impact=f"{vm.name} goes down ({gently}): whoever uses it loses it until it is powered on again",
        )

    def apply(self, systems: Systems) -> None:
        """Power off, unless it is off already."""
        vm = systems.vsphere.vm(self.vm)
        if vm.power is Power.OFF:
            return
        if self.how is How.GUEST or (self.how is How.GENTLEST and vm.tools_running):
            systems.vsphere.shut_down_guest(self.vm)
        else:
            systems.vsphere.power_off(self.vm)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the power state."""
        return _power_is(systems, self.vm, Power.OFF)

    def undo(self) -> Step:
        """Power on again."""
        return On(self.vm)


@dataclass(frozen=True)
class On(Step):
    """Power a VM on."""

    takes: ClassVar[timedelta] = timedelta(seconds=30)
    vm: VmId

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Power on {self.vm.name}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when the VM runs already."""
        vm = site.vm(self.vm.uuid)
        if vm.power is Power.ON:
            return Effect.nothing(f"{vm.name} is on", site)
        return Effect(
            needed=True,
            before=f"{vm.name} is {vm.power}",
            after=f"{vm.name} is on",
            then=site.with_vm(vm.model_copy(update={"power": Power.ON})),
            impact=f"{vm.name} starts",
        )

    def apply(self, systems: Systems) -> None:
        """Power on, unless it runs already."""
        if systems.vsphere.vm(self.vm).power is not Power.ON:
            systems.vsphere.power_on(self.vm)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the power state."""
        return _power_is(systems, self.vm, Power.ON)

    def undo(self) -> Step:
        """Power off again, through the guest if its Tools answer by then."""
        return Off(self.vm, How.GENTLEST)


@dataclass(frozen=True)
class Resume(Step):
    """Let a suspended VM go on; its USB devices connect again where the VM is on their host."""

    takes: ClassVar[timedelta] = timedelta(minutes=1)
    vm: VmId

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Resume {self.vm.name}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when the VM runs."""
        vm = site.vm(self.vm.uuid)
        if vm.power is Power.ON:
            return Effect.nothing(f"{vm.name} is on", site)
        return Effect(
            needed=True,
            before=f"{vm.name} is {vm.power}",
            after=f"{vm.name} is on",
            then=site.with_vm(vm.model_copy(update={"power": Power.ON})),
            impact=f"{vm.name} goes on where it was suspended; a Linux guest may mount USB disks elsewhere",
        )

    def apply(self, systems: Systems) -> None:
        """Resume, unless it runs. A VM that somebody powered off meanwhile is not started in place of that."""
        power = systems.vsphere.vm(self.vm).power
        if power is Power.SUSPENDED:
            systems.vsphere.power_on(self.vm)
        elif power is not Power.ON:
            raise RefusedError(
                f"{self.vm.name} is {power} now, not suspended; it was not started.",
                fault="NotSuspended",
                hint="Somebody changed it meanwhile. Request again if it is to be powered on.",
                subject=self.vm.name,
            )

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the power state."""
        return _power_is(systems, self.vm, Power.ON)

    def undo(self) -> Step:
        """Suspend it again."""
        return Suspend(self.vm)


@dataclass(frozen=True)
class Suspend(Step):
    """Suspend a VM, as it was before a change; its USB devices are disconnected by that."""

    takes: ClassVar[timedelta] = timedelta(minutes=1)
    vm: VmId

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Suspend {self.vm.name}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when the VM is suspended."""
        vm = site.vm(self.vm.uuid)
        if vm.power is Power.SUSPENDED:
            return Effect.nothing(f"{vm.name} is suspended", site)
        gone = {"power": Power.SUSPENDED, "tools_running": False, "guest_ready": False}
        return Effect(
            needed=True,
            before=f"{vm.name} is {vm.power}",
            after=f"{vm.name} is suspended",
            then=site.with_vm(vm.model_copy(update=gone)),
            impact=f"{vm.name} stands still until it is resumed, and its USB devices are disconnected",
        )

    def apply(self, systems: Systems) -> None:
        """Suspend a VM that runs; one that is off is left off."""
        if systems.vsphere.vm(self.vm).power is Power.ON:
            systems.vsphere.suspend(self.vm)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the power state."""
        return _power_is(systems, self.vm, Power.SUSPENDED)

    def undo(self) -> Step:
        """Let it go on."""
        return Resume(self.vm)


def _power_is(systems: Systems, vm: VmId, wanted: Power) -> Confirmation:
    power = systems.vsphere.vm(vm).power
    return Confirmation(
        Saw.YES if power is wanted else Saw.NO, f"vCenter shows {vm.name} {power}", {"power": power.value}
    )
