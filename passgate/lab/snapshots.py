"""Describe snapshots of the lab's VMs, and what vCenter was told to do with them at some time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(eq=False)
class Snapshot:
    """Hold one snapshot; `memory` says that it holds the guest's memory too, `below` what was taken after it."""

    ref: str
    name: str
    memory: bool = False
    description: str = ""
    power: str = "poweredOff"
    number: int = 1
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    below: list[Snapshot] = field(default_factory=list)

    def all(self) -> list[Snapshot]:
        """Return this one and everything below it."""
        return [self, *(deeper for one in self.below for deeper in one.all())]


@dataclass(frozen=True)
class Schedule:
    """Hold one scheduled task of vCenter for a VM; `method` is the WSDL name of what it does."""

    ref: str
    name: str
    method: str
    enabled: bool = True
