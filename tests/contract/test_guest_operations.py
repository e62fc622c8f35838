"""The guest connector speaks to guests over the lab vCenter's wire: SOAP, then HTTPS for what was printed."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field

import pytest

from passgate.connect.guest import GuestConnector, Login
from passgate.connect.vsphere.session import Session
from passgate.errors import LoginError, PassgateError, RefusedError, UnconfirmedError, UnreachableError
from passgate.lab.guests import GuestMachines
from passgate.lab.hardware import Fault, VirtualUsb
from passgate.lab.inventory_seed import LINUX_LOGIN, WINDOWS_LOGIN, seeded_world, usb_controller
from passgate.lab.vcenter import VCenterServer
from passgate.lab.vcenter.accounts import Account
from passgate.lab.world import World
from passgate.model.inventory import GuestFamily, HostId, VmId
from passgate.settings.shape import LabWorld

USER, PASSWORD = "passgate@vsphere.local", "lab"
LOGINS = (
    Login(GuestFamily.WINDOWS, WINDOWS_LOGIN[0], lambda: WINDOWS_LOGIN[1]),
    Login(GuestFamily.LINUX, LINUX_LOGIN[0], lambda: LINUX_LOGIN[1]),
)
GUESTS = ("win-01", "lnx-01")


@dataclass
class Site:
    """A running vCenter, a session with it, and the disks of the guests that were worked on."""

    world: World
    session: Session
    disks: dict[str, MutableMapping[str, bytes]] = field(default_factory=dict)
    ends_with: int | None = None

    def vm(self, name: str) -> VmId:
        """Return what identifies the VM."""
        vm = self.world.vm(name)
        host = HostId(ref=vm.host.ref, name=vm.host.name, uuid=vm.host.uuid)
        return VmId(ref=vm.ref, name=vm.name, uuid=vm.instance_uuid, host=host)

    def attach(self, name: str) -> None:
        """Give the VM an xHCI controller with the Verbatim stick."""
        vm = self.world.vm(name)
        vm.devices.append(usb_controller("xhci"))
        vm.devices.append(VirtualUsb("usb", 41000, 14000, 41000, "USB 1", "", pattern="path:0/1/3"))
        self.world.changed()

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
        code = guests.run(vm_name, program, arguments, files)
        if made.ends_with is None:
            return code
        for name in [one for one in files if "passgate" in one]:
            files[f"{name}.part"] = b"Access is denied.\r\n"
        return made.ends_with

    server = VCenterServer(world, {USER: Account(PASSWORD)}, run)
    server.start()
    session = Session(server.url, user=USER, password=lambda: PASSWORD, ca=server.ca_pem)
    made = Site(world, session)
    yield made
    session.close()
    server.stop()
    world.close()


@pytest.mark.parametrize("name", GUESTS)
def test_the_guest_tells_the_stick_and_keeps_nothing_of_ours(site: Site, name: str) -> None:
    """The device comes with serial and disk, and every temporary file is gone from the guest."""
    connector = GuestConnector(site.session, LOGINS)
    assert connector.usb(site.vm(name)) == ()
    site.attach(name)
    [seen] = connector.usb(site.vm(name))
    assert (seen.vid_pid, seen.serial) == ("18a5:0302", "07A40901A2B3C4D5")
    assert [disk.size for disk in seen.disks] == [15518924800]
    assert list(site.disks) == [site.world.vm(name).ref]
    assert site.left() == []


@pytest.mark.parametrize("name", GUESTS)
def test_a_wrong_guest_password_is_a_login_error_without_the_password(site: Site, name: str) -> None:
    """The error names the guest and where to look, and holds no secret."""
    wrong = [Login(one.family, one.user, lambda: "s3cret-guess") for one in LOGINS]
    with pytest.raises(LoginError) as caught:
        GuestConnector(site.session, wrong).usb(site.vm(name))
    assert name in caught.value.message
    assert "s3cret-guess" not in f"{caught.value!r} {caught.value.as_data()} {caught.value.__cause__!r}"


def test_the_login_that_names_the_vm_goes_first(site: Site) -> None:
    """A login for one VM wins over that of its family; without any the error says what to add."""
    family = Login(GuestFamily.LINUX, "nobody", lambda: "x")
    own = Login(GuestFamily.LINUX, LINUX_LOGIN[0], lambda: LINUX_LOGIN[1], vms=("lnx-01",))
    assert GuestConnector(site.session, [family, own]).usb(site.vm("lnx-01")) == ()
    with pytest.raises(LoginError, match="No account is known"):
        GuestConnector(site.session, [LOGINS[0]]).usb(site.vm("lnx-01"))


def test_a_guest_that_is_off_or_boots_is_safe_to_ask_again(site: Site) -> None:
    """Until VMware Tools answer, the error is one that is repeated, and nothing was started."""
    site.world.settings = LabWorld(boot_seconds=3600)
    site.world.set_power(site.world.vm("lnx-01"), "poweredOn")
    for name, state in (("win-02", "not powered on"), ("lnx-01", "do not run yet")):
        with pytest.raises(UnreachableError, match=state) as caught:
            GuestConnector(site.session, LOGINS).usb(site.vm(name))
        assert caught.value.safe_to_repeat
    assert site.disks == {}


@pytest.mark.parametrize(
    ("method", "fault", "error"),
    [
        ("StartProgramInGuest", "GuestOperationsUnavailable", UnreachableError),
        ("ListProcessesInGuest", "GuestOperationsUnavailable", UnreachableError),
        ("ListProcessesInGuest", "GuestProcessNotFound", UnconfirmedError),
        ("StartProgramInGuest", "OperationDisabledByGuest", RefusedError),
        ("CreateTemporaryFileInGuest", "GuestPermissionDenied", RefusedError),
        ("InitiateFileTransferFromGuest", "FileNotFound", RefusedError),
    ],
)
def test_faults_on_the_way_are_told_and_leave_no_file(
    site: Site, method: str, fault: str, error: type[PassgateError]
) -> None:
    """Whatever fails, the temporary file is removed and the error is the one for that fault."""
    site.world.inject(Fault(method, fault=fault))
    with pytest.raises(error):
        GuestConnector(site.session, LOGINS).usb(site.vm("win-01"))
    assert site.left() == []


def test_a_program_that_fails_is_told_with_its_own_words(site: Site) -> None:
    """An exit code other than 0 is no answer: the guest's complaint is in the error, and its file is removed."""
    site.ends_with = 5
    with pytest.raises(RefusedError, match=r"exit code 5: Access is denied\."):
        GuestConnector(site.session, LOGINS).usb(site.vm("win-01"))
    assert site.left() == []
