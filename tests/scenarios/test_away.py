"""Plan moves of VMs with USB devices on paper: right at a limit nothing is refused, and devices are found again."""

from __future__ import annotations

import pytest

from passgate.errors import CheckFailedError
from passgate.model.inventory import Arbitrator, Cluster
from tasks import away
from tests.scenarios.paper import HOST, entry, plan, stick
from tests.scenarios.unmet_vmotion import MET, TO, at_home, elsewhere


@pytest.mark.parametrize("why", MET)
def test_meets_every_check(why: str) -> None:
    """Right at a limit, and where a limit does not apply, nothing is refused and nothing is warned of."""
    assert [check for check in plan(MET[why], runbook="usb-migrate", **TO).checks if not check.met] == []


def test_the_former_override_of_power_management_is_in_the_plan() -> None:
    """What the host was set to before is a plain value of the step, so that a crash does not lose it."""
    cluster = Cluster(ref="domain-c1", name="Cluster-01", dpm=True, dpm_overrides={"host-11": True})
    made = plan(at_home(host={"dpm": True}, site={"clusters": (cluster,)}), runbook="usb-migrate", **TO)
    [keep] = [step for step in made.todo if step.kind == "cluster.KeepPoweredOn"]
    assert keep.fields["former"] is True
    assert "as before" in keep.undo


def test_a_device_is_found_by_its_ids_while_the_arbitrator_is_stopped() -> None:
    """Without paths the ids must do, and two alike are refused: nothing says which one is meant."""
    hidden = {"path": None, "pattern": None, "offered": False}
    named = {"usb": (entry(hostname=HOST.name, vendor=0x18A5, product=0x0302),)}
    stopped = {"arbitrator": Arbitrator.STOPPED}
    site = elsewhere(named, stopped, device=hidden)
    assert [one.serial for one in away.devices_of(site.vm("win-01"), site)] == ["07A4"]
    twins = elsewhere(named, stopped, device=hidden, devices=[stick(**hidden, serial="0815")])
    with pytest.raises(CheckFailedError, match="does not show it"):
        away.devices_of(twins.vm("win-01"), twins)
