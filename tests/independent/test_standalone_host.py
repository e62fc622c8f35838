"""Speak with an ESXi host that stands alone, as others simulate one: no vCenter, no cluster, another root folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyVmomi import vim

from passgate.connect.vsphere.reading import HOST_PRIVILEGES, PRIVILEGES
from passgate.errors import UnsupportedError
from tests.contract.vsphere_places import Place, esx


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
