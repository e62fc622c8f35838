"""The lab's guests run what is sent to them: a Windows with PowerShell, a Linux with this machine's own shell."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from passgate.connect.guest.program import CMD_LIMIT, SCRIPTS, linux, list_usb, windows
from passgate.connect.guest.reading import of_linux, of_windows
from passgate.errors import UnsupportedError
from passgate.lab.guests import GuestMachines
from passgate.lab.hardware import VirtualUsb
from passgate.lab.inventory_seed import seeded_world, usb_controller
from passgate.lab.world import World
from passgate.model.guest import GuestUsb
from passgate.model.inventory import GuestFamily
from passgate.settings.shape import LabWorld

WINDOWS_OUT = r"C:\Windows\TEMP\vmware-SYSTEM\passgate1.out"
LINUX_OUT = "/tmp/vmware-root/passgate1.out"  # noqa: S108 - a path inside the guest
SHELLS = [name for name in ("sh", "dash", "bash", "busybox") if shutil.which(name)]


@pytest.fixture
def world() -> World:
    """Return the lab's world with no delays."""
    return seeded_world(LabWorld(power_seconds=0, boot_seconds=0, reconfigure_seconds=0, connect_seconds=0))


def attach(world: World, vm_name: str, pattern: str = "path:0/1/3") -> None:
    """Give the VM an xHCI controller and a host device on it."""
    vm = world.vm(vm_name)
    if vm.device(14000) is None:
        vm.devices.append(usb_controller("xhci"))
    key = 41000 + len(vm.usb)
    vm.devices.append(VirtualUsb("usb", key, 14000, key, "USB", "", pattern=pattern))
    world.changed()


def usb(world: World, vm_name: str) -> tuple[GuestUsb, ...]:
    """Run Passgate's own script in the guest, and read what it wrote."""
    is_windows = world.vm(vm_name).is_windows
    made = list_usb(GuestFamily.WINDOWS if is_windows else GuestFamily.LINUX, WINDOWS_OUT if is_windows else LINUX_OUT)
    files: dict[str, bytes] = {made.output: b""}
    assert GuestMachines(world).run(vm_name, made.path, made.arguments, files) == 0
    assert list(files) == [made.output]
    return (of_windows if is_windows else of_linux)(files[made.output].decode())


def powershell(world: World, script: str) -> tuple[int, str]:
    """Run a person's PowerShell in win-01."""
    made, files = windows(script, WINDOWS_OUT), dict[str, bytes]()
    code = GuestMachines(world).run("win-01", made.path, made.arguments, files)
    return code, next(iter(files.values())).decode()


def shell(world: World, script: str) -> str:
    """Run a person's shell script in lnx-01."""
    made, files = linux(script, LINUX_OUT), {LINUX_OUT: b""}
    GuestMachines(world).run("lnx-01", made.path, made.arguments, files)
    return b"".join(files.values()).decode()


@pytest.mark.parametrize("vm_name", ["win-01", "lnx-01", "lnx-02"])
def test_a_guest_sees_exactly_what_is_connected(world: World, vm_name: str) -> None:
    """Nothing before, the stick with serial and disk while it is connected, nothing after it was pulled."""
    vm = world.vm(vm_name)
    world.set_power(vm, "poweredOn")
    vm.host = world.host("esx-01.lab.example")
    assert usb(world, vm_name) == ()
    attach(world, vm_name)
    [seen] = usb(world, vm_name)
    assert (seen.vid_pid, seen.serial) == ("18a5:0302", "07A40901A2B3C4D5")
    assert "STORE N GO" in seen.name
    assert [disk.size for disk in seen.disks] == [15518924800]
    world.unplug(vm.host, "path:0/1/3")
    assert usb(world, vm_name) == ()


@pytest.mark.parametrize("vm_name", ["win-01", "lnx-01"])
def test_two_sticks_keep_their_own_disks(world: World, vm_name: str) -> None:
    """Each device has the disk with its own serial."""
    attach(world, vm_name)
    attach(world, vm_name, "path:0/2/1")
    seen = {one.serial: [disk.serial for disk in one.disks] for one in usb(world, vm_name)}
    assert seen == {serial: [serial] for serial in ("07A40901A2B3C4D5", "4C530001230101")}


def test_a_device_without_serial_has_none(world: World) -> None:
    """The dongle of lic-01 has no serial and no disk."""
    [seen] = usb(world, "lic-01")
    assert (seen.vid_pid, seen.serial, seen.disks) == ("0529:0001", None, ())


def test_nothing_runs_before_the_guest_has_booted() -> None:
    """A VM that is off, or boots, runs nothing and writes nothing."""
    world = seeded_world(LabWorld(boot_seconds=3600))
    world.set_power(world.vm("lnx-01"), "poweredOn")
    for vm_name in ("lnx-01", "win-02"):
        files: dict[str, bytes] = {}
        made = linux("echo here", LINUX_OUT)
        assert GuestMachines(world).run(vm_name, made.path, made.arguments, files) != 0
        assert files == {}
    world.close()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (
            r"Get-PnpDevice -PresentOnly | ? InstanceId -like 'USB\VID_18A5&PID_0302*' | Select Status,InstanceId",
            r"InstanceId : USB\VID_18A5&PID_0302\07A40901A2B3C4D5",
        ),
        (
            "Get-PnpDevice -Class DiskDrive -PresentOnly | Select -ExpandProperty FriendlyName",
            "Verbatim STORE N GO USB",
        ),
        ("Get-Disk | ? { $_.BusType -eq 'USB' -and -not $_.IsOffline } | Select Number,Size", "Size   : 15518924800"),
        ("Get-Disk -Number 1 | Get-Partition | Get-Volume | Select DriveLetter, FileSystem", "DriveLetter : E"),
        ("$d = Get-Disk | Where-Object BusType -eq 'USB'\n$d.SerialNumber", "07A40901A2B3C4D5"),
        ("Get-Disk -Number 1 | select @{n='GB';e={'{0}' -f $_.Size}}, Number", "GB     : 15518924800"),
        ('$word = "well"; Get-Disk -Number 1 | % { "all $word"; $_.OperationalStatus }', "all well"),
    ],
)
def test_powershell_as_people_write_it(world: World, script: str, expected: str) -> None:
    """Aliases, script blocks, calculated properties and plain output work too."""
    attach(world, "win-01")
    code, printed = powershell(world, script)
    assert code == 0
    assert expected in printed


