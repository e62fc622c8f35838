"""Hold the ESXi shell's connector to the same contract on parts that others wrote: OpenSSH's sshd and a POSIX shell.

ESXi runs OpenSSH and busybox ash. The tools below print published captures (reference vSphere 3), so neither the wire
nor the shell's grammar nor the formats are the lab's own. Left out where there is no sshd (Debian: openssh-server).
"""

from __future__ import annotations

import getpass
import io
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import paramiko
import pytest

from passgate.connect.esxi_shell import EsxiShell, ShellAccess
from passgate.errors import LoginError, RefusedError, TrustError, UnreachableError
from passgate.lab.esxi import new_private_key
from passgate.model.inventory import Arbitrator, HostId

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(SSHD is None, reason="no sshd here (Debian: openssh-server)")

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the stand-ins for ESXi's tools, and keys."""
    made = tmp_path_factory.mktemp("esxi")
    tools = made / "tools"
    tools.mkdir()
    for name, script in TOOLS.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}", encoding="utf-8")
        (tools / name).chmod(0o755)
    (made / "shell").write_text(SHELL.format(tools=tools), encoding="utf-8")
    (made / "shell").chmod(0o755)
    for name in ("host_key", "client_key"):
        (made / name).write_text(new_private_key(), encoding="utf-8")
        (made / name).chmod(0o600)
    (made / "authorized_keys").write_text(_public(made / "client_key"), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def access(folder: Path) -> Iterator[ShellAccess]:
    """Run sshd on a free port and return the way into it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(CONFIG.format(port=port, folder=folder), encoding="utf-8")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(
            exist_ok=True
        )  # where root's sshd drops its privileges; its package leaves it to systemd
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
    yield ShellAccess(
        user=getpass.getuser(),
        key=(folder / "client_key").read_text(encoding="utf-8"),
        known_hosts=f"{HOST.name} {_public(folder / 'host_key')}",
        addresses={HOST.name: f"127.0.0.1:{port}"},
        timeout=timedelta(seconds=10),
    )
    process.terminate()
    process.communicate(timeout=10)


@pytest.fixture
def shell(access: ShellAccess, folder: Path) -> Iterator[EsxiShell]:
    """Return a connector that may act, to a host whose arbitrator is stopped."""
    (folder / "tools/state").unlink(missing_ok=True)
    (folder / "tools/started").unlink(missing_ok=True)
    made = EsxiShell(access, authorize=lambda _action, _subject: None)
    yield made
    made.close()


def _public(path: Path) -> str:
    key = paramiko.Ed25519Key.from_private_key(io.StringIO(path.read_text(encoding="utf-8")))
    return f"{key.get_name()} {key.get_base64()}\n"


def test_captures_are_read_whole_over_openssh(shell: EsxiShell) -> None:
    """A reading joins lsusb with esxcli's table where this release knows no JSON; what failed is unknown."""
    reading = shell.read_usb(HOST)

    (disk,) = reading.devices
    assert (disk.vid_pid, disk.serial, disk.families) == ("152d:a576", "0123 4567 89AB", ("storage",))
    assert (disk.enabled, disk.can_connect, disk.offered) == (True, "yes", True)
    assert disk.boots_host is False  # offered by the arbitrator, so vmkernel does not have it
    assert [hub.serial for hub in reading.root_hubs] == ["0000:00:14.0"]
    assert (reading.arbitrator, reading.autostart) == (Arbitrator.STOPPED, True)


def test_the_arbitrator_is_started_once(shell: EsxiShell, folder: Path) -> None:
    """A start is sent once and seen by a fresh reading."""
    shell.start_arbitrator(HOST)

    assert shell.arbitrator(HOST) is Arbitrator.RUNNING
    assert len((folder / "tools/started").read_text(encoding="utf-8").splitlines()) == 1


def test_a_refused_command_tells_status_and_words(shell: EsxiShell) -> None:
    """Exit status and stderr come through."""
    with pytest.raises(RefusedError, match="ended with status 3 and said: Device or resource busy"):
        shell.stop_arbitrator(HOST)


def test_a_wrong_key_on_either_side_is_told(access: ShellAccess, folder: Path) -> None:
    """OpenSSH with another host key is not spoken to, and one that refuses our key is told as a refused login."""
    with pytest.raises(TrustError, match=r"showed the SSH host key ssh-ed25519 SHA256:"):
        EsxiShell(replace(access, known_hosts=f"{HOST.name} {_public(folder / 'client_key')}")).arbitrator(HOST)
    with pytest.raises(LoginError, match="refused the login"):
        EsxiShell(replace(access, key=new_private_key())).arbitrator(HOST)


def test_a_command_that_hangs_is_given_up(access: ShellAccess, folder: Path) -> None:
    """The timeout bounds a real process that says nothing, and the next reading works again."""
    tool = folder / "tools/usbarbitrator"
    script = tool.read_text(encoding="utf-8")
    hasty = EsxiShell(replace(access, timeout=timedelta(seconds=1)))
    try:
        tool.write_text("#!/bin/sh\nsleep 5\n", encoding="utf-8")
        with pytest.raises(UnreachableError, match="no answer in time"):
            hasty.arbitrator(HOST)
    finally:
        tool.write_text(script, encoding="utf-8")

    assert hasty.arbitrator(HOST) in {Arbitrator.RUNNING, Arbitrator.STOPPED}
    hasty.close()
