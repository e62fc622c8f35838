"""Read what release and take_back print in guests, and say it in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from passgate.connect.guest.mounts import plain
from passgate.errors import UnreachableError

DISMOUNT: Final = {1: "access is denied", 2: "it is mounted in a folder", 3: "its medium does not allow it",
                   4: "a program uses it"}  # fmt: skip
"""Return values of Win32_Volume.Dismount, as Microsoft's documentation lists them."""


@dataclass(frozen=True)
class Answer:
    """Hold how far a release or its way back came.

    `gone` says that the disk was not there. `refused` says in words why it did not go on; `unmounted` names the mount
    points that it had taken out of use by then.
    """

    gone: bool = False
    refused: str = ""
    unmounted: tuple[str, ...] = ()


def release_of_linux(text: str) -> Answer:
    """Return what release.sh printed. Raises UnreachableError for text that is no whole answer."""
    lines = _lines(text, "passgate-release")
    unmounted = tuple(plain(value) for key, value in lines if key == "unmounted")
    said = [f"{plain(value.partition(' ')[0])} is busy ({value.partition(' ')[2].strip()})"
            for key, value in lines if key == "busy"]  # fmt: skip
    said += [f"{value.partition(' ')[0]} is in use by {value.partition(' ')[2]}" for key, value in lines
             if key == "held"]  # fmt: skip
    programs = [_program(value) for key, value in lines if key == "holder"]
    elsewhere = [_program(value) for key, value in lines if key == "elsewhere"]
    said += [f"used by {', '.join(programs)}"] if programs else []
    said += [f"still mounted for {', '.join(elsewhere[:3])}, in a container maybe"] if elsewhere else []
    return Answer(("gone", "") in lines, "; ".join(said), unmounted)


def take_back_of_linux(text: str) -> Answer:
    """Return what take_back.sh printed. Raises UnreachableError for text that is no whole answer."""
    lines = _lines(text, "passgate-take-back")
    said = [f"partition {value.partition(' ')[0]}: {value.partition(' ')[2].strip()}"
            for key, value in lines if key == "failed"]  # fmt: skip
    return Answer(("gone", "") in lines, "; ".join(said))


def of_windows(text: str) -> Answer:
    """Return what release.ps1 or take_back.ps1 printed. Raises UnreachableError for text that is no whole answer."""
    try:
        answer = json.loads(next((line for line in text.splitlines() if line.startswith("{")), ""))
        codes, there, users = (_listed(answer.get(key)) for key in ("refused", "there", "users"))
        said = [DISMOUNT.get(code, f"Windows answered {code}") for code in (int(str(one)) for one in codes)]
        programs = [f"{one['ProcessName']} (process {one['Id']})" for one in users if isinstance(one, dict)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _unreadable(text) from None
    if said and programs:
        said.append(f"used by {', '.join(programs)}")
    return Answer(gone=not there, refused="; ".join(dict.fromkeys(said)))


def _listed(value: object) -> list[object]:
    """Return the items of a list; ConvertTo-Json writes one item as itself and none as null."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _lines(text: str, head: str) -> list[tuple[str, str]]:
    lines = text.split("\n")
    if head not in lines or "end" not in lines:
        raise _unreadable(text)
    found: Iterator[tuple[str, str, str]] = (line.partition(" ") for line in lines)
    return [(key, value) for key, _, value in found]


def _program(value: str) -> str:
    pid, _, name = value.partition(" ")
    return f"{name} (process {pid})"


def _unreadable(text: str) -> UnreachableError:
    said = next((line.strip() for line in text.splitlines() if line.strip()), "nothing")[:200]
    return UnreachableError(
        f"What the guest said of its disk came back incomplete; it began with: {said!r}.",
        hint="What was done there is seen by a fresh look.",
    )
