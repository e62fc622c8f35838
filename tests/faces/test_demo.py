"""Prove that `passgate demo` shows the whole job, touches nothing but its lab, and leaves nothing behind."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import httpx
import pytest

from tests.lab_site import FAST, SHIPPED

pytestmark = [pytest.mark.xdist_group("demo"), pytest.mark.timeout(400)]

DEMO = (sys.executable, "-m", "passgate.faces.cli.main", "demo")
SERIAL = "07A40901A2B3C4D5"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Lend an empty folder in which the tests below run the demo one after another."""
    folder = tmp_path_factory.mktemp("demo")
    yield folder
    for pid in running(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of somebody who has set nothing up; only the lab's machines are faster."""
    config = tmp_path / "config"
    shutil.copytree(SHIPPED, config)
    (config / "lab.yaml").write_text("".join(f"{name}: {seconds}\n" for name, seconds in FAST.items()))
    own = {name: value for name, value in os.environ.items() if not name.startswith("PASSGATE_")}
    return {**own, "PASSGATE_CONTENT": str(SHIPPED.parent), "PASSGATE_CONFIG": str(config)}


def test_it_shows_both_stories_and_leaves_nothing_running(folder: Path, environment: dict[str, str]) -> None:
    """With no terminal Bob's click is made over Slack's wire; the guest, the ledger and the evidence have the word.

    Then the second story in the same folder, with people at a terminal: their clicks count at once, Carol's on the plan
    and Bob's before the reboot, and everything stays up until it is stopped.
    """
    first = run(*DEMO, folder=folder, environment=environment)
    assert first.returncode == 0, first.stdout + first.stderr
    told = first.stdout
    assert f"serial  {SERIAL}" in chapter(told, "What the guest itself says")
    assert "approved by bob (slack)" in told
    assert "Approved by Bob Berger in Slack" in chapter(told, "What everybody read in Slack")
    assert "hold together" in chapter(told, "The record")
    assert "CHG-0001 ended as done" in chapter(told, "The record")
    until(lambda: running(folder) == [], "nothing runs any more")

    second = Attended(folder, environment, "--story", "pci")
    second.until_told("Be Bob, and click Approve")
    approve(folder, "U0CAROL")
    second.until_told("waits at the gate host-reboot")
    assert "Reboot esx-02.lab.example ..." not in second.told
    second.until_told("and click Approve", times=2)
    approve(folder, "U0BOB")
    second.until_told("and click Approve", times=3)
    approve(folder, "U0BOB")
    second.until_told("CHG-0003 is done")
    assert second.process.wait(30) == 0, second.told
    assert "Nobody clicked" not in second.told

    plan = chapter(second.told, "Alice asks for the whole USB controller")
    for line in ("Move lnx-01 to esx-01.lab.example", "Shut down the guest of lic-01", "at the gate host-reboot"):
        assert line in plan
    assert "approved by carol (slack)" in chapter(second.told, "What comes of it, up to the gate")
    reboot = chapter(second.told, "The reboot, and everything given back")
    assert "the gate host-reboot is passed: approved by bob" in reboot
    for line in ("esx-02.lab.example was booted at", "in effect", "open to VMs", "Move lnx-01 back", "Power on lic-01"):
        assert line in reboot
    proof = chapter(second.told, "What the guest itself says")
    assert "(1912:0015), status OK" in proof
    assert "serial  E0D55EA573F1" in proof
    record = chapter(second.told, "The record")
    assert "The gate host-reboot was passed, decided on by bob" in record
    assert "CHG-0003 ended as done" in record
    assert "passgate down" in chapter(second.told, "Where to look next")
    shown = run(*DEMO[:-1], "show", "CHG-0003", folder=folder, environment=environment)
    assert "State: done" in shown.stdout
    for words in (("down",), ("lab", "stop")):
        assert run(*DEMO[:-1], *words, folder=folder, environment=environment).returncode == 0
    until(lambda: running(folder) == [], "nothing runs any more")


def test_a_signal_stops_everything_that_it_has_started(folder: Path, environment: dict[str, str]) -> None:
    """A time limit of CI ends the demo with SIGTERM; no lab and no server is left behind."""
    with subprocess.Popen(
        DEMO, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any("$ passgate up" in line for line in process.stdout)
        until(lambda: len(running(folder)) > 2, "Passgate is starting")
        process.send_signal(signal.SIGTERM)
        assert "is stopped" in process.stdout.read()
    assert process.returncode == 130
    until(lambda: running(folder) == [], "nothing runs any more")


def test_a_home_of_somebodys_own_is_left_alone(tmp_path: Path, environment: dict[str, str]) -> None:
    """What a site keeps in `.passgate` is neither read nor written nor stopped."""
    (tmp_path / ".passgate").mkdir()
    (tmp_path / ".passgate/passgate.db").write_text("somebody's changes")
    refused = run(*DEMO, folder=tmp_path, environment=environment)
    assert refused.returncode == 2
    assert "leaves it alone" in refused.stderr
    assert [path.name for path in (tmp_path / ".passgate").iterdir()] == ["passgate.db"]


def test_a_site_of_somebodys_own_is_never_touched(tmp_path: Path, environment: dict[str, str]) -> None:
    """A config/ that names a real vCenter is refused before Passgate is started with it."""
    site = Path(environment["PASSGATE_CONFIG"], "site.yaml")
    site.write_text(site.read_text().replace("{file: lab/vcenter.url}", "https://vcenter.example.com"))
    refused = run(*DEMO, folder=tmp_path, environment=environment)
    assert refused.returncode == 2
    assert "a vCenter of your own" in refused.stderr
    assert not (tmp_path / ".passgate/service.log").exists()
    until(lambda: running(tmp_path) == [], "nothing runs any more")


class Attended:
    """Run the demo at a terminal, and keep what it shows there."""

    def __init__(self, folder: Path, environment: dict[str, str], *words: str) -> None:
        ours, theirs = pty.openpty()
        command = (*DEMO, *words)
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self.told = ""
        Thread(target=self._read, args=(ours,), daemon=True).start()

    def until_told(self, words: str, times: int = 1) -> None:
        """Wait until the terminal shows these words, so many times."""

        def said() -> bool:
            return self.told.count(words) >= times

        until(lambda: said() or self.process.poll() is not None, f"it says {words!r}")
        until(said, f"it says {words!r}: {self.told}", 5)

    def _read(self, terminal: int) -> None:
        with suppress(OSError):  # Linux's way to say that the other end is closed
            while data := os.read(terminal, 65536):
                self.told += data.decode(errors="replace").replace("\r", "")


def run(*words: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command in the folder, with nobody at the terminal."""
    return subprocess.run(
        words,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


def approve(folder: Path, user: str) -> None:
    """Click Approve as that person in the lab's Slack."""
    lab = folder / ".passgate/lab"
    url = (lab / "slack.url").read_text().strip().removesuffix("api/")
    bearer = {"Authorization": f"Bearer {(lab / 'control.token').read_text().strip()}"}
    act = {"user": user, "action_id": "passgate_approve", "confirm": True}
    assert httpx.post(f"{url}_lab/slack/click", json=act, headers=bearer, timeout=20).is_success


def chapter(told: str, name: str) -> str:
    """Return what stands under that heading."""
    _, _, rest = told.partition(f". {name}\n")
    assert rest, f"no chapter {name!r} in: {told}"
    return rest.split("\n\n")[0]


def running(folder: Path) -> list[int]:
    """Return the processes that were started for this folder, by their environment and words."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            known = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
            is_alive = "State:\tZ" not in (process / "status").read_text()
            if is_alive and str(folder / ".passgate").encode() in known:
                found.append(int(process.name))
    return found


def until(holds: Callable[[], bool], what: str, within: float = 90) -> None:
    """Wait until it holds, and fail in words when it does not."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"waited {within} s in vain until {what}"
        time.sleep(0.05)
