"""Hold the ESXi shell's connector to its contract, over real SSH against the lab's shells."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from passgate.connect.esxi_shell import EsxiShell, ShellAccess
from passgate.errors import (
    ConfigError,
    LoginError,
    NotAuthorizedError,
    PassgateError,
    RefusedError,
    TrustError,
    UnreachableError,
)
from passgate.lab.esxi import CONNECT, EXEC, EsxiShells, new_private_key
from passgate.lab.hardware import Fault, HostUsb
from passgate.lab.inventory_seed import seeded_world
from passgate.lab.world import World
from passgate.model.inventory import Arbitrator, HostId

ESX_01, ESX_02, ESX_03 = (
    HostId(ref=f"host-1{number}", name=f"esx-0{number}.lab.example", uuid="") for number in (1, 2, 3)
)


@pytest.fixture
def world() -> Iterator[World]:
    """Return a world of its own."""
    made = seeded_world()
    yield made
    made.close()


@pytest.fixture
def shells(world: World) -> Iterator[EsxiShells]:
    """Serve that world's shells."""
    served = EsxiShells(world)
    served.start()
    yield served
    served.stop()


@pytest.fixture
def access(shells: EsxiShells) -> ShellAccess:
    """Return the right way into the shells."""
    return ShellAccess(
        user="root",
        key=shells.private_key,
        known_hosts=shells.known_hosts,
        addresses=shells.addresses,
        timeout=timedelta(seconds=10),
    )


@pytest.fixture
def asked() -> list[tuple[str, str]]:
    """Return what authority was asked for."""
    return []


@pytest.fixture
def shell(access: ShellAccess, asked: list[tuple[str, str]]) -> Iterator[EsxiShell]:
    """Return a connector that may change hosts and notes what it asked for."""
    made = EsxiShell(access, authorize=lambda action, subject: asked.append((action, subject)))
    yield made
    made.close()


def test_a_reading_shows_every_device_with_its_serial_and_class(shell: EsxiShell) -> None:
    """One reading tells ids, names, serials, classes, what may be passed through, and the boot stick."""
    reading = shell.read_usb(ESX_01)
    devices = {one.vid_pid: one for one in reading.devices}

    assert (reading.arbitrator, reading.autostart) == (Arbitrator.RUNNING, True)
    assert devices.keys() == {"18a5:0302", "0781:5583", "0930:6544", "05e3:0608", "046d:c31c"}
    verbatim = devices["18a5:0302"]
    assert (verbatim.bus, verbatim.device, verbatim.name) == (1, 3, "Verbatim STORE N GO")
    assert (verbatim.serial, verbatim.families) == ("07A40901A2B3C4D5", ("storage",))
    assert (verbatim.offered, verbatim.enabled, verbatim.boots_host) == (True, True, False)
    assert (devices["0930:6544"].boots_host, devices["0930:6544"].offered) == (True, False)
    assert devices["05e3:0608"].families == ("hub",)
    assert devices["046d:c31c"].families == ("hid", "hid_bootable")
    assert {hub.serial for hub in reading.root_hubs} == {"0000:00:14.0"}


def test_a_reading_with_a_stopped_arbitrator_says_so(shell: EsxiShell) -> None:
    """Devices are seen but none is offered, and esxcli's reason is kept."""
    reading = shell.read_usb(ESX_03)

    assert (reading.arbitrator, reading.autostart) == (Arbitrator.STOPPED, False)
    assert {one.can_connect for one in reading.devices} == {"no (usbarbitrator is not running)", ""}
    assert not any(one.offered or one.boots_host for one in reading.devices)


def test_twins_are_told_apart_by_number_and_have_no_serial(shell: EsxiShell) -> None:
    """Two dongles of one kind without serials stay two devices."""
    twins = [one for one in shell.read_usb(ESX_02).devices if one.vid_pid == "0529:0001"]

    assert [(one.device, one.serial) for one in twins] == [(2, None), (3, None)]


