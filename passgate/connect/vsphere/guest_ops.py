"""Run a program inside a guest through VMware Tools and bring back what it printed.

Guest operations return no output (reference vSphere 5): the program writes a temporary file, which is fetched over
HTTPS with the session's own trust and removed whatever happened. Nothing else in the guest is changed, but for what a
program is there for; whoever runs such a one says how authority for it is asked, right before it is started.
"""

from __future__ import annotations

import http.client
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from pyVmomi import vim

from passgate.connect.vsphere.faults import spoken
from passgate.connect.vsphere.session import Session
from passgate.connect.vsphere.waiting import filter_of, query
from passgate.errors import (
    LoginError,
    PassgateError,
    RefusedError,
    TrustError,
    UnconfirmedError,
    UnreachableError,
    UnsupportedError,
)  # fmt: skip
from passgate.model.inventory import GuestFamily, VmId

log = logging.getLogger(__name__)
T = TypeVar("T")

LARGEST: Final = 4 << 20  # bytes; a list of devices is a few thousand
PAUSES: Final = (0.1, 0.2, 0.5, 1.0, 2.0)  # seconds between looks at the process; the last one repeats
FAMILIES: Final = {"windowsGuest": GuestFamily.WINDOWS, "linuxGuest": GuestFamily.LINUX}
FACTS: Final = ("guest.guestFamily", "guest.guestOperationsReady", "guest.toolsRunningStatus", "runtime.powerState")

# The first row that fits decides, so that a fault stands before its parents.
FAULTS: Final[tuple[tuple[type, type[PassgateError], str, str], ...]] = (
    (
        vim.fault.InvalidGuestLogin,
        LoginError,
        "the guest refused user name or password",
        "Check the account under `guests` in site.yaml, and that it is not locked or expired in the guest.",
    ),
    (
        vim.fault.GuestComponentsOutOfDate,
        UnsupportedError,
        "VMware Tools in the guest are too old",
        "Update VMware Tools in the guest.",
    ),
    (
        vim.fault.OperationNotSupportedByGuest,
        UnsupportedError,
        "VMware Tools in this guest can't do that",
        "Update VMware Tools in the guest.",
    ),
    (
        vim.fault.OperationDisabledByGuest,
        RefusedError,
        "guest operations are disabled in the guest's VMware Tools",
        "Allow guest operations in the guest's tools.conf, or check by hand in the guest.",
    ),
    (
        vim.fault.GuestPermissionDenied,
        RefusedError,
        "the account in the guest may not do that",
        "Give the account under `guests` in site.yaml the right to start programs and to write temporary files.",
    ),
    (
        vim.fault.GuestProcessNotFound,
        UnconfirmedError,
        "the program is gone, and how it ended is unknown",
        "Look anew in the guest before anything is done again.",
    ),
    (
        vim.fault.GuestOperationsUnavailable,
        UnreachableError,
        "VMware Tools do not answer",
        "The guest may still be starting; Passgate may try again. Check that VMware Tools run in it.",
    ),
)


@dataclass(frozen=True)
class Account:
    """Hold an account inside a guest; the password is never shown."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Program:
    """Hold what to start; it writes `partial` and renames that to `output` when it has ended well.

    `doing` says what it is for, `changes` whether it changes the guest; then it looks first, and may be run again.
    """

    path: str
    arguments: str
    output: str
    partial: str
    doing: str = "look into the guest"
    changes: bool = False

    @property
    def left(self) -> str:
        """Say what a program that did not end well leaves behind."""
        return (
            "What it did is seen by a fresh look." if self.changes else "Nothing was changed in the guest. Ask again."
        )


@dataclass(frozen=True)
class Managers:
    """Hold the server's managers of programs and of files in guests."""

    processes: Any
    files: Any


