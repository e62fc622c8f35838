"""Prove what the HTTP API promises: the person comes from the token, no GET decides, and every error is in words."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from starlette.applications import Starlette

from passgate.faces.web.app import make_app
from passgate.model.change import State
from passgate.settings.people import People, Person
from tests.faces.served import Served
from tests.lab_site import Lab

ASK = {"vm": "win-01", "device": "18a5:0302"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve a desk on a lab."""
    with Lab.start(tmp_path_factory.mktemp("api")) as lab, Served(lab) as served:
        yield served


def test_health_needs_no_token_and_everything_else_does(service: Served) -> None:
    """Nobody without a token learns anything but that the service is there."""
    assert service.ask("GET", "/health", person=None).json()["service"] == "passgate"
    for method, path in (
        ("GET", "/v1/runbooks"), ("GET", "/v1/runbooks/usb-attach"), ("POST", "/v1/plans"), ("POST", "/v1/changes"),
        ("GET", "/v1/changes"), ("GET", "/v1/changes/CHG-0001"), ("POST", "/v1/changes/CHG-0001/decisions"),
        ("POST", "/v1/changes/CHG-0001/withdraw"), ("GET", "/v1/changes/CHG-0001/events"),
        ("GET", "/v1/changes/CHG-0001/evidence"), ("GET", "/v1/usb"), ("GET", "/v1/status"),
    ):  # fmt: skip
        answers = [
            service.ask(method, path, person=None),
            service.ask(method, path, person=None, headers={"Authorization": "Bearer wrong"}),
            service.ask(method, path, person=None, headers={"Authorization": "Basic YWxpY2U6eA=="}),
        ]
        assert [one.status_code for one in answers] == [401, 401, 401]
        assert {one.json()["error"]["code"] for one in answers} == {"PG-POLICY-0003"}


def test_a_runbook_is_described_by_the_schema_of_its_own_model(service: Served) -> None:
    """What the schema takes, the API takes, so a program can build a form from it."""
    told = service.ask("GET", "/v1/runbooks/usb-attach").json()
    jsonschema.validate(ASK, told["ask"])
    slugs = [one["slug"] for one in service.ask("GET", "/v1/runbooks").json()["runbooks"]]
    assert slugs == sorted(slugs)
    assert {"usb-attach", "usb-controller-add"} <= set(slugs)


def test_a_plan_files_nothing_and_touches_nothing(service: Served) -> None:
    """A dry run leaves no change and sends no mutating call."""
    before = len(service.store.changes()), len(service.lab.control.mutations())
    told = service.ask("POST", "/v1/plans", json={"runbook": "usb-attach", "ask": ASK}).json()
    assert told["digest"].startswith("sha256:")
    assert told["plan"]["steps"]
    assert [one["voters"] for one in told["terms"]["requirements"]] == [["bob", "carol"]]
    assert (len(service.store.changes()), len(service.lab.control.mutations())) == before


def test_the_way_of_a_change_through_the_api(service: Served) -> None:
    """A change is filed by who has the token, approved by another, and its story can be read."""
    change = service.filed(reason="backup", ticket="CHG123")
    assert (change.requester.person, change.requester.door, change.state) == ("alice", "api", State.WAITING)
    body = {"verdict": "approve", "reason": "fine", "digest": change.digest}
    decided = service.ask("POST", f"/v1/changes/{change.id}/decisions", person="bob", json=body)
    assert decided.json()["state"] == "approved"
    told = service.ask("GET", f"/v1/changes/{change.id}").json()
    assert [(one["person"], one["door"], one["verdict"]) for one in told["decisions"]] == [("bob", "api", "approve")]
    events = service.ask("GET", f"/v1/changes/{change.id}/events?after=0").json()["events"]
    assert [one["type"] for one in events][:2] == ["change.requested", "change.planned"]
    assert events[-1]["data"]["to"] == "approved"
    service.carry(change.id, State.WITHDRAWN)


def test_the_person_never_comes_from_the_body(service: Served) -> None:
    """Naming somebody else in a body is refused, and nothing is recorded."""
    change = service.filed()
    path = f"/v1/changes/{change.id}/decisions"
    for extra in ({"person": "bob"}, {"actor": {"person": "bob", "door": "slack"}}, {"door": "slack"}):
        answer = service.ask("POST", path, json={"verdict": "approve", **extra})
        assert answer.status_code == 400
        assert next(iter(extra)) in answer.json()["error"]["message"]
    own = service.ask("POST", path, json={"verdict": "approve"})
    outsider = service.ask("POST", path, person="dave", json={"verdict": "approve"})
    assert [own.status_code, outsider.status_code] == [403, 403]
    assert "can't decide on it" in own.json()["error"]["message"]
    assert service.store.decisions(change.id) == ()


