"""Give PCI functions of a host to VMs, and take them away, with the memory reservation that they need."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from passgate.engine.steps import Confirmation, Effect, Look, Saw, Step, Systems
from passgate.model.inventory import Inventory, PciId, Vm, VmId, VmPci
from passgate.model.pci import ALL_MEMORY, MEMORY_BEFORE

COST = (
    "while {vm} has it: no suspend, no vMotion, no snapshots, no fault tolerance, and no restart by HA on a host "
    "without it"
)
"""What a function costs its VM, in the plan's words (article, limits of PCI passthrough; reference vSphere 2.4)."""


@dataclass(frozen=True)
class AddDevice(Step):
    """Add a PCI function to a VM that is off, and reserve all of its memory, in one change.

    `former` is what was reserved before, in MiB or `all`; the change keeps it in the VM's advanced settings, so that
    whoever takes the function away knows it. Empty: the VM has a function already, and its reservation stays.
    """

    vm: VmId
    function: PciId
    former: str = ""

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Add {self.function.name or self.function.ids} to {self.vm.name}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when the VM's configuration names the function."""
        vm = site.vm(self.vm.uuid)
        if vm.passes(self.function):
            return Effect.nothing(f"{vm.name} has {self.function.words} in its configuration", site)
        note = {MEMORY_BEFORE: self.former} if self.former and MEMORY_BEFORE not in vm.extra else {}
        changed = vm.model_copy(
            update={
                "pci": (*vm.pci, entry(self.function)),
                "memory_locked": True,
                "memory_reservation_mb": vm.memory_mb,
                "extra": {**vm.extra, **note},
            }
        )
        return Effect(
            needed=True,
            before=f"{self.function.words} of {self.function.host.name} belongs to no VM; {reserved(vm)}",
            after=f"it belongs to {vm.name}; {reserved(changed)}",
            then=site.with_vm(changed),
            impact=f"{self.function.words} of {self.function.host.name}, and every device behind it, is {vm.name}'s "
            f"alone; {COST.format(vm=vm.name)}; all {vm.memory_mb} MiB of its memory stay reserved",
        )

    def apply(self, systems: Systems) -> None:
        """Add it, unless it is there."""
        if systems.vsphere.vm(self.vm).passes(self.function) is None:
            systems.vsphere.add_pci_function(self.vm, self.function, former=self.former)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the VM's configuration: the function, and the reservation."""
        now = systems.vsphere.vm(self.vm)
        if now.passes(self.function) is None:
            return Confirmation(Saw.NO, f"{now.name} has no function at {self.function.address}", facts(now))
        if not now.memory_locked:
            return Confirmation(Saw.NO, f"{now.name} has the function, but {reserved(now)}", facts(now))
        return Confirmation(Saw.YES, f"{now.name} has {self.function.words}; {reserved(now)}", facts(now))

    def undo(self) -> Step:
        """Remove it, and reserve what was reserved before."""
        return RemoveDevice(self.vm, self.function, reservation=self.former)


@dataclass(frozen=True)
class RemoveDevice(Step):
    """Remove a PCI function from a VM that is off, and restore its memory reservation, in one change.

    `reservation` is what is to be reserved then, in MiB or `all`; empty leaves the reservation as it is. `note` is what
    the VM's advanced settings say was reserved before the function came, for the way back.
    """

    vm: VmId
    function: PciId
    reservation: str = ""
    note: str = ""

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Remove {self.function.name or self.function.ids} from {self.vm.name}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when the VM's configuration does not name the function."""
        vm = site.vm(self.vm.uuid)
        if vm.passes(self.function) is None:
            return Effect.nothing(f"{vm.name} has no function at {self.function.address}", site)
        left = tuple(one for one in vm.pci if one.address != self.function.address)
        changed = vm.model_copy(update={"pci": left, **self._memory(vm)})
        return Effect(
            needed=True,
            before=f"{vm.name} has {self.function.words}; {reserved(vm)}",
            after=f"it belongs to no VM; {reserved(changed)}",
            then=site.with_vm(changed),
            impact=f"{vm.name} loses {self.function.words} and every device behind it",
        )

    def _memory(self, vm: Vm) -> dict[str, object]:
        if not self.reservation:
            return {}
        kept = {key: value for key, value in vm.extra.items() if key != MEMORY_BEFORE or len(vm.pci) > 1}
        if self.reservation == ALL_MEMORY:
            return {"memory_locked": True, "memory_reservation_mb": vm.memory_mb, "extra": kept}
        return {"memory_locked": False, "memory_reservation_mb": int(self.reservation), "extra": kept}

    def apply(self, systems: Systems) -> None:
        """Remove it, unless it is gone."""
        if systems.vsphere.vm(self.vm).passes(self.function) is not None:
            systems.vsphere.remove_pci_function(self.vm, self.function, reservation=self.reservation)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the VM's configuration: the function, and the reservation."""
        now = systems.vsphere.vm(self.vm)
        if now.passes(self.function) is not None:
            return Confirmation(Saw.NO, f"{now.name} still has {self.function.words}", facts(now))
        wanted = self._memory(now)
        if wanted and (now.memory_locked, now.memory_reservation_mb) != (
            wanted["memory_locked"], wanted["memory_reservation_mb"],
        ):  # fmt: skip
            return Confirmation(Saw.NO, f"{now.name} has lost the function, but {reserved(now)}", facts(now))
        return Confirmation(
            Saw.YES, f"{now.name} has no function at {self.function.address}; {reserved(now)}", facts(now)
        )

    def undo(self) -> Step:
        """Add it again."""
        return AddDevice(self.vm, self.function, former=self.note or self.reservation)


