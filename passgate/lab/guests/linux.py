"""Be a Linux guest: this machine's real /bin/sh, in a throw-away directory that holds the guest's sysfs and commands.

Scripts run unchanged. They find the guest's sysfs through PASSGATE_SYSFS, its lsusb and lsblk first on the PATH, and
its /tmp under the throw-away directory.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import tempfile
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from passgate.lab.guests.disks import disk_size
from passgate.lab.hardware import HostUsb, LabVm

TIMEOUT: Final = 20.0
NOT_FOUND: Final = 127
SPEEDS: Final = {"low": "1.5", "full": "12", "high": "480", "superSpeed": "5000", "superSpeedPlus": "10000"}
TMP: Final = "/tmp/"  # noqa: S108 - the guest's, not this machine's
GUEST_TMP: Final = re.compile(r"(?<![\w/.-])/tmp/")
SYSTEM_DISK: Final = 42949672960


def run(vm: LabVm, devices: Sequence[HostUsb], program: str, arguments: str, files: MutableMapping[str, bytes]) -> int:
    """Run `program arguments` by a shell, as VMware Tools do in Linux, and return the exit code."""
    if program not in {"/bin/sh", "/usr/bin/sh", "/bin/bash"}:
        return NOT_FOUND
    with tempfile.TemporaryDirectory(prefix="passgate-guest-") as folder:
        root = Path(folder)
        _furnish(root, vm, devices)
        _write(root, files)
        code = _shell(root, f"/bin/sh {_inside(arguments, root)}")
        _read(root, files)
    return code


def _shell(root: Path, line: str) -> int:
    # Nothing of the lab's own environment is in the guest's.
    environment = {"PATH": f"{root}/bin:/usr/bin:/bin", "PASSGATE_SYSFS": f"{root}/sys", "LANG": "C.UTF-8"}
    with subprocess.Popen(
        ["/bin/sh", "-c", line], cwd=root, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            return process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return 128 + signal.SIGKILL


def _inside(text: str, root: Path) -> str:
    """Name the guest's /tmp by where it really is."""
    return GUEST_TMP.sub(f"{root}{TMP}", text)


