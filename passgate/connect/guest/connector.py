"""Ask guests for their devices, and take a device's disks out of use there, with the account that config names."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from passgate.connect.guest import program, reading, releasing
from passgate.connect.guest.releasing import Answer
from passgate.connect.vsphere.acting import Authorize, refuse
from passgate.connect.vsphere.guest_ops import Account, GuestOperations, Program
from passgate.connect.vsphere.session import Session
from passgate.errors import LoginError, PassgateError, RefusedError, UnreachableError
from passgate.model.guest import GuestDisk, GuestHardware, GuestPci, GuestUsb
from passgate.model.inventory import GuestFamily, UsbId, VmId

PAUSE: Final = 0.5
"""Seconds between looks at a guest for a disk that it was given back."""
Make = Callable[[str], Program]


@dataclass(frozen=True)
class Login:
    """Say which account is for which guests; none in `vms`: all of the family. The password is asked when used."""

    family: GuestFamily
    user: str
    password: Callable[[], str]
    vms: tuple[str, ...] = ()


class GuestConnector:
    """Satisfy the engine's `Guest` port. Temporary files are always removed.

    `authorize(action, subject)` is called as the last thing before a program is started that changes something.
    `patience` bounds a program, `appears_within` the wait for a disk that comes back; both in seconds.
    """

    def __init__(
        self,
        session: Session,
        logins: Sequence[Login],
        authorize: Authorize = refuse,
        *,
        patience: float = 120.0,
        appears_within: float = 60.0,
    ) -> None:
        self._appears_within = appears_within
        self._operations = GuestOperations(session, patience=patience)
        self._logins = tuple(logins)
        self._authorize = authorize

    def usb(self, vm: VmId) -> tuple[GuestUsb, ...]:
        """Return the USB devices that the guest itself sees, virtual hubs and mice left out."""
        family = self._operations.family(vm)
        return self._usb(vm, family)

    def pci(self, vm: VmId) -> tuple[GuestPci, ...]:
        """Return the PCI functions that the guest itself sees, the virtual ones too."""
        family = self._operations.family(vm)
        text = self._run(vm, family, lambda output: program.list_pci(family, output))
        return reading.pci_of_windows(text) if family is GuestFamily.WINDOWS else reading.pci_of_linux(text)

    def hardware(self, vm: VmId) -> GuestHardware:
        """Return how many CPUs and how much memory the guest itself counts."""
        family = self._operations.family(vm)
        text = self._run(vm, family, lambda output: program.count_hardware(family, output))
        return reading.hardware_of_windows(text) if family is GuestFamily.WINDOWS else reading.hardware_of_linux(text)

    def release(self, vm: VmId, device: UsbId) -> None:
        """Take the device's disks out of use in the guest, never by force; not in use already counts as done.

        Linux: sync, then every mount is unmounted. Windows: volumes are flushed and dismounted; a disk goes offline, a
        removable medium loses its letters. Raises RefusedError that names what keeps it busy; what was unmounted before
        that is mounted again.
        """
        family = self._operations.family(vm)
        doing = f"take {device.words} out of use in {vm.name}"
        for one in self._meant(vm, family, device, doing):
            for disk in one.disks:
                if disk.in_use:
                    self._release(vm, one, disk, doing)

    def take_back(self, vm: VmId, device: UsbId, was: GuestUsb) -> None:
        """Bring the device's disks back into use in the guest as the reading `was` shows them; idempotent.

        A guest that was given the device just now takes its time to see the disk: that is waited for. Raises
        UnreachableError, which is safe to repeat, when it does not.
        """
        family = self._operations.family(vm)
        doing = f"bring {device.words} back into use in {vm.name}"
        seen = self._back_again(vm, family, device, was, doing)
        for before, now in zip(was.disks, (disk for one in seen for disk in one.disks), strict=False):
            wanted = before.model_copy(update={"name": now.name, "unique": now.unique})
            if before.in_use and (now.mounts != before.mounts or not now.in_use):
                answer = self._changed(vm, "take_back", seen[0], wanted)
                if answer.gone or answer.refused:
                    raise RefusedError(
                        f"Could not {doing}: {answer.refused or 'its disk went away meanwhile'}.",
                        fault="GuestRefused",
                        hint=f"Bring it back by hand in the guest: {before.in_use}.",
                        subject=vm.name,
                    )

    def _back_again(
        self, vm: VmId, family: GuestFamily, device: UsbId, was: GuestUsb, doing: str
    ) -> tuple[GuestUsb, ...]:
        ends = time.monotonic() + self._appears_within
        while True:
            seen = self._meant(vm, family, device, doing)
            if not was.disks or any(one.disks for one in seen):
                return seen
            if time.monotonic() > ends:
                raise UnreachableError(
                    f"Could not {doing}: the guest does not see its disk yet.",
                    hint="It may take a moment; Passgate may try again.",
                    subject=vm.name,
                )
            time.sleep(PAUSE)

    def _release(self, vm: VmId, device: GuestUsb, disk: GuestDisk, doing: str) -> None:
        parts = [one.where for one in disk.mounts if not one.whole]
        if parts or disk.held_by:
            what = f"a part of it is mounted at {', '.join(parts)}" if parts else f"it holds {', '.join(disk.held_by)}"
            raise RefusedError(
                f"Could not {doing}: {what}, which can't be brought back by itself.",
                fault="GuestDiskBusy",
                hint="Take that out of use by hand in the guest, then request again.",
                subject=vm.name,
            )
        answer = self._changed(vm, "release", device, disk)
        if not answer.refused:
            return
        back = self._mounted_again(vm, device, disk, answer)
        raise RefusedError(
            f"Could not {doing}: {disk.in_use}: {answer.refused}.{back}",
            fault="GuestDiskBusy",
            hint="End what uses it in the guest, then request again. Nothing is forced: data would be lost.",
            subject=vm.name,
        )

    def _mounted_again(self, vm: VmId, device: GuestUsb, disk: GuestDisk, answer: Answer) -> str:
        """Mount again what a release had unmounted before it was refused, and say how that went."""
        mounts = tuple(one for one in disk.mounts if one.where in answer.unmounted)
        if not mounts:
            return ""
        names = ", ".join(one.where for one in mounts)
        wanted = disk.model_copy(update={"mounts": tuple(mounts)})
        try:
            back = self._changed(vm, "take_back", device, wanted)
        except PassgateError as error:
            return f" {names} was unmounted before that, and could not be mounted again: {error.message}"
        if back.refused or back.gone:
            return f" {names} was unmounted before that, and could not be mounted again: {back.refused}."
        return f" {names} was unmounted before that, and is mounted again."

    def _changed(self, vm: VmId, action: str, device: GuestUsb, disk: GuestDisk) -> Answer:
        """Run the program of that action on the disk, and return how far it came."""
        make = program.release if action == "release" else program.take_back
        family = self._operations.family(vm)
        text = self._run(
            vm, family, lambda output: make(family, device, disk, output),
            lambda: self._authorize(action, f"vm:{vm.ref}"),
        )  # fmt: skip
        if family is GuestFamily.WINDOWS:
            return releasing.of_windows(text)
        return (releasing.release_of_linux if action == "release" else releasing.take_back_of_linux)(text)

    def _meant(self, vm: VmId, family: GuestFamily, device: UsbId, doing: str) -> tuple[GuestUsb, ...]:
        """Return what of the guest may be the device; of several that look alike none may have disks.

        A guess could take somebody else's disk out of use.
        """
        seen = tuple(one for one in self._usb(vm, family) if one.may_be(device.vendor, device.product, device.serial))
        if any(not one.disks_known for one in seen):
            raise RefusedError(
                f"Could not {doing}: the guest does not say which disks it has.",
                fault="GuestDisksUnknown",
                hint="Give the account under `guests` in site.yaml the rights of an administrator, or mount /sys.",
                subject=vm.name,
            )
        if len(seen) > 1 and any(one.disks for one in seen):
            raise RefusedError(
                f"Could not {doing}: {len(seen)} devices in the guest look like it, and have disks.",
                fault="GuestDeviceAmbiguous",
                hint="Take its disks out of use by hand in the guest.",
                subject=vm.name,
            )
        return seen

    def _usb(self, vm: VmId, family: GuestFamily) -> tuple[GuestUsb, ...]:
        text = self._run(vm, family, lambda output: program.list_usb(family, output))
        return reading.of_windows(text) if family is GuestFamily.WINDOWS else reading.of_linux(text)

    def _run(self, vm: VmId, family: GuestFamily, make: Make, authorize: Callable[[], None] = lambda: None) -> str:
        login = self._login(vm, family)
        return self._operations.run(vm, Account(login.user, login.password()), make, authorize)

    def _login(self, vm: VmId, family: GuestFamily) -> Login:
        """Return the login that names the VM, else the one for all of its family."""
        mine = [one for one in self._logins if one.family is family and (not one.vms or vm.name in one.vms)]
        if not mine:
            raise LoginError(
                f"No account is known for the guest of {vm.name} ({family}).",
                hint=f"Add a login of family `{family}` under `guests` in site.yaml.",
                subject=vm.name,
            )
        return max(mine, key=lambda one: vm.name in one.vms)
