"""What vSphere refuses, delays and breaks, and what the connector makes of it.

Only the lab can do these things; why govmomi's simulator can't stands in `tests.independent.vcenter_of_govmomi.CANT`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pyVmomi import vim

from passgate.connect.vsphere.parsing import LIGHT_VM, VITAL, VITAL_IF_SET
from passgate.connect.vsphere.reading import PRIVILEGES, WALK, props_of, query, retrieve
from passgate.engine.steps import Step, Systems
from passgate.errors import BusyError, ConflictError, RefusedError, UnconfirmedError, UnreachableError, WorldError
from passgate.lab.hardware import Fault
from passgate.lab.world import World
from passgate.model.inventory import ControllerKind, GuestFamily, Host, HostUsbDevice, Power, UsbId, Vm
from passgate.settings.shape import LabWorld
from tasks import power, usb
from tests.contract.vsphere_places import STICK, Place, lab

XHCI, EHCI = ControllerKind.XHCI, ControllerKind.EHCI


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Run a lab's vCenter for one test."""
    with lab(tmp_path) as one:
        yield one


@pytest.fixture
def world(place: Place) -> World:
    """Return the lab's world, to change it behind Passgate's back."""
    assert place.world is not None
    return place.world


def dongle(host: Host) -> HostUsbDevice:
    """Return the dongle that lic-01 has."""
    return next(one for one in host.usb if one.path == "0/1/2")


def vm_of(place: Place, name: str) -> Vm:
    """Return that VM in depth."""
    return place.read(vms=(name,)).vm(name)


class TestReading:
    """What a reading shows of the lab's estate."""

    def test_guests_and_tools(self, place: Place) -> None:
        """Tell guests apart, running Tools from installed ones, and old hardware from new."""
        names = ("win-01", "lnx-01", "lnx-02", "old-01")
        site = place.read(vms=names)
        vms = {name: site.vm(name) for name in names}
        assert [vms[name].guest_family for name in names] == [
            GuestFamily.WINDOWS,
            GuestFamily.LINUX,
            GuestFamily.LINUX,
            GuestFamily.WINDOWS,
        ]
        assert [vms[name].tools_installed for name in names] == [True, True, True, False]
        assert [vms[name].tools_running for name in names] == [True, True, False, False]
        assert [vms[name].guest_ready for name in names] == [True, True, False, False]
        assert vms["old-01"].hardware_version == 7
        old, new = vms["old-01"].options, vms["win-01"].options
        assert old is not None
        assert new is not None
        assert (old.max_xhci, new.max_xhci) == (0, 1)

    def test_who_uses_a_device(self, place: Place) -> None:
        """Name the VM that has a device, and see its entry connected."""
        vm, host = place.read(vms=("lic-01",), usb=True).vm_and_host("lic-01")
        users = {one.path: (one.used_by, one.used_by_name) for one in host.usb if one.vid_pid == "0529:0001"}
        assert users == {"0/1/2": (vm.ref, "lic-01"), "0/1/4": (None, None)}
        (entry,) = vm.usb
        assert (entry.connected, entry.vendor, entry.product, entry.hostname) == (True, 0x0529, 1, None)

    def test_a_stopped_arbitrator_offers_nothing(self, place: Place) -> None:
        """Read no devices from a host whose arbitrator is stopped, without an error."""
        assert place.read(vms=("lnx-02",), usb=True).vm_and_host("lnx-02")[1].usb == ()

    def test_an_unreachable_host_does_not_spoil_the_reading(self, place: Place, world: World) -> None:
        """Read on past a host that vCenter lost, and say that it did."""
        world.host("esx-02.lab.example").connection = "notResponding"
        site = place.read(all_hosts=True, usb=True)
        assert site.host("esx-02.lab.example").connection == "notResponding"
        assert site.host("esx-02.lab.example").usb == ()
        assert site.host("esx-01.lab.example").usb

    def test_dpm_of_each_host(self, place: Place, world: World) -> None:
        """Let a host's own setting win over the cluster's."""
        world.cluster.dpm = True
        world.host("esx-02.lab.example").dpm = False
        site = place.read(all_hosts=True)
        assert {one.name.split(".")[0]: one.dpm for one in site.hosts} == {
            "esx-01": True,
            "esx-02": False,
            "esx-03": True,
        }

    def test_missing_privileges_are_seen(self, place: Place) -> None:
        """Leave out what the account may not do."""
        site = place.read(place.session(user="limited"))
        missing = set(PRIVILEGES) - site.privileges[site.vm(place.vm).ref]
        assert missing == {"VirtualMachine.Config.AddRemoveDevice", "VirtualMachine.Config.HostUSBDevice"}

    def test_a_hostile_name(self, place: Place, world: World) -> None:
        """Read a name with slashes, percent signs, quotes, newlines and emoji as it is, and find the VM by it."""
        name = "a/b\\c 100%2f \"'<b>&amp;</b>\n*bold* \N{PILE OF POO} 日本" + "x" * 80
        world.vm("win-01").name = name
        assert vm_of(place, name).name == name

    def test_pages(self, place: Place) -> None:
        """Read everything when the answer comes in several pages."""
        session = place.session()
        start = query.ObjectSpec(obj=session.content.rootFolder, skip=True, selectSet=list(WALK))
        spec = query.FilterSpec(objectSet=[start], propSet=[props_of(vim.VirtualMachine, LIGHT_VM)])
        before = session.calls
        rows = retrieve(session, spec, doing="read", subject="test", page=2)
        assert len(rows) == 6
        assert session.calls - before == 3