def _write(root: Path, files: MutableMapping[str, bytes]) -> None:
    for name, content in files.items():
        if name.startswith(TMP) and ".." not in name:
            place = root / name.removeprefix("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)


def _read(root: Path, files: MutableMapping[str, bytes]) -> None:
    now = {f"/{path.relative_to(root)}": path for path in (root / "tmp").rglob("*") if path.is_file()}
    for gone in [name for name in files if name.startswith(TMP) and name not in now]:
        del files[gone]
    files.update({name: path.read_bytes() for name, path in now.items()})


def _furnish(root: Path, vm: LabVm, devices: Sequence[HostUsb]) -> None:
    """Lay out sysfs as Linux does, and the commands that tell of it."""
    usb, tmp, commands = root / "sys/bus/usb/devices", root / "tmp", root / "bin"
    for folder in (usb, tmp, commands):
        folder.mkdir(parents=True)
    lines = []
    blocks: list[dict[str, Any]] = [_block("sda", "Virtual disk", SYSTEM_DISK) | {"mountpoint": "/"}]
    for number, (port, facts) in enumerate([*_virtual(vm), *_ports(devices)], start=1):
        place = usb / port
        place.mkdir()
        for name, value in facts.items():
            (place / name).write_text(f"{value}\n", encoding="utf-8")
        name = f"{facts.get('manufacturer', '')} {facts.get('product', '')}".strip()
        lines.append(f"Bus {1:03} Device {number:03}: ID {facts['idVendor']}:{facts['idProduct']} {name}")
    for (port, facts), device in zip(_ports(devices), devices, strict=True):
        if "storage" in device.families:
            letter = chr(ord("a") + len(blocks))
            block = usb / port / f"{port}:1.0/host{len(blocks) + 2}/target3:0:0/3:0:0:0/block/sd{letter}"
            block.mkdir(parents=True)
            (block / "size").write_text(f"{disk_size(device) // 512}\n", encoding="utf-8")
            size, name = disk_size(device), f"sd{letter}"
            blocks.append(_block(name, facts["product"], size, tran="usb", serial=device.serial))
    _command(commands / "lsusb", LSUSB.format(lines=shlex.quote("\n".join(lines))))
    _command(commands / "lsblk", _lsblk(blocks, new=vm.guest_id.startswith("ubuntu")))


def _virtual(vm: LabVm) -> list[tuple[str, dict[str, str]]]:
    """Return what each virtual controller brings along: root hubs, and VMware's own hub and mouse."""
    kinds = {device.kind for device in vm.devices}
    found = []
    if "ehci" in kinds:
        found += [
            ("usb1", _facts(0x1D6B, 0x0002, "480", "Linux", "EHCI Host Controller")),
            ("usb2", _facts(0x1D6B, 0x0001, "12", "Linux", "UHCI Host Controller")),
        ]
    if "xhci" in kinds:
        found += [
            ("usb3", _facts(0x1D6B, 0x0002, "480", "Linux", "xHCI Host Controller")),
            ("usb4", _facts(0x1D6B, 0x0003, "5000", "Linux", "xHCI Host Controller")),
        ]
    if found:
        found += [
            ("2-1", _facts(0x0E0F, 0x0003, "12", "VMware", "VMware Virtual USB Mouse")),
            ("2-2", _facts(0x0E0F, 0x0002, "12", "VMware", "VMware Virtual USB Hub")),
        ]
    return found


def _ports(devices: Sequence[HostUsb]) -> list[tuple[str, dict[str, str]]]:
    """Return port and facts of each device; the guest's ports tell nothing of the host's."""
    return [(f"{4 if one.is_super_speed else 1}-{port}", _of(one)) for port, one in enumerate(devices, start=1)]


def _of(device: HostUsb) -> dict[str, str]:
    maker, _, product = device.name.partition(" ")
    facts = _facts(device.vendor, device.product, SPEEDS.get(device.speeds[0], "480"), maker, product)
    return facts | ({"serial": device.serial} if device.serial else {})


def _facts(vendor: int, product: int, speed: str, maker: str, name: str) -> dict[str, str]:
    return {
        "idVendor": f"{vendor:04x}", "idProduct": f"{product:04x}", "speed": speed, "manufacturer": maker,
        "product": name,
    }  # fmt: skip


def _block(name: str, model: str, size: int, *, tran: str | None = None, serial: str | None = None) -> dict[str, Any]:
    return {"name": name, "tran": tran, "serial": serial, "model": model, "size": size, "mountpoint": None}


LSUSB: Final = """#!/bin/sh
lines={lines}
case "$1" in
  '') printf '%s\\n' "$lines" ;;
  -d) printf '%s\\n' "$lines" | grep -i " ID $2" ;;
  *) echo "lsusb: this guest knows lsusb and lsusb -d vendor:product only" >&2; exit 1 ;;
esac
"""

LSBLK: Final = """#!/bin/sh
columns= json= bytes= all=
while [ $# -gt 0 ]; do
  case "$1" in
    -J|--json) json=1 ;;
    -b|--bytes) bytes=1 ;;
    -O|--output-all) all=1 ;;
    -o|--output) columns=$2; shift ;;
  esac
  shift
done
if [ -n "$all" ] && [ -n "$columns" ]; then
  echo "lsblk: mutually exclusive arguments: --output-all --output" >&2; exit 1
fi
case ",$columns," in
  *,MOUNTPOINTS,*) {mountpoints} ;;
esac
if [ -n "$json" ]; then printf '%s\\n' {data}; else printf '%s\\n' {table}; fi
"""


def _lsblk(blocks: list[dict[str, Any]], *, new: bool) -> str:
    """Write lsblk as util-linux 2.32 (RHEL 8: text sizes, no MOUNTPOINTS) or 2.37 (Ubuntu 22.04) behaves."""
    if new:
        rows = [{key: value for key, value in one.items() if key != "mountpoint"} for one in blocks]
        data = [row | {"mountpoints": [one["mountpoint"]]} for row, one in zip(rows, blocks, strict=True)]
    else:
        data = [one | {"size": str(one["size"])} for one in blocks]
    table = "\n".join(" ".join(str(value or "") for value in one.values()) for one in blocks)
    refusal = 'echo "lsblk: unknown column: $columns" >&2; exit 1'
    return LSBLK.format(
        mountpoints=":" if new else refusal,
        data=shlex.quote(json.dumps({"blockdevices": data}, indent=3)),
        table=shlex.quote(f"NAME TRAN SERIAL MODEL SIZE MOUNTPOINT\n{table}"),
    )


def _command(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
