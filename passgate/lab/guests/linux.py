"""Be a Linux guest: this machine's real /bin/sh, in a throw-away directory that holds the guest's sysfs and commands.

Scripts run unchanged. They find the guest's sysfs and procfs through PASSGATE_SYSFS and PASSGATE_PROC, its lsusb,
lsblk, mount, umount and sync first on the PATH, and its /tmp under the throw-away directory.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from passgate.lab.guest_devices import GuestDevice, Inside
from passgate.lab.guests import mounting, pci
from passgate.lab.guests.disks import disk_size
from passgate.lab.hardware import HostUsb, LabVm

TIMEOUT: Final = 20.0
NOT_FOUND: Final = 127
SPEEDS: Final = {"low": "1.5", "full": "12", "high": "480", "superSpeed": "5000", "superSpeedPlus": "10000"}
INTERFACES: Final = {
    "audio": "01", "communication": "02", "hid": "03", "hid_bootable": "03", "imaging": "06", "printer": "07",
    "storage": "08", "hub": "09", "smart_card": "0b", "video": "0e", "wireless": "e0",
}  # fmt: skip
"""vSphere's family -> the class code that sysfs shows of the interface."""
TMP: Final = "/tmp/"  # noqa: S108 - the guest's, not this machine's
GUEST_TMP: Final = re.compile(r"(?<![\w/.-])/tmp/")
SYSTEM_DISK: Final = 42949672960
GAP: Final = 1 << 20
"""Bytes before the first partition."""


def run(inside: Inside, program: str, arguments: str, files: MutableMapping[str, bytes]) -> int:
    """Run `program arguments` by a shell, as VMware Tools do in Linux, and return the exit code."""
    if program not in {"/bin/sh", "/usr/bin/sh", "/bin/bash"}:
        return NOT_FOUND
    with tempfile.TemporaryDirectory(prefix="passgate-guest-") as folder:
        root = Path(folder)
        _furnish(root, inside.vm, inside.devices)
        _write(root, files)
        code = _shell(root, f"/bin/sh {_inside(arguments, root)}")
        _read(root, files)
        _learn(root, inside)
    return code


def _shell(root: Path, line: str) -> int:
    # Nothing of the lab's own environment is in the guest's.
    environment = {
        "PATH": f"{root}/bin:/usr/bin:/bin", "PASSGATE_SYSFS": f"{root}/sys", "PASSGATE_PROC": f"{root}/proc",
        "LANG": "C.UTF-8",
    }  # fmt: skip
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


def _learn(root: Path, inside: Inside) -> None:
    """Take over what is mounted now, and tell what was done."""
    lines = mounting.mounts(root)
    for one in inside.devices:
        one.mounts = [line[4] for line in lines if line[-2] == f"/dev/{one.name}1"]
    for line in (root / "var/log/mounts").read_text(encoding="utf-8").splitlines():
        inside.told(json.loads(line))


