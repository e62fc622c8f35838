"""What vSphere answers becomes the model, also where it leaves things out."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim, vmodl

from passgate.connect.vsphere.parsing import (
    VITAL,
    dpm,
    family,
    host_from,
    host_usb,
    kernel,
    plain_name,
    usb_options,
    vm_from,
)
from passgate.connect.vsphere.reading import Row, demand_vital
from passgate.errors import PassgateError, RefusedError, UnreachableError
from passgate.model.inventory import GuestFamily, HostId, Power

HOST = HostId(ref="host-1", name="esx-01", uuid="u")
device = vim.vm.device


def test_an_inaccessible_vm_is_read_as_far_as_it_goes() -> None:
    """Take a VM without any configuration: vCenter knows only its name and that it is inaccessible."""
    vm = vm_from("vm-9", {"name": "lost", "runtime.connectionState": "inaccessible"}, HOST)
    assert (vm.name, vm.uuid, vm.connection, vm.power) == ("lost", "", "inaccessible", Power.UNKNOWN)
    assert (vm.controllers, vm.usb) == ((), ())


def test_what_was_not_read_is_no_fact() -> None:
    """Call power and connection unknown when the answer has none: neither `off` nor `connected` was seen."""
    vm, host = vm_from("vm-9", {"name": "x"}, HOST), host_from("host-1", {"name": "esx-01"}, {})
    assert (vm.power, vm.connection, host.connection) == (Power.UNKNOWN, "unknown", "unknown")


@pytest.mark.parametrize("path", VITAL)
@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (None, UnreachableError, "left it out"),
        (vmodl.fault.SystemError(reason="x"), UnreachableError, "SystemError"),
        (vim.fault.NoPermission(privilegeId="System.Read"), RefusedError, "System.Read"),
    ],
)
def test_a_vm_without_a_vital_property_was_not_read(
    path: str, fault: Any, error: type[PassgateError], words: str
) -> None:
    """Raise for a VM whose answer lacks what changes are judged by, and name VM, property and reason."""
    props = [vmodl.DynamicProperty(name=one, val="x") for one in VITAL if one != path]
    missing = [] if fault is None else [vmodl.query.PropertyCollector.MissingProperty(path=path, fault=fault)]
    with pytest.raises(error, match=f"{path} of win-01") as caught:
        demand_vital("win-01", Row(props, missing))
    assert words in caught.value.message
    assert caught.value.safe_to_repeat is (error is UnreachableError)


def test_an_empty_list_of_devices_was_read() -> None:
    """Tell a VM without any device, or with fault tolerance unset, from one of which these could not be read."""
    props = [vmodl.DynamicProperty(name=one, val=[] if one == "config.hardware.device" else "x") for one in VITAL]
    demand_vital("win-01", Row(props))


def test_usb_entries_of_all_backings() -> None:
    """Tell host devices with and without vMotion support apart, and survive an entry without a backing."""
    usb = device.VirtualUSB
    devices = [
        device.VirtualUSBXHCIController(key=14000),
        device.VirtualUSBController(key=7000),
        usb(key=1, controllerKey=14000, connected=True, backing=usb.USBBackingInfo(deviceName="path:0/1/3 version:2")),
        usb(key=2, connected=False, backing=usb.RemoteHostBackingInfo(deviceName="path:0/1/4", hostname="esx-01")),
        usb(key=3, connected=False),
    ]
    vm = vm_from("vm-7", {"name": "x", "config.hardware.device": devices}, HOST)
    assert [(one.kind.value, one.key) for one in vm.controllers] == [("xhci", 14000), ("ehci", 7000)]
    assert [(one.pattern, one.hostname, one.connected) for one in vm.usb] == [
        ("path:0/1/3 version:2", None, True),
        ("path:0/1/4", "esx-01", False),
        ("", None, False),
    ]


def test_names_are_as_people_see_them() -> None:
    """Undo vCenter's escapes, once only, so that a name with a percent sign survives."""
    assert plain_name("a%2fb%5cc 100%25 %252f") == "a/b\\c 100% %2f"


