"""What guests print about their mounts is read whole or refused in words, and what is handed to them stays one word."""

from __future__ import annotations

import json
import re
import shlex
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passgate.connect.guest import program
from passgate.connect.guest.mounts import Mountinfo, plain
from passgate.connect.guest.reading import of_linux, of_windows, pci_of_linux, pci_of_windows
from passgate.connect.guest.releasing import Answer, release_of_linux, take_back_of_linux
from passgate.connect.guest.releasing import of_windows as answered
from passgate.errors import UnreachableError, UnsupportedError
from passgate.lab.guests import powershell
from passgate.lab.guests.mounting import line_of
from passgate.model.guest import GuestDisk, GuestMount, GuestUsb
from passgate.model.inventory import GuestFamily

STICK = GuestUsb(vendor=0x18A5, product=0x0302, serial="S1")
NAMES = st.text(st.characters(exclude_characters="\0\n\r", exclude_categories=["Cs"]), min_size=1, max_size=30)


def escaped(text: str) -> str:
    """Write a name as the kernel does in mountinfo."""
    return re.sub(r"[ \t\n\\]", lambda found: f"\\{ord(found[0]):03o}", text)


def linux(mountinfo: list[str], device: str) -> str:
    """Return what usb.sh prints."""
    lines = "".join(f"mountinfo {line}\n" for line in mountinfo)
    return f"passgate-usb\n{lines}device\nidVendor 18a5\nidProduct 0302\nserial S1\n{device}lsblk\nend\n"


PARTS = "disk sdb 100\npart sdb sdb 0 8:16\npart sdb sdb1 1 8:17\n"


@given(NAMES)
def test_mount_points_are_read_as_they_are(where: str) -> None:
    """Blanks and backslashes come back from the kernel's own writing."""
    line = " ".join(map(escaped, line_of("/dev/sdb1", "8:17", f"/mnt/{where}", 1)))
    [one] = of_linux(linux([line], PARTS))
    assert [mount.where for mount in one.disks[0].mounts] == [f"/mnt/{where}"]
    assert one.in_use == f"/mnt/{where}"


def test_what_is_on_the_disk_is_found_by_number_or_name() -> None:
    """A partition is known by its numbers, btrfs by its source; other disks are left out, and so is half a line."""
    lines = [
        "30 1 8:17 / /mnt/a rw,noatime shared:5 master:1 - vfat /dev/disk/by-uuid/x rw,utf8",
        "31 1 0:45 /sub /mnt/b rw - btrfs /dev/sdb1 rw,subvol=/sub",
        "32 1 8:17 /deep /mnt/c rw - vfat /dev/sdb1 rw",
        "33 1 8:33 / /mnt/d rw - vfat /dev/sdc1 rw",
        "34 1 8:17 / /mnt/e",
    ]
    [one] = of_linux(linux(lines, PARTS))
    assert one.disks[0].mounts == (
        GuestMount(where="/mnt/a", part=1, kind="vfat", options="rw,noatime,utf8"),
        GuestMount(where="/mnt/b", part=1, kind="btrfs", options="rw,subvol=/sub"),
        GuestMount(where="/mnt/c", part=1, kind="vfat", options="rw", whole=False),
    )


def test_what_is_built_on_the_disk_keeps_it_in_use() -> None:
    """LUKS, LVM, RAID and swap hold a disk with nothing of it mounted."""
    text = linux([], PARTS + "held sdb dm-0\n").replace("device\n", "swap /dev/sdb1\ndevice\n", 1)
    [one] = of_linux(text)
    assert one.disks[0].held_by == ("swap", "dm-0")
    assert one.in_use == "swap, dm-0"


@given(st.text(max_size=200))
def test_no_text_of_a_guest_breaks_the_reading(text: str) -> None:
    """Whatever comes, the answer is a reading, or an error that is safe to repeat."""
    Mountinfo.read([f"mountinfo {text}", f"swap {text}", text]).of_disk("sdb", [("part", text), ("held", text)])
    for read in (release_of_linux, take_back_of_linux, answered, pci_of_linux, pci_of_windows):
        with suppress(UnreachableError, UnsupportedError):
            read(text)
    whole = f"passgate-release\npassgate-take-back\npassgate-pci\n{text}\nend\n"
    release_of_linux(whole)
    take_back_of_linux(whole)
    with suppress(UnsupportedError):
        pci_of_linux(whole)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda one: st.lists(one, max_size=3)
                    | st.dictionaries(st.sampled_from(["refused", "there", "users", "Id", "pci"]), one)))  # fmt: skip
def test_no_json_of_windows_breaks_the_reading(data: Any) -> None:
    """PowerShell may write anything in place of a list."""
    for read in (answered, pci_of_windows):
        with suppress(UnreachableError):
            read(json.dumps(data))
    with suppress(UnreachableError):
        of_windows(json.dumps({"pnp": [], "disks": [data], "partitions": [data]}))


