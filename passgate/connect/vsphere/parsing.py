"""Turn what the PropertyCollector and the environment browser answer into Passgate's model. No I/O here.

A property that is unset, or that the account may not read, is absent from the answer; nothing here needs any, and what
was not read never becomes a fact: power and connection are `unknown` then. That there are no devices is a fact only
where `VITAL` was all there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pyVmomi import vim

from passgate.errors import InputError
from passgate.model.inventory import (
    Cluster,
    ControllerKind,
    GuestFamily,
    Host,
    HostId,
    HostService,
    HostUsbDevice,
    Power,
    Snapshot,
    UsbController,
    UsbOptions,
    Vm,
    VmPci,
    VmUsbDevice,
)
from passgate.model.pci import MEMORY_BEFORE, USB_CLASS, pci_address
from passgate.model.usb import canonical_path

Props = Mapping[str, Any]
device = vim.vm.device

POWER = {"poweredOn": Power.ON, "poweredOff": Power.OFF, "suspended": Power.SUSPENDED}
CONTROLLERS = {
    ControllerKind.XHCI: device.VirtualUSBXHCIController,
    ControllerKind.EHCI: device.VirtualUSBController,
}
LINUX = re.compile(
    r"linux|rhel|redhat|centos|rocky|alma|suse|sles|ubuntu|debian|fedora|oracle|asianux|mandr|coreos|photon|flatcar|nld9|oes"
    r"|sjds|pardus|fusionos|crx",
    re.IGNORECASE,
)
ESCAPED = re.compile(r"%(25|2f|5c)", re.IGNORECASE)
HEX = re.compile(r"[0-9a-fA-F]{1,4}")
MIB = 1024 * 1024
PASSTHROUGH = ("usb.", "pcipassthru", MEMORY_BEFORE.lower())
"""How the advanced settings begin, in lower case, that USB and PCI passthrough know, our own note among them."""
KERNEL = re.compile(r"kernelVersion='([^']*)'")

LIGHT_VM = (
    "name",
    "config.instanceUuid",
    "config.template",
    "runtime.host",
    "runtime.powerState",
    "runtime.connectionState",
    "config.hardware.memoryMB",
)
DETAILED_VM = (
    *LIGHT_VM,
    "environmentBrowser",
    "config.hardware.device",
    "config.changeVersion",
    "config.version",
    "config.guestId",
    "config.guestFullName",
    "config.extraConfig",
    "config.hardware.numCPU",
    "config.memoryAllocation.reservation",
    "config.memoryReservationLockedToMax",
    "config.cpuHotAddEnabled",
    "config.memoryHotAddEnabled",
    "config.files.vmPathName",
    "snapshot",
    "runtime.faultToleranceState",
    "runtime.question",
    "guest.toolsVersionStatus2",
    "guest.toolsRunningStatus",
    "guest.guestOperationsReady",
    "guest.guestFamily",
)
PCI_HOT_ADD, PCI_HOT_ADD_SINCE = "config.fixedPassthruHotPlugEnabled", (8, 0, 1)
"""Whether PCI functions may be added while the VM runs; an older server refuses to read what it does not know."""
VITAL = ("runtime.powerState", "runtime.connectionState", "config.hardware.device")
"""What a change of a VM is judged by, before and after: a reading of that VM without one of these is none."""
VITAL_IF_SET = ("runtime.faultToleranceState",)
"""The same, but a server may leave it unset: only one that says why it does not tell has something to tell."""
LIGHT_HOST = (
    "name",
    "parent",
    "hardware.systemInfo.uuid",
    "runtime.connectionState",
    "runtime.inMaintenanceMode",
    "summary.config.product.version",
    "summary.hardware.memorySize",
)
DETAILED_HOST = (
    "hardware.pciDevice",
    "config.network.vnic",
    "config.service.service",
    "runtime.bootTime",
    "runtime.dasHostState",
    "capability.rebootSupported",
    "capability.maintenanceModeSupported",
    "summary.rebootRequired",
)


def plain_name(name: str) -> str:
    """Return a VM's name as people see it: vCenter writes percent, slash and backslash as `%25`, `%2f`, `%5c`."""
    return ESCAPED.sub(lambda found: chr(int(found[1], 16)), name)


def host_id(ref: str, props: Props) -> HostId:
    """Return the identity of a host; its name is kept verbatim, because vMotion backings need it so."""
    return HostId(ref=ref, name=props.get("name", ref), uuid=props.get("hardware.systemInfo.uuid", ""))