class TestUnreadable:
    """What vCenter leaves out of its answer, for want of a privilege or without a reason, is never taken for a fact."""

    STEPS: ClassVar[dict[str, tuple[str, Callable[[Vm, Host], Step]]]] = {
        "is it off?": ("runtime.powerState", lambda vm, _: power.Off(vm)),
        "is it on?": ("runtime.connectionState", lambda vm, _: power.On(vm)),
        "is its controller gone?": ("config.hardware.device", lambda vm, _: usb.RemoveController(vm, XHCI)),
        "is its device gone?": ("config.hardware.device", lambda vm, host: usb.RemoveDevice(vm, dongle(host))),
    }

    @pytest.mark.parametrize("question", STEPS)
    @pytest.mark.parametrize(
        ("fault", "error"),
        [("NoPermission", RefusedError), ("SystemError", UnreachableError), ("", UnreachableError)],
    )
    def test_a_step_confirms_nothing(
        self, place: Place, world: World, question: str, fault: str, error: type[WorldError]
    ) -> None:
        """Raise in place of a yes, naming VM and property, and the privilege where one is missing."""
        path, make = self.STEPS[question]
        step = make(*place.read(vms=("lic-01",), usb=True).vm_and_host("lic-01"))
        world.vm("lic-01").unreadable[path] = fault
        nobody: Any = None  # no other system may be asked
        others = {one.name: nobody for one in fields(Systems) if one.name not in {"vsphere", "tell"}}
        systems = Systems(vsphere=place.connector(), **others)
        with pytest.raises(error, match=f"read {path} of lic-01") as caught:
            step.confirm(systems)
        assert ("privilegeId=System.Read" in caught.value.message) is (fault == "NoPermission")
        assert caught.value.safe_to_repeat is (error is UnreachableError)

    @pytest.mark.parametrize("path", [*VITAL, *VITAL_IF_SET])
    def test_no_plan_is_made_of_it(self, place: Place, world: World, path: str) -> None:
        """Raise for a named VM that can't be read whole."""
        world.vm("win-02").unreadable[path] = "NoPermission"
        with pytest.raises(RefusedError, match=f"read {path} of win-02"):
            vm_of(place, "win-02")

    def test_a_configuration_that_is_gone(self, place: Place, world: World) -> None:
        """Say that a named VM is inaccessible, where vCenter has no configuration of it."""
        world.vm("win-02").connection = "inaccessible"
        world.vm("win-02").unreadable["config.hardware.device"] = ""
        with pytest.raises(UnreachableError, match="shows the VM as inaccessible"):
            vm_of(place, "win-02")

    def test_a_neighbour_does_not_spoil_the_reading(self, place: Place, world: World) -> None:
        """Read on past a VM that nobody named, and call unknown what it does not tell."""
        world.vm("lnx-01").unreadable.update(dict.fromkeys(VITAL, "NoPermission"))
        seen = place.read(vms=("win-01",)).vm("lnx-01")
        assert (seen.power, seen.connection, seen.disks) == (Power.UNKNOWN, "unknown", None)


