"""What the vSphere connector promises, against every vCenter that we have: one that others wrote, and the lab's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyVmomi import vim

from passgate.connect.vsphere import VSphereConnector
from passgate.connect.vsphere.reading import HOST_PRIVILEGES, PRIVILEGES
from passgate.errors import AmbiguousNameError, LoginError, NotAuthorizedError, RefusedError, UnknownNameError
from passgate.model.inventory import ControllerKind, Power, UsbId
from tests.contract.vsphere_places import PLACES, STICK, Place

XHCI, EHCI = ControllerKind.XHCI, ControllerKind.EHCI


@pytest.fixture(params=sorted(PLACES))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Run a vCenter for one test."""
    with PLACES[request.param](tmp_path) as one:
        yield one


def stick_of(place: Place) -> UsbId:
    """Return the stick at the VM's host, as a plan would hold it."""
    host = place.found()[1]
    found = next(one for one in host.usb if one.path == STICK)
    return UsbId(host=host.id, vendor=found.vendor, product=found.product, path=found.path)


class TestReading:
    """Reading the estate."""

    def test_everything_is_named_in_one_round_trip(self, place: Place) -> None:
        """Read names, hosts and power states of the whole estate with one call."""
        session = place.session()
        assert session.content
        before = session.calls
        site = place.read(session, usb=False)
        assert session.calls - before == 1
        vm = site.vm(place.vm)
        assert (vm.power, vm.host.name) == (Power.ON, site.host(vm.host.ref).name)
        assert vm.uuid
        assert {one.host.ref for one in site.vms} <= {one.ref for one in site.hosts}
        assert (site.api_version, site.standalone) == ("8.0.2.0", place.standalone)

    def test_a_vm_in_depth_costs_few_round_trips(self, place: Place) -> None:
        """Read a VM, its host, USB devices, options and privileges with five calls, and with four the second time.

        A server that does not know how to tell privileges is asked for them once.
        """
        session = place.session()
        assert session.content
        counts = []
        for _ in range(2):
            before = session.calls
            vm, host = place.found(session)
            counts.append(session.calls - before)
        assert counts == [6 if place.standalone else 5, 4]
        assert host.usb_controllers >= 1
        assert host.management_ip
        assert vm.hardware_version >= 13
        assert vm.options is not None
        assert None not in {vm.options.hot_add, vm.options.hot_remove}
        assert (vm.options.max_xhci, vm.options.max_ehci) == (1, 1)

    def test_usb_devices_of_a_host(self, place: Place) -> None:
        """Offer what the arbitrator offers, ids and path read, the pattern verbatim."""
        host = place.found()[1]
        stick = next(one for one in host.usb if one.path == STICK)
        assert (stick.vid_pid, stick.families, stick.used_by) == ("18a5:0302", ("storage",), None)
        assert stick.pattern is not None
        assert stick.pattern.startswith("path:0/1/3")
        assert [one.path for one in place.connector().usb_devices(host.id)] == [one.path for one in host.usb]

    def test_privileges_are_read(self, place: Place) -> None:
        """Name every privilege that the work needs, for an account that has them all."""
        site = place.read()
        vm, host = site.vm_and_host(place.vm)
        assert site.privileges == {vm.ref: frozenset(PRIVILEGES), host.ref: frozenset(HOST_PRIVILEGES)}

    def test_an_unknown_name_says_what_there_is(self, place: Place) -> None:
        """Read on past a name that does not exist, and name the VMs that do."""
        site = place.read(vms=("no-such-vm",), hosts=("no-such-host",))
        with pytest.raises(UnknownNameError) as caught:
            site.vm("no-such-vm")
        assert place.vm in caught.value.hint

    def test_one_vm_anew_in_one_round_trip(self, place: Place) -> None:
        """Read one VM with exactly one call, the same as the inventory has it, but for what depends on its host."""
        session = place.session()
        vm = place.found(session)[0]
        connector = place.connector(session)
        before = session.calls
        again = connector.vm(vm)
        assert session.calls - before == 1
        assert again.model_copy(update={"options": vm.options}) == vm

    def test_all_hosts(self, place: Place) -> None:
        """Read the USB devices of every host when asked to."""
        site = place.read(all_hosts=True, usb=True)
        assert [one.path for one in site.host(place.twins).usb if one.vid_pid == "0529:0001"]
        assert any(one.path == STICK for one in site.vm_and_host(place.vm)[1].usb)


