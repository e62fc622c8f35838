"""The lab refuses what real vSphere refuses about USB, and `connected` means what it means there (vsphere.md 1)."""

from __future__ import annotations

import ssl
import time
import urllib.request
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim

from passgate.lab.hardware import HostUsb
from tests.contract.lab_vcenter import FAST, D, Lab, running_lab, stick, within, xhci

ESX_01, ESX_02, ESX_03 = (f"esx-0{n}.lab.example" for n in (1, 2, 3))
VERBATIM = "path:0/1/3"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Run a lab of the test's own."""
    with running_lab(tmp_path) as lab:
        yield lab


def connected(lab: Lab, name: str = "win-01") -> bool:
    """Say whether vCenter shows a connected USB device."""
    return any(one.connected for one in lab.usb(name))


def stays_apart(lab: Lab, name: str = "win-01") -> bool:
    """Say whether the VM's device is not connected though there was far more time than that takes."""
    time.sleep(3 * FAST.connect_seconds)
    return not connected(lab, name)


def offers(lab: Lab, host: str) -> list[Any]:
    """Return what the host's arbitrator offers."""
    lab_host = lab.world.host(host)
    return list(lab.vm("win-01").environmentBrowser.QueryConfigTarget(vim.HostSystem(lab_host.ref, None)).usb)


def test_a_device_connects_to_a_running_vm_and_shows_its_user(lab: Lab) -> None:
    """A hot-added device that matches turns connected, gets its ids, and the host says which VM has it."""
    assert [one.summary for one in offers(lab, ESX_01)] == [None, None]
    lab.reconfigure("win-01", ("add", xhci()), ("add", stick(VERBATIM, ESX_01)))
    assert within(lambda: connected(lab))
    [device] = lab.usb("win-01")
    assert (device.key, device.controllerKey, device.vendor, device.product) == (41000, 14000, 0x18A5, 0x0302)
    assert (device.backing.deviceName, device.backing.hostname) == (VERBATIM, ESX_01)
    assert [one.summary.config.name for one in offers(lab, ESX_01) if one.summary] == ["win-01"]
    assert [one.serial for one in lab.world.connected_usb(lab.world.vm("win-01"))] == ["07A40901A2B3C4D5"]


def test_connected_is_not_an_echo(lab: Lab) -> None:
    """A device of a VM that is off, or a pattern that matches nothing, is accepted and never connected."""
    lab.reconfigure("win-02", ("add", stick("path:0/1/6", controller=14000)))
    lab.reconfigure("win-01", ("add", xhci()), ("add", stick("path:9/9/9")))
    assert stays_apart(lab, "win-02")
    assert stays_apart(lab)
    WaitForTask(lab.vm("win-02").PowerOnVM_Task())
    assert within(lambda: connected(lab, "win-02"))


@pytest.mark.parametrize(
    "pattern", ["path:0/1/3 version:2 autoclean:1", "vid:18a5 pid:0302", r"path:0/1/3 name:STORE\ N\ GO", "vid:18A5"]
)
def test_patterns_match_by_what_they_name(lab: Lab, pattern: str) -> None:
    """Path, vid and pid identify a device; version, autoclean and name do not."""
    lab.reconfigure("win-01", ("add", xhci()), ("add", stick(pattern)))
    assert within(lambda: connected(lab))


def test_a_device_belongs_to_one_vm_until_it_is_given_back(lab: Lab) -> None:
    """A second VM with the same pattern waits, and gets the device when the first one is powered off."""
    lab.reconfigure("win-01", ("add", xhci()), ("add", stick(VERBATIM)))
    assert within(lambda: connected(lab))
    lab.reconfigure("lnx-01", ("add", stick(VERBATIM, controller=7000)))
    assert stays_apart(lab, "lnx-01")
    WaitForTask(lab.vm("win-01").PowerOffVM_Task())
    assert within(lambda: connected(lab, "lnx-01"))
    WaitForTask(lab.vm("win-01").PowerOnVM_Task())
    assert stays_apart(lab)


