"""Find Passgate's home (what this machine keeps), its content (flows/, tasks/) and its config/."""

from __future__ import annotations

import os
from pathlib import Path

import passgate

CONTENT = ("flows", "tasks", "config")


def home() -> Path:
    """Return Passgate's home: PASSGATE_HOME, else the nearest `.passgate` folder upwards, else `~/.passgate`."""
    if given := os.environ.get("PASSGATE_HOME"):
        return Path(given).expanduser().absolute()
    nearest = next((folder / ".passgate" for folder in _upwards() if (folder / ".passgate").is_dir()), None)
    return nearest or Path.home() / ".passgate"


def content() -> Path:
    """Return the folder that holds flows/, tasks/ and config/.

    PASSGATE_CONTENT, else the nearest such folder upwards, else the one that Passgate itself lies in, else the copy in
    the wheel.
    """
    if given := os.environ.get("PASSGATE_CONTENT"):
        return Path(given).expanduser().absolute()
    package = Path(passgate.__file__).resolve().parent
    folders = (*_upwards(), package.parent)
    return next((one for one in folders if all((one / name).is_dir() for name in CONTENT)), package / "_content")


def config_dir() -> Path:
    """Return the folder of the config files: PASSGATE_CONFIG, else `config` in the content."""
    if given := os.environ.get("PASSGATE_CONFIG"):
        return Path(given).expanduser().absolute()
    return content() / "config"


def replica() -> str:
    """Return the name of this replica of the service: PASSGATE_REPLICA, empty for the first one of a home."""
    return os.environ.get("PASSGATE_REPLICA", "")


def _upwards() -> tuple[Path, ...]:
    here = Path.cwd()
    return (here, *here.parents)
