"""Hot-add CPU and memory to a virtual machine that has USB devices.

Hot add cuts a running VM off its USB devices without vMotion support, and data is lost on those that are mounted. So
each of them is taken out of use in the guest, never by force, and removed; then the VM is given what is asked for; then
each is added again, seen in the guest, and what was mounted is mounted again. At the end the guest itself must count
the CPUs and the memory.

Known limits: CPUs and memory can't be taken from a running VM, so that this part is not taken back when something
fails after it; the devices come back all the same. USB devices with vMotion support stay connected, and are warned of.
PCI devices are not hot-added: attach them with the VM off (pci-attach). A Linux that leaves hot-added CPUs or memory
offline is not told to bring them online; the look into it then fails, and says what it counted.
"""

from __future__ import annotations

from pydantic import Field

from passgate.engine.steps import Ask, Reads, Risk, Steps, VmName, runbook
from passgate.model.inventory import Inventory
from tasks import access, guest, hardware, host, usb, usb_entry, vm

PRIVILEGES = (
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.CPUCount",
    "VirtualMachine.Config.HostUSBDevice",
    "VirtualMachine.Config.Memory",
    "VirtualMachine.GuestOperations.Execute",
    "VirtualMachine.GuestOperations.Modify",
    "VirtualMachine.GuestOperations.Query",
)
MOST_CPUS, MOST_MEMORY_MB = 960, 24 * 1024 * 1024
"""Maximums of a VM in vSphere 8."""


class HardwareHotAdd(Ask):
    """Ask for CPUs, memory or both, as the VM shall have them then."""

    vm: VmName
    cpus: int | None = Field(
        default=None, ge=1, le=MOST_CPUS, title="CPUs", description="Number of virtual CPUs that the VM shall have"
    )
    memory_mb: int | None = Field(
        default=None, ge=4, le=MOST_MEMORY_MB, title="Memory", description="Memory that the VM shall have, in MiB"
    )


@runbook(risk=Risk.DISRUPTIVE, reads=frozenset({Reads.USB, Reads.GUEST}))
def hardware_hot_add(ask: HardwareHotAdd, site: Inventory) -> Steps:
    """Hot-add CPU and memory to a VM with USB devices."""
    machine, home = site.vm_and_host(ask.vm)
    attached = usb_entry.entries(site, machine)
    local = hardware.cut_off(attached)
    former = hardware.Size(machine.cpus, machine.memory_mb)
    size = hardware.Size(ask.cpus or machine.cpus, ask.memory_mb or machine.memory_mb)

    yield access.HoldsPrivileges(machine, PRIVILEGES)
    yield host.IsConnected(home)
    yield vm.IsReachable(machine)
    yield vm.NoFaultTolerance(machine)
    yield vm.HasTools(machine)
    yield hardware.IsOn(machine)
    yield hardware.IsAllowed(machine, ask.cpus, ask.memory_mb)
    yield hardware.Grows(machine, ask.cpus, ask.memory_mb)
    yield hardware.HostHasMemory(home, ask.memory_mb)
    yield hardware.UsbComesAndGoes(machine, tuple(one.device.words for one in local))
    yield hardware.MovableUsbStays(machine, tuple(one.device.words for one in attached if one.is_movable))
    for one in local:
        yield guest.TellsItsDisks(machine, one.device)
        yield guest.CanLetGo(machine, one.device)

    for one in local:
        if used := guest.used(site, machine, one.device):
            yield guest.Release(machine, one.device, used)
        yield usb.RemoveDevice(machine, one.device, one.controller)
    yield hardware.HotAdd(machine, size, former)
    for one in local:
        yield usb.AddDevice(machine, one.device, one.controller)
        yield usb.Connected(machine, one.device)
        yield guest.SeesUsb(machine, one.device)
        if used := guest.used(site, machine, one.device):
            yield guest.TakeBack(machine, one.device, used)
    yield guest.SeesHardware(machine, ask.cpus, ask.memory_mb, machine.memory_mb)
