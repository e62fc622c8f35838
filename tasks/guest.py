"""Look into a guest for the proof, and take a device's disks out of use there before it is removed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from passgate.engine.steps import Check, Confirmation, Effect, Look, NoUndo, Remedy, Saw, Step, Systems
from passgate.errors import RefusedError
from passgate.model.guest import GuestUsb
from passgate.model.inventory import HostUsbDevice, Inventory, Power, UsbId, Vm, VmId


@dataclass(frozen=True)
class SeesUsb(Look):
    """Wait until the guest itself shows the device. Only reads."""

    takes: ClassVar[timedelta] = timedelta(minutes=2)
    in_guest: ClassVar[bool] = True
    attempts: ClassVar[int] = 2
    patience: ClassVar[timedelta] = timedelta(seconds=180)
    look_every: ClassVar[timedelta] = timedelta(seconds=3)

    vm: VmId
    device: UsbId

    @property
    def title(self) -> str:
        """Say what is looked for."""
        return f"See {self.device.name or self.device.vid_pid} in the guest of {self.vm.name}"

    def effect(self, site: Inventory) -> Effect:
        """Look always: only the guest's own view is proof."""
        after = f"the guest of {self.vm.name} shows {self.device.vid_pid}"
        return Effect(needed=True, before="not looked at yet", after=after, then=site)

    def confirm(self, systems: Systems) -> Confirmation:
        """Ask the guest, and compare ids, and the serial where both sides know it; ports never agree.

        Without serials a twin that the guest had before would pass for the device: then the guest must show as many of
        these ids as vCenter says are connected to the VM.
        """
        seen = systems.guest.usb(self.vm)
        match = [one for one in seen if (one.vendor, one.product) == (self.device.vendor, self.device.product)]
        facts = {"guest_usb": [one.model_dump(mode="json") for one in seen]}
        right = [one for one in match if _same(one.serial, self.device.serial)]
        if not match:
            return Confirmation(Saw.NO, f"{self.vm.name} does not see {self.device.vid_pid} yet", facts)
        if not right:
            serials = ", ".join(one.serial or "none" for one in match)
            other = f"{self.vm.name} sees {self.device.vid_pid} with another serial: {serials}"
            return Confirmation(Saw.NO, other, facts)
        well = [one for one in right if one.status.casefold() in {"", "ok"}]
        if not well:
            ill = f"{self.vm.name} sees {_words(right[0])}, but calls its status {right[0].status}"
            return Confirmation(Saw.NO, ill, facts)
        if not (self.device.serial and well[0].serial) and len(match) < (due := self._connected(systems)):
            few = f"{self.vm.name} sees {len(match)} of the {due} {self.device.vid_pid} that are connected to it"
            return Confirmation(Saw.NO, few, facts)
        return Confirmation(Saw.YES, f"{self.vm.name} sees {_words(well[0])}", facts)

    def _connected(self, systems: Systems) -> int:
        ids = (self.device.vendor, self.device.product)
        return sum(one.connected and (one.vendor, one.product) == ids for one in systems.vsphere.vm(self.vm).usb)


