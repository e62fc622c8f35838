"""Carry runbooks out with nothing left out on a site of parts that others wrote, and take a real Linux's word for it.

vCenter is govmomi's simulator, the hosts' shells are OpenSSH's, the guest in every VM is the one under QEMU. What
vSphere would do with a stick is done by hand here: it comes into the guest, and leaves it, when the plan is so far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from passgate.connect.vsphere.hosts import HostsConnector
from passgate.engine.carrying import Attempt
from passgate.engine.ending import end, evidence_file
from passgate.engine.runtime import Runtime
from passgate.errors import PassgateError
from passgate.model.change import Change, State, StepState
from passgate.model.inventory import HostId, VmId
from tests.contract.esxi_of_openssh import openssh, prepare, put_tools, showing
from tests.contract.vsphere_places import Place, govmomi
from tests.engine_room import approved, begun, engine_on, through_gate
from tests.independent.guest_of_qemu import IDS, Guest, lent, stick
from tests.independent.parts import until

pytestmark = pytest.mark.timeout(300)  # a guest without KVM boots in seconds, on a busy machine in minutes

SERIAL = "07A40901A2B3C4D5"
HOSTS = ("DC0_C0_H0", "DC0_C0_H1", "DC0_C0_H2", "DC0_H0")
VM = "DC0_C0_RP0_VM0"
STICK = showing(IDS, SERIAL, "QEMU QEMU USB HARDDRIVE")
READER = showing("08e6:4433", "R1", "QEMU QEMU USB CCID", "11 Chip/SmartCard")
"""What the hosts' tools show."""
PROCESSES = """\
cat <<'END'
WID      CID      World Name            Command
2098183  2098183  pcscd                 /usr/sbin/pcscd
END
"""
"""What `ps` says on a host where the daemon runs: the simulator's services and the shell do not know of each other."""
CONTROLLER = "0000:41:00.0"
"""A USB controller of each host, of the kind that QEMU has too."""
LOGIN = ("root", "guest")
"""The account that the simulator's guest operations know."""
IN_GUEST = VmId(ref="vm-1", name="qemu", uuid="", host=HostId(ref="host-1", name="qemu", uuid=""))


@dataclass(frozen=True)
class Site:
    """Hold the parts, and the engine on them."""

    guest: Guest
    place: Place
    runtime: Runtime
    shell: Path
    image: Path

    def sees(self) -> list[str | None]:
        """Return the serials of what the guest sees, asked past vCenter."""
        return [one.serial for one in self.guest.usb(IN_GUEST)]

    async def carried_out(
        self, runbook: str, before: Mapping[str, Callable[[], object]] | None = None, **ask: Any
    ) -> Change:
        """Take a change from the request to its end, done, with its evidence; `before` as in `ended`."""
        change = await self.ended(runbook, before, **ask)
        assert change.state is State.DONE, change.outcome
        assert evidence_file(self.runtime.home, change.id).exists()
        return change

    async def ended(self, runbook: str, before: Mapping[str, Callable[[], object]] | None = None, **ask: Any) -> Change:
        """Take a change to its end, and back where a step fails; `before` says what vSphere does before which steps."""
        ask = {name: value for name, value in {"vm": VM, **ask}.items() if value is not None}
        change = await approved(self.runtime, runbook, ask)
        carrying = await begun(self.runtime, change)
        failed = None
        try:
            for planned in carrying.plan.steps:
                (before or {}).get(planned.kind, lambda: None)()
                await through_gate(self.runtime, carrying, planned)
                await carrying.step(planned, Attempt())
        except PassgateError as error:
            failed = error.message
            await carrying.take_back()
        return await end(self.runtime, change, failed, carrying.tokens)

    def unplugged(self) -> None:
        """Take the stick out of the guest, which must have let go of it."""
        assert [one.in_use for one in self.guest.usb(IN_GUEST)] == [""]
        self.guest.clear()

    def last(self, change: Change) -> str:
        """Return what the journal says of a change's last step."""
        return str(self.runtime.store.journal(change.id)[-1])


