"""Bind an approval to meaning: noise leaves the digest alone, any change in meaning changes it and is named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import permutations, product
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passgate.engine.planning import differences
from passgate.model.inventory import (
    Arbitrator,
    ControllerKind,
    HostId,
    Inventory,
    Power,
    UsbController,
)
from passgate.model.plan import Plan, PlannedStep
from tests.scenarios.paper import ELSEWHERE, HOST, entry, estate, machine, plan, stick

XHCI = UsbController(kind=ControllerKind.XHCI, key=14000)


@st.composite
def noisy(draw: st.DrawFn) -> Inventory:
    """Return the estate as another reading could show it with nothing changed that matters to win-01 and the stick."""
    chance: Random = draw(st.randoms(use_true_random=False))
    number = draw(st.integers(0, 18))
    devices = [
        stick(
            product=0x1000 + n, path=f"0/7/{n}", serial=None, bus=2, device=n, families=("audio",),
            used_by="vm-30" if chance.random() < 0.5 else None, used_by_name="other",
        )
        for n in range(number)
    ]  # fmt: skip
    others = [
        machine(
            f"other-{n}", 30 + n, host=draw(st.sampled_from((HOST, ELSEWHERE))), power=draw(st.sampled_from(Power)),
            usb=(entry(f"0/7/{n}", connected=draw(st.booleans())),), fault_tolerance=draw(st.booleans()),
            template=draw(st.booleans()),
        )
        for n in range(draw(st.integers(0, 3)))
    ]  # fmt: skip
    site = estate(
        {"change_version": draw(st.text(max_size=3)), "guest_version": draw(st.sampled_from(("", "10.0.17763"))),
         "disks": draw(st.integers(1, 9)), "guest_ready": draw(st.booleans())},
        {"usb_controllers": draw(st.integers(0, 15)), "version": draw(st.sampled_from(("7.0.3", "8.0.2", "9.0.0")))},
        {"bus": draw(st.integers(1, 9)), "device": draw(st.integers(1, 127)), "speeds": ("high",)},
        {"read_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=draw(st.integers(0, 10**8))),
         "api_version": draw(st.sampled_from(("7.0.3.0", "8.0.2.0", "9.0.0.0")))},
        others=others,
        devices=devices,
    )  # fmt: skip
    vms, hosts = list(site.vms), [host.model_copy(update={"usb": shuffled(host.usb, chance)}) for host in site.hosts]
    return site.model_copy(update={"vms": shuffled(vms, chance), "hosts": shuffled(hosts, chance)})


def shuffled(values: Any, chance: Random) -> tuple[Any, ...]:
    """Return the values in another order."""
    values = list(values)
    chance.shuffle(values)
    return tuple(values)


@settings(deadline=None)  # the machine may be busy
@given(noisy(), st.booleans())
def test_noise_leaves_the_digest_alone(site: Inventory, vmotion: bool) -> None:
    """R35: An approval survives whatever another reading shows that has nothing to do with what was approved."""
    approved, now = plan(vmotion=vmotion), plan(site, vmotion=vmotion)
    assert differences(approved, now) == ()
    assert now.digest == approved.digest


MOVED = {"ref": "host-19", "name": "esx-09.lab.example", "uuid": "4c4c4599"}
BY_PATH = {"device": "path:0/1/3"}


def on_host(**changes: str) -> Inventory:
    """Return the estate with the host's identity changed, everywhere it is named."""
    there = HostId(**{**HOST.model_dump(), **changes})
    return estate({"host": there}, changes, {"host": there})


MEANINGS: dict[str, tuple[Inventory, dict[str, Any], str]] = {
    "another VM of that name": (estate({"ref": "vm-8"}, site={"privileges": estate().privileges}), {}, "is vm-8"),
    "the VM was made anew": (estate({"uuid": "5000-9999"}), {}, "is 5000-9999"),
    "the VM was renamed": (estate({"name": "win-09"}), {"vm": "5000-0007"}, "win-09"),
    "the VM and its stick are elsewhere": (on_host(**MOVED), {}, "esx-09"),
    "the host was registered anew": (on_host(ref="host-19"), {}, "host-19"),
    "another host of that name": (on_host(uuid="4c4c4599"), {}, "4c4c4599"),
    "another vendor in that port": (estate(device={"vendor": 0x781}), BY_PATH, "0781:0302"),
    "another product in that port": (estate(device={"product": 0x5583}), BY_PATH, "18a5:5583"),
    "another port": (estate(device={"path": "0/1/4", "pattern": "path:0/1/4"}), {}, "0/1/4"),
    "another serial": (estate(device={"serial": "07B5"}), {}, "07B5"),
    "no serial": (estate(device={"serial": None}), {}, "serial"),
    "another name of the device": (estate(device={"name": "STORE N STOP"}), {}, "STORE N STOP"),
    "a controller is there": (estate({"controllers": (XHCI,)}), {}, "has a USB 3 (xHCI) controller"),
    "an older controller": (estate({"hardware_version": 7}), {}, "USB 2 (EHCI+UHCI)"),
    "with vMotion support": (estate(), {"vmotion": True}, "vMotion"),
    "off": (estate({"power": Power.OFF}), {}, "is off"),
    "no Tools to shut the guest down": (estate({"tools_running": False}), {}, "pulling the plug"),
    "the arbitrator stands": (estate(host={"arbitrator": Arbitrator.STOPPED}), {}, "arbitrator"),
    "attached already": (estate({"usb": (entry(),)}), {}, "gone"),
    "a warning more": (estate(device={"families": ("storage", "video")}), {}, "USB-DEV-04"),
    "the device is held": (estate(device={"used_by": "vm-9", "used_by_name": "lic-01"}), {}, "USB-DEV-07"),
}  # fmt: skip


