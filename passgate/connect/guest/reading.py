"""Read what the scripts in this folder print: pure functions from text to devices.

They raise UnreachableError for text that is not a whole answer, which is safe to ask for again, and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from passgate.connect.guest.mounts import Mountinfo
from passgate.errors import UnreachableError, UnsupportedError
from passgate.model.guest import GuestDisk, GuestHardware, GuestMount, GuestPci, GuestUsb

VIRTUAL: Final = {"0e0f:0002", "0e0f:0003"}  # VMware's virtual hub and mouse, in every guest with a USB controller
ROOT_HUBS: Final = 0x1D6B
INSTANCE: Final = re.compile(r"^USB\\VID_([0-9A-F]{4})&PID_([0-9A-F]{4})\\([^\\]+)$", re.IGNORECASE)
LSUSB: Final = re.compile(r"^Bus \d+ Device \d+: ID ([0-9a-fA-F]{4}):([0-9a-fA-F]{4})(.*)$")
PCI: Final = re.compile(r"^PCI\\VEN_([0-9A-F]{4})&DEV_([0-9A-F]{4})", re.IGNORECASE)
FUNCTION: Final = re.compile(r"^pci (\S+) 0x([0-9a-fA-F]{4}) 0x([0-9a-fA-F]{4})$")
IDS: Final = re.compile(r"^[0-9a-fA-F]{4}$")
SECTOR: Final = 512  # sysfs counts in these, whatever the disk's own sector size


def of_windows(text: str) -> tuple[GuestUsb, ...]:
    """Return the devices in what usb.ps1 printed."""
    answer = _json(next((line for line in text.splitlines() if line.startswith("{")), ""))
    if answer is None or "pnp" not in answer:
        raise _unreadable(text)
    pnp = tuple(_rows(answer["pnp"]))
    partitions: dict[str, list[dict[str, Any]]] = {}
    for row in _rows(answer.get("partitions")):
        partitions.setdefault(_word(row, "DiskNumber"), []).append(row)
    disks = tuple(_windows_disk(row, partitions.get(_word(row, "Number"), [])) for row in _rows(answer.get("disks")))
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
    found_disks = tuple(
        disk for disk, instances in disks
        if instances & children or (serial and disk.serial.upper() == serial.upper())
    )  # fmt: skip
    return GuestUsb(
        vendor=int(found[1], 16),
        product=int(found[2], 16),
        serial=serial,
        name=_word(drive, "FriendlyName") or _word(row, "FriendlyName"),
        status=_word(row, "Status"),
        kinds=_kinds(row, pnp, f"USB\\VID_{found[1]}&PID_{found[2]}&MI_".upper()),
        disks=found_disks,
        # A drive whose disk Get-Disk does not show: an account without the rights for it sees none.
        disks_known=drive is row or bool(found_disks),
    )


def _kinds(row: dict[str, Any], pnp: tuple[dict[str, Any], ...], interfaces: str) -> tuple[str, ...]:
    """Return the classes that Windows gives the device and its interfaces."""
    mine = [row, *(other for other in pnp if _word(other, "InstanceId").upper().startswith(interfaces))]
    return tuple(dict.fromkeys(kind for one in mine if (kind := _word(one, "Class"))))


def _bears(instance: str, serial: str) -> bool:
    r"""Say whether `USBSTOR\DISK&VEN_..\<serial>&0` bears that serial."""
    return instance.startswith("USBSTOR\\") and instance.rpartition("\\")[2].rpartition("&")[0] == serial.upper()


def _windows_disk(row: dict[str, Any], partitions: list[dict[str, Any]]) -> tuple[GuestDisk, set[str]]:
    r"""Return the disk and the PnP instances that it may be.

    Its path is its instance in other letters, `\\?\usbstor#disk&ven_..#<serial>&0#{class}`; its unique id mostly is
    `<instance>:<computer>`. A disk that is offline (SAN policy of Server editions) is told so, and never changed.
    """
    mounts = tuple(mount for part in partitions for mount in _windows_mounts(part))
    unique = row.get("UniqueId")
    disk = GuestDisk(
        name=f"Disk {_word(row, 'Number')}",
        size=_count(row.get("Size")),
        state="Offline" if row.get("IsOffline") is True else _word(row, "OperationalStatus"),
        where=", ".join(one.where for one in mounts),
        serial=_word(row, "SerialNumber"),
        unique=unique if isinstance(unique, str) else "",
        mounts=mounts,
    )
    path = _word(row, "Path").upper().removeprefix("\\\\?\\").rpartition("#")[0].replace("#", "\\")
    return disk, {path, _word(row, "UniqueId").upper().partition(":")[0]} - {""}


def _windows_mounts(part: dict[str, Any]) -> Iterator[GuestMount]:
    """Yield the letter of a partition, and the folders at which it is mounted; volume names are no mounts."""
    number = _count(part.get("PartitionNumber"))
    letter = _word(part, "DriveLetter")
    if letter:
        yield GuestMount(where=f"{letter}:", part=number)
    paths = part.get("AccessPaths")
    for path in paths if isinstance(paths, list) else [paths]:
        folder = path.rstrip("\\") if isinstance(path, str) else ""
        if folder and not folder.startswith("\\\\?\\") and folder.upper() != f"{letter}:".upper():
            yield GuestMount(where=folder, part=number)


def of_linux(text: str) -> tuple[GuestUsb, ...]:
    """Return the devices in what usb.sh printed."""
    head, _, rest = text.partition("\nlsblk\n")
    lines = head.split("\n")  # splitlines would end a line at a form feed in a mount point's name, too
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
    mounted = Mountinfo.read(lines)
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
                kinds=tuple(dict.fromkeys(value for key, value in facts if key == "kind" and value)),
                disks=tuple(
                    _linux_disk(name, sizes.get(name, ""), blocks.get(name, {}), mounted.of_disk(name, facts))
                    for name in sorted(by_serial | {*sizes})
                ),
            )
        facts = []


def _is_usb(row: dict[str, Any], serial: str) -> bool:
    return _word(row, "tran") == "usb" and _word(row, "serial") == serial


def _linux_disk(
    name: str, sectors: str, row: dict[str, Any], known: tuple[tuple[GuestMount, ...], tuple[str, ...]]
) -> GuestDisk:
    """Return the disk; the kernel's own list of mounts goes before lsblk's."""
    mounts, held_by = known
    parts = (row, *_rows(row.get("children")))
    places = [one.where for one in mounts] or [str(mount) for one in parts for mount in _mounts(one) if mount]
    size = _count(row.get("size")) or SECTOR * _count(sectors)
    return GuestDisk(
        name=name, size=size, where=", ".join(places), serial=_word(row, "serial"), mounts=mounts, held_by=held_by
    )


def _mounts(row: dict[str, Any]) -> list[Any]:
    """Return the mount points of a row of lsblk, which old releases write as one."""
    several = row.get("mountpoints")
    return several if isinstance(several, list) else [row.get("mountpoint")]


def _from_lsusb(lines: list[str]) -> Iterator[GuestUsb]:
    """Yield what lsusb shows where there is no sysfs; it has no serials."""
    for found in filter(None, map(LSUSB.match, lines)):
        yield GuestUsb(vendor=int(found[1], 16), product=int(found[2], 16), name=found[3].strip(), disks_known=False)


def pci_of_windows(text: str) -> tuple[GuestPci, ...]:
    """Return the functions in what pci.ps1 printed."""
    answer = _json(next((line for line in text.splitlines() if line.startswith("{")), ""))
    if answer is None or "pci" not in answer:
        raise _unreadable(text, "PCI functions")
    found = ((row, PCI.match(_word(row, "InstanceId"))) for row in _rows(answer["pci"]))
    return tuple(
        GuestPci(
            vendor=int(ids[1], 16),
            device=int(ids[2], 16),
            address=_word(row, "InstanceId"),
            name=_word(row, "FriendlyName"),
            status=_word(row, "Status"),
        )
        for row, ids in found
        if ids
    )


def pci_of_linux(text: str) -> tuple[GuestPci, ...]:
    """Return the functions in what pci.sh printed."""
    lines = text.splitlines()
    if "passgate-pci" not in lines or "end" not in lines:
        raise _unreadable(text, "PCI functions")
    if "unreadable" in lines:
        raise UnsupportedError(
            "The guest has no sysfs, so its PCI functions can't be listed.", hint="Mount /sys in the guest."
        )
    found = filter(None, map(FUNCTION.match, lines))
    return tuple(GuestPci(vendor=int(one[2], 16), device=int(one[3], 16), address=one[1]) for one in found)


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


def hardware_of_windows(text: str) -> GuestHardware:
    """Return what hardware.ps1 printed."""
    answer = _json(next((line for line in text.splitlines() if line.startswith("{")), "")) or {}
    cpus, memory = _count(answer.get("NumberOfLogicalProcessors")), _count(answer.get("TotalPhysicalMemory"))
    if not cpus or not memory:
        raise _unreadable(text, "CPUs and memory")
    return GuestHardware(cpus=cpus, memory_mb=memory >> 20)


def hardware_of_linux(text: str) -> GuestHardware:
    """Return what hardware.sh printed."""
    facts = dict(line.partition(" ")[::2] for line in text.splitlines())
    cpus, memory = _count(facts.get("cpus")), _count(facts.get("memory_kb"))
    if "passgate-hardware" not in facts or "end" not in facts or not cpus or not memory:
        raise _unreadable(text, "CPUs and memory")
    return GuestHardware(cpus=cpus, memory_mb=memory >> 10)


def _unreadable(text: str, what: str = "USB devices") -> UnreachableError:
    said = next((line.strip() for line in text.splitlines() if line.strip()), "nothing")[:200]
    return UnreachableError(
        f"The guest's list of {what} came back incomplete; it began with: {said!r}.",
        hint="Nothing was changed in the guest. Ask again.",
    )
