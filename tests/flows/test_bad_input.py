"""Bad input is refused at the door, in words that name what was given and what would do; nothing is filed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from passgate.lab import tls
from passgate.lab.inventory_seed import seeded_world
from passgate.lab.vcenter import Account, VCenterServer
from passgate.model.change import State
from passgate.settings.shape import LabWorld
from tests.house import House
from tests.slack_channel import ALICE, BOB, CAROL, Channel

INPUT, CHECK, POLICY, WORLD = 2, 3, 4, 5
STICK = "18a5:0302"

REFUSED: dict[str, tuple[dict[str, Any], int, tuple[str, ...]]] = {
    "unknown VM": ({"vm": "nope"}, INPUT, ("'nope'", "win-01", "lnx-02")),
    "no name at all": ({"vm": ""}, INPUT, ("vm", "at least 1")),
    "81 characters": ({"vm": "x" * 81}, INPUT, ("vm", "80", "UUID")),
    "a VM's name with a newline": ({"vm": "win\n01"}, INPUT, (r"win\n01", "win-01")),
    "no such device": ({"device": "1234:5678"}, INPUT, ("1234:5678", "esx-01", "18a5:0302", "0781:5583")),
    "several such devices": ({"vm": "win-02", "device": "0529:0001"}, INPUT, ("2 USB devices", "0/1/2", "0/1/4")),
    "malformed ids": ({"device": "18a5-0302"}, INPUT, ("device", "18a5-0302", "18a5:0302")),
    "too many digits": ({"device": "18a5:03021"}, INPUT, ("device", "18a5:03021")),
    "an unknown name of a device": ({"device": "no-such-name"}, INPUT, ("no-such-name", "devices.yaml")),
    "no device": ({"device": ""}, INPUT, ("device",)),
    "an endless reason": ({"reason": "x" * 501}, INPUT, ("reason", "500")),
    "an endless ticket": ({"ticket": "x" * 101}, INPUT, ("ticket", "100")),
    "a boot device": ({"device": "0930:6544"}, CHECK, ("0930:6544", "boot")),
}


@pytest.fixture(autouse=True)
def nothing_happened(house: House) -> Iterator[None]:
    """Check after each test that was to be refused that nothing was filed and nothing touched."""
    before = house.store.changes(limit=1)
    yield
    if house.store.changes(limit=1) == before:
        assert house.touched() == []


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_request_is_refused_in_words(house: House, case: str) -> None:
    """The API's answer says which field, what was given and what there is; the exit code says whose turn it is."""
    ask, code, said = REFUSED[case]
    before = house.store.changes(limit=1)
    asked = {"vm": "win-01", "device": STICK, **ask}
    answer = house.call("alice", "POST", "/v1/changes", runbook="usb-attach", ask=asked)
    assert 400 <= answer.status_code < 500, answer.text
    error = answer.json()["error"]
    words = f"{error['subject']} {error['message']} {error['hint']}"
    assert error["exit_code"] == code, words
    assert [one for one in said if one not in words] == [], words
    assert error["hint"], words
    assert house.store.changes(limit=1) == before
    assert house.touched() == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"vm": "win-01", "device": STICK, "colour": "red"}, ("colour", "vmotion")),
        ({"vm": "win-01"}, ("device", "missing")),
        ({"vm": ["win-01"], "device": STICK}, ("vm", "accepted: text")),
        ({"vm": "win-01", "device": STICK, "vmotion": "maybe"}, ("vmotion", "maybe")),
        ({"vm": "win-01", "device": 5}, ("device",)),
    ],
    ids=["unknown field", "missing field", "a list", "no boolean", "a number"],
)
def test_a_request_of_the_wrong_shape_names_the_field(
    house: House, body: dict[str, Any], said: tuple[str, ...]
) -> None:
    """Programs learn which field is wrong, and which fields there are."""
    answer = house.call("alice", "POST", "/v1/changes", runbook="usb-attach", ask=body)
    assert answer.json()["error"]["exit_code"] == INPUT, answer.text
    assert [one for one in said if one not in answer.text] == [], answer.text


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["request", "usb-attach", "--vm", "nope", "--device", STICK], INPUT, ("'nope'", "win-01")),
        (["plan", "usb-attach", "--vm", "win-02", "--device", "0529:0001"], INPUT, ("0/1/2", "0/1/4")),
        (["request", "usb-attach", "--vm", "win-01", "--device", "18a5"], INPUT, ("device", "18a5")),
        (["request", "usb-attach", "--vm", "win-01"], INPUT, ("--device", "--help")),
        (["request", "usb-atach", "--vm", "win-01"], INPUT, ("usb-atach", "usb-attach")),
        (
            ["request", "usb-attach", "--vm", "win-01", "--device", STICK, "--colour", "red"],
            INPUT,
            ("colour", "--help"),
        ),
        (["show", "CHG-999999"], INPUT, ("CHG-999999",)),
        (["approve", "CHG-999999"], INPUT, ("CHG-999999",)),
    ],
    ids=["unknown VM", "twins", "half an id", "no device", "no runbook", "no option", "no change", "no such approval"],
)
def test_the_command_line_says_what_is_wrong(house: House, words: list[str], code: int, said: tuple[str, ...]) -> None:
    """The exit code, one error and what to do; with no traceback, and nothing on standard output."""
    told = house.passgate(*words)
    assert told.returncode == code, told.stdout + told.stderr
    assert [one for one in said if one not in told.stderr] == [], told.stderr
    assert told.stderr.startswith("Error: ")
    assert "Traceback" not in told.stderr
    assert told.stdout == ""