@pytest.mark.parametrize("why", MEANINGS)
def test_a_change_in_meaning_changes_the_digest_and_is_named(why: str) -> None:
    """R34: Another object, act, order, impact or warning is another plan, and who asks learns what changed."""
    site, ask, word = MEANINGS[why]
    approved, now = plan(), plan(site, **ask)
    assert now.digest != approved.digest
    assert word in "; ".join(differences(approved, now))
    assert differences(now, approved)


def test_no_two_meanings_share_a_digest() -> None:
    """Each pair of the corpus differs, in digest and in words, both ways."""
    made = {why: plan(site, **ask) for why, (site, ask, _) in MEANINGS.items()}
    assert len({one.digest for one in made.values()}) == len(made)
    silent = [(a, b) for a, b in permutations(made, 2) if not differences(made[a], made[b])]
    assert silent == []


Changed = Callable[[Any], Any]
OTHER: dict[type, Changed] = {
    str: lambda old: f"{old}!",
    bool: lambda old: not old,
    dict: lambda old: {**old, "more": 1},
}


@pytest.mark.parametrize(
    ("at", "name"), [*product(range(len(plan().steps)), sorted(PlannedStep.model_fields.keys() - {"index"}))]
)
def test_every_word_of_every_step_counts(at: int, name: str) -> None:
    """A stored plan in which one field of one step was changed is another plan."""
    approved = plan()
    old = getattr(approved.steps[at], name)
    step = approved.steps[at].model_copy(update={name: OTHER[type(old)](old)})
    other = with_steps(approved, *approved.steps[:at], step, *approved.steps[at + 1 :])
    assert other.digest != approved.digest
    said = "more" if name == "fields" else name
    assert f"step {at + 1}, {approved.steps[at].title}: {said} was" in "; ".join(differences(approved, other))


def test_order_and_number_of_steps_count() -> None:
    """The same steps in another order, one fewer or one twice are other plans, and the words name the step."""
    approved = plan()
    for at in range(len(approved.steps) - 1):
        first, second = approved.steps[at : at + 2]
        swapped = with_steps(approved, *approved.steps[:at], second, first, *approved.steps[at + 2 :])
        fewer = with_steps(approved, *approved.steps[:at], *approved.steps[at + 1 :])
        twice = with_steps(approved, *approved.steps[: at + 1], first, *approved.steps[at + 1 :])
        for other in (swapped, fewer, twice):
            assert other.digest != approved.digest
            said = "; ".join(differences(approved, other))
            assert first.title in said or second.title in said


@pytest.mark.parametrize("name", ["runbook", "target", "resources", "impact"])
def test_what_a_plan_says_as_a_whole_counts(name: str) -> None:
    """Runbook, target, leases and impact are part of what was approved."""
    approved = plan()
    old = getattr(approved, name)
    other = approved.model_copy(update={name: f"{old}!" if isinstance(old, str) else (*old, "more")})
    assert other.digest != approved.digest
    assert differences(approved, other)


def test_a_plan_survives_being_stored() -> None:
    """The digest of a plan that comes back from JSON is the digest that was approved."""
    approved = plan(vmotion=True)
    assert Plan.model_validate_json(approved.model_dump_json()).digest == approved.digest


def test_a_plan_takes_leases_on_what_it_changes_alone() -> None:
    """The VM and the device; the host only when its arbitrator is started."""
    assert set(plan().resources) == {"vm:vm-7", "usb:host-11/18a5:0302"}
    stopped = plan(estate(host={"arbitrator": Arbitrator.STOPPED}, device={"path": None, "offered": False}))
    assert set(stopped.resources) == {"vm:vm-7", "usb:host-11/18a5:0302", "host:host-11"}


def with_steps(approved: Plan, *steps: PlannedStep) -> Plan:
    """Return the plan with those steps."""
    return approved.model_copy(update={"steps": steps})
