"""Compare what a process was started with and what stands in config/ now, and in the files that config refers to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self

from passgate.errors import ConfigError
from passgate.settings.load import CALENDAR, FILES, POLICIES, SCHEDULES, load_config, resolve
from passgate.settings.shape import Config
from passgate.settings.values import FromEnv, FromFile, Settings

PLACES = {name: f"{name}.yaml" for name in FILES if name != "lab"} | {
    "policy": f"{POLICIES}/", "calendar": f"{CALENDAR}/", "schedules": f"{SCHEDULES}/",
}  # fmt: skip
"""Where in config/ each part stands that a service is started with; the lab's is the lab's own."""
READ_ANEW = ("site.vcenter.password", "site.guests.*.password", "chat.notices.*.url")
"""References that are read at each use: a change of what they name needs no restart."""


@dataclass(frozen=True)
class Loaded:
    """Hold what a process was started with: config, and what it refers to."""

    folder: Path
    home: Path
    config: Config
    values: dict[tuple[str, str], str]

    @classmethod
    def now(cls, folder: Path, home: Path, config: Config) -> Self:
        """Return what that config is and refers to at this moment."""
        return cls(folder, home, config, _values(config, home))

    def outdated(self) -> tuple[str, ...]:
        """Name what is another one now than it was then, and so needs a restart; never a value.

        A config that can't be read now names nothing: nothing could be started with it.
        """
        try:
            config = load_config(self.folder)
        except ConfigError:
            return ()
        changed = [place for name, place in PLACES.items() if getattr(config, name) != getattr(self.config, name)]
        values = _values(self.config, self.home)
        files = (name for name in values if values[name] != self.values[name] and not _is_read_anew(name[1]))
        return (*changed, *(f"{file} ({field})" for file, field in files))


def references(settings: Any, name: str = "") -> Iterator[tuple[str, FromEnv | FromFile]]:
    """Yield all references in settings, each with the name of its field, such as `site.vcenter.url`."""
    if isinstance(settings, FromEnv | FromFile):
        yield name, settings
    elif isinstance(settings, Settings):
        for field in type(settings).model_fields:
            yield from references(getattr(settings, field), f"{name}.{field}".lstrip("."))
    elif isinstance(settings, tuple):
        for number, one in enumerate(settings, 1):
            yield from references(one, f"{name}.{number}")


def _is_read_anew(field: str) -> bool:
    return any(fnmatchcase(field, one) for one in READ_ANEW)


def _values(config: Config, home: Path) -> dict[tuple[str, str], str]:
    """Return the SHA-256 of what each file holds that config refers to, by file and field.

    Of one that can't be read, it is that of nothing.
    """
    found = {}
    for name, one in references(config):
        if isinstance(one, FromFile):
            try:
                value = resolve(one, home)
            except ConfigError:
                value = ""
            found[one.file, name] = hashlib.sha256(value.encode()).hexdigest()
    return found
