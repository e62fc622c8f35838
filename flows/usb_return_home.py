"""Bring a virtual machine back to the host of its USB devices.

A VM that was powered off or suspended away from the host of its devices has lost them, and gets them back only there.
It is moved to that host as it is (running, suspended or off), then powered on or resumed if that is wanted, and each
device is looked for in vCenter, on the host and in the guest itself.

Known limits: the VM's configuration must name exactly one host of devices, and this host must be connected: where power
management switched it off, switch it on first. A VM that runs without its devices, because HA started it elsewhere or
somebody restarted it there, is powered off and on at home if they do not connect by themselves. The guest of a resumed
Linux may mount the disk elsewhere. An ESXi host without a vCenter can't do this.
"""

from __future__ import annotations

from pydantic import Field

from passgate.engine.steps import Ask, Reads, Risk, Steps, VmName, runbook
from passgate.model.inventory import Inventory, Power
from tasks import access, arbitrator, away, guest, host, power, usb, usb_device, vm, vmotion

PRIVILEGES = (
    "Resource.ColdMigrate",
    "Resource.HotMigrate",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Interact.PowerOn",
    "VirtualMachine.Interact.Suspend",
    "VirtualMachine.GuestOperations.Execute",
    "VirtualMachine.GuestOperations.Modify",
    "VirtualMachine.GuestOperations.Query",
)


class UsbReturnHome(Ask):
    """Ask for one VM."""

    vm: VmName
    power_on: bool = Field(
        default=True, title="Power on at home", description="Power a VM on that is off, resume one that is suspended"
    )


@runbook(risk=Risk.DISRUPTIVE, reads=frozenset({Reads.USB}))
def usb_return_home(ask: UsbReturnHome, site: Inventory) -> Steps:
    """Bring a VM back to the host of its USB devices."""
    machine, here = site.vm_and_host(ask.vm)
    yield access.IsVCenter()
    yield access.HoldsPrivileges(machine, PRIVILEGES)
    yield vm.IsReachable(machine)
    yield vm.HasTools(machine)
    yield vm.NoFaultTolerance(machine)
    yield away.HasOneHome(machine)
    yield away.AllDevicesMove(machine)
    yield away.NoPciPassthrough(machine)
    yield away.SharedDisks(machine)
    if len(vmotion.homes(machine)) != 1:
        return
    home = site.host(vmotion.homes(machine)[0])
    yield host.IsConnected(home)
    yield arbitrator.CanBeRead(home)
    yield away.SameDatacenter(machine, home)
    devices = away.devices_of(machine, site)
    for device in devices:
        yield usb_device.IsOffered(device)
        yield usb_device.IsFree(machine, device)

    yield arbitrator.Start(home)
    if here.ref != home.ref:
        yield vmotion.Allowed(machine, home)
    yield vmotion.Move(machine, home)
    if machine.power is Power.SUSPENDED and ask.power_on:
        yield power.Resume(machine)
    elif ask.power_on:
        yield power.On(machine)
    if machine.power is Power.ON and not all(entry.connected for entry in machine.usb):
        yield away.CycleAtHome(machine, devices, power.gentlest(machine))
    if ask.power_on or machine.power is Power.ON:
        for device in devices:
            yield usb.Connected(machine, device)
            yield guest.SeesUsb(machine, device)
