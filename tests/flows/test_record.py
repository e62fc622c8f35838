"""Promise: what the service recorded verifies whole, for us and for anybody who has only the file and the key."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from passgate.ledger.canonical import LEFT_OUT
from passgate.model.change import Change, State
from tests.house import House, until

NASTY_VM = 'passwd "xoxb-1-canary" <@U0BOB> \u7aef\u672b'
NASTY_STICK = "Bearer abcdefghijklmnop0123"


def evidence_of(house: House, change: Change) -> Path:
    """Return the evidence file of an ended change, once it is written."""
    path = house.home / "evidence" / f"{change.id}.zip"
    until(path.is_file, f"the evidence of {change.id} is written", told=house.told(change))
    return path


def proven_alone(bundle: Path, key: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the evidence's own verify.py as a stranger would: in an empty folder, with a bare Python."""
    folder.mkdir()
    with zipfile.ZipFile(bundle) as archive:
        archive.extract("verify.py", folder)
    words = [sys.executable, "-I", "verify.py", str(bundle), key]
    return subprocess.run(words, cwd=folder, env={}, capture_output=True, text=True, timeout=60, check=False)


def test_one_done_one_denied_and_one_undone_change_verify_by_every_way(house: House, tmp_path: Path) -> None:
    """The ledger is whole, and each change's evidence says how it ended and who decided, here and elsewhere."""
    done = house.request()
    house.decide("bob", done)
    assert house.ends(done).state is State.DONE
    denied = house.request(device="0781:5583")
    house.decide("bob", denied, "deny", "not tonight")
    assert house.ends(denied).state is State.DENIED
    undone = house.request(device="0781:5583")
    house.lab.control.fault("PowerOnVM_Task", "NoPermission", times=1)
    house.decide("bob", undone)
    assert house.ends(undone).state is State.UNDONE

    key = house.passgate("ledger", "key").stdout.strip()
    for change, decided in ((done, "approved by bob"), (denied, "denied by bob"), (undone, "approved by bob")):
        bundle = evidence_of(house, change)
        ended = house.store.change(change.id)
        here = house.passgate("evidence", "verify", str(bundle))
        alone = proven_alone(bundle, key, tmp_path / change.id)
        for found in (here, alone):
            assert found.returncode == 0, found
            assert f"{change.id} ended as {ended.state}" in found.stdout
            assert f"It was {decided}, on exactly the plan" in found.stdout
            assert str(ended.digest) in found.stdout
    whole = house.passgate("ledger", "verify")
    assert whole.returncode == 0, whole.stdout
    assert "hold together" in whole.stdout
    assert "A copy outside the database agrees." in whole.stdout


def test_what_the_estate_calls_its_vms_and_devices_stops_no_change(house: House, tmp_path: Path) -> None:
    """A VM and a device that are named like secrets are served, proven and recorded, the suspect words left out."""
    control = house.lab.control
    control.rename_vm("win-01", NASTY_VM)
    control.unplug("esx-01.lab.example", "0/1/3")
    device = {"vendor": 0x18A5, "product": 0x0302, "serial": "CAFE0123", "families": ["storage"]}
    control.plug("esx-01.lab.example", "0/1/9", speeds=["high"], name=NASTY_STICK, **device)
    change = house.request(vm=NASTY_VM)
    assert house.decide("bob", change, reason="fine").is_success
    ended = house.ends(change)
    assert ended.state is State.DONE, house.told(change)()
    assert house.passgate("ledger", "verify").returncode == 0
    key = house.passgate("ledger", "key").stdout.strip()
    bundle = evidence_of(house, change)
    assert proven_alone(bundle, key, tmp_path / "alone").returncode == 0
    with zipfile.ZipFile(bundle) as archive:
        events = archive.read("events.jsonl").decode()
    assert LEFT_OUT in events
    assert NASTY_STICK not in events


def test_a_token_that_somebody_types_as_a_reason_is_refused_at_the_door(house: House) -> None:
    """What a person can say otherwise is refused in words before anything is kept, by both doors for reasons."""
    typed = "Bearer abcdefghijklmnop0123"
    ask = {"vm": "win-01", "device": "18a5:0302", "reason": typed}
    before = house.store.changes(limit=1)
    refused = house.call("alice", "POST", "/v1/changes", runbook="usb-attach", ask=ask)
    assert refused.status_code == 400, refused.text
    assert "looks like a password, token or key" in refused.text
    assert typed not in refused.text
    assert house.store.changes(limit=1) == before
    change = house.request()
    assert house.decide("bob", change, "deny", typed).status_code == 400
    assert house.store.decisions(change.id) == ()