@pytest.fixture
def site(linux: Guest, tmp_path: Path) -> Iterator[Site]:
    """Start the parts around the guest, which has no stick yet."""
    (shell := tmp_path / "esxi").mkdir()
    prepare(shell, STICK)
    with (
        lent(linux, tmp_path / "guest") as socket,
        govmomi(tmp_path, socket) as place,
        openssh(shell, *HOSTS) as access,
        engine_on(place, tmp_path / "home", access, LOGIN) as runtime,
    ):
        yield Site(linux, place, runtime, shell, stick(tmp_path / "image"))
    linux.clear()
    assert linux.sh("ls /tmp/passgate* 2>/dev/null || true") == ""


async def attached(site: Site, *, comes: str = "guest.SeesUsb", **ask: Any) -> Change:
    """Attach the stick; it comes into the guest before steps of that kind, and not before."""

    def connected() -> None:
        assert site.sees() == []
        site.guest.plug_stick(site.image, SERIAL)

    return await site.carried_out("usb-attach", {comes: connected}, device=f"serial:{SERIAL}", **ask)


async def test_a_stick_is_attached(site: Site) -> None:
    """The stopped arbitrator is started over SSH, once; the proof is what the guest itself says of ids and serial."""
    change = await attached(site, force_off=True)

    assert f"sees QEMU USB HARDDRIVE ({IDS}, serial {SERIAL})" in site.last(change)
    assert len((site.shell / "tools/started").read_text(encoding="utf-8").splitlines()) == 1


@pytest.mark.parametrize("comes", ["usb.AddOnceMore", "guest.Reboot"], ids=["at once", "at the second time"])
async def test_a_stick_is_attached_to_a_running_vm(site: Site, comes: str) -> None:
    """Where the guest does not see it at first it is added once more, and only there; the guest is not restarted."""
    before = site.place.read(vms=(VM,)).vm(VM)

    change = await attached(site, comes=comes)

    done = {entry.kind: entry.state for entry in site.runtime.store.journal(change.id)}
    assert done["usb.AddOnceMore"] is (StepState.NOT_NEEDED if comes == "usb.AddOnceMore" else StepState.DONE)
    assert done["guest.Reboot"] is StepState.NOT_NEEDED
    assert "power.Off" not in done
    vm = site.place.read(vms=(VM,)).vm(VM)
    assert (vm.power, len(vm.usb)) == (before.power, 1)


async def test_a_vm_moves_with_its_stick_and_comes_home(site: Site) -> None:
    """It runs on the other host with the entry as it was, sees the stick there, and is brought back."""
    await attached(site, vmotion=True, force_off=True)
    home = site.place.read(vms=(VM,)).vm(VM).host

    away = await site.carried_out("usb-migrate", to="DC0_C0_H1" if home.name != "DC0_C0_H1" else "DC0_C0_H2")

    moved = site.place.read(vms=(VM,)).vm(VM)
    assert moved.host.ref != home.ref
    assert [entry.hostname for entry in moved.usb] == [home.name]
    assert SERIAL in site.last(away)

    back = await site.carried_out("usb-return-home")

    assert site.place.read(vms=(VM,)).vm(VM).host.ref == home.ref
    assert SERIAL in site.last(back)


async def test_a_smart_card_reader_is_let_in(site: Site) -> None:
    """The daemon that holds readers is stopped over the wire, the VM may have one, the guest sees it; and back."""
    put_tools(site.shell, READER)
    hosts = HostsConnector(site.place.session(), lambda *_: None)
    home = site.place.read(vms=(VM,)).vm(VM).host
    hosts.start_service(home, "pcscd")
    hosts.set_service_policy(home, "pcscd", "on")

    def powered_on() -> None:
        site.guest.plug("usb-ccid", "reader", "xhci.0", serial="R1")

    change = await site.carried_out(
        "smartcard-enable", {"smartcard.SeesReader": powered_on}, device="08e6:4433", force_off=True
    )

    daemon = hosts.host(home).service("pcscd")
    assert daemon is not None
    assert (daemon.running, daemon.policy) == (False, "off")
    assert site.place.read(vms=(VM,)).vm(VM).extra["usb.generic.allowCCID"] == "TRUE"
    assert "08e6:4433" in site.last(change)

    def started() -> None:
        put_tools(site.shell, {"ps": PROCESSES})

    before = {"usb.RemoveDevice": site.guest.clear, "pcscd.Start": started}
    await site.carried_out("smartcard-disable", before, device="08e6:4433")

    assert site.place.read(vms=(VM,)).vm(VM).usb == ()
    daemon = hosts.host(home).service("pcscd")
    assert daemon is not None
    assert (daemon.running, daemon.policy) == (True, "on")


