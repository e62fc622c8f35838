"""Change hosts that others wrote: services, maintenance mode, reboots, and PCI functions that are passed through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from passgate.connect.vsphere import Scope, read_inventory
from passgate.connect.vsphere.hosts import HostsConnector
from passgate.connect.vsphere.passthrough import with_passthrough
from passgate.errors import RefusedError
from passgate.model.inventory import Host
from passgate.model.pci import PciSelector
from tests.contract.vsphere_places import Place, esx, govmomi
from tests.independent.parts import until

CARD, AUDIO, BRIDGE, USB = "0000:3b:00.0", "0000:3b:00.1", "0000:00:1c.0", "0000:00:14.0"
"""The functions that each simulated host was given: a card of two behind a bridge, and a USB controller."""


@pytest.fixture(params=[govmomi, esx])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Run a vCenter, then an ESXi host that stands alone."""
    with request.param(tmp_path) as opened:
        yield opened


@pytest.fixture
def hosts(place: Place) -> HostsConnector:
    """Return a connector with authority for everything."""
    return HostsConnector(place.session(), lambda *one: place.asked.append(one))


@pytest.fixture
def host(place: Place) -> Host:
    """Return the host of the place's VM."""
    return place.found()[1]


def test_services_are_started_once_and_keep_their_policy(place: Place, hosts: HostsConnector, host: Host) -> None:
    """Each change is seen by a fresh reading, and sent only where something is to change."""
    for _ in range(2):
        hosts.start_service(host, "pcscd")
        hosts.set_service_policy(host, "pcscd", "on")
    now = hosts.host(host).service("pcscd")
    assert now is not None
    assert (now.running, now.policy) == (True, "on")

    for _ in range(2):
        hosts.stop_service(host, "pcscd")
    now = hosts.host(host).service("pcscd")
    assert now is not None
    assert (now.running, now.policy) == (False, "on")
    assert [action for action, _ in place.asked] == ["start_service", "set_service_policy", "stop_service"]
    assert {resource for _, resource in place.asked} == {f"host:{host.ref}"}
    with pytest.raises(RefusedError, match=r"lists no service nothing"):
        hosts.start_service(host, "nothing")


def test_a_host_reboots_only_in_maintenance_and_is_back_with_a_newer_boot_time(
    hosts: HostsConnector, host: Host
) -> None:
    """Accepted is not rebooted: the host goes away after the call, and comes back as it was but for its boot time."""
    with pytest.raises(RefusedError, match="InvalidState"):
        hosts.reboot(host)
    hosts.enter_maintenance(host)

    hosts.reboot(host)

    until(lambda: True if hosts.host(host).connection == "notResponding" else None, "the host to go away")
    back = until(lambda: now if (now := hosts.host(host)).connection == "connected" else None, "the host to be back")
    assert back.boot_time is not None
    assert host.boot_time is not None
    assert back.boot_time > host.boot_time
    assert back.maintenance
    hosts.exit_maintenance(host)
    assert not hosts.host(host).maintenance


def test_a_setting_is_in_effect_at_once_only_where_the_host_can_rebind(tmp_path: Path) -> None:
    """The same call makes one host's function active, and leaves the other's for its reboot: readings tell which."""
    with govmomi(tmp_path) as place:
        session, scope = place.session(), Scope(all_hosts=True, pci=True)
        site = with_passthrough(session, read_inventory(session, scope, "test"), scope)
        hosts = HostsConnector(session, lambda *_: None)
        quick, slow = (next(one for one in site.hosts if one.rebind is rebind) for rebind in (True, False))
        after = {}
        for host in (quick, slow):
            hosts.set_passthrough(host, [host.function(PciSelector(CARD))], enabled=True, now=False)
            now = hosts.passthrough(host)
            after[host.name] = (now.reboot_required, states(now))

    # Both functions of the card are behind one bridge, so they are set together.
    assert after == {
        quick.name: (False, {CARD: (True, True), AUDIO: (True, True), BRIDGE: (False, False), USB: (False, False)}),
        slow.name: (True, {CARD: (True, False), AUDIO: (True, False), BRIDGE: (False, False), USB: (False, False)}),
    }


def test_a_function_is_given_to_a_vm_once_its_host_has_rebooted(tmp_path: Path) -> None:
    """Before the reboot the host does not hand it out; after it the VM has it with all memory reserved, and back."""
    with govmomi(tmp_path) as place:
        session, scope = place.session(), Scope(all_hosts=True, pci=True)
        site = with_passthrough(session, read_inventory(session, scope, "test"), scope)
        host = next(one for one in site.hosts if one.rebind is False and site.vms_on(one))
        vm, card = site.vms_on(host)[0], host.function(PciSelector(CARD))
        hosts, vms = HostsConnector(session, lambda *_: None), place.connector(session)
        hosts.set_passthrough(host, [card], enabled=True, now=False)
        with pytest.raises(RefusedError, match="does not hand it out"):
            vms.add_pci_function(vm, card, former="0")
        assert vms.vm(vm).pci == ()

        hosts.enter_maintenance(host)
        hosts.reboot(host)
        until(lambda: True if states(hosts.passthrough(host)).get(CARD) == (True, True) else None, "it to be in effect")
        hosts.exit_maintenance(host)
        vms.power_off(vm)
        vms.add_pci_function(vm, card, former="0")

        now = vms.vm(vm)
        assert [(one.address, one.vendor, one.device) for one in now.pci] == [(CARD, 0x1CD7, 0x0010)]
        assert now.memory_locked
        assert vms.obstacles_to_power_on(vm) is None
        vms.remove_pci_function(vm, card, reservation="0")
        now = vms.vm(vm)
        assert (now.pci, now.memory_locked) == ((), False)


def states(host: Host) -> dict[str, tuple[bool, bool]]:
    """Return enabled and active of the functions that the simulator was given, by address."""
    return {one.address: (one.enabled, one.active) for one in host.pci if one.address in {CARD, AUDIO, BRIDGE, USB}}