def _furnish(root: Path, vm: LabVm, devices: Sequence[GuestDevice]) -> None:
    """Lay out sysfs and procfs as Linux does, and the commands that tell of them."""
    usb, commands = root / "sys/bus/usb/devices", root / "bin"
    for folder in (usb, commands, root / "tmp", root / "dev", root / "var/log", root / "proc/self"):
        folder.mkdir(parents=True)
    lines = []
    ports = _ports([one.device for one in devices])
    blocks: list[dict[str, Any]] = [_block("sda", "Virtual disk", SYSTEM_DISK) | {"mountpoint": "/"}]
    for number, (port, facts) in enumerate([*_virtual(vm), *ports], start=1):
        place = usb / port
        place.mkdir()
        for name, value in facts.items():
            (place / name).write_text(f"{value}\n", encoding="utf-8")
        name = f"{facts.get('manufacturer', '')} {facts.get('product', '')}".strip()
        lines.append(f"Bus {1:03} Device {number:03}: ID {facts['idVendor']}:{facts['idProduct']} {name}")
    for (port, facts), one in zip(ports, devices, strict=True):
        for number, family in enumerate(one.device.families):
            interface = usb / port / f"{port}:1.{number}"
            interface.mkdir()
            (interface / "bInterfaceClass").write_text(f"{INTERFACES.get(family, 'ff')}\n", encoding="utf-8")
        if one.is_disk:
            _disk(root, usb / port / f"{port}:1.0/host{one.number + 2}/target3:0:0/3:0:0:0/block", one)
            size = disk_size(one.device)
            part = _block(f"{one.name}1", None, size - GAP)
            blocks.append(
                _block(one.name, facts["product"], size, tran="usb", serial=one.device.serial) | {"children": [part]}
            )
    new = vm.guest_id.startswith("ubuntu")
    (root / "var/blocks.json").write_text(json.dumps({"blockdevices": _shown(blocks, new=new)}), encoding="utf-8")
    (root / "var/log/mounts").touch()
    mounting.write(
        root, [["22", "1", "8:2", "/", "/", "rw,relatime", "-", "xfs", "/dev/sda2", "rw"], *_mounts(devices)]
    )
    _programs(root, devices)
    pci.furnish(root, vm)
    cpus = "".join(f"processor\t: {number}\nmodel name\t: Virtual\n\n" for number in range(vm.cpus))
    (root / "proc/cpuinfo").write_text(cpus, encoding="utf-8")
    (root / "proc/meminfo").write_text(f"MemTotal:       {vm.memory_mb << 10} kB\nMemFree: 1 kB\n", encoding="utf-8")
    _command(commands / "lsusb", LSUSB.format(lines=shlex.quote("\n".join(lines))))
    _command(commands / "lsblk", _lsblk(root, blocks, new=new))
    for name in ("mount", "umount", "sync"):
        words = map(shlex.quote, (sys.executable, "-SE", mounting.__file__, name, str(root)))
        _command(commands / name, f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')


def _disk(root: Path, folder: Path, one: GuestDevice) -> None:
    """Lay out a disk with one partition in sysfs, and its nodes in /dev, which hold major and minor number here."""
    whole = disk_size(one.device)
    for at, (name, size) in enumerate({one.name: whole, f"{one.name}1": whole - GAP}.items()):
        place = folder / one.name if at == 0 else folder / one.name / name
        (place / "holders").mkdir(parents=True)
        numbers = f"8:{16 * one.number + at}\n"
        (place / "dev").write_text(numbers, encoding="utf-8")
        (place / "size").write_text(f"{size // 512}\n", encoding="utf-8")
        (root / "dev" / name).write_text(numbers, encoding="utf-8")
        if at:
            (place / "partition").write_text(f"{at}\n", encoding="utf-8")


def _mounts(devices: Sequence[GuestDevice]) -> list[list[str]]:
    return [
        mounting.line_of(f"/dev/{one.name}1", f"8:{16 * one.number + 1}", where, 10 * one.number + place)
        for one in devices for place, where in enumerate(one.mounts)
    ]  # fmt: skip


def _programs(root: Path, devices: Sequence[GuestDevice]) -> None:
    """Show the programs that hold mounts as procfs does."""
    for one in devices:
        for holder in one.holders:
            place = root / "proc" / str(holder.pid)
            (place / "fd").mkdir(parents=True)
            (place / "comm").write_text(f"{holder.program}\n", encoding="utf-8")
            (place / "cwd").symlink_to(one.mounts[0] if one.mounts else "/")


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


def _block(
    name: str, model: str | None, size: int, *, tran: str | None = None, serial: str | None = None
) -> dict[str, Any]:
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
if [ -n "$json" ]; then cat {data}; else printf '%s\\n' {table}; fi
"""


def _shown(blocks: list[dict[str, Any]], *, new: bool) -> list[dict[str, Any]]:
    """Return the rows as util-linux 2.32 (RHEL 8: text sizes, no MOUNTPOINTS) or 2.37 (Ubuntu 22.04) shows them."""
    rows = []
    for one in blocks:
        row = {key: value for key, value in one.items() if key not in {"mountpoint", "children"}}
        row |= (
            {"mountpoints": [one["mountpoint"]]} if new else {"mountpoint": one["mountpoint"], "size": str(one["size"])}
        )
        rows.append(row | ({"children": _shown(one["children"], new=new)} if "children" in one else {}))
    return rows


def _lsblk(root: Path, blocks: list[dict[str, Any]], *, new: bool) -> str:
    """Write lsblk as that release behaves; its rows stand in a file that `umount` keeps true."""
    table = "\n".join(" ".join(str(value or "") for key, value in one.items() if key != "children") for one in blocks)
    refusal = 'echo "lsblk: unknown column: $columns" >&2; exit 1'
    return LSBLK.format(
        mountpoints=":" if new else refusal,
        data=shlex.quote(str(root / "var/blocks.json")),
        table=shlex.quote(f"NAME TRAN SERIAL MODEL SIZE MOUNTPOINT\n{table}"),
    )


def _command(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
