"""Carry the runbooks out on a vCenter and a host that others wrote, and on the lab: same engine, same content.

What govmomi's simulator can't show is left out by name; the reasons stand in `vcenter_of_govmomi.CANT`. Prefect is left
out too: this is the engine's own part, from the request to the evidence.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from passgate.engine.carrying import Attempt
from passgate.engine.ending import end, evidence_file
from passgate.engine.filing import file_change
from passgate.engine.runtime import Runtime
from passgate.engine.steps import Check, Runbook, Steps
from passgate.errors import CheckFailedError
from passgate.model.change import Change, State
from passgate.model.counted import counted
from passgate.model.inventory import ControllerKind
from tests.contract.esxi_of_openssh import openssh, prepare, showing
from tests.contract.vsphere_places import PLACES, STICK, Place, govmomi
from tests.engine_room import ALICE, approved, begun, engine_on
from tests.independent.vcenter_of_govmomi import CANT

LEFT_OUT = {
    "USB-ARB-01": "arbitrator",
    "USB-VM-06": "tools",
    "arbitrator.Start": "arbitrator",
    "guest.SeesUsb": "tools",
}
"""Check or step -> the name in CANT of what the simulator lacks for it."""


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Run each vCenter in turn."""
    with PLACES[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def runtime(place: Place, tmp_path: Path) -> Iterator[Runtime]:
    """Open a runtime on that vCenter."""
    with engine_on(place, tmp_path / "home") as opened:
        yield opened


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
    if place.standalone and vmotion:
        with pytest.raises(CheckFailedError, match=r"ACC-01.* without a vCenter"):
            await file_change(runtime, "usb-attach", ask, ALICE)
        return

    change = await carried_out(runtime, "usb-attach", ask)

    assert change.state is State.DONE, change.outcome
    vm, host = place.found()
    assert [entry.hostname for entry in vm.usb] == [host.name if vmotion else None]
    assert STICK in vm.usb[0].pattern


async def test_takes_the_census_of_every_host(runtime: Runtime, place: Place) -> None:
    """Pre-authorised, and read in one walk: devices of each host are rows, and who has one is told after an attach."""
    runtime.catalogue.runbooks["usb-attach"] = shortened(runtime.catalogue.runbook("usb-attach"))
    ask = {"vm": place.vm, "device": f"path:{STICK}", "force_off": True}
    assert (await carried_out(runtime, "usb-attach", ask)).state is State.DONE
    site = place.read()

    change = await carried_out(runtime, "usb-census", {"shells": False})

    assert change.state is State.DONE, change.outcome
    assert f"{len(site.hosts)} of {counted(len(site.hosts), 'host')} read" in change.outcome
    rows = rows_in(evidence_file(runtime.home, change.id))
    assert {row["host"] for row in rows} == {host.name for host in site.hosts}
    users = {(row["host"], row["place"]): row["vm"] for row in rows if row["use"] == "used"}
    assert users[place.found()[1].name, STICK] == place.vm


async def test_attaches_on_a_site_of_parts_that_others_wrote(tmp_path: Path) -> None:
    """With OpenSSH as the host's shell only the guest is left out: the serial names the device, SSH starts the service.

    The arbitrator is stopped at first, and is started once.
    """
    (shell := tmp_path / "esxi").mkdir()
    prepare(shell, showing("18a5:0302", "07A40901A2B3", "Verbatim, Ltd Flash Drive"))
    with govmomi(tmp_path) as place, openssh(shell, "DC0_H0") as access:
        with engine_on(place, tmp_path / "home", access) as runtime:
            runbook = runtime.catalogue.runbook("usb-attach")
            runtime.catalogue.runbooks["usb-attach"] = shortened(runbook, {"USB-VM-06", "guest.SeesUsb"})
            ask = {"vm": place.vm, "device": "serial:07A40901A2B3", "force_off": True}

            change = await carried_out(runtime, "usb-attach", ask)

        assert change.state is State.DONE, change.outcome
        assert change.plan is not None
        assert next(step.kind for step in change.plan.steps if step.needed) == "arbitrator.Start"
        assert len((shell / "tools/started").read_text(encoding="utf-8").splitlines()) == 1
        assert STICK in place.found()[0].usb[0].pattern


async def test_takes_back_what_was_done(runtime: Runtime, place: Place) -> None:
    """Steps taken back in reverse leave the VM as it was."""
    before, _ = place.found()
    change = await approved(runtime, "usb-controller-add", {"vm": place.vm, "force_off": True})
    carrying = await begun(runtime, change)
    for planned in carrying.plan.steps:
        await carrying.step(planned, Attempt())

    await carrying.take_back()

    after, _ = place.found()
    assert (after.power, after.controllers) == (before.power, before.controllers)


def rows_in(evidence: Path) -> list[dict[str, str]]:
    """Return the rows of the census in an evidence file."""
    with zipfile.ZipFile(evidence) as bundle:
        text = bundle.read("tables/1-usb-census.csv").decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def shortened(runbook: Runbook[Any], left_out: Collection[str] = LEFT_OUT) -> Runbook[Any]:
    """Return the runbook without the checks and steps that are left out by name."""

    def procedure(ask: Any, site: Any) -> Steps:
        for item in runbook(ask, site):
            if (item.code if isinstance(item, Check) else item.kind()) not in left_out:
                yield item

    return dataclasses.replace(runbook, procedure=procedure)


async def carried_out(runtime: Runtime, runbook: str, ask: dict[str, Any]) -> Change:
    """Take a change from the request to its end."""
    change = await approved(runtime, runbook, ask)
    carrying = await begun(runtime, change)
    for planned in carrying.plan.steps:
        await carrying.step(planned, Attempt())
    return await end(runtime, change, None, carrying.tokens)
