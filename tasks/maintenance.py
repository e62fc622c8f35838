"""Put a host into maintenance mode for as long as a change needs it, and take it out again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from passgate.engine.steps import Confirmation, Effect, NoUndo, Saw, Step, Systems
from passgate.model.inventory import HostId, Inventory

MINUTES = 15
"""How long a host may take to empty itself, unless said otherwise."""


@dataclass(frozen=True)
class Enter(Step):
    """Put a host into maintenance mode. Given back on every end, unless the host was in it before.

    VMs that run there are moved away by steps before this one; what is left to vCenter is to see that none runs. Where
    one does after `minutes`, the task is cancelled, the VM is named, and the host is as open as before.
    """

    takes: ClassVar[timedelta] = timedelta(minutes=10)
    temporary: ClassVar[bool] = True
    attempts: ClassVar[int] = 2

    host: HostId
    minutes: int = MINUTES

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Put {self.host.name} into maintenance mode"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when it is in maintenance mode already."""
        host = site.host(self.host.ref)
        if host.maintenance:
            return Effect.nothing(f"{host.name} is in maintenance mode", site)
        return Effect(
            needed=True,
            before=f"{host.name} is open to VMs",
            after=f"{host.name} is in maintenance mode",
            then=site.with_host(host.model_copy(update={"maintenance": True})),
            impact=f"no VM can be powered on on {host.name} meanwhile",
        )

    def apply(self, systems: Systems) -> None:
        """Enter; being in it already counts as done."""
        systems.hosts.enter_maintenance(self.host, within=timedelta(minutes=self.minutes))

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the host."""
        return _is(systems, self.host, maintenance=True)

    def undo(self) -> Step:
        """Leave it again."""
        return Exit(self.host)


@dataclass(frozen=True)
class Exit(Step):
    """Take a host out of maintenance mode."""

    takes: ClassVar[timedelta] = timedelta(minutes=1)
    host: HostId

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Take {self.host.name} out of maintenance mode"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when it is open."""
        host = site.host(self.host.ref)
        if not host.maintenance:
            return Effect.nothing(f"{host.name} is open to VMs", site)
        return Effect(
            needed=True,
            before=f"{host.name} is in maintenance mode",
            after=f"{host.name} is open to VMs",
            then=site.with_host(host.model_copy(update={"maintenance": False})),
            impact=f"{host.name} takes VMs again",
        )

    def apply(self, systems: Systems) -> None:
        """Leave; not being in it counts as done."""
        systems.hosts.exit_maintenance(self.host)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the host."""
        return _is(systems, self.host, maintenance=False)

    def undo(self) -> NoUndo:
        """Leave the host open: what lies between does not have to be taken back in maintenance mode."""
        return NoUndo("the host is open to VMs, as it was before the change", leaves=False)


def _is(systems: Systems, host: HostId, *, maintenance: bool) -> Confirmation:
    now = systems.hosts.host(host)
    words = f"vCenter shows {host.name} {'in maintenance mode' if now.maintenance else 'open to VMs'}"
    facts = {"maintenance": now.maintenance, "connection": now.connection}
    return Confirmation(Saw.YES if now.maintenance is maintenance else Saw.NO, words, facts)