@dataclass(frozen=True)
class Release(Step):
    """Take the disks of a device out of use in the guest of a running VM, never by force.

    Linux: sync, then unmount. Windows: dismount, and offline where the disk can be. `was` is what the guest showed when
    the change was planned: what is taken out of use is named in the plan, and brought back on the way back.
    """

    patience: ClassVar[timedelta] = timedelta(seconds=30)
    aspect: ClassVar[str] = "usb"

    vm: VmId
    device: UsbId
    was: GuestUsb

    @property
    def title(self) -> str:
        """Say what is done, and where."""
        return f"Take {self.device.name or self.device.vid_pid} out of use in {self.vm.name} ({self.was.in_use})"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when the guest does not use it."""
        seen = site.guests.get(self.vm.ref, ())
        mine = [one for one in of_device(seen, self.device) if one.in_use]
        if not mine:
            return Effect.nothing(f"{self.vm.name} does not use {self.device.words}", site)
        idle = tuple(_idle(one) if one in mine else one for one in seen)
        where = ", ".join(one.in_use for one in mine)
        return Effect(
            needed=True,
            before=f"{self.vm.name} uses it at {where}",
            after=f"{self.vm.name} does not use it",
            then=site.model_copy(update={"guests": {**site.guests, self.vm.ref: idle}}),
            impact=f"{where} goes away in the guest of {self.vm.name}; a program that uses it stops the change, "
            "because nothing is forced",
        )

    def apply(self, systems: Systems) -> None:
        """Release it; what is not in use is left alone."""
        systems.guest.release(self.vm, self.device)

    def confirm(self, systems: Systems) -> Confirmation:
        """Ask the guest anew; a VM that is off, or does not have the device, uses nothing of it."""
        vm = systems.vsphere.vm(self.vm)
        if vm.power is not Power.ON or vm.usb_entry(self.device) is None:
            return Confirmation(Saw.YES, f"{vm.name} is {vm.power}, and uses nothing of {self.device.words}")
        seen = systems.guest.usb(self.vm)
        where = ", ".join(one.in_use for one in of_device(seen, self.device) if one.in_use)
        facts = {"guest_usb": [one.model_dump(mode="json") for one in seen]}
        if where:
            return Confirmation(Saw.NO, f"{self.vm.name} still uses it at {where}", facts)
        return Confirmation(Saw.YES, f"{self.vm.name} uses nothing of {self.device.words}", facts)

    def undo(self) -> Step:
        """Bring it back into use."""
        return TakeBack(self.vm, self.device, self.was)


@dataclass(frozen=True)
class TakeBack(Step):
    """Bring the disks of a device back into use in the guest, as the reading `was` shows them."""

    patience: ClassVar[timedelta] = timedelta(seconds=30)
    aspect: ClassVar[str] = "usb"

    vm: VmId
    device: UsbId
    was: GuestUsb

    @property
    def title(self) -> str:
        """Say what is done, and where."""
        return f"Bring {self.device.name or self.device.vid_pid} back into use in {self.vm.name} ({self.was.in_use})"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when the guest uses it, or used nothing of it before."""
        seen = site.guests.get(self.vm.ref, ())
        mine = of_device(seen, self.device)
        if not self.was.in_use or any(one.in_use == self.was.in_use for one in mine):
            return Effect.nothing(f"{self.vm.name} uses it as before", site)
        back = tuple(one.model_copy(update={"disks": self.was.disks}) if one in mine else one for one in seen)
        return Effect(
            needed=True,
            before=f"{self.vm.name} does not use it",
            after=f"{self.vm.name} uses it at {self.was.in_use}",
            then=site.model_copy(update={"guests": {**site.guests, self.vm.ref: back}}),
        )

    def apply(self, systems: Systems) -> None:
        """Bring it back; what is in use as before is left alone. A device that the VM does not have is told at once."""
        if systems.vsphere.vm(self.vm).usb_entry(self.device) is None:
            raise RefusedError(
                f"{self.device.words} can't be brought back into use in {self.vm.name}: the VM does not have it.",
                fault="DeviceNotAttached",
                hint=f"Attach it to {self.vm.name}, then bring it back by hand in the guest: {self.was.in_use}.",
                subject=self.vm.name,
            )
        systems.guest.take_back(self.vm, self.device, self.was)

    def confirm(self, systems: Systems) -> Confirmation:
        """Ask the guest anew, and compare where it is in use."""
        seen = systems.guest.usb(self.vm)
        where = ", ".join(one.in_use for one in of_device(seen, self.device) if one.in_use)
        facts = {"guest_usb": [one.model_dump(mode="json") for one in seen]}
        words = f"{self.vm.name} uses it at {where}" if where else f"{self.vm.name} does not use it"
        as_before = set(self.was.in_use.split(", ")) <= set(where.split(", "))
        return Confirmation(Saw.YES if as_before else Saw.NO, words, facts)

    def undo(self) -> Step:
        """Take it out of use again."""
        return Release(self.vm, self.device, self.was)


