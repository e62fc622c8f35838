"""Where the VMX procedure is tried: the lab's shell, and OpenSSH with busybox, whose ash, cat, mv and grep are real."""

from __future__ import annotations

import io
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import paramiko

from passgate.connect.esxi_shell import EsxiShell, ShellAccess
from passgate.lab.esxi import new_private_key
from passgate.lab.hardware import LabVm
from passgate.lab.vmfs import VOLUME, written
from passgate.lab.world import World
from passgate.model.inventory import HostId, VmId

BUSYBOX = shutil.which("busybox")
APPLETS = ("sh", "cat", "cp", "mv", "rm", "grep", "sed", "sha256sum", "printf", "test", "touch")
HOSTILE = '[store one] it\'s $(touch pwned) `x` "q" ; a/b\\c.vmx'
"""A path whose every other character means something to a shell."""
SHELL = """\
#!{busybox} sh
export PATH="{tools}"
cd {folder}
exec sh -c "$(printf %s "$SSH_ORIGINAL_COMMAND" | sed 's#/vmfs/volumes/#{folder}/volumes/#g')"
"""
VIM_CMD = """\
#!{busybox} sh
case "$1" in
vmsvc/getallvms) cat "{folder}/list";;
vmsvc/get.summary) cat "{folder}/summary-$2";;
vmsvc/power.getstate) echo "Retrieved runtime info"; cat "{folder}/power";;
vmsvc/reload) echo "$2" >> "{folder}/reloads";;
*) echo "Invalid command." >&2; exit 1;;
esac
"""


class Place(ABC):
    """One VM that is off, with its VMX file, on one host."""

    vm: VmId
    path: str
    access: ShellAccess

    def shell(self, authorize: Callable[[str, str], None]) -> EsxiShell:
        """Return a connector under that authority."""
        return EsxiShell(self.access, authorize=authorize)

    @abstractmethod
    def content(self) -> bytes:
        """Return the file."""

    @abstractmethod
    def write(self, content: bytes) -> None:
        """Let somebody write into the file."""

    @abstractmethod
    def power(self, *, on: bool) -> None:
        """Let somebody power the VM on or off."""

    @abstractmethod
    def reloads(self) -> int:
        """Return how often hostd was told to read the file."""

    @abstractmethod
    def beside(self) -> dict[str, bytes]:
        """Return the other files in the VM's folder, by the end of their names."""

    @abstractmethod
    def unregister(self) -> None:
        """Take the VM off the host's list."""


class LabPlace(Place):
    """lnx-02 on the lab's esx-03."""

    def __init__(self, world: World, access: ShellAccess) -> None:
        self.world, self._lab_vm = world, world.vm("lnx-02")
        host = self._lab_vm.host
        self.vm = VmId(ref="vm-104", name="lnx-02", uuid="x", host=HostId(ref=host.ref, name=host.name, uuid=host.uuid))
        self.path = "[datastore1] vm-104/vm-104.vmx"
        self.access = access

    @property
    def lab_vm(self) -> LabVm:
        """Return the VM as the lab has it."""
        return self._lab_vm

    def content(self) -> bytes:
        """Return the file."""
        return written(self._lab_vm) if self._lab_vm.vmx_file is None else self._lab_vm.vmx_file

    def write(self, content: bytes) -> None:
        """Let somebody write into the file."""
        self._lab_vm.vmx_file = content

    def power(self, *, on: bool) -> None:
        """Let somebody power the VM on or off, without what hostd writes then."""
        self._lab_vm.power = "poweredOn" if on else "poweredOff"

    def reloads(self) -> int:
        """Return how often hostd was told to read the file."""
        return sum(one.method.startswith("vim-cmd vmsvc/reload") for one in self.world.mutations)

    def beside(self) -> dict[str, bytes]:
        """Return the other files in the VM's folder, by the end of their names."""
        stem = f"{VOLUME}/vm-104/vm-104.vmx"
        return {
            name.removeprefix(stem): self.world.datastore.read(name) or b"" for name in self.world.datastore.names()
        }

    def unregister(self) -> None:
        """Take the VM off the host's list."""
        self._lab_vm.host = self.world.hosts[0]