def test_autoconnect_follows_the_port_not_the_device(lab: Lab) -> None:
    """Another port: lost. Back in its port: connected again. Another device there: connected, the trap."""
    host = lab.world.host(ESX_01)
    lab.reconfigure("win-01", ("add", xhci()), ("add", stick(VERBATIM)))
    assert within(lambda: connected(lab))
    device = lab.world.unplug(host, VERBATIM)
    assert not connected(lab)
    lab.world.plug(host, device, "0/1/9")
    assert stays_apart(lab)
    lab.world.unplug(host, "0/1/9")
    lab.world.plug(host, device, VERBATIM)
    assert within(lambda: connected(lab))
    lab.world.unplug(host, VERBATIM)
    lab.world.plug(host, HostUsb(0x1234, 0x5678, "Somebody else's", "0/1/3"))
    assert within(lambda: connected(lab))
    assert lab.usb("win-01")[0].vendor == 0x1234


def test_a_stopped_arbitrator_offers_nothing_and_takes_devices_away(lab: Lab) -> None:
    """After a stop ct.usb is empty and devices are lost until the next power-on, though the arbitrator runs again."""
    assert offers(lab, ESX_03) == []
    lab.world.start_arbitrator(lab.world.host(ESX_03))
    assert [one.physicalPath for one in offers(lab, ESX_03)] == [VERBATIM]
    host = lab.world.host(ESX_01)
    lab.reconfigure("win-01", ("add", xhci()), ("add", stick(VERBATIM)))
    assert within(lambda: connected(lab))
    lab.world.stop_arbitrator(host)
    assert offers(lab, ESX_01) == []
    lab.world.start_arbitrator(host)
    assert stays_apart(lab)
    WaitForTask(lab.vm("win-01").PowerOffVM_Task())
    WaitForTask(lab.vm("win-01").PowerOnVM_Task())
    assert within(lambda: connected(lab))


def test_only_a_backing_with_a_host_survives_vmotion(lab: Lab) -> None:
    """A moved VM keeps a RemoteHost device and loses a local one; powered on away from home it gets neither."""
    away, vm = lab.world.host(ESX_02), lab.world.vm("win-01")
    lab.reconfigure("win-01", ("add", xhci()), ("add", stick(VERBATIM, ESX_01)), ("add", stick("path:0/2/1", key=-102)))
    assert within(lambda: all(one.connected for one in lab.usb("win-01")))
    lab.world.migrate(vm, away)
    assert [one.connected for one in lab.usb("win-01")] == [True, False]
    WaitForTask(lab.vm("win-01").PowerOffVM_Task())
    WaitForTask(lab.vm("win-01").PowerOnVM_Task())
    assert stays_apart(lab)


def test_superspeed_needs_xhci(lab: Lab) -> None:
    """A SuperSpeed device on an EHCI controller is accepted and does not connect."""
    lab.reconfigure("lnx-01", ("add", stick("path:0/2/1", controller=7000)))
    assert stays_apart(lab, "lnx-01")


