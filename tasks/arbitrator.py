"""Start and stop a host's USB arbitrator, the service that routes USB devices between the host and its VMs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from passgate.engine.steps import Check, Confirmation, Effect, NoUndo, Remedy, Saw, Severity, Step, Systems
from passgate.errors import RefusedError
from passgate.model.inventory import Arbitrator, Host, HostId, HostUsbDevice, Inventory


@dataclass(frozen=True)
class Start(Step):
    """Start the USB arbitrator of a host."""

    patience: ClassVar[timedelta] = timedelta(seconds=20)

    host: HostId

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Start the USB arbitrator on {self.host.name}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when it runs already."""
        host = site.host(self.host.ref)
        if host.arbitrator is Arbitrator.RUNNING:
            return Effect.nothing(f"the arbitrator runs on {host.name}", site)
        return Effect(
            needed=True,
            before=f"the arbitrator on {host.name} is {host.arbitrator}",
            after=f"the arbitrator on {host.name} is running",
            then=site.with_host(host.model_copy(update={"arbitrator": Arbitrator.RUNNING})),
            impact=f"VMs on {host.name} whose configuration names a USB device get it as soon as the arbitrator runs",
        )

    def apply(self, systems: Systems) -> None:
        """Start it, unless it runs already."""
        if systems.shell.arbitrator(self.host) is not Arbitrator.RUNNING:
            systems.shell.start_arbitrator(self.host)

    def confirm(self, systems: Systems) -> Confirmation:
        """Ask the service for its state."""
        return _is(systems, self.host, Arbitrator.RUNNING)

    def undo(self) -> Step:
        """Stop it again, unless a VM uses a device by then."""
        return Stop(self.host)


@dataclass(frozen=True)
class StartAgain(Remedy):
    """Start the USB arbitrator again that ran before its host was rebooted, if it did not start with the host."""

    patience: ClassVar[timedelta] = timedelta(seconds=15)
    attempts: ClassVar[int] = 6

    host: HostId

    @property
    def title(self) -> str:
        """Say what is done, and when."""
        return f"Start the USB arbitrator on {self.host.name} if it does not run again"

    def effect(self, site: Inventory) -> Effect:
        """Be ready in any case: whether it starts by itself shows only after the reboot."""
        before = f"the arbitrator on {self.host.name} starts with the host, or not"
        return Effect(needed=True, before=before, after=f"the arbitrator on {self.host.name} is running", then=site)

    def well(self, systems: Systems) -> Confirmation:
        """Ask the service for its state."""
        return _is(systems, self.host, Arbitrator.RUNNING)

    def apply(self, systems: Systems) -> None:
        """Start it, unless it runs by now."""
        if systems.shell.arbitrator(self.host) is not Arbitrator.RUNNING:
            systems.shell.start_arbitrator(self.host)

    def confirm(self, systems: Systems) -> Confirmation:
        """Ask the service for its state."""
        return _is(systems, self.host, Arbitrator.RUNNING)

    def undo(self) -> NoUndo:
        """Leave it running, as it was before the reboot."""
        return NoUndo(f"the arbitrator ran on {self.host.name} before the change", leaves=False)


@dataclass(frozen=True)
class Stop(Step):
    """Stop the USB arbitrator of a host, which no VM may depend on."""

    host: HostId

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Stop the USB arbitrator on {self.host.name}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when it is stopped already."""
        host = site.host(self.host.ref)
        if host.arbitrator is Arbitrator.STOPPED:
            return Effect.nothing(f"the arbitrator on {host.name} is stopped", site)
        return Effect(
            needed=True,
            before=f"the arbitrator on {host.name} is {host.arbitrator}",
            after=f"the arbitrator on {host.name} is stopped",
            then=site.with_host(host.model_copy(update={"arbitrator": Arbitrator.STOPPED})),
            impact=f"no VM on {host.name} can use a USB device until it runs again",
        )

    def apply(self, systems: Systems) -> None:
        """Stop it, after a look that no VM uses a device: a stop cuts off attached devices (reference vSphere 3.1)."""
        if systems.shell.arbitrator(self.host) is Arbitrator.STOPPED:
            return
        users = sorted({one.used_by_name or "" for one in systems.vsphere.usb_devices(self.host) if one.used_by})
        if users:
            raise RefusedError(
                f"The arbitrator on {self.host.name} was left running: {', '.join(users)} use USB devices by now.",
                hint="Stop it by hand when they are done, if it shall not run.",
                subject=self.host.name,
            )
        systems.shell.stop_arbitrator(self.host)

    def confirm(self, systems: Systems) -> Confirmation:
        """Ask the service for its state."""
        return _is(systems, self.host, Arbitrator.STOPPED)

    def undo(self) -> Step | NoUndo:
        """Start it again."""
        return Start(self.host)


@dataclass(frozen=True)
class CanBeRead(Check):
    """Demand that the shell said something about the arbitrator."""

    code: ClassVar[str] = "USB-ARB-01"
    rule: ClassVar[str] = "The state of the host's USB arbitrator is known"
    source: ClassVar[str] = "article, how USB passthrough works; step 3"
    hint: ClassVar[str] = "Enable SSH on the host, or check its host key and login in config/site.yaml."

    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look whether the state was read."""
        host = site.host(self.host.ref)
        if host.arbitrator is Arbitrator.UNKNOWN:
            return False, f"{host.name}: {host.shell_error or 'the shell did not say whether the arbitrator runs'}"
        return True, f"the arbitrator on {host.name} is {host.arbitrator}"


@dataclass(frozen=True)
class HostControllers(Check):
    """Warn of more host USB controllers than the arbitrator watches."""

    code: ClassVar[str] = "USB-HOST-01"
    rule: ClassVar[str] = (
        "The arbitrator watches the host's first 15 USB controllers: a device on a later one is never offered"
    )
    source: ClassVar[str] = "article, how USB passthrough works; vendor guide 7.0"
    hint: ClassVar[str] = "Plug the device into a port of one of the first 15 controllers."
    severity: ClassVar[Severity] = Severity.WARNING
    limit: ClassVar[int] = 15

    host: Host
    device: HostUsbDevice

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Count the PCI functions of class USB controller; a device that is offered is on a watched one."""
        count = site.host(self.host.ref).usb_controllers
        offered = " and offers the device" if self.device.offered else ""
        return count <= self.limit or self.device.offered, f"{self.host.name} has {count} USB controllers{offered}"


def _is(systems: Systems, host: HostId, wanted: Arbitrator) -> Confirmation:
    state = systems.shell.arbitrator(host)
    saw = Saw.UNKNOWN if state is Arbitrator.UNKNOWN else Saw.YES if state is wanted else Saw.NO
    return Confirmation(saw, f"the arbitrator on {host.name} is {state}", {"arbitrator": state.value})