def test_two_vms_of_one_name_are_told_apart_by_uuid(house: House) -> None:
    """The error lists both with their UUIDs and hosts; with the UUID the right one is changed."""
    twin = house.lab.control.add_vm("win-02", host="esx-01.lab.example")
    told = house.passgate("plan", "usb-attach", "--vm", "win-02", "--device", STICK)
    assert told.returncode == INPUT
    first = house.lab.control.vm("win-02")
    for one in (first["uuid"], twin["uuid"], "esx-01.lab.example", "esx-02.lab.example", "UUID"):
        assert one in told.stderr, told.stderr

    change = house.request(vm=twin["uuid"])
    house.decide("bob", change)
    ended = house.ends(change)
    assert ended.state is State.DONE, ended.outcome
    assert [one["connected"] for one in house.lab.control.vm(twin["ref"])["usb"]] == [True]
    assert house.lab.control.vm(first["ref"])["usb"] == first["usb"]


def test_a_policy_that_the_requester_makes_unsatisfiable_is_refused(house: House) -> None:
    """Two of operations are needed, and one of the two asks: nobody could ever approve, so nothing is filed."""
    house.lab.control.rename_vm("win-01", "pair-01")
    told = house.passgate("request", "usb-attach", "--vm", "pair-01", "--device", STICK, person="bob")
    assert told.returncode == POLICY, told.stdout + told.stderr
    assert "nobody can satisfy" in told.stderr
    assert "two-of-them" in told.stderr
    assert "carol" in told.stderr


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("service.yaml", "colour: red\n", ("service.yaml", "colour")),
        ("people.yaml", "people:\n  - id: zoe\n    nmae: Zoe\n", ("people.yaml", "nmae", "name")),
        (
            "policies/20-normal.yaml",
            "rules:\n  - name: all\n    approval: {needed: 5, groups: [operations]}\n",
            ("20-normal.yaml", "nobody can satisfy", "bob", "carol"),
        ),
        (
            "policies/20-normal.yaml",
            "rules:\n  - name: all\n    approval: {needed: 1, groups: [ops]}\n",
            ("ops", "nobody"),
        ),
        ("site.yaml", "vcenter: {password: hunter2canary}\n", ("site.yaml", "password", "reference")),
        ("chat.yaml", "slack: [\n", ("chat.yaml", "line")),
    ],
    ids=["unknown field", "misspelt field", "too many approvals", "no such group", "a secret in it", "no YAML"],
)
def test_wrong_config_is_refused_with_file_and_field(
    house: House, tmp_path: Path, file: str, text: str, said: tuple[str, ...]
) -> None:
    """Neither `up` nor `doctor` gets past a file that is wrong; both say which, where and what would do."""
    config = tmp_path / "config"
    shutil.copytree(house.lab.config, config)
    (config / file).write_text(text, encoding="utf-8")
    for words in (["up"], ["doctor"]):
        told = house.passgate(*words, PASSGATE_CONFIG=str(config))
        both = told.stdout + told.stderr
        assert told.returncode == INPUT, both
        assert [one for one in said if one not in both] == [], both
        assert "hunter2canary" not in both
        assert "Traceback" not in both


@pytest.mark.parametrize(
    ("expired", "trusted", "said"),
    [(True, True, "expired"), (False, False, "not trusted")],
    ids=["expired", "of another CA"],
)
def test_a_certificate_that_does_not_hold_is_refused(
    house: House, tmp_path: Path, *, expired: bool, trusted: bool, said: str
) -> None:
    """A whole vCenter behind a wrong certificate gets neither our password nor a request."""
    ca = tls.make_ca(tmp_path / "ca")
    pair = tls.issue(ca, ["127.0.0.1"], expired=expired)
    with _vcenter(pair) as (server, url):
        config = _config_for(house, tmp_path, url, ca.cert if trusted else house.home / "lab/ca.pem")
        told = house.passgate("doctor", PASSGATE_CONFIG=str(config))
        assert told.returncode == WORLD, told.stdout
        (line,) = [one for one in told.stdout.splitlines() if one.startswith("FAIL  vCenter")]
        assert said in line
        assert url.removeprefix("https://").rstrip("/") in line
        assert "What to do" in line
        assert server.requests() == {}


