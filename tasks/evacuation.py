"""Empty a host for a reboot and fill it again: what moves where, what must be shut down, and what stands in the way.

A runbook that reboots a host yields, in this order,

    yield from evacuation.requirements(host, shut_down=ask.shut_down)
    ...                                       # what takes effect at the reboot
    yield from evacuation.clear(host, site, shut_down=ask.shut_down)
    yield evacuation.reboot(host, site)
    yield from evacuation.refill(host, site, shut_down=ask.shut_down)

VMs that are off or suspended stay on the host. Running ones move to other hosts of the cluster, chosen by name and free
memory, not by load, so that the plan is the same a minute later. A VM that is tied to the host is shut down and powered
on again where the ask allows it; else each reason is a hard stop. Everything here comes back on every end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from passgate.engine.steps import Check, NoUndo, Severity, Step
from passgate.errors import CheckFailedError
from passgate.model.inventory import Arbitrator, Host, HostId, Inventory, Power, Vm
from tasks import access, arbitrator, maintenance, power, usb, vmotion
from tasks.host import CanReboot, Ready, Reboot, Serves

ARTICLE_PCI = "article, limits of PCI passthrough: such a VM can't be moved with vMotion"
ARTICLE_USB = "article, limits of vMotion with USB; vendor documentation (reference vSphere 4)"
MOVE = ("Resource.HotMigrate", "Resource.ColdMigrate")
POWER = ("VirtualMachine.Interact.PowerOff", "VirtualMachine.Interact.PowerOn")
SHUT_DOWN = "Allow this VM to be shut down for the time of the reboot, or free it from the host first."


@dataclass(frozen=True)
class StandDown(power.Off):
    """Shut a VM down that can't leave a host, for the time of a reboot; it is powered on again on every end."""

    temporary: ClassVar[bool] = True

    def undo(self) -> Step:
        """Power it on again."""
        return StandUp(self.vm)


@dataclass(frozen=True)
class StandUp(power.On):
    """Power a VM on again that was shut down for a reboot."""

    def undo(self) -> NoUndo:  # type: ignore[override]  # it ends a step, and is not taken back
        """Leave it on, as it was before the change."""
        return NoUndo(f"{self.vm.name} is on, as it was before the change", leaves=False)


@dataclass(frozen=True)
class ConnectedAgain(usb.Connected):
    """Wait until a VM that was shut down for a reboot has its device again. Only reads."""

    aside: ClassVar[bool] = True


@dataclass(frozen=True)
class PciStays(Check):
    """Name the running VMs that a PCI function ties to the host."""

    code: ClassVar[str] = "EVAC-01"
    rule: ClassVar[str] = "No running VM of the host has a PCI function passed through, unless it may be shut down"
    source: ClassVar[str] = ARTICLE_PCI
    hint: ClassVar[str] = SHUT_DOWN

    host: Host
    shut_down: bool

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the PCI entries of the VMs that run there."""
        return _tied(self, site, has_pci, "has a PCI function passed through")


@dataclass(frozen=True)
class UsbStays(Check):
    """Name the running VMs that a USB device ties to the host."""

    code: ClassVar[str] = "EVAC-02"
    rule: ClassVar[str] = (
        "No running VM of the host has a USB device without vMotion support, or one of this host, "
        "unless it may be shut down"
    )
    source: ClassVar[str] = f"{ARTICLE_USB}; a host that reboots takes its devices with it"
    hint: ClassVar[str] = SHUT_DOWN

    host: Host
    shut_down: bool

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the USB entries of the VMs that run there."""
        return _tied(self, site, uses_usb_of(self.host), f"uses a USB device of {self.host.name}")


