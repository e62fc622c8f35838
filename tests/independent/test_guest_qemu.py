"""Ask a real Linux for its USB devices, with the very program that is sent to guests.

The lab's guests know what the lab gave them; this one has a kernel, a hot-plug controller and a disk of its own. The
stick's ids are QEMU's; its serial, its size and what is mounted are ours.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from passgate.connect.guest import program
from passgate.connect.guest.reading import pci_of_linux
from passgate.connect.guest.releasing import Answer, release_of_linux, take_back_of_linux
from passgate.model.guest import GuestUsb
from passgate.model.inventory import GuestFamily, HostId, VmId
from tests.independent.guest_of_qemu import IDS, Guest, stick
from tests.independent.parts import until

pytestmark = pytest.mark.timeout(300)  # a guest without KVM boots in seconds, on a busy machine in minutes

XHCI = "1b36:000d"
"""The ids of QEMU's USB controller."""
SIZE = 8 << 20
DELAY = "/sys/module/usb_storage/parameters/delay_use"
"""Seconds that Linux lets a new disk settle; 1 as it comes. Only a test that wants the time between has it so."""
VM = VmId(ref="vm-1", name="lnx-qemu", uuid="", host=HostId(ref="host-1", name="qemu", uuid=""))


@pytest.fixture
def guest(linux: Guest) -> Iterator[Guest]:
    """Lend the guest with nothing plugged in and nothing mounted."""
    linux.sh(f"echo 0 >{DELAY}")
    yield linux
    linux.clear()
    linux.sh("umount /mnt 2>/dev/null; umount /mnt 2>/dev/null; true")
    seen(linux, lambda found: not found)


def seen(guest: Guest, wanted: Callable[[tuple[GuestUsb, ...]], bool]) -> tuple[GuestUsb, ...]:
    """Return what the guest sees, once it is as wanted: kernels take their time to find a disk."""
    return until(
        lambda: found if wanted(found := guest.usb(VM)) else None, "the guest to see what was plugged in", pause=0.2
    )


def with_disk(found: tuple[GuestUsb, ...]) -> bool:
    """Say whether there is a device, and each has its disk."""
    return bool(found) and all(one.disks for one in found)


def mounted(guest: Guest, image: Path) -> str:
    """Plug a stick in, format it and mount it in the guest; return the name to pull it by."""
    name = guest.plug_stick(image, "M1")
    [one] = seen(guest, with_disk)
    guest.sh(f"mkdosfs /dev/{one.disks[0].name}1 && mount -t vfat /dev/{one.disks[0].name}1 /mnt")
    return name


def test_a_stick_is_seen_from_plug_to_pull(guest: Guest, tmp_path: Path) -> None:
    """Nothing before; ids, serial, speed and disk while it is in; nothing after it was pulled."""
    assert guest.usb(VM) == ()

    name = guest.plug_stick(stick(tmp_path / "image"), "07A40901A2B3C4D5")
    [one] = seen(guest, with_disk)

    assert (one.vid_pid, one.serial, one.name, one.speed) == (IDS, "07A40901A2B3C4D5", "QEMU USB HARDDRIVE", "5000")
    [disk] = one.disks
    assert disk.name.startswith("sd")
    assert (disk.size, disk.where) == (SIZE, "")

    guest.pull(name)
    assert seen(guest, lambda found: not found) == ()


def test_twins_are_told_apart(guest: Guest, tmp_path: Path) -> None:
    """Of two sticks with the same ids each has its own disk, and the one that stays is the one that was not pulled."""
    names = {serial: guest.plug_stick(stick(tmp_path / serial, size), serial) for serial, size in (("A", 8), ("B", 16))}
    both = seen(guest, lambda found: len(found) == len(names) and with_disk(found))
    assert {one.serial: one.disks[0].size for one in both} == {"A": SIZE, "B": 2 * SIZE}
    assert both[0].disks[0].name != both[1].disks[0].name

    guest.pull(names["A"])
    [left] = seen(guest, lambda found: len(found) == 1)
    assert (left.serial, left.disks[0].size) == ("B", 2 * SIZE)


