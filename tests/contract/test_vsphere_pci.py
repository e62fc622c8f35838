"""What the connector promises of PCI passthrough, against the lab, and as far as it can against what others wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from passgate.connect.vsphere import Scope, VSphereConnector, read_inventory
from passgate.connect.vsphere.hosts import HostsConnector
from passgate.connect.vsphere.passthrough import with_passthrough
from passgate.engine.steps import Saw, Systems
from passgate.errors import NotAuthorizedError, RefusedError, UnreachableError, UnsupportedError
from passgate.lab.snapshots import Schedule
from passgate.lab.world import World
from passgate.model.inventory import Host, HostId, Inventory, PciFunction, VmId
from passgate.model.pci import MEMORY_BEFORE, PciSelector
from tasks import passthrough, pci
from tests.contract.vsphere_places import PLACES, Place, lab

CARD, CONTROLLER = "0000:05:00.0", "0000:00:14.0"


@pytest.fixture(params=sorted(PLACES))
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Run any vCenter that we have."""
    with PLACES[request.param](tmp_path) as one:
        yield one


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Run the lab's vCenter."""
    with lab(tmp_path) as one:
        yield one


@pytest.fixture
def world(place: Place) -> World:
    """Return the lab's world."""
    assert place.world is not None
    return place.world


def site_of(place: Place, vm: str) -> Inventory:
    """Read a VM, its host and its PCI functions."""
    session, scope = place.session(), Scope(vms=(vm,), pci=True)
    return with_passthrough(session, read_inventory(session, scope, "test"), scope)


def card_of(place: Place) -> PciFunction:
    """Return the USB card of the lab's esx-02."""
    return site_of(place, "win-02").host("esx-02.lab.example").function(PciSelector(CARD))


def hosts_of(place: Place) -> HostsConnector:
    """Return a connector to hosts with authority for everything."""
    return HostsConnector(place.session(), lambda *one: place.asked.append(one))


def systems_of(place: Place) -> Systems:
    """Return systems that reach vCenter alone."""
    nobody: Any = None  # no other system may be asked
    others = {one.name: nobody for one in fields(Systems) if one.name not in {"vsphere", "hosts", "tell"}}
    return Systems(vsphere=place.connector(), hosts=hosts_of(place), **others)


def vm_of(place: Place, name: str = "win-02") -> VmId:
    """Return the identity of a VM."""
    return site_of(place, name).vm(name).id


def states(host: Host) -> dict[str, tuple[bool, bool, bool]]:
    """Return capable, enabled and active by address."""
    return {one.address: (one.capable, one.enabled, one.active) for one in host.pci}


def in_effect(world: World) -> None:
    """Let the card's passthrough be in effect."""
    state = world.host("esx-02.lab.example").passthrough
    state.enabled, state.active = {CARD}, {CARD}


class TestEverywhere:
    """On every vCenter that we have."""

    def test_functions_are_read_and_set(self, anywhere: Place) -> None:
        """Ids are unsigned, the setting is read back by a fresh reading, a second one sends nothing."""
        site = site_of(anywhere, anywhere.vm)
        home = site.vm_and_host(anywhere.vm)[1]
        controller = home.function(PciSelector(CONTROLLER))
        assert (controller.vendor, controller.is_usb_controller, controller.capable) == (0x8086, True, True)
        hosts = hosts_of(anywhere)
        for _ in range(2):
            hosts.set_passthrough(home.id, [controller], enabled=True, now=True)
            assert states(hosts.passthrough(home.id))[CONTROLLER][1] is True
        assert anywhere.asked == [("set_passthrough", f"host:{home.ref}")]
        hosts.set_passthrough(home.id, [controller], enabled=False, now=True)
        assert states(hosts.passthrough(home.id))[CONTROLLER] == (True, False, False)

    def test_nothing_is_set_without_authority(self, anywhere: Place) -> None:
        """A connector for reading refuses, and nothing changed."""
        home = site_of(anywhere, anywhere.vm).vm_and_host(anywhere.vm)[1]
        session = anywhere.session()
        with pytest.raises(NotAuthorizedError):
            HostsConnector(session).set_passthrough(
                home.id, [home.function(PciSelector(CONTROLLER))], enabled=True, now=False
            )
        assert states(HostsConnector(session).passthrough(home.id))[CONTROLLER] == (True, False, False)


