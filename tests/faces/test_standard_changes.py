"""A standard change is authorised in advance, within its limit; the next one has to be approved like any other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from passgate.model.change import Change, State
from passgate.model.decision import Kind
from tests.faces.served import Served
from tests.lab_site import Lab

LIMIT = "limit: {changes: 20, within: 1d}"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve a lab whose policy authorises two controllers a day for VMs that are for tests."""
    with Lab.start(tmp_path_factory.mktemp("standard")) as lab:
        rules = lab.config / "policies/10-standard.yaml"
        text = rules.read_text(encoding="utf-8")
        assert (text.count(LIMIT), text.count("vms: [test-*]")) == (1, 1)
        text = text.replace(LIMIT, "limit: {changes: 2, within: 1d}").replace("vms: [test-*]", "vms: [lnx-*]")
        rules.write_text(text, encoding="utf-8")
        with Served(lab) as served:
            yield served


def filed(service: Served, vm: str = "lnx-01") -> Change:
    """Ask for a controller."""
    body = {"runbook": "usb-controller-add", "ask": {"vm": vm, "kind": "ehci"}}
    answer = service.ask("POST", "/v1/changes", json=body)
    assert answer.status_code == 201, answer.text
    return Change.model_validate(answer.json())


def test_two_are_authorised_and_the_third_is_asked_for(service: Served) -> None:
    """Others do not use the limit up; the refusal of the third says why it has to be approved."""
    other = filed(service, "win-01")
    assert (other.state, other.terms and other.terms.kind) == (State.WAITING, Kind.NORMAL)
    for _ in range(2):
        change = filed(service)
        assert change.terms is not None
        assert (change.state, change.terms.kind, change.terms.pre_authorised) == (State.APPROVED, Kind.STANDARD, True)
    third = filed(service)
    assert third.terms is not None
    assert (third.state, third.terms.kind, third.terms.voters) == (State.WAITING, Kind.NORMAL, ("bob", "carol"))
    shown = service.run("policy", "explain", third.id)
    assert "standard-usb-controller: does not apply: it authorised 2 of 2 changes in 1d already" in shown.out


def test_a_hurry_is_no_way_round_an_approval(service: Served) -> None:
    """What is authorised in advance is not so as an emergency: the rule for those asks, and the stricter one wins."""
    ask = {"vm": "lnx-01", "kind": "ehci", "urgency": "emergency", "reason": "the test stands still"}
    answer = service.ask("POST", "/v1/changes", json={"runbook": "usb-controller-add", "ask": ask})
    change = Change.model_validate(answer.json())
    assert change.terms is not None
    assert (change.state, change.terms.kind, change.terms.voters) == (
        State.WAITING, Kind.EMERGENCY, ("bob", "carol", "dave"),
    )  # fmt: skip
