"""Build the one program per guest family that lists its USB devices.

Guest operations give back no output, so it goes to a file. It is written beside that file and renamed when it is
complete, so that what is fetched is never half of it (reference vSphere 5).
"""

from __future__ import annotations

import base64
import shlex
from importlib.resources import files
from typing import Final

from passgate.connect.vsphere.guest_ops import Program
from passgate.errors import UnsupportedError
from passgate.model.inventory import GuestFamily

CMD_LIMIT: Final = 8191  # characters that cmd.exe takes on one line
SCRIPTS: Final = files("passgate.connect.guest")


def partial(output: str) -> str:
    """Return the path beside `output` that is written first."""
    return f"{output}.part"


def list_usb(family: GuestFamily, output: str) -> Program:
    """Return the program that lists USB devices into the file `output`. Raises UnsupportedError for other families."""
    if family is GuestFamily.WINDOWS:
        return windows(SCRIPTS.joinpath("usb.ps1").read_text(encoding="utf-8"), output)
    if family is GuestFamily.LINUX:
        return linux(SCRIPTS.joinpath("usb.sh").read_text(encoding="utf-8"), output)
    raise UnsupportedError(
        "Passgate can't list USB devices in a guest that is neither Windows nor Linux.",
        hint="Check by hand in the guest whether it sees the device.",
    )


def linux(script: str, output: str) -> Program:
    """Return a program for /bin/sh. Tools hand path and arguments to a shell, hence the second round of quoting."""
    target, part = shlex.quote(output), shlex.quote(partial(output))
    command = f"{{ {script.rstrip()}\n}} > {part} 2>&1 && mv {part} {target}"
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
