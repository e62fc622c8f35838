"""What pci-attach and pci-detach promise on paper, at the edges: what is reserved, who has what, what is asked."""

from __future__ import annotations

import pytest

from passgate.engine.steps import UsbSelector
from passgate.errors import InputError, UnknownNameError
from passgate.model.inventory import Host, Power, VmPci
from passgate.model.pci import MEMORY_BEFORE, PciSelector
from tasks import pci, pci_controller
from tests.scenarios.paper import HOST, machine, plan, stick
from tests.scenarios.paper_pci import BUILT, BUILT_IN, CARD, card_of, function, on_paper, other

HAS = {"pci": (pci.entry(function()),), "memory_mb": 4096, "memory_locked": True, "memory_reservation_mb": 4096}
SECOND = VmPci(key=13001, address="0000:06:00.0", vendor=1, device=2)


@pytest.mark.parametrize(
    ("vm", "kept"),
    [
        ({"memory_reservation_mb": 512}, "512"),
        ({}, "0"),
        ({"memory_locked": True}, "all"),
        ({"pci": (SECOND,), "memory_locked": True}, ""),
        ({"pci": (SECOND,), "memory_reservation_mb": 4096}, "4096"),
        ({"pci": (SECOND,), "extra": {MEMORY_BEFORE: "0"}}, ""),
    ],
)
def test_what_is_kept_of_the_reservation(vm: dict[str, object], kept: str) -> None:
    """What was reserved is kept once: a second function does not take the first one's reservation for it."""
    assert pci.former(machine(**vm)) == kept


@pytest.mark.parametrize(
    ("vm", "asked", "reservation"),
    [
        ({**HAS, "extra": {MEMORY_BEFORE: "512"}}, None, "512"),
        ({**HAS, "extra": {MEMORY_BEFORE: "512"}}, 0, "0"),
        ({**HAS, "extra": {MEMORY_BEFORE: "all"}}, None, "all"),
        (HAS, None, ""),
        ({**HAS, "extra": {MEMORY_BEFORE: "lots"}}, None, ""),
        ({**HAS, "pci": (*HAS["pci"], SECOND), "extra": {MEMORY_BEFORE: "512"}}, 0, ""),
    ],
)
def test_what_is_reserved_after_a_detach(vm: dict[str, object], asked: int | None, reservation: str) -> None:
    """What was asked goes before what was kept; nothing is guessed, and a second function needs it all still."""
    assert pci.restored(machine(**vm), function(), asked) == reservation


def test_a_plan_says_the_limits_aloud() -> None:
    """No suspend, no vMotion, no snapshots: in the impact, with the memory that stays reserved."""
    made = plan(on_paper(), runbook="pci-attach", function=CARD)
    [cost] = [one for one in made.impact if "no suspend" in one]
    assert all(part in cost for part in ("no vMotion", "no snapshots", "all 4096 MiB of its memory stay reserved"))


def test_memory_just_fits() -> None:
    """Right at the limit nothing is refused."""
    made = plan(on_paper(host={"memory_mb": 8192}), runbook="pci-attach", function=CARD)
    assert [one.code for one in made.checks if not one.met] == []


def test_a_function_of_others_that_are_off_elsewhere_does_not_count() -> None:
    """Only VMs of the function's own host can take it."""
    elsewhere = other(pci=HAS["pci"], power=Power.OFF, host=HOST.model_copy(update={"ref": "host-12"}))
    made = plan(on_paper(others=(elsewhere,)), runbook="pci-attach", function=CARD)
    assert [one.code for one in made.checks if not one.met] == []


def test_a_leftover_of_another_host_can_be_detached() -> None:
    """An entry whose function the host does not have is named by what the configuration says of it."""
    vm = {"pci": (SECOND,), "memory_mb": 4096, "memory_locked": True}
    made = plan(on_paper(vm), runbook="pci-detach", function="0000:06:00.0", reservation_mb=0)
    assert "Remove 0001:0002 from win-01" in [step.title for step in made.todo]