def test_refuses_what_vsphere_refuses(lab: Lab) -> None:
    """Each wrong spec gets its own fault with the index of the device, and changes nothing."""
    remote = D.VirtualUSB.RemoteHostBackingInfo(deviceName=VERBATIM, hostname="nowhere.example")
    cases: list[tuple[str, list[tuple[str, Any]], Any]] = [
        ("win-02", [("add", xhci())], vim.fault.TooManyDevices),
        ("lnx-01", [("add", D.VirtualUSBController(key=-1))], vim.fault.TooManyDevices),
        ("win-01", [("add", stick(VERBATIM, controller=None))], vim.fault.InvalidDeviceSpec),
        ("win-02", [("add", stick(VERBATIM, controller=7000))], vim.fault.InvalidDeviceSpec),
        ("old-01", [("add", xhci())], vim.fault.DeviceUnsupportedForVmVersion),
        ("win-02", [("add", stick("", controller=14000))], vim.fault.InvalidDeviceBacking),
        ("win-02", [("add", D.VirtualUSB(key=-1, backing=remote))], vim.fault.InvalidDeviceBacking),
        ("lic-01", [("remove", D.VirtualUSBXHCIController(key=14000))], vim.fault.InvalidDeviceOperation),
        ("win-01", [("remove", D.VirtualUSB(key=41000))], vim.fault.InvalidDeviceSpec),
    ]
    for name, changes, fault in cases:
        before = [one.key for one in lab.world.vm(name).devices]
        with pytest.raises(fault) as told:
            lab.reconfigure(name, *changes)
        assert getattr(told.value, "deviceIndex", 0) == 0
        assert [one.key for one in lab.world.vm(name).devices] == before
    with pytest.raises(vim.fault.DeviceUnsupportedForVmVersion) as old:
        lab.reconfigure("old-01", ("add", xhci()))
    assert (old.value.currentVersion, old.value.expectedVersion) == ("vmx-07", "vmx-08")


def test_a_spec_is_done_as_a_whole_or_not_at_all(lab: Lab) -> None:
    """A good controller beside a bad device is not added."""
    with pytest.raises(vim.fault.InvalidDeviceBacking) as told:
        lab.reconfigure("win-01", ("add", xhci()), ("add", stick("")))
    assert told.value.deviceIndex == 1
    assert not any(one.kind == "xhci" for one in lab.world.vm("win-01").devices)


def test_twenty_devices_and_no_more(lab: Lab) -> None:
    """The 21st USB device is refused."""
    lab.reconfigure("win-02", *(("add", stick(f"path:0/9/{n}", controller=14000, key=-n)) for n in range(1, 21)))
    with pytest.raises(vim.fault.TooManyDevices):
        lab.reconfigure("win-02", ("add", stick("path:0/9/21", controller=14000)))


def test_a_controller_goes_with_its_last_device(lab: Lab) -> None:
    """Removing device and controller in one spec works, in this order."""
    [device] = lab.usb("lic-01")
    lab.reconfigure("lic-01", ("remove", device), ("remove", D.VirtualUSBXHCIController(key=14000)))
    assert lab.world.connected_usb(lab.world.vm("lic-01")) == []
    assert [one.summary for one in offers(lab, ESX_02)] == [None] * 4


def test_change_version_guards_against_a_second_writer(lab: Lab) -> None:
    """A spec planned on an older configuration gets ConcurrentAccess, a fresh one goes through."""
    planned = lab.vm("win-01").config.changeVersion
    lab.reconfigure("win-01", annotation="somebody else")
    with pytest.raises(vim.fault.ConcurrentAccess):
        lab.reconfigure("win-01", ("add", xhci()), changeVersion=planned)
    lab.reconfigure("win-01", ("add", xhci()), changeVersion=lab.vm("win-01").config.changeVersion)


def test_the_limited_account_may_not_add_devices(lab: Lab) -> None:
    """ReconfigVM says which privilege is missing; HasPrivilegeOnEntities told so before."""
    si = lab.login("limited")
    vm, privilege = lab.vm("win-01", si), "VirtualMachine.Config.AddRemoveDevice"
    wanted = [privilege, "VirtualMachine.Interact.PowerOn"]
    [row] = si.content.authorizationManager.HasPrivilegeOnEntities(
        [vm], si.content.sessionManager.currentSession.key, wanted
    )
    assert {one.privId: one.isGranted for one in row.privAvailability} == dict(zip(wanted, [False, True], strict=True))
    with pytest.raises(vim.fault.NoPermission) as told:
        vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[D.VirtualDeviceSpec(operation="add", device=xhci())]))
    assert told.value.privilegeId == privilege
    assert [one.accepted for one in lab.world.mutations] == [False]


