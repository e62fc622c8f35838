"""Start govmomi's vCenter simulator, a part that others wrote, over TLS on a free loopback port.

What it can't simulate stands in CANT: by name, with the reason. Tests of these run against the lab alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.independent.parts import CACHE, missing

INSTALL = "install Debian's golang-go and golang-github-vmware-govmomi-dev"
SOURCE = Path(__file__).parent / "govmomi_sim"
LIBRARY = Path("/usr/share/gocode/src/github.com/vmware/govmomi/simulator")

CANT = {
    "autoconnect": "VirtualUSB.connected echoes what was sent, so a test on it proves nothing",
    "arbitrator": "there are no ESXi shells, and nothing stands for the USB arbitrator",
    "limits": "a second xHCI controller and a 21st device are accepted; TooManyDevices is never raised",
    "controller-in-use": "a controller that still has devices is removed without a word",
    "change-version": "changeVersion is ignored and empty, so ConcurrentAccess never comes",
    "slow-tasks": "tasks have ended when the call returns, so TaskInProgress and long waits never come",
    "questions": "runtime.question is never set",
    "tools": "VMware Tools run only where a guest under QEMU is lent; ShutdownGuest powers the VM off at once",
    "privileges": "HasPrivilegeOnEntities grants everything to everybody; NoPermission never comes",
    "dpm": "DPM settings are accepted and forgotten",
    "device-keys": "new devices get keys such as 203, no unitNumber, no vendor and product",
    "maintenance": "a host enters maintenance mode at once, whatever runs on it, and nothing moves by itself",
    "migration": "CheckMigrate, CheckRelocate and CheckPowerOn do not exist; a move asks for nothing and loses nothing",
    "pci-rules": "PCI functions are added to running VMs, without memory reserved, and twice",
    "reconnect": "DisconnectHost and ReconnectHost do not exist",
    "faults": "0.24.2 has no fault injection, only a delay for each method",
}


@dataclass(frozen=True)
class Endpoint:
    """Hold how to reach a vCenter."""

    url: str
    ca: str
    user: str
    password: str


def built() -> Path:
    """Return the simulator's program, built once for each state of its source."""
    if shutil.which("go") is None:
        missing("The Go compiler is not installed", INSTALL)
    if not LIBRARY.is_dir():
        missing("govmomi's simulator library is not installed", INSTALL)
    files = sorted(SOURCE.glob("*.go"))
    state = hashlib.sha256(b"".join(one.read_bytes() for one in files)).hexdigest()
    program = CACHE / f"govmomi-{state[:16]}"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as place:
            for one in files:
                shutil.copy(one, place)
            fresh = Path(place) / "sim"
            env = os.environ | {"GOPATH": "/usr/share/gocode", "GO111MODULE": "off", "GOCACHE": str(CACHE / "go")}
            build = ["go", "build", "-o", str(fresh), *(one.name for one in files)]
            subprocess.run(build, cwd=place, env=env, check=True, timeout=300)
            # Renamed whole, so that a suite that runs beside this one never starts half a program.
            fresh.rename(program)
    return program


@contextmanager
def vcenter(
    certificate: Path,
    key: Path,
    ca: str,
    api: str = "8.0.2.0",
    *,
    model: Literal["vpx", "esx"] = "vpx",
    guest: Path | None = None,
) -> Iterator[Endpoint]:
    """Run one simulated vCenter, or ESXi host (`esx`), that shows that certificate; it ends when its input closes.

    `guest` is a socket at which a real guest runs scripts (`guest_of_qemu.lent`): its programs and files are then those
    of every VM, whose account is `root` with the password `guest`.
    """
    command = [str(built()), api, str(certificate), str(key), model, *([str(guest)] if guest else [])]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Endpoint(process.stdout.readline().strip(), ca, "user", "pass")
        finally:
            process.stdin.close()
            process.wait(timeout=10)