@dataclass(frozen=True)
class Reboot(Remedy):
    """Reboot the guest if it still does not see a device that was added to the running VM (reference vSphere 1.7)."""

    gate: ClassVar[str] = "guest-reboot"
    attempts: ClassVar[int] = 2
    patience: ClassVar[timedelta] = timedelta(seconds=10)

    vm: VmId
    device: UsbId

    @property
    def title(self) -> str:
        """Say what may be done, and when."""
        return f"Reboot the guest of {self.vm.name}, if it still does not see {self.device.name or self.device.vid_pid}"

    def effect(self, site: Inventory) -> Effect:
        """Have something to do always on paper; whether it is called for shows when its turn comes."""
        return Effect(
            needed=True,
            before=f"whether {self.vm.name} sees it is not known yet",
            after=f"{self.vm.name} sees it, after a reboot of its guest if need be",
            then=site,
            impact=f"{self.vm.name} may be rebooted (only if its guest does not see the device): whoever uses it loses "
            "it for that time",
        )

    def well(self, systems: Systems) -> Confirmation:
        """Look whether the guest sees the device."""
        return SeesUsb(self.vm, self.device).confirm(systems)

    def apply(self, systems: Systems) -> None:
        """Reboot it, unless it sees the device by now."""
        if self.well(systems).saw is not Saw.YES:
            systems.vsphere.reboot_guest(self.vm)

    def confirm(self, systems: Systems) -> Confirmation:
        """Look whether VMware Tools answer again; what the guest sees then is the next step's business."""
        ready = systems.vsphere.vm(self.vm).guest_ready
        words = f"the guest of {self.vm.name} {'answers' if ready else 'does not answer yet'}"
        return Confirmation(Saw.YES if ready else Saw.NO, words)

    def undo(self) -> NoUndo:
        """Leave nothing behind: a reboot is over when it is over."""
        return NoUndo("a reboot can't be taken back, and nothing of it stays", leaves=False)


@dataclass(frozen=True)
class SeesHardware(Look):
    """Wait until the guest itself counts the CPUs and the memory that its VM was given. Only reads."""

    takes: ClassVar[timedelta] = timedelta(minutes=1)
    in_guest: ClassVar[bool] = True
    attempts: ClassVar[int] = 2
    patience: ClassVar[timedelta] = timedelta(seconds=60)

    vm: VmId
    cpus: int | None = None
    memory_mb: int | None = None
    before_mb: int = 0

    @property
    def title(self) -> str:
        """Say what is looked for."""
        return f"See the added hardware in the guest of {self.vm.name}"

    def effect(self, site: Inventory) -> Effect:
        """Look always: only the guest's own view is proof."""
        return Effect(
            needed=True, before="not looked at yet", after=f"the guest of {self.vm.name} counts it", then=site
        )

    def confirm(self, systems: Systems) -> Confirmation:
        """Compare what the guest counts; of memory, firmware and kernel keep a part, so that half of what came is due.

        Linux may leave hot-added CPUs and memory offline until a rule of udev, or a person, brings them online.
        """
        has = systems.guest.hardware(self.vm)
        words = f"the guest of {self.vm.name} counts {has.cpus} CPUs and {has.memory_mb} MiB"
        enough = self.cpus is None or has.cpus >= self.cpus
        due = None if self.memory_mb is None else (self.memory_mb + self.before_mb) // 2
        enough = enough and (due is None or has.memory_mb > due)
        return Confirmation(Saw.YES if enough else Saw.NO, words, has.model_dump(mode="json"))