class TestRefusals:
    """What vSphere refuses."""

    def test_a_second_writer(self, place: Place, world: World) -> None:
        """Stop with a conflict when the VM is changed between our reading and our writing."""
        vm = vm_of(place, "win-02")
        connector = place.connector()
        meanwhile = lambda *_: world.touch(world.vm("win-02"))  # noqa: E731  # it stands in place of the gate
        connector._authorize = meanwhile
        with pytest.raises(ConflictError, match="somebody changed it after it was read"):
            connector.add_usb_controller(vm, EHCI)
        assert [one.kind for one in connector.vm(vm).controllers] == [XHCI]

    def test_another_task_runs(self, place: Place, world: World) -> None:
        """Call an object busy, and so safe to repeat, while another task runs on it."""
        vm = vm_of(place, "win-01")
        world.settings = LabWorld(power_seconds=30)
        with world.lock:
            world.start_task("PowerOffVM_Task", world.vm("win-01"), "somebody", 30, lambda: None)
        with pytest.raises(BusyError, match="another task") as caught:
            place.connector().power_off(vm)
        assert caught.value.safe_to_repeat

    def test_a_missing_privilege(self, place: Place) -> None:
        """Name the privilege that the account lacks."""
        vm = vm_of(place, "win-01")
        connector = place.connector(place.session(user="limited"))
        with pytest.raises(RefusedError, match=r"VirtualMachine\.Config\.AddRemoveDevice") as caught:
            connector.add_usb_controller(vm, XHCI)
        assert caught.value.fault == "NoPermission"

    def test_old_virtual_hardware(self, place: Place) -> None:
        """Tell the VM's hardware version from the one that it would need."""
        with pytest.raises(RefusedError, match=r"currentVersion=vmx-07.*expectedVersion=vmx-08") as caught:
            place.connector().add_usb_controller(vm_of(place, "old-01"), XHCI)
        assert caught.value.fault == "DeviceUnsupportedForVmVersion"

    def test_a_controller_with_devices(self, place: Place) -> None:
        """Name the devices that keep a controller, before anything is sent."""
        with pytest.raises(RefusedError, match="0/1/2"):
            place.connector().remove_usb_controller(vm_of(place, "lic-01"), XHCI)
        assert place.asked == []

    def test_a_device_of_another_vm(self, place: Place) -> None:
        """Name the VM that has the device."""
        vm, host = place.read(vms=("win-02",), usb=True).vm_and_host("win-02")
        taken = UsbId(host=host.id, vendor=0x0529, product=1, path="0/1/2")
        with pytest.raises(RefusedError, match="lic-01 uses it"):
            place.connector().add_usb_device(vm, taken, XHCI, vmotion=False)
        assert place.asked == []

    def test_a_device_of_another_host(self, place: Place) -> None:
        """Refuse a device of another host than the VM's."""
        site = place.read(vms=("win-02", "win-01"), usb=True)
        stick = next(one for one in site.vm_and_host("win-01")[1].usb if one.path == STICK)
        with pytest.raises(RefusedError, match=r"the VM is on esx-02\.lab\.example now"):
            place.connector().add_usb_device(site.vm("win-02"), stick, XHCI, vmotion=True)

    def test_a_guest_without_tools(self, place: Place) -> None:
        """Say that Tools do not run, and that a hard power-off is left."""
        vm, connector = vm_of(place, "old-01"), place.connector()
        connector.power_on(vm)
        with pytest.raises(RefusedError, match="Tools do not run") as caught:
            connector.shut_down_guest(vm)
        assert "powered off hard" in caught.value.hint

    def test_a_vm_that_is_gone(self, place: Place, world: World) -> None:
        """Say that the VM is no longer there, when reading and when changing."""
        vm, connector = vm_of(place, "win-02"), place.connector()
        with world.lock:
            world.vms.remove(world.vm("win-02"))
            world.changed()
        for act in (connector.vm, connector.power_on):
            with pytest.raises(RefusedError) as caught:
                act(vm)
            assert caught.value.fault == "ManagedObjectNotFound"
            assert "win-02" in caught.value.message