@dataclass(frozen=True)
class WouldPowerOn(Look):
    """Ask vCenter itself whether it would power the VM on as it is configured now. Only reads."""

    attempts: ClassVar[int] = 2
    patience: ClassVar[timedelta] = timedelta(seconds=5)

    vm: VmId

    @property
    def title(self) -> str:
        """Say what is looked for."""
        return f"Ask vCenter whether {self.vm.name} can be powered on"

    def effect(self, site: Inventory) -> Effect:
        """Look always."""
        return Effect(needed=True, before="not asked yet", after="vCenter sees nothing against it", then=site)

    def confirm(self, systems: Systems) -> Confirmation:
        """Have vCenter check; where it can't, say that nothing was checked."""
        found = systems.vsphere.obstacles_to_power_on(self.vm)
        if found is None:
            return Confirmation(Saw.YES, f"not checked: this vCenter has no check of {self.vm.name}'s power-on", {})
        if found:
            return Confirmation(Saw.NO, f"vCenter would not power {self.vm.name} on: {'; '.join(found)}",
                                {"obstacles": list(found)})  # fmt: skip
        return Confirmation(Saw.YES, f"vCenter sees nothing against powering {self.vm.name} on", {"obstacles": []})


def entry(function: PciId) -> VmPci:
    """Return the entry that a function gets in a VM's configuration."""
    return VmPci(
        key=0, address=function.address, vendor=function.vendor, device=function.device, name=function.name
    )  # fmt: skip


def former(vm: Vm) -> str:
    """Return what AddDevice keeps of the VM's reservation: empty where another function has changed it already."""
    if vm.pci and (vm.memory_locked or MEMORY_BEFORE in vm.extra):
        return ""
    return ALL_MEMORY if vm.memory_locked else str(vm.memory_reservation_mb)


def restored(vm: Vm, function: PciId, asked: int | None) -> str:
    """Return the reservation that the VM gets when the function leaves: what was asked, else what was kept.

    Empty, so that it stays, while the VM has another function, and where nobody knows what was reserved before.
    """
    if any(one.address != function.address for one in vm.pci):
        return ""
    return str(asked) if asked is not None else kept(vm)


def kept(vm: Vm) -> str:
    """Return what the VM's advanced settings say was reserved before a function came; empty where they don't."""
    note = vm.extra.get(MEMORY_BEFORE, "")
    return note if note == ALL_MEMORY or (note.isdecimal() and int(note) <= vm.memory_mb) else ""


def reserved(vm: Vm) -> str:
    """Say in words what of the VM's memory is reserved."""
    if vm.memory_locked:
        return f"all {vm.memory_mb} MiB of its memory are reserved"
    return f"{vm.memory_reservation_mb} of {vm.memory_mb} MiB of its memory are reserved"


def facts(vm: Vm) -> dict[str, object]:
    """Return what was read of the VM, for the evidence."""
    return {
        "pci": [one.model_dump(mode="json") for one in vm.pci],
        "memory_locked": vm.memory_locked,
        "memory_reservation_mb": vm.memory_reservation_mb,
    }
