"""Detach a PCI function of a host from a virtual machine.

The VM is shut down, the function is removed and the memory reservation restored in one change, and the VM is powered
on again if it was on. What is reserved then is what the request says, else what pci-attach kept in the VM's advanced
settings when it added the function.

Known limits: where neither says what was reserved before, all of the VM's memory stays reserved, and the plan warns of
it: nothing is guessed. The function stays set aside for VMs on the host (pci-disable gives it back to the host).
Functions that vSphere assigns by itself (Dynamic DirectPath) are not handled.
"""

from __future__ import annotations

from pydantic import Field

from passgate.engine.steps import Ask, Reads, Risk, Steps, VmName, runbook
from passgate.model.inventory import Inventory, Power
from passgate.model.pci import PciSelector
from tasks import access, host, pci, pci_controller, pci_vm, power, vm, vmotion

PRIVILEGES = (
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.AdvancedConfig",
    "VirtualMachine.Config.Resource",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Interact.PowerOn",
)


class PciDetach(Ask):
    """Ask for one function that the VM has."""

    vm: VmName
    function: PciSelector = Field(title="PCI function", description="Address (0000:05:00.0) or vendor:device")
    reservation_mb: int | None = Field(
        default=None,
        ge=0,
        le=24 * 1024 * 1024,
        title="Memory reservation",
        description="MiB to be reserved then, 0 for none; left out: what was reserved before the function came",
    )
    force_off: bool = Field(
        default=False, title="Power off at once", description="Power the VM off without shutting its guest down"
    )


@runbook(risk=Risk.DISRUPTIVE, reads=frozenset({Reads.PCI}))
def pci_detach(ask: PciDetach, site: Inventory) -> Steps:
    """Detach a PCI function from a VM."""
    machine, home = site.vm_and_host(ask.vm)
    function = pci_controller.attached(machine, home, ask.function)

    yield pci_vm.ApiVersion()
    yield access.HoldsPrivileges(machine, PRIVILEGES)
    yield host.IsConnected(home)
    yield vm.IsReachable(machine)
    yield vm.IsNotSuspended(machine)
    yield pci_vm.ReservationIsKnown(machine, function, ask.reservation_mb)

    reservation = pci.restored(machine, function, ask.reservation_mb)
    if machine.passes(function) is not None:
        yield vmotion.IsAtHome(machine)
        yield power.Off(machine, power.gentlest(machine, force=ask.force_off))
        yield pci.RemoveDevice(machine, function, reservation, pci.kept(machine))
        if machine.power is Power.ON:
            yield power.On(machine)
    else:
        yield pci.RemoveDevice(machine, function, reservation)
