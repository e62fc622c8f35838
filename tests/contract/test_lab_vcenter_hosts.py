"""The lab's hosts, its cluster and its migrations refuse and delay what real vSphere does (vsphere.md 2.6 and 4)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from passgate.lab.reboot import power_down_idle, power_up
from tests.contract.lab_vcenter import FAST, Lab, running_lab, stick, within, xhci

ESX_01, ESX_02, ESX_03 = (f"esx-0{n}.lab.example" for n in (1, 2, 3))
VERBATIM = "path:0/1/3"
CLUSTER = vim.cluster


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Run a lab of the test's own."""
    with running_lab(tmp_path) as lab:
        yield lab


def host(lab: Lab, name: str) -> Any:
    """Return the host's managed object."""
    return vim.HostSystem(lab.world.host(name).ref, lab.si._stub)


def cluster(lab: Lab) -> Any:
    """Return the cluster's managed object."""
    return vim.ClusterComputeResource(lab.world.cluster.ref, lab.si._stub)


def hands_off(lab: Lab, *names: str) -> None:
    """Let DRS leave these VMs where they are."""
    specs = [
        CLUSTER.DrsVmConfigSpec(
            operation="add", info=CLUSTER.DrsVmConfigInfo(key=lab.vm(name), enabled=True, behavior="manual")
        )
        for name in names
    ]
    reconfigure(lab, drsVmConfigSpec=specs)


def reconfigure(lab: Lab, *, modify: bool = True, **spec: Any) -> None:
    """Reconfigure the cluster and wait for the end."""
    WaitForTask(cluster(lab).ReconfigureComputeResource_Task(CLUSTER.ConfigSpecEx(**spec), modify))


def dpm(lab: Lab, operation: str, name: str, *, enabled: bool = False) -> None:
    """Add, edit or remove the host's override of power management."""
    key = host(lab, name)
    info = None if operation == "remove" else CLUSTER.DpmHostConfigInfo(key=key, enabled=enabled)
    one = CLUSTER.DpmHostConfigSpec(operation=operation, info=info, removeKey=key if info is None else None)
    reconfigure(lab, dpmHostConfigSpec=[one])


def relocate(lab: Lab, name: str, to: str) -> None:
    """Move the VM to the host and wait for the end."""
    WaitForTask(lab.vm(name).RelocateVM_Task(vim.vm.RelocateSpec(host=host(lab, to))))


def running_vms(lab: Lab, name: str) -> set[str]:
    """Return the names of the VMs that run on the host."""
    return {one.name for one in host(lab, name).vm if one.runtime.powerState == "poweredOn"}


def test_drs_empties_a_host_that_enters_maintenance_mode(lab: Lab) -> None:
    """What may move by itself is moved, VMs that are off stay, and the task ends with the mode on."""
    WaitForTask(host(lab, ESX_01).EnterMaintenanceMode_Task(30))
    assert host(lab, ESX_01).runtime.inMaintenanceMode is True
    assert running_vms(lab, ESX_01) == set()
    assert {"win-01", "lnx-01"} <= running_vms(lab, ESX_02)
    assert [one.name for one in host(lab, ESX_01).vm] == ["old-01"]
    WaitForTask(host(lab, ESX_01).ExitMaintenanceMode_Task(0))
    assert host(lab, ESX_01).runtime.inMaintenanceMode is False
    with pytest.raises(vim.fault.InvalidState):
        WaitForTask(host(lab, ESX_01).ExitMaintenanceMode_Task(0))


def test_maintenance_mode_waits_for_a_vm_that_cannot_leave(lab: Lab) -> None:
    """The task keeps running, others have left meanwhile, and it ends as soon as the last VM is off."""
    lab.reconfigure("win-01", ("add", xhci()), ("add", stick(VERBATIM)))
    task = host(lab, ESX_01).EnterMaintenanceMode_Task(0)
    assert within(lambda: running_vms(lab, ESX_01) == {"win-01"})
    time.sleep(4 * FAST.power_seconds)
    assert (task.info.state, host(lab, ESX_01).runtime.inMaintenanceMode) == ("running", False)
    with pytest.raises(vim.fault.InvalidState):
        WaitForTask(lab.vm("old-01").PowerOnVM_Task())
    WaitForTask(lab.vm("win-01").PowerOffVM_Task())
    WaitForTask(task)
    assert host(lab, ESX_01).runtime.inMaintenanceMode is True
    with pytest.raises(vim.fault.InvalidState):
        WaitForTask(lab.vm("win-01").PowerOnVM_Task())