@dataclass(frozen=True)
class FaultTolerantStays(Check):
    """Name the running VMs with fault tolerance, which have a twin that is not read here."""

    code: ClassVar[str] = "EVAC-03"
    rule: ClassVar[str] = "No running VM of the host is protected by fault tolerance, unless it may be shut down"
    source: ClassVar[str] = "reference vSphere 2.6: FT is a precondition of evacuation; what may move is not certain"
    hint: ClassVar[str] = "Move this VM by hand, or suspend its fault tolerance; or allow it to be shut down."

    host: Host
    shut_down: bool

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the state of fault tolerance."""
        return _tied(self, site, lambda vm: vm.fault_tolerance, "is protected by fault tolerance")


@dataclass(frozen=True)
class LocalDisksStay(Check):
    """Name the running VMs whose disks no other host sees."""

    code: ClassVar[str] = "EVAC-04"
    rule: ClassVar[str] = (
        "The disks of the host's running VMs are on storage that other hosts see too, unless they may be shut down"
    )
    source: ClassVar[str] = "reference vSphere 2.6 (datastore.summary.multipleHostAccess)"
    hint: ClassVar[str] = f"Move its disks to shared storage. {SHUT_DOWN}"

    host: Host
    shut_down: bool

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the datastores; what was not read is no shared storage."""
        return _tied(
            self, site, lambda vm: vm.shared_storage is not True, "has disks that no other host is known to see"
        )


@dataclass(frozen=True)
class SuspendedStay(Check):
    """Warn of suspended VMs: they stay on the host, and nobody can resume them meanwhile."""

    code: ClassVar[str] = "EVAC-05"
    rule: ClassVar[str] = "No VM of the host is suspended"
    source: ClassVar[str] = "reference vSphere 2.6; a suspended VM does not move while it runs, because it does not run"
    hint: ClassVar[str] = "It stays on the host through the reboot. Resume or power it off before, if that matters."
    severity: ClassVar[Severity] = Severity.WARNING

    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the power states."""
        found = [vm.name for vm in site.vms_on(self.host) if vm.power is Power.SUSPENDED]
        return not found, f"{', '.join(found)} is suspended" if found else "none is suspended"


@dataclass(frozen=True)
class HasRoom(Check):
    """Demand a place for each VM that is to move, as far as configured memory tells."""

    code: ClassVar[str] = "EVAC-06"
    rule: ClassVar[str] = "Other hosts of the cluster are connected, open, and have the memory for each VM that moves"
    source: ClassVar[str] = "reference vSphere 2.6; load changes by the minute, so configured memory is counted"
    hint: ClassVar[str] = "Take another host out of maintenance mode, or shut VMs down that can be spared."

    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Work out where each VM would go."""
        places = destinations(self.host, site)
        without = [vm.name for vm in movers(self.host, site) if vm.ref not in places]
        if without:
            return False, f"no other host of the cluster has room for {', '.join(without)}"
        return True, f"{len(places)} VMs have a place" if places else "no VM has to move"


@dataclass(frozen=True)
class NobodyIsAway(Check):
    """Refuse to shut a VM down that has USB devices of another host: it would lose them until it is moved back."""

    code: ClassVar[str] = "EVAC-07"
    rule: ClassVar[str] = "No VM is shut down while it is away from the host of its USB devices"
    source: ClassVar[str] = ARTICLE_USB
    hint: ClassVar[str] = "Bring it home first: `passgate request usb-return-home`."

    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the homes of the VMs that can't move."""
        away = [
            f"{vm.name} (devices of {', '.join(homes)})"
            for vm in bound(self.host, site)
            if (homes := [one for one in vmotion.homes(vm) if one != self.host.name])
        ]
        return not away, f"would lose its devices: {', '.join(away)}" if away else "no VM that stays is away from home"


