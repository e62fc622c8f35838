"""Set what a cluster's power management (DPM) may do with a host: it ignores USB devices (reference vSphere 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from passgate.engine.steps import Confirmation, Effect, Saw, Step, Systems
from passgate.model.inventory import Host, HostId, Inventory


@dataclass(frozen=True)
class KeepPoweredOn(Step):
    """Keep power management from switching a host off. This stays, because the devices of the host stay in use.

    `former` is the host's own setting before: None where it followed the cluster.
    """

    attempts: ClassVar[int] = 3

    host: HostId
    former: bool | None = None

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Keep {self.host.name} powered on (DPM off for this host)"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing where power management leaves the host alone anyway."""
        host = site.host(self.host.ref)
        cluster = site.cluster(host.cluster)
        if not host.dpm or cluster is None:
            return Effect.nothing(f"power management leaves {host.name} on", site)
        return Effect(
            needed=True,
            before=f"power management may switch {host.name} off when it is idle",
            after=f"{host.name} is kept on: DPM is off for this host",
            then=site.with_cluster(
                cluster.model_copy(update={"dpm_overrides": {**cluster.dpm_overrides, host.ref: False}})
            ).with_host(host.model_copy(update={"dpm": False})),
            impact=f"{host.name} is not switched off to save power any more, until somebody sets its override back",
        )

    def apply(self, systems: Systems) -> None:
        """Override; add or edit follows from what is there."""
        if systems.hosts.host(self.host).dpm:
            systems.hosts.set_power_management(self.host, enabled=False)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the cluster's setting and the host's override."""
        on = systems.hosts.host(self.host).dpm
        words = f"power management {'may switch' if on else 'leaves'} {self.host.name} {'off' if on else 'on'}"
        return Confirmation(Saw.NO if on else Saw.YES, words, {"dpm": on})

    def undo(self) -> Step:
        """Put the former override back, or take ours away."""
        return RestorePowerManagement(self.host, self.former)


@dataclass(frozen=True)
class RestorePowerManagement(Step):
    """Put a host's override of power management back to what it was; None: it had none."""

    host: HostId
    former: bool | None = None

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Let power management treat {self.host.name} as before"

    def effect(self, site: Inventory) -> Effect:
        """Compare the override with what it was."""
        host = site.host(self.host.ref)
        cluster = site.cluster(host.cluster)
        if cluster is None or cluster.dpm_overrides.get(host.ref) is self.former:
            return Effect.nothing(f"power management treats {host.name} as before", site)
        others = {ref: one for ref, one in cluster.dpm_overrides.items() if ref != host.ref}
        own = {} if self.former is None else {host.ref: self.former}
        effective = cluster.dpm and self.former is not False
        return Effect(
            needed=True,
            before=f"power management leaves {host.name} on",
            after=f"power management {'may switch it off' if effective else 'leaves it on'}, as before",
            then=site.with_cluster(cluster.model_copy(update={"dpm_overrides": {**others, **own}})).with_host(
                host.model_copy(update={"dpm": effective})
            ),
            impact=f"power management may switch {host.name} off again" if effective else "",
        )

    def apply(self, systems: Systems) -> None:
        """Put it back; what is so already is not sent."""
        systems.hosts.set_power_management(self.host, self.former)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the host's own override."""
        now = systems.hosts.power_management(self.host)
        words = {None: "no override", True: "the override on", False: "the override off"}[now]
        saw = Saw.YES if now is self.former else Saw.NO
        return Confirmation(saw, f"{self.host.name} has {words} of power management", {"override": now})

    def undo(self) -> Step:
        """Keep it on again."""
        return KeepPoweredOn(self.host, self.former)


def keep_powered_on(host: Host, site: Inventory) -> KeepPoweredOn:
    """Return the step for that host, which remembers the override that it has now."""
    cluster = site.cluster(host.cluster)
    return KeepPoweredOn(host.id, cluster.dpm_overrides.get(host.ref) if cluster else None)
