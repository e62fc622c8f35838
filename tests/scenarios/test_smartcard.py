"""What the smart-card steps make of a host or guest that says something else than what was hoped for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from passgate.engine.steps import Saw, Step
from passgate.errors import RefusedError, UnreachableError
from passgate.model.inventory import ControllerKind
from tasks import pcscd, power, smartcard, usb
from tests.lab_site import Lab
from tests.scenarios.stage import Given, Make, Scenario, Stage
from tests.scenarios.steps_smartcard import READER, READY, VMX, allow, stop

ESX_03 = "esx-03.lab.example"


@pytest.fixture(scope="module")
def whole_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Run one lab for all."""
    with Lab.start(tmp_path_factory.mktemp("smartcard")) as lab:
        stage = Stage(lab)
        yield stage
        stage.close()


@pytest.fixture
def stage(whole_stage: Stage) -> Stage:
    """Lend the lab, as it was at its start."""
    whole_stage.lab.control.reset()
    return whole_stage


def given(stage: Stage, vm: str = "lnx-02", *first: Make, device: str | None = READER) -> Given:
    """Do these steps and read the estate."""
    scenario = Scenario("", vm, stop, device=device)
    for make in first:
        stage.done(make(stage.given(scenario)))
    return stage.given(scenario)


def test_pcscd_stays_stopped_while_a_vm_uses_a_reader(stage: Stage) -> None:
    """Starting it would take the card away from whoever works with it; the way back says so and sends nothing."""
    home = given(stage, "lnx-02", *READY).vm.host
    sent = stage.sent()
    for method in pcscd.Method:
        with pytest.raises(RefusedError, match="lnx-02 use smart-card readers"):
            pcscd.Start(home, method).apply(stage.allowed)
    assert stage.sent() == sent


def test_a_stop_that_only_one_side_shows_is_none(stage: Stage) -> None:
    """A service that says stopped while the process goes on keeps the reader: that is a no, whoever says it."""
    home = given(stage).vm.host
    stage.done(pcscd.Stop(home))
    stage.lab.control.service(ESX_03, "pcscd", lingers=True)
    seen = pcscd.Stop(home).confirm(stage.allowed)
    assert (seen.saw, seen.facts) == (Saw.NO, {"service": False, "process": True})


@pytest.mark.parametrize("fault", ["Truncate", "Disconnect"])
def test_a_list_of_processes_that_is_cut_off_proves_nothing(stage: Stage, fault: str) -> None:
    """Half a list does not show pcscd either; it is asked for again, and never taken for a stop."""
    home = given(stage).vm.host
    stage.lab.control.fault("ssh:exec", fault, object="ps;", times=2)
    with pytest.raises(UnreachableError):
        pcscd.Stop(home).confirm(stage.allowed)
    stage.lab.control.clear_faults()
    assert pcscd.Stop(home).confirm(stage.allowed).saw is Saw.NO


def test_a_line_in_the_file_that_the_host_does_not_know_is_no_effect(stage: Stage) -> None:
    """An edit that hostd was not told of would be lost: the step says no, and its next attempt has it read."""
    one = given(stage)
    step = allow(one, method=VMX)
    text = stage.lab.control.get("/files")["vmx"]["lnx-02"]
    path = "/vmfs/volumes/datastore1/vm-104/vm-104.vmx"
    stage.lab.control.post("/file", path=path, text=f'{text}usb.generic.allowCCID = "TRUE"\n')
    assert step.confirm(stage.allowed).saw is Saw.NO
    stage.done(step)
    assert stage.lab.control.vm("lnx-02")["extra"] == {"usb.generic.allowCCID": "TRUE"}


@pytest.mark.parametrize("vm", ["lnx-01", "win-01"])
def test_a_device_that_the_guest_takes_for_something_else_is_no_reader(stage: Stage, vm: str) -> None:
    """The ids are right, but the guest has no driver for readers at work: that is told, and is no proof."""
    stage.lab.control.set_vm(vm, hot_add=True)
    stage.lab.control.plug(
        "esx-01.lab.example", "0/1/9", vendor=0x076B, product=0x3031, name="OmniKey", families=["vendor_specific"]
    )
    kind = ControllerKind.XHCI

    def controller(one: Given) -> Step:
        return usb.AddController(one.vm, kind)

    def device(one: Given) -> Step:
        return usb.AddDevice(one.vm, one.device, kind)

    one = given(stage, vm, controller, device, lambda one: usb.Connected(one.vm, one.device))
    seen = smartcard.SeesReader(one.vm, one.device).confirm(stage.allowed)
    assert (seen.saw, "its driver is missing" in seen.words) == (Saw.NO, True), seen.words


def test_a_vm_without_the_setting_is_not_said_to_have_its_reader(stage: Stage) -> None:
    """The article's case: configured, powered on, no error, and still not connected."""
    one = given(stage, "lnx-02", *[make for make in READY if make is not allow])
    assert usb.Connected(one.vm, one.device).confirm(stage.allowed).saw is Saw.NO
    stage.done(power.Off(one.vm, power.How.HARD))
    stage.done(allow(one))
    stage.done(power.On(one.vm))
    stage.seen(usb.Connected(one.vm, one.device))