def test_the_browser_says_what_hardware_may_be(lab: Lab) -> None:
    """Hot-add and the number of controllers come from QueryConfigOption, by hardware version."""
    for name, ehci, usb3 in [("win-01", 1, 1), ("old-01", 1, 0)]:
        hardware = lab.vm(name).environmentBrowser.QueryConfigOption(None, None).hardwareOptions
        assert (hardware.numUSBControllers.max, hardware.numUSBXHCIControllers.max) == (ehci, usb3)
        [option] = [one for one in hardware.virtualDeviceOption if isinstance(one, D.VirtualUSBOption)]
        assert (option.plugAndPlay, option.hotRemoveSupported) == (True, True)


def test_hosts_say_what_the_checks_need(lab: Lab) -> None:
    """Arbitrator autostart, services, USB controllers, management address and power management can be read."""
    hosts: list[Any] = [vim.HostSystem(lab.world.host(name).ref, lab.si._stub) for name in (ESX_01, ESX_03)]
    esx_01, esx_03 = hosts
    for host, disabled in [(esx_01, 0), (esx_03, 1)]:
        [option] = host.configManager.advancedOption.QueryOptions("USB.arbitratorAutoStartDisabled")
        assert option.value == disabled
    with pytest.raises(vim.fault.InvalidName):
        esx_01.configManager.advancedOption.QueryOptions("USB.nonsense")
    keys = {one.key for one in esx_01.configManager.serviceSystem.serviceInfo.service}
    assert {"TSM-SSH", "pcscd"} <= keys
    assert "usbarbitrator" not in keys
    assert [one.deviceName for one in esx_01.hardware.pciDevice if one.classId & 0xFFFF == 0x0C03] != []
    assert esx_01.config.network.vnic[0].spec.ip.ipAddress == lab.world.host(ESX_01).ip
    assert esx_01.parent.configurationEx.dpmConfigInfo.enabled is False


def test_guest_operations_run_programs_and_hand_files_out(tmp_path: Path) -> None:
    """A program runs inside the guest with the guest's files; what it wrote comes over HTTPS; logins are checked."""

    def run(vm: str, program: str, arguments: str, files: MutableMapping[str, bytes]) -> int:
        files["C:\\out.txt"] = f"{vm} ran {program} {arguments}".encode()
        return 3

    with running_lab(tmp_path, run) as lab:
        ops, vm = lab.si.content.guestOperationsManager, lab.vm("win-01")
        auth = vim.vm.guest.NamePasswordAuthentication(
            username="Administrator", password="lab-Windows-1", interactiveSession=False
        )
        spec = vim.vm.guest.ProcessManager.ProgramSpec(programPath="cmd.exe", arguments="/c usb")
        pid = ops.processManager.StartProgramInGuest(vm, auth, spec)
        assert within(lambda: ops.processManager.ListProcessesInGuest(vm, auth, [pid])[0].exitCode == 3)
        told = ops.fileManager.InitiateFileTransferFromGuest(vm, auth, "C:\\out.txt")
        assert _get(told.url, lab.tls) == b"vm-101 ran cmd.exe /c usb"
        ops.fileManager.DeleteFileInGuest(vm, auth, "C:\\out.txt")
        with pytest.raises(vim.fault.FileNotFound):
            ops.fileManager.InitiateFileTransferFromGuest(vm, auth, "C:\\out.txt")
        auth.password = "wrong"
        with pytest.raises(vim.fault.InvalidGuestLogin):
            ops.processManager.StartProgramInGuest(vm, auth, spec)
        with pytest.raises(vim.fault.InvalidPowerState):
            ops.processManager.StartProgramInGuest(lab.vm("win-02"), auth, spec)
        lab.world.settings = lab.world.settings.model_copy(update={"boot_seconds": 30.0})
        WaitForTask(vm.ResetVM_Task())
        with pytest.raises(vim.fault.GuestOperationsUnavailable):
            ops.processManager.StartProgramInGuest(vm, auth, spec)


def _get(url: str, tls: ssl.SSLContext) -> bytes:
    with urllib.request.urlopen(url, context=tls) as answer:  # noqa: S310 - the lab's own https address
        return bytes(answer.read())
