"""The ESXi shell says whether one host reaches another, and goes away and comes back with its host."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from passgate.connect.esxi_shell.shell import EsxiShell
from passgate.connect.esxi_shell.wire import ShellAccess
from passgate.errors import InputError, UnreachableError
from passgate.lab.esxi import EXEC, EsxiShells
from passgate.lab.hardware import Fault
from passgate.lab.inventory_seed import seeded_world
from passgate.lab.reboot import boot, go_down
from passgate.lab.world import World
from passgate.model.inventory import Arbitrator, HostId
from tests.contract.lab_vcenter import within

ESX_01 = HostId(ref="host-11", name="esx-01.lab.example", uuid="")


@pytest.fixture
def world() -> Iterator[World]:
    """Return a world of its own."""
    made = seeded_world()
    yield made
    made.close()


@pytest.fixture
def shell(world: World) -> Iterator[EsxiShell]:
    """Serve that world's shells, and return a connector to them."""
    served = EsxiShells(world)
    served.start()
    made = EsxiShell(
        ShellAccess(
            user="root", key=served.private_key, known_hosts=served.known_hosts, addresses=served.addresses,
            timeout=timedelta(seconds=10),
        )
    )  # fmt: skip
    yield made
    made.close()
    served.stop()


def is_away(shell: EsxiShell) -> bool:
    """Say whether the shell can't be reached, in a way that is safe to try again."""
    try:
        shell.arbitrator(ESX_01)
    except UnreachableError as error:
        return error.safe_to_repeat
    return False


def test_a_port_answers_is_closed_or_can_not_be_tried(shell: EsxiShell, world: World) -> None:
    """Three answers that are told apart; a host that is down answers nothing."""
    assert shell.reaches(ESX_01, "192.0.2.12", 902) is True
    world.hosts[1].answers_902 = False
    assert shell.reaches(ESX_01, "192.0.2.12", 902) is False
    assert shell.reaches(ESX_01, "2001:db8::1", 902) is False
    world.inject(Fault(EXEC, fault="exit 127", message="sh: nc: not found"))
    assert shell.reaches(ESX_01, "192.0.2.12", 902) is None
    world.inject(Fault(EXEC, fault="exit 1", message="usage: nc [-46DdhklnrStUuvz]"))
    assert shell.reaches(ESX_01, "192.0.2.12", 902) is None


@pytest.mark.parametrize("address", ["", "esx-02", "192.0.2.12; reboot", "192.0.2.12 22", "$(reboot)"])
def test_what_is_no_address_never_gets_to_the_shell(shell: EsxiShell, address: str) -> None:
    """Names and anything that a shell could read otherwise are refused before a word is sent."""
    with pytest.raises(InputError, match="no IP address"):
        shell.reaches(ESX_01, address, 902)


def test_a_shell_goes_down_and_comes_back_with_its_host(shell: EsxiShell, world: World) -> None:
    """While the host reboots the shell is unreachable, which is safe to repeat; afterwards the same connector works."""
    assert shell.arbitrator(ESX_01) is Arbitrator.RUNNING
    go_down(world, world.hosts[0])
    assert within(lambda: is_away(shell))  # the kept connection is broken a moment after the host went down
    world.hosts[0].arbitrator_autostart = False
    boot(world, world.hosts[0])
    assert shell.arbitrator(ESX_01) is Arbitrator.STOPPED
