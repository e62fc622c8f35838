"""Hot-add CPU, memory or a PCI function to a virtual machine that has USB devices.

Hot add cuts a running VM off its USB devices without vMotion support, and data is lost on those that are mounted. So
each of them is taken out of use in the guest, never by force, and removed; then the VM is given what is asked for; then
each is added again, seen in the guest, and what was mounted is mounted again. At the end the guest itself must count
the CPUs and the memory, and show the function.

Known limits: CPUs and memory can't be taken from a running VM, so that this part is not taken back when something
fails after it; the devices come back all the same. USB devices with vMotion support stay connected, and are warned of.
A PCI function is hot-added only to a VM whose PCI hot plug is on (vSphere 8.0 U1 and later) and whose memory is all
reserved; all others get it with the VM off (pci-attach). A Linux that leaves hot-added CPUs or memory offline is not
told to bring them online; the look into it then fails, and says what it counted.
"""

from __future__ import annotations

from pydantic import Field

from passgate.engine.steps import Ask, Reads, Risk, Steps, VmName, runbook
from passgate.model.inventory import Inventory, PciFunction, Vm
from passgate.model.pci import PciSelector
from tasks import access, guest, guest_pci, hardware, host, pci, pci_vm, usb, usb_entry, vm

PRIVILEGES = (
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.AdvancedConfig",
    "VirtualMachine.Config.CPUCount",
    "VirtualMachine.Config.HostUSBDevice",
    "VirtualMachine.Config.Memory",
    "VirtualMachine.Config.Resource",
    "VirtualMachine.GuestOperations.Execute",
    "VirtualMachine.GuestOperations.Modify",
    "VirtualMachine.GuestOperations.Query",
)
MOST_CPUS, MOST_MEMORY_MB = 960, 24 * 1024 * 1024
"""Maximums of a VM in vSphere 8."""


class HardwareHotAdd(Ask):
    """Ask for CPUs and memory as the VM shall have them then, for a PCI function, or for several of these."""

    vm: VmName
    cpus: int | None = Field(
        default=None, ge=1, le=MOST_CPUS, title="CPUs", description="Number of virtual CPUs that the VM shall have"
    )
    memory_mb: int | None = Field(
        default=None, ge=4, le=MOST_MEMORY_MB, title="Memory", description="Memory that the VM shall have, in MiB"
    )

    function: PciSelector | None = Field(
        default=None, title="PCI function", description="Address (0000:05:00.0) or vendor:device"
    )


@runbook(risk=Risk.DISRUPTIVE, reads=frozenset({Reads.USB, Reads.GUEST, Reads.PCI}))
def hardware_hot_add(ask: HardwareHotAdd, site: Inventory) -> Steps:
    """Hot-add CPU, memory or a PCI function to a VM with USB devices."""
    machine, home = site.vm_and_host(ask.vm)
    attached = usb_entry.entries(site, machine)
    local = hardware.cut_off(attached)
    function = home.function(ask.function) if ask.function is not None else None
    former = hardware.Size(machine.cpus, machine.memory_mb)
    size = hardware.Size(ask.cpus or machine.cpus, ask.memory_mb or machine.memory_mb)
    resized = bool(ask.cpus or ask.memory_mb) or function is None

    yield access.HoldsPrivileges(machine, PRIVILEGES)
    yield host.IsConnected(home)
    yield vm.IsReachable(machine)
    yield vm.NoFaultTolerance(machine)
    yield vm.HasTools(machine)
    yield hardware.IsOn(machine)
    if resized:
        yield hardware.IsAllowed(machine, ask.cpus, ask.memory_mb)
        yield hardware.Grows(machine, ask.cpus, ask.memory_mb)
        yield hardware.HostHasMemory(home, ask.memory_mb)
    if function is not None:
        yield from _may_get(machine, function, site)
    yield hardware.UsbComesAndGoes(machine, tuple(one.device.words for one in local))
    yield hardware.MovableUsbStays(machine, tuple(one.device.words for one in attached if one.is_movable))
    for one in local:
        yield guest.TellsItsDisks(machine, one.device)
        yield guest.CanLetGo(machine, one.device)

    for one in local:
        yield from _let_go(machine, one, site)
    if function is not None:
        yield pci.AddDevice(machine, function, pci.former(machine))
    if resized:
        yield hardware.HotAdd(machine, size, former)
    for one in local:
        yield from _have_again(machine, one, site)
    if function is not None:
        yield guest_pci.SeesPci(machine, function)
    if resized:
        yield guest.SeesHardware(machine, ask.cpus, ask.memory_mb, machine.memory_mb)


def _may_get(machine: Vm, function: PciFunction, site: Inventory) -> Steps:
    """Check that the running VM can be given the function."""
    yield pci_vm.ApiVersion()
    yield hardware.PciComesHot(machine)
    yield pci_vm.IsActive(site.host(machine.host.ref), function)
    yield pci_vm.IsFree(machine, function)
    yield pci_vm.IsNotReserved(machine, function)
    yield pci_vm.NoMemorySnapshots(machine)
    yield pci_vm.NoSnapshots(machine)
    yield pci_vm.NothingScheduled(machine)
    yield pci_vm.NoMemoryHotAdd(machine)


def _let_go(machine: Vm, one: usb_entry.Attached, site: Inventory) -> Steps:
    """Take a device out of use in the guest, and remove it."""
    if used := guest.used(site, machine, one.device):
        yield guest.Release(machine, one.device, used)
    yield usb.RemoveDevice(machine, one.device, one.controller)


def _have_again(machine: Vm, one: usb_entry.Attached, site: Inventory) -> Steps:
    """Add a device again, see it, and bring it back into use."""
    yield usb.AddDevice(machine, one.device, one.controller)
    yield usb.Connected(machine, one.device)
    yield guest.SeesUsb(machine, one.device)
    if used := guest.used(site, machine, one.device):
        yield guest.TakeBack(machine, one.device, used)
