"""The connector's host methods do what the port says: on the lab, and as far as it can on what others wrote."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from passgate.connect.vsphere.hosts import HostsConnector
from passgate.connect.vsphere.surroundings import named, own_uuids, with_surroundings
from passgate.errors import NotAuthorizedError, RefusedError
from passgate.lab.cluster import DrsOverride
from passgate.lab.reboot import go_down
from passgate.lab.world import World
from passgate.model.inventory import HostId, VmId
from tests.contract.lab_vcenter import within
from tests.contract.vsphere_places import Place, govmomi, lab


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Run the lab's vCenter."""
    with lab(tmp_path) as place:
        yield place


@pytest.fixture
def world(place: Place) -> World:
    """Return the lab's world."""
    assert place.world is not None
    return place.world


@pytest.fixture
def hosts(place: Place) -> HostsConnector:
    """Return a connector with authority for everything."""
    return HostsConnector(place.session(), lambda *one: place.asked.append(one))


def id_of(world: World, name: str) -> HostId:
    """Return the identity of a host of the lab."""
    host = world.host(f"{name}.lab.example")
    return HostId(ref=host.ref, name=host.name, uuid=host.uuid)


def vm_of(world: World, name: str) -> VmId:
    """Return the identity of a VM of the lab."""
    vm = world.vm(name)
    return VmId(ref=vm.ref, name=vm.name, uuid=vm.instance_uuid, host=id_of(world, vm.host.name.partition(".")[0]))


def test_maintenance_mode_is_entered_and_left_once(place: Place, world: World, hosts: HostsConnector) -> None:
    """DRS empties the host; a second entry and a second exit send nothing."""
    esx_01 = id_of(world, "esx-01")
    for _ in range(2):
        hosts.enter_maintenance(esx_01, within=timedelta(seconds=30))
    assert hosts.host(esx_01).maintenance
    for _ in range(2):
        hosts.exit_maintenance(esx_01)
    assert not hosts.host(esx_01).maintenance
    assert place.asked == [("enter_maintenance", "host:host-11"), ("exit_maintenance", "host:host-11")]


def test_a_vm_that_cannot_leave_is_named_and_the_task_cancelled(
    place: Place, world: World, hosts: HostsConnector
) -> None:
    """On our own deadline nothing goes on behind our back: the task is cancelled, the host open, the VM named."""
    esx_01 = id_of(world, "esx-01")
    world.cluster.overrides["vm-101"] = DrsOverride(behavior="manual")
    with pytest.raises(RefusedError, match="still running there: win-01") as told:
        hosts.enter_maintenance(esx_01, within=timedelta(seconds=1))
    assert told.value.fault == "VmsCannotLeave"
    assert ("cancel_task", "host:host-11") in place.asked
    assert not world.host("esx-01.lab.example").entering_maintenance
    assert [one.state for one in world.tasks.values() if one.method == "EnterMaintenanceMode_Task"] == ["error"]


def test_a_reboot_is_never_forced_and_its_end_is_a_newer_boot_time(world: World, hosts: HostsConnector) -> None:
    """Outside maintenance mode it is refused; inside, the call returns long before the host is back."""
    esx_03 = id_of(world, "esx-03")
    before = hosts.host(esx_03).boot_time
    assert before is not None
    with pytest.raises(RefusedError):
        hosts.reboot(esx_03)
    hosts.enter_maintenance(esx_03)
    hosts.reboot(esx_03)
    assert hosts.host(esx_03).boot_time == before
    deadline = time.monotonic() + 10
    while (now := hosts.host(esx_03)).boot_time == before or now.connection != "connected":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert now.boot_time is not None
    assert now.boot_time > before
    assert now.maintenance


def test_a_reboot_that_was_accepted_is_not_asked_for_twice(place: Place, world: World, hosts: HostsConnector) -> None:
    """Whoever comes back from a crash before the host went down finds the task, and sends nothing more."""
    esx_03 = id_of(world, "esx-03")
    lab_host = world.host("esx-03.lab.example")
    lab_host.maintenance, before = True, lab_host.boot_time
    hosts.reboot(esx_03)
    hosts.reboot(esx_03)
    assert place.asked == [("reboot", "host:host-13")]
    assert within(lambda: lab_host.boot_time > before)
    hosts.reboot(esx_03)
    assert len(place.asked) == 2


