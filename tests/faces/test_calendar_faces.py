"""Prove that people can ask what the calendar says, and let a change through a freeze, at the shell and by the API."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from passgate.engine.filing import wrong_fields
from passgate.faces.chat.directory import Directory
from passgate.faces.chat.thread import told
from passgate.faces.chat.words import View
from passgate.model.change import EventType
from tests.faces.served import Served
from tests.lab_site import Lab

FREEZE = """
freezes:
  - name: stocktaking
    text: Stocktaking, CHG0031000
    vms: [win-01]
    when: [{start: 2020-01-01 00:00, duration: 366d, rrule: FREQ=YEARLY}]
    override: [operations]
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve a desk on a lab in which one VM is always frozen."""
    with Lab.start(tmp_path_factory.mktemp("calendar")) as lab:
        Path(lab.config, "calendar", "30-stocktaking.yaml").write_text(FREEZE, encoding="utf-8")
        with Served(lab) as served:
            yield served


def test_a_freeze_is_explained_and_overridden_at_the_shell(service: Served) -> None:
    """R36, R37: plain words, exit codes, --json; the override is shown, and told in the thread with its reason."""
    ran = service.run("calendar", "explain", "--for", "usb-attach@vm:win-01", "--at", "2026-11-25 12:00", "--json")
    assert (ran.code, ran.data["open"], ran.data["next"]) == (0, False, None)
    assert "  Freeze 'stocktaking' (Stocktaking, CHG0031000) holds until Sat 2027-01-02 00:00 UTC." in ran.data["lines"]
    change = service.filed()
    service.ask("POST", f"/v1/changes/{change.id}/decisions", person="bob", json={"verdict": "approve"})
    shown = service.run("show", change.id).out
    assert "State: scheduled. No opening for it is in sight." in shown
    assert service.run("override", change.id, "--freeze", "stocktaking", "--reason", "It is mine").code == 4
    let = service.run("override", change.id, "--freeze", "stocktaking", "--reason", "The till is down", person="carol")
    assert let.code == 0, let.err
    assert "Freeze stocktaking: overridden by carol (cli)" in service.run("show", change.id).out
    event = service.store.events_of(change.id, EventType.OVERRIDDEN)[0]
    people = Directory(service.runtime.config.people)
    said = told(people, event, View(service.store.change(change.id)))
    assert "The freeze stocktaking was overridden" in said
    assert "The till is down" in said


@pytest.mark.parametrize(
    ("body", "person", "status"),
    [
        ({"freeze": "stocktaking", "reason": ""}, "carol", 400),
        ({"freeze": "stocktaking", "reason": "why"}, "dave", 403),
        ({"freeze": "nothing", "reason": "why"}, "carol", 404),
        ({"reason": "why"}, "carol", 400),
    ],
)
def test_an_override_that_is_not_right_is_refused_in_words(
    service: Served, body: dict[str, str], person: str, status: int
) -> None:
    """R37: no reason, no role, no such freeze: nothing is recorded."""
    change = service.filed(vm="win-01")
    answer = service.ask("POST", f"/v1/changes/{change.id}/overrides", person=person, json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["hint"]
    assert service.store.change(change.id).overrides == ()


@pytest.mark.parametrize("about", ["", "nonsense", "chg-0001"])
def test_what_is_asked_about_that_is_not_there_says_what_would_be(service: Served, about: str) -> None:
    """Each form that would be accepted is named, and the field."""
    told = service.ask("GET", "/v1/calendar", params={"for": about}).json()["error"]
    assert (told["subject"], "Give CHG-0042 for a change, usb-attach for a runbook" in told["hint"]) == ("for", True)


def test_a_moment_to_begin_that_is_over_is_refused_at_the_door(service: Served) -> None:
    """For requests, plans and forms alike; one that is over by minutes is taken as now."""
    now = service.runtime.clock()
    over = {"vm": "win-01", "device": "18a5:0302", "not_before": (now - timedelta(minutes=6)).isoformat()}
    for path in ("changes", "plans"):
        told = service.ask("POST", f"/v1/{path}", json={"runbook": "usb-attach", "ask": over}).json()["error"]
        assert (told["subject"], "is over" in told["message"]) == ("not_before", True)
        assert "less than 5m is taken as now" in told["hint"]
    assert list(wrong_fields(service.runtime, "usb-attach", over)) == ["not_before"]
    late = {**over, "not_before": (now - timedelta(minutes=4)).isoformat()}
    assert wrong_fields(service.runtime, "usb-attach", late) == {}


def test_nobody_without_a_token_asks_the_calendar(service: Served) -> None:
    """The calendar names people's reasons and tickets: it is for those who may speak."""
    assert service.ask("GET", "/v1/calendar?for=usb-attach", person=None).status_code == 401
    assert service.ask("POST", "/v1/changes/CHG-0001/overrides", person=None, json={}).status_code == 401
    assert service.ask("GET", "/v1/calendar").status_code == 400