@pytest.mark.parametrize("left_there", ["manual", "no DRS", "fault tolerance"])
def test_maintenance_mode_waits_where_drs_may_not_move(lab: Lab, left_there: str) -> None:
    """A VM that DRS may not move stays and blocks; an explicit move of it lets the task end."""
    if left_there == "manual":
        hands_off(lab, "win-01")
    elif left_there == "no DRS":
        reconfigure(lab, drsConfig=CLUSTER.DrsConfigInfo(enabled=False))
    else:
        lab.world.vm("win-01").fault_tolerance = True
    task = host(lab, ESX_01).EnterMaintenanceMode_Task(0)
    time.sleep(4 * FAST.power_seconds)
    assert task.info.state == "running"
    assert "win-01" in running_vms(lab, ESX_01)
    for name in sorted(running_vms(lab, ESX_01)):
        relocate(lab, name, ESX_02)
    WaitForTask(task)


def test_maintenance_mode_ends_when_its_time_is_over_or_somebody_ends_it(lab: Lab) -> None:
    """Timedout, or RequestCanceled; the host is then as open as before."""
    hands_off(lab, "win-01")
    with pytest.raises(vim.fault.Timedout):
        WaitForTask(host(lab, ESX_01).EnterMaintenanceMode_Task(1))
    task = host(lab, ESX_01).EnterMaintenanceMode_Task(0)
    assert within(lambda: task.info.state == "running")
    assert task.info.entityName == ESX_01
    with pytest.raises(vim.fault.TaskInProgress):
        host(lab, ESX_01).EnterMaintenanceMode_Task(0)
    task.CancelTask()
    assert isinstance(task.info.error, vmodl.fault.RequestCanceled)
    assert task.info.cancelled is True
    assert host(lab, ESX_01).runtime.inMaintenanceMode is False
    assert running_vms(lab, ESX_01) == {"win-01"}
    WaitForTask(lab.vm("old-01").PowerOnVM_Task())


def test_a_reboot_needs_maintenance_mode(lab: Lab) -> None:
    """Without it and without force the host refuses and stays up."""
    before = host(lab, ESX_01).runtime.bootTime
    with pytest.raises(vim.fault.InvalidState):
        WaitForTask(host(lab, ESX_01).RebootHost_Task(force=False))
    assert host(lab, ESX_01).runtime.bootTime == before
    assert running_vms(lab, ESX_01) == {"win-01", "lnx-01"}


def test_a_reboot_ends_before_the_host_is_back(lab: Lab) -> None:
    """The task ends; then the host is away, and comes back with a newer boot time, still in maintenance mode."""
    world, esx_03 = lab.world, host(lab, ESX_03)
    world.host(ESX_03).reboot_required = True
    world.host(ESX_03).services["ntpd"].policy = "off"
    before = esx_03.runtime.bootTime
    WaitForTask(esx_03.EnterMaintenanceMode_Task(0))
    WaitForTask(esx_03.RebootHost_Task(force=False))
    assert esx_03.runtime.bootTime == before
    assert within(lambda: esx_03.runtime.connectionState == "notResponding")
    assert lab.vm("lnx-02").runtime.connectionState == "disconnected"
    with pytest.raises(vmodl.fault.HostNotConnected):
        esx_03.configManager.serviceSystem.StartService("ntpd")
    assert within(lambda: esx_03.runtime.connectionState == "connected")
    assert esx_03.runtime.bootTime > before
    assert (esx_03.runtime.inMaintenanceMode, esx_03.summary.rebootRequired) == (True, False)
    running = {one.key: one.running for one in esx_03.configManager.serviceSystem.serviceInfo.service}
    assert (running["TSM-SSH"], running["ntpd"]) == (True, False)
    assert world.host(ESX_03).arbitrator_running is False  # its autostart is off


def test_a_forced_reboot_takes_running_vms_and_their_devices_down(lab: Lab) -> None:
    """VMs of the host are off afterwards; a VM elsewhere loses the device that is on this host, for good."""
    lab.reconfigure("win-01", ("add", xhci()), ("add", stick(VERBATIM, ESX_01)))
    assert within(lambda: lab.usb("win-01")[0].connected)
    relocate(lab, "win-01", ESX_02)
    assert lab.usb("win-01")[0].connected
    WaitForTask(host(lab, ESX_01).RebootHost_Task(force=True))
    assert within(lambda: lab.world.host(ESX_01).power == "poweredOff")
    assert within(lambda: host(lab, ESX_01).runtime.connectionState == "connected")
    assert (lab.world.vm("lnx-01").power, lab.world.vm("win-01").power) == ("poweredOff", "poweredOn")
    assert lab.world.host(ESX_01).arbitrator_running is True
    time.sleep(3 * FAST.connect_seconds)
    assert not lab.usb("win-01")[0].connected
    relocate(lab, "win-01", ESX_01)
    WaitForTask(lab.vm("win-01").ResetVM_Task())
    assert within(lambda: lab.usb("win-01")[0].connected)