def test_a_session_may_expire_while_a_host_empties_itself(place: Place, world: World, hosts: HostsConnector) -> None:
    """The wait logs in again and goes on; the call is not sent twice."""
    world.settings = world.settings.model_copy(update={"power_seconds": 0.6})
    sessions, mine = place.session().content.sessionManager, hosts._session.key
    ending = threading.Timer(0.3, lambda: sessions.TerminateSession([mine]))
    ending.start()
    hosts.enter_maintenance(id_of(world, "esx-01"))
    ending.join()
    assert hosts._session.key != mine
    assert world.host("esx-01.lab.example").maintenance
    assert [one.method for one in world.mutations].count("EnterMaintenanceMode_Task") == 1


def test_a_host_that_was_let_go_is_taken_again(world: World, hosts: HostsConnector) -> None:
    """A connected host counts as done; one that is down is an error in words."""
    esx_02 = id_of(world, "esx-02")
    hosts.reconnect(esx_02)
    world.host("esx-02.lab.example").connection = "disconnected"
    hosts.reconnect(esx_02)
    assert hosts.host(esx_02).connection == "connected"
    go_down(world, world.host("esx-02.lab.example"))
    with pytest.raises(RefusedError, match=r"reconnect esx-02\.lab\.example"):
        hosts.reconnect(esx_02)


def test_services_start_stop_and_keep_their_policy(place: Place, world: World, hosts: HostsConnector) -> None:
    """Each sends only where something is to change; a service that the host lacks is named with those it has."""
    esx_01 = id_of(world, "esx-01")
    for _ in range(2):
        hosts.start_service(esx_01, "ntpd")
        hosts.stop_service(esx_01, "ntpd")
        hosts.set_service_policy(esx_01, "ntpd", "off")
    found = hosts.host(esx_01).service("ntpd")
    assert found is not None
    assert (found.running, found.policy) == (False, "off")
    assert [action for action, _ in place.asked].count("set_service_policy") == 1
    with pytest.raises(RefusedError, match=r"lists no service usbarbitrator\.") as told:
        hosts.start_service(esx_01, "usbarbitrator")
    assert "TSM-SSH" in told.value.hint


def test_the_override_of_power_management_follows_what_is_there(
    place: Place, world: World, hosts: HostsConnector
) -> None:
    """Add, edit and remove are chosen by reading; the rest of the cluster's configuration stays."""
    esx_01 = id_of(world, "esx-01")
    world.cluster.overrides["vm-101"] = DrsOverride(behavior="manual")
    for wanted in (None, False, False, True, None):
        hosts.set_power_management(esx_01, wanted)
        assert world.host("esx-01.lab.example").dpm is wanted
    assert len(place.asked) == 3
    assert (world.cluster.drs, list(world.cluster.overrides)) == (True, ["vm-101"])


def test_a_vm_is_moved_once_and_asked_about_before(place: Place, world: World) -> None:
    """VCenter's own check says what stands in the way; a move that is done already sends nothing."""
    connector, win, esx_02 = place.connector(), vm_of(world, "win-01"), id_of(world, "esx-02")
    assert connector.obstacles_to_migration(win, esx_02) == ()
    world.vm("win-01").local_datastore = True
    [why] = connector.obstacles_to_migration(win, esx_02) or ()
    assert "CannotAccessVmDisk" in why
    with pytest.raises(RefusedError, match="move win-01"):
        connector.relocate(win, esx_02)
    world.vm("win-01").local_datastore = False
    for _ in range(2):
        connector.relocate(win, esx_02)
    assert world.vm("win-01").host.name == "esx-02.lab.example"
    assert [action for action, _ in place.asked] == ["relocate", "relocate"]  # the first one was refused