def test_a_reader_of_smart_cards_has_no_disk(guest: Guest) -> None:
    """A device that is no disk is seen beside one that is."""
    guest.plug("usb-ccid", "reader", bus="xhci.0")
    [reader] = seen(guest, bool)
    assert (reader.vid_pid, reader.name, reader.disks) == ("08e6:4433", "QEMU USB CCID", ())


def test_a_mounted_disk_says_where(guest: Guest, tmp_path: Path) -> None:
    """A file system on the stick's partition is told with its mount point, and no longer once it is unmounted."""
    mounted(guest, stick(tmp_path / "image"))
    assert [disk.where for one in guest.usb(VM) for disk in one.disks] == ["/mnt"]

    guest.sh("umount /mnt")
    assert [disk.where for one in guest.usb(VM) for disk in one.disks] == [""]


def test_a_stick_pulled_while_it_is_written_to_is_gone(guest: Guest, tmp_path: Path) -> None:
    """The program ends and says so, the file system still mounted; a stick in its place has nothing mounted."""
    image = stick(tmp_path / "image")
    name = mounted(guest, image)
    writing = guest.start("while dd if=/dev/zero of=/mnt/data bs=64k count=40 conv=fsync; do :; done; exit 5")
    until(lambda: True if int(guest.sh("stat -c %s /mnt/data 2>/dev/null || echo 0")) else None, "the first writing")
    assert writing() is None

    guest.pull(name)

    assert seen(guest, lambda found: not found) == ()
    assert until(writing, "the writer to fail") == 5
    assert "/mnt" in guest.sh("cat /proc/mounts")
    guest.plug_stick(stick(tmp_path / "other"), "N1")
    [other] = seen(guest, with_disk)
    assert (other.serial, other.disks[0].where) == ("N1", "")


def test_each_answer_is_whole_while_devices_come_and_go(guest: Guest, tmp_path: Path) -> None:
    """Asked at any moment of a plugging, the guest shows the stick as it is or not at all."""
    answers = []
    guest.sh(f"echo 1 >{DELAY}")
    for turn in range(2):
        name = guest.plug_stick(stick(tmp_path / f"image{turn}"), f"T{turn}")
        answers += [guest.usb(VM) for _ in range(3)]
        guest.pull(name)
        answers += [guest.usb(VM)]
        seen(guest, lambda found: not found)
    assert {one.vid_pid for found in answers for one in found} <= {IDS}
    assert {one.serial for found in answers for one in found} <= {"T0", "T1"}
    assert {len(found) for found in answers} == {0, 1}


def test_a_guest_without_lsblk_still_shows_the_disk(guest: Guest, tmp_path: Path) -> None:
    """Size comes from sysfs where there is no lsblk, and what is mounted from the kernel's own list."""
    mounted(guest, stick(tmp_path / "image"))
    guest.sh("mv /bin/lsblk /bin/away")
    try:
        [one] = guest.usb(VM)
    finally:
        guest.sh("mv /bin/away /bin/lsblk")
    assert [(disk.size, disk.where) for disk in one.disks] == [(SIZE, "/mnt")]


def test_an_account_without_rights_sees_the_same(guest: Guest, tmp_path: Path) -> None:
    """The program needs no root: what it says under an ordinary account is what it says under root."""
    mounted(guest, stick(tmp_path / "image"))
    assert guest.usb(VM, user="nobody") == guest.usb(VM)


def released(guest: Guest, one: GuestUsb) -> Answer:
    """Run the release of the device's one disk."""
    return release_of_linux(guest.printed(lambda to: program.release(GuestFamily.LINUX, one, one.disks[0], to)))


def taken_back(guest: Guest, one: GuestUsb) -> Answer:
    """Mount again what that reading of the device shows mounted."""
    return take_back_of_linux(guest.printed(lambda to: program.take_back(GuestFamily.LINUX, one, one.disks[0], to)))


