"""Add a USB controller to a virtual machine.

The VM is powered off, given the controller, and powered on again.
"""

from __future__ import annotations

from pydantic import Field

from passgate.engine.steps import Ask, Risk, Steps, VmName, runbook
from passgate.model.inventory import ControllerKind, Inventory, Power
from tasks import access, host, power, usb, vm, vmotion

PRIVILEGES = (
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Interact.PowerOn",
)


class UsbControllerAdd(Ask):
    """Ask for a controller of one kind."""

    vm: VmName
    kind: ControllerKind = Field(default=ControllerKind.XHCI, title="Kind", description="xhci is USB 3, ehci is USB 2")
    force_off: bool = Field(
        default=False, title="Power off at once", description="Power the VM off without shutting its guest down"
    )


@runbook(risk=Risk.DISRUPTIVE)
def usb_controller_add(ask: UsbControllerAdd, site: Inventory) -> Steps:
    """Add a USB controller to a VM."""
    machine, home = site.vm_and_host(ask.vm)
    yield access.ApiVersion(ask.kind)
    yield access.HoldsPrivileges(machine, PRIVILEGES)
    yield host.IsConnected(home)
    yield vm.IsReachable(machine)
    yield vm.IsNotSuspended(machine)
    yield vm.HardwareVersion(machine, ask.kind)
    yield vm.GuestHasDriver(machine, ask.kind)
    yield vm.ControllerFits(machine, ask.kind)

    if machine.controller(ask.kind) is None:
        yield vmotion.IsAtHome(machine)
        yield power.Off(machine, power.gentlest(machine, force=ask.force_off))
        yield usb.AddController(machine, ask.kind)
        if machine.power is Power.ON:
            yield power.On(machine)
    else:
        yield usb.AddController(machine, ask.kind)
