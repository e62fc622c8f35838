"""Let a VM take smart-card readers, and look for the reader in its guest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from passgate.engine.steps import Confirmation, Effect, Saw, Step, Systems
from passgate.model.guest import GuestUsb
from passgate.model.inventory import Inventory, Vm, VmId
from tasks.guest import SeesUsb
from tasks.pcscd import Method

KEY = "usb.generic.allowCCID"
"""The setting without which a VM can't take a smart-card reader (article, connecting USB smart cards; KB 323394)."""
ALLOWED = "TRUE"


@dataclass(frozen=True)
class SetAllowed(Step):
    """Set whether a VM that is off may take smart-card readers; None removes the setting, `former` takes that back.

    With the method `vmx` the line is written into the VM's configuration file over SSH, and read back from there.
    """

    patience: ClassVar[timedelta] = timedelta(seconds=20)

    vm: VmId
    value: str | None
    former: str | None
    key: str = KEY
    method: Method = Method.API
    vmx_path: str = ""

    @property
    def title(self) -> str:
        """Say what is done."""
        if self.value is None:
            return f"Remove {self.key} from {self.vm.name}"
        return f"Set {self.key} of {self.vm.name} to {self.value}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when the VM's configuration says so."""
        vm = site.vm(self.vm.uuid)
        now = value_of(vm)
        if now == self.value:
            return Effect.nothing(f"{vm.name} has {_said(self.key, now)}", site)
        extra = {key: value for key, value in vm.extra.items() if key.lower() != self.key.lower()}
        then = extra if self.value is None else {**extra, self.key: self.value}
        may = "may" if self.value is not None and self.value.upper() == ALLOWED else "can't"
        return Effect(
            needed=True,
            before=f"{vm.name} has {_said(self.key, now)}",
            after=f"{vm.name} has {_said(self.key, self.value)}",
            then=site.with_vm(vm.model_copy(update={"extra": then})),
            impact=f"{vm.name} {may} take smart-card readers",
        )

    def apply(self, systems: Systems) -> None:
        """Set it, unless it is so: with `vmx`, in the file and in what the host knows of it."""
        known = value_of(systems.vsphere.vm(self.vm)) == self.value
        if self.method is Method.API:
            if not known:
                systems.vsphere.set_extra_config(self.vm, self.key, self.value)
        elif not known or systems.shell.vm_setting(self.vm, self.vmx_path, self.key) != self.value:
            systems.shell.set_vm_setting(self.vm, self.vmx_path, self.key, self.value)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the VM's configuration; with `vmx`, the file too: a line that the host does not know would be lost."""
        now = value_of(systems.vsphere.vm(self.vm))
        facts = {"key": self.key, "value": now}
        if now != self.value:
            return Confirmation(Saw.NO, f"{self.vm.name} has {_said(self.key, now)}", facts)
        if self.method is Method.VMX:
            written = systems.shell.vm_setting(self.vm, self.vmx_path, self.key)
            facts |= {"file": self.vmx_path, "written": written}
            if written != self.value:
                return Confirmation(Saw.NO, f"the VMX file of {self.vm.name} has {_said(self.key, written)}", facts)
        return Confirmation(Saw.YES, f"{self.vm.name} has {_said(self.key, now)}", facts)

    def undo(self) -> Step:
        """Set what it was before, or remove it where there was none."""
        return SetAllowed(self.vm, self.former, self.value, self.key, self.method, self.vmx_path)


@dataclass(frozen=True)
class SeesReader(SeesUsb):
    """Wait until the guest itself shows the device, and takes it for a smart-card reader where it tells its class."""

    def confirm(self, systems: Systems) -> Confirmation:
        """Look for the device as for any; then at the class that the guest gives it."""
        seen = super().confirm(systems)
        if seen.saw is not Saw.YES:
            return seen
        devices = [GuestUsb.model_validate(one) for one in seen.facts["guest_usb"]]
        mine = [one for one in devices if one.may_be(self.device.vendor, self.device.product, self.device.serial)]
        if any(one.is_reader is not False for one in mine):
            known = " as a smart-card reader" if any(one.is_reader for one in mine) else ", and does not tell its class"
            return Confirmation(Saw.YES, f"{seen.words}{known}", seen.facts)
        kinds = ", ".join(sorted({kind for one in mine for kind in one.kinds}))
        return Confirmation(Saw.NO, f"{seen.words}, but takes it for {kinds}: its driver is missing", seen.facts)


def key_of(vm: Vm) -> str:
    """Return the key as the VM's configuration spells it; keys are the same in any case."""
    return next((key for key in vm.extra if key.lower() == KEY.lower()), KEY)


def value_of(vm: Vm) -> str | None:
    """Return what the VM's configuration says; None where it says nothing."""
    return vm.extra.get(key_of(vm)) or None


def is_allowed(vm: Vm) -> bool:
    """Say whether the VM may take smart-card readers."""
    return (value_of(vm) or "").upper() == ALLOWED


def _said(key: str, value: str | None) -> str:
    return f"no {key}" if value is None else f"{key} = {value}"
