"""Plan on paper how a host is emptied for a reboot: who moves where, who is shut down, and how all return."""

from __future__ import annotations

from itertools import pairwise

import pytest

from passgate.engine.planning import resources_of
from passgate.engine.steps import Check, Step
from passgate.errors import CheckFailedError
from passgate.model.inventory import Arbitrator, Inventory, Power
from tasks import evacuation, maintenance, vmotion
from tests.scenarios.paper import ELSEWHERE, HOST, entry, machine
from tests.scenarios.unmet_host import FREE, UP, site


def titles(estate: Inventory, *, shut_down: bool = False) -> list[str]:
    """Return what is done to empty, reboot and refill the host, in words; each step works on what those before left."""
    return [step.title for step in steps(estate, shut_down=shut_down)]


def steps(estate: Inventory, *, shut_down: bool = False) -> list[Step]:
    """Return the steps that have something to do, each on the estate as those before leave it."""
    host, now, found = estate.host(HOST.ref), estate, []
    planned = [
        *evacuation.clear(host, estate, shut_down=shut_down),
        evacuation.reboot(host, estate),
        *evacuation.refill(host, estate, shut_down=shut_down),
    ]
    for step in planned:
        effect = step.effect(now)
        now = effect.then
        if effect.needed:
            found.append(step)
    return found


def unmet(estate: Inventory, *, shut_down: bool = False) -> list[str]:
    """Return the codes of the checks that are not met."""
    checks: list[Check] = list(evacuation.requirements(estate.host(HOST.ref), shut_down=shut_down))
    return [one.code for one in checks if not one.look(estate)[0]]


def test_a_running_vm_moves_aside_and_back_and_one_that_is_off_stays() -> None:
    """The destination is named in the plan, and the host's whole way back is part of it."""
    estate = site(others=[machine("old-01", 9, power=Power.OFF, **FREE)])
    assert unmet(estate) == []
    assert titles(estate) == [
        "See esx-01.lab.example ready to be emptied and rebooted",
        "Move win-01 to esx-02.lab.example",
        "Put esx-01.lab.example into maintenance mode",
        "Reboot esx-01.lab.example",
        "Take esx-01.lab.example out of maintenance mode",
        "Start the USB arbitrator on esx-01.lab.example if it does not run again",
        "Move win-01 back to esx-01.lab.example",
        "See esx-01.lab.example at work again",
    ]


def test_a_host_without_a_vcenter_moves_nothing() -> None:
    """What could move elsewhere is shut down and powered on again, where that is allowed; else the check names why."""
    estate = site().model_copy(update={"standalone": True})
    assert unmet(estate) == ["ACC-01"]
    assert unmet(estate, shut_down=True) == []
    assert titles(estate, shut_down=True)[:3] == [
        "See esx-01.lab.example ready to be emptied and rebooted",
        "Shut down the guest of win-01",
        "Put esx-01.lab.example into maintenance mode",
    ]
    assert "Power on win-01" in titles(estate, shut_down=True)


def test_a_vm_that_is_tied_to_the_host_is_shut_down_only_where_that_is_allowed() -> None:
    """Without leave its reason is a stop; with it the VM goes down, comes up, and has its device again."""
    estate = site(
        {"usb": (entry(connected=True),)}, device={"used_by": "vm-7", "used_by_name": "win-01"},
        others=[machine("lnx-01", 8, **FREE)],
    )  # fmt: skip
    assert unmet(estate) == ["EVAC-02"]
    assert unmet(estate, shut_down=True) == []
    assert titles(estate, shut_down=True) == [
        "See esx-01.lab.example ready to be emptied and rebooted",
        "Move lnx-01 to esx-02.lab.example",
        "Shut down the guest of win-01",
        "Put esx-01.lab.example into maintenance mode",
        "Reboot esx-01.lab.example",
        "Take esx-01.lab.example out of maintenance mode",
        "Start the USB arbitrator on esx-01.lab.example if it does not run again",
        "Power on win-01",
        "Move lnx-01 back to esx-01.lab.example",
        "See STORE N GO connected to win-01",
        "See esx-01.lab.example at work again",
    ]


