"""The guest connector takes disks out of use and back, over the lab vCenter's wire; the lab judges what was pulled."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from passgate.connect.guest import GuestConnector, Login
from passgate.connect.vsphere.session import Session
from passgate.errors import NotAuthorizedError, RefusedError, UnreachableError
from passgate.lab import guest_control
from passgate.lab.guest_devices import GuestDevice
from passgate.lab.guests import GuestMachines
from passgate.lab.hardware import Fault, VirtualUsb
from passgate.lab.inventory_seed import LINUX_LOGIN, WINDOWS_LOGIN, seeded_world, usb_controller
from passgate.lab.vcenter import VCenterServer
from passgate.lab.vcenter.accounts import Account
from passgate.lab.world import World
from passgate.model.guest import GuestHardware, GuestUsb
from passgate.model.inventory import GuestFamily, HostId, UsbId, VmId
from passgate.settings.shape import LabWorld

USER, PASSWORD = "passgate@vsphere.local", "lab"
STICK = "0/1/3"
LOGINS = (
    Login(GuestFamily.WINDOWS, WINDOWS_LOGIN[0], lambda: WINDOWS_LOGIN[1]),
    Login(GuestFamily.LINUX, LINUX_LOGIN[0], lambda: LINUX_LOGIN[1]),
)
HOSTILE = """a'b"c$(touch x)`touch x`;\u2019;%PATH%!&|<> \\ #"""
"""A serial as no honest maker writes it; it is quoted in every shell on its way."""


