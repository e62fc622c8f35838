"""Keep the vmkernel.log of a simulated host, and follow it as `tail -F` does, through rotation.

The lines about USB are the lab's own invention: no authentic line of ESXi's about a device that comes or goes is public
(reference vSphere 3.5). They only look the part, and say so in their first word; nobody may read facts out of them.
"""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from passgate.lab.hardware import LabHost
    from passgate.lab.world import World

PATH = "/var/log/vmkernel.log"
KEPT = 10_000
"""Lines of a log; older ones are gone."""
_FOLLOW = re.compile(
    rf"^[^|]*\btail\s+(?:-n\s*(?P<last>\d+)\s+)?-[fF]\s+(?:-n\s*(?P<also>\d+)\s+)?{re.escape(PATH)}(?!\S)[^|]*$"
)
_files = itertools.count(1)
Send = Callable[[str], bool]


@dataclass(eq=False)
class KernelLog:
    """Hold one host's log; `file` tells one file from the one that took its place."""

    lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT))
    written: int = 0
    file: int = field(default_factory=lambda: next(_files))

    def write(self, text: str) -> None:
        """Append a line with the time in front of it."""
        self.lines.append(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ} cpu0:2097152){text}")
        self.written += 1

    def rotate(self) -> None:
        """Move the file away and begin a new one."""
        self.lines.clear()
        self.written, self.file = 0, next(_files)

    def after(self, place: int) -> list[str]:
        """Return the lines behind that place, as far as they are kept."""
        new = self.written - place
        return list(self.lines)[-new:] if new > 0 else []


def usb(device: str, path: str, what: str) -> str:
    """Return a line about a device that came or went."""
    return f"LabUsb: {what} at {path}: {device}"


def asks_to_follow(line: str) -> int | None:
    """Return how many last lines a command line wants before it follows the log; None when it does not ask for that.

    What stands around the tail is about ending it with the session, which is done here in any case.
    """
    found = _FOLLOW.match(line)
    return None if found is None else int(found["last"] or found["also"] or 10)


def follow(world: World, host: LabHost, last: int, out: Send, err: Send) -> None:
    """Send the log as it grows, until `out` or `err` says that nobody reads any more."""
    with world.lock:
        version, log = world.version, host.log
        file, place = log.file, log.written
        lines = log.after(max(0, place - last)) if last else []
    while all(out(f"{line}\n") for line in lines) and out(""):
        version = world.wait(version, 1.0)
        with world.lock:
            log = host.log
            replaced = log.file != file
            file, place = log.file, 0 if replaced else place
            lines, place = log.after(place), log.written
        if replaced and not err(f"tail: {PATH} has been replaced; following end of new file\n"):
            return