class TestOnTheLab:
    """What only the lab has."""

    def test_what_hangs_on_a_function_is_read(self, place: Place) -> None:
        """Network cards, storage adapters, bridges and siblings are told, with a scheduled task of the VM."""
        assert place.world is not None
        place.world.vm("win-02").schedules = [Schedule("schedule-1", "nightly", "CreateSnapshot_Task")]
        site = site_of(place, "win-02")
        functions = {one.address: one for one in site.host("esx-02.lab.example").pci}
        assert (functions["0000:02:00.0"].alias, functions["0000:02:00.0"].carries) == ("vmnic0", "management")
        assert (functions["0000:03:00.0"].alias, functions["0000:03:00.0"].carries) == ("vmhba0", "storage")
        assert functions[CARD].parent_bridge == "0000:00:1c.0"
        assert site.host("esx-02.lab.example").rebind is False
        assert [(one.name, one.method) for one in site.vm("win-02").schedules or ()] == [
            ("nightly", "CreateSnapshot_Task")
        ]

    def test_an_older_api_is_refused_by_name_where_it_would_drop_apply_now(self, place: Place) -> None:
        """On vSphere 6.7 a setting without a reboot is refused; one that waits for the reboot is sent."""
        card = card_of(place)
        session = place.session()
        session.content.about.apiVersion = "6.7.0"
        hosts = HostsConnector(session, lambda *one: place.asked.append(one))
        with pytest.raises(UnsupportedError, match="applyNow"):
            hosts.set_passthrough(card.host, [card], enabled=True, now=True)
        assert place.asked == []
        hosts.set_passthrough(card.host, [card], enabled=True, now=False)
        assert states(hosts_of(place).passthrough(card.host))[CARD] == (True, True, False)

    def test_another_function_at_the_address_is_never_set(self, place: Place) -> None:
        """Addresses are renumbered: ids that differ stop it."""
        wrong = card_of(place).model_copy(update={"device": 0x0014})
        with pytest.raises(RefusedError, match=r"uPD720202.* now"):
            hosts_of(place).set_passthrough(wrong.host, [wrong], enabled=True, now=False)
        assert place.asked == []

    def test_a_function_is_given_and_taken_with_the_reservation_as_it_was(self, place: Place, world: World) -> None:
        """One change each way; what was reserved before is kept in the VM, and forgotten with the function."""
        in_effect(world)
        lab_vm = world.vm("win-02")
        lab_vm.memory_reservation_mb = 512
        vms, vm, card = place.connector(), vm_of(place), card_of(place)
        for _ in range(2):
            vms.add_pci_function(vm, card, former="512")
        seen = vms.vm(vm)
        assert (seen.memory_locked, seen.memory_reservation_mb, seen.extra[MEMORY_BEFORE]) == (True, 4096, "512")
        assert [(one.address, one.vendor, one.device) for one in seen.pci] == [(CARD, 0x1912, 0x0015)]
        assert vms.obstacles_to_power_on(vm) == ()
        vms.power_on(vm)
        vms.power_off(vm)
        for _ in range(2):
            vms.remove_pci_function(vm, card, reservation="512")
        seen = vms.vm(vm)
        assert (seen.memory_locked, seen.memory_reservation_mb, seen.extra, seen.pci) == (False, 512, {}, ())
        reconfigured = [one for one in world.mutations if one.method == "ReconfigVM_Task"]
        assert len(reconfigured) == 2
        assert [one for one in place.asked if "pci" in one[0]] == [
            ("add_pci_function", f"vm:{vm.ref}"), ("remove_pci_function", f"vm:{vm.ref}"),
        ]  # fmt: skip

    def test_what_is_not_handed_out_is_not_given(self, place: Place, world: World) -> None:
        """A function that is not active, another one at its address, or one of another host: refused, nothing sent."""
        vms, vm, card = place.connector(), vm_of(place), card_of(place)
        with pytest.raises(RefusedError, match="does not hand it out"):
            vms.add_pci_function(vm, card, former="0")
        in_effect(world)
        with pytest.raises(RefusedError, match="another function"):
            vms.add_pci_function(vm, card.model_copy(update={"device": 0x0014}), former="0")
        with pytest.raises(RefusedError, match=r"on esx-01\.lab\.example now"):
            vms.add_pci_function(vm_of(place, "win-01"), card, former="0")
        assert place.asked == []

    def test_vcenters_own_check_comes_first(self, place: Place, world: World) -> None:
        """What CheckVmConfig says beforehand stops the change before authority is even asked for."""
        in_effect(world)
        vm = vm_of(place)
        world.vm("win-02").fault_tolerance = True
        with pytest.raises(RefusedError, match="says beforehand"):
            place.connector().add_pci_function(vm, card_of(place), former="0")
        assert place.asked == []

    def test_what_stands_against_power_on_is_told(self, place: Place, world: World) -> None:
        """CheckPowerOn's own words come back; an older API says that nothing was checked."""
        in_effect(world)
        vms, vm = place.connector(), vm_of(place)
        vms.add_pci_function(vm, card_of(place), former="0")
        world.host("esx-02.lab.example").passthrough.system_id = "installed anew"
        [said] = vms.obstacles_to_power_on(vm) or ()
        assert "systemId does not match" in said
        session = place.session()
        session.content.about.apiVersion = "6.5"
        assert VSphereConnector(session).obstacles_to_power_on(vm) is None

    @pytest.mark.parametrize(
        ("path", "fault", "error"),
        [
            ("hardware.pciDevice", "NoPermission", RefusedError),
            ("hardware.pciDevice", "", UnreachableError),
            ("pciPassthruInfo", "NoPermission", RefusedError),
            ("pciPassthruInfo", "", UnreachableError),
            ("config.network.pnic", "NoPermission", RefusedError),
            ("config.storageDevice.hostBusAdapter", "SystemError", UnreachableError),
        ],
    )
    def test_what_is_not_told_is_never_taken_for_a_fact(
        self, place: Place, world: World, path: str, fault: str, error: type[Exception]
    ) -> None:
        """A host that does not tell its functions, their states or what it lives on is an error, not an empty host."""
        card = card_of(place)
        world.host("esx-02.lab.example").unreadable[path] = fault
        with pytest.raises(error, match=f"read {path} of esx-02"):
            site_of(place, "win-02")
        with pytest.raises(error, match=f"read {path} of esx-02"):
            hosts_of(place).set_passthrough(card.host, [card], enabled=False, now=False)
        with pytest.raises(error, match=f"read {path} of esx-02"):
            passthrough.ShowsActive(card.host, (card,), active=False).confirm(systems_of(place))

    def test_a_setting_that_waits_for_a_reboot_is_not_done_without_one(self, place: Place) -> None:
        """The step says yes only where its plan reboots the host; without that it names what is missing."""
        card, systems = card_of(place), systems_of(place)
        hosts_of(place).set_passthrough(card.host, [card], enabled=True, now=False)
        alone = passthrough.Set(card.host, (card,), enabled=True).confirm(systems)
        assert (alone.saw, "only when esx-02.lab.example is rebooted" in alone.words) == (Saw.NO, True)
        assert passthrough.Set(card.host, (card,), enabled=True, reboot_follows=True).confirm(systems).saw is Saw.YES
        gone = card.model_copy(update={"device": 0x14})
        assert passthrough.Set(card.host, (gone,), enabled=True, reboot_follows=True).confirm(systems).saw is Saw.NO

    def test_the_question_before_power_on_has_three_answers(self, place: Place, world: World) -> None:
        """Nothing against it; what is; and, of a vCenter that can't check, that nothing was checked."""
        in_effect(world)
        vm = vm_of(place)
        place.connector().add_pci_function(vm, card_of(place), former="0")
        assert pci.WouldPowerOn(vm).confirm(systems_of(place)).saw is Saw.YES
        world.host("esx-02.lab.example").passthrough.system_id = "installed anew"
        said = pci.WouldPowerOn(vm).confirm(systems_of(place))
        assert (said.saw, "systemId does not match" in said.words) == (Saw.NO, True)
        session = place.session()
        session.content.about.apiVersion = "6.5"
        said = pci.WouldPowerOn(vm).confirm(replace(systems_of(place), vsphere=VSphereConnector(session)))
        assert (said.saw, said.words.startswith("not checked")) == (Saw.YES, True)

    def test_a_host_of_another_name_is_no_host(self, place: Place) -> None:
        """A host that is gone from vCenter is an error, and no host without functions."""
        gone = HostId(ref="host-99", name="esx-99", uuid="")
        with pytest.raises((RefusedError, ConnectionError)):
            hosts_of(place).passthrough(gone)