def test_convert_to_json_writes_no_list_for_one_item(world: World) -> None:
    """As in Windows PowerShell 5.1: one object alone, two in a list, none nothing; ampersands escaped."""
    attach(world, "win-01")
    one = powershell(world, "Get-Disk | ? BusType -eq 'USB' | ConvertTo-Json")[1]
    two = powershell(world, "Get-Disk | ConvertTo-Json -Compress")[1]
    none = powershell(world, "Get-Disk | ? BusType -eq 'NVMe' | Get-Partition | ConvertTo-Json")[1]
    assert isinstance(json.loads(one), dict)
    assert isinstance(json.loads(two), list)
    assert none.strip() == ""
    assert "&" not in one + two


def test_what_powershell_does_not_know_fails_in_its_words(world: World) -> None:
    """The exit code is not 0, and the partial file tells why; it is not renamed."""
    code, printed = powershell(world, "Get-Pony | Select Name")
    assert code != 0
    assert "'Get-Pony' is not recognized" in printed


@pytest.mark.parametrize("program", [r"C:\Tools\x.exe", "/usr/bin/python3"])
def test_a_program_that_is_not_there_is_not_found(world: World, program: str) -> None:
    """Only what the guest has can be started; the exit code is the shell's own for that."""
    codes = [GuestMachines(world).run(vm_name, program, "", {}) for vm_name in ("win-01", "lnx-01")]
    assert codes == [9009, 127]


def test_linux_commands_as_people_type_them(world: World) -> None:
    """The guest's lsusb and lsblk answer like those of RHEL 8, which knows no MOUNTPOINTS."""
    attach(world, "lnx-01")
    assert "ID 18a5:0302 Verbatim STORE N GO" in shell(world, "lsusb -d 18a5:0302")
    blocks = json.loads(shell(world, "lsblk -J -o NAME,TRAN,SERIAL,MOUNTPOINT"))["blockdevices"]
    assert [(one["name"], one["tran"]) for one in blocks] == [("sda", None), ("sdb", "usb")]
    assert "unknown column" in shell(world, "lsblk -J -o NAME,MOUNTPOINTS")
    assert "mutually exclusive" in shell(world, "lsblk -O -o NAME")


def test_a_guest_has_nothing_of_the_labs_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the lab's own process are not seen inside."""
    monkeypatch.setenv("PASSGATE_LAB_WORD", "seen-outside")
    assert "seen-outside" not in shell(world, "env")


@pytest.mark.parametrize("name", SHELLS)
def test_the_script_runs_in_every_shell_on_this_machines_own_devices(name: str) -> None:
    """On the real /sys, each shell runs the script without a complaint and with a whole answer."""
    words = [name, "sh"] if name == "busybox" else [name]
    script = SCRIPTS.joinpath("usb.sh").read_text(encoding="utf-8")
    done = subprocess.run([*words, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert isinstance(of_linux(done.stdout), tuple)


def test_the_script_falls_back_on_lsusb_and_says_when_there_is_nothing(tmp_path: Path) -> None:
    """Without a mounted sysfs lsusb is asked; without that, the answer is that nobody knows."""
    script = SCRIPTS.joinpath("usb.sh").read_text(encoding="utf-8")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PASSGATE_SYSFS": str(tmp_path / "none")}
    command = tmp_path / "lsusb"
    command.write_text("#!/bin/sh\necho 'Bus 001 Device 002: ID 0529:0001 Aladdin HASP'\n")
    command.chmod(0o755)
    done = subprocess.run(["/bin/sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert [one.vid_pid for one in of_linux(done.stdout)] == ["0529:0001"]
    command.write_text("#!/bin/sh\nexit 127\n")
    done = subprocess.run(["/bin/sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
    with pytest.raises(UnsupportedError):
        of_linux(done.stdout)


def test_programs_fit_their_shells() -> None:
    """The encoded script fits cmd.exe's line and decodes to itself; a path with a quote is one word for sh."""
    made = list_usb(GuestFamily.WINDOWS, WINDOWS_OUT)
    assert len(made.arguments) < CMD_LIMIT
    encoded = made.arguments.split("-EncodedCommand ")[1].split(" ")[0]
    assert base64.b64decode(encoded).decode("utf-16-le") == SCRIPTS.joinpath("usb.ps1").read_text(encoding="utf-8")
    with pytest.raises(UnsupportedError):
        windows("x" * CMD_LIMIT, WINDOWS_OUT)
    with pytest.raises(UnsupportedError):
        list_usb(GuestFamily.OTHER, LINUX_OUT)
    with pytest.raises(UnsupportedError):
        list_usb(GuestFamily.OTHER, WINDOWS_OUT)


def test_a_strange_path_stays_one_word(tmp_path: Path) -> None:
    """Quotes and spaces in the output's path do no harm, although two shells read the line."""
    target = tmp_path / 'it\'s a "file" $HOME'
    made = linux("echo 'said'", str(target))
    subprocess.run(["/bin/sh", "-c", f"{made.path} {made.arguments}"], check=True, timeout=10)
    assert target.read_text() == "said\n"
