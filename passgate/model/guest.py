"""Describe what a guest says about its own devices."""

from __future__ import annotations

from passgate.model.frozen import Frozen
from passgate.model.usb import vid_pid


class GuestDisk(Frozen):
    """Hold one disk behind a USB device; `size` in bytes, `where` the drive letter or mount point if it has one."""

    name: str
    size: int = 0
    state: str = ""
    where: str = ""
    serial: str = ""


class GuestUsb(Frozen):
    """Hold one USB device as the guest shows it.

    `status` is the guest's own word (`OK` in Windows), `speed` its own figure in Mbit/s (`480` in Linux). Windows may
    show a serial in other case than the host does.
    """

    vendor: int
    product: int
    serial: str | None = None
    name: str = ""
    status: str = ""
    speed: str = ""
    disks: tuple[GuestDisk, ...] = ()

    @property
    def vid_pid(self) -> str:
        """Return both ids in hex with four digits each."""
        return vid_pid(self.vendor, self.product)
