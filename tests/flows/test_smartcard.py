"""Give a VM a smart-card reader and take it away again, from the request to the evidence, by both methods."""

from __future__ import annotations

from typing import Any

import pytest

from passgate.model.change import Change, EventType, State, StepState
from tests.house import House, until

READER = {"vm": "lnx-02", "device": "076b:3031"}
ESX_03 = "esx-03.lab.example"
KEY = "usb.generic.allowCCID"
ENABLED = [
    "Start the USB arbitrator on esx-03.lab.example",
    "Shut down the guest of lnx-02",
    "Set usb.generic.allowCCID of lnx-02 to TRUE",
    "Stop pcscd on esx-03.lab.example",
    "Set the startup policy of pcscd on esx-03.lab.example to off",
    "Add a USB 3 (xHCI) controller to lnx-02",
    "Add OmniKey CardMan 3121 to lnx-02",
    "Power on lnx-02",
    "See OmniKey CardMan 3121 connected to lnx-02",
    "See OmniKey CardMan 3121 in the guest of lnx-02",
]
DISABLED = [
    "Shut down the guest of lnx-02",
    "Remove OmniKey CardMan 3121 from lnx-02",
    "Remove usb.generic.allowCCID from lnx-02",
    "Set the startup policy of pcscd on esx-03.lab.example to on",
    "Start pcscd on esx-03.lab.example",
    "Power on lnx-02",
]


@pytest.mark.parametrize("method", ["api", "vmx"])
def test_a_reader_goes_to_a_vm_and_back_to_its_host(house: House, method: str) -> None:
    """Enabled, the guest sees a reader and a reboot would not take it away; disabled, all is as it was before."""
    house.lab.control.set_vm("lnx-02", power="poweredOn")
    until(lambda: house.lab.control.vm("lnx-02")["tools_running"], "the guest has booted")
    before = house.lab.control.vm("lnx-02")["extra"], pcscd(house)

    enabled = carried_out(house, "smartcard-enable", method=method)

    vm = house.lab.control.vm("lnx-02")
    assert (vm["power"], [one["connected"] for one in vm["usb"]], vm["extra"]) == ("poweredOn", [True], {KEY: "TRUE"})
    assert pcscd(house) == [False, "off"]
    assert done(house, enabled) == ENABLED
    proof = [one for one in house.store.events(change=enabled.id) if one.type is EventType.GUEST_PROOF]
    assert "as a smart-card reader" in str(proof[-1].data["saw"])
    assert f'{KEY} = "TRUE"' in house.lab.control.get("/files")["vmx"]["lnx-02"]
    wires = {one["wire"] for one in house.touched() if "pcscd" in one["method"] or "Service" in one["method"]}
    assert wires == ({"ssh"} if method == "vmx" else {"soap"})

    disabled = carried_out(house, "smartcard-disable", method=method)

    vm = house.lab.control.vm("lnx-02")
    assert (vm["power"], vm["usb"], vm["extra"], pcscd(house)) == ("poweredOn", [], *before)
    assert done(house, disabled) == DISABLED
    assert not [name for name in house.lab.control.get("/files")["others"] if name.endswith("-new")]


def test_a_vm_that_is_on_meanwhile_keeps_its_vmx_file(house: House) -> None:
    """Somebody powers the VM on after the approval: the file is not edited under a running VM, and nothing is left."""
    house.lab.control.set_host(ESX_03, version="7.0.3")
    change = house.request(runbook="smartcard-enable", method="vmx", **READER)
    before = house.lab.control.get("/files")["vmx"]["lnx-02"]
    house.lab.control.fault("ssh:exec", object="vmsvc/getallvms", delay=1.0)
    house.decide("bob", change)
    until(lambda: house.lab.control.host("esx-03")["arbitrator"] == "running", "the change is under way")
    house.lab.control.set_vm("lnx-02", power="poweredOn")
    ended = house.ends(change)

    assert ended.state is State.UNDONE, ended.outcome
    assert "not off" in ended.outcome
    assert house.lab.control.get("/files")["vmx"]["lnx-02"] == before
    assert pcscd(house) == [True, "on"]


def carried_out(house: House, runbook: str, **ask: Any) -> Change:
    """Request, approve and wait for the end, which is done."""
    change = house.request(runbook=runbook, **READER, **ask)
    assert house.decide("bob", change).is_success
    ended = house.ends(change)
    assert ended.state is State.DONE, ended.outcome
    until(lambda: EventType.EVIDENCE in {one.type for one in house.store.events(change=change.id)}, "evidence")
    return ended


def done(house: House, change: Change) -> list[str]:
    """Return the steps that were done."""
    return [one.title for one in house.store.journal(change.id) if one.state is StepState.DONE]


def pcscd(house: House) -> list[Any]:
    """Return what the lab says of esx-03's pcscd: whether it runs, and its policy."""
    found: list[Any] = house.lab.control.host("esx-03")["services"]["pcscd"]
    return found
