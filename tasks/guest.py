"""Look into a guest for the proof."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from passgate.engine.steps import Confirmation, Effect, NoUndo, Saw, Step, Systems
from passgate.model.guest import GuestUsb
from passgate.model.inventory import Inventory, UsbId, VmId


@dataclass(frozen=True)
class SeesUsb(Step):
    """Wait until the guest itself shows the device. Only reads."""

    mutates: ClassVar[bool] = False
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

    def apply(self, systems: Systems) -> None:
        """Do nothing: this step only looks."""

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

    def undo(self) -> NoUndo:
        """Leave nothing behind: looking changes nothing."""
        return NoUndo("it only looks")


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
