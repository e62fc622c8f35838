"""Say what a VM of the world looks like in vSphere's data objects."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pyVmomi import vim

from passgate.lab.hardware import LabVm
from passgate.lab.passthrough import reserved_mb
from passgate.lab.vcenter.devices import hardware, mac
from passgate.lab.vcenter.faults import made
from passgate.lab.vcenter.inventory import GREEN
from passgate.lab.vcenter.views import escaped
from passgate.lab.vmfs import vmx_path
from passgate.lab.world import World

_MADE = datetime(2024, 5, 1, 8, 0, tzinfo=UTC)
_TOOLS_BUILD = "12389"
_INCREMENT_MB = 128
"""Memory is hot-added in multiples of this."""


def version(vm: LabVm) -> str:
    """Return the hardware version as vSphere writes it."""
    return f"vmx-{vm.hardware_version:02d}"


def config(world: World, vm: LabVm) -> Any:
    """Return the VM's configuration."""
    return vim.vm.ConfigInfo(
        changeVersion=vm.change_version,
        modified=_MADE,
        createDate=_MADE,
        name=escaped(vm.name),
        guestFullName=vm.guest_name,
        guestId=vm.guest_id,
        version=version(vm),
        uuid=vm.uuid,
        instanceUuid=vm.instance_uuid,
        template=vm.template,
        alternateGuestName="",
        annotation=vm.annotation,
        files=vim.vm.FileInfo(
            vmPathName=vmx_path(vm),
            snapshotDirectory=f"[{vm.datastore}] {vm.ref}/",
            suspendDirectory=f"[{vm.datastore}] {vm.ref}/",
            logDirectory=f"[{vm.datastore}] {vm.ref}/",
        ),
        tools=vim.vm.ToolsConfigInfo(
            toolsVersion=int(_TOOLS_BUILD) if vm.tools_installed else 0, toolsUpgradePolicy="manual",
            afterPowerOn=True, afterResume=True, beforeGuestStandby=True, beforeGuestShutdown=True,
        ),
        flags=vim.vm.FlagInfo(enableLogging=True),
        defaultPowerOps=vim.vm.DefaultPowerOpInfo(
            powerOffType="soft", suspendType="hard", resetType="soft", defaultPowerOffType="soft",
            defaultSuspendType="hard", defaultResetType="soft", standbyAction="checkpoint",
        ),
        hardware=hardware(world, vm),
        cpuAllocation=_allocation(0),
        memoryAllocation=_allocation(reserved_mb(vm)),
        memoryHotAddEnabled=vm.memory_hot_add,
        cpuHotAddEnabled=vm.cpu_hot_add,
        cpuHotRemoveEnabled=False,
        hotPlugMemoryIncrementSize=_INCREMENT_MB if vm.memory_hot_add else None,
        hotPlugMemoryLimit=16 * vm.memory_mb if vm.memory_hot_add else None,
        extraConfig=[vim.option.OptionValue(key=key, value=value) for key, value in vm.extra_config.items()],
        swapPlacement="inherit",
        bootOptions=vim.vm.BootOptions(bootDelay=0, enterBIOSSetup=False, efiSecureBootEnabled=False),
        ftInfo=_ft(vm) if vm.fault_tolerance else None,
        firmware="bios",
        memoryReservationLockedToMax=vm.memory_locked,
        fixedPassthruHotPlugEnabled=vm.pci_hot_plug,
    )  # fmt: skip


def _allocation(reservation: int) -> Any:
    return made(
        vim.ResourceAllocationInfo,
        reservation=reservation,
        expandableReservation=False,
        limit=-1,
        shares=vim.SharesInfo(shares=1000, level="normal"),
    )


def _ft(vm: LabVm) -> Any:
    if vm.ft_role == "secondary":
        return vim.vm.FaultToleranceSecondaryConfigInfo(
            role=2,
            instanceUuids=[vm.instance_uuid],
            configPaths=[vmx_path(vm)],
            orphaned=False,
            primaryVM=vim.VirtualMachine(f"{vm.ref}-primary", None),
        )
    return vim.vm.FaultTolerancePrimaryConfigInfo(
        role=1,
        instanceUuids=[vm.instance_uuid],
        configPaths=[vmx_path(vm)],
        secondaries=[vim.VirtualMachine(f"{vm.ref}-secondary", None)],
    )


