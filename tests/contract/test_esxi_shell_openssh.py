"""Hold the ESXi shell's connector to the same contract on parts that others wrote: OpenSSH's sshd and a POSIX shell."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from passgate.connect.esxi_shell import EsxiShell, ShellAccess
from passgate.errors import LoginError, RefusedError, TrustError, UnreachableError
from passgate.lab.esxi import new_private_key
from passgate.model.inventory import Arbitrator
from tests.contract.esxi_of_openssh import HOST, openssh, prepare, public, put_tools
from tests.independent.parts import missing


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the stand-ins for ESXi's tools, and keys."""
    made = tmp_path_factory.mktemp("esxi")
    prepare(made)
    return made


@pytest.fixture(scope="module")
def access(folder: Path) -> Iterator[ShellAccess]:
    """Run sshd and return the way into it."""
    with openssh(folder) as access:
        yield access


@pytest.fixture
def shell(access: ShellAccess, folder: Path) -> Iterator[EsxiShell]:
    """Return a connector that may act, to a host whose arbitrator is stopped."""
    (folder / "tools/state").unlink(missing_ok=True)
    (folder / "tools/started").unlink(missing_ok=True)
    made = EsxiShell(access, authorize=lambda _action, _subject: None)
    yield made
    made.close()


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
        EsxiShell(replace(access, known_hosts=f"{HOST.name} {public(folder / 'client_key')}")).arbitrator(HOST)
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


DAEMON = """\
here="$(dirname "$0")"
case "$1" in
start) "$here/../daemons/{name}" </dev/null >/dev/null 2>&1 & echo $! >"$here/{name}.pid";;
stop) kill "$(cat "$here/{name}.pid")" && rm "$here/{name}.pid";;
esac
"""
"""An init script; the daemon is a process of its own that goes on when the shell has ended."""


def test_a_daemon_is_seen_stopped_and_kept_from_starting(shell: EsxiShell, folder: Path) -> None:
    """What the list of processes says is the machine's own word; a stop that fails tells status and words."""
    if shutil.which("busybox") is None:
        missing("There is no busybox here", "install Debian's busybox or busybox-static")
    name = f"pcscd-{os.getpid()}"  # other suites may run beside this one
    daemon = folder / "daemons" / name
    daemon.parent.mkdir()
    daemon.write_text("#!/bin/sh\nwhile :; do sleep 1; done\n", encoding="utf-8")
    daemon.chmod(0o755)
    chkconfig = '[ "$2" = --list ] && echo "$1 on" || echo "$1 $2" >"$(dirname "$0")/policy"\n'
    put_tools(folder, {name: DAEMON.format(name=name), "ps": "exec busybox ps\n", "chkconfig": chkconfig})
    assert shell.process_runs(HOST, name) is False

    shell.start_service(HOST, name)
    assert shell.process_runs(HOST, name) is True

    shell.stop_service(HOST, name)
    assert shell.process_runs(HOST, name) is False
    shell.set_service_policy(HOST, name, "off")
    assert (folder / "tools/policy").read_text(encoding="utf-8") == f"{name} off\n"
    with pytest.raises(RefusedError, match=r"ended with status \d+ and said: .*No such file"):
        shell.stop_service(HOST, name)