class TestWaiting:
    """Tasks that last, and those that are lost."""

    def test_a_slow_task(self, place: Place, world: World) -> None:
        """Wait for a task that goes on for a while, in few calls."""
        world.settings = LabWorld(power_seconds=1.2)
        session = place.session()
        vm = place.found(session)[0]
        connector = place.connector(session)
        before = session.calls
        connector.power_off(vm)
        assert session.calls - before <= 6
        assert connector.vm(vm).power is Power.OFF

    def test_our_deadline(self, place: Place, world: World) -> None:
        """Stop waiting at our own deadline, leave the task alone, and do not claim anything."""
        world.settings = LabWorld(power_seconds=3)
        vm = vm_of(place, "win-01")
        connector = place.connector(task_within=timedelta(seconds=1))
        with pytest.raises(UnconfirmedError, match=r"still runs after 1 s"):
            connector.power_off(vm)
        assert [one.state for one in world.tasks.values()] == ["running"]

    def test_a_question(self, place: Place, world: World) -> None:
        """Tell the question that a VM waits on, in place of waiting for ever."""
        world.settings = LabWorld(power_seconds=30)
        vm = vm_of(place, "win-02")

        def ask() -> None:
            with world.lock:
                world.vm("win-02").question = "Was this VM moved or copied?"
                world.changed()

        timer = threading.Timer(0.3, ask)
        timer.start()
        with pytest.raises(RefusedError, match=r"moved or copied\?") as caught:
            place.connector().power_on(vm)
        timer.join()
        assert caught.value.fault == "QuestionPending"

    def test_a_guest_that_shuts_down(self, place: Place) -> None:
        """Return when the VM is off; off already is as good."""
        connector, vm = place.connector(), vm_of(place, "win-01")
        connector.shut_down_guest(vm)
        assert connector.vm(vm).power is Power.OFF
        connector.shut_down_guest(vm)

    def test_a_guest_that_does_not_shut_down(self, place: Place, world: World) -> None:
        """Say after a bound that the VM is still on."""
        world.settings = LabWorld(power_seconds=30)
        with pytest.raises(UnconfirmedError, match="still on"):
            place.connector().shut_down_guest(vm_of(place, "win-01"), within=timedelta(seconds=1))

    @pytest.mark.parametrize("fault", ["Disconnect", "DisconnectAfter"])
    def test_a_call_that_is_cut_off(self, place: Place, world: World, fault: str) -> None:
        """Send a mutating call once only, and say that its fate must be read."""
        connector, vm = place.connector(), vm_of(place, "win-01")
        world.inject(Fault("PowerOffVM_Task", fault=fault))
        with pytest.raises(UnreachableError, match="connection broke") as caught:
            connector.power_off(vm)
        assert caught.value.safe_to_repeat
        assert place.asked == [("power_off", f"vm:{vm.ref}")]

    def test_a_wait_that_is_cut_off(self, place: Place, world: World) -> None:
        """Call it unreachable when the connection breaks while a task is waited for; other waits work."""
        connector, vm, other = place.connector(), vm_of(place, "win-01"), vm_of(place, "lnx-01")
        world.inject(Fault("WaitForUpdatesEx", fault="Disconnect"))
        with pytest.raises(UnreachableError):
            connector.power_off(vm)
        connector.power_off(other)
        assert connector.vm(other).power is Power.OFF

    def test_a_reading_that_is_cut_off_is_repeated(self, place: Place, world: World) -> None:
        """Ask again, once, when a reading is cut off: a connection from the pool may have been dropped."""
        connector, vm = place.connector(), vm_of(place, "win-01")
        world.inject(Fault("RetrievePropertiesEx", fault="Disconnect"))
        assert connector.vm(vm).name == "win-01"
        world.inject(Fault("RetrievePropertiesEx", fault="Disconnect", times=2))
        with pytest.raises(UnreachableError):
            connector.vm(vm)

    def test_waits_side_by_side(self, place: Place, world: World) -> None:
        """Wait for several tasks at once in one session; none cancels another."""
        world.settings = LabWorld(power_seconds=0.5)
        session = place.session()
        connector = place.connector(session)
        vms = [vm_of(place, name) for name in ("win-01", "lnx-01", "lic-01")]
        threads = [threading.Thread(target=connector.power_off, args=(vm,)) for vm in vms]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert [connector.vm(vm).power for vm in vms] == [Power.OFF] * 3

    def test_a_fault_of_the_task(self, place: Place, world: World) -> None:
        """Tell a fault that ends a task like one that is answered at once."""
        vm = vm_of(place, "win-02")
        world.inject(Fault("PowerOnVM_Task", fault="InsufficientHostCapacityFault", in_task=True, message="No memory."))
        with pytest.raises(RefusedError, match="No memory") as caught:
            place.connector().power_on(vm)
        assert caught.value.fault == "InsufficientHostCapacityFault"
