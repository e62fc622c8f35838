"""Be `mount`, `umount` and `sync` of the lab's Linux guests: a program of its own, for scripts that run in them.

    python mounting.py COMMAND ROOT [WORDS...]

ROOT is the guest's throw-away directory. What is mounted stands in ROOT/proc/self/mountinfo, as in Linux; what was done
goes to ROOT/var/log/mounts, one line each, from which the lab learns of it. Only what scripts need is known; the rest
is refused in the words of util-linux. It is started many times, so it imports nothing of Passgate.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

REFUSED = 32  # util-linux: mount failure
USAGE = 1


def main(command: str, root: Path, words: list[str]) -> int:
    """Carry out one command, and return its exit code."""
    if command == "sync":
        _log(root, "sync")
        return 0
    options, names = _sorted_out(words)
    if options is None:
        return _complain(f"{command}: this guest's {command} does not know that option", USAGE)
    return _umount(root, *names) if command == "umount" else _mount(root, options, *names)


def mounts(root: Path) -> list[list[str]]:
    """Return the lines of mountinfo, split, with names as they are."""
    text = (root / "proc/self/mountinfo").read_text(encoding="utf-8")
    return [[_plain(word) for word in line.split(" ")] for line in text.splitlines()]


def write(root: Path, lines: list[list[str]]) -> None:
    """Write mountinfo, mounts, and what lsblk shows of them."""
    text = "".join(" ".join(_escaped(word) for word in line) + "\n" for line in lines)
    (root / "proc/self/mountinfo").write_text(text, encoding="utf-8")
    old = "".join(f"{_escaped(one[-2])} {_escaped(one[4])} {one[-3]} {one[5]} 0 0\n" for one in lines)
    (root / "proc/mounts").write_text(old, encoding="utf-8")
    place = root / "var/blocks.json"
    shown = json.loads(place.read_text(encoding="utf-8"))
    for block in shown["blockdevices"]:
        for one in (block, *block.get("children", ())):
            there: list[str | None] = [line[4] for line in lines if line[-2] == f"/dev/{one['name']}"]
            if "mountpoints" in one:
                one["mountpoints"] = there or [None]
            else:
                one["mountpoint"] = there[-1] if there else None
    place.write_text(json.dumps(shown, indent=3), encoding="utf-8")


def _sorted_out(words: list[str]) -> tuple[dict[str, str] | None, list[str]]:
    """Return options and names; None for options that this guest does not know."""
    options: dict[str, str] = {}
    at = 0
    while at < len(words) and words[at].startswith("-"):
        if words[at] == "--":
            at += 1
            break
        if words[at] not in {"-t", "-o"} or at + 1 >= len(words):
            return None, []
        options[words[at]] = words[at + 1]
        at += 2
    return options, words[at:]


def _umount(root: Path, *names: str) -> int:
    if len(names) != 1:
        return _complain("umount: bad usage", USAGE)
    name, lines = names[0], mounts(root)
    found = next((line for line in reversed(lines) if name in {line[4], line[-2]}), None)
    if found is None:
        return _complain(f"umount: {name}: not mounted.", REFUSED)
    for process in (root / "proc").glob("[0-9]*"):
        here = str((process / "cwd").readlink())
        if here == found[4] or here.startswith(f"{found[4]}/"):
            return _complain(f"umount: {name}: target is busy.", REFUSED)
    write(root, [line for line in lines if line is not found])
    _log(root, f"umount {found[4]}")
    return 0


def _mount(root: Path, options: dict[str, str], *names: str) -> int:
    if len(names) != 2:  # noqa: PLR2004 - device and folder
        return _complain("mount: bad usage", USAGE)
    source, where = names
    device = root / "dev" / source.removeprefix("/dev/")
    if not source.startswith("/dev/") or not device.is_file():
        return _complain(f"mount: {where}: special device {source} does not exist.", REFUSED)
    kind = options.get("-t", "vfat")
    if kind != "vfat":
        return _complain(f"mount: {where}: wrong fs type, bad option, bad superblock on {source}.", REFUSED)
    lines = mounts(root)
    if any((line[4], line[-2]) == (where, source) for line in lines):
        return _complain(f"mount: {where}: {source} already mounted on {where}.", REFUSED)
    write(root, [*lines, line_of(source, device.read_text(encoding="ascii").strip(), where, len(lines))])
    _log(root, f"mount {source} {where}")
    return 0


def line_of(source: str, numbers: str, where: str, place: int) -> list[str]:
    """Return a line of mountinfo; `numbers` are major:minor."""
    options = "rw,relatime"
    return [str(60 + place), "1", numbers, "/", where, options, "-", "vfat", source, "rw,fmask=0022,utf8"]


def _escaped(word: str) -> str:
    return re.sub(r"[ \t\n\\]", lambda found: f"\\{ord(found[0]):03o}", word)


def _plain(word: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), word)


def _log(root: Path, line: str) -> None:
    with (root / "var/log/mounts").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def _complain(words: str, code: int) -> int:
    sys.stderr.write(f"{words}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