def test_a_vm_with_fault_tolerance_says_which_of_the_two_it_is(lab: Lab) -> None:
    """The primary names its secondary, the secondary its primary; both run protected."""
    vm = lab.world.vm("win-01")
    assert lab.vm("win-01").config.ftInfo is None
    for role, number, kind in (
        ("primary", 1, vim.vm.FaultTolerancePrimaryConfigInfo),
        ("secondary", 2, vim.vm.FaultToleranceSecondaryConfigInfo),
    ):
        vm.fault_tolerance, vm.ft_role = True, role
        told = lab.vm("win-01").config.ftInfo
        assert (told.role, isinstance(told, kind)) == (number, True)
        assert lab.vm("win-01").runtime.faultToleranceState == "running"


def test_a_host_is_let_go_and_taken_again(lab: Lab) -> None:
    """A disconnected host works on; reconnecting a connected one is refused."""
    with pytest.raises(vim.fault.InvalidState):
        host(lab, ESX_01).ReconnectHost_Task()
    WaitForTask(host(lab, ESX_01).DisconnectHost_Task())
    assert host(lab, ESX_01).runtime.connectionState == "disconnected"
    with pytest.raises(vmodl.fault.HostNotConnected):
        WaitForTask(lab.vm("win-01").PowerOffVM_Task())
    assert lab.world.vm("win-01").power == "poweredOn"
    WaitForTask(host(lab, ESX_01).ReconnectHost_Task())
    assert host(lab, ESX_01).runtime.connectionState == "connected"


def test_hosts_say_what_they_can_do(lab: Lab) -> None:
    """Capabilities, HA state, services and own datastores can be read, as the checks need them."""
    esx_01 = host(lab, ESX_01)
    assert (esx_01.capability.rebootSupported, esx_01.capability.maintenanceModeSupported) == (True, True)
    assert esx_01.runtime.dasHostState.state == "master"
    assert host(lab, ESX_02).runtime.dasHostState.state == "connectedToMaster"
    assert [(one.name, one.summary.multipleHostAccess) for one in esx_01.datastore] == [
        ("datastore1", True), ("esx-01-local", False),
    ]  # fmt: skip
    services = esx_01.configManager.serviceSystem
    services.RestartService("ntpd")
    services.StopService("ntpd")
    with pytest.raises(vim.fault.InvalidState):
        services.RestartService("ntpd")


def test_power_management_is_overridden_by_host(lab: Lab) -> None:
    """Add, edit and remove each fit what is there; an add over an entry is refused; other settings stay."""
    assert list(cluster(lab).configurationEx.dpmHostConfig) == []
    reconfigure(lab, dpmConfig=CLUSTER.DpmConfigInfo(enabled=True))
    for wrong in ("edit", "remove"):
        with pytest.raises(vmodl.fault.InvalidArgument):
            dpm(lab, wrong, ESX_01)
    dpm(lab, "add", ESX_01)
    with pytest.raises(vmodl.fault.InvalidArgument):
        dpm(lab, "add", ESX_01)
    dpm(lab, "edit", ESX_01, enabled=True)
    dpm(lab, "add", ESX_02)
    known = cluster(lab).configurationEx
    assert {one.key._moId: one.enabled for one in known.dpmHostConfig} == {"host-11": True, "host-12": False}
    assert (known.dpmConfigInfo.enabled, known.drsConfig.enabled) == (True, True)
    dpm(lab, "remove", ESX_01)
    assert [one.key._moId for one in cluster(lab).configurationEx.dpmHostConfig] == ["host-12"]


def test_without_modify_a_cluster_forgets_what_is_not_named(lab: Lab) -> None:
    """`modify=False` replaces the configuration: overrides are gone, DRS is off."""
    dpm(lab, "add", ESX_01)
    hands_off(lab, "win-01")
    reconfigure(lab, modify=False, dpmConfig=CLUSTER.DpmConfigInfo(enabled=True))
    known = cluster(lab).configurationEx
    assert (list(known.dpmHostConfig), list(known.drsVmConfig)) == ([], [])
    assert (known.drsConfig.enabled, known.dpmConfigInfo.enabled) == (False, True)


