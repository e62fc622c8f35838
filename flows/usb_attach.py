"""Attach a host USB device to a virtual machine.

A running VM gets the device while it runs, where its host's options allow USB devices to be added and removed so. If
its guest then does not see the device, it is added once more, and if that does not help either, the guest is rebooted
behind a gate of its own. Else, or if a power cycle is asked for, the VM is powered off, given a USB controller if it
has none that fits, and the device; then it is powered on again. In the end the device is looked for in vCenter, on the
host and in the guest itself.
"""

from __future__ import annotations

from pydantic import Field

from passgate.engine.steps import Ask, Reads, Risk, Steps, UsbSelector, VmName, runbook
from passgate.model.inventory import Inventory
from tasks import access, arbitrator, guest, host, power, usb, usb_device, vm, vmotion

PRIVILEGES = (
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.HostUSBDevice",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Interact.PowerOn",
    "VirtualMachine.GuestOperations.Execute",
    "VirtualMachine.GuestOperations.Modify",
    "VirtualMachine.GuestOperations.Query",
)
WHILE_ON = (*PRIVILEGES, "VirtualMachine.Interact.Reset")
"""A reboot of the guest, if it comes to that, needs the last one."""


class UsbAttach(Ask):
    """Ask for one device on the host that the VM is on."""

    vm: VmName
    device: UsbSelector
    vmotion: bool = Field(
        default=False, title="Support vMotion", description="Support vMotion while the device is connected"
    )
    power_cycle: bool = Field(
        default=False,
        title="Power off for it",
        description="Power the VM off and on again, even if the device can be added while it runs",
    )
    force_off: bool = Field(
        default=False, title="Power off at once", description="Power the VM off without shutting its guest down"
    )


@runbook(risk=Risk.DISRUPTIVE, reads=frozenset({Reads.USB}))
def usb_attach(ask: UsbAttach, site: Inventory) -> Steps:
    """Attach a host USB device to a VM."""
    machine, home = site.vm_and_host(ask.vm)
    yield arbitrator.CanBeRead(home)
    device = home.usb_device(ask.device)
    kind = usb.controller_for(device, machine)
    hot = usb.goes_hot(machine, power_cycle=ask.power_cycle or ask.force_off)

    yield access.ApiVersion(kind)
    yield access.HoldsPrivileges(machine, WHILE_ON if hot else PRIVILEGES)
    yield host.IsConnected(home)
    yield host.VersionEnough(home, usb3=device.is_usb3)
    yield host.FullSpeed(home, device)
    yield host.DevicesInUse(home, device)
    yield arbitrator.HostControllers(home, device)
    yield from vm.can_take(machine, device, kind)
    yield vm.HasOwnDisk(machine, device)
    yield usb_device.DoesNotBootHost(device)
    yield usb_device.IsNoHub(device)
    yield usb_device.IsNoSmartCard(device)
    yield usb_device.IsNotIsochronous(device)
    yield usb_device.IsNoHumanInput(device)
    yield usb_device.IsOffered(device)
    yield usb_device.IsFree(machine, device)
    yield usb_device.IsNotReserved(machine, device)
    yield usb_device.HasNoOtherBacking(machine, device, ask.vmotion)
    if ask.vmotion:
        yield access.IsVCenter()
        yield vmotion.PowerManagementOff(home)
        yield vmotion.ManagementNetwork(home)
        yield vmotion.OtherDevicesMove(machine, device)

    yield arbitrator.Start(home)
    added = not usb.is_attached(machine, device, vmotion=ask.vmotion)
    if added and not hot:
        yield vmotion.IsAtHome(machine)
        yield power.Off(machine, power.gentlest(machine, force=ask.force_off))
    if added:
        yield usb.AddController(machine, kind)
        yield usb.AddDevice(machine, device, kind, vmotion=ask.vmotion)
    yield power.On(machine)
    yield usb.Connected(machine, device)
    if added and hot:
        yield usb.AddOnceMore(machine, device, kind, vmotion=ask.vmotion)
        yield guest.Reboot(machine, device)
    yield guest.SeesUsb(machine, device)