async def test_a_whole_controller_is_set_aside_and_given_to_a_vm(site: Site) -> None:
    """The host is emptied and rebooted for it; then the guest sees the controller and the stick behind it, and back."""
    before = site.place.read(vms=(VM,)).vm(VM)
    await site.carried_out("pci-enable", vm=None, host=before.host.name, function=CONTROLLER, shut_down=True)

    def powered_on() -> None:
        site.guest.plug("nec-usb-xhci", "card", "bay")
        site.guest.plug_stick(site.image, SERIAL, "card.0")

    change = await site.carried_out(
        "pci-attach", {"guest_pci.SeesPci": powered_on}, function=CONTROLLER, usb=IDS, force_off=True
    )

    assert IDS in site.last(change)
    vm = site.place.read(vms=(VM,)).vm(VM)
    assert ([one.address for one in vm.pci], vm.memory_locked, vm.power) == ([CONTROLLER], True, "on")

    await site.carried_out(
        "pci-detach", {"power.On": lambda: site.guest.pull("card")}, function=CONTROLLER, force_off=True
    )

    vm = site.place.read(vms=(VM,)).vm(VM)
    assert (vm.pci, vm.memory_locked, vm.power) == ((), before.memory_locked, "on")
    assert site.sees() == []


async def test_a_mounted_stick_is_released_in_the_guest_before_it_is_taken(site: Site) -> None:
    """What was written is on the stick, the guest has it no more, and a program that holds it stops the change."""
    await attached(site, force_off=True)
    [disk] = until(lambda: site.guest.usb(IN_GUEST)[0].disks or None, "the disk of the stick")
    site.guest.sh(f"mkdosfs /dev/{disk.name}1 && mount -t vfat /dev/{disk.name}1 /mnt && echo precious >/mnt/data")
    holding = site.guest.start("exec 3</mnt/data; while ! [ -e /tmp/enough ]; do sleep 0.1; done")
    try:
        refused = await site.ended("usb-detach", device=IDS)
        assert refused.state is State.UNDONE
        assert "/mnt is busy" in refused.outcome
        assert len(site.place.read(vms=(VM,)).vm(VM).usb) == 1
        assert site.guest.usb(IN_GUEST)[0].in_use == "/mnt"
    finally:
        site.guest.sh("touch /tmp/enough")
        until(holding, "the program to let go")

    await site.carried_out("usb-detach", {"usb.RemoveDevice": site.unplugged}, device=IDS)

    assert site.place.read(vms=(VM,)).vm(VM).usb == ()
    assert site.sees() == []
    assert b"precious" in site.image.read_bytes()


async def test_a_stick_goes_from_one_vm_to_another(site: Site) -> None:
    """It is let go of, taken, seen free, and seen again in the guest of the VM that gets it."""
    first, second = "DC0_H0_VM0", "DC0_H0_VM1"
    await attached(site, vm=first, force_off=True)

    def connected() -> None:
        site.guest.plug_stick(site.image, SERIAL)

    await site.carried_out(
        "usb-move", {"usb.RemoveDevice": site.unplugged, "usb.AddOnceMore": connected}, vm=first, to=second, device=IDS
    )

    found = site.place.read(vms=(first, second))
    assert [len(found.vm(name).usb) for name in (first, second)] == [0, 1]