class GuestOperations:
    """Speak to guests through one vSphere session. `patience` bounds one program, in seconds."""

    def __init__(self, session: Session, *, patience: float = 120.0) -> None:
        self._session = session
        self._patience = patience

    def family(self, vm: VmId) -> GuestFamily:
        """Return what kind of guest runs in the VM. Raises UnreachableError while it does not take operations."""
        doing = f"ask {vm.name} whether its guest is ready"
        spec = filter_of({self._vm(vm): FACTS})
        answer = self._session.read(
            doing,
            vm.name,
            lambda content: content.propertyCollector.RetrievePropertiesEx([spec], query.RetrieveOptions()),
        )
        facts = {one.name: one.val for found in (answer.objects if answer else ()) for one in found.propSet}
        power, tools = facts.get("runtime.powerState"), facts.get("guest.toolsRunningStatus")
        if power != "poweredOn" or tools != "guestToolsRunning" or not facts.get("guest.guestOperationsReady"):
            state = (
                "the VM is not powered on" if power != "poweredOn"
                else "VMware Tools do not run yet" if tools != "guestToolsRunning"
                else "VMware Tools do not take operations yet"
            )  # fmt: skip
            raise UnreachableError(
                f"The guest of {vm.name} can't be asked: {state}.",
                hint="If it is starting, Passgate may try again. If not, look at VMware Tools in the guest.",
                subject=vm.name,
            )
        return FAMILIES.get(str(facts.get("guest.guestFamily")), GuestFamily.OTHER)

    def run(
        self,
        vm: VmId,
        account: Account,
        program: Callable[[str], Program],
        authorize: Callable[[], None] = lambda: None,
    ) -> str:
        """Run the program that `program` makes for an output file, and return what it printed.

        `authorize` is called as the last thing before the program is started.
        """
        auth = vim.vm.guest.NamePasswordAuthentication(
            username=account.user, password=account.password, interactiveSession=False
        )
        with self._temporary_file(vm, auth) as output:
            made = program(output)
            spec = vim.vm.guest.ProcessManager.ProgramSpec(programPath=made.path, arguments=made.arguments)

            def start(guest: Managers) -> Any:
                authorize()
                return guest.processes.StartProgramInGuest(self._vm(vm), auth, spec)

            pid = self._ask("start a program", vm, start)
            code = self._exit_code(vm, auth, int(pid), made)
            if code == 0:
                return self._fetch(vm, auth, made.output)
            raise RefusedError(
                f"The program to {made.doing} in the guest of {vm.name} ended with exit code {code}: "
                f"{self._complaint(vm, auth, made.partial)}",
                hint=f"{made.left} Check by hand in the guest.",
                subject=vm.name,
                fault=f"exit code {code}",
            )

    @contextmanager
    def _temporary_file(self, vm: VmId, auth: Any) -> Iterator[str]:
        """Lend an empty file in the guest, and remove it and its `.part` whatever happened."""
        path = str(
            self._ask(
                "create a temporary file", vm,
                lambda guest: guest.files.CreateTemporaryFileInGuest(self._vm(vm), auth, "passgate", ".out"),
            )
        )  # fmt: skip
        try:
            yield path
        finally:
            for name in (path, f"{path}.part"):
                self._remove(vm, auth, name)

    def _remove(self, vm: VmId, auth: Any, path: str) -> None:
        def remove(guest: Managers) -> None:
            try:
                guest.files.DeleteFileInGuest(self._vm(vm), auth, path)
            except vim.fault.FileNotFound:
                return

        try:
            self._ask("remove a temporary file", vm, remove)
        except PassgateError as error:
            # What was learned, or why it failed, counts for more than a left file; the log tells of it.
            log.warning("%s was left in the guest of %s: %s", path, vm.name, error)

    def _exit_code(self, vm: VmId, auth: Any, pid: int, program: Program) -> int:
        """Wait for the process to end. Tools forget it after minutes: one that is gone is unknown, not well."""
        ends = time.monotonic() + self._patience
        for pause in itertools.chain(PAUSES, itertools.repeat(PAUSES[-1])):
            found = self._ask(
                "look at a program",
                vm,
                lambda guest: guest.processes.ListProcessesInGuest(self._vm(vm), auth, [pid]),
            )
            process = next((one for one in found or () if one.pid == pid), None)
            if process is None:
                raise UnconfirmedError(
                    f"The program in the guest of {vm.name} is gone, and how it ended is unknown.",
                    hint=program.left,
                    subject=vm.name,
                )
            if process.endTime is not None:
                return int(process.exitCode or 0)
            if time.monotonic() > ends:
                break
            time.sleep(pause)
        raise UnreachableError(
            f"The program in the guest of {vm.name} had not ended after {self._patience:.0f} s.",
            hint=f"The guest may be busy. {program.left}",
            subject=vm.name,
        )

    def _complaint(self, vm: VmId, auth: Any, path: str) -> str:
        try:
            text = self._fetch(vm, auth, path)
        except PassgateError:
            return "it left no word why."
        return next((line.strip() for line in text.splitlines() if line.strip()), "it printed nothing.")[:300]

    def _fetch(self, vm: VmId, auth: Any, path: str) -> str:
        found = self._ask(
            "fetch a file", vm, lambda guest: guest.files.InitiateFileTransferFromGuest(self._vm(vm), auth, path)
        )
        url = urlsplit(str(found.url))
        # On a direct login to a host, the host's place in the URL holds a star (reference vSphere 5).
        address = self._session.address if url.hostname in {None, "*"} else url.netloc
        doing = f"fetch what the guest of {vm.name} printed"
        if url.scheme != "https":
            raise TrustError(f"Could not {doing}: the transfer was offered without TLS.", subject=vm.name)
        with spoken(doing, vm.name):
            tls = self._session._tls  # noqa: SLF001 - the same trust as for vCenter itself
            connection = http.client.HTTPSConnection(address, timeout=self._session.timeout, context=tls)
            try:
                connection.request("GET", f"{url.path}?{url.query}" if url.query else url.path)
                answer = connection.getresponse()
                content = answer.read(LARGEST)
            finally:
                connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise UnreachableError(
                f"Could not {doing}: the transfer was answered with HTTP {answer.status}.",
                hint="Ask again; what was done in the guest is seen by a fresh look.",
                subject=vm.name,
            )
        return content.decode("utf-8", "replace").replace("\r\n", "\n")

    def _ask(self, doing: str, vm: VmId, ask: Callable[[Managers], T]) -> T:
        """Call the guest operations managers, with its faults in words."""

        def asked(content: Any) -> T:
            try:
                return ask(self._managers(content))
            except vim.fault.GuestOperationsFault as fault:
                raise _in_words(fault, doing, vm) from fault

        return self._session.call(f"{doing} in the guest of {vm.name}", vm.name, asked)

    def _managers(self, content: Any) -> Managers:
        """Return the managers of programs and files; pyVmomi would ask the server for them at every use."""
        known = self._session.remembered.get(("guest managers",))
        if known is None:
            guest = content.guestOperationsManager
            known = Managers(guest.processManager, guest.fileManager)
            self._session.remembered[("guest managers",)] = known
        return known

    def _vm(self, vm: VmId) -> Any:
        return self._session.object(vim.VirtualMachine, vm.ref)


def _in_words(fault: Any, doing: str, vm: VmId) -> PassgateError:
    kind = type(fault).__name__.rpartition(".")[2]
    error, means, hint = next(
        (row[1:] for row in FAULTS if isinstance(fault, row[0])),
        (RefusedError, "the guest did not accept that", "The fault's name is vSphere's own."),
    )
    extra = {"fault": kind} if error is RefusedError else {}
    return error(f"Could not {doing} in the guest of {vm.name}: {means} ({kind}).", hint=hint, subject=vm.name, **extra)
