# ruff: noqa: N803, ARG002, PLR0917 - methods take every argument of their WSDL call, by its name and in its order
"""Serve guest operations: login, programs and files inside guests, as VMware Tools would."""

from __future__ import annotations

import ntpath
import posixpath
import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pyVmomi import vim

from passgate.lab.hardware import LabVm, Refusal
from passgate.lab.vcenter.served import Call, Served, refs
from passgate.lab.world import World

_G = vim.vm.guest
_FIRST_PID = 4000


@dataclass
class Process:
    """Hold one program that was started in a guest."""

    pid: int
    program: str
    arguments: str
    owner: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended: datetime | None = None
    exit_code: int | None = None


class GuestRooms:
    """Hold the processes and files inside all guests, and the one-time URLs for files."""

    def __init__(self, world: World, run: Callable[[str, str, str, MutableMapping[str, bytes]], int]) -> None:
        self.world = world
        self.run = run
        self.files: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        self.processes: defaultdict[str, dict[int, Process]] = defaultdict(dict)
        self.transfers: dict[str, tuple[str, str]] = {}
        self.next_pid = _FIRST_PID

    def start(self, vm: LabVm, program: str, arguments: str, owner: str) -> int:
        """Run a program in a thread of its own, and return its pid."""
        with self.world.lock:
            self.next_pid += 1
            process = Process(self.next_pid, program, arguments, owner)
            self.processes[vm.ref][process.pid] = process
        threading.Thread(target=self._carry, args=(vm, process), daemon=True).start()
        return process.pid

    def _carry(self, vm: LabVm, process: Process) -> None:
        code = self.run(vm.ref, process.program, process.arguments, self.files[vm.ref])
        with self.world.lock:
            process.exit_code, process.ended = code, datetime.now(UTC)
            self.world.changed()

    def ticket(self, vm: LabVm, path: str) -> str:
        """Return the token of a URL under which the file may be fetched or stored."""
        token = secrets.token_urlsafe(16)
        self.transfers[token] = (vm.ref, path)
        return token

    def fetch(self, token: str) -> bytes | None:
        """Return the file behind a URL; None when there is none."""
        ref, path = self.transfers.get(token, ("", ""))
        return self.files[ref].get(path) if ref else None

    def store(self, token: str, content: bytes) -> bool:
        """Write the file behind a URL; the URL serves once."""
        ref, path = self.transfers.pop(token, ("", ""))
        if ref:
            self.files[ref][path] = content
        return bool(ref)


class _InGuest(Served):
    """Base of the managers that act inside guests."""

    def _enter(self, vm: Any, auth: Any, call: Call) -> LabVm:
        """Return the VM if its guest can be entered with this login."""
        served = self.estate.find(vm, call.session)
        if served is None:
            raise Refusal("ManagedObjectNotFound", f"The object {vm} does not exist.", obj=vm)
        lab_vm: LabVm = self.world.vm(served.ref)
        if lab_vm.power != "poweredOn":
            raise Refusal(
                "InvalidPowerState", "The attempted operation cannot be performed in the current state.",
                requestedState="poweredOn", existingState=lab_vm.power,
            )  # fmt: skip
        if not self.world.tools_running(lab_vm):
            raise Refusal("GuestOperationsUnavailable", "The guest operations agent could not be contacted.")
        given = (getattr(auth, "username", None), getattr(auth, "password", None))
        if given != (lab_vm.guest_user, lab_vm.guest_password):
            raise Refusal("InvalidGuestLogin", "Failed to authenticate with the guest operating system.")
        return lab_vm


class GuestOperations(Served):
    """The entry to the managers that act inside guests."""

    kind = _G.GuestOperationsManager

    @property
    def authManager(self) -> Any:
        """Return the manager of logins."""
        return _G.AuthManager("guestOperationsAuthManager", None)

    @property
    def processManager(self) -> Any:
        """Return the manager of programs."""
        return _G.ProcessManager("guestOperationsProcessManager", None)

    @property
    def fileManager(self) -> Any:
        """Return the manager of files."""
        return _G.FileManager("guestOperationsFileManager", None)


class GuestAuth(_InGuest):
    """Logins."""

    kind = _G.AuthManager

    def ValidateCredentialsInGuest(self, call: Call, vm: Any, auth: Any) -> None:
        """Say whether the login is good, by failing when it isn't."""
        self._enter(vm, auth, call)


class GuestProcesses(_InGuest):
    """Programs. There is no standard output here: whoever wants it writes it into a file (reference 5)."""

    kind = _G.ProcessManager

    def StartProgramInGuest(self, call: Call, vm: Any, auth: Any, spec: Any) -> int:
        """Start a program and return its pid at once."""
        lab_vm = self._enter(vm, auth, call)
        return self.estate.guests.start(lab_vm, spec.programPath, spec.arguments or "", auth.username)

    def ListProcessesInGuest(self, call: Call, vm: Any, auth: Any, pids: Any) -> Any:
        """Return the programs that run, or ended a while ago."""
        lab_vm = self._enter(vm, auth, call)
        known = self.estate.guests.processes[lab_vm.ref]
        wanted = list(pids) or list(known)
        missing = [pid for pid in wanted if pid not in known]
        if missing:
            raise Refusal("GuestProcessNotFound", f"Process {missing[0]} was not found.", pid=missing[0])
        return refs([_process(known[pid]) for pid in wanted], _G.ProcessManager.ProcessInfo)

    def TerminateProcessInGuest(self, call: Call, vm: Any, auth: Any, pid: int) -> None:
        """End a program."""
        lab_vm = self._enter(vm, auth, call)
        process = self.estate.guests.processes[lab_vm.ref].get(pid)
        if process is None or process.ended is not None:
            raise Refusal("GuestProcessNotFound", f"Process {pid} was not found.", pid=pid)
        process.ended, process.exit_code = datetime.now(UTC), 1


