"""Enable passthrough on a host that must be rebooted for it: the reboot has a gate of its own, for other people."""

from __future__ import annotations

from typing import Any

from passgate.model.change import Change, EventType, State, StepState
from tests.house import House, until
from tests.workshop import Workshop

HOST, GATE = "esx-02.lab.example", "host-reboot"
ASK = {"host": HOST, "device": "0951:1666", "shut_down": True}


def at_gate(house: House) -> Change:
    """Bring a change to the gate of the reboot, with Bob's approval of the plan."""
    answer = house.call("alice", "POST", "/v1/changes", runbook="pci-enable", ask={**ASK, "reason": "a test"})
    assert answer.is_success, answer.text
    change = house.store.change(answer.json()["id"])
    house.suspended(change)
    house.decide("bob", change).raise_for_status()
    return house.at_gate(change)


def host_of(house: House) -> dict[str, Any]:
    """Return what the lab says of the host and its VMs, without what differs from moment to moment."""
    state = house.lab.control.state()
    host = next(one for one in state["hosts"] if one["name"] == HOST)
    vms = {one["name"]: one["power"] for one in state["vms"]}
    return {"maintenance": host["maintenance"], "vms": vms}


def test_a_host_is_rebooted_only_behind_its_own_gate(house: House) -> None:
    """R2, R9: While it waits, VMs run and the host is open; Carol lets it go on, and all is given back as it was."""
    before = host_of(house)
    change = at_gate(house)
    assert "RebootHost_Task" not in {one["method"] for one in house.touched()}
    assert host_of(house) == before, "people decide while a host stands empty"
    points = [one.data for one in house.store.events(change=change.id) if one.type is EventType.RESTORE_POINT]
    kept = {(kind, one[kind]) for one in points for kind in ("vm", "host") if kind in one}
    assert ("host", HOST) in kept
    assert ("vm", "lic-01") in kept
    assert house.decide("bob", change, gate=GATE).status_code == 403

    house.decide("carol", change, gate=GATE).raise_for_status()
    ended = house.ends(change, within=110)
    assert ended.state is State.DONE, ended.outcome
    sent = [one["method"] for one in house.touched() if one["accepted"]]
    assert sent.count("RebootHost_Task") == 1
    assert host_of(house) == before
    bundle = house.home / "evidence" / f"{change.id}.zip"
    until(bundle.is_file, "the evidence is written")
    proof = house.passgate("evidence", "verify", str(bundle)).stdout
    assert "The gate host-reboot was passed, decided on by carol (approved)." in proof


def test_a_denied_reboot_leaves_the_host_as_it_was(workshop: Workshop) -> None:
    """Nothing but the setting was touched, and that is taken back; no reboot was asked for."""
    before = host_of(workshop)
    change = at_gate(workshop)
    workshop.decide("carol", change, "deny", "The month is closed today", gate=GATE).raise_for_status()
    ended = workshop.ends(change, within=110)
    assert ended.state is State.UNDONE, ended.outcome
    assert "The gate host-reboot before step" in ended.outcome
    assert "denied by carol: The month is closed today" in ended.outcome
    assert "RebootHost_Task" not in {one["method"] for one in workshop.touched()}
    assert host_of(workshop) == before
    journal = workshop.store.journal(change.id)
    assert {one.state for one in journal} <= {StepState.UNDONE, StepState.PENDING, StepState.NOT_NEEDED}
