"""No secret leaves its place: after a whole run and after failing ones, all that Passgate wrote or said is searched."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from passgate.model.change import State
from tests.house import House
from tests.slack_channel import BOB, Channel

SHORTEST = 8
"""Characters that a line of a secret must have to be looked for; shorter ones occur by chance."""


def test_no_secret_is_written_or_said_anywhere(house: House) -> None:
    """Passwords, keys and tokens, right and wrong ones, are in no database, log, message, evidence or answer."""
    said = _a_whole_run(house) + _failing_runs(house)
    places = {**_files(house), **{f"answer {number}": text.encode() for number, text in enumerate(said)}}
    places["Slack"] = json.dumps(house.lab.control.slack("state")).encode()
    places |= {
        f"Prefect {path}": house.prefect("POST", path).content
        for path in ("/flow_runs/filter", "/task_runs/filter", "/artifacts/filter", "/logs/filter")
    }

    # The search itself works: what must be there is found in files, archives and answers.
    newest = house.store.changes(limit=1)[0].id.encode()
    holding = {name for name, data in places.items() if newest in data}
    assert {"passgate.db", "Slack"} <= {name.removesuffix("-wal") for name in holding}, holding
    assert any(".zip/" in name for name in places)

    secrets = _secrets(house)
    planted = {f"planted {name}": b"<" + parts[-1] + b">" for name, parts in secrets.items()}
    assert len(_leaks(secrets, planted)) >= len(secrets)

    assert _leaks(secrets, places) == []


def _leaks(secrets: dict[str, list[bytes]], places: dict[str, bytes]) -> list[str]:
    """Say which secret stands where."""
    return [
        f"{secret} in {name}"
        for secret, parts in secrets.items()
        for name, data in places.items()
        if any(part in data for part in parts)
    ]


def _a_whole_run(house: House) -> list[str]:
    """Do what people do, and return all that they were told."""
    channel = Channel(house)
    asked = house.passgate("request", "usb-attach", "--vm", "win-01", "--device", "18a5:0302", "--json")
    change = house.store.change(json.loads(asked.stdout)["id"])
    channel.shows_buttons(change)
    channel.click(BOB, change)
    assert house.ends(change).state is State.DONE
    channel.told(change)
    words = (["show", change.id], ["watch", change.id], ["status", "--json"], ["doctor", "--json"], ["usb", "list"])
    return [_all(house, *one) for one in words]


def _failing_runs(house: House) -> list[str]:
    """Fail logins of every kind, and return all that people were told."""
    said = []
    with _wrong(house, "guest.windows.password"):
        change = house.request()
        house.decide("carol", change)
        assert house.ends(change).state is State.UNDONE
        Channel(house).told(change)
        said.append(_all(house, "show", change.id))
    with _wrong(house, "vcenter.password"):
        house.lab.control.expire_sessions()
        said.append(_all(house, "plan", "usb-attach", "--vm", "win-01", "--device", "18a5:0302"))
    with ExitStack() as all_wrong:
        for name in ("vcenter.password", "slack.bot_token", "slack.app_token", "ssh_key"):
            all_wrong.enter_context(_wrong(house, name))
        said.append(_all(house, "doctor"))
    said.append(_all(house, "list", PASSGATE_TOKEN=_canary("personal token")))
    return said


def _secrets(house: House) -> dict[str, list[bytes]]:
    """Return every secret under its name: each of its lines, plain and as HTTP Basic or XML would carry it."""
    lab = ("vcenter.password", "ssh_password", "slack.bot_token", "slack.app_token", "control.token", "ssh_key")
    texts = {name: house.lab.read(name) for name in (*lab, "guest.windows.password", "guest.linux.password")}
    texts |= {f"wrong {name}": _canary(name) for name in (*lab, "guest.windows.password", "personal token")}
    texts |= {f"token of {person}": token for person, token in house.tokens.items()}
    texts["ledger key"] = (house.home / "ledger.key").read_text(encoding="utf-8")
    return {name: list(_forms(text)) for name, text in texts.items()}


def _forms(text: str) -> Iterator[bytes]:
    for line in text.splitlines():
        if len(line) >= SHORTEST and not line.startswith("-----"):
            yield line.encode()
            yield base64.b64encode(line.encode()).rstrip(b"=")[:-1]


def _files(house: House) -> dict[str, bytes]:
    """Return all that is in the home, archives opened, without the files that are the secrets' own places."""
    own = {house.home / "ledger.key", *(path for path in (house.home / "lab").iterdir() if path.suffix != ".log")}
    found: dict[str, bytes] = {}
    for path in house.home.rglob("*"):
        if path in own or not path.is_file():
            continue
        data = path.read_bytes()
        name = str(path.relative_to(house.home))
        found[name] = data
        if zipfile.is_zipfile(io.BytesIO(data)):
            with zipfile.ZipFile(path) as archive:
                found |= {f"{name}/{one}": archive.read(one) for one in archive.namelist()}
    return found


@contextmanager
def _wrong(house: House, name: str) -> Iterator[None]:
    """Put another secret into one of the lab's files."""
    path = Path(house.home, "lab", name)
    right = path.read_text(encoding="utf-8")
    path.write_text(_canary(name), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(right, encoding="utf-8")


def _canary(name: str) -> str:
    return f"canary-{name.replace(' ', '-')}-5f3a9c"


def _all(house: House, *words: str, **environment: str) -> str:
    told = house.passgate(*words, **environment)
    assert "Traceback" not in told.stderr, told.stderr
    return told.stdout + told.stderr