def test_a_wrong_password_is_told_as_such_and_never_shown(house: House) -> None:
    """Our login is refused: who asks learns whose password is wrong, not what it is."""
    password = house.home / "lab/vcenter.password"
    right = password.read_text(encoding="utf-8")
    password.write_text("hunter2canary\n", encoding="utf-8")
    house.lab.control.expire_sessions()
    try:
        told = house.passgate("request", "usb-attach", "--vm", "win-01", "--device", STICK)
    finally:
        password.write_text(right, encoding="utf-8")
    assert told.returncode == WORLD, told.stdout + told.stderr
    assert "passgate@vsphere.local" in told.stderr
    assert "hunter2canary" not in told.stderr
    assert house.passgate("plan", "usb-attach", "--vm", "win-01", "--device", STICK).returncode == 0


def test_a_wrong_host_key_is_refused(house: House) -> None:
    """A host that shows another key than the one we know is not spoken to, and the request says which and why."""
    known = house.home / "lab/known_hosts"
    right = known.read_text(encoding="utf-8")
    lines = [line.split() for line in right.splitlines() if line.strip()]
    # Every host gets the key of the next one: well formed, and wrong.
    keys = [line[1:] for line in lines]
    wrong = [" ".join((line[0], *key)) for line, key in zip(lines, keys[1:] + keys[:1], strict=True)]
    known.write_text("\n".join(wrong) + "\n", encoding="utf-8")
    try:
        told = house.passgate("doctor")
    finally:
        known.write_text(right, encoding="utf-8")
    assert told.returncode == WORLD, told.stdout
    failed = [one for one in told.stdout.splitlines() if one.startswith("FAIL")]
    (line,) = [one for one in failed if "shells" in one]
    (other,) = [one for one in failed if one != line]  # the service still has the keys that it read at its start
    assert "service" in other
    assert "esx-01.lab.example" in line
    assert "key" in line


HOSTILE = {
    "Slack markup": "<!channel> <@U0BOB> & *b* _i_ ~s~ `c` :bomb:",
    "quotes and a shell": "win'01\"; $(reboot) `id` {braces} %s | rm -rf ..%2f..%2fetc \\",
    "lines of Japanese and emoji": "日本語\nサーバー💾👩‍💻\tx",
    "80 characters": "x" * 80,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_vm_name_goes_safely_all_the_way(house: House, case: str) -> None:
    """The whole job on a VM of that name: it is carried out, and the name means nothing to terminal, Slack or shell."""
    name = HOSTILE[case]
    house.lab.control.rename_vm("win-01", name)
    channel = Channel(house)

    asked = house.passgate("request", "usb-attach", "--vm", name, "--device", STICK, "--reason", name, "--json")
    assert asked.returncode == 0, asked.stderr
    change = house.store.change(json.loads(asked.stdout)["id"])
    assert change.plan is not None
    assert change.plan.target == name
    channel.shows_buttons(change)
    channel.click(BOB, change)
    ended = house.ends(change)
    assert ended.state is State.DONE, ended.outcome

    whole = [*channel.marked_up(change), *channel.told(change)]
    for message in whole:
        mentions = set(_marked(message)) - {f"<@{ALICE}>", f"<@{BOB}>", f"<@{CAROL}>"}
        assert mentions == set(), message
    pinged = [message for message in whole if f"<@{BOB}>" in message and "Who can decide" not in message]
    assert pinged == []
    shown = house.passgate("show", change.id)
    assert shown.returncode == 0
    assert {one for one in shown.stdout if not one.isprintable()} <= {"\n", "\u200d", "\u3000"}
    assert all(line[:1] in {" ", "C", "P", "D", "N"} for line in shown.stdout.splitlines()), shown.stdout
    evidence = house.home / "evidence" / f"{change.id}.zip"
    checked = house.passgate("evidence", "verify", str(evidence))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_name_that_vsphere_never_gives_is_reached_by_uuid(house: House) -> None:
    """Names end at 80 characters; a longer one is refused with a word on the UUID, which works."""
    vm = house.lab.control.rename_vm("win-01", "y" * 120)
    answer = house.call("alice", "POST", "/v1/changes", runbook="usb-attach", ask={"vm": "y" * 120, "device": STICK})
    assert answer.json()["error"]["exit_code"] == INPUT, answer.text
    assert "UUID" in answer.text
    change = house.request(vm=vm["uuid"])
    house.decide("bob", change)
    assert house.ends(change).state is State.DONE


def _marked(message: str) -> list[str]:
    """Return everything in a message that Slack would take as a mention or a link."""
    return re.findall(r"<[^>\n]*>", message)


@contextmanager
def _vcenter(pair: tls.Pair) -> Iterator[tuple[VCenterServer, str]]:
    world = seeded_world(LabWorld())
    server = VCenterServer(world, {"admin": Account("pass")}, cert=pair.cert, key=pair.key)
    server.start()
    try:
        yield server, server.url
    finally:
        server.stop()
        world.close()


def _config_for(house: House, folder: Path, url: str, ca: Path) -> Path:
    """Return the house's config, pointed at another vCenter."""
    config = folder / "config"
    shutil.copytree(house.lab.config, config)
    site = config / "site.yaml"
    text = site.read_text(encoding="utf-8")
    text = text.replace("{file: lab/vcenter.url}", url).replace("{file: lab/ca.pem}", f"{{file: {ca}}}")
    site.write_text(text, encoding="utf-8")
    return config