def test_a_server_without_the_check_is_not_taken_for_a_yes(tmp_path: Path) -> None:
    """Govmomi's simulator has no CheckMigrate: nothing is known, and that is what is said; the move itself works."""
    with govmomi(tmp_path) as place:
        site = place.read()
        vm = site.vm(place.vm)
        other = next(one for one in site.hosts if one.ref != vm.host.ref)
        assert place.connector().obstacles_to_migration(vm, other) is None
        place.connector().relocate(vm, other)
        assert place.connector().vm(vm).host.ref == other.ref


def test_maintenance_mode_on_a_simulator_that_others_wrote(tmp_path: Path) -> None:
    """Govmomi's simulator enters and leaves maintenance mode through the same calls."""
    with govmomi(tmp_path) as place:
        hosts = HostsConnector(place.session(), lambda *_: None)
        host = next(one for one in place.read().hosts)
        hosts.enter_maintenance(host)
        assert hosts.host(host).maintenance
        hosts.exit_maintenance(host)
        assert not hosts.host(host).maintenance


def test_nothing_is_sent_without_authority(place: Place, world: World) -> None:
    """Each method that changes something is refused before anything goes out."""
    hosts, esx_01 = HostsConnector(place.session()), id_of(world, "esx-01")
    world.host("esx-02.lab.example").connection = "disconnected"
    world.host("esx-03.lab.example").maintenance = True
    for act in (
        lambda: hosts.enter_maintenance(esx_01),
        lambda: hosts.exit_maintenance(id_of(world, "esx-03")),
        lambda: hosts.reboot(esx_01),
        lambda: hosts.reconnect(id_of(world, "esx-02")),
        lambda: hosts.stop_service(esx_01, "ntpd"),
        lambda: hosts.start_service(esx_01, "pcscd"),
        lambda: hosts.set_service_policy(esx_01, "ntpd", "off"),
        lambda: hosts.set_power_management(esx_01, enabled=False),
    ):
        with pytest.raises(NotAuthorizedError):
            act()
    assert world.mutations == []


def test_what_moves_need_is_read_where_a_host_is_named(place: Place, world: World) -> None:
    """Shared disks of each VM of the host, its datacenter, and whether it can reboot; elsewhere nothing is claimed."""
    world.vm("lnx-01").local_datastore = True
    world.vm("lnx-01").tools_installed = False
    session = place.session()
    site = place.read(session, hosts=("esx-01.lab.example",))
    site = with_surroundings(session, site, ("esx-01.lab.example",), ())
    assert {one.name: one.shared_storage for one in site.vms_on(site.host("esx-01.lab.example"))} == {
        "lnx-01": False, "old-01": True, "win-01": True,
    }  # fmt: skip
    assert site.vm("lic-01").shared_storage is None
    host = site.host("esx-01.lab.example")
    assert (host.datacenter, host.can_reboot, host.ha_state) == ("datacenter-2", True, "master")
    assert site.host("esx-02.lab.example").datacenter is None
    assert site.depended_on == {}


def test_the_vms_that_we_depend_on_are_known_by_address_and_uuid(tmp_path: Path) -> None:
    """VCenter's VM by its guest's name or address, our own by this machine's UUID in either byte order."""
    one = uuid.uuid4()
    (tmp_path / "uuid").write_text(f"{one}\n".upper())
    rows = {
        "vm-1": {"guest.ipAddress": "192.0.2.2"},
        "vm-2": {"guest.hostName": "VCenter.lab.example"},
        "vm-3": {"config.uuid": str(uuid.UUID(bytes=one.bytes_le))},
        "vm-4": {"config.uuid": str(one).upper()},
        "vm-5": {"config.uuid": str(uuid.uuid4()), "guest.ipAddress": "192.0.2.3", "guest.hostName": ""},
        "vm-6": {},
    }
    found = named(rows, frozenset({"192.0.2.2", "vcenter.lab.example"}), own_uuids(tmp_path / "uuid"))
    assert found == {"vm-1": "vCenter", "vm-2": "vCenter", "vm-3": "Passgate", "vm-4": "Passgate"}
    assert own_uuids(tmp_path / "none") == frozenset()
