"""Detach a USB device from a virtual machine.

What the guest of a running VM has mounted from the device is unmounted first (Linux), or dismounted and taken offline
(Windows), never by force: the plan names it, and a program that keeps it busy ends the change with everything as it
was. Then the device is removed, and the host must show it free. Where the VM's host does not allow that while it runs,
the VM is shut down for it and powered on again. On request the device's controller is removed as well, its last device
first. An entry whose device is not on its host any more is removed as it is; that can't be taken back.

Known limits: LUKS, LVM, RAID and swap on the device are named and refused, not taken apart; a guest that is neither
Windows nor Linux, or without VMware Tools, has to be shut down before a drive is detached from it.
"""

from __future__ import annotations

from pydantic import Field

from passgate.engine.steps import Ask, Reads, Risk, Steps, UsbSelector, VmName, runbook
from passgate.model.inventory import Inventory, Power
from tasks import access, guest, host, power, usb, usb_entry, vm, vmotion

PRIVILEGES = (
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.HostUSBDevice",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Interact.PowerOn",
    "VirtualMachine.GuestOperations.Execute",
    "VirtualMachine.GuestOperations.Modify",
    "VirtualMachine.GuestOperations.Query",
)


class UsbDetach(Ask):
    """Ask for one device that the VM's configuration names."""

    vm: VmName
    device: UsbSelector
    controller: bool = Field(
        default=False, title="Remove the controller too", description="Remove the virtual USB controller as well"
    )
    power_cycle: bool = Field(
        default=False,
        title="Power off for it",
        description="Power the VM off and on again, even if the device can be removed while it runs",
    )
    force_off: bool = Field(
        default=False, title="Power off at once", description="Power the VM off without shutting its guest down"
    )


@runbook(risk=Risk.DISRUPTIVE, reads=frozenset({Reads.USB, Reads.GUEST}))
def usb_detach(ask: UsbDetach, site: Inventory) -> Steps:
    """Detach a USB device from a VM."""
    machine, home = site.vm_and_host(ask.vm)
    found = usb_entry.attached_to(site, machine, ask.device)
    hot = usb.goes_hot(machine, power_cycle=ask.power_cycle or ask.force_off)
    how = power.gentlest(machine, force=ask.force_off)

    yield access.ApiVersion(found.controller)
    yield access.HoldsPrivileges(machine, PRIVILEGES)
    yield host.IsConnected(home)
    yield vm.IsReachable(machine)
    yield vm.IsNotSuspended(machine)
    yield guest.TellsItsDisks(machine, found.device)
    yield guest.CanLetGo(machine, found.device)
    if ask.controller:
        yield usb_entry.ControllerIsFree(machine, found)

    used = guest.used(site, machine, found.device)
    if used and (hot or how is power.How.HARD):
        yield guest.Release(machine, found.device, used)
    if not hot:
        yield vmotion.IsAtHome(machine)
        yield power.Off(machine, how)
    if found.is_there:
        yield usb.RemoveDevice(machine, found.device, found.controller, vmotion=found.is_movable)
    else:
        yield usb_entry.RemoveEntry(machine, found.device)
    if ask.controller:
        yield usb.RemoveController(machine, found.controller)
    if machine.power is Power.ON and not hot:
        yield power.On(machine)
    if found.is_there:
        yield usb.Freed(found.device)
