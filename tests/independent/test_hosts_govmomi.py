"""Change hosts that others wrote: services, maintenance mode, and a reboot that is believed for its boot time alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from passgate.connect.vsphere.hosts import HostsConnector
from passgate.errors import RefusedError
from passgate.model.inventory import Host
from tests.contract.vsphere_places import Place, esx, govmomi
from tests.independent.parts import until


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
