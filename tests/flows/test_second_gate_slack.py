"""Decide at a second gate in Slack: its own message with its own buttons, which speak for that gate alone."""

from __future__ import annotations

import pytest

from passgate.model.change import Change, Door, State
from passgate.model.decision import Verdict
from tests.house import House, until
from tests.slack_channel import APPROVE, BOB, CAROL, DENY, Channel

GATE = "host-reboot"


@pytest.fixture
def channel(house: House) -> Channel:
    """Show the channel."""
    return Channel(house)


def at_gate(house: House, channel: Channel) -> Change:
    """Bring a change to its gate, by a click of Bob's."""
    answer = house.call("alice", "POST", "/v1/changes", runbook="prove-gate", ask={"vm": "win-01", "reason": "a test"})
    change = house.store.change(answer.json()["id"])
    channel.shows_buttons(change)
    assert channel.click(BOB, change)["acked"]
    change = house.at_gate(change)
    channel.has_no_buttons(change)
    return change


def test_a_click_at_the_gate_lets_the_change_go_on(house: House, channel: Channel) -> None:
    """Who approved the plan is told to leave it to others; another's click counts once, and the buttons go."""
    change = at_gate(house, channel)
    shown = channel.gate(change)["text"]
    assert [one["action_id"] for one in channel.gate_buttons(change)] == [APPROVE, DENY]
    for word in ("waits at the gate host-reboot, before step 3, Power on win-01", "1 approval from operations: Carol"):
        assert word in shown
    assert f"passgate approve {change.id} --gate {GATE}" in shown
    assert "Waits at the gate" in channel.shown(change)
    assert "the rest of the plan" in channel.gate_buttons(change)[0]["confirm"]["text"]["text"]

    before = len(channel.notes(BOB))
    channel.click_gate(BOB, change)
    assert "approved the plan" in channel.note(BOB, after=before)
    assert house.store.change(change.id).open_gate is not None

    channel.click_gate(CAROL, change)
    ended = house.ends(change)
    assert ended.state is State.DONE, ended.outcome
    decisions = [(one.person, one.gate, one.door) for one in house.store.decisions(change.id)]
    assert decisions == [("bob", "plan", Door.SLACK), ("carol", GATE, Door.SLACK)]
    thread = channel.told(change)
    until(lambda: channel.gate_buttons(change) == [], "the gate's buttons are gone")
    assert "passed" in channel.gate(change)["text"]
    assert "Approved at the gate host-reboot by Carol Chen in Slack" in channel.gate(change)["text"]
    assert any("The gate *host-reboot* is passed: approved by carol" in one for one in thread), "\n".join(thread)
    assert len(thread) == len(set(thread))


def test_a_denial_at_the_gate_takes_back_what_was_done(house: House, channel: Channel) -> None:
    """The dialog asks for the reason; the thread and the end say who denied at which gate, and why."""
    change = at_gate(house, channel)
    channel.click_gate(CAROL, change, DENY)
    house.lab.control.slack("submit", user=CAROL, fields={"reason": "The month is closed today"})
    ended = house.ends(change)
    assert ended.state is State.UNDONE, ended.outcome
    assert "The gate host-reboot before step 3 was not passed: denied by carol: The month is" in ended.outcome
    (_, denial) = house.store.decisions(change.id)
    assert (denial.person, denial.gate, denial.verdict) == ("carol", GATE, Verdict.DENY)
    thread = channel.told(change)
    until(lambda: channel.gate_buttons(change) == [], "the gate's buttons are gone")
    assert any("The gate *host-reboot* is denied" in one for one in thread), "\n".join(thread)


def test_to_override_a_warning_is_a_recorded_decision(house: House, channel: Channel) -> None:
    """A plan with a warning is not pre-authorised by any policy; who approves it sees and records what it overrides."""
    house.lab.control.rename_vm("win-02", "std-2")
    change = house.request(vm="std-2", device="046d:082d")
    assert change.state is State.WAITING
    assert change.terms is not None
    assert change.terms.policy == "normal"
    codes = [check.code for check in change.plan.warnings] if change.plan else []
    assert codes == ["USB-DEV-04"]
    channel.shows_buttons(change)
    buttons = next(block for block in channel.parent(change)["blocks"] if block["type"] == "actions")["elements"]
    assert "You override warnings: USB-DEV-04." in buttons[0]["confirm"]["text"]["text"]
    said = house.passgate("approve", change.id, person="bob").stdout
    assert "You override the warning USB-DEV-04" in said
    house.ends(change)
    (event,) = [one for one in house.store.events(change=change.id) if one.type == "decision.recorded"]
    assert event.data["overrides"] == codes
    assert "; overrides USB-DEV-04" in house.passgate("show", change.id).stdout
    assert any("Overrides: USB-DEV-04" in one for one in channel.told(change))
    bundle = house.home / "evidence" / f"{change.id}.zip"
    until(bundle.is_file, "the evidence is written")
    proof = house.passgate("evidence", "verify", str(bundle)).stdout
    assert "approved by bob (warnings overridden: USB-DEV-04)" in proof
