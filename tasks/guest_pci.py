"""Look into a guest for the proof that it has a PCI function."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from passgate.engine.steps import Confirmation, Effect, Look, Saw, Systems
from passgate.model.inventory import Inventory, PciId, VmId


@dataclass(frozen=True)
class SeesPci(Look):
    """Wait until the guest itself shows the function. Only reads.

    A guest gives functions addresses of its own, so ids are compared, and counted: where the VM has several of the same
    ids, the guest must show as many.
    """

    takes: ClassVar[timedelta] = timedelta(minutes=2)
    in_guest: ClassVar[bool] = True
    attempts: ClassVar[int] = 2
    patience: ClassVar[timedelta] = timedelta(seconds=180)
    look_every: ClassVar[timedelta] = timedelta(seconds=3)

    vm: VmId
    function: PciId

    @property
    def title(self) -> str:
        """Say what is looked for."""
        return f"See {self.function.name or self.function.ids} in the guest of {self.vm.name}"

    def effect(self, site: Inventory) -> Effect:
        """Look always: only the guest's own view is proof."""
        after = f"the guest of {self.vm.name} shows {self.function.ids}"
        return Effect(needed=True, before="not looked at yet", after=after, then=site)

    def confirm(self, systems: Systems) -> Confirmation:
        """Ask the guest, and compare ids, number and the guest's own word on how the function does."""
        seen = systems.guest.pci(self.vm)
        mine = [one for one in seen if (one.vendor, one.device) == (self.function.vendor, self.function.device)]
        facts = {"guest_pci": [one.model_dump(mode="json") for one in mine]}
        if not mine:
            return Confirmation(Saw.NO, f"{self.vm.name} does not see {self.function.ids} yet", facts)
        ids = (self.function.vendor, self.function.device)
        due = sum((one.vendor, one.device) == ids for one in systems.vsphere.vm(self.vm).pci)
        if len(mine) < due:
            return Confirmation(
                Saw.NO, f"{self.vm.name} sees {len(mine)} of the {due} {self.function.ids} that it has", facts
            )
        ill = [one for one in mine if one.status.casefold() not in {"", "ok"}]
        if ill:
            words = f"{self.vm.name} sees {self.function.ids}, but calls its status {ill[0].status}"
            return Confirmation(Saw.NO, words, facts)
        name = mine[0].name or self.function.name
        return Confirmation(Saw.YES, f"{self.vm.name} sees {name} ({self.function.ids})", facts)
