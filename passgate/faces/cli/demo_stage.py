"""Give the demo a home of its own, and leave nothing running there that nobody asked for."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from passgate.engine import lifecycle
from passgate.errors import ConfigError, ConflictError, InputError, PassgateError, WorldError
from passgate.lab import lifecycle as lab
from passgate.settings.load import load_config, resolve
from passgate.settings.place import config_dir

PATIENCE = 15.0
MARK = "demo"
"""The file that makes a home a demo's; the demo that runs there holds a lock on it."""


@dataclass
class Stage:
    """Hold the demo's home, and whether what runs there goes on when the demo is over."""

    home: Path
    is_kept: bool = False


@contextmanager
def stage() -> Iterator[Stage]:
    """Take a home for the demo: PASSGATE_HOME, else `.passgate` in this folder. Whatever ran there is stopped.

    At the end everything is stopped again, also after an error or Ctrl-C, unless the stage is to be kept.
    """
    given = os.environ.get("PASSGATE_HOME")
    home = Path(given).expanduser().absolute() if given else Path.cwd() / ".passgate"
    _refuse_others(home)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (home / MARK).open("a", encoding="utf-8") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                f"Another demo is running in {home}.",
                hint="Wait for its end, or use another folder.",
                subject=str(home),
            ) from None
        os.environ.pop("PASSGATE_TOKEN", None)  # it speaks for a person of another home
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that CI's time limit stops everything, too
        taken = Stage(home)
        try:
            stop(home)
            yield taken
        except PassgateError as error:
            error.hint += "" if " log" in error.hint else f" The logs: {home}/service.log, prefect.log, lab/lab.log."
            raise
        finally:
            if not taken.is_kept:
                stop(home)


def stop(home: Path) -> None:
    """Stop Passgate and the lab of that home."""
    lifecycle.stop(home)
    lab.stop(home)


def set_scene(home: Path, call: str, how: Mapping[str, Any]) -> None:
    """Call the control of the lab that runs in this home, as somebody who works in that datacenter would change it."""
    token = (home / "lab/control.token").read_text(encoding="utf-8").strip()
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{lab.status(home).control.rstrip('/')}/{call}"
    answer = httpx.post(url, json=dict(how), headers=headers, timeout=PATIENCE)
    if answer.is_error:
        raise WorldError(f"The lab could not be set up for this story: {answer.text}", subject=call)


def insist_on_lab(home: Path) -> None:
    """Raise ConfigError if config/ speaks of anything but the lab that runs in this home."""
    config, there = load_config(config_dir()), lab.status(home)
    slack = config.chat.slack
    own = [
        what
        for what, is_own in {
            "a vCenter of your own (site.yaml)": resolve(config.site.vcenter.url, home) != there.vcenter,
            "hosts of your own (site.yaml)": config.site.shell is None or config.site.shell.addresses is None,
            "no Slack, or one of your own (chat.yaml)": slack is None or resolve(slack.api_url, home) != there.slack,
            "a database of your own (service.yaml)": config.service.database is not None,
            "a Prefect server of your own (service.yaml)": config.service.prefect_url is not None,
        }.items()
        if is_own
    ]
    if own:
        raise ConfigError(
            f"The demo runs with a config/ as it was shipped; {config_dir()} names {'; '.join(own)}.",
            hint="Nothing was touched. Run it in an empty folder, with PASSGATE_CONTENT and PASSGATE_CONFIG unset.",
            subject=str(config_dir()),
        )


def _refuse_others(home: Path) -> None:
    if home.is_dir() and any(home.iterdir()) and not (home / MARK).is_file():
        raise InputError(
            f"{home} is the home of a Passgate that is not a demo's; the demo leaves it alone.",
            hint="Run the demo in an empty folder, or set PASSGATE_HOME to a folder that does not exist yet.",
            subject=str(home),
        )
