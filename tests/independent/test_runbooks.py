"""Carry the runbooks out on a vCenter that others wrote, and on the lab's beside it: same engine, same content.

What govmomi's simulator can't show is left out by name; the reasons stand in `vcenter_of_govmomi.CANT`. Prefect is left
out too: this is the engine's own part, from the request to the evidence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from passgate.engine.beginning import LEASE, begin
from passgate.engine.carrying import Attempt, Carrying
from passgate.engine.catalogue import Catalogue
from passgate.engine.ending import end, evidence_file
from passgate.engine.estate import Estate
from passgate.engine.filing import file_change
from passgate.engine.gate import settle
from passgate.engine.runtime import Runtime, open_store, utc_now
from passgate.engine.steps import Check, Runbook, Steps
from passgate.errors import CheckFailedError
from passgate.model.change import Actor, Change, Door, State
from passgate.model.decision import Decision, Verdict
from passgate.model.inventory import ControllerKind
from passgate.settings.load import load_config
from passgate.settings.shape import FromFile
from tests.contract.vsphere_places import PLACES, STICK, Place
from tests.independent.vcenter_of_govmomi import CANT

ROOT = Path(__file__).parents[2]
ALICE = Actor(person="alice", door=Door.CLI)
LEFT_OUT = {
    "USB-ARB-01": "arbitrator",
    "USB-VM-06": "tools",
    "arbitrator.Start": "arbitrator",
    "usb.Connected": "used-by",
    "guest.SeesUsb": "tools",
}
"""Check or step -> the name in CANT of what the simulator lacks for it."""


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Run each vCenter in turn."""
    with PLACES[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
async def runtime(place: Place, tmp_path: Path) -> AsyncIterator[Runtime]:
    """Open a runtime on that vCenter, with a home and a ledger of its own; it has no ESXi shells."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "password").write_text(place.endpoint.password)
    shipped = load_config(ROOT / "config")
    vcenter = shipped.site.vcenter.model_copy(
        update={
            "url": place.endpoint.url,
            "ca": place.endpoint.ca,
            "user": place.endpoint.user,
            "password": FromFile(file="password"),
        }
    )
    site = shipped.site.model_copy(update={"vcenter": vcenter, "shell": None})
    config = shipped.model_copy(update={"site": site})
    store = open_store(home, config)
    found = Runtime(home, config, store, Catalogue(ROOT), Estate(config, home), utc_now)
    yield found
    found.estate.close()
    store.close()


def test_each_thing_left_out_has_its_reason() -> None:
    """Nothing is left out but for a reason that is written down beside the simulator."""
    assert set(LEFT_OUT.values()) <= set(CANT)


async def test_adds_a_controller_from_the_request_to_the_evidence(runtime: Runtime, place: Place) -> None:
    """The whole of `usb-controller-add` runs on either vCenter, and a fresh session sees its effect."""
    change = await carried_out(runtime, "usb-controller-add", {"vm": place.vm, "force_off": True})

    assert change.state is State.DONE, change.outcome
    vm, _ = place.found()
    assert vm.controller(ControllerKind.XHCI) is not None
    assert vm.power == "on"
    assert evidence_file(runtime.home, change.id).exists()


async def test_refuses_to_attach_for_what_the_place_lacks(runtime: Runtime, place: Place) -> None:
    """Without a shell nobody knows whether the arbitrator runs: `usb-attach` is refused by that name, nothing filed."""
    with pytest.raises(CheckFailedError, match="USB-ARB-01"):
        await file_change(runtime, "usb-attach", {"vm": place.vm, "device": f"path:{STICK}"}, ALICE)
    assert runtime.store.changes() == ()


@pytest.mark.parametrize("vmotion", [False, True], ids=["local", "vmotion"])
async def test_attaches_as_far_as_the_place_can_show(runtime: Runtime, place: Place, *, vmotion: bool) -> None:
    """Every step of `usb-attach` but those left out by name runs, and the entry has the backing that was asked for."""
    runtime.catalogue.runbooks["usb-attach"] = shortened(runtime.catalogue.runbook("usb-attach"))
    ask = {"vm": place.vm, "device": f"path:{STICK}", "vmotion": vmotion, "force_off": True}

    change = await carried_out(runtime, "usb-attach", ask)

    assert change.state is State.DONE, change.outcome
    vm, host = place.found()
    assert [entry.hostname for entry in vm.usb] == [host.name if vmotion else None]
    assert STICK in vm.usb[0].pattern


async def test_takes_back_what_was_done(runtime: Runtime, place: Place) -> None:
    """Steps taken back in reverse leave the VM as it was."""
    before, _ = place.found()
    change = await approved(runtime, "usb-controller-add", {"vm": place.vm, "force_off": True})
    carrying = await begun(runtime, change)
    for planned in carrying.plan.steps:
        await carrying.step(planned, Attempt())

    assert await carrying.take_back() == ()

    after, _ = place.found()
    assert (after.power, after.controllers) == (before.power, before.controllers)


def shortened(runbook: Runbook[Any]) -> Runbook[Any]:
    """Return the runbook without the checks and steps that are left out by name."""

    def procedure(ask: Any, site: Any) -> Steps:
        for item in runbook(ask, site):
            if (item.code if isinstance(item, Check) else item.kind()) not in LEFT_OUT:
                yield item

    return dataclasses.replace(runbook, procedure=procedure)


async def approved(runtime: Runtime, runbook: str, ask: dict[str, Any]) -> Change:
    """File a change as Alice and approve it as Bob."""
    change = await file_change(runtime, runbook, ask, ALICE)
    decision = Decision(
        change=change.id, digest=change.digest or "", person="bob", door="cli", verdict=Verdict.APPROVE, at=utc_now()
    )
    runtime.store.decide(decision, Actor(person="bob", door=Door.CLI))
    return settle(runtime, change)


async def begun(runtime: Runtime, change: Change) -> Carrying:
    """Begin the change as its run does: leases, the plan made anew, the restore point, the journal."""
    assert change.plan is not None
    taken = await begin(runtime, change)
    assert taken is not None
    assert taken.state is State.APPLYING, taken.outcome
    tokens = runtime.store.take_leases(change.id, change.plan.resources, LEASE, utc_now())
    return Carrying(runtime, change.id, change.plan, tokens)


async def carried_out(runtime: Runtime, runbook: str, ask: dict[str, Any]) -> Change:
    """Take a change from the request to its end."""
    change = await approved(runtime, runbook, ask)
    carrying = await begun(runtime, change)
    for planned in carrying.plan.steps:
        await carrying.step(planned, Attempt())
    return await end(runtime, change, None, ())
