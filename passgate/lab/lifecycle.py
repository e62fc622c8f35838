"""Start, stop and look at the lab's process. The command line imports this module: it stays light."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import passgate
from passgate.errors import WorldError

PID, READY, LOG = "lab/pid", "lab/ready", "lab/lab.log"
PLACES = {"vcenter": "lab/vcenter.url", "slack": "lab/slack.url", "control": "lab/control.url"}
START_SECONDS = 40.0
STOP_SECONDS = 10.0
LOOK_EVERY = 0.05
LOCK_PATIENCE = 1.0
LOG_LINES = 5


@dataclass(frozen=True)
class LabStatus:
    """Say whether a lab runs in a home, and where its parts answer; `page` is the Slack workspace for a browser."""

    home: Path
    running: bool
    ready: bool = False
    pid: int | None = None
    vcenter: str = ""
    slack: str = ""
    control: str = ""
    page: str = ""


def status(home: Path) -> LabStatus:
    """Say whether the lab of that home runs; what its files say counts only while its process lives."""
    pid = _living(home)
    if pid is None:
        return LabStatus(home, running=False)
    ready = _text(home / READY) == str(pid)
    places = {name: _text(home / place) for name, place in PLACES.items()} if ready else {}
    page = places.get("slack", "").removesuffix("api/")
    return LabStatus(home, running=True, ready=ready, pid=pid, page=page, **places)


def start(home: Path, config: Path) -> LabStatus:
    """Start the lab of that home as a process of its own and wait until it answers; one that runs already is kept.

    Raises WorldError with the last lines of its log when it ends or does not get ready in time.
    """
    found = status(home)
    if found.ready:
        return found
    (home / "lab").mkdir(parents=True, exist_ok=True, mode=0o700)
    environment = {**os.environ, "PYTHONPATH": _python_path()}
    words = [sys.executable, "-m", "passgate.lab.run", "--home", str(home), "--config", str(config)]
    with (home / LOG).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found = status(home)
        if found.ready:
            return found
        # A lab that somebody else is starting at this moment ends ours: then theirs is waited for.
        if process.poll() is not None and not found.running:
            raise _not_started(home, f"its process ended with status {process.returncode}")
        time.sleep(LOOK_EVERY)
    process.terminate()
    process.wait(STOP_SECONDS)
    raise _not_started(home, f"it was not ready after {START_SECONDS:.0f} s")


def stop(home: Path) -> LabStatus:
    """Stop the lab of that home and wait for its end; harmless when none runs."""
    pid = _living(home)
    for request in (signal.SIGTERM, signal.SIGKILL):
        if pid is None:
            break
        os.kill(pid, request)
        deadline = time.monotonic() + STOP_SECONDS
        while _living(home) == pid and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY)
        pid = _living(home)
    return status(home)


def _living(home: Path) -> int | None:
    """Return the lab's process id while it lives: it holds a lock on its file, so an old number is never believed."""
    try:
        with (home / PID).open(encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                written = file.read().strip()
                return int(written) if written.isdecimal() else None
    except OSError:
        return None
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _python_path() -> str:
    """Let the new process find the package that this one runs, installed or not."""
    here = str(Path(passgate.__file__).resolve().parents[1])
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])


def _not_started(home: Path, why: str) -> WorldError:
    log = _text(home / LOG)
    # Of an error that nobody foresaw only the last line is for people; the rest stays in the log.
    lines = [line for line in log.splitlines() if line.strip()][-1 if "Traceback" in log else -LOG_LINES :]
    said = " / ".join(lines) or "nothing"
    return WorldError(
        f"The lab did not start: {why}. It said: {said}", hint=f"Its log is {home / LOG}.", subject=str(home)
    )
