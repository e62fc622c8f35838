"""Describe what a guest says about its own devices."""

from __future__ import annotations

from passgate.model.frozen import Frozen
from passgate.model.usb import vid_pid


class GuestMount(Frozen):
    """Hold one place at which a guest has a disk mounted: a mount point, or a drive letter such as `E:`.

    `part` is the partition's number, 0 for the whole disk. `kind` and `options` are what Linux needs to mount it again.
    `whole` is False for a bind mount of a part of the file system, which can't be mounted again by itself.
    """

    where: str
    part: int = 0
    kind: str = ""
    options: str = ""
    whole: bool = True


class GuestDisk(Frozen):
    """Hold one disk behind a USB device; `size` in bytes, `where` the drive letter or mount point if it has one.

    `unique` is Windows' own id of it. `held_by` names what Linux has built on it, such as `dm-0` (LUKS, LVM) or swap.
    """

    name: str
    size: int = 0
    state: str = ""
    where: str = ""
    serial: str = ""
    unique: str = ""
    mounts: tuple[GuestMount, ...] = ()
    held_by: tuple[str, ...] = ()

    @property
    def in_use(self) -> str:
        """Return where the guest uses it, empty if it may be taken away; a disk that is offline is not in use."""
        if self.state.casefold() == "offline":
            return ""
        places = [one.where for one in self.mounts] or ([self.where] if self.where else [])
        return ", ".join(dict.fromkeys([*places, *self.held_by]))


class GuestUsb(Frozen):
    """Hold one USB device as the guest shows it.

    `status` is the guest's own word (`OK` in Windows), `speed` its own figure in Mbit/s (`480` in Linux). `kinds` is
    what it takes the device for: Windows' classes (`SmartCardReader`), or the USB class codes of its interfaces in
    Linux (`0b`); empty where the guest does not tell. Windows may show a serial in other case than the host does.
    `disks_known` is False where the guest could not say whether the device has disks; then nobody may take it for one
    without.
    """

    vendor: int
    product: int
    serial: str | None = None
    name: str = ""
    status: str = ""
    speed: str = ""
    kinds: tuple[str, ...] = ()
    disks: tuple[GuestDisk, ...] = ()
    disks_known: bool = True

    @property
    def vid_pid(self) -> str:
        """Return both ids in hex with four digits each."""
        return vid_pid(self.vendor, self.product)

    def may_be(self, vendor: int, product: int, serial: str | None) -> bool:
        """Say whether it may be the device with these ids; Windows shows serials in upper case, ports never agree."""
        same = not (self.serial and serial) or self.serial.casefold() == serial.casefold()
        return (self.vendor, self.product) == (vendor, product) and same

    @property
    def is_reader(self) -> bool | None:
        """Say whether the guest takes it for a smart-card reader; None where it does not tell."""
        return bool({"smartcardreader", "0b"} & {one.casefold() for one in self.kinds}) if self.kinds else None

    @property
    def in_use(self) -> str:
        """Return where the guest uses its disks, empty if the device may be taken away."""
        return ", ".join(one.in_use for one in self.disks if one.in_use)


class GuestPci(Frozen):
    """Hold one PCI function as the guest shows it; its address in the guest tells nothing of the host's."""

    vendor: int
    device: int
    address: str = ""
    name: str = ""
    status: str = ""

    @property
    def ids(self) -> str:
        """Return vendor and device in hex with four digits each."""
        return vid_pid(self.vendor, self.device)


class GuestHardware(Frozen):
    """Hold what a guest counts of its own: CPUs that are online, and memory in MiB, of which firmware keeps a part."""

    cpus: int
    memory_mb: int
