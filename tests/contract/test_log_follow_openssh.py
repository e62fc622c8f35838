"""Follow a log through OpenSSH's sshd and busybox's tail: rotation, killed commands, sessions that just end."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from passgate.connect.esxi_shell import ShellAccess
from passgate.connect.esxi_shell.follow import LogFollowers, LogNews, LogReader
from tests.contract.esxi_of_openssh import HOST, openssh, prepare

BUSYBOX = shutil.which("busybox") or ""
"""ESXi's tail is busybox's; where there is none, the system's own stands in for it."""
TAIL = """\
folder="$(dirname "$0")"
echo $$ > "$folder/tail.pid"
for last; do :; done
exec BUSYBOX tail -n 0 -F "$folder/$(basename "$last")"
"""
"""Follow the file of that name beside the tools, whatever folder it is asked for in."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tail that tells its process, and keys."""
    made = tmp_path_factory.mktemp("logs")
    prepare(made, {"tail": TAIL.replace("BUSYBOX", BUSYBOX)})
    return made


@pytest.fixture(scope="module")
def access(folder: Path) -> Iterator[ShellAccess]:
    """Run sshd and return the way into it."""
    with openssh(folder) as access:
        yield access


@pytest.fixture
def log(access: ShellAccess, folder: Path) -> Iterator[tuple[Path, LogReader]]:
    """Follow a vmkernel.log through sshd and busybox's tail, from now on."""
    path = folder / "tools" / "vmkernel.log"
    path.write_text("a line from before about usb\n", encoding="utf-8")
    (folder / "tools" / "tail.pid").unlink(missing_ok=True)
    followers = LogFollowers(access)
    reader = followers.reader("test")
    followed(reader, lambda news: news.reconnected)
    tails(folder)
    yield path, reader
    pid = tails(folder)
    followers.close()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "a tail stayed behind on the host"
        time.sleep(0.05)


def followed(reader: LogReader, holds: Callable[[LogNews], bool]) -> LogNews:
    """Wait for news of which it holds."""
    deadline = time.monotonic() + 20
    while True:
        news = reader.news((HOST,)).get(HOST.name, LogNews())
        if holds(news):
            return news
        assert time.monotonic() < deadline
        time.sleep(0.05)


def tails(folder: Path) -> int:
    """Wait until tail has the file open, and return its process."""
    deadline = time.monotonic() + 20
    while True:
        with suppress(OSError, ValueError):
            pid = int((folder / "tools" / "tail.pid").read_text(encoding="utf-8"))
            if any(one.resolve() == folder / "tools" / "vmkernel.log" for one in Path(f"/proc/{pid}/fd").iterdir()):
                return pid
        assert time.monotonic() < deadline
        time.sleep(0.05)


def append(path: Path, line: str) -> None:
    """Write a line as the kernel would."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def test_a_log_is_followed_through_rotation(log: tuple[Path, LogReader]) -> None:
    """Real tail -F over real sshd: only new lines come, also those of the file that took the place of the first."""
    path, reader = log
    append(path, "cpu0:1)xhci says something")
    assert followed(reader, lambda news: bool(news.lines)).lines == ("cpu0:1)xhci says something",)

    path.rename(path.with_suffix(".1"))
    append(path, "cpu0:1)usb in the new file")

    assert followed(reader, lambda news: bool(news.lines)).lines == ("cpu0:1)usb in the new file",)


@pytest.mark.parametrize("victim", ["tail", "sshd"])
def test_a_log_whose_connection_is_killed_is_followed_again(
    log: tuple[Path, LogReader], folder: Path, victim: str
) -> None:
    """The end of the command, and the end of the session without a word: both are mended, and are news."""
    path, reader = log
    pid = tails(folder)
    os.kill(session_of(pid) if victim == "sshd" else pid, signal.SIGKILL)

    followed(reader, lambda news: news.reconnected)
    assert tails(folder) != pid
    append(path, "cpu0:1)usb after the cut")

    followed(reader, lambda news: news.lines == ("cpu0:1)usb after the cut",))


def session_of(pid: int) -> int:
    """Return the process of sshd that serves the session in which that process runs."""
    while not Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").startswith("sshd"):
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        pid = int(next(line.split()[1] for line in status.splitlines() if line.startswith("PPid:")))
    return pid
