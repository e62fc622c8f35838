"""Let tests act inside the lab's guests as somebody who works there: mount a disk, keep it busy, let it go.

{"act": "mount", "where"}       mount its first partition (Linux), or bring the disk online with that letter (Windows)
{"act": "unmount", "where"}     unmount it by hand; on Windows take the disk offline
{"act": "hold", "program"}      let a program keep it busy
{"act": "let-go"}               end all programs that keep it busy
"""

from __future__ import annotations

from typing import Any

from passgate.lab.guest_devices import FIRST_PID, GuestDevice, Holder
from passgate.lab.hardware import LabVm

Json = dict[str, Any]


def act(vm: LabVm, device: GuestDevice, asked: Json) -> None:
    """Do what was asked. Raises LookupError for what such a guest can't do, ValueError for an act that is unknown."""
    if not device.is_disk:
        raise LookupError(f"{device.device.name} is no disk.")
    match asked["act"]:
        case "mount" if vm.is_windows:
            device.offline = device.dismounted = False
            device.letter = str(asked.get("where", device.letter or "E"))[:1]
        case "mount":
            device.mounts = [*device.mounts, str(asked["where"])]
        case "unmount" if vm.is_windows:
            device.offline = True
        case "unmount":
            device.mounts = [one for one in device.mounts if one != asked.get("where", one)]
        case "hold":
            program = str(asked.get("program", "rsync"))
            device.holders = [*device.holders, Holder(FIRST_PID + len(device.holders), program)]
        case "let-go":
            device.holders = []
        case other:
            raise ValueError(f"no act {other!r}; there are mount, unmount, hold, let-go")


def state(vm: LabVm, device: GuestDevice) -> Json:
    """Return what the guest does with the device; `where` is empty if it may be taken away."""
    return {
        "path": device.device.path,
        "name": device.name if not vm.is_windows else f"Disk {device.number}",
        "where": device.in_use(vm),
        "offline": device.offline or device.dismounted,
        "holders": [one.program for one in device.holders],
    }