def test_the_door_header_can_only_say_that_it_is_the_command_line(service: Served) -> None:
    """Nobody makes a decision look as if it came from Slack."""
    doors = []
    for claimed in ("slack", "engine", "cli", ""):
        asked = {"runbook": "usb-attach", "ask": ASK}
        answer = service.ask("POST", "/v1/changes", json=asked, headers={"Passgate-Door": claimed})
        doors.append(answer.json()["requester"]["door"])
    assert doors == ["api", "api", "cli", "api"]


def test_a_vote_on_another_plan_than_the_current_one_does_not_count(service: Served) -> None:
    """An approval names the plan that was seen."""
    change = service.filed()
    body = {"verdict": "approve", "digest": "sha256:something-else"}
    answer = service.ask("POST", f"/v1/changes/{change.id}/decisions", person="bob", json=body)
    assert answer.status_code == 409
    assert service.store.change(change.id).state is State.WAITING


def test_no_get_changes_anything(service: Served) -> None:
    """R19: Whatever a link in a mail or a chat preview fetches, no state moves and nothing is decided."""
    change = service.filed()
    before = service.store.events()
    base = f"/v1/changes/{change.id}"
    for path in (
        base,
        f"{base}/events",
        f"{base}/decisions?verdict=approve",
        f"{base}/withdraw",
        "/v1/changes",
        "/v1/plans",
    ):
        for method in ("GET", "HEAD"):
            service.ask(method, path, person="bob")
    assert service.store.events() == before


def test_events_wait_for_news(service: Served) -> None:
    """A long poll returns what happens while it waits."""
    change = service.filed()
    last = service.store.events(change=change.id)[-1].seq
    path = f"/v1/changes/{change.id}/events?after={last}"
    assert service.ask("GET", path).json() == {"events": []}
    with httpx.Client(timeout=60) as client:
        headers = {"Authorization": f"Bearer {service.tokens['alice']}"}
        with client.stream("GET", f"{service.url}{path}&wait=0.01", headers=headers) as answer:
            answer.read()
            assert answer.json() == {"events": []}
    service.ask("POST", f"/v1/changes/{change.id}/withdraw", json={"reason": "not needed"})
    told = service.ask("GET", f"{path}&wait=20").json()["events"]
    assert told[-1]["data"]["to"] == "withdrawn"


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("/v1/changes", b"{", "not JSON"),
        ("/v1/changes", b"\xff", "not JSON"),
        ("/v1/changes", b"[1]", "body"),
        ("/v1/changes", b'{"runbook": "usb-attach", "ask": {"x": NaN}}', "not JSON"),
        ("/v1/changes", b'{"runbook": "usb-attach", "ask": {"vm": "\\ud800"}}', "not JSON"),
        ("/v1/changes", b'{"runbook": "usb-attach", "ask": {"vm": "a\\u0000b"}}', "NUL"),
        ("/v1/changes", b"[" * 100_000, "not JSON"),
        ("/v1/changes", b'"' + b"x" * 400_000 + b'"', "larger than"),
        ("/v1/changes", b'{"runbok": "usb-attach"}', "runbok"),
        ("/v1/changes", b'{"runbook": "usb-attach", "ask": {"vm": "win-01", "device": "zz:1"}}', "zz:1"),
        ("/v1/changes", b'{"runbook": "usb-attach", "ask": {"vm": "win-01", "devise": "18a5:0302"}}', "devise"),
        ("/v1/changes/CHG-0001/decisions", b'{"verdict": "maybe"}', "verdict"),
    ],
    ids=range(12),
)
def test_bad_bodies_are_refused_in_words(service: Served, path: str, content: bytes, words: str) -> None:
    """What can't be used is refused at the door with what is wrong, and nothing is filed."""
    before = len(service.store.changes())
    answer = service.ask("POST", path, content=content)
    error = answer.json()["error"]
    assert (answer.status_code, error["exit_code"]) == (400, 2)
    assert words in error["message"]
    assert "Traceback" not in answer.text
    assert len(service.store.changes()) == before


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v1/changes/CHG-9999", 404, "CHG-9999"),
        ("/v1/changes/CHG-9999/events", 404, "CHG-9999"),
        ("/v1/changes/%00", 404, ""),
        ("/v1/runbooks/nope", 404, "nope"),
        ("/v1/nothing", 404, "/v1/nothing"),
        ("/v1/plans", 405, "GET"),
        ("/v1/changes?state=nope", 400, "nope"),
        ("/v1/changes?limit=-1", 400, "limit"),
        ("/v1/changes?limit=nan", 400, "limit"),
        ("/v1/usb?host=esx-99", 404, "esx-99"),
    ],
)
def test_bad_questions_are_answered_in_words(service: Served, path: str, status: int, words: str) -> None:
    """A wrong address, id or parameter gives a sentence and a status that fits."""
    answer = service.ask("GET", path)
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]


