"""Read Linux' own list of mounts (proc_pid_mountinfo(5)) and say what of it is on one disk."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from passgate.model.guest import GuestMount

ESCAPED: Final = re.compile(r"\\([0-7]{3})")
LEAST: Final = 6
"""Fields before the optional ones: ids, major:minor, root, mount point, options."""


@dataclass(frozen=True)
class Row:
    """Hold one line: `numbers` are major:minor, `root` the part of the file system that is mounted."""

    numbers: str
    root: str
    where: str
    options: str
    kind: str
    source: str
    more: str


@dataclass(frozen=True)
class Mountinfo:
    """Hold what is mounted, in the order in which it was, and what is swapped to."""

    rows: tuple[Row, ...] = ()
    swaps: frozenset[str] = frozenset()

    @classmethod
    def read(cls, lines: Iterable[str]) -> Self:
        """Read the lines that begin with `mountinfo` and `swap`; what is not whole is passed over."""
        rows, swaps = [], set()
        for line in lines:
            key, _, value = line.partition(" ")
            if key == "swap":
                swaps.add(plain(value.strip()))
            elif key == "mountinfo" and (row := _row(value)):
                rows.append(row)
        return cls(tuple(rows), frozenset(swaps))

    def of_disk(self, disk: str, facts: Iterable[tuple[str, str]]) -> tuple[tuple[GuestMount, ...], tuple[str, ...]]:
        """Return the mounts of the disk and its partitions, and the names of what is built on them.

        `facts` are those of its device: `part <disk> <name> <number> <major:minor>` and `held <disk> <by>`. Btrfs has
        numbers of its own, so that the source's name counts as well.
        """
        mounts: list[GuestMount] = []
        held: list[str] = []
        for key, value in facts:
            words = value.split(" ")
            if key == "held" and words[0] == disk:
                held += words[1:2]
            if key != "part" or words[0] != disk or len(words) != 4:  # noqa: PLR2004 - as above
                continue
            name, number, numbers = words[1:]
            held += ["swap"] if f"/dev/{name}" in self.swaps else []
            mounts += [
                GuestMount(
                    where=row.where,
                    part=int(number) if number.isdecimal() else 0,
                    kind=row.kind,
                    options=",".join(dict.fromkeys(f"{row.options},{row.more}".strip(",").split(","))),
                    whole=row.root == "/" or row.kind == "btrfs",
                )
                for row in self.rows
                if numbers == row.numbers or row.source == f"/dev/{name}"
            ]
        return tuple(mounts), tuple(dict.fromkeys(held))


def plain(text: str) -> str:
    """Return a name with the kernel's octal escapes taken out."""
    return ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)


def _row(line: str) -> Row | None:
    before, dash, after = f" {line} ".partition(" - ")
    front, back = before.split(" ")[1:], after.split(" ")
    if not dash or len(front) < LEAST or len(back) < 2:  # noqa: PLR2004 - kind and source
        return None
    numbers, root, where, options = front[2:6]
    return Row(numbers, plain(root), plain(where), options, back[0], plain(back[1]), "".join(back[2:3]))