@dataclass(frozen=True)
class NoDeviceIsAway(Check):
    """Refuse to reboot a host whose USB devices are used by VMs elsewhere: they would lose them until they are home."""

    code: ClassVar[str] = "EVAC-08"
    rule: ClassVar[str] = "No VM on another host uses a USB device of this host"
    source: ClassVar[str] = ARTICLE_USB
    hint: ClassVar[str] = "Bring that VM home first: `passgate request usb-return-home`."

    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare who uses the host's devices with who is on the host; only what the host's reading shows is known."""
        here = {vm.ref for vm in site.vms_on(self.host)}
        away = [f"{one.used_by_name or one.used_by} uses {one.words}" for one in self.host.usb
                if one.used_by and one.used_by not in here]  # fmt: skip
        return not away, "; ".join(away) or "no VM elsewhere uses its devices"


@dataclass(frozen=True)
class SparesWhatWeNeed(Check):
    """Refuse to shut down vCenter's or Passgate's own VM, as far as they can be told from others."""

    code: ClassVar[str] = "EVAC-09"
    rule: ClassVar[str] = "Neither vCenter nor Passgate runs in a VM that would be shut down"
    source: ClassVar[str] = "reference vSphere 2.6: vCenter itself and the engine's own VM are preconditions"
    hint: ClassVar[str] = "Free that VM from the host, so that it can move; or do this change by hand."

    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at what runs in the VMs that can't move."""
        found = [f"{site.depended_on[vm.ref]} runs in {vm.name}" for vm in bound(self.host, site)
                 if vm.ref in site.depended_on]  # fmt: skip
        return not found, "; ".join(found) or "no VM that stays is known to run vCenter or Passgate"


@dataclass(frozen=True)
class GuestsShutDown(Check):
    """Warn of VMs that can only be powered off hard, because no Tools run in their guests."""

    code: ClassVar[str] = "EVAC-10"
    rule: ClassVar[str] = "VMware Tools run in each VM that is shut down"
    source: ClassVar[str] = "vendor documentation (reference vSphere 5)"
    hint: ClassVar[str] = "Without Tools it is powered off like pulling the plug; shut its guest down by hand before."
    severity: ClassVar[Severity] = Severity.WARNING

    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at Tools of the VMs that can't move."""
        found = [vm.name for vm in bound(self.host, site) if not vm.tools_running]
        return not found, f"no Tools in {', '.join(found)}" if found else "each guest can be shut down"


@dataclass(frozen=True)
class MayMove(Check):
    """Demand the privileges on each VM that moves or is shut down, so that no host is left half empty."""

    code: ClassVar[str] = "EVAC-11"
    rule: ClassVar[str] = "Passgate's account may move each running VM of the host, or power it off and on"
    source: ClassVar[str] = "reference vSphere 0.3"
    hint: ClassVar[str] = "Give Passgate's role these privileges on the VMs of the host, or on their folder."

    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare what each VM needs with what vCenter says is held."""
        wanted = [(vm, POWER if is_tied(vm, self.host) else MOVE) for vm in running(self.host, site)]
        missing = [
            f"{vm.name}: {', '.join(lacking)}"
            for vm, needed in wanted
            if (lacking := [one for one in needed if one not in site.privileges.get(vm.ref, ())])
        ]
        return not missing, f"missing on {'; '.join(missing)}" if missing else "all privileges are held"


def requirements(host: Host, *, shut_down: bool) -> Iterator[Check]:
    """Yield the checks that an evacuation and a reboot of the host need."""
    yield CanReboot(host)
    if not shut_down:
        yield access.IsVCenter()
    for kind in (PciStays, UsbStays, FaultTolerantStays, LocalDisksStay):
        yield kind(host, shut_down)
    yield SuspendedStay(host)
    yield HasRoom(host)
    yield NoDeviceIsAway(host)
    yield MayMove(host)
    if shut_down:
        yield NobodyIsAway(host)
        yield SparesWhatWeNeed(host)
        yield GuestsShutDown(host)


def clear(host: Host, site: Inventory, *, shut_down: bool) -> Iterator[Step]:
    """Yield the steps that empty the host and put it into maintenance mode, behind the gate of the reboot."""
    yield Ready(host)
    places = destinations(host, site)
    for vm in movers(host, site):
        if vm.ref in places:
            yield vmotion.Aside(vm, places[vm.ref])
    for vm in bound(host, site) if shut_down else ():
        yield StandDown(vm, power.gentlest(vm))
    yield maintenance.Enter(host)


def reboot(host: Host, site: Inventory) -> Reboot:
    """Return the step that reboots the host, naming every VM on it. Raises CheckFailedError without a boot time."""
    if host.boot_time is None:
        raise CheckFailedError(
            f"{host.name} does not tell when it was booted, so nothing could prove a reboot.",
            hint=CanReboot.hint,
            subject=host.name,
        )
    return Reboot(host, site.vms_on(host), host.boot_time)


def refill(host: Host, site: Inventory, *, shut_down: bool) -> Iterator[Step]:
    """Yield the steps that give the host and its VMs back as they were."""
    if not host.maintenance:
        yield maintenance.Exit(host)
    if host.arbitrator is Arbitrator.RUNNING:
        yield arbitrator.StartAgain(host)
    places = destinations(host, site)
    stood_down = bound(host, site) if shut_down else ()
    for vm in stood_down:
        yield StandUp(vm)
    for vm in movers(host, site):
        if vm.ref in places:
            yield vmotion.Back(vm)
    for vm in stood_down:
        for device in host.usb:
            entry = vm.usb_entry(device)
            if entry is not None and entry.connected:
                yield ConnectedAgain(vm, device)
    cluster = site.cluster(host.cluster)
    yield Serves(host, ha=bool(cluster and cluster.ha and host.ha_state), maintenance=host.maintenance)


def movers(host: Host, site: Inventory) -> tuple[Vm, ...]:
    """Return the running VMs of the host that nothing ties to it, by name; none where no vCenter moves them."""
    return () if site.standalone else tuple(vm for vm in running(host, site) if not is_tied(vm, host))


def bound(host: Host, site: Inventory) -> tuple[Vm, ...]:
    """Return the running VMs of the host that can't leave it, by name."""
    movable = movers(host, site)
    return tuple(vm for vm in running(host, site) if vm not in movable)


