"""Steps for tests of the engine alone: a gate before a power-on, something temporary, a remedy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from passgate.engine.steps import Confirmation, Effect, NoUndo, Remedy, Saw, Step, Systems
from passgate.model.inventory import ControllerKind, Inventory, Power, VmId
from tasks import power, usb


@dataclass(frozen=True)
class OnBehindGate(power.On):
    """Power a VM on, behind the gate of a host reboot."""

    gate: ClassVar[str] = "host-reboot"
    patience: ClassVar[timedelta] = timedelta(seconds=5)


@dataclass(frozen=True)
class Held(usb.AddController):
    """Add a controller for as long as the change lasts."""

    temporary: ClassVar[bool] = True


@dataclass(frozen=True)
class GivenBack(usb.RemoveController):
    """Remove that controller; it is not added again to take anything back."""

    def undo(self) -> NoUndo:  # type: ignore[override]  # as a step that ends a temporary one may do
        """Leave nothing."""
        return NoUndo("it only gave back what was temporary", leaves=False)


@dataclass(frozen=True)
class HeldUntil(Held):
    """Add a controller that a step of its own gives back."""

    def undo(self) -> Step:
        """Give it back."""
        return GivenBack(self.vm, self.controller)


@dataclass(frozen=True)
class Restart(Step):
    """Leave nothing behind, as a reboot that has ended does."""

    vm: VmId

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Restart {self.vm.name}"

    def effect(self, site: Inventory) -> Effect:
        """Need it always."""
        return Effect(needed=True, before=f"{self.vm.name} runs", after=f"{self.vm.name} was restarted", then=site)

    def apply(self, systems: Systems) -> None:
        """Do nothing."""

    def confirm(self, systems: Systems) -> Confirmation:  # noqa: ARG002 - nothing is looked at
        """Say yes."""
        return Confirmation(Saw.YES, f"{self.vm.name} was restarted")

    def undo(self) -> NoUndo:
        """Leave nothing."""
        return NoUndo("a restart leaves nothing behind", leaves=False)


@dataclass(frozen=True)
class OnIfOff(Remedy, power.On):
    """Power a VM on, only if it is not on."""

    patience: ClassVar[timedelta] = timedelta(seconds=0.3)

    @property
    def title(self) -> str:
        """Say that it is conditional."""
        return f"Power on {self.vm.name}, if it is still off"

    def effect(self, site: Inventory) -> Effect:
        """Need it, perhaps."""
        return Effect(needed=True, before="not looked at yet", after=f"{self.vm.name} is on", then=site)

    def well(self, systems: Systems) -> Confirmation:
        """Look whether it is on, and tell who watches."""
        on = systems.vsphere.vm(self.vm).power is Power.ON
        systems.tell(f"looked at {self.vm.name}", {"on": on})
        return Confirmation(Saw.YES if on else Saw.NO, f"{self.vm.name} is {'on' if on else 'off'}")


@dataclass(frozen=True)
class OnIfOffBehindGate(OnIfOff):
    """Power a VM on, only if it is not on and somebody agrees."""

    gate: ClassVar[str] = "guest-reboot"


@dataclass(frozen=True)
class Fail(usb.AddController):
    """Fail for good."""

    attempts: ClassVar[int] = 1
    patience: ClassVar[timedelta] = timedelta(seconds=0.1)
    controller: ControllerKind = ControllerKind.XHCI

    def effect(self, site: Inventory) -> Effect:
        """Need it always."""
        return Effect(needed=True, before="well", after="not well", then=site)

    def confirm(self, systems: Systems) -> Confirmation:  # noqa: ARG002 - nothing is looked at
        """Say no."""
        return Confirmation(Saw.NO, "it never is")