def test_two_sticks_that_may_be_the_boot_disk_are_both_not_known(shell: EsxiShell, world: World) -> None:
    """Where SCSI strings can't tell, neither stick is said to be, or not to be, the one that ESXi boots from."""
    world.plug(world.hosts[0], HostUsb(0x0930, 0x6544, "Toshiba TransMemory", "0/1/8", "X", 1, 9, ("storage",)))
    world.stop_arbitrator(world.hosts[0])

    sticks = {one.serial: one.boots_host for one in shell.read_usb(ESX_01).devices if "storage" in one.families}

    assert sticks == {"C03FD5F7713E": None, "X": None, "07A40901A2B3C4D5": False, "4C530001230101": False}


def test_hostile_strings_come_through_as_they_are(shell: EsxiShell, world: World) -> None:
    """A device's own strings are data: quotes, shell words and other scripts change nothing."""
    serial = "'; reboot; \"$(x)` 日本 🔌"
    world.plug(world.hosts[1], HostUsb(0x1234, 0x5678, "Ünïcode $? Stick", "0/1/9", serial, 1, 9, ("storage",)))

    (found,) = (one for one in shell.read_usb(ESX_02).devices if one.vid_pid == "1234:5678")

    assert (found.name, found.serial) == ("Ünïcode $? Stick", serial)
    assert world.mutations == []


def test_the_arbitrator_is_started_and_stopped_with_authority(
    shell: EsxiShell, world: World, asked: list[tuple[str, str]]
) -> None:
    """Each change asks for authority by action and host, acts once, and is seen by a fresh reading."""
    shell.start_arbitrator(ESX_03)
    assert shell.arbitrator(ESX_03) is Arbitrator.RUNNING
    shell.stop_arbitrator(ESX_03)
    assert shell.arbitrator(ESX_03) is Arbitrator.STOPPED

    assert asked == [("start_arbitrator", "host:host-13"), ("stop_arbitrator", "host:host-13")]
    assert [(one.method, one.object) for one in world.mutations] == [
        ("/etc/init.d/usbarbitrator start", ESX_03.name),
        ("/etc/init.d/usbarbitrator stop", ESX_03.name),
    ]


def test_without_authority_nothing_is_sent(access: ShellAccess, world: World) -> None:
    """A connector that was made for reading refuses changes; no command leaves, and reading goes on."""
    reader = EsxiShell(access)

    with pytest.raises(NotAuthorizedError, match=r"start_arbitrator on host:host-13 was not sent"):
        reader.start_arbitrator(ESX_03)

    assert world.mutations == []
    assert reader.arbitrator(ESX_03) is Arbitrator.STOPPED
    reader.close()


def test_acting_under_an_authority_shares_connections_and_nothing_else(access: ShellAccess, world: World) -> None:
    """A reader lends its connections to one that may act, and stays a reader itself."""
    reader = EsxiShell(access)
    reader.arbitrator(ESX_03)
    world.inject(Fault(CONNECT, fault="Disconnect"))  # a second connection would be refused
    asked: list[str] = []

    reader.acting_under(lambda action, _: asked.append(action)).start_arbitrator(ESX_03)

    assert asked == ["start_arbitrator"]
    with pytest.raises(NotAuthorizedError):
        reader.stop_arbitrator(ESX_03)
    reader.close()


def test_a_kept_connection_is_used_again_and_made_anew_when_it_broke(shell: EsxiShell, world: World) -> None:
    """Many readings need one login; after the host hung up, the next reading logs in again by itself."""
    shell.arbitrator(ESX_01)
    world.inject(Fault(CONNECT, fault="Disconnect"))  # a second connection would be refused
    assert shell.arbitrator(ESX_01) is Arbitrator.RUNNING
    world.clear_faults()

    world.inject(Fault(EXEC, fault="Disconnect"))
    with pytest.raises(UnreachableError, match="broke before it had answered"):
        shell.arbitrator(ESX_01)

    assert shell.arbitrator(ESX_01) is Arbitrator.RUNNING


