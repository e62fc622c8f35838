"""Move VMs between hosts with their USB devices attached, and check what that needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from passgate.engine.steps import Check, Confirmation, Effect, Look, NoUndo, Saw, Severity, Step, Systems
from passgate.model.inventory import Host, HostId, Inventory, Power, UsbId, Vm, VmId

PORT = 902
"""TCP port between the hosts' management interfaces that a moved VM's USB devices need, says the article."""


@dataclass(frozen=True)
class PowerManagementOff(Check):
    """Demand that DPM leaves the device's host on."""

    code: ClassVar[str] = "USB-VMO-01"
    rule: ClassVar[str] = (
        "Distributed Power Management is off for the host: it ignores USB and would power the host off"
    )
    source: ClassVar[str] = "article, limits of vMotion with USB"
    hint: ClassVar[str] = (
        "Disable DPM for this host (cluster, Configure, Host Options), or attach without vMotion support."
    )

    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the effective setting."""
        return not self.host.dpm, f"DPM is {'on' if self.host.dpm else 'off'} for {self.host.name}"


@dataclass(frozen=True)
class ManagementNetwork(Check):
    """Demand a management interface, over which the device's data travels."""

    code: ClassVar[str] = "USB-VMO-02"
    rule: ClassVar[str] = "The host has its management interface vmk0; TCP 902 must be open on it between the hosts"
    source: ClassVar[str] = "article, limits of vMotion with USB"
    hint: ClassVar[str] = "Give vmk0 an address, and open TCP 902 both ways between the cluster's hosts."

    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at vmk0's address; whether the port is open can't be seen from here, and the words say so."""
        if not self.host.management_ip:
            return False, f"{self.host.name} has no address on vmk0"
        return True, f"{self.host.name} has vmk0 at {self.host.management_ip}; TCP 902 was not tried"


@dataclass(frozen=True)
class OtherDevicesMove(Check):
    """Warn of locally backed devices, each of which keeps the VM from moving."""

    code: ClassVar[str] = "USB-VMO-03"
    rule: ClassVar[str] = "Every USB device of the VM has vMotion support; one without it stops each migration"
    source: ClassVar[str] = "vendor documentation (reference vSphere 4)"
    hint: ClassVar[str] = "Remove those devices and attach them anew with vMotion support."
    severity: ClassVar[Severity] = Severity.WARNING

    vm: Vm
    device: UsbId

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the backings of the VM's other USB devices."""
        own = self.vm.usb_entry(self.device)
        local = [entry.pattern for entry in self.vm.usb if entry is not own and not entry.hostname]
        return (
            not local,
            f"{self.vm.name} has {', '.join(local)} without it" if local else "no device stands in the way",
        )


@dataclass(frozen=True)
class IsAtHome(Check):
    """Refuse to power a VM off that has USB devices of another host: it would lose them until it is moved back."""

    code: ClassVar[str] = "USB-VMO-04"
    rule: ClassVar[str] = "A running VM that has USB devices of another host is not powered off there"
    source: ClassVar[str] = "article, limits of vMotion with USB; vendor documentation (reference vSphere 4)"
    hint: ClassVar[str] = "Bring it home first: `passgate request usb-return-home`; then request again."

    vm: Vm

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare the hosts in the VM's USB backings with the host that it runs on."""
        here = self.vm.host.name
        away = sorted({entry.hostname for entry in self.vm.usb if entry.hostname and entry.hostname != here})
        if self.vm.power is not Power.ON or not away:
            return True, f"{self.vm.name} uses no USB device of another host"
        return False, f"{self.vm.name} runs on {here} and uses USB devices of {', '.join(away)}"


@dataclass(frozen=True)
class Move(Step):
    """Move a VM to another host, running or not; its USB devices stay plugged into their own host and connected."""

    takes: ClassVar[timedelta] = timedelta(minutes=5)
    attempts: ClassVar[int] = 3

    vm: VmId
    to: HostId

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Move {self.vm.name} to {self.to.name}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when the VM is there."""
        return _moved(site, self.vm, self.to)

    def apply(self, systems: Systems) -> None:
        """Move it, unless it is there already."""
        systems.vsphere.relocate(self.vm, self.to)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read where the VM is."""
        return _is_on(systems, self.vm, self.to)

    def undo(self) -> Step:
        """Move it back to where it was when the plan was made."""
        return Back(self.vm)


@dataclass(frozen=True)
class Aside(Move):
    """Move a VM out of the way of a change; it comes back on every end."""

    temporary: ClassVar[bool] = True