@pytest.mark.parametrize("folder", ["/mnt", "/mnt/it's a \\ $(place)"], ids=["plain", "strange"])
def test_a_disk_is_released_and_taken_back(guest: Guest, tmp_path: Path, folder: str) -> None:
    """A real kernel unmounts it, what was written is on the stick, and it comes back after it was plugged in anew."""
    name = mounted(guest, image := stick(tmp_path / "image"))
    place = shlex.quote(folder)
    guest.sh(f"umount /mnt && mkdir -p {place} && mount -t vfat /dev/$(ls /sys/block | grep sd)1 {place}")
    guest.sh(f"echo precious > {place}/data")
    [one] = seen(guest, with_disk)
    assert one.in_use == folder
    assert released(guest, one) == Answer(unmounted=(folder,))
    [now] = guest.usb(VM)
    assert now.in_use == ""
    assert released(guest, one) == Answer()
    guest.pull(name)
    seen(guest, lambda found: not found)
    assert taken_back(guest, one).gone
    guest.plug_stick(image, "M1")
    seen(guest, with_disk)
    for _ in range(2):
        assert taken_back(guest, one) == Answer()
    assert guest.sh(f"cat {place}/data") == "precious\n"
    guest.sh(f"umount {place}")


def test_a_busy_disk_stays_and_names_who_holds_it(guest: Guest, tmp_path: Path) -> None:
    """A program that writes below the mount point keeps it; it is named, and goes on writing."""
    mounted(guest, stick(tmp_path / "image"))
    [one] = guest.usb(VM)
    writing = guest.start("exec 3>/mnt/data; sleep 60 & echo $! >/tmp/sleeper; wait")
    until(lambda: guest.sh("cat /tmp/sleeper 2>/dev/null || true").strip() or None, "the writer")
    answer = released(guest, one)
    assert "/mnt is busy" in answer.refused
    assert "sleep (process " in answer.refused
    assert answer.unmounted == ()
    assert writing() is None
    assert guest.usb(VM)[0].in_use == "/mnt"
    guest.sh("kill $(cat /tmp/sleeper)")
    until(writing, "the writer to end")
    assert released(guest, one) == Answer(unmounted=("/mnt",))


def test_a_disk_with_swap_on_it_is_named_as_such(guest: Guest, tmp_path: Path) -> None:
    """What is not mounted but used all the same is never taken away."""
    guest.plug_stick(stick(tmp_path / "image"), "S1")
    [one] = seen(guest, with_disk)
    part = f"/dev/{one.disks[0].name}1"
    guest.sh(f"mkswap {part} && swapon {part}")
    try:
        [one] = guest.usb(VM)
        assert one.disks[0].held_by == ("swap",)
        assert "swap" in released(guest, one).refused
    finally:
        guest.sh(f"swapoff {part}")


def functions(guest: Guest) -> list[str]:
    """Return the ids of the PCI functions that the guest sees."""
    found = pci_of_linux(guest.printed(lambda output: program.list_pci(GuestFamily.LINUX, output)))
    return [one.ids for one in found]


def test_a_whole_controller_is_seen_with_what_hangs_on_it(guest: Guest, tmp_path: Path) -> None:
    """A USB controller that is passed through whole is one more PCI function, its stick one more device."""
    assert functions(guest).count(XHCI) == 1

    guest.plug("qemu-xhci", "card", bus="bay")
    until(lambda: True if functions(guest).count(XHCI) == 2 else None, "the guest to see the card")
    guest.plug_stick(stick(tmp_path / "image"), "C1", bus="card.0")
    [one] = seen(guest, with_disk)
    assert (one.vid_pid, one.serial) == (IDS, "C1")

    guest.pull("card")
    until(lambda: True if functions(guest).count(XHCI) == 1 else None, "the card to be gone")
    seen(guest, lambda found: not found)