def runtime(vm: LabVm) -> Any:
    """Return power, host and what the VM waits for."""
    return vim.vm.RuntimeInfo(
        host=vim.HostSystem(vm.host.ref, None),
        connectionState=vm.connection if vm.host.connection == "connected" else "disconnected",
        powerState=vm.power,
        faultToleranceState="running" if vm.fault_tolerance else "notConfigured",
        toolsInstallerMounted=False,
        bootTime=vm.boot_time if vm.power == "poweredOn" else None,
        question=_question(vm.question) if vm.question else None,
        maxCpuUsage=4800,
        maxMemoryUsage=vm.memory_mb,
        numMksConnections=0,
        recordReplayState="inactive",
        onlineStandby=False,
        consolidationNeeded=False,
        paused=False,
    )


def _question(text: str) -> Any:
    return vim.vm.QuestionInfo(
        id="1",
        text=text,
        choice=vim.option.ChoiceOption(
            choiceInfo=[vim.ElementDescription(key="0", label="OK", summary="OK")], defaultIndex=0
        ),
    )


def guest(world: World, vm: LabVm) -> Any:
    """Return what VMware Tools report."""
    ready = world.tools_running(vm)
    return vim.vm.GuestInfo(
        toolsStatus=("toolsOk" if ready else "toolsNotRunning") if vm.tools_installed else "toolsNotInstalled",
        toolsRunningStatus="guestToolsRunning" if ready else "guestToolsNotRunning",
        toolsVersionStatus="guestToolsCurrent" if vm.tools_installed else "guestToolsNotInstalled",
        toolsVersionStatus2="guestToolsCurrent" if vm.tools_installed else "guestToolsNotInstalled",
        toolsVersion=_TOOLS_BUILD if vm.tools_installed else "0",
        guestState="running" if ready else "notRunning",
        guestOperationsReady=ready,
        interactiveGuestOperationsReady=False,
        guestStateChangeSupported=ready,
        guestId=vm.guest_id if ready else None,
        guestFamily=(_family(vm) if ready else None),
        guestFullName=vm.guest_name if ready else None,
        hostName=vm.dns_name if ready else None,
        ipAddress=vm.ip if ready else None,
        net=[_net(vm)] if ready else [],
        guestKernelCrashed=False if ready else None,
    )


def _family(vm: LabVm) -> str:
    return "windowsGuest" if vm.is_windows else "linuxGuest"


def _net(vm: LabVm) -> Any:
    return vim.vm.GuestInfo.NicInfo(
        network="VM Network", ipAddress=[vm.ip], macAddress=mac(vm), connected=True, deviceConfigId=4000
    )


def summary(world: World, vm: LabVm) -> Any:
    """Return the VM's summary."""
    tools = guest(world, vm)
    return vim.vm.Summary(
        vm=vim.VirtualMachine(vm.ref, None),
        runtime=runtime(vm),
        guest=vim.vm.Summary.GuestSummary(
            guestId=tools.guestId,
            guestFullName=tools.guestFullName,
            toolsStatus=tools.toolsStatus,
            toolsVersionStatus=tools.toolsVersionStatus,
            toolsVersionStatus2=tools.toolsVersionStatus2,
            toolsRunningStatus=tools.toolsRunningStatus,
            hostName=tools.hostName,
            ipAddress=tools.ipAddress,
        ),
        config=vim.vm.Summary.ConfigSummary(
            name=escaped(vm.name),
            template=vm.template,
            vmPathName=vmx_path(vm),
            memorySizeMB=vm.memory_mb,
            cpuReservation=0,
            memoryReservation=reserved_mb(vm),
            numCpu=vm.cpus,
            numEthernetCards=1,
            numVirtualDisks=1,
            uuid=vm.uuid,
            instanceUuid=vm.instance_uuid,
            guestId=vm.guest_id,
            guestFullName=vm.guest_name,
            annotation=vm.annotation,
            hwVersion=version(vm),
        ),
        storage=made(vim.vm.Summary.StorageSummary, committed=21_474_836_480, uncommitted=21_474_836_480),
        quickStats=vim.vm.Summary.QuickStats(guestHeartbeatStatus="green" if tools.guestOperationsReady else "gray"),
        overallStatus=GREEN,
    )