def host_from(ref: str, props: Props, parent: Props, usb: tuple[HostUsbDevice, ...] = ()) -> Host:
    """Return a host; `parent` holds the properties of its cluster or, standing alone, of its compute resource."""
    cluster = props.get("parent")
    clustered = isinstance(cluster, vim.ClusterComputeResource)
    return Host(
        **host_id(ref, props).model_dump(),
        cluster=ref_of(cluster) if clustered else None,
        cluster_name=parent.get("name") if clustered else None,
        connection=str(props.get("runtime.connectionState", "unknown")),
        maintenance=bool(props.get("runtime.inMaintenanceMode")),
        version=props.get("summary.config.product.version", ""),
        usb=usb,
        usb_controllers=sum(one.classId & 0xFFFF == USB_CLASS for one in props.get("hardware.pciDevice", ())),
        dpm=dpm(ref, parent.get("configurationEx")),
        management_ip=next(
            (nic.spec.ip.ipAddress for nic in props.get("config.network.vnic", ()) if is_vmk0(nic)), None
        ),
        can_reboot=can_reboot(props),
        ha_state=getattr(props.get("runtime.dasHostState"), "state", None),
        boot_time=props.get("runtime.bootTime"),
        reboot_required=bool(props.get("summary.rebootRequired")),
        memory_mb=int(props.get("summary.hardware.memorySize", 0)) // MIB,
        services=host_services(props.get("config.service.service")),
    )


def can_reboot(props: Props) -> bool | None:
    """Say whether the host supports maintenance mode and a reboot; None when it does not tell."""
    said = [props.get(f"capability.{name}Supported") for name in ("reboot", "maintenanceMode")]
    return None if None in said else all(said)


def host_services(services: Any) -> tuple[HostService, ...] | None:
    """Return the host's services; None when they were not read."""
    if services is None:
        return None
    return tuple(
        HostService(key=one.key, label=one.label or "", running=bool(one.running), policy=str(one.policy or ""))
        for one in services
    )


def cluster_from(ref: str, props: Props) -> Cluster:
    """Return a cluster with the automation that it and its members are set to."""
    config = props.get("configurationEx")
    drs, dpm, das = (getattr(config, name, None) for name in ("drsConfig", "dpmConfigInfo", "dasConfig"))
    vms = getattr(config, "drsVmConfig", None) or ()
    hosts = getattr(config, "dpmHostConfig", None) or ()
    return Cluster(
        ref=ref,
        name=props.get("name", ref),
        drs=bool(getattr(drs, "enabled", False)),
        drs_level=str(getattr(drs, "defaultVmBehavior", None) or ""),
        drs_overrides={
            str(ref_of(one.key)): "disabled" if one.enabled is False else str(one.behavior or "") for one in vms
        },
        dpm=bool(getattr(dpm, "enabled", False)),
        dpm_overrides={str(ref_of(one.key)): one.enabled is not False for one in hosts},
        ha=bool(getattr(das, "enabled", False)),
    )


def is_vmk0(nic: Any) -> bool:
    """Say whether that is the first VMkernel adapter, with an address."""
    return nic.device == "vmk0" and nic.spec.ip is not None and bool(nic.spec.ip.ipAddress)


def dpm(ref: str, config: Any) -> bool:
    """Say whether DPM may power that host down: the cluster's setting, and the host's own override of it."""
    settings = getattr(config, "dpmConfigInfo", None)
    if settings is None or not settings.enabled:
        return False
    own = [one for one in getattr(config, "dpmHostConfig", None) or () if ref_of(one.key) == ref]
    return all(one.enabled is not False for one in own)


def vm_from(ref: str, props: Props, host: HostId, options: UsbOptions | None = None) -> Vm:
    """Return a VM; with only the light properties it has no devices, and `change_version` is empty."""
    devices = props.get("config.hardware.device", ())
    guest_id = props.get("config.guestId", "")
    question = props.get("runtime.question")
    return Vm(
        ref=ref,
        name=plain_name(props.get("name", ref)),
        uuid=props.get("config.instanceUuid", ""),
        host=host,
        power=POWER.get(str(props.get("runtime.powerState")), Power.UNKNOWN),
        connection=str(props.get("runtime.connectionState", "unknown")),
        template=bool(props.get("config.template")),
        guest_id=guest_id,
        guest_name=props.get("config.guestFullName", ""),
        guest_family=family(guest_id, props.get("guest.guestFamily")),
        guest_version=kernel(props.get("config.extraConfig", ())),
        hardware_version=int("".join(re.findall(r"\d+", props.get("config.version", ""))) or 0),
        tools_installed=props.get("guest.toolsVersionStatus2", "guestToolsNotInstalled") != "guestToolsNotInstalled",
        tools_running=props.get("guest.toolsRunningStatus") == "guestToolsRunning",
        guest_ready=bool(props.get("guest.guestOperationsReady")),
        fault_tolerance=str(props.get("runtime.faultToleranceState", "notConfigured")) != "notConfigured",
        question=question.text if question is not None else None,
        controllers=tuple(
            UsbController(kind=kind, key=one.key)
            for kind, type_of in CONTROLLERS.items()
            for one in devices
            if isinstance(one, type_of)
        ),
        usb=tuple(vm_usb(one) for one in devices if isinstance(one, device.VirtualUSB)),
        disks=sum(isinstance(one, device.VirtualDisk) for one in devices) if devices else None,
        options=options,
        change_version=props.get("config.changeVersion", ""),
        cpus=props.get("config.hardware.numCPU", 0),
        memory_mb=props.get("config.hardware.memoryMB", 0),
        memory_reservation_mb=props.get("config.memoryAllocation.reservation", 0),
        memory_locked=bool(props.get("config.memoryReservationLockedToMax")),
        cpu_hot_add=bool(props.get("config.cpuHotAddEnabled")),
        memory_hot_add=bool(props.get("config.memoryHotAddEnabled")),
        pci_hot_add=bool(props.get(PCI_HOT_ADD)),
        snapshots=tuple(snapshots(getattr(props.get("snapshot"), "rootSnapshotList", None) or ())),
        pci=tuple(vm_pci(one) for one in devices if isinstance(one, device.VirtualPCIPassthrough)),
        extra={
            one.key: str(one.value)
            for one in props.get("config.extraConfig", ())
            if one.key.lower().startswith(PASSTHROUGH)
        },
        vmx_path=props.get("config.files.vmPathName", ""),
    )