def _process(one: Process) -> Any:
    name = ntpath.basename(one.program) if "\\" in one.program else posixpath.basename(one.program)
    return _G.ProcessManager.ProcessInfo(
        name=name,
        pid=one.pid,
        owner=one.owner,
        cmdLine=f'"{one.program}" {one.arguments}',
        startTime=one.started,
        endTime=one.ended,
        exitCode=one.exit_code,
    )


class GuestFiles(_InGuest):
    """Files."""

    kind = _G.FileManager

    def CreateTemporaryFileInGuest(
        self, call: Call, vm: Any, auth: Any, prefix: str, suffix: str, directoryPath: str | None
    ) -> str:
        """Make an empty file with a name of its own."""
        lab_vm = self._enter(vm, auth, call)
        path = _join(lab_vm, directoryPath, f"{prefix}{secrets.token_hex(4)}{suffix}")
        self.estate.guests.files[lab_vm.ref][path] = b""
        return path

    def CreateTemporaryDirectoryInGuest(
        self, call: Call, vm: Any, auth: Any, prefix: str, suffix: str, directoryPath: str | None
    ) -> str:
        """Return a new folder's path; folders exist by the files in them."""
        return _join(self._enter(vm, auth, call), directoryPath, f"{prefix}{secrets.token_hex(4)}{suffix}")

    def MakeDirectoryInGuest(
        self, call: Call, vm: Any, auth: Any, directoryPath: str, createParentDirectories: bool
    ) -> None:
        """Do nothing but check the login: folders exist by the files in them."""
        self._enter(vm, auth, call)

    def DeleteFileInGuest(self, call: Call, vm: Any, auth: Any, filePath: str) -> None:
        """Delete a file."""
        lab_vm = self._enter(vm, auth, call)
        self._existing(lab_vm, filePath)
        del self.estate.guests.files[lab_vm.ref][filePath]

    def DeleteDirectoryInGuest(self, call: Call, vm: Any, auth: Any, directoryPath: str, recursive: bool) -> None:
        """Delete the files below a folder."""
        files = self.estate.guests.files[self._enter(vm, auth, call).ref]
        for path in [path for path in files if path.startswith(directoryPath.rstrip("/\\") + directoryPath[:1])]:
            del files[path]

    def MoveFileInGuest(
        self, call: Call, vm: Any, auth: Any, srcFilePath: str, dstFilePath: str, overwrite: bool
    ) -> None:
        """Rename a file."""
        lab_vm = self._enter(vm, auth, call)
        files = self.estate.guests.files[lab_vm.ref]
        if dstFilePath in files and not overwrite:
            raise Refusal("FileAlreadyExists", f"{dstFilePath} exists already.", file=dstFilePath)
        content = self._existing(lab_vm, srcFilePath)
        del files[srcFilePath]
        files[dstFilePath] = content

    def ListFilesInGuest(
        self,
        call: Call,
        vm: Any,
        auth: Any,
        filePath: str,
        index: int | None,
        maxResults: int | None,
        matchPattern: str | None,
    ) -> Any:
        """Return a file, or the files below a folder."""
        lab_vm = self._enter(vm, auth, call)
        files = self.estate.guests.files[lab_vm.ref]
        found = [path for path in files if path == filePath or path.startswith(filePath.rstrip("/\\") + filePath[:1])]
        return _G.FileManager.ListFileInfo(
            files=[
                _G.FileManager.FileInfo(path=path, type="file", size=len(files[path]), attributes=_attributes(lab_vm))
                for path in found
            ],
            remaining=0,
        )

    def InitiateFileTransferFromGuest(self, call: Call, vm: Any, auth: Any, guestFilePath: str) -> Any:
        """Return the URL of a file."""
        lab_vm = self._enter(vm, auth, call)
        size = len(self._existing(lab_vm, guestFilePath))
        return _G.FileManager.FileTransferInformation(
            attributes=_attributes(lab_vm), size=size, url=self._url(lab_vm, guestFilePath)
        )

    def InitiateFileTransferToGuest(
        self,
        call: Call,
        vm: Any,
        auth: Any,
        guestFilePath: str,
        fileAttributes: Any,
        fileSize: int,
        overwrite: bool,
    ) -> str:
        """Return the URL to which a file may be put."""
        lab_vm = self._enter(vm, auth, call)
        if guestFilePath in self.estate.guests.files[lab_vm.ref] and not overwrite:
            raise Refusal("FileAlreadyExists", f"{guestFilePath} exists already.", file=guestFilePath)
        return self._url(lab_vm, guestFilePath)

    def _url(self, vm: LabVm, path: str) -> str:
        return f"{self.estate.url}/guestFile?id=1&token={self.estate.guests.ticket(vm, path)}"

    def _existing(self, vm: LabVm, path: str) -> bytes:
        try:
            return self.estate.guests.files[vm.ref][path]
        except KeyError:
            raise Refusal("FileNotFound", f"File {path} was not found.", file=path) from None


def _join(vm: LabVm, folder: str | None, name: str) -> str:
    if vm.is_windows:
        return ntpath.join(folder or "C:\\Windows\\Temp", name)
    return posixpath.join(folder or "/tmp", name)  # noqa: S108 - a path inside a simulated guest


def _attributes(vm: LabVm) -> Any:
    kind = _G.FileManager.WindowsFileAttributes if vm.is_windows else _G.FileManager.PosixFileAttributes
    return kind()
