"""Boot a real Linux under QEMU, plug devices into it by QMP, and run programs in it as VMware Tools do.

No KVM is needed: QEMU translates the guest's instructions itself, and Debian's kernel with a busybox is up in some
three seconds. Programs are handed over a virtio port as scripts, in place of guest operations; what they print, how
they end and what they see of their devices is the guest's own.
"""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import lzma
import os
import re
import select
import shlex
import shutil
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from passgate.connect.guest.program import list_usb
from passgate.connect.guest.reading import of_linux
from passgate.connect.vsphere.guest_ops import Program
from passgate.model.guest import GuestUsb
from passgate.model.inventory import GuestFamily, VmId
from tests.independent.parts import CACHE, missing, until

HERE = Path(__file__).parent / "qemu_guest"
INSTALL = "install Debian's qemu-system-x86 and busybox-static, and fetch a kernel with qemu_guest/fetch_kernel.sh"
QEMU = "qemu-system-x86_64"
MODULES = ("virtio_pci", "virtio_console", "xhci-pci", "usb-storage", "sd_mod", "vfat", "nls_cp437", "nls_ascii")
IDS = "46f4:0001"
"""QEMU's own ids, for each of its sticks."""
SECTOR = 512
FIRST = 2048
"""The first sector of a stick's one partition, where today's sticks have it."""
BOOT = 100.0
ANSWER = 30.0
"""Seconds until a guest that says nothing is given up; both are far beyond what a slow machine takes."""


@dataclass(frozen=True)
class Kernel:
    """Hold where a kernel and its modules are."""

    image: Path
    modules: Path


def kernel() -> Kernel:
    """Return the kernel that was fetched for these tests, else one that is installed here."""
    images = [one for root in (CACHE / "kernel", Path("/")) for one in sorted(root.glob("boot/vmlinuz-*-amd64"))]
    found = [Kernel(one, one.parents[1] / "lib/modules" / one.name.removeprefix("vmlinuz-")) for one in images]
    whole = [one for one in found if os.access(one.image, os.R_OK) and any(one.modules.rglob("usb-storage.ko*"))]
    if not whole:
        missing("There is no kernel for the guest", INSTALL)
    return whole[0]


def tool(name: str) -> Path:
    """Return the path of a program of this machine."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        missing(f"{name} is not installed", INSTALL)
    return Path(found)


def initramfs(of: Kernel) -> bytes:
    """Return the guest's file system: busybox, lsblk as Linux guests have it, the modules, and init."""
    busybox, lsblk = tool("busybox"), tool("lsblk")
    libraries = re.findall(
        r"(/\S+) \(0x", subprocess.run(["ldd", lsblk], capture_output=True, text=True, check=True).stdout
    )
    modules = in_order(of)
    files = {
        "init": (HERE / "init.sh").read_bytes(),
        "etc/passwd": b"root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
        "bin/busybox": busybox.read_bytes(),
        "bin/lsblk": lsblk.read_bytes(),
        **{one.lstrip("/"): Path(one).read_bytes() for one in libraries},
        **{f"modules/{name}.ko": content for name, content in modules.items()},
        "modules/order": "".join(f"{name}.ko\n" for name in modules).encode(),
    }
    folders = {str(one) for name in files for one in Path(name).parents} | {"proc", "sys", "dev", "tmp", "mnt"}
    return gzip.compress(archive(sorted(folders - {"."}), files), 1)


def in_order(of: Kernel) -> dict[str, bytes]:
    """Return the modules that the guest needs, each after those that it leans on, as they say themselves."""
    there = {one.name.partition(".ko")[0].replace("-", "_"): one for one in of.modules.rglob("*.ko*")}
    found: dict[str, bytes] = {}

    def add(name: str) -> None:
        key = name.replace("-", "_")
        if key in found or key not in there:  # what is not there is built into the kernel, or the guest says so
            return
        packed = there[key].read_bytes()
        content = lzma.decompress(packed) if there[key].suffix == ".xz" else packed
        said = re.search(rb"\0depends=([^\0]*)\0", content)
        also = re.search(rb"\0softdep=pre: ([^\0]*)\0", content)
        for one in [*(said[1].split(b",") if said else ()), *(also[1].split() if also else ())]:
            add(one.decode())
        found[key] = content

    for name in MODULES:
        add(name)
    return found


