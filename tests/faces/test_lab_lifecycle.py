"""Prove that the lab starts, is reached over every wire, and stops, as a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from passgate.connect.esxi_shell import EsxiShell, ShellAccess
from passgate.errors import WorldError
from passgate.lab import lifecycle
from passgate.model.inventory import Arbitrator, HostId
from tests.lab_site import SHIPPED, Lab, LabError

ESX_03 = HostId(ref="host-13", name="esx-03.lab.example", uuid="")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Start one lab for all tests that leave it running."""
    with Lab.start(tmp_path_factory.mktemp("home")) as started:
        yield started


@pytest.fixture(autouse=True)
def _fresh(request: pytest.FixtureRequest) -> None:
    """Put a running lab's world back before each test."""
    if "lab" in request.fixturenames:
        request.getfixturevalue("lab").control.reset()


def test_every_part_answers_where_its_file_says(lab: Lab) -> None:
    """The vCenter over TLS with the lab's own CA, the shells by key, and Slack by token."""
    context = ssl.create_default_context(cadata=lab.read("ca.pem"))
    assert "8.0" in httpx.get(f"{lab.read('vcenter.url')}/sdk/vimServiceVersions.xml", verify=context).text

    shell = EsxiShell(
        ShellAccess(
            user="root",
            key=lab.read("ssh_key"),
            known_hosts=lab.read("known_hosts"),
            addresses=json.loads(lab.read("shells.json")),
        )
    )
    assert shell.arbitrator(ESX_03) is Arbitrator.STOPPED
    shell.close()

    token = {"Authorization": f"Bearer {lab.read('slack.bot_token')}"}
    assert httpx.post(f"{lab.read('slack.url')}auth.test", headers=token).json()["ok"] is True


def test_its_files_are_for_their_owner_alone(lab: Lab) -> None:
    """Tokens, keys and passwords are readable by nobody else."""
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (lab.home / "lab").iterdir()}

    del modes["lab.log"]
    assert set(modes.values()) == {0o600}
    assert {"vcenter.password", "ssh_key", "slack.bot_token", "slack.app_token", "control.token"} <= modes.keys()


def test_a_second_start_keeps_the_lab_that_runs(lab: Lab) -> None:
    """Starting twice is harmless, and status says the same."""
    again = lifecycle.start(lab.home, lab.config)

    assert again == lab.status == lifecycle.status(lab.home)
    assert again.page.startswith("http://127.0.0.1:")


def test_a_second_process_gives_way(lab: Lab) -> None:
    """A second lab in one home ends by itself with words, and leaves the first one's files alone."""
    words = [sys.executable, "-m", "passgate.lab.run", "--home", str(lab.home), "--config", str(lab.config)]

    second = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    assert second.returncode == 6
    assert "A lab runs in" in second.stderr
    assert lifecycle.status(lab.home) == lab.status


def test_the_control_api_wants_its_token(lab: Lab) -> None:
    """Without the token nothing is told and nothing is done."""
    assert httpx.get(f"{lab.status.control}state").status_code == 403
    assert httpx.post(f"{lab.status.control}reset", headers={"Authorization": "Bearer guess"}).status_code == 403


def test_devices_are_pulled_and_put_back(lab: Lab) -> None:
    """A device that is in use and pulled out is gone from its VM; it comes back in the same port only."""
    host, path = "esx-02.lab.example", "path:0/1/2"
    assert lab.control.vm("lic-01")["usb"][0]["connected"]

    lab.control.unplug(host, path)
    assert not lab.control.vm("lic-01")["usb"][0]["connected"]
    lab.control.plug(host, path, to="0/1/9")
    assert lab.control.vm("lic-01")["usb"][0]["device"] is None
    lab.control.unplug(host, "0/1/9")
    lab.control.plug(host, "0/1/9", to="0/1/2")

    assert lab.control.vm("lic-01")["usb"][0]["device"] == "0529:0001"


def test_vms_of_any_name_are_added_and_taken_away_by_reset(lab: Lab) -> None:
    """Duplicates and hostile names exist in the lab, because they exist in the world."""
    hostile = "<!channel> `'\"\n日本 " + "x" * 80
    twin = lab.control.add_vm("win-01", host="esx-03.lab.example")
    lab.control.rename_vm("lnx-01", hostile)

    names = [vm["name"] for vm in lab.control.state()["vms"]]
    assert (names.count("win-01"), names.count(hostile)) == (2, 1)
    assert twin["uuid"] not in {vm["uuid"] for vm in lab.control.state()["vms"] if vm["ref"] != twin["ref"]}

    lab.control.reset()
    assert [vm["name"] for vm in lab.control.state()["vms"]] == [
        "win-01", "win-02", "lnx-01", "lnx-02", "lic-01", "old-01",
    ]  # fmt: skip


def test_a_request_that_makes_no_sense_is_refused_in_words(lab: Lab) -> None:
    """The control API says what it does not know, and what there is."""
    with pytest.raises(LabError, match="no host 'esx-9'; it has esx-01"):
        lab.control.arbitrator("esx-9", running=True)
    with pytest.raises(LabError, match="'host' was not given"):
        lab.control.post("/unplug")
    with pytest.raises(LabError, match="shoe_size can't be set"):
        lab.control.set_vm("win-01", shoe_size=44)


def test_a_lab_that_was_killed_is_not_believed_to_run(tmp_path: Path) -> None:
    """After kill -9 its files lie about it, but status does not, and the next start works."""
    lab = Lab.start(tmp_path)
    os.kill(lab.status.pid or 0, signal.SIGKILL)
    while lifecycle.status(tmp_path).running:
        pass

    assert (tmp_path / "lab/ready").exists()
    again = Lab.start(tmp_path)

    assert again.status.pid != lab.status.pid
    again.stop()
    assert not lifecycle.status(tmp_path).running
    assert sorted(path.name for path in (tmp_path / "lab").iterdir()) == ["lab.log", "pid"]


def test_a_lab_that_cannot_start_says_why(tmp_path: Path) -> None:
    """A mistake in lab.yaml comes back with file and field, not as a traceback."""
    config = tmp_path / "config"
    with pytest.raises(WorldError, match="There is no config folder") as told:
        lifecycle.start(tmp_path, config)

    assert "Traceback" not in told.value.message
    assert not lifecycle.status(tmp_path).running


def test_a_port_that_is_taken_is_told_as_such(tmp_path: Path) -> None:
    """A lab whose port somebody else has says what to do about it."""
    config = tmp_path / "config"
    shutil.copytree(SHIPPED, config)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (config / "lab.yaml").write_text(f"slack_port: {taken.getsockname()[1]}\n", encoding="utf-8")

        with pytest.raises(WorldError, match=r"Address already in use.* 0 in lab.yaml") as told:
            lifecycle.start(tmp_path, config)

    assert "Traceback" not in told.value.message


def test_stopping_nothing_is_harmless(tmp_path: Path) -> None:
    """Stop and status of a home without a lab say that none runs."""
    assert lifecycle.stop(tmp_path) == lifecycle.status(tmp_path) == lifecycle.LabStatus(tmp_path, running=False)