def test_a_change_whose_answer_is_lost_is_not_sent_again(shell: EsxiShell, world: World) -> None:
    """When the connection breaks after a change was sent, the error says that its outcome is not known."""
    world.inject(Fault(EXEC, fault="DisconnectAfter"))

    with pytest.raises(UnreachableError) as told:
        shell.start_arbitrator(ESX_03)

    assert "not known whether the command was carried out" in told.value.hint
    assert len(world.mutations) == 1
    assert shell.arbitrator(ESX_03) is Arbitrator.RUNNING


def test_an_answer_that_was_cut_off_is_asked_for_again(shell: EsxiShell, world: World) -> None:
    """A reading that lost its end is read once more; if it is cut again, nothing is made of the half."""
    world.inject(Fault(EXEC, fault="Truncate"))
    assert len(shell.read_usb(ESX_01).devices) == 5

    world.inject(Fault(EXEC, fault="Truncate", times=2))
    with pytest.raises(UnreachableError, match=r"gave \d of 6 answers, then stopped"):
        shell.read_usb(ESX_01)


def test_a_refused_command_tells_status_and_words(shell: EsxiShell, world: World) -> None:
    """A command that fails is an error with what the host said."""
    world.inject(Fault(EXEC, fault="exit 3", message="Device or resource busy"))

    with pytest.raises(RefusedError, match="ended with status 3 and said: Device or resource busy"):
        shell.start_arbitrator(ESX_03)


def test_a_host_that_hangs_is_given_up(access: ShellAccess, world: World) -> None:
    """No answer within the timeout is an error that is safe to repeat, not a wait without end."""
    hasty = EsxiShell(replace(access, timeout=timedelta(seconds=0.3)))
    world.inject(Fault(EXEC, delay=1.5))

    with pytest.raises(UnreachableError, match="no answer in time") as told:
        hasty.arbitrator(ESX_01)

    assert told.value.safe_to_repeat
    hasty.close()


def test_tools_that_are_missing_leave_things_unknown(shell: EsxiShell, world: World) -> None:
    """A host that answers nothing useful gives an empty reading with UNKNOWN in it, not a healthy one."""
    world.inject(Fault(EXEC, fault="exit 127", message="sh: usbarbitrator: not found"))

    assert shell.arbitrator(ESX_01) is Arbitrator.UNKNOWN


def test_another_host_key_is_refused_with_both_fingerprints(access: ShellAccess, shells: EsxiShells) -> None:
    """A host that shows another key than the pinned one is not spoken to; the message lets a person compare."""
    esx_01, esx_02, _ = shells.known_hosts.splitlines()
    swapped = f"{esx_01.split()[0]} {' '.join(esx_02.split()[1:])}"
    shell = EsxiShell(replace(access, known_hosts=swapped))

    with pytest.raises(TrustError) as told:
        shell.arbitrator(ESX_01)

    assert told.value.message.count("ssh-ed25519 SHA256:") == 2
    assert "Nothing was sent" in told.value.message


def test_a_host_without_a_pinned_key_is_not_asked(access: ShellAccess) -> None:
    """Keys are never taken on trust."""
    with pytest.raises(TrustError, match=r"No SSH host key is pinned for esx-01\.lab"):
        EsxiShell(replace(access, known_hosts="# none yet\n")).arbitrator(ESX_01)


@pytest.mark.parametrize(
    "line", ["esx-01", "esx-01 ssh-ed25519 !!!", "@revoked esx-01 ssh-ed25519 AAAA", "a b c", "esx-01 ssh-dss AAAA"]
)
def test_a_malformed_pin_is_named_and_not_passed_over(access: ShellAccess, line: str) -> None:
    """A line that can't be used is an error: somebody believes that it pins a key."""
    with pytest.raises(ConfigError, match="Line 4 of the known_hosts text"):
        EsxiShell(replace(access, known_hosts=f"{access.known_hosts}{line}\n")).arbitrator(ESX_01)


