"""Run OpenSSH's server as an ESXi host's: its shell is this machine's /bin/sh, its tools print what they are given.

ESXi runs OpenSSH and busybox ash. The tools of TOOLS print published captures (reference vSphere 3), so neither the
wire nor the shell's grammar nor the formats are the lab's own.
"""

from __future__ import annotations

import getpass
import io
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import paramiko
import pytest

from passgate.connect.esxi_shell import ShellAccess
from passgate.lab.esxi import new_private_key
from passgate.model.inventory import HostId
from tests.independent.parts import missing

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

HOST = HostId(ref="host-1", name="esx-a.example", uuid="")
TOOLS = {
    "lsusb": """\
cat <<'END'

Bus 001 Device 001: ID 0e0f:8003 VMware, Inc. Root Hub
  bDeviceClass            9 Hub
  bDeviceSubClass         0
  iSerial                 1 0000:00:14.0

Bus 001 Device 002: ID 152d:a576 JMicron Technology Corp. / JMicron USA Technology Corp.
      bInterfaceClass         8 Mass Storage
      bInterfaceSubClass      6 SCSI
  iSerial                 3 0123 4567 89AB
END
""",
    "esxcli": """\
case "$*" in
--formatter*) echo "Invalid value for option --formatter" >&2; exit 1;;
*passthrough*) cat <<'END'
Bus  Dev  VendorId  ProductId  Enabled  Can Connect to VM          Name
---  ---  --------  ---------  -------  -------------------------  ----------------------------
1    2    152d      a576       true     yes                        JMicron Technology Corp. / JMicron USA Technology
                                                                   Corp.
END
;;
*) exit 1;;
esac
""",
    "chkconfig": 'echo "$1          on"\n',
    "usbarbitrator": """\
state="$(dirname "$0")/state"
case "$1" in
status) [ -e "$state" ] && echo "usbarbitrator is running" || { echo "usbarbitrator is stopped"; exit 3; };;
start) echo $$ >> "$(dirname "$0")/started"; touch "$state";;
stop) echo "Device or resource busy" >&2; exit 3;;
esac
""",
}
SHELL = """\
#!/bin/sh
export PATH="{tools}:/usr/bin:/bin"
exec /bin/sh -c "$(printf %s "$SSH_ORIGINAL_COMMAND" | sed 's#/etc/init.d/#{tools}/#g')"
"""
CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
ForceCommand {folder}/shell
PermitRootLogin prohibit-password
PidFile none
StrictModes no
UsePAM no
"""


def showing(vid_pid: str, serial: str, name: str, kind: str = "8 Mass Storage") -> dict[str, str]:
    """Return the tools of a host with one device of that interface class, which its arbitrator offers."""
    vendor, _, product = vid_pid.partition(":")
    return {
        **TOOLS,
        "lsusb": f"""\
cat <<'END'
Bus 001 Device 001: ID 0e0f:8003 VMware, Inc. Root Hub
  iSerial                 1 0000:00:14.0

Bus 001 Device 002: ID {vid_pid} {name}
      bInterfaceClass         {kind}
  iSerial                 3 {serial}
END
""",
        "esxcli": f"""\
case "$*" in
"hardware usb passthrough device list") cat <<'END'
Bus  Dev  VendorId  ProductId  Enabled  Can Connect to VM          Name
---  ---  --------  ---------  -------  -------------------------  ----------------------------
1    2    {vendor.lstrip("0"):8}  {product.lstrip("0"):9}  true     yes (passthrough enabled)  {name}
END
;;
*) exit 1;;
esac
""",
    }


def prepare(made: Path, tools: Mapping[str, str] = TOOLS) -> None:
    """Put keys and a shell with these tools into an empty folder; `openssh` serves it."""
    (made / "tools").mkdir()
    put_tools(made, tools)
    (made / "shell").write_text(SHELL.format(tools=made / "tools"), encoding="utf-8")
    (made / "shell").chmod(0o755)
    for name in ("host_key", "client_key"):
        (made / name).write_text(new_private_key(), encoding="utf-8")
        (made / name).chmod(0o600)
    (made / "authorized_keys").write_text(public(made / "client_key"), encoding="utf-8")


def put_tools(made: Path, tools: Mapping[str, str]) -> None:
    """Put these tools into a folder that was prepared, in place of those of the same names."""
    for name, script in tools.items():
        (made / "tools" / name).write_text(f"#!/bin/sh\n{script}", encoding="utf-8")
        (made / "tools" / name).chmod(0o755)


@contextmanager
def openssh(folder: Path, *names: str) -> Iterator[ShellAccess]:
    """Run sshd on a free port and return the way into it, as the shell of the hosts of these names."""
    names = names or (HOST.name,)
    if SSHD is None:
        missing("There is no sshd here", "install Debian's openssh-server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(CONFIG.format(port=port, folder=folder), encoding="utf-8")
    if os.geteuid() == 0:
        # Where root's sshd drops its privileges; its package leaves it to systemd.
        Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [str(SSHD), "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"sshd did not start: {process.communicate()[1]}")
            time.sleep(0.02)
    try:
        yield ShellAccess(
            user=getpass.getuser(),
            key=(folder / "client_key").read_text(encoding="utf-8"),
            known_hosts="".join(f"{name} {public(folder / 'host_key')}" for name in names),
            addresses=dict.fromkeys(names, f"127.0.0.1:{port}"),
            timeout=timedelta(seconds=10),
        )
    finally:
        process.terminate()
        process.communicate(timeout=10)


def public(path: Path) -> str:
    """Return the public half of a key, as authorized_keys and known_hosts have it."""
    key = paramiko.Ed25519Key.from_private_key(io.StringIO(path.read_text(encoding="utf-8")))
    return f"{key.get_name()} {key.get_base64()}\n"
