"""Describe the simulated cluster: what DRS and power management (DPM) may do by themselves."""

from __future__ import annotations

from dataclasses import dataclass, field

AUTOMATIC = "fullyAutomated"
BEHAVIORS = ("manual", "partiallyAutomated", AUTOMATIC)


@dataclass(frozen=True)
class DrsOverride:
    """Hold what DRS may do with one VM, where that differs from the cluster's own setting."""

    enabled: bool = True
    behavior: str = AUTOMATIC


@dataclass(eq=False)
class LabCluster:
    """Hold the one cluster. Overrides of power management are kept by the hosts themselves."""

    ref: str = "domain-c7"
    name: str = "Cluster-01"
    drs: bool = True
    behavior: str = AUTOMATIC
    dpm: bool = False
    """Whether the cluster powers idle hosts off."""
    overrides: dict[str, DrsOverride] = field(default_factory=dict)
    """VM's managed object id -> its override."""
    recent_tasks: list[str] = field(default_factory=list)

    def moves_by_itself(self, vm_ref: str) -> bool:
        """Say whether DRS moves this VM without asking anybody."""
        own = self.overrides.get(vm_ref, DrsOverride(behavior=self.behavior))
        return self.drs and own.enabled and own.behavior == AUTOMATIC
