"""Read what the scripts in this folder print: pure functions from text to devices.

They raise UnreachableError for text that is not a whole answer, which is safe to ask for again, and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from passgate.errors import UnreachableError, UnsupportedError
from passgate.model.guest import GuestDisk, GuestUsb

VIRTUAL: Final = {"0e0f:0002", "0e0f:0003"}  # VMware's virtual hub and mouse, in every guest with a USB controller
ROOT_HUBS: Final = 0x1D6B
INSTANCE: Final = re.compile(r"^USB\\VID_([0-9A-F]{4})&PID_([0-9A-F]{4})\\([^\\]+)$", re.IGNORECASE)
LSUSB: Final = re.compile(r"^Bus \d+ Device \d+: ID ([0-9a-fA-F]{4}):([0-9a-fA-F]{4})(.*)$")
IDS: Final = re.compile(r"^[0-9a-fA-F]{4}$")
SECTOR: Final = 512  # sysfs counts in these, whatever the disk's own sector size


def of_windows(text: str) -> tuple[GuestUsb, ...]:
    """Return the devices in what usb.ps1 printed."""
    answer = _json(next((line for line in text.splitlines() if line.startswith("{")), ""))
    if answer is None or "pnp" not in answer:
        raise _unreadable(text)
    pnp = tuple(_rows(answer["pnp"]))
    letters: dict[str, list[str]] = {}
    for row in _rows(answer.get("partitions")):
        if letter := _word(row, "DriveLetter"):
            letters.setdefault(_word(row, "DiskNumber"), []).append(f"{letter}:")
    disks = tuple(_windows_disk(row, letters) for row in _rows(answer.get("disks")))
    parents = {_word(row, "InstanceId").upper(): _word(row, "Data").upper() for row in _rows(answer.get("parents"))}
    return tuple(_outside(_windows_device(row, pnp, parents, disks) for row in pnp))


def _windows_device(
    row: dict[str, Any],
    pnp: tuple[dict[str, Any], ...],
    parents: dict[str, str],
    disks: tuple[tuple[GuestDisk, set[str]], ...],
) -> GuestUsb | None:
    """Return the device of a PnP row; None for interfaces of a device, children and root hubs."""
    instance = _word(row, "InstanceId")
    found = INSTANCE.match(instance)
    if not found:
        return None
    # Without a serial Windows makes the third part up, and marks that with an ampersand.
    serial = None if "&" in found[3] else found[3]
    children = {child for child, parent in parents.items() if parent == instance.upper()}
    if not children and serial:
        children = {one for other in pnp if _bears(one := _word(other, "InstanceId").upper(), serial)}
    drive = next((one for one in pnp if _word(one, "InstanceId").upper() in children), row)
    return GuestUsb(
        vendor=int(found[1], 16),
        product=int(found[2], 16),
        serial=serial,
        name=_word(drive, "FriendlyName") or _word(row, "FriendlyName"),
        status=_word(row, "Status"),
        disks=tuple(
            disk for disk, instances in disks
            if instances & children or (serial and disk.serial.upper() == serial.upper())
        ),
    )  # fmt: skip


def _bears(instance: str, serial: str) -> bool:
    r"""Say whether `USBSTOR\DISK&VEN_..\<serial>&0` bears that serial."""
    return instance.startswith("USBSTOR\\") and instance.rpartition("\\")[2].rpartition("&")[0] == serial.upper()


def _windows_disk(row: dict[str, Any], letters: dict[str, list[str]]) -> tuple[GuestDisk, set[str]]:
    r"""Return the disk and the PnP instances that it may be.

    Its path is its instance in other letters, `\\?\usbstor#disk&ven_..#<serial>&0#{class}`; its unique id mostly is
    `<instance>:<computer>`. A disk that is offline (SAN policy of Server editions) is told so, and never changed.
    """
    number = _word(row, "Number")
    disk = GuestDisk(
        name=f"Disk {number}",
        size=_count(row.get("Size")),
        state="Offline" if row.get("IsOffline") is True else _word(row, "OperationalStatus"),
        where=", ".join(letters.get(number, ())),
        serial=_word(row, "SerialNumber"),
    )
    path = _word(row, "Path").upper().removeprefix("\\\\?\\").rpartition("#")[0].replace("#", "\\")
    return disk, {path, _word(row, "UniqueId").upper().partition(":")[0]} - {""}


def of_linux(text: str) -> tuple[GuestUsb, ...]:
    """Return the devices in what usb.sh printed."""
    head, _, rest = text.partition("\nlsblk\n")
    lines = head.splitlines()
    blocks, end, _ = rest.rpartition("end\n")
    if not end or "passgate-usb" not in lines:
        raise _unreadable(text)
    if "unreadable" in lines:
        raise UnsupportedError(
            "The guest has neither sysfs nor lsusb, so its USB devices can't be listed.",
            hint="Mount /sys in the guest, or install usbutils there.",
        )
    blocks_by_name = {_word(row, "name"): row for row in _rows((_json(blocks) or {}).get("blockdevices"))}
    devices = [*_from_sysfs(lines, blocks_by_name), *_from_lsusb(lines)]
    return tuple(_outside(devices))


def _from_sysfs(lines: list[str], blocks: dict[str, dict[str, Any]]) -> Iterator[GuestUsb]:
    """Yield a device for each block of lines that `device` opens."""
    facts: list[tuple[str, str]] = []
    for line in [*lines, "device"]:
        if line != "device":
            key, _, value = line.partition(" ")
            facts.append((key, value.strip()))
            continue
        one = dict(facts)
        if IDS.match(one.get("idVendor", "")) and IDS.match(one.get("idProduct", "")):
            serial = one.get("serial") or None
            sizes = dict(value.split(" ", 1) for key, value in facts if key == "disk" and " " in value)
            by_serial = {name for name, row in blocks.items() if serial and _is_usb(row, serial)}
            yield GuestUsb(
                vendor=int(one["idVendor"], 16),
                product=int(one["idProduct"], 16),
                serial=serial,
                name=one.get("product", ""),
                speed=one.get("speed", ""),
                disks=tuple(
                    _linux_disk(name, sizes.get(name, ""), blocks.get(name, {}))
                    for name in sorted(by_serial | {*sizes})
                ),
            )
        facts = []


def _is_usb(row: dict[str, Any], serial: str) -> bool:
    return _word(row, "tran") == "usb" and _word(row, "serial") == serial


def _linux_disk(name: str, sectors: str, row: dict[str, Any]) -> GuestDisk:
    parts = (row, *_rows(row.get("children")))
    mounts = [str(mount) for one in parts for mount in _mounts(one) if mount]
    size = _count(row.get("size")) or SECTOR * _count(sectors)
    return GuestDisk(name=name, size=size, where=", ".join(mounts), serial=_word(row, "serial"))


def _mounts(row: dict[str, Any]) -> list[Any]:
    """Return the mount points of a row of lsblk, which old releases write as one."""
    several = row.get("mountpoints")
    return several if isinstance(several, list) else [row.get("mountpoint")]


def _from_lsusb(lines: list[str]) -> Iterator[GuestUsb]:
    """Yield what lsusb shows where there is no sysfs; it has no serials."""
    for found in filter(None, map(LSUSB.match, lines)):
        yield GuestUsb(vendor=int(found[1], 16), product=int(found[2], 16), name=found[3].strip())


def _outside(devices: Iterable[GuestUsb | None]) -> Iterator[GuestUsb]:
    """Leave out what every virtual machine has."""
    return (one for one in devices if one and one.vendor != ROOT_HUBS and one.vid_pid not in VIRTUAL)


def _json(text: str) -> dict[str, Any] | None:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _rows(data: object) -> Iterator[dict[str, Any]]:
    """Yield the objects of a list; ConvertTo-Json writes a list of one as that one."""
    return (row for row in (data if isinstance(data, list) else [data]) if isinstance(row, dict))


def _word(row: dict[str, Any], key: str) -> str:
    """Return a field as text; a drive letter that is not there comes as a NUL character."""
    value = row.get(key)
    return "" if value is None else str(value).strip(" \0")


def _count(value: object) -> int:
    """Return a size; old releases of lsblk write numbers as text."""
    try:
        return max(0, int(str(value)))
    except ValueError:
        return 0


def _unreadable(text: str) -> UnreachableError:
    said = next((line.strip() for line in text.splitlines() if line.strip()), "nothing")[:200]
    return UnreachableError(
        f"The guest's list of USB devices came back incomplete; it began with: {said!r}.",
        hint="Nothing was changed in the guest. Ask again.",
    )
