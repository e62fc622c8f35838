"""Build the programs that run in guests, one script per purpose and guest family.

Guest operations give back no output, so it goes to a file. It is written beside that file and renamed when it is
complete, so that what is fetched is never half of it (reference vSphere 5).
"""

from __future__ import annotations

import base64
import re
import shlex
from dataclasses import replace
from importlib.resources import files
from typing import Final

from passgate.connect.vsphere.guest_ops import Program
from passgate.errors import UnsupportedError
from passgate.model.guest import GuestDisk, GuestUsb
from passgate.model.inventory import GuestFamily

QUOTES: Final = re.compile("['\u2018-\u201b]")
"""What PowerShell takes for a single quote: the typographic ones too."""
WINDOWS_DISK: Final = re.compile(r"Disk ([0-9]{1,5})")
BACKSLASH: Final = "\\"
CMD_LIMIT: Final = 8191  # characters that cmd.exe takes on one line
SCRIPTS: Final = files("passgate.connect.guest")


def partial(output: str) -> str:
    """Return the path beside `output` that is written first."""
    return f"{output}.part"


def list_usb(family: GuestFamily, output: str) -> Program:
    """Return the program that lists USB devices into the file `output`. Raises UnsupportedError for other families."""
    return _script("usb", family, output, "list USB devices")


def list_pci(family: GuestFamily, output: str) -> Program:
    """Return the program that lists PCI functions into the file `output`; errors as `list_usb`."""
    return _script("pci", family, output, "list PCI functions")


def count_hardware(family: GuestFamily, output: str) -> Program:
    """Return the program that counts CPUs and memory into the file `output`; errors as `list_usb`."""
    return _script("hardware", family, output, "count CPUs and memory")


def release(family: GuestFamily, device: GuestUsb, disk: GuestDisk, output: str) -> Program:
    """Return the program that takes a disk out of use in the guest, never by force."""
    doing = f"release {disk.name}"
    return _script("release", family, output, doing, _names(family, device, disk), changes=True)


def take_back(family: GuestFamily, device: GuestUsb, disk: GuestDisk, output: str) -> Program:
    """Return the program that mounts again what the reading `disk` shows mounted."""
    names = _names(family, device, disk)
    if family is GuestFamily.WINDOWS:
        rows = (f"@{{ part = {one.part:d}; where = {quoted(one.where + BACKSLASH)} }}" for one in disk.mounts)
        names += f"$mounts = @({', '.join(rows)})\n"
    else:
        words = (str(word) for one in disk.mounts for word in (one.part, one.where, one.kind, one.options))
        names += f"set -- {shlex.join(words)}\n"
    return _script("take_back", family, output, f"bring {disk.name} back", names, changes=True)


def _script(
    name: str, family: GuestFamily, output: str, doing: str, before: str = "", *, changes: bool = False
) -> Program:
    """Return the program of that script, with what is set before it."""
    kinds = {GuestFamily.WINDOWS: (windows, "ps1"), GuestFamily.LINUX: (linux, "sh")}
    if family not in kinds:
        raise UnsupportedError(
            f"Passgate can't {doing} in a guest that is neither Windows nor Linux.",
            hint="Do it, or check it, by hand in the guest.",
        )
    make, ending = kinds[family]
    text = SCRIPTS.joinpath(f"{name}.{ending}").read_text(encoding="utf-8")
    return replace(make(before + text, output), doing=doing, changes=changes)


def _names(family: GuestFamily, device: GuestUsb, disk: GuestDisk) -> str:
    """Say to the script which disk is meant, quoted as its shell wants it: serials are whatever a maker wrote."""
    if family is GuestFamily.WINDOWS:
        number = WINDOWS_DISK.fullmatch(disk.name)
        if number is None:
            raise UnsupportedError(f"{disk.name!r} is no name of a disk in Windows.", subject=disk.name)
        return f"$number = {int(number[1])}\n$unique = {quoted(disk.unique)}\n"
    names = {
        "vendor": f"{device.vendor:04x}", "product": f"{device.product:04x}", "serial": device.serial or "",
        "disk": disk.name,
    }  # fmt: skip
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in names.items())


def quoted(text: str) -> str:
    """Return a PowerShell string literal: in single quotes, of which each of PowerShell's five kinds is doubled."""
    return "'" + QUOTES.sub(r"\g<0>\g<0>", text) + "'"


def linux(script: str, output: str) -> Program:
    """Return a program for /bin/sh. Tools hand path and arguments to a shell, hence the second round of quoting.

    The script has a shell of its own, so that its `exit` leaves only that.
    """
    target, part = shlex.quote(output), shlex.quote(partial(output))
    command = f"( {script.rstrip()}\n) > {part} 2>&1 && mv {part} {target}"
    return Program("/bin/sh", f"-c {shlex.quote(command)}", output, partial(output))


def windows(script: str, output: str) -> Program:
    """Return a program for PowerShell under cmd.exe, the script encoded so that no shell in between reads it."""
    encoded = base64.b64encode(script.encode("utf-16-le")).decode("ascii")
    arguments = (
        f"/c powershell -NoProfile -NonInteractive -OutputFormat Text -EncodedCommand {encoded}"
        f' > "{partial(output)}" 2>&1 && move /y "{partial(output)}" "{output}"'
    )
    if len(arguments) > CMD_LIMIT:
        raise UnsupportedError(f"The script is too long for cmd.exe: {len(arguments)} of {CMD_LIMIT} characters.")
    return Program(r"C:\Windows\System32\cmd.exe", arguments, output, partial(output))