@dataclass(frozen=True)
class Back(Step):
    """Move a VM back to the host that it was on when the plan was made."""

    takes: ClassVar[timedelta] = timedelta(minutes=5)
    attempts: ClassVar[int] = 3

    vm: VmId

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Move {self.vm.name} back to {self.vm.host.name}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when the VM is there."""
        return _moved(site, self.vm, self.vm.host)

    def apply(self, systems: Systems) -> None:
        """Move it, unless it is there already."""
        systems.vsphere.relocate(self.vm, self.vm.host)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read where the VM is."""
        return _is_on(systems, self.vm, self.vm.host)

    def undo(self) -> NoUndo:
        """Leave the VM where it was before the change."""
        return NoUndo(f"{self.vm.name} is on {self.vm.host.name}, as it was before the change", leaves=False)


@dataclass(frozen=True)
class Allowed(Look):
    """Ask vCenter itself whether it would move the VM. Only reads, and says so where vCenter has no such check."""

    attempts: ClassVar[int] = 2
    patience: ClassVar[timedelta] = timedelta(seconds=1)

    vm: VmId
    to: HostId

    @property
    def title(self) -> str:
        """Say what is looked at."""
        return f"Ask vCenter whether {self.vm.name} can move to {self.to.name}"

    def effect(self, site: Inventory) -> Effect:
        """Look always: only vCenter knows all that stands in the way."""
        return Effect(needed=True, before="not asked yet", after="vCenter names nothing against it", then=site)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the errors inside the check's result; a server without the check has said nothing, and so do we."""
        found = systems.vsphere.obstacles_to_migration(self.vm, self.to)
        if found is None:
            words = "not pre-validated: this vCenter has no such check, so the move itself will tell"
            return Confirmation(Saw.YES, words, {"checked": False})
        if found:
            return Confirmation(Saw.NO, f"vCenter says: {'; '.join(found)}", {"errors": list(found)})
        return Confirmation(Saw.YES, "vCenter names nothing against it", {"checked": True, "errors": []})


@dataclass(frozen=True)
class Reaches902(Look):
    """Try TCP 902 between two hosts' management addresses, from their own shells. Only reads.

    The article asks for the port, vendor documents only for the management network (reference vSphere 4), so what can't
    be tried is told and stops nothing; what is refused does.
    """

    attempts: ClassVar[int] = 2
    patience: ClassVar[timedelta] = timedelta(seconds=1)

    host: HostId
    other: HostId
    addresses: tuple[str, str]

    @property
    def title(self) -> str:
        """Say what is looked at."""
        return f"Try TCP {PORT} between {self.host.name} and {self.other.name}"

    def effect(self, site: Inventory) -> Effect:
        """Look always."""
        return Effect(
            needed=True, before="not tried yet", after="the port answers as far as it can be tried", then=site
        )

    def confirm(self, systems: Systems) -> Confirmation:
        """Try both ways; say which way could not be tried."""
        ways = ((self.host, self.other, self.addresses[1]), (self.other, self.host, self.addresses[0]))
        said = {f"{one.name} to {to.name}": systems.shell.reaches(one, address, PORT) for one, to, address in ways}
        closed = [way for way, open_ in said.items() if open_ is False]
        untried = [way for way, open_ in said.items() if open_ is None]
        if closed:
            return Confirmation(Saw.NO, f"TCP {PORT} does not answer from {', '.join(closed)}", {"tried": said})
        if untried:
            words = f"not proven: TCP {PORT} could not be tried from {', '.join(untried)}"
            return Confirmation(Saw.YES, words, {"tried": said})
        return Confirmation(Saw.YES, f"TCP {PORT} answers both ways", {"tried": said})


def homes(vm: Vm) -> tuple[str, ...]:
    """Return the names of the hosts whose USB devices the VM's configuration names, as vMotion backings do."""
    return tuple(sorted({entry.hostname for entry in vm.usb if entry.hostname}))


def _moved(site: Inventory, vm: VmId, to: HostId) -> Effect:
    now = site.vm(vm.uuid)
    if now.host.ref == to.ref:
        return Effect.nothing(f"{now.name} is on {to.name}", site)
    how = "while it runs; it stands still for a moment" if now.power is Power.ON else f"while it is {now.power}"
    return Effect(
        needed=True,
        before=f"{now.name} is on {now.host.name}",
        after=f"{now.name} is on {to.name}",
        then=site.with_vm(now.model_copy(update={"host": HostId(ref=to.ref, name=to.name, uuid=to.uuid)})),
        impact=f"{now.name} moves from {now.host.name} to {to.name} {how}",
    )


def _is_on(systems: Systems, vm: VmId, to: HostId) -> Confirmation:
    now = systems.vsphere.vm(vm)
    saw = Saw.YES if now.host.ref == to.ref else Saw.NO
    return Confirmation(saw, f"vCenter shows {vm.name} on {now.host.name}", {"host": now.host.name})


def can_try(one: Host, other: Host) -> bool:
    """Say whether both hosts have a shell that answers and a management address, so that the port can be tried."""
    return all(host.management_ip and not host.shell_error for host in (one, other))


def reaches(one: Host, other: Host) -> Reaches902:
    """Return the step that tries the port between both hosts."""
    return Reaches902(one, other, (one.management_ip or "", other.management_ip or ""))
