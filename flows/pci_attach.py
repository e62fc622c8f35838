"""Attach a PCI function of a host to a virtual machine.

The VM is shut down, all of its memory is reserved and the function is added in one change, vCenter is asked whether it
would power the VM on, and then it is powered on; the function is looked for in the guest itself, and so is a USB device
behind it, where one is named. This is the way for USB devices that VMware's USB passthrough can't do: the whole
controller goes to the VM, with everything on its ports. Passthrough of the function must be active on the VM's host
(pci-enable).

Known limits: while the VM has the function it can't be suspended, moved with vMotion or snapshotted, and HA can't
restart it on another host. Existing snapshots and vCenter's scheduled tasks that stand in the way are named in the
plan; schedules of backup products can't be seen from here. Functions that vSphere assigns by itself (Dynamic
DirectPath), SR-IOV and devices with large memory regions (more than 16 GB) are not handled. What the VM had reserved
before is kept in its advanced settings, for pci-detach.
"""

from __future__ import annotations

from pydantic import Field

from passgate.engine.steps import Ask, Reads, Risk, Steps, UsbSelector, VmName, runbook
from passgate.model.inventory import Inventory
from passgate.model.pci import PciSelector
from tasks import access, guest, guest_pci, host, pci, pci_controller, pci_vm, power, vm, vmotion

PRIVILEGES = (
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.AdvancedConfig",
    "VirtualMachine.Config.Resource",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Interact.PowerOn",
    "VirtualMachine.GuestOperations.Execute",
    "VirtualMachine.GuestOperations.Modify",
    "VirtualMachine.GuestOperations.Query",
)


class PciAttach(Ask):
    """Ask for one function of the host that the VM is on."""

    vm: VmName
    function: PciSelector = Field(title="PCI function", description="Address (0000:05:00.0) or vendor:device")
    usb: UsbSelector | None = Field(
        default=None,
        title="USB device behind it",
        description="A USB device that the guest must see behind the controller, by vendor:product and maybe serial",
    )
    force_off: bool = Field(
        default=False, title="Power off at once", description="Power the VM off without shutting its guest down"
    )


@runbook(risk=Risk.DISRUPTIVE, reads=frozenset({Reads.PCI}))
def pci_attach(ask: PciAttach, site: Inventory) -> Steps:
    """Attach a PCI function to a VM."""
    machine, home = site.vm_and_host(ask.vm)
    function = home.function(ask.function)
    behind = pci_controller.expected(home, ask.usb)

    yield pci_vm.ApiVersion()
    yield access.HoldsPrivileges(machine, PRIVILEGES)
    yield host.IsConnected(home)
    yield vm.IsReachable(machine)
    yield vm.IsNotSuspended(machine)
    yield vm.HasTools(machine)
    yield pci_vm.HardwareVersion(machine)
    yield pci_vm.IsActive(home, function)
    yield pci_vm.IsFree(machine, function)
    yield pci_vm.IsNotReserved(machine, function)
    yield pci_vm.NoFaultTolerance(machine)
    yield pci_vm.NoMemorySnapshots(machine)
    yield pci_vm.NoSnapshots(machine)
    yield pci_vm.NothingScheduled(machine)
    yield pci_vm.MemoryCanBeReserved(machine, home)
    yield pci_vm.NoMemoryHotAdd(machine)

    if machine.passes(function) is None:
        yield vmotion.IsAtHome(machine)
        yield power.Off(machine, power.gentlest(machine, force=ask.force_off))
        yield pci.AddDevice(machine, function, pci.former(machine))
        yield pci.WouldPowerOn(machine)
    yield power.On(machine)
    yield guest_pci.SeesPci(machine, function)
    if behind is not None:
        yield guest.SeesUsb(machine, behind)