@pytest.mark.parametrize(
    "wrong",
    [{"key": None, "password": "wrong"}, {"key": None}, {"key": "new"}, {"user": "nobody"}],
    ids=["password", "nothing", "key", "user"],
)
def test_a_refused_login_says_what_to_check_and_no_secret(access: ShellAccess, wrong: dict[str, str | None]) -> None:
    """Wrong user, key or password is a LoginError without the secret in it."""
    given = {**wrong, "key": new_private_key()} if wrong.get("key") == "new" else wrong

    with pytest.raises(LoginError, match="refused the login of") as told:
        EsxiShell(replace(access, **given)).arbitrator(ESX_01)  # type: ignore[arg-type] # fields of several types

    assert "wrong" not in told.value.message + told.value.hint


def test_a_password_alone_suffices(access: ShellAccess, shells: EsxiShells) -> None:
    """Where there is no key, the password logs in."""
    shell = EsxiShell(replace(access, key=None, password=shells.password))

    assert shell.arbitrator(ESX_01) is Arbitrator.RUNNING
    shell.close()


def test_a_key_that_is_none_is_a_mistake_in_config(access: ShellAccess) -> None:
    """Text that is no private key is named as such, and not shown."""
    with pytest.raises(ConfigError) as told:
        EsxiShell(replace(access, key="secret text")).arbitrator(ESX_01)

    assert "secret text" not in told.value.message + told.value.hint


def test_secrets_stay_out_of_what_is_printed(access: ShellAccess) -> None:
    """Neither key nor password is in the text of the access data."""
    assert "PRIVATE KEY" not in repr(replace(access, password="hunter2")) + str(access)
    assert "hunter2" not in repr(replace(access, password="hunter2"))


def test_a_host_whose_ssh_is_off_is_unreachable(shell: EsxiShell, world: World) -> None:
    """TSM-SSH that does not run is told as no answer, with the service's name."""
    world.host(ESX_01.name).services["TSM-SSH"].running = False

    with pytest.raises(UnreachableError, match="did not answer at 127") as told:
        shell.arbitrator(ESX_01)

    assert "TSM-SSH" in told.value.hint


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\xff" * 600], ids=str)
def test_something_else_at_the_port_is_unreachable(access: ShellAccess, answer: bytes) -> None:
    """A closed port, or a service that is no SSH server, is an error in words."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        stranger = replace(
            access, addresses={ESX_01.name: f"127.0.0.1:{port}"}, timeout=timedelta(seconds=3)
        )  # fmt: skip
        with pytest.raises(UnreachableError, match="did not answer at") as told:
            EsxiShell(stranger).arbitrator(ESX_01)
    with pytest.raises(UnreachableError):  # now nothing listens at all
        EsxiShell(stranger).arbitrator(ESX_01)
    assert "Traceback" not in told.value.message


@pytest.mark.parametrize("entry", [":22", "127.0.0.1:ssh", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1:٢٢"])
def test_a_malformed_address_is_a_mistake_in_config(access: ShellAccess, entry: str) -> None:
    """An address that can't be used is named."""
    with pytest.raises(ConfigError, match="The shell address of"):
        EsxiShell(replace(access, addresses={ESX_01.name: entry})).arbitrator(ESX_01)


def test_several_threads_share_a_connector(shell: EsxiShell) -> None:
    """Readings from several threads at once are all whole."""
    seen: list[int] = []
    failed: list[PassgateError] = []

    def read() -> None:
        try:
            seen.extend(len(shell.read_usb(host).devices) for host in (ESX_01, ESX_02, ESX_03))
        except PassgateError as error:
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert sorted(seen) == sorted([5, 4, 2] * 6)