@dataclass
class Site:
    """A running vCenter, the connector to its guests, and what was asked for authority."""

    world: World
    connector: GuestConnector
    session: Session
    disks: dict[str, MutableMapping[str, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def attach(self, name: str, *paths: str) -> None:
        """Give the running VM those devices of its host."""
        vm = self.world.vm(name)
        self.world.set_power(vm, "poweredOn")
        vm.devices.append(usb_controller("xhci"))
        for number, path in enumerate(paths or (STICK,), start=41000):
            vm.devices.append(VirtualUsb("usb", number, 14000, number, "USB", "", pattern=f"path:{path}"))
        self.world.changed()

    def inside(self, name: str, path: str = STICK) -> GuestDevice:
        """Return what the guest has of the device."""
        return self.world.guest_device(self.world.vm(name), path)

    def act(self, name: str, act: str, **how: Any) -> None:
        """Act inside the guest."""
        guest_control.act(self.world.vm(name), self.inside(name), {"act": act, **how})

    def vm(self, name: str) -> VmId:
        """Return what identifies the VM."""
        vm = self.world.vm(name)
        return VmId(ref=vm.ref, name=vm.name, uuid=vm.instance_uuid, host=self.host(name))

    def host(self, name: str) -> HostId:
        """Return what identifies its host."""
        host = self.world.vm(name).host
        return HostId(ref=host.ref, name=host.name, uuid=host.uuid)

    def device(self, name: str, path: str = STICK) -> UsbId:
        """Return what identifies the device."""
        one = self.world.vm(name).host.usb_at(path)
        return UsbId(host=self.host(name), vendor=one.vendor, product=one.product, path=path, serial=one.serial)

    def seen(self, name: str) -> GuestUsb:
        """Return the one device that the guest shows."""
        [seen] = self.connector.usb(self.vm(name))
        return seen

    def done(self) -> list[str]:
        """Return what was changed inside guests, oldest first."""
        return [one.method for one in self.world.mutations if one.wire == "inside"]

    def left(self) -> list[str]:
        """Return the files of ours that are still in guests."""
        return [name for disk in self.disks.values() for name in disk if "passgate" in name]


@pytest.fixture
def site() -> Iterator[Site]:
    """Start the lab's vCenter on a free port."""
    world = seeded_world(LabWorld(power_seconds=0, boot_seconds=0, reconfigure_seconds=0, connect_seconds=0))
    guests = GuestMachines(world)

    def run(vm_name: str, program: str, arguments: str, files: MutableMapping[str, bytes]) -> int:
        made.disks[vm_name] = files
        return guests.run(vm_name, program, arguments, files)

    server = VCenterServer(world, {USER: Account(PASSWORD)}, run)
    server.start()
    session = Session(server.url, user=USER, password=lambda: PASSWORD, ca=server.ca_pem)
    connector = GuestConnector(session, LOGINS, lambda action, subject: made.asked.append((action, subject)))
    made = Site(world, connector, session)
    yield made
    session.close()
    server.stop()
    world.close()


def test_linux_gives_back_every_mount_last_first(site: Site) -> None:
    """All mount points of the disk are unmounted after a sync; with them gone the disk may be taken away."""
    site.attach("lnx-01")
    for where in ("/mnt/backup", "/srv/it's \\ a place"):
        site.act("lnx-01", "mount", where=where)
    before = site.seen("lnx-01")
    assert before.in_use == "/mnt/backup, /srv/it's \\ a place"
    site.connector.release(site.vm("lnx-01"), site.device("lnx-01"))
    assert site.done() == ["sync", "umount /srv/it's \\ a place", "umount /mnt/backup"]
    assert site.seen("lnx-01").in_use == ""
    assert site.asked == [("release", "vm:vm-103")]
    assert site.left() == []
    site.connector.take_back(site.vm("lnx-01"), site.device("lnx-01"), before)
    assert site.seen("lnx-01").disks == before.disks
    site.world.unplug(site.world.vm("lnx-01").host, STICK)
    assert [one.where for one in site.world.pulled] == ["/mnt/backup, /srv/it's \\ a place"]


@pytest.mark.parametrize("fixed", [False, True], ids=["a stick", "a disk in an enclosure"])
def test_windows_takes_the_disk_out_of_use_and_back(site: Site, *, fixed: bool) -> None:
    """A fixed disk goes offline, a removable one loses its letter and stays dismounted; both come back as they were."""
    site.world.vm("win-01").host.usb_at(STICK).fixed_disk = fixed
    site.attach("win-01")
    before = site.seen("win-01")
    assert before.in_use == "E:"
    site.connector.release(site.vm("win-01"), site.device("win-01"))
    inside, seen = site.inside("win-01"), site.seen("win-01")
    assert (inside.offline, inside.dismounted) == (fixed, not fixed)
    assert (seen.in_use, seen.disks[0].state) == ("", "Offline" if fixed else "Online")
    site.connector.take_back(site.vm("win-01"), site.device("win-01"), before)
    assert site.seen("win-01") == before
    assert not site.inside("win-01").dismounted
    assert site.left() == []


@pytest.mark.parametrize("name", ["win-01", "lnx-01"])
def test_a_busy_disk_is_refused_with_where_and_by_whom(site: Site, name: str) -> None:
    """Nothing is forced: the error names mount and program, and what was unmounted before is mounted again."""
    site.attach(name)
    if name == "lnx-01":
        site.act(name, "mount", where="/mnt/backup")
        site.act(name, "mount", where="/mnt/other")
    site.act(name, "hold", program="rsync")
    before = site.seen(name)
    with pytest.raises(RefusedError) as caught:
        site.connector.release(site.vm(name), site.device(name))
    for word in ("/mnt/backup" if name == "lnx-01" else "E:", "rsync (process 2001)"):
        assert word in caught.value.message
    assert site.seen(name).in_use == before.in_use or set(site.inside(name).mounts) == {"/mnt/backup", "/mnt/other"}
    assert ("is mounted again" in caught.value.message) is (name == "lnx-01")
    site.act(name, "let-go")
    site.connector.release(site.vm(name), site.device(name))
    assert site.seen(name).in_use == ""


@pytest.mark.parametrize("name", ["win-01", "lnx-01"])
def test_without_authority_nothing_is_started(site: Site, name: str) -> None:
    """A connector for reading refuses both, and the guest is as it was."""
    site.attach(name)
    if name == "lnx-01":
        site.act(name, "mount", where="/mnt/backup")
    before = site.seen(name)
    reading = GuestConnector(site.session, LOGINS)
    with pytest.raises(NotAuthorizedError):
        reading.release(site.vm(name), site.device(name))
    site.connector.release(site.vm(name), site.device(name))
    released = site.done()
    with pytest.raises(NotAuthorizedError):
        reading.take_back(site.vm(name), site.device(name), before)
    assert site.done() == released
    assert site.left() == []


@pytest.mark.parametrize("name", ["win-01", "lnx-01"])
def test_a_second_time_does_nothing(site: Site, name: str) -> None:
    """What is out of use, or back, is left alone, and no authority is asked for it."""
    site.attach(name)
    if name == "lnx-01":
        site.act(name, "mount", where="/mnt/backup")
    before = site.seen(name)
    for _ in range(2):
        site.connector.release(site.vm(name), site.device(name))
    assert len(site.asked) == 1
    for _ in range(2):
        site.connector.take_back(site.vm(name), site.device(name), before)
    assert len(site.asked) == 2


@pytest.mark.parametrize("name", ["win-01", "lnx-01"])
@pytest.mark.parametrize("serial", [HOSTILE, "\u2018; Set-Disk 1; \u2018", "$(reboot)", "' \n '"])
def test_hostile_names_stay_names(site: Site, name: str, serial: str) -> None:
    """A serial full of quotes and commands names its disk and runs nothing."""
    device = site.world.vm(name).host.usb_at(STICK)
    device.serial = " ".join(serial.split())
    if name == "win-01":
        device.serial = device.serial.replace(
            "\\", ""
        )  # the separator in instance ids, which Windows lets no serial have
    device.name = "Evil 'maker' $(x)"
    site.attach(name)
    if name == "lnx-01":
        site.act(name, "mount", where="/mnt/$(touch x);'`\"*")
    before = site.seen(name)
    assert before.in_use
    site.connector.release(site.vm(name), site.device(name))
    assert site.seen(name).in_use == ""
    site.connector.take_back(site.vm(name), site.device(name), before)
    assert site.seen(name).in_use == before.in_use
    changes = {word.split(" ")[0] for word in site.done()}
    assert changes <= {"sync", "umount", "mount", "dismount", "remove", "add"}
    assert site.left() == []


def test_twins_that_look_alike_are_not_guessed(site: Site) -> None:
    """Of two sticks without serials the wrong one may be in use: that is refused by name."""
    host = site.world.vm("lnx-01").host
    host.usb_at("0/2/1").vendor, host.usb_at("0/2/1").product = 0x18A5, 0x0302
    for path in (STICK, "0/2/1"):
        host.usb_at(path).serial = None
    site.attach("lnx-01", STICK, "0/2/1")
    with pytest.raises(RefusedError, match="2 devices in the guest look like it"):
        site.connector.release(site.vm("lnx-01"), site.device("lnx-01"))
    assert site.done() == []


def test_a_device_without_disks_needs_nothing(site: Site) -> None:
    """A dongle has nothing to be taken out of use; no authority is asked."""
    device = UsbId(host=site.host("lic-01"), vendor=0x0529, product=1, path="0/1/2")
    site.connector.release(site.vm("lic-01"), device)
    assert site.asked == []


def test_a_disk_that_is_not_back_yet_is_waited_for(site: Site) -> None:
    """Right after a device was added the guest may not have it: that is safe to ask again."""
    site.attach("lnx-01")
    site.act("lnx-01", "mount", where="/mnt/backup")
    before = site.seen("lnx-01")
    site.world.vm("lnx-01").devices = [one for one in site.world.vm("lnx-01").devices if one.kind != "usb"]
    site.world.changed()
    hasty = GuestConnector(site.session, LOGINS, lambda *_: None, appears_within=0)
    with pytest.raises(UnreachableError) as caught:
        hasty.take_back(site.vm("lnx-01"), site.device("lnx-01"), before)
    assert caught.value.safe_to_repeat


@pytest.mark.parametrize("method", ["StartProgramInGuest", "ListProcessesInGuest", "InitiateFileTransferFromGuest"])
def test_files_are_removed_whatever_fails(site: Site, method: str) -> None:
    """The second program of a release fails on its way: no file of ours stays in the guest."""
    site.attach("lnx-01")
    site.act("lnx-01", "mount", where="/mnt/backup")
    site.world.inject(Fault(method))  # the first one, which looks, passes
    site.world.inject(Fault(method, fault="GuestOperationsUnavailable"))
    with pytest.raises(UnreachableError) as caught:
        site.connector.release(site.vm("lnx-01"), site.device("lnx-01"))
    assert "Nothing was changed" not in caught.value.hint
    assert site.left() == []


@pytest.mark.parametrize("name", ["win-01", "lnx-01"])
def test_the_guest_counts_its_cpus_and_memory(site: Site, name: str) -> None:
    """What the guest itself has is told, which is what its VM was given."""
    assert site.connector.hardware(site.vm(name)) == GuestHardware(cpus=2, memory_mb=4096)
    assert site.left() == []


@pytest.mark.parametrize(("name", "own"), [("win-01", "15ad:07c0"), ("lnx-01", "15ad:07c0")])
def test_the_guest_tells_its_pci_functions(site: Site, name: str, own: str) -> None:
    """Windows and Linux list what they have on PCI, with ids that can be compared with the host's."""
    assert own in {one.ids for one in site.connector.pci(site.vm(name))}
    assert site.left() == []