def test_power_management_switches_an_idle_host_off_and_its_devices_go(lab: Lab) -> None:
    """Only where it may and only an idle host; a VM elsewhere that uses its device loses it."""
    lab.reconfigure("win-01", ("add", xhci()), ("add", stick(VERBATIM, ESX_01)))
    assert within(lambda: lab.usb("win-01")[0].connected)
    esx_01 = lab.world.host(ESX_01)
    with pytest.raises(LookupError, match="off for"):
        power_down_idle(lab.world, esx_01)
    reconfigure(lab, dpmConfig=CLUSTER.DpmConfigInfo(enabled=True))
    with pytest.raises(LookupError, match="not idle"):
        power_down_idle(lab.world, esx_01)
    for name in ("win-01", "lnx-01"):
        relocate(lab, name, ESX_02)
    dpm(lab, "add", ESX_01)
    with pytest.raises(LookupError, match="off for"):
        power_down_idle(lab.world, esx_01)
    dpm(lab, "remove", ESX_01)
    power_down_idle(lab.world, esx_01)
    assert (host(lab, ESX_01).runtime.powerState, lab.usb("win-01")[0].connected) == ("standBy", False)
    with pytest.raises(vmodl.fault.HostNotConnected):
        relocate(lab, "lnx-01", ESX_01)
    power_up(lab.world, esx_01)
    assert host(lab, ESX_01).runtime.connectionState == "connected"


def test_vmotion_takes_no_vm_that_is_tied_to_its_host(lab: Lab) -> None:
    """A locally backed USB device refuses a running VM's move; the check says the same, inside a task that succeeds."""
    lab.reconfigure("win-01", ("add", xhci()), ("add", stick(VERBATIM, ESX_01)), ("add", stick("path:0/2/1", key=-102)))
    with pytest.raises(vim.fault.DisallowedMigrationDeviceAttached) as told:
        relocate(lab, "win-01", ESX_02)
    assert isinstance(told.value.fault, vim.fault.DeviceNotSupported)
    checker = lab.si.content.vmProvisioningChecker
    task = checker.CheckMigrate_Task(lab.vm("win-01"), host(lab, ESX_02), None, None, None)
    WaitForTask(task)
    [result] = task.info.result
    assert [type(one) for one in result.error] == [vim.fault.DisallowedMigrationDeviceAttached]
    assert running_vms(lab, ESX_01) == {"win-01", "lnx-01"}
    WaitForTask(lab.vm("win-01").PowerOffVM_Task())
    relocate(lab, "win-01", ESX_02)  # cold migration leaves the device behind
    assert lab.world.vm("win-01").host.name == ESX_02


def test_vmotion_goes_to_no_host_that_is_closed_or_sees_no_disk(lab: Lab) -> None:
    """Maintenance mode, a lost connection and a local datastore are refused, and told before by the check."""
    lab.world.vm("lnx-01").local_datastore = True
    with pytest.raises(vim.fault.CannotAccessVmDisk):
        relocate(lab, "lnx-01", ESX_02)
    lab.world.host(ESX_02).maintenance = True
    with pytest.raises(vim.fault.InvalidState):
        relocate(lab, "win-01", ESX_02)
    lab.world.host(ESX_02).connection = "notResponding"
    with pytest.raises(vmodl.fault.HostNotConnected):
        relocate(lab, "win-01", ESX_02)
    checker = lab.si.content.vmProvisioningChecker
    task = checker.CheckRelocate_Task(lab.vm("win-01"), vim.vm.RelocateSpec(host=host(lab, ESX_03)), None)
    WaitForTask(task)
    assert [list(one.error) for one in task.info.result] == [[]]
    assert lab.world.mutations[-1].method == "RelocateVM_Task"  # a check is no mutation


def test_a_device_waits_at_home_for_a_vm_that_was_suspended_away(lab: Lab) -> None:
    """Suspended or off away from home, its device is gone; resumed there it stays gone, at home it comes back."""
    lab.reconfigure("win-01", ("add", xhci()), ("add", stick(VERBATIM, ESX_01)))
    assert within(lambda: lab.usb("win-01")[0].connected)
    relocate(lab, "win-01", ESX_02)
    assert lab.usb("win-01")[0].connected
    WaitForTask(lab.vm("win-01").SuspendVM_Task())
    WaitForTask(lab.vm("win-01").PowerOnVM_Task())
    time.sleep(3 * FAST.connect_seconds)
    assert not lab.usb("win-01")[0].connected
    WaitForTask(lab.vm("win-01").SuspendVM_Task())
    relocate(lab, "win-01", ESX_01)
    WaitForTask(lab.vm("win-01").PowerOnVM_Task())
    assert within(lambda: lab.usb("win-01")[0].connected)


def test_a_moved_vm_needs_the_management_network_for_its_device(lab: Lab) -> None:
    """With TCP 902 of the device's host closed, a VM that moves away loses the device."""
    lab.reconfigure("win-01", ("add", xhci()), ("add", stick(VERBATIM, ESX_01)))
    assert within(lambda: lab.usb("win-01")[0].connected)
    lab.world.host(ESX_01).answers_902 = False
    relocate(lab, "win-01", ESX_02)
    assert not lab.usb("win-01")[0].connected