@pytest.mark.parametrize(
    ("guest_id", "reported", "expected"),
    [
        ("windows2019srv_64Guest", None, GuestFamily.WINDOWS),
        ("winNetStandardGuest", None, GuestFamily.WINDOWS),
        ("rhel8_64Guest", None, GuestFamily.LINUX),
        ("vmwarePhoton64Guest", None, GuestFamily.LINUX),
        ("other3xLinux64Guest", None, GuestFamily.LINUX),
        ("darwin22_64Guest", None, GuestFamily.OTHER),
        ("freebsd14_64Guest", None, GuestFamily.OTHER),
        ("vmkernel8Guest", None, GuestFamily.OTHER),
        ("solaris11_64Guest", None, GuestFamily.OTHER),
        ("otherGuest64", "linuxGuest", GuestFamily.LINUX),
        ("rhel8_64Guest", "windowsGuest", GuestFamily.WINDOWS),
    ],
)
def test_guest_family(guest_id: str, reported: str | None, expected: GuestFamily) -> None:
    """Believe Tools first, the configured guest second."""
    assert family(guest_id, reported) is expected


def test_every_linux_that_vsphere_knows_is_linux() -> None:
    """Leave no guest id of vSphere's that is a Linux without a family."""
    others = ("dos", "win", "freebsd", "sol", "os2", "eCom", "netware", "openServer", "unixWare", "darwin", "vmkernel")
    ids = [str(one) for one in vim.vm.GuestOsDescriptor.GuestOsIdentifier.values]
    linux = [one for one in ids if not one.startswith((*others, "other")) or "Linux" in one]
    assert [one for one in linux if family(one, None) is not GuestFamily.LINUX] == []
    assert [one for one in ids if one.startswith(others) and family(one, None) is GuestFamily.LINUX] == []


def test_kernel_from_tools() -> None:
    """Take the kernel out of what Tools write into the configuration."""
    text = "architecture='X86' bitness='64' kernelVersion='4.18.0-305.el8.x86_64' prettyName='Red Hat'"
    assert kernel([vim.option.OptionValue(key="guestInfo.detailed.data", value=text)]) == "4.18.0-305.el8.x86_64"
    assert kernel([vim.option.OptionValue(key="svga.present", value="TRUE")]) == ""


@pytest.mark.parametrize(
    ("cluster", "own", "expected"),
    [(True, None, True), (True, False, False), (True, True, True), (False, True, False), (None, None, False)],
)
def test_dpm_of_a_host(cluster: bool | None, own: bool | None, expected: bool) -> None:
    """Let the host's override win over a cluster with DPM; without DPM in the cluster no host has it."""
    config = vim.cluster.ConfigInfoEx()
    if cluster is not None:
        config.dpmConfigInfo = vim.cluster.DpmConfigInfo(enabled=cluster)
    if own is not None:
        config.dpmHostConfig = [vim.cluster.DpmHostConfigInfo(key=vim.HostSystem("host-1", None), enabled=own)]
    assert dpm("host-1", config) is expected
    assert dpm("host-1", None) is False


def test_a_host_counts_its_usb_controllers() -> None:
    """Count PCI functions of the USB class, also where the class id came as a negative short."""
    pci = [vim.host.PciDevice(classId=one) for one in (0x0C03, 0x0C03, 0x0106, -32000)]
    host = host_from("host-1", {"name": "esx-01", "hardware.pciDevice": pci}, {})
    assert host.usb_controllers == 2


def test_an_offered_device_keeps_its_pattern() -> None:
    """Hold the arbitrator's pattern verbatim and its path without the version, and who uses it."""
    info = vim.vm.UsbInfo(
        name="n", description="STORE N GO", vendor=0x18A5, product=0x0302, physicalPath="path:0/1/3 version:2",
        family=["storage"], speed=["high"],
        summary=vim.vm.Summary(vm=vim.VirtualMachine("vm-7", None), config=vim.vm.Summary.ConfigSummary(name="a%2fb")),
    )  # fmt: skip
    seen = host_usb(HOST, info)
    assert (seen.path, seen.pattern, seen.used_by, seen.used_by_name) == (
        "0/1/3",
        "path:0/1/3 version:2",
        "vm-7",
        "a/b",
    )
    assert (seen.vid_pid, seen.families, seen.speeds, seen.offered) == ("18a5:0302", ("storage",), ("high",), True)


def test_options_that_do_not_speak_of_usb() -> None:
    """Tell a server that says nothing from one that says no."""
    assert usb_options(vim.vm.ConfigOption()) is None
    said = usb_options(vim.vm.ConfigOption(hardwareOptions=vim.vm.VirtualHardwareOption()))
    assert said is not None
    assert said.usb_supported is False