async def asked(app: Starlette, path: str) -> httpx.Response:
    """Ask an application that no socket serves."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://passgate.example") as client:
        return await client.get(path, headers={"Authorization": "Bearer x"})


async def test_an_error_nobody_foresaw_shows_an_incident_and_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """A defect gives an id that leads to the log, and none of the defect's own text."""

    class Broken:
        """Fail at everything, as a defect would."""

        def __getattr__(self, name: str) -> Any:
            raise ZeroDivisionError("hunter2")

    app = make_app(Broken(), People(people=(Person(id="alice", name="Alice"),)))
    with caplog.at_level(logging.ERROR):
        answer = await asked(app, "/v1/changes")
    error = answer.json()["error"]
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text
    assert error["subject"] in error["message"]
    assert error["subject"] in caplog.text


async def test_a_token_of_somebody_who_left_is_refused() -> None:
    """Who is taken out of people.yaml has no access any more, whatever tokens they keep."""
    answer = await asked(make_app(_OnlyTokens(), People(people=())), "/v1/changes")
    assert answer.status_code == 401
    assert "not in config/people.yaml any more" in answer.json()["error"]["message"]


class _OnlyTokens:
    """Know a token of Mallory."""

    def person_of_token(self, _: str) -> str:
        return "mallory"


def test_usb_shows_hosts_with_their_devices(service: Served) -> None:
    """The devices are read from the hosts, with serial numbers from the shell."""
    hosts = service.ask("GET", "/v1/usb?host=esx-01.lab.example").json()["hosts"]
    assert "07A40901A2B3C4D5" in {device["serial"] for device in hosts[0]["usb"]}


def test_evidence_is_handed_out_as_a_file(service: Served, tmp_path: Path) -> None:
    """The bundle arrives byte by byte; before there is one, words say when there will be."""
    change = service.filed()
    path = f"/v1/changes/{change.id}/evidence"
    assert service.ask("GET", path).status_code == 404
    (service.home / "evidence").mkdir(exist_ok=True)
    (service.home / "evidence" / f"{change.id}.zip").write_bytes(b"PK-bytes")
    assert service.ask("GET", path).content == b"PK-bytes"


def test_a_decision_says_whether_it_was_recorded_and_what_is_missing(service: Served) -> None:
    """How far the decisions are is told with the change, and with each decision that was recorded."""
    change = service.filed(reason="backup")
    assert service.ask("GET", f"/v1/changes/{change.id}").json()["so_far"] == "0 of 1 approvals"
    path = f"/v1/changes/{change.id}/decisions"
    first = service.ask("POST", path, person="bob", json={"verdict": "deny", "reason": "not today"}).json()
    assert (first["recorded"], first["state"], first["so_far"]) == (True, "denied", "")


def test_what_comes_too_late_or_too_early_is_told_so(service: Served) -> None:
    """R33: taking back what has ended, and deciding at a gate that was not come to, say so and change nothing."""
    change = service.filed(reason="backup")
    early = service.ask(
        "POST", f"/v1/changes/{change.id}/decisions", person="bob", json={"verdict": "approve", "gate": "guest-reboot"}
    ).json()["error"]
    assert "has not come to the gate guest-reboot yet" in early["message"] or "has no gate" in early["message"]
    path = f"/v1/changes/{change.id}/withdraw"
    assert service.ask("POST", path, json={"reason": "wrong VM"}).json()["state"] == "withdrawn"
    late = service.ask("POST", path, json={"reason": "again"}).json()["error"]
    assert "has ended as withdrawn: there is nothing to take back" in late["message"]