def archive(folders: Iterable[str], files: dict[str, bytes]) -> bytes:
    """Return a cpio archive in the form that the kernel unpacks ("newc"); everything in it may be executed."""

    def padded(data: bytes) -> bytes:
        return data + b"\0" * (-len(data) % 4)

    def entry(name: str, mode: int, content: bytes = b"") -> bytes:
        numbers = (next(inode), mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        head = "070701" + "".join(f"{one:08x}" for one in numbers)
        return padded(f"{head}{name}\0".encode()) + padded(content)

    inode = itertools.count(1)
    return b"".join([
        *(entry(name, 0o040755) for name in folders),
        *(entry(name, 0o100755, content) for name, content in files.items()),
        entry("TRAILER!!!", 0),
    ])  # fmt: skip


def stick(path: Path, megabytes: int = 8) -> Path:
    """Make the image of a USB stick with one empty FAT partition on it, as sticks are sold."""
    sectors = megabytes * 2048
    entry = bytes([0, 0, 0, 0, 0x0C, 0, 0, 0]) + FIRST.to_bytes(4, "little") + (sectors - FIRST).to_bytes(4, "little")
    path.write_bytes(b"\0" * 446 + entry + b"\0" * 48 + b"\x55\xaa")
    os.truncate(path, sectors * SECTOR)
    return path


class Monitor:
    """Speak QMP, QEMU's own protocol, over its socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._lines.readline()
        self("qmp_capabilities")

    def __call__(self, command: str, **arguments: Any) -> Any:
        """Send a command and return its answer; events on the way are left out."""
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = json.loads(self._lines.readline())
            assert "error" not in answer, answer
            if "return" in answer:
                return answer["return"]

    def close(self) -> None:
        """Close the socket."""
        self._lines.close()
        self._socket.close()


class Guest:
    """Hold a running guest. It satisfies the engine's `Guest` port for any VM: there is only this one."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._said = b""
        self._lock = threading.Lock()
        self._jobs = itertools.count(1)
        self._plugged: dict[str, str] = {}
        self._line(BOOT)
        self._qmp = Monitor(folder / "qmp")

    def usb(self, _: VmId, user: str = "root") -> tuple[GuestUsb, ...]:
        """Return what Passgate's own program and reading make of this guest."""
        return of_linux(self.printed(lambda output: list_usb(GuestFamily.LINUX, output), user))

    def printed(self, program: Callable[[str], Program], user: str = "root") -> str:
        """Run a program as guest operations do: it is started, looked at until it has ended, and its file fetched."""
        output = f"/tmp/passgate{next(self._jobs)}.out"  # noqa: S108 - a path inside the guest
        made = program(output)
        self.sh(f": > {output} && chown {user} {output}")
        ended = self.start(f"su {user} -s /bin/sh -c {shlex.quote(f'{made.path} {made.arguments}')}")
        code = until(ended, f"{made.path} to end in the guest")
        assert code == 0, self.sh(f"cat {made.partial}")
        return self.sh(f"cat {made.output} && rm {made.output} && ! [ -e {made.partial} ]")

    def start(self, command: str) -> Callable[[], int | None]:
        """Start a command in the background; what is returned says its exit status once it has ended."""
        job = f"/tmp/job{next(self._jobs)}"  # noqa: S108 - a path inside the guest
        self.sh(
            f"(sh -c {shlex.quote(command)}; echo $? > {job}.part; mv {job}.part {job}) </dev/null >/dev/null 2>&1 &"
        )

        def ended() -> int | None:
            said = self.sh(f"cat {job} 2>/dev/null || true").strip()
            return int(said) if said else None

        return ended

    def sh(self, script: str) -> str:
        """Run a script in the guest and return what it printed; it must end well."""
        status, printed = self.ran(script)
        text = printed.decode("utf-8", "replace")
        assert status == 0, f"{script!r} ended with {status} in the guest and printed: {text}"
        return text

    def ran(self, script: str) -> tuple[int, bytes]:
        """Run a script in the guest and return its exit status and what it printed."""
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(base64.b64encode(script.encode()) + b"\n")
            self._process.stdin.flush()
            status, _, printed = self._line(ANSWER).partition(" ")
        return int(status), base64.b64decode(printed)

    def _line(self, seconds: float) -> str:
        """Return the next line that the guest sends."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._said:
            if not select.select([self._process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                pytest.fail(f"The guest said nothing for {seconds:.0f} s. {self.console()}")
            read = os.read(self._process.stdout.fileno(), 1 << 16)
            if not read:
                pytest.fail(f"QEMU ended. {self.console()}")
            self._said += read
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    def console(self) -> str:
        """Return the last that the guest's kernel, and QEMU, said."""
        return "".join((self._folder / name).read_text("utf-8", "replace")[-2000:] for name in ("console", "errors"))

    def plug(self, driver: str, name: str, bus: str, **how: Any) -> None:
        """Plug a device in."""
        self._qmp("device_add", driver=driver, id=name, bus=bus, **how)
        self._plugged[name] = bus

    def pull(self, name: str) -> None:
        """Pull a device out with all that hangs on it, as a hand does, with no word to the guest before."""
        self._qmp("device_del", id=name)
        self._plugged = {one: bus for one, bus in self._plugged.items() if one != name and bus != f"{name}.0"}

    def plug_stick(self, image: Path, serial: str, bus: str = "xhci.0") -> str:
        """Plug a USB stick in and return the name to pull it by."""
        name = f"stick{next(self._jobs)}"
        file = {"driver": "file", "filename": str(image)}
        self._qmp("blockdev-add", **{"node-name": f"of-{name}", "driver": "raw", "file": file})
        self.plug("usb-storage", name, bus, drive=f"of-{name}", serial=serial)
        return name

    def clear(self) -> None:
        """Pull out everything, so that each test begins with nothing."""
        for name in reversed(tuple(self._plugged)):
            self.pull(name)

    def close(self) -> None:
        """End the guest, as pulling the plug does."""
        self._qmp.close()
        self._process.kill()


@contextmanager
def lent(guest: Guest, path: Path) -> Iterator[Path]:
    """Lend the guest to another program, which sends it scripts over a socket at that path, in the guest's own form."""

    class Answering(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            status, printed = guest.ran(base64.b64decode(self.rfile.readline()).decode())
            self.wfile.write(f"{status} {base64.b64encode(printed).decode()}\n".encode())

    with socketserver.ThreadingUnixStreamServer(str(path), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield path
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def booted(folder: Path) -> Iterator[Guest]:
    """Boot a guest with an empty xHCI controller; it ends with the block, or with this process."""
    qemu, of = tool(QEMU), kernel()
    initrd = folder / "initrd"
    initrd.write_bytes(initramfs(of))
    command = [
        qemu, "-accel", "tcg", "-machine", "q35", "-m", "192", "-nodefaults", "-no-reboot", "-display", "none",
        "-kernel", of.image, "-initrd", initrd, "-append", "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off",
        "-serial", f"file:{folder / 'console'}", "-qmp", f"unix:{folder / 'qmp'},server=on,wait=off",
        "-device", "virtio-serial", "-chardev", "stdio,id=port,signal=off", "-device", "virtserialport,chardev=port",
        "-device", "qemu-xhci,id=xhci", "-device", "pcie-root-port,id=bay",
    ]  # fmt: skip
    with (
        (folder / "errors").open("wb") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        guest = None
        try:
            guest = Guest(process, folder)
            yield guest
        finally:
            process.kill()
            if guest:
                guest.close()
