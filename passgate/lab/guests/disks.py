"""Give the lab's storage devices the sizes that guests show."""

from __future__ import annotations

from typing import Final

from passgate.lab.hardware import HostUsb

SIZES: Final = {(0x18A5, 0x0302): 15_518_924_800, (0x0781, 0x5583): 30_752_636_928}
OTHER: Final = 8_004_304_896


def disk_size(device: HostUsb) -> int:
    """Return the device's size in bytes."""
    return SIZES.get((device.vendor, device.product), OTHER)
