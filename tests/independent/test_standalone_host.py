"""Speak with an ESXi host that stands alone, as others simulate one: no vCenter, no cluster, another root folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyVmomi import vim

from passgate.connect.vsphere.reading import HOST_PRIVILEGES, PRIVILEGES
from passgate.errors import UnsupportedError
from passgate.model.change import State
from tests.contract.vsphere_places import Place, esx
from tests.engine_room import engine_on
from tests.independent.test_hosts_govmomi import CARD
from tests.independent.test_runbooks import LEFT_OUT, carried_out, shortened


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Run the host for one test."""
    with esx(tmp_path) as opened:
        yield opened


def test_a_host_alone_is_known_for_one(place: Place) -> None:
    """The reading says that there is no vCenter; the one host has all VMs, and no cluster."""
    site = place.read()
    [host] = site.hosts
    assert (site.standalone, site.clusters, host.cluster) == (True, (), None)
    assert {vm.host.ref for vm in site.vms} == {host.ref}
    assert host.services


def test_privileges_come_from_roles_where_they_cannot_be_asked_for(place: Place) -> None:
    """An administrator holds all that is looked for on VM and host; who may only read a VM holds nothing on it."""
    session = place.session()
    vm = session.object(vim.VirtualMachine, place.read().vm(place.vm).ref)
    with pytest.raises(UnsupportedError, match="no such operation"):
        session.read(
            "ask", "x", lambda content: content.authorizationManager.HasPrivilegeOnEntities([vm], session.key, ["x"])
        )

    site = place.read(session, vms=("ha-host_VM0", "ha-host_VM1"))

    mine, other = site.vm("ha-host_VM0"), site.vm("ha-host_VM1")
    assert site.privileges == {
        mine.ref: frozenset(PRIVILEGES),
        other.ref: frozenset(),
        mine.host.ref: frozenset(HOST_PRIVILEGES),
    }


async def test_a_function_goes_to_a_vm_of_a_host_alone(place: Place, tmp_path: Path) -> None:
    """The host rebinds it at once, the VM gets it with its memory reserved, and nothing of that asks for a vCenter."""
    with engine_on(place, tmp_path / "home") as runtime:
        for slug in ("pci-enable", "pci-attach"):
            runbook = runtime.catalogue.runbook(slug)
            runtime.catalogue.runbooks[slug] = shortened(runbook, {*LEFT_OUT, "guest_pci.SeesPci"})
        enabled = await carried_out(runtime, "pci-enable", {"host": "localhost.localdomain", "function": CARD})
        attached = await carried_out(runtime, "pci-attach", {"vm": place.vm, "function": CARD, "force_off": True})

    assert (enabled.state, attached.state) == (State.DONE, State.DONE), (enabled.outcome, attached.outcome)
    vm = place.read(vms=(place.vm,)).vm(place.vm)
    assert ([one.address for one in vm.pci], vm.memory_locked, vm.power) == ([CARD], True, "on")
