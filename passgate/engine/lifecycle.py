"""Start, stop and look at Passgate's own processes on one machine: Prefect's server, and the service.

The command line imports this module: it stays light. What runs is told by pid files whose process is alive and ours.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from passgate.errors import ConfigError, InputError, WorldError
from passgate.settings.load import load_config

SERVICE, PREFECT = "service", "prefect"
START_SECONDS = 300.0
"""How long a start may take: the first one makes Prefect's database, minutes on a machine that is busy."""
STOP_SECONDS = 15.0
PORT_SECONDS = 15.0
"""How long a killed server's port may take to be free again: its children may outlive it for a moment."""
LOOK_EVERY = 0.05
LOG_LINES = 8
PREFECT_SETTINGS = {
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_CLI_PROMPT": "false",
}
"""What differs from Prefect's defaults; the same in its server and in the service (reference Prefect, 2)."""


@dataclass(frozen=True)
class Process:
    """Say what is known of one process: its pid if it lives, its address if it is ready."""

    name: str
    running: bool
    pid: int | None = None
    url: str = ""
    log: str = ""


def service_name(replica: str = "") -> str:
    """Return the name of a replica's process, and of its files in the home. Raises InputError for one that can't be."""
    if replica and not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", replica):
        raise InputError(
            f"{replica!r} can't name a replica.", hint="Take small letters and digits, such as b or host-2.",
            subject="replica",
        )  # fmt: skip
    return f"{SERVICE}-{replica}" if replica else SERVICE


def start(home: Path, content: Path, config: Path, replica: str = "") -> dict[str, Process]:
    """Start what does not run yet, and wait until it answers. `replica` names a further service beside the first.

    Raises WorldError with the last lines of the log of the one that did not start, ConfigError for a replica where
    config lets none stand by.
    """
    settings = load_config(config).service
    service = service_name(replica)
    if replica and not settings.standby:
        raise ConfigError(
            f"A replica {replica!r} can't be started: config lets no further service stand by.",
            hint="Set standby: true in config/service.yaml, and restart the first service (`passgate down`, `up`).",
            subject="standby",
        )
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = status(home)
    if settings.prefect_url is not None:
        (home / "prefect.url").write_text(settings.prefect_url, encoding="utf-8")
    elif not found[PREFECT].running:
        former = _text(home / "prefect.url")
        # A service that still runs looks for Prefect at the former address only: that port is waited for.
        patience = PORT_SECONDS if any(one.running for name, one in found.items() if name != PREFECT) else 0.0
        port = settings.prefect_port or _former_or_free_port(settings.host, former, patience)
        (home / "prefect.url").write_text(f"http://{settings.host}:{port}/api", encoding="utf-8")
        words = [sys.executable, "-m", "passgate.engine.prefect_server", "start"]
        _spawn(home, PREFECT, [*words, "--host", settings.host, "--port", str(port)], prefect_environment(home))
    if service not in found or not found[service].running:
        (home / f"{service}.url").unlink(missing_ok=True)
        words = [sys.executable, "-m", "passgate.faces.service"]
        places = {"PASSGATE_HOME": str(home), "PASSGATE_CONTENT": str(content), "PASSGATE_CONFIG": str(config)}
        _spawn(home, service, words, {**prefect_environment(home), **places, "PASSGATE_REPLICA": replica})
    return _wait(home, service)


def stop(home: Path) -> dict[str, Process]:
    """Stop the service with its replicas, then Prefect's server. Changes stay and go on at the next start."""
    stop_services(home)
    _stop(home, PREFECT)
    return status(home)


def stop_services(home: Path) -> None:
    """Stop the service and its replicas, one after the other."""
    for name in (*_replicas(home), SERVICE):
        _stop(home, name)
        (home / f"{name}.url").unlink(missing_ok=True)


def _stop(home: Path, name: str) -> None:
    pid = _living(home, name)
    if pid is not None:
        _end(pid)
    _file(home, name).unlink(missing_ok=True)


def status(home: Path) -> dict[str, Process]:
    """Say what runs, and where it listens."""
    return {name: _look(home, name) for name in (SERVICE, PREFECT, *_replicas(home))}


def _replicas(home: Path) -> list[str]:
    """Return the names of the further services of the home."""
    return sorted(path.stem for path in home.glob(f"{SERVICE}-*.pid"))


def prefect_environment(home: Path) -> dict[str, str]:
    """Return the environment in which Prefect's server, our service and the tests of both run."""
    return {
        **os.environ,
        **PREFECT_SETTINGS,
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": _text(home / "prefect.url"),
    }


def _look(home: Path, name: str) -> Process:
    pid = _living(home, name)
    remote = name == PREFECT and pid is None and _text(home / "prefect.url") != "" and not _file(home, name).exists()
    url = _text(home / f"{name}.url") if pid is not None or remote else ""
    return Process(name, running=pid is not None, pid=pid, url=url, log=str(_log(home, name)))


def _wait(home: Path, service: str) -> dict[str, Process]:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found = status(home)
        if found[service].url and _answers(found[service].url + "/health"):
            return found
        for name in (service, PREFECT):
            if _file(home, name).exists() and not found[name].running:
                raise _not_started(home, name, "its process ended")
        time.sleep(LOOK_EVERY)
    raise _not_started(home, service, f"it did not answer within {START_SECONDS:.0f} s")


def _not_started(home: Path, name: str, why: str) -> WorldError:
    lines = _text(_log(home, name)).splitlines()[-LOG_LINES:]
    if name in {SERVICE, PREFECT}:  # a replica that did not start is no reason to stop the others
        stop(home)
    return WorldError(
        f"Passgate did not start: {why} ({name}). Its log ends with:\n  " + "\n  ".join(lines),
        hint=f"Mend what the log says and run `passgate up` again. The whole log: {_log(home, name)}.",
        subject=name,
    )


def _spawn(home: Path, name: str, words: list[str], environment: dict[str, str]) -> None:
    with _log(home, name).open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    _file(home, name).write_text(f"{process.pid} {_born(process.pid)}", encoding="utf-8")


def _living(home: Path, name: str) -> int | None:
    """Return the pid if that very process lives; a pid that another process got since does not count."""
    pid, _, born = _text(_file(home, name)).partition(" ")
    return int(pid) if pid.isdigit() and _born(int(pid)) == born != "" else None


def _born(pid: int) -> str:
    """Return when a process started, in the kernel's own ticks; empty when it is gone or only waits to be reaped."""
    fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] != "Z" else ""  # noqa: PLR2004 - proc(5): field 22 is starttime


def _end(pid: int) -> None:
    """Ask the process group to end, and end it by force when it does not."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(pid, sign)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + STOP_SECONDS
        while _born(pid) and time.monotonic() < deadline:
            _reap(pid)
            time.sleep(LOOK_EVERY)
        if not _born(pid):
            return


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own loopback address
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's word for well
    except (OSError, urllib.error.URLError):
        return False


def _former_or_free_port(host: str, former: str, patience: float) -> int:
    """Return the port of the last time, if it is free by then, else any free one."""
    wanted = urlsplit(former).port or 0
    deadline = time.monotonic() + patience
    while not _is_free(host, wanted) and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, wanted if _is_free(host, wanted) else 0))
        return int(probe.getsockname()[1])


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _file(home: Path, name: str) -> Path:
    return home / f"{name}.pid"


def _log(home: Path, name: str) -> Path:
    return home / f"{name}.log"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
