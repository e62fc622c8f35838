"""Run the lab: vCenter, ESXi shells, guests, Slack and the control API in one process, until it is told to stop.

`passgate lab start` runs this as `python -m passgate.lab.run --home DIR --config DIR`. Where each part answers, and how
one logs in, is written to files below the home's `lab/`, readable by their owner alone; `lab/ready` comes last.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import secrets
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Self, TextIO

from passgate.errors import ConflictError, PassgateError, WorldError
from passgate.lab.control import Control, ControlServer
from passgate.lab.esxi import EsxiShells
from passgate.lab.guests import GuestMachines
from passgate.lab.inventory_seed import LINUX_LOGIN, WINDOWS_LOGIN, seeded_world
from passgate.lab.lifecycle import LOCK_PATIENCE, LOOK_EVERY, PID, READY
from passgate.lab.slack import SlackServer
from passgate.lab.vcenter import Account, VCenterServer
from passgate.settings.load import load_config
from passgate.settings.shape import LabWorld

VCENTER_USER = "passgate@vsphere.local"
LIMITED_USER = "limited@vsphere.local"
"""An account that may not add or remove devices, with the same password."""


class Lab:
    """The whole lab in this process; its endpoint files are in `home`/lab while it runs."""

    def __init__(self, home: Path, settings: LabWorld) -> None:
        self._home = home
        password, self._token = secrets.token_urlsafe(16), secrets.token_urlsafe(24)
        bot_token, app_token = f"xoxb-lab-{secrets.token_hex(12)}", f"xapp-lab-{secrets.token_hex(12)}"
        self.world = seeded_world(settings)
        self.vcenter = VCenterServer(
            self.world,
            {VCENTER_USER: Account(password), LIMITED_USER: Account(password, "limited")},
            GuestMachines(self.world).run,
            port=settings.vcenter_port,
        )
        self.shells = EsxiShells(self.world)
        self.slack = SlackServer(
            port=settings.slack_port, bot_token=bot_token, app_token=app_token, control_token=self._token
        )
        self._control = ControlServer(Control(self.world, self.slack, self.vcenter), self._token)
        self._files: list[Path] = []
        self._secrets = {
            "ca.pem": self.vcenter.ca_pem,
            "vcenter.user": VCENTER_USER,
            "vcenter.password": password,
            "ssh_key": self.shells.private_key,
            "ssh_password": self.shells.password,
            "guest.windows.password": WINDOWS_LOGIN[1],
            "guest.linux.password": LINUX_LOGIN[1],
            "slack.bot_token": bot_token,
            "slack.app_token": app_token,
            "control.token": self._token,
        }

    def start(self) -> Self:
        """Begin to answer, and write the files that say where."""
        self.vcenter.start()
        self.shells.start()
        self.slack.start()
        self._control.start()
        places = {
            "vcenter.url": self.vcenter.url,
            "known_hosts": self.shells.known_hosts,
            "shells.json": json.dumps(self.shells.addresses),
            "slack.url": self.slack.api_url,
            "control.url": self._control.url,
        }
        for name, text in {**self._secrets, **places}.items():
            self._files.append(self._home / "lab" / name)
            write(self._files[-1], text)
        return self

    def stop(self) -> None:
        """Stop answering, and take the files away: whoever reads them next learns that no lab runs."""
        for path in self._files:
            path.unlink(missing_ok=True)
        self._control.stop()
        self.slack.stop()
        self.shells.stop()
        self.vcenter.stop()
        self.world.close()


def write(path: Path, text: str) -> None:
    """Write a file that only its owner can read; it is never seen half written."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text if text.endswith("\n") else f"{text}\n")
    beside.replace(path)


def hold(path: Path) -> TextIO:
    """Lock the file and write this process's id into it; the lock lives as long as the process.

    Raises ConflictError when another lab holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="ascii")
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:  # another lab, or somebody who looks for one at this moment
            if time.monotonic() > deadline:
                raise ConflictError(
                    f"A lab runs in {path.parent.parent} already.",
                    hint="`passgate lab status` says where it answers; `passgate lab stop` ends it.",
                ) from None
            time.sleep(LOOK_EVERY)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()
    return file


def _told(message: str, hint: str, status: int) -> int:
    """Tell the log of the one who started us why there is no lab."""
    sys.stderr.write(f"{message} {hint}\n")
    return status


def main() -> int:
    """Run the lab until SIGTERM or SIGINT."""
    words = argparse.ArgumentParser(description="Run Passgate's lab in the foreground.")
    words.add_argument("--home", type=Path, required=True, help="where the lab writes how it is reached")
    words.add_argument("--config", type=Path, required=True, help="folder with lab.yaml")
    asked = words.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        with hold(asked.home / PID):
            (asked.home / READY).unlink(missing_ok=True)
            lab = Lab(asked.home, load_config(asked.config).lab).start()
            write(asked.home / READY, str(os.getpid()))
            ended.wait()
            (asked.home / READY).unlink(missing_ok=True)
            lab.stop()
    except PassgateError as error:
        return _told(error.message, error.hint, error.exit_code)
    except OSError as error:
        hint = "If a port is taken: 0 in lab.yaml takes a free one."
        return _told(f"The lab can't listen or write: {error.strerror or error}.", hint, WorldError.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
