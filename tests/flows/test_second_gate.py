"""Wait at a second gate, right before a step: its decisions are its own, and nothing is done there without them.

The runbook is `prove-gate` of tests/content: it powers a VM off, adds a controller, and powers the VM on behind the
gate `host-reboot`. Alice asks, Bob approves the plan; policy wants others at the gate, so only Carol can decide there.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from passgate.ledger.evidence import Evidence, verify_evidence
from passgate.model.change import Change, EventType, State
from tests.house import House, until
from tests.workshop import Workshop

GATE = "host-reboot"
FORWARD = Counter({"PowerOffVM_Task": 1, "ReconfigVM_Task": 1, "PowerOnVM_Task": 1})
"""What the change sends when it is done, however often it slept or died on the way."""
BACK = Counter({"PowerOffVM_Task": 1, "ReconfigVM_Task": 2, "PowerOnVM_Task": 1})
"""What it sends when it is taken back at the gate."""


def waiting(house: House, vm: str = "win-01") -> Change:
    """Bring a change to the second gate."""
    change = filed(house, vm)
    house.decide("bob", change).raise_for_status()
    return house.at_gate(change)


def filed(house: House, vm: str = "win-01") -> Change:
    """File the change."""
    answer = house.call("alice", "POST", "/v1/changes", runbook="prove-gate", ask={"vm": vm, "reason": "a test"})
    assert answer.is_success, answer.text
    change = house.store.change(answer.json()["id"])
    house.suspended(change)
    return change


def test_goes_on_only_with_the_gates_own_decision(house: House) -> None:
    """R9: The plan's approval brings it to the gate; the gate's approval, by somebody else, brings it to its end."""
    change = waiting(house)
    assert Counter(one["method"] for one in house.touched()) == FORWARD - Counter(["PowerOnVM_Task"])
    gate = change.open_gate
    assert gate is not None
    assert gate.why == "needs 1 approval from operations, not from who approved the plan"

    refused = house.decide("bob", change, gate=GATE)
    assert (refused.status_code, "approved the plan" in refused.text) == (403, True)
    wrong = house.decide("carol", change)
    assert (wrong.status_code, f"--gate {GATE}" in wrong.text) == (409, True)
    unknown = house.decide("carol", change, gate="host-rebot")
    assert (unknown.status_code, f"Its gates: plan, {GATE}" in unknown.text) == (400, True)
    house.decide("carol", change, gate=GATE).raise_for_status()
    ended = house.ends(change)

    assert ended.state is State.DONE, ended.outcome
    assert sent(house) == FORWARD
    assert {(one.person, one.gate) for one in house.store.decisions(change.id)} == {("bob", "plan"), ("carol", GATE)}
    proven = verified(house, change)
    assert proven.gates == ((GATE, "passed", ("carol",), ()),)
    assert proven.approved_by == ("bob",)


def test_a_denial_at_the_gate_takes_back_what_was_done(workshop: Workshop) -> None:
    """The end names the gate, who denied and why; the VM is as it was."""
    before = workshop.lab.control.vm("win-01")
    change = waiting(workshop)
    workshop.decide("carol", change, "deny", "The month is closed today", gate=GATE).raise_for_status()
    ended = workshop.ends(change)

    assert ended.state is State.UNDONE, ended.outcome
    for word in (GATE, "carol", "The month is closed today", "taken back"):
        assert word in ended.outcome
    assert sent(workshop) == BACK
    after = workshop.lab.control.vm("win-01")
    assert (after["power"], after["controllers"]) == (before["power"], before["controllers"])
    assert verified(workshop, change).gates == ((GATE, "denied", (), ("carol",)),)


def test_a_gate_that_nobody_settles_in_time_takes_back_what_was_done(workshop: Workshop) -> None:
    """A change that is half done does not wait for ever."""
    workshop.lab.control.rename_vm("win-01", "short-gate-1")
    change = filed(workshop, "short-gate-1")
    workshop.decide("bob", change).raise_for_status()
    ended = workshop.ends(change)

    assert ended.state is State.UNDONE, ended.outcome
    assert "nobody settled it in time" in ended.outcome
    assert GATE in ended.outcome
    assert sent(workshop) == BACK


def test_who_asked_may_call_it_off_at_the_gate(workshop: Workshop) -> None:
    """To withdraw there counts as a denial: what was done is taken back."""
    change = waiting(workshop)
    assert workshop.call("bob", "POST", f"/v1/changes/{change.id}/withdraw", reason="no").status_code == 400
    workshop.call("alice", "POST", f"/v1/changes/{change.id}/withdraw", reason="not today").raise_for_status()
    ended = workshop.ends(change)
    assert ended.state is State.UNDONE, ended.outcome
    assert "withdrawn by alice: not today" in ended.outcome
    assert sent(workshop) == BACK


def test_prefects_doorbell_opens_no_gate(house: House) -> None:
    """Resuming the run by hand finds the gate as it is, and goes back to sleep; nothing is sent, leases stay."""
    change = waiting(house)
    run = house.suspended(change)
    held = leases(house, change)
    for _ in range(2):
        house.prefect("POST", f"/flow_runs/{run}/resume").raise_for_status()
        until(lambda: house.run_state(change) != "Suspended", "the run is awake")
        house.at_gate(change)
    assert sent(house) == FORWARD - Counter(["PowerOnVM_Task"])
    assert leases(house, change) == held
    house.decide("carol", change, gate=GATE).raise_for_status()
    assert house.ends(change).state is State.DONE
    assert sent(house) == FORWARD


def test_goes_on_after_the_service_was_killed_at_the_gate(house: House) -> None:
    """The gate stands in our tables: a decision after the restart finds it open, and nothing is done twice."""
    change = waiting(house)
    house.kill_service()
    house.up()
    assert house.store.change(change.id).open_gate is not None
    house.decide("carol", change, gate=GATE).raise_for_status()
    ended = house.ends(change)
    assert ended.state is State.DONE, ended.outcome
    assert sent(house) == FORWARD


def test_goes_on_after_the_second_decision_was_stored_and_the_bell_not_rung(house: House) -> None:
    """A kill right after the decision at the gate: the clockwork of the next process finds it."""
    change = waiting(house)
    house.decide("carol", change, gate=GATE).raise_for_status()
    house.kill_service()
    house.up()
    ended = house.ends(change)
    assert ended.state is State.DONE, ended.outcome
    assert sent(house) == FORWARD


def test_takes_back_when_the_rest_is_not_as_it_was_approved_any_more(workshop: Workshop) -> None:
    """What was done holds, but the next step reads otherwise than approved: it is not begun, the difference is said."""
    change = waiting(workshop)
    workshop.lab.control.rename_vm("win-01", "win-99")
    workshop.decide("carol", change, gate=GATE).raise_for_status()
    ended = workshop.ends(change)
    assert ended.state is State.UNDONE, ended.outcome
    assert "behind the gate host-reboot the rest is not as it was approved" in ended.outcome
    assert "win-99" in ended.outcome
    assert sent(workshop) == BACK


def test_goes_no_further_when_what_was_done_does_not_hold_any_more(workshop: Workshop) -> None:
    """Somebody powered the VM on while the change waited."""
    change = waiting(workshop)
    workshop.lab.control.set_vm("win-01", power="poweredOn")
    workshop.decide("carol", change, gate=GATE).raise_for_status()
    ended = workshop.ends(change)
    assert ended.state in {State.UNDONE, State.STOPPED}, ended.outcome
    assert "does not hold any more" in ended.outcome
    assert sent(workshop)["PowerOnVM_Task"] == 0


def test_the_command_line_says_what_it_waits_for(house: House) -> None:
    """`show`, `list` and `watch` name the gate; `--waits-for-me` lists it for who may decide there alone."""
    change = waiting(house)
    shown = house.passgate("show", change.id).stdout
    needs = "waits at the gate host-reboot, before step 3: needs 1 approval from operations, not from who approved"
    assert needs in shown
    assert f"passgate approve {change.id} --gate {GATE}" in shown
    assert "applying, waits at the gate host-reboot" in house.passgate("list").stdout
    assert change.id in house.passgate("list", "--waits-for-me", person="carol").stdout
    assert change.id not in house.passgate("list", "--waits-for-me", person="bob").stdout
    assert change.id not in house.passgate("list", "--waits-for-me", person="alice").stdout

    refused = house.passgate("approve", change.id, person="carol")
    assert (refused.returncode != 0, f"--gate {GATE}" in refused.stderr) == (True, True)
    approved = house.passgate("approve", change.id, "--gate", GATE, person="carol")
    assert approved.returncode == 0, approved.stderr
    watched = house.passgate("watch", change.id)
    assert watched.returncode == 0, watched.stdout + watched.stderr
    assert "waits at the gate host-reboot: needs 1 approval" in watched.stdout
    assert "approved at the gate host-reboot by carol" in watched.stdout


def sent(house: House) -> Counter[str]:
    """Return the mutating calls that the lab accepted."""
    return Counter(one["method"] for one in house.touched() if one["accepted"])


def leases(house: House, change: Change) -> dict[str, int]:
    """Return the fencing tokens that were taken last."""
    events = house.store.events(change=change.id)
    taken: list[dict[str, Any]] = [one.data for one in events if one.type is EventType.LEASE]
    return dict(taken[-1].get("tokens", {}))


def verified(house: House, change: Change) -> Evidence:
    """Check the change's evidence file with nothing but the key."""
    path = house.home / "evidence" / f"{change.id}.zip"
    until(path.exists, "the evidence is written")
    key = house.store.verifier_key
    assert key is not None
    found = verify_evidence(path, key.text)
    assert isinstance(found, Evidence), found
    return found
