"""Follow the vmkernel.log of hosts over SSH: line by line, in bounded memory, through rotation, cuts and reboots.

What the lines say is not read: they are a reason to look (reference vSphere 3.5). So a line that is lost while a
connection is made anew costs nothing but time, and a new connection is a reason to look too.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import paramiko

from passgate.connect.esxi_shell.wire import LOG, ShellAccess, Wire
from passgate.errors import PassgateError
from passgate.model.inventory import HostId

COMMAND = "exec 3<&0; tail -n 0 -F /var/log/vmkernel.log & t=$!; (cat <&3; kill $t) >/dev/null 2>&1 & wait $t"
"""Follow the log until the connection ends: sshd ends no command with its session, so a tail that has nothing to write
would stay on the host for ever. When the session ends, so does its standard input, and with it the tail."""
INTERESTING = re.compile(r"usb|[xeu]hci|arbitrator", re.IGNORECASE)
"""What a line holds that is a reason to look; the article greps for the first."""
LONGEST = 4096
"""Bytes of one line; what a host writes beyond that is dropped up to the line's end."""
KEPT = 200
"""Lines of a host that wait to be taken; of more, the oldest are dropped."""
MOST_HOSTS = 64
"""Logs that one watch follows: each is two threads and a connection. Other hosts are looked at nevertheless."""
POLL = 1.0
"""Seconds between two looks at whether anybody still reads."""
ABANDONED = 120.0
"""Seconds after which a log that nobody took lines from is not followed any more."""
SILENCE = 60.0
"""Seconds of silence after which it is tried whether the host still answers: one that lost its power says nothing."""
PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before a connection is made anew; the last one repeats."""


@dataclass(frozen=True)
class LogNews:
    """Hold the lines of one host's log since it was asked last, and whether the connection to it was made anew."""

    lines: tuple[str, ...] = ()
    reconnected: bool = False


@dataclass
class LineCutter:
    """Cut bytes, however they arrive, into lines; no line takes more than LONGEST bytes of memory."""

    _rest: bytearray = field(default_factory=bytearray)
    _is_dropping: bool = False

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the lines that end in this data."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._take(end)
            yield _clean(self._rest)
            self._rest.clear()
            self._is_dropping = False
        self._take(rest)

    def _take(self, part: bytes) -> None:
        if not self._is_dropping:
            self._rest += part[: LONGEST - len(self._rest)]
            self._is_dropping = len(self._rest) >= LONGEST


def _clean(line: bytes | bytearray) -> str:
    """Return a line as text without what would steer a terminal."""
    text = line.decode("utf-8", errors="replace")
    return "".join(char for char in text if char.isprintable()).strip()


class Follower:
    """Follow one host's log in a thread of its own, and hold the lines until they are taken."""

    def __init__(self, access: ShellAccess, host: str) -> None:
        self._wire = Wire(access, host)
        self._host = host
        self._seconds = access.timeout.total_seconds()
        self._lock = threading.Lock()
        self._lines: deque[str] = deque(maxlen=KEPT)
        self._reconnected = False
        self._taken_at = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"log of {host}", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Say whether the log is still followed."""
        return self._thread.is_alive()

    def take(self) -> LogNews:
        """Return what came since the last time."""
        with self._lock:
            news = LogNews(tuple(self._lines), self._reconnected)
            self._lines.clear()
            self._reconnected = False
            self._taken_at = time.monotonic()
        return news

    def end(self) -> None:
        """Stop following; the thread ends by itself within moments."""
        self._ended.set()

    def _run(self) -> None:
        tries = 0
        while not self._is_over():
            try:
                if self._followed():
                    tries = 0
            except (PassgateError, OSError, EOFError, paramiko.SSHException) as error:
                LOG.debug("%s: its log is not followed now: %s", self._host, error)
            self._ended.wait(PAUSES[min(tries, len(PAUSES) - 1)])
            tries += 1

    def _is_over(self) -> bool:
        return self._ended.is_set() or time.monotonic() - self._taken_at > ABANDONED

    def _followed(self) -> bool:
        """Follow until the connection breaks or nobody reads any more; say whether it had begun."""
        transport = self._wire.connect()
        try:
            channel = transport.open_session(timeout=self._seconds)
            channel.settimeout(POLL)
            channel.exec_command(COMMAND)
            with self._lock:
                self._reconnected = True
            self._read(transport, channel)
        finally:
            transport.close()
        return True

    def _read(self, transport: paramiko.Transport, channel: paramiko.Channel) -> None:
        cutter, heard = LineCutter(), time.monotonic()
        while not self._is_over():
            try:
                data = channel.recv(65536)
            except TimeoutError:
                if time.monotonic() - heard > SILENCE:
                    # A second channel is answered by sshd itself, whatever the log does.
                    transport.open_session(timeout=self._seconds).close()
                    heard = time.monotonic()
                continue
            if not data:
                return
            heard = time.monotonic()
            kept = [line for line in cutter.feed(data) if INTERESTING.search(line)]
            with self._lock:
                self._lines.extend(kept)


class LogFollowers:
    """Follow the logs of many hosts for several readers; each reader is named, and has followers of its own."""

    def __init__(self, access: ShellAccess | None) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._of: dict[str, dict[str, Follower]] = {}

    def reader(self, name: str) -> LogReader:
        """Return a reader; the one of the same name goes on where it was."""
        return LogReader(self, name)

    def news(self, name: str, hosts: Sequence[HostId]) -> Mapping[str, LogNews]:
        """Follow these hosts' logs, or the first ones, and return what is new in each, by the hosts' names."""
        if self._access is None:
            return {}
        wanted = [one.name for one in hosts[:MOST_HOSTS]]
        with self._lock:
            mine = self._of.setdefault(name, {})
            for host in [one for one in mine if one not in wanted]:
                mine.pop(host).end()
            for host in wanted:
                if host not in mine or not mine[host].is_alive:
                    mine[host] = Follower(self._access, host)
            return {host: news for host, one in mine.items() if (news := one.take()) != LogNews()}

    def end(self, name: str) -> None:
        """Stop following for that reader."""
        with self._lock:
            followers = self._of.pop(name, {})
        for one in followers.values():
            one.end()

    def close(self) -> None:
        """Stop following for everybody."""
        for name in tuple(self._of):
            self.end(name)


@dataclass(frozen=True)
class LogReader:
    """Read logs under one name; satisfies `passgate.engine.ports.Logs`."""

    _followers: LogFollowers
    _name: str

    def news(self, hosts: Sequence[HostId]) -> Mapping[str, LogNews]:
        """Return what is new in the logs of these hosts, by name; what is not followed yet is followed from now on."""
        return self._followers.news(self._name, hosts)

    def end(self) -> None:
        """Stop following."""
        self._followers.end(self._name)