@dataclass(frozen=True)
class TellsItsDisks(Check):
    """Demand that the guest of a running VM says what it has mounted from the device."""

    code: ClassVar[str] = "USB-GST-01"
    rule: ClassVar[str] = "The guest of a running VM says what it has mounted from a device that is removed"
    source: ClassVar[str] = "issue: never pulls a mounted disk; reference vSphere 6.4"
    hint: ClassVar[str] = (
        "Let VMware Tools run in the guest and give Passgate an account there (`guests` in site.yaml), or shut the VM "
        "down first."
    )

    vm: Vm
    device: UsbId

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at what the guest said; a VM that does not run has nothing mounted, a device without disks neither."""
        if self.vm.power is not Power.ON:
            return True, f"{self.vm.name} is {self.vm.power}"
        if isinstance(self.device, HostUsbDevice) and not may_have_disks(self.device):
            return True, f"{self.device.words} is no drive"
        if self.vm.ref in site.guest_errors:
            return False, site.guest_errors[self.vm.ref]
        mine = of_device(site.guests.get(self.vm.ref, ()), self.device)
        if any(not one.disks_known for one in mine):
            return False, f"the guest of {self.vm.name} does not say which disks {self.device.words} has"
        if len(mine) > 1 and any(one.disks for one in mine):
            return False, f"{len(mine)} devices in {self.vm.name} look like {self.device.words}, and have disks"
        return True, f"{self.vm.name} uses {', '.join(one.in_use for one in mine if one.in_use) or 'nothing'} of it"


@dataclass(frozen=True)
class CanLetGo(Check):
    """Refuse a disk that the guest can't give back by a plain unmount, or not bring back afterwards."""

    code: ClassVar[str] = "USB-GST-02"
    rule: ClassVar[str] = "Nothing is built on the device's disks in the guest: no LUKS, LVM, RAID, swap or bind mount"
    source: ClassVar[str] = "measured on Linux: unmounting does not end these"
    hint: ClassVar[str] = "Take it apart in the guest (close, deactivate, swapoff, unmount), then request again."

    vm: Vm
    device: UsbId

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at what the guest said is on the disks."""
        mine = of_device(site.guests.get(self.vm.ref, ()), self.device)
        held = [held for one in mine for disk in one.disks for held in disk.held_by]
        held += [mount.where for one in mine for disk in one.disks for mount in disk.mounts if not mount.whole]
        return not held, f"{self.vm.name} has {', '.join(held) or 'nothing'} on it"


def of_device(seen: tuple[GuestUsb, ...], device: UsbId) -> tuple[GuestUsb, ...]:
    """Return what of the guest may be the device: same ids, and no known serial differs."""
    return tuple(one for one in seen if one.may_be(device.vendor, device.product, device.serial))


def used(site: Inventory, vm: Vm, device: UsbId) -> GuestUsb | None:
    """Return what the guest shows of the device, if it uses its disks; else there is nothing to take out of use.

    How the device is doing at this moment is left out: a plan that held it would be another plan a minute later.
    """
    found = next((one for one in of_device(site.guests.get(vm.ref, ()), device) if one.in_use), None)
    return found and found.model_copy(update={"speed": "", "status": ""})


def may_have_disks(device: HostUsbDevice) -> bool:
    """Say whether the device may be a drive: by what the host says of its class, and yes where it does not."""
    return not device.families or "storage" in device.families


def refuse_in_use(systems: Systems, vm: VmId, device: UsbId) -> None:
    """Raise RefusedError if the guest has the device's disks in use, or does not say; then it must not be removed."""
    offered = [one for one in systems.vsphere.usb_devices(device.host) if one.is_same_device(device)]
    if offered and not any(map(may_have_disks, offered)):
        return
    mine = of_device(systems.guest.usb(vm), device)
    where = ", ".join(one.in_use for one in mine if one.in_use)
    if where or any(not one.disks_known for one in mine):
        raise RefusedError(
            f"{device.words} was left in {vm.name}: its guest "
            + (f"uses it at {where}." if where else "does not say which disks it has."),
            fault="MountedInGuest",
            hint="Unmount it in the guest, or end what mounted it anew, then request again.",
            subject=vm.name,
        )


def _idle(one: GuestUsb) -> GuestUsb:
    disks = (disk.model_copy(update={"mounts": (), "where": "", "held_by": ()}) for disk in one.disks)
    return one.model_copy(update={"disks": tuple(disks)})


def _same(guest: str | None, host: str | None) -> bool:
    """Say whether no known serial differs; Windows shows serials in upper case."""
    return not (guest and host) or guest.casefold() == host.casefold()


def _words(one: GuestUsb) -> str:
    disks = "".join(
        f"; {disk.name}{f' at {disk.where}' if disk.where else ''}{f' ({disk.state})' if disk.state else ''}"
        for disk in one.disks
    )
    serial = f", serial {one.serial}" if one.serial else ""
    return f"{one.name or 'USB device'} ({one.vid_pid}{serial}){disks}"
