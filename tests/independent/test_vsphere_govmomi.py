"""What only a server of an older version shows: run on govmomi's simulator, which can say that it is any version."""

from __future__ import annotations

from pathlib import Path

import pytest

from passgate.connect.vsphere import Scope, Session, VSphereConnector, read_inventory
from passgate.errors import UnsupportedError
from passgate.lab import tls
from passgate.model.inventory import ControllerKind
from tests.independent.vcenter_of_govmomi import vcenter


@pytest.mark.parametrize(
    ("api", "negotiated"), [("8.0.2.0", (8, 0, 2, 0)), ("6.5", (6, 5)), ("7.0", (6, 0)), ("4.0", (4, 0))]
)
def test_the_version_that_both_speak(tmp_path: Path, api: str, negotiated: tuple[int, ...]) -> None:
    """Know the version that is spoken, which for an id that pyVmomi does not know is an older one than offered."""
    ca = tls.make_ca(tmp_path)
    pair = tls.issue(ca, ["127.0.0.1"])
    with (
        vcenter(pair.cert, pair.key, ca.cert.read_text(), api) as at,
        Session(at.url, ca=at.ca, user=at.user, password=lambda: at.password) as session,
    ):
        assert (session.api_version, session.negotiated) == (api, negotiated)


def test_what_the_server_is_too_old_for_is_refused_by_name(tmp_path: Path) -> None:
    """Refuse what pyVmomi would leave out of the request without a word, and send nothing."""
    ca = tls.make_ca(tmp_path)
    pair = tls.issue(ca, ["127.0.0.1"])
    sent: list[str] = []
    with (
        vcenter(pair.cert, pair.key, ca.cert.read_text(), "4.0") as at,
        Session(at.url, ca=at.ca, user=at.user, password=lambda: at.password) as session,
    ):
        site = read_inventory(session, Scope(vms=("DC0_H0_VM0",), usb=True), "old")
        vm, host = site.vm_and_host("DC0_H0_VM0")
        connector = VSphereConnector(session, lambda action, _: sent.append(action))
        with pytest.raises(UnsupportedError, match=r"USB 3 \(xHCI\) controller needs vSphere API 5\.0; .* speaks 4\.0"):
            connector.add_usb_controller(vm, ControllerKind.XHCI)
        connector.add_usb_controller(vm, ControllerKind.EHCI)
        with pytest.raises(UnsupportedError, match=r"USB with vMotion support needs vSphere API 4\.1"):
            connector.add_usb_device(vm, host.usb[0], ControllerKind.EHCI, vmotion=True)
    assert sent == ["add_usb_controller"]