def test_a_host_in_maintenance_mode_stays_in_it() -> None:
    """What was in maintenance mode before is not taken out of it; an arbitrator that was stopped is not started."""
    estate = site({"power": Power.OFF}, {"maintenance": True, "arbitrator": Arbitrator.STOPPED})
    assert titles(estate) == [
        "See esx-01.lab.example ready to be emptied and rebooted",
        "Reboot esx-01.lab.example",
        "See esx-01.lab.example at work again",
    ]


def test_whatever_is_temporary_has_its_end_in_the_plan() -> None:
    """The engine gives back what has no closer; here each has one, in the plan that people approve."""
    estate = site({"usb": (entry(),)}, others=[machine("lnx-01", 8, **FREE)])
    planned = steps(estate, shut_down=True)
    for index, step in enumerate(planned):
        if step.temporary:
            later = [(one.kind(), one.fields()) for one in planned[index + 1 :]]
            undo = step.undo()
            assert isinstance(undo, Step)
            assert (undo.kind(), undo.fields()) in later


def test_the_reboot_names_and_leases_every_vm_of_the_host() -> None:
    """VMs that move, stay and are off are all in the step, with where they are meanwhile."""
    estate = site(
        {"usb": (entry(),)}, others=[machine("lnx-01", 8, **FREE), machine("old-01", 9, power=Power.OFF, **FREE)]
    )
    host = estate.host(HOST.ref)
    step, moved = evacuation.reboot(host, estate), estate
    for one in evacuation.clear(host, estate, shut_down=True):
        moved = one.effect(moved).then
    assert set(resources_of(step)) == {"host:host-11", "vm:vm-7", "vm:vm-8", "vm:vm-9"}
    assert step.gate == "host-reboot"
    for words in ("lnx-01 on esx-02.lab.example", "old-01 off", "win-01 off"):
        assert words in step.effect(moved).impact
    with pytest.raises(CheckFailedError):
        evacuation.reboot(host.model_copy(update={"boot_time": None}), estate)


def test_destinations_are_chosen_by_name_and_memory_and_never_twice_over() -> None:
    """Hosts fill up in the order of their names; the choice does not depend on the order of the reading."""
    third = ELSEWHERE.model_copy(update={"ref": "host-13", "name": "esx-03.lab.example"})
    estate = site(others=[machine(f"vm-{n}", n, **FREE) for n in (8, 9)], other={"memory_mb": 8192})
    more = estate.host(ELSEWHERE.ref).model_copy(update={**third.model_dump(), "memory_mb": UP["memory_mb"]})
    for hosts in ((*estate.hosts, more), (more, *reversed(estate.hosts))):
        found = evacuation.destinations(
            estate.host(HOST.ref), estate.model_copy(update={"hosts": hosts, "vms": estate.vms[::-1]})
        )
        assert {ref: one.ref for ref, one in found.items()} == {"vm-8": "host-12", "vm-9": "host-12", "vm-7": "host-13"}


def test_a_drs_override_is_no_obstacle_for_an_explicit_move() -> None:
    """A VM that DRS may not move by itself is moved by the plan all the same."""
    estate = site()
    assert unmet(estate) == []
    assert any(isinstance(one, vmotion.Aside) for one in steps(estate))


def test_the_host_is_open_again_before_vms_return() -> None:
    """Nothing is powered on or moved to a host that is still in maintenance mode."""
    estate = site({"usb": (entry(),)}, others=[machine("lnx-01", 8, **FREE)])
    kinds = [type(one) for one in steps(estate, shut_down=True)]
    order = [evacuation.StandDown, maintenance.Enter, maintenance.Exit, evacuation.StandUp]
    assert all(kinds.index(one) < kinds.index(two) for one, two in pairwise(order))
    assert kinds.index(maintenance.Exit) < kinds.index(vmotion.Back)