def running(host: Host, site: Inventory) -> tuple[Vm, ...]:
    """Return the VMs that run on the host, or whose power could not be read, by name."""
    return tuple(vm for vm in site.vms_on(host) if vm.power in {Power.ON, Power.UNKNOWN})


def is_tied(vm: Vm, host: Host) -> bool:
    """Say whether something keeps the running VM on the host."""
    return has_pci(vm) or uses_usb_of(host)(vm) or vm.fault_tolerance or vm.shared_storage is not True


def has_pci(vm: Vm) -> bool:
    """Say whether a PCI function is passed through to the VM."""
    return bool(vm.pci)


def uses_usb_of(host: Host) -> Callable[[Vm], bool]:
    """Return what says of a VM on that host whether a USB device keeps it there.

    One without vMotion support does. So does one of this very host: it goes away with the host, and a VM that is
    elsewhere then does not get it back, while one that was shut down here does at its power-on.
    """
    return lambda vm: any(entry.hostname in {None, host.name} for entry in vm.usb)


def destinations(host: Host, site: Inventory) -> dict[str, HostId]:
    """Return VM id -> the host that it moves to; a VM that fits nowhere is left out.

    The first host by name that is open and has the memory, counting the configured memory of what runs there.
    """
    open_ = [
        one for one in site.hosts
        if one.ref != host.ref and one.cluster == host.cluster and host.cluster is not None
        and one.connection == "connected" and not one.maintenance
    ]  # fmt: skip
    room = {one.ref: one.memory_mb - sum(vm.memory_mb for vm in running(one, site)) for one in open_}
    found: dict[str, HostId] = {}
    for vm in movers(host, site):
        for one in sorted(open_, key=lambda one: one.name):
            if room[one.ref] >= vm.memory_mb:
                room[one.ref] -= vm.memory_mb
                found[vm.ref] = one.id
                break
    return found


def _tied(
    check: PciStays | UsbStays | FaultTolerantStays | LocalDisksStay,
    site: Inventory,
    is_: Callable[[Vm], bool],
    why: str,
) -> tuple[bool, str]:
    found = [vm.name for vm in running(check.host, site) if is_(vm)]
    words = f"{', '.join(found)} {why}"
    if not found:
        return True, f"no VM that runs there {why}"
    return check.shut_down, f"{words}; shut down for the reboot, as the request allows" if check.shut_down else words