@pytest.mark.parametrize("wrong", ["0000:99:00.0", "ffff:0001"])
def test_unknown_functions_are_refused_with_what_there_is(wrong: str) -> None:
    """The error lists what can be passed through, or what the VM has."""
    with pytest.raises(UnknownNameError) as refused:
        plan(on_paper(), runbook="pci-attach", function=wrong)
    assert CARD in refused.value.hint
    with pytest.raises(UnknownNameError) as refused:
        plan(on_paper(HAS), runbook="pci-detach", function=wrong)
    assert CARD in refused.value.hint


@pytest.mark.parametrize("usb", ["path:0/1/3", "serial:07A4"])
def test_a_device_behind_a_controller_is_named_by_its_ids(usb: str) -> None:
    """The host can't see it any more, so a path or a serial alone names nothing."""
    with pytest.raises(InputError, match="can be asked for"):
        plan(on_paper(), runbook="pci-attach", function=CARD, usb=usb)


@pytest.mark.parametrize("text", ["", "05:00.0", "0000:05:00.8", "zz", "0000:05:00.0,1912:0015"])
def test_selectors_that_name_nothing(text: str) -> None:
    """A malformed selector is refused, with what is accepted."""
    with pytest.raises(InputError) as refused:
        PciSelector(text)
    assert "0000:05:00.0" in refused.value.hint


def host(**changes: object) -> Host:
    """Return the host on paper."""
    return on_paper(host=changes).hosts[0]


class TestMapping:
    """Which controller a bus belongs to."""

    RECORD = {"bus": 3, "address": CARD, "confirmed_by": "alice", "at": "2026-11-25"}  # noqa: RUF012 - of one test

    def test_one_controller_is_proof_enough(self) -> None:
        """Whatever the bus, there is only one it can be."""
        place = pci_controller.located(host(pci=(BUILT,), buses={}), stick(bus=None))
        assert place.function == BUILT

    def test_a_root_hub_is_proof(self) -> None:
        """The serial of the bus's root hub names the function."""
        place = pci_controller.located(host(), stick(bus=3))
        assert (place.function, "root hub of its bus" in place.proof) == (card_of(on_paper()), True)

    def test_a_persons_word_is_proof_and_is_shown(self) -> None:
        """The record's author and date are in the words."""
        place = pci_controller.located(host(buses={}, confirmed=(self.RECORD,)), stick(bus=3))
        assert place.function is not None
        assert "alice confirmed on 2026-11-25 (config/site.yaml)" in place.proof

    @pytest.mark.parametrize(
        ("changes", "bus", "said"),
        [
            ({"buses": {}}, 3, "nothing tells which of 2"),
            ({}, None, "does not tell the bus"),
            ({"buses": {3: "0000:02:00.0"}}, 3, "nothing tells"),
            ({"confirmed": ({**RECORD, "address": BUILT_IN},)}, 3, "its root hub says"),
            ({"buses": {}, "confirmed": ({**RECORD, "address": "0000:99:00.0"},)}, 3, "no USB controller"),
            ({"buses": {}, "confirmed": ({**RECORD, "bus": 4},)}, 3, "nothing tells"),
        ],
    )
    def test_nothing_is_guessed(self, changes: dict[str, object], bus: int | None, said: str) -> None:
        """Without proof, or with two that disagree, there is no function, and the words say why."""
        place = pci_controller.located(host(**changes), stick(bus=bus))
        assert (place.function, said in place.proof) == (None, True), place.proof

    def test_what_is_not_known_to_be_elsewhere_may_be_behind_it(self) -> None:
        """A device of an unknown bus counts as being on each controller."""
        unknown, elsewhere, here = stick(bus=None), stick(bus=1, path="0/1/4"), stick(bus=3, path="0/3/1")
        found = pci_controller.behind(host(usb=(unknown, elsewhere, here)), function())
        assert found == (unknown, here)

    def test_only_one_thing_is_named(self) -> None:
        """Neither or both is refused."""
        with pytest.raises(InputError, match="Name one thing"):
            pci_controller.chosen(host(), None, None)
        with pytest.raises(InputError, match="Name one thing"):
            pci_controller.chosen(host(), UsbSelector("18a5:0302"), PciSelector(CARD))