class TestPower:
    """Power operations."""

    def test_off_and_on(self, place: Place) -> None:
        """Turn a VM off and on again, seen by a fresh reading each time."""
        connector, vm = place.connector(), place.found()[0]
        connector.power_off(vm)
        assert connector.vm(vm).power is Power.OFF
        connector.power_on(vm)
        assert connector.vm(vm).power is Power.ON
        assert place.asked == [("power_off", f"vm:{vm.ref}"), ("power_on", f"vm:{vm.ref}")]

    def test_a_state_that_is_there_counts_as_done(self, place: Place) -> None:
        """Take a repeated power call for done, so that a retry after a lost answer is harmless."""
        connector, vm = place.connector(), place.found()[0]
        connector.power_on(vm)
        connector.power_off(vm)
        connector.power_off(vm)
        assert connector.vm(vm).power is Power.OFF


class TestController:
    """Virtual USB controllers."""

    @pytest.mark.parametrize("kind", [XHCI, EHCI])
    def test_added_once_and_removed(self, place: Place, kind: ControllerKind) -> None:
        """Add a controller, once however often asked, and remove it likewise."""
        connector, vm = place.connector(), place.found()[0]
        connector.power_off(vm)
        connector.add_usb_controller(vm, kind)
        connector.add_usb_controller(vm, kind)
        assert [one.kind for one in connector.vm(vm).controllers] == [kind]
        connector.remove_usb_controller(vm, kind)
        connector.remove_usb_controller(vm, kind)
        assert connector.vm(vm).controllers == ()
        assert [action for action, _ in place.asked] == ["power_off", "add_usb_controller", "remove_usb_controller"]

    def test_the_work_takes_few_round_trips(self, place: Place) -> None:
        """Power off, add an xHCI controller, power on, each confirmed: at most 30 calls, the login included."""
        vm = place.found()[0]
        session = place.session()
        connector = place.connector(session)
        connector.power_off(vm)
        assert connector.vm(vm).power is Power.OFF
        connector.add_usb_controller(vm, XHCI)
        assert connector.vm(vm).controller(XHCI)
        connector.power_on(vm)
        assert connector.vm(vm).power is Power.ON
        assert session.calls <= 30


class TestDevice:
    """USB devices of the host in a VM."""

    @pytest.fixture
    def ready(self, place: Place) -> VSphereConnector:
        """Return a connector whose VM has an xHCI controller."""
        connector, vm = place.connector(), place.found()[0]
        connector.power_off(vm)
        connector.add_usb_controller(vm, XHCI)
        place.asked.clear()
        return connector

    @pytest.mark.parametrize("vmotion", [True, False])
    def test_added_once_and_removed(self, place: Place, ready: VSphereConnector, vmotion: bool) -> None:
        """Write pattern and host name verbatim, on the controller asked for, once however often asked."""
        vm, host = place.found()
        stick = stick_of(place)
        ready.add_usb_device(vm, stick, XHCI, vmotion=vmotion)
        ready.add_usb_device(vm, stick, XHCI, vmotion=vmotion)
        now = ready.vm(vm)
        (entry,) = now.usb
        assert entry.pattern == next(one.pattern for one in host.usb if one.path == STICK)
        assert entry.hostname == (host.name if vmotion else None)
        assert entry.controller_key == now.controllers[0].key
        ready.remove_usb_device(vm, stick)
        ready.remove_usb_device(vm, stick)
        assert ready.vm(vm).usb == ()
        assert [action for action, _ in place.asked] == ["add_usb_device", "remove_usb_device"]

    def test_another_backing_is_not_overwritten(self, place: Place, ready: VSphereConnector) -> None:
        """Refuse by name when the VM has the device already, but with other vMotion support than asked."""
        vm, stick = place.found()[0], stick_of(place)
        ready.add_usb_device(vm, stick, XHCI, vmotion=False)
        with pytest.raises(RefusedError, match="without vMotion support; asked was with vMotion support") as caught:
            ready.add_usb_device(vm, stick, XHCI, vmotion=True)
        assert caught.value.fault == "OtherBacking"

    def test_a_device_without_a_path_is_looked_up(self, place: Place, ready: VSphereConnector) -> None:
        """Find the one device with these ids at the host, when no path is known; also to take it away again."""
        vm = place.found()[0]
        stick = stick_of(place).model_copy(update={"path": None})
        ready.add_usb_device(vm, stick, XHCI, vmotion=False)
        ready.add_usb_device(vm, stick, XHCI, vmotion=False)
        (entry,) = ready.vm(vm).usb
        assert entry.pattern.startswith("path:0/1/3")

    def test_twins_without_a_path_are_not_guessed(self, place: Place, ready: VSphereConnector) -> None:
        """Refuse to choose between two equal devices, and name both paths."""
        site = place.read(hosts=(place.twins,), usb=True)
        host = site.host(place.twins)
        vm = next(one for one in site.vms if one.host.ref == host.ref and not one.usb)
        ready.add_usb_controller(vm, XHCI)
        with pytest.raises(AmbiguousNameError) as caught:
            ready.add_usb_device(vm, UsbId(host=host.id, vendor=0x0529, product=1), XHCI, vmotion=False)
        paths = [one.path for one in host.usb if one.vid_pid == "0529:0001"]
        assert len(paths) == 2
        for path in paths:
            assert str(path) in caught.value.hint

    def test_another_device_in_the_port_is_not_taken(self, place: Place, ready: VSphereConnector) -> None:
        """Refuse when the port holds another device than planned, because autoconnect follows the path alone."""
        vm = place.found()[0]
        other = stick_of(place).model_copy(update={"product": 0x0303})
        with pytest.raises(RefusedError, match="another device now") as caught:
            ready.add_usb_device(vm, other, XHCI, vmotion=False)
        assert "18a5:0302" in caught.value.message
        assert place.asked == []

    def test_a_device_that_is_not_offered(self, place: Place, ready: VSphereConnector) -> None:
        """Refuse a device that the arbitrator does not offer, and list what it offers."""
        gone = stick_of(place).model_copy(update={"path": "0/9/9"})
        with pytest.raises(RefusedError, match="does not offer it") as caught:
            ready.add_usb_device(place.found()[0], gone, XHCI, vmotion=False)
        assert "18a5:0302" in caught.value.hint

    def test_a_missing_controller_is_named(self, place: Place, ready: VSphereConnector) -> None:
        """Refuse a device when the VM lacks the controller that it should sit on."""
        with pytest.raises(RefusedError, match="no USB 2"):
            ready.add_usb_device(place.found()[0], stick_of(place), EHCI, vmotion=False)