class OpenSshPlace(Place):
    """A VM that is files in a folder, behind sshd and busybox, with a name that needs quotes everywhere."""

    def __init__(self, folder: Path, access: ShellAccess, host: HostId) -> None:
        self._folder = folder
        self._file = folder / "volumes" / HOSTILE.partition("] ")[0][1:] / HOSTILE.partition("] ")[2]
        shutil.rmtree(folder / "volumes", ignore_errors=True)
        self._file.parent.mkdir(parents=True)
        self.vm = VmId(ref="vm-7", name="it's", uuid="x", host=host)
        self.path = HOSTILE
        self.access = access
        self.write(b'.encoding = "UTF-8"\r\ndisplayName = "\xff\xfe"\r\nnot a line')
        self._file.chmod(0o640)
        rows = [
            "Vmid   Name   File   Guest OS   Version   Annotation",
            f"3      {HOSTILE}   [store one] other.vmx   x   vmx-19",
            f"12     it's   {HOSTILE}   x   vmx-19   {HOSTILE}",
        ]
        (folder / "list").write_text("\n".join(rows) + "\n", encoding="utf-8")
        for number, path in (("3", "[store one] other.vmx"), ("12", HOSTILE)):
            summary = f'(vim.vm.Summary) {{\n   config = {{\n      vmPathName = "{path}", \n   }}\n}}\n'
            (folder / f"summary-{number}").write_text(summary, encoding="utf-8")
        (folder / "reloads").unlink(missing_ok=True)
        self.power(on=False)
        _script(folder / "tools/vim-cmd", VIM_CMD.format(busybox=BUSYBOX, folder=folder))

    @staticmethod
    def prepare(folder: Path) -> None:
        """Put keys, a shell and busybox's applets there."""
        tools = folder / "tools"
        tools.mkdir()
        for name in APPLETS:
            (tools / name).symlink_to(str(BUSYBOX))
        _script(folder / "shell", SHELL.format(busybox=BUSYBOX, tools=tools, folder=folder))
        for name in ("host_key", "client_key"):
            (folder / name).write_text(new_private_key(), encoding="utf-8")
            (folder / name).chmod(0o600)
        key = paramiko.Ed25519Key.from_private_key(io.StringIO((folder / "client_key").read_text(encoding="utf-8")))
        (folder / "authorized_keys").write_text(f"{key.get_name()} {key.get_base64()}\n", encoding="utf-8")

    @property
    def mode(self) -> int:
        """Return the file's mode."""
        return self._file.stat().st_mode & 0o777

    def forget_vim_cmd(self) -> None:
        """Let the host not have vim-cmd."""
        (self._folder / "tools/vim-cmd").unlink()

    @property
    def was_broken_out_of(self) -> bool:
        """Say whether a name was run as a command."""
        return (self._folder / "pwned").exists()

    def content(self) -> bytes:
        """Return the file."""
        return self._file.read_bytes()

    def write(self, content: bytes) -> None:
        """Let somebody write into the file."""
        self._file.write_bytes(content)

    def power(self, *, on: bool) -> None:
        """Let somebody power the VM on or off."""
        (self._folder / "power").write_text(f"Powered {'on' if on else 'off'}\n", encoding="utf-8")

    def reloads(self) -> int:
        """Return how often hostd was told to read the file."""
        told = self._folder / "reloads"
        lines = told.read_text(encoding="utf-8").split() if told.exists() else []
        assert set(lines) <= {"12"}
        return len(lines)

    def beside(self) -> dict[str, bytes]:
        """Return the other files in the VM's folder, by the end of their names."""
        return {
            one.name.removeprefix(self._file.name): one.read_bytes()
            for one in self._file.parent.iterdir()
            if one != self._file
        }

    def unregister(self) -> None:
        """Take the VM off the host's list."""
        (self._folder / "summary-12").write_text("", encoding="utf-8")


def _script(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
