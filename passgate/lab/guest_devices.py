"""Hold what a guest of the lab does with its USB devices: whether it sees them, and what is mounted from them.

A Windows brings a disk online and gives it a letter as soon as it sees it. A Linux server mounts nothing by itself:
tests do, through the control API. A disk that leaves a running guest while it is in use counts as pulled, and the world
keeps a list of those: the judge of "never pulls a mounted disk".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from passgate.lab.hardware import HostUsb, LabVm

FIRST_PID: Final = 2001
BLIND: Final = ("none", "until-readd", "until-reboot")
"""How a guest may miss a device that is hot-added (reference 1.7): not at all, until it is added once more, until the
guest boots anew."""


@dataclass(frozen=True)
class Holder:
    """Hold one program that keeps a mount busy."""

    pid: int
    program: str


@dataclass
class GuestDevice:
    """Hold one USB device inside one guest.

    `number` is the disk's: `Disk 1` in Windows, `sdb` in Linux. `mounts` are mount points of its first partition,
    `letter` its drive letter. `dismounted` is a Windows volume that stays dismounted until it is mounted again.
    """

    device: HostUsb
    number: int
    seen: bool = True
    mounts: list[str] = field(default_factory=list)
    letter: str = ""
    offline: bool = False
    dismounted: bool = False
    holders: list[Holder] = field(default_factory=list)

    @property
    def is_disk(self) -> bool:
        """Say whether the guest makes a disk of it."""
        return "storage" in self.device.families

    @property
    def is_removable(self) -> bool:
        """Say whether Windows calls the medium removable: sticks are, and such disks can't be taken offline."""
        return not self.device.fixed_disk

    @property
    def name(self) -> str:
        """Return the name of its disk in Linux."""
        return f"sd{chr(ord('a') + self.number)}"

    def in_use(self, vm: LabVm) -> str:
        """Return where the guest has the disk mounted, empty if it may be taken away."""
        if not (self.is_disk and self.seen):
            return ""
        if vm.is_windows:
            return "" if self.offline or self.dismounted else f"{self.letter}:"
        return ", ".join(self.mounts)


@dataclass(frozen=True)
class Inside:
    """Hold the inside of one VM: the devices that its guest sees, and whom it tells of what is changed there.

    `told` takes a line such as `umount /mnt/backup` or `Set-Disk 1 offline`.
    """

    vm: LabVm
    devices: Sequence[GuestDevice]
    told: Callable[[str], None]


@dataclass(frozen=True)
class Pulled:
    """Hold one disk that left a running guest while it was in use there."""

    vm: str
    device: str
    where: str


def settle(vm: LabVm, connected: Iterable[tuple[HostUsb, bool]]) -> list[Pulled]:
    """Let the guest find out what is connected now; return the disks that it lost while it used them.

    `connected` tells of each device whether it was plugged in after the guest had booted.
    """
    there = {id(device): (device, hot) for device, hot in connected}
    gone = [vm.guest_devices.pop(key) for key in [*vm.guest_devices] if key not in there]
    for key, (device, hot) in there.items():
        if key not in vm.guest_devices:
            vm.guest_devices[key] = _found(vm, device, hot=hot)
    if vm.power != "poweredOn":
        return []
    return [Pulled(vm.name, one.device.name, where) for one in gone if (where := one.in_use(vm))]


def boot(vm: LabVm) -> None:
    """Forget everything: what is connected is found anew, and seen, by the guest that boots."""
    vm.guest_devices.clear()
    vm.missed_once.clear()


def _found(vm: LabVm, device: HostUsb, *, hot: bool) -> GuestDevice:
    taken = {one.number for one in vm.guest_devices.values() if one.is_disk}
    number = next(n for n in range(1, 1000) if n not in taken)
    letter = chr(ord("D") + number) if vm.is_windows and number <= ord("Z") - ord("D") else ""
    missed = hot and (vm.blind == "until-reboot" or (vm.blind == "until-readd" and id(device) not in vm.missed_once))
    vm.missed_once.add(id(device))
    return GuestDevice(device, number, seen=not missed, letter=letter)