def test_a_busy_release_says_where_and_who() -> None:
    """Mount, the tool's own words and the programs are in one sentence; what went before is told too."""
    text = (
        "passgate-release\nunmounted /mnt/b\nbusy /mnt/a\\040x umount: target is busy. \nholder 7 rsync\nend\n"
        "Trailing words of a profile\n"
    )
    answer = release_of_linux(text)
    assert answer.refused == "/mnt/a x is busy (umount: target is busy.); used by rsync (process 7)"
    assert answer.unmounted == ("/mnt/b",)
    held = release_of_linux("passgate-release\nheld sdb1 dm-0\nelsewhere 9 containerd\nend\n").refused
    assert "sdb1 is in use by dm-0" in held
    assert "containerd (process 9)" in held
    assert release_of_linux("passgate-release\ngone\nend\n") == Answer(gone=True)


def test_windows_answers_are_put_into_words() -> None:
    """The return values of Win32_Volume.Dismount are said as what they mean, once each."""
    answer = answered('{"there":{"Number":1},"refused":[4,4],"users":{"Id":7,"ProcessName":"robocopy"}}')
    assert answer == Answer(refused="a program uses it; used by robocopy (process 7)")
    assert answered('{"there":[],"refused":[],"users":[]}').gone
    assert answered('{"there":[{"Number":1}],"refused":99,"users":null}').refused == "Windows answered 99"


@given(NAMES)
def test_powershell_takes_a_quoted_text_as_itself(text: str) -> None:
    """Each of PowerShell's kinds of single quotes is doubled, so no serial ends its string."""
    literal = program.quoted(text)
    inside = literal[1:-1]
    assert re.fullmatch("(?:[^'\u2018-\u201b]|(['\u2018-\u201b])\\1)*", inside)
    assert powershell.run(f"$x = {literal}; $x", {}) == f"{text}\n"


@given(NAMES, NAMES)
def test_sh_takes_serial_and_mount_point_as_themselves(serial: str, where: str) -> None:
    """A shell that reads the beginning of the script sees the same words."""
    disk = GuestDisk(name="sdb", mounts=(GuestMount(where=where, part=1, kind="vfat", options="rw"),))
    device = STICK.model_copy(update={"serial": serial})
    made = program.take_back(GuestFamily.LINUX, device, disk, "/tmp/x")  # noqa: S108 - a path in a guest
    script = shlex.split(made.arguments)[1]
    words = shlex.split(script[: script.index("# Mount partitions")].lstrip("( "))
    assert f"serial={serial}" in words
    assert words[words.index("--") + 1 :] == ["1", where, "vfat", "rw"]


def test_a_disk_of_windows_must_have_a_number() -> None:
    """What is written into the script without quotes is a number, or nothing is written."""
    with pytest.raises(UnsupportedError):
        program.release(GuestFamily.WINDOWS, STICK, GuestDisk(name="Disk 1; Set-Disk 0"), "x")
    with pytest.raises(UnsupportedError):
        program.release(GuestFamily.OTHER, STICK, GuestDisk(name="sdb"), "x")


def test_folders_are_mounts_in_windows_and_volume_names_are_not() -> None:
    """A partition without a letter may be in use through a folder."""
    disk = {"Number": 1, "SerialNumber": "S1", "UniqueId": "U", "OperationalStatus": "Online"}
    paths = ["E:\\", "C:\\data\\stick\\", "\\\\?\\Volume{1}\\"]
    part = {"DiskNumber": 1, "PartitionNumber": 2, "DriveLetter": "E", "AccessPaths": paths}
    pnp = [{"Status": "OK", "Class": "USB", "FriendlyName": "x", "InstanceId": r"USB\VID_18A5&PID_0302\S1"}]
    [one] = of_windows(json.dumps({"pnp": pnp, "disks": [disk], "partitions": [part]}))
    assert [(mount.part, mount.where) for mount in one.disks[0].mounts] == [(2, "E:"), (2, "C:\\data\\stick")]
    assert one.disks[0].unique == "U"


def test_a_drive_without_its_disk_is_not_taken_for_a_device_without_disks() -> None:
    """An account without rights sees no disks in Windows, lsusb shows none at all: then nobody knows."""
    pnp = [
        {"Status": "OK", "Class": "USB", "FriendlyName": "x", "InstanceId": r"USB\VID_18A5&PID_0302\S1"},
        {"Status": "OK", "Class": "DiskDrive", "FriendlyName": "y", "InstanceId": r"USBSTOR\DISK&VEN_V\S1&0"},
    ]
    [one] = of_windows(json.dumps({"pnp": pnp, "disks": None}))
    assert not one.disks_known
    [other] = of_linux("passgate-usb\nBus 001 Device 002: ID 0529:0001 Aladdin\nlsblk\nend\n")
    assert not other.disks_known


def test_plain_leaves_other_backslashes_alone() -> None:
    """Only three octal digits are an escape."""
    assert plain(r"\040a\8\134b") == " a\\8\\b"