class TestAuthority:
    """The gate inside every mutating call."""

    def test_without_authority_nothing_is_sent(self, place: Place) -> None:
        """Refuse every mutating method by default, and leave the VM as it was."""
        session = place.session()
        vm, stick = place.found(session)[0], stick_of(place)
        held = VSphereConnector(session)
        able = place.connector()
        for refused in (
            lambda: held.power_off(vm),
            lambda: held.power_on(vm),
            lambda: held.shut_down_guest(vm),
            lambda: held.add_usb_controller(vm, XHCI),
        ):
            with pytest.raises(NotAuthorizedError):
                refused()
        assert held.vm(vm).controllers == ()
        assert held.vm(vm).power is Power.ON
        able.power_off(vm)
        able.add_usb_controller(vm, XHCI)
        with pytest.raises(NotAuthorizedError):
            held.add_usb_device(vm, stick, XHCI, vmotion=False)
        with pytest.raises(NotAuthorizedError):
            held.remove_usb_controller(vm, XHCI)
        able.add_usb_device(vm, stick, XHCI, vmotion=False)
        with pytest.raises(NotAuthorizedError):
            held.remove_usb_device(vm, stick)
        assert len(held.vm(vm).usb) == 1

    def test_authority_is_asked_last(self, place: Place) -> None:
        """Send nothing between the answer of the gate and the mutating call itself."""
        session = place.session()
        vm = place.found(session)[0]
        at: list[int] = []
        connector = VSphereConnector(session, lambda *_: at.append(session.calls))
        one = session.object(vim.VirtualMachine, vm.ref)
        sent: list[int] = []
        session.stub.requestModifierList.append(
            lambda request: sent.append(session.calls) or request if b"ReconfigVM_Task" in request else request
        )
        connector.power_off(vm)
        connector.add_usb_controller(vm, XHCI)
        assert one
        # A call counts itself before its request is made, so that the gate's count is one less.
        assert sent == [at[-1] + 1]


class TestSession:
    """Logging in, and staying so."""

    def test_a_wrong_password(self, place: Place) -> None:
        """Say that the login failed, for whom, and never with which password."""
        with pytest.raises(LoginError) as caught:
            place.session(password="hunter2").content  # noqa: B018  # reading it connects
        assert place.endpoint.user in caught.value.message
        assert "hunter2" not in str(caught.value.as_data())

    def test_a_lapsed_session_is_renewed(self, place: Place) -> None:
        """Log in again when the server has ended the session, for reading and for changing."""
        session, other = place.session(), place.session()
        vm = place.found(session)[0]
        connector = place.connector(session)
        for act in (lambda: connector.vm(vm), lambda: connector.power_off(vm), lambda: place.found(session)):
            other.content.sessionManager.TerminateSession([session.key])
            act()
        assert connector.vm(vm).power is Power.OFF

    def test_threads_share_a_session(self, place: Place) -> None:
        """Serve many threads at once, with one login among them."""
        session = place.session()
        vm = place.found()[0]
        connector = place.connector(session)
        seen: list[str] = []
        threads = [threading.Thread(target=lambda: seen.append(connector.vm(vm).name)) for _ in range(12)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert seen == [place.vm] * 12
        assert session.calls == 3 + 12
