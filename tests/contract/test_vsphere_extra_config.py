"""Advanced settings of a VM are set, changed and removed alone, only while it is off where they must be, and only once.

On govmomi's simulator and the lab.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from passgate.connect.vsphere import VSphereConnector
from passgate.errors import NotAuthorizedError, RefusedError
from passgate.model.inventory import Vm
from tests.contract.vsphere_places import Place, govmomi, lab

KEY = "usb.generic.allowCCID"


@pytest.fixture(params=[govmomi, lab], ids=lambda one: one.__name__)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Run each vCenter in turn."""
    with request.param(tmp_path) as one:
        yield one


def is_off(place: Place) -> Vm:
    """Power the VM off, and return it."""
    vm, _ = place.found()
    place.connector().power_off(vm)
    place.asked.clear()
    return vm


def test_a_setting_is_set_changed_and_removed(place: Place) -> None:
    """Each is one call under authority for that VM; what is so already sends nothing; other settings stay."""
    vm = is_off(place)
    connector = place.connector()
    connector.set_extra_config(vm, "usb.other", "1")
    for value in ("TRUE", "TRUE", "FALSE", None, None):
        connector.set_extra_config(vm, KEY, value)
        assert (connector.vm(vm).extra.get(KEY) or None) == value  # govmomi keeps what is removed as an empty one
        assert connector.vm(vm).extra["usb.other"] == "1"
    assert place.asked == [("set_extra_config", f"vm:{vm.ref}")] * 4


def test_a_running_vm_is_not_given_what_it_takes_only_while_off(place: Place) -> None:
    """It is refused before anything is sent: a vCenter that took it would show a setting that has no effect."""
    vm, _ = place.found()
    with pytest.raises(RefusedError, match="takes this only while it is off"):
        place.connector().set_extra_config(vm, KEY.upper(), "TRUE")
    assert place.asked == []


def test_without_authority_nothing_is_sent(place: Place) -> None:
    """A connector for reading refuses."""
    vm = is_off(place)
    with pytest.raises(NotAuthorizedError):
        VSphereConnector(place.session()).set_extra_config(vm, KEY, "TRUE")
    assert KEY not in place.connector().vm(vm).extra
