"""Move a USB device from one virtual machine to another.

One change: the device is taken out of use in the guest that has it, removed from that VM, seen free on its host, added
to the other VM, and seen in that one's guest. If anything after the removal fails, the device goes back: it is added to
the first VM again, and what that one's guest had mounted is mounted again. Each VM whose host does not allow USB
devices to be added and removed while it runs is shut down for it; the VM that gets the device is on in the end.

Known limits: both VMs must be on the device's host; what is on a Linux drive is mounted in the guest that loses it, and
not by Passgate in the one that gets it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from passgate.engine.steps import Ask, Reads, Risk, Steps, UsbSelector, VmName, runbook
from passgate.model.inventory import ControllerKind, Host, HostUsbDevice, Inventory, Power, Vm
from tasks import access, arbitrator, guest, host, power, usb, usb_device, usb_entry, vm, vmotion

PRIVILEGES = (
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.HostUSBDevice",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Interact.PowerOn",
    "VirtualMachine.Interact.Reset",
    "VirtualMachine.GuestOperations.Execute",
    "VirtualMachine.GuestOperations.Modify",
    "VirtualMachine.GuestOperations.Query",
)


class UsbMove(Ask):
    """Ask for one device that the first VM has, and the VM that shall have it."""

    vm: VmName
    device: UsbSelector
    to: Annotated[VmName, Field(title="To VM", description="Name of the VM that gets the device, or its instance UUID")]
    vmotion: bool = Field(
        default=False, title="Support vMotion", description="Support vMotion while the other VM has the device"
    )
    power_cycle: bool = Field(
        default=False,
        title="Power off for it",
        description="Power the VMs off and on again, even if the device can be moved while they run",
    )
    force_off: bool = Field(
        default=False, title="Power off at once", description="Power VMs off without shutting their guests down"
    )


@runbook(risk=Risk.DISRUPTIVE, reads=frozenset({Reads.USB, Reads.GUEST}))
def usb_move(ask: UsbMove, site: Inventory) -> Steps:
    """Move a USB device from one VM to another."""
    first, second = site.vm(ask.vm), site.vm(ask.to)
    found = usb_entry.attached_to(site, first, ask.device)
    device = usb_entry.on_host(found)
    home = site.host(device.host.ref)
    kind = usb.controller_for(device, second)
    cycle = ask.power_cycle or ask.force_off
    first_hot, second_hot = usb.goes_hot(first, power_cycle=cycle), usb.goes_hot(second, power_cycle=cycle)
    how = power.gentlest(first, force=ask.force_off)

    yield from _may_leave(first, found, device, site)
    yield usb_entry.OtherVm(first, second)
    yield from _may_get(second, home, device, kind)
    yield usb_device.IsNotReserved(second, device, leaving=first)
    yield usb_device.HasNoOtherBacking(second, device, ask.vmotion)
    if ask.vmotion:
        yield access.IsVCenter()
        yield vmotion.PowerManagementOff(home)
        yield vmotion.ManagementNetwork(home)
        yield vmotion.OtherDevicesMove(second, device)

    used = guest.used(site, first, device)
    if used and (first_hot or how is power.How.HARD):
        yield guest.Release(first, device, used)
    if not first_hot:
        yield vmotion.IsAtHome(first)
        yield power.Off(first, how)
    yield usb.RemoveDevice(first, device, found.controller, vmotion=found.is_movable)
    yield usb.Freed(device)
    if first.power is Power.ON and not first_hot:
        yield power.On(first)

    if not second_hot:
        yield vmotion.IsAtHome(second)
        yield power.Off(second, power.gentlest(second, force=ask.force_off))
    yield usb.AddController(second, kind)
    yield usb.AddDevice(second, device, kind, vmotion=ask.vmotion)
    yield power.On(second)
    yield usb.Connected(second, device)
    if second_hot:
        yield usb.AddOnceMore(second, device, kind, vmotion=ask.vmotion)
        yield guest.Reboot(second, device)
    yield guest.SeesUsb(second, device)


def _may_leave(first: Vm, found: usb_entry.Attached, device: HostUsbDevice, site: Inventory) -> Steps:
    """Check that the device can be taken from the VM that has it."""
    yield access.HoldsPrivileges(first, PRIVILEGES)
    yield host.IsConnected(site.host(first.host.ref))
    yield vm.IsReachable(first)
    yield vm.IsNotSuspended(first)
    yield usb_entry.IsConnected(first, found)
    yield guest.TellsItsDisks(first, device)
    yield guest.CanLetGo(first, device)


def _may_get(second: Vm, home: Host, device: HostUsbDevice, kind: ControllerKind) -> Steps:
    """Check that the other VM can have it."""
    yield usb_entry.SameHost(second, device)
    yield arbitrator.CanBeRead(home)
    yield access.ApiVersion(kind)
    yield access.HoldsPrivileges(second, PRIVILEGES)
    yield host.VersionEnough(home, usb3=device.is_usb3)
    yield from vm.can_take(second, device, kind)
    yield vm.HasOwnDisk(second, device)
