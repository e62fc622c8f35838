"""Survey many hosts at once: vCenter in one walk, then each host's devices and shell side by side, within a bound.

What one host does not tell is said in its own reading, and never ends the survey; what nobody can tell any more,
because vCenter itself is gone, is not asked a thousand times over.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime

from passgate.connect.esxi_shell.shell import EsxiShell
from passgate.connect.vsphere.faults import BROKEN
from passgate.connect.vsphere.reading import read_usb
from passgate.connect.vsphere.session import Session
from passgate.connect.vsphere.wide import read_wide
from passgate.engine.joining import joined
from passgate.errors import PassgateError, UnreachableError
from passgate.model.census import EstateReading, HostReading, chosen
from passgate.model.inventory import Host

LOOK_UP = 0.5
"""Seconds between two looks at whether the survey was broken off."""

Progress = Callable[[int, int], None]
log = logging.getLogger(__name__)


def no_progress(done: int, total: int) -> None:
    """Tell nobody how far it is."""


@dataclass
class Silence:
    """Count the hosts in a row for which vCenter itself gave no answer, and know when to stop asking."""

    at_most: int
    _count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_lasting(self) -> bool:
        """Say whether asking on would only cost a timeout for each host."""
        return self._count >= self.at_most

    def heard(self) -> None:
        """Note an answer, be it a refusal."""
        with self._lock:
            self._count = 0

    def nothing(self) -> None:
        """Note a question that no answer came to."""
        with self._lock:
            self._count += 1


class Survey:
    """Read many hosts; satisfies `passgate.engine.ports.Survey`.

    All surveys of a process share `at_once` threads, so that two of them are no more load than one. `shell` are shells
    of its own, whose connections are closed after each host: a thousand kept ones would be a thousand threads.
    """

    def __init__(self, session: Session, shell: EsxiShell | None, at_once: int) -> None:
        self._session = session
        self._shell = shell
        self._at_once = at_once
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="survey")
        self._ended = threading.Event()

    def close(self) -> None:
        """Break off the surveys under way: they raise UnreachableError."""
        self._ended.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._shell:
            self._shell.close()

    def read(
        self,
        hosts: Sequence[str] = (),
        *,
        shells: bool = True,
        progress: Progress = no_progress,
        stop: threading.Event | None = None,
    ) -> EstateReading:
        """Read the hosts whose names fit one of these patterns, all without any, and the passthrough of all VMs.

        Raises what the walk through vCenter raises, UnknownNameError for a pattern that fits no host, and
        UnreachableError when `stop` was set or this was closed.
        """
        wide = read_wide(self._session)
        near = chosen(wide.hosts, hosts)
        silence = Silence(2 * self._at_once)
        asked = {self._threads.submit(self._host, one, silence, shells=shells) for one in near}
        readings = self._gathered(asked, progress, stop or threading.Event())
        order = {one.ref: at for at, one in enumerate(sorted(near, key=lambda one: one.name))}
        return EstateReading(
            read_at=datetime.now(UTC),
            readings=tuple(sorted(readings, key=lambda one: order[one.host.ref])),
            hosts=wide.hosts,
            vms=wide.vms,
        )

    def _gathered(
        self, asked: set[Future[HostReading]], progress: Progress, stop: threading.Event
    ) -> list[HostReading]:
        readings: list[HostReading] = []
        total = len(asked)
        progress(0, total)
        try:
            while asked:
                done, asked = wait(asked, LOOK_UP, FIRST_COMPLETED)
                readings += [one.result() for one in done]
                if done:
                    progress(len(readings), total)
                if stop.is_set() or self._ended.is_set():
                    raise UnreachableError(f"The survey was broken off after {len(readings)} of {total} hosts.")
        finally:
            for one in asked:
                one.cancel()
        return readings

    def _host(self, host: Host, silence: Silence, *, shells: bool) -> HostReading:
        """Read one host; whatever goes wrong with it is its own reading."""
        try:
            return self._asked(host, silence, shells=shells)
        except PassgateError as error:
            return HostReading(host=host, failed=said(error))
        except Exception as error:
            log.exception("the survey of %s met a fault of Passgate's own", host.name)
            return HostReading(host=host, failed=f"a fault inside Passgate ({type(error).__name__}); see its log")

    def _asked(self, host: Host, silence: Silence, *, shells: bool) -> HostReading:
        if host.connection != "connected":
            return HostReading(host=host, failed=f"vCenter shows it as {host.connection}")
        if silence.is_lasting:
            return HostReading(host=host, failed="not asked: vCenter had stopped to answer")
        try:
            usb = read_usb(self._session, host.id)
        except UnreachableError as error:
            if isinstance(error.__cause__, BROKEN):
                silence.nothing()
            raise
        except PassgateError:
            silence.heard()
            raise
        silence.heard()
        seen = host.model_copy(update={"usb": usb})
        return self._with_shell(seen) if shells else HostReading(host=seen)

    def _with_shell(self, host: Host) -> HostReading:
        if self._shell is None:
            why = "config/site.yaml names no shell"
            return HostReading(host=host.model_copy(update={"shell_error": why}))
        try:
            reading = self._shell.read_usb(host.id)
        except PassgateError as error:
            return HostReading(host=host.model_copy(update={"shell_error": said(error)}))
        finally:
            self._shell.forget(host.id)
        serials: dict[str, tuple[str, ...]] = {}
        counted = Counter(one.vid_pid for one in reading.devices)
        for one in reading.devices:
            if counted[one.vid_pid] > 1 and one.serial:
                serials[one.vid_pid] = (*serials.get(one.vid_pid, ()), one.serial)
        return HostReading(host=joined(host, reading), serials=serials)


def said(error: PassgateError) -> str:
    """Return why something could not be read, and what to do, in a line."""
    return f"{error.message} {error.hint}".strip()
