"""Break the glass over the API and at a shell: at once, and answered for until somebody else has looked at it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from passgate.model.change import Change, EventType, State
from passgate.model.decision import Kind
from tests.faces.served import Served
from tests.lab_site import Lab

WHY = "the licence dongle died, and payroll runs tonight"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve one lab for all tests here."""
    with Lab.start(tmp_path_factory.mktemp("reviews")) as lab, Served(lab) as served:
        yield served


def ask(service: Served, person: str = "alice", **ask: Any) -> Any:
    """Ask for a change in a hurry."""
    asked = {"vm": "win-01", "device": "18a5:0302", "urgency": "break-glass", "reason": WHY, **ask}
    return service.ask("POST", "/v1/changes", person=person, json={"runbook": "usb-attach", "ask": asked})


def broken(service: Served) -> Change:
    """Break the glass as Alice, who is on call."""
    answer = ask(service)
    assert answer.status_code == 201, answer.text
    return Change.model_validate(answer.json())


@pytest.mark.parametrize("urgency", ["emergency", "break-glass"])
def test_a_hurry_needs_a_reason(service: Served, urgency: str) -> None:
    """Refused in words, before anything is read or filed (R13)."""
    answer = ask(service, urgency=urgency, reason=" ")
    assert answer.status_code == 400
    assert answer.json()["error"]["subject"] == "reason"
    assert f"with urgency {urgency} needs a reason. Nothing was filed." in answer.json()["error"]["message"]


def test_only_whom_policy_lets_breaks_the_glass(service: Served) -> None:
    """Bob is not on call, and is told what he can do instead."""
    answer = ask(service, "bob")
    assert answer.status_code == 403
    assert "'break-glass' does not let bob break the glass for usb-attach" in answer.json()["error"]["message"]
    assert "--urgency emergency" in answer.json()["error"]["hint"]


def test_an_emergency_asks_more_people_for_a_shorter_time(service: Served) -> None:
    """It waits for one of operations or managers, and is reminded of early."""
    change = Change.model_validate(ask(service, urgency="emergency", vm="lnx-01").json())
    assert change.terms is not None
    assert change.approve_by is not None
    assert (change.state, change.terms.kind, change.terms.voters) == (
        State.WAITING, Kind.EMERGENCY, ("bob", "carol", "dave"),
    )  # fmt: skip
    assert (change.approve_by - change.created_at).total_seconds() == 30 * 60
    service.carry(change.id, State.WITHDRAWN)


def test_the_whole_way_of_a_broken_glass(service: Served) -> None:
    """Begun without approval, answered for; its author waits for the review, and only others may close it."""
    change = broken(service)
    assert change.state is State.APPROVED
    assert change.terms is not None
    assert (change.terms.requirements, change.terms.gates) == ((), {})
    assert change.execute_by is not None
    assert (change.execute_by - change.created_at).total_seconds() == pytest.approx(30 * 60, abs=30)

    listed = service.run("review", "list")
    assert change.id in listed.out
    assert "bob, carol, dave" in listed.out
    again = ask(service)
    assert again.status_code == 403
    assert f"for {change.id}, and its review is open; until it is closed alice can't break it again" in again.text

    assert "There are no such changes." in service.run("list", "--waits-for-me", person="bob").out
    early = service.run("review", "close", change.id, "--verdict", "justified", "--reason", "fine", person="bob")
    assert (early.code, "nothing to review until it has ended" in early.err) == (6, True)
    service.carry(change.id, State.APPLYING, State.DONE)
    own = service.run("review", "close", change.id, "--verdict", "justified", "--reason", "I was right")
    assert (own.code, "alice broke the glass" in own.err, "Bob Berger, Carol Chen, Dave Diaz" in own.err) == (
        4, True, True,
    )  # fmt: skip
    waiting = service.run("list", "--waits-for-me", person="bob").out
    assert "Reviews of broken glasses that wait for you:\nCHANGE    BROKEN BY" in waiting
    assert f"{change.id}  alice " in waiting
    own = service.ask("GET", "/v1/changes?waits_for=me").json()
    assert own["reviews"] == [], "who broke the glass can't close it"
    shown = service.run("review", "show", change.id)
    assert f"alice broke the glass at {change.created_at:%Y-%m-%d %H:%M} UTC: {WHY}" in shown.out
    assert "alice may approve nothing until it is closed" in shown.out

    wordless = service.run("review", "close", change.id, "--verdict", "justified", "--reason", " ", person="dave")
    assert wordless.code == 2
    closed = service.run(
        "review", "close", change.id, "--verdict", "not-justified", "--reason", "a spare was at hand", person="dave"
    )
    assert (closed.code, "closed: not justified. alice may approve again." in closed.out) == (0, True), closed.err
    late = service.run("review", "close", change.id, "--verdict", "justified", "--reason", "no", person="bob")
    assert (late.code, "was closed before, by dave as not-justified" in late.err) == (6, True)
    assert service.run("review", "list").out.strip() == "No review is open."
    assert "not justified (dave)" in service.run("review", "list", "--all").out
    told = [event.type for event in service.store.events(change=change.id)]
    assert (told.count(EventType.REVIEW_OPENED), told.count(EventType.REVIEW_CLOSED)) == (1, 1)


def test_nobody_says_by_hand_that_no_review_is_needed(service: Served) -> None:
    """That is Passgate's word for a change that never began."""
    change = broken(service)
    service.carry(change.id, State.APPLYING, State.STOPPED)
    body = {"verdict": "not-needed", "reason": "x"}
    answer = service.ask("POST", f"/v1/reviews/{change.id}/close", person="bob", json=body)
    assert (answer.status_code, answer.json()["error"]["subject"]) == (400, "verdict")
    body["verdict"] = "justified"
    assert service.ask("POST", f"/v1/reviews/{change.id}/close", person="bob", json=body).is_success