def snapshots(tree: Iterable[Any]) -> Iterator[Snapshot]:
    """Yield all snapshots of a tree, parents first; one that was taken of a running VM holds its memory."""
    for one in tree:
        yield Snapshot(name=one.name, memory=str(one.state) == "poweredOn")
        yield from snapshots(one.childSnapshotList or ())


def vm_pci(one: Any) -> VmPci:
    """Return one PCI passthrough entry of a VM's configuration; ids unsigned, as the host's are kept."""
    backing = one.backing
    if not isinstance(backing, device.VirtualPCIPassthrough.DeviceBackingInfo):
        return VmPci(key=one.key, name="dynamic DirectPath")
    return VmPci(
        key=one.key,
        address=spelled(backing.id),
        vendor=backing.vendorId & 0xFFFF,
        device=int(backing.deviceId, 16) if HEX.fullmatch(backing.deviceId or "") else None,
        system_id=backing.systemId or "",
        name=backing.deviceName or "",
    )


def spelled(address: str) -> str:
    """Return a PCI address in the one spelling that is compared; what is none stays as it is."""
    try:
        return pci_address(address)
    except InputError:
        return address


def vm_usb(one: Any) -> VmUsbDevice:
    """Return one USB entry of a VM's configuration; backings other than the host's have their own hostname too."""
    return VmUsbDevice(
        key=one.key,
        controller_key=one.controllerKey,
        pattern=getattr(one.backing, "deviceName", None) or "",
        hostname=getattr(one.backing, "hostname", None),
        connected=bool(one.connected),
        vendor=one.vendor,
        product=one.product,
    )


def family(guest_id: str, reported: str | None) -> GuestFamily:
    """Return how the guest is asked: what Tools report, or else what the VM was configured for."""
    if reported == "windowsGuest" or (not reported and guest_id.startswith("win")):
        return GuestFamily.WINDOWS
    if reported == "linuxGuest" or (not reported and LINUX.search(guest_id)):
        return GuestFamily.LINUX
    return GuestFamily.OTHER


def kernel(extra: Iterable[Any]) -> str:
    """Return the kernel or build that Tools wrote into the VM's configuration; empty when they did not."""
    details = {
        one.key: str(one.value) for one in extra if one.key in {"guestInfo.detailed.data", "guestOS.detailed.data"}
    }
    found = [found[1] for text in details.values() if (found := KERNEL.search(text))]
    return found[0] if found else ""


def host_usb(host: HostId, info: Any) -> HostUsbDevice:
    """Return one device that the arbitrator offers; its pattern is kept verbatim for a VM's backing."""
    summary = info.summary
    return HostUsbDevice(
        host=host,
        vendor=info.vendor & 0xFFFF,
        product=info.product & 0xFFFF,
        path=canonical_path(info.physicalPath),
        name=info.description or info.name or "",
        pattern=info.physicalPath,
        families=tuple(map(str, info.family or ())),
        speeds=tuple(map(str, info.speed or ())),
        used_by=ref_of(summary.vm) if summary is not None else None,
        used_by_name=plain_name(summary.config.name) if summary is not None and summary.config.name else None,
        offered=True,
    )


def usb_options(option: Any) -> UsbOptions | None:
    """Return what the config option says about USB; None when it describes no hardware at all."""
    hardware = getattr(option, "hardwareOptions", None)
    if hardware is None:
        return None
    usb = next((one for one in hardware.virtualDeviceOption or () if isinstance(one, device.VirtualUSBOption)), None)
    return UsbOptions(
        usb_supported=usb is not None,
        hot_add=getattr(usb, "plugAndPlay", None),
        hot_remove=getattr(usb, "hotRemoveSupported", None),
        max_ehci=getattr(hardware.numUSBControllers, "max", None),
        max_xhci=getattr(hardware.numUSBXHCIControllers, "max", None),
    )


def ref_of(one: Any) -> str | None:
    """Return the id of a managed object, such as `vm-7`; None for none."""
    return None if one is None else str(one._moId)  # noqa: SLF001  # pyVmomi's only name for the id
