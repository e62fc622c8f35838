"""Set a PCI function of a host aside for virtual machines, such as the USB controller that a device hangs on.

The function is named, or the USB device whose controller is meant: then the device's bus is looked up, and it must be
proven which controller the bus belongs to. Every function that goes along, because it shares a bridge, is named. Where
the host can rebind a device without a reboot, that is all, and passthrough is seen in effect at once. Where it can't,
a gate of its own follows; behind it the host is emptied, put into maintenance mode and rebooted, passthrough is seen in
effect, and host and VMs are given back as they were. Some hosts (ESXi 7) forget it at the reboot: then it is set once
more.

Known limits: the controller of ESXi's boot device, the host's only USB controller while anything is plugged in, the
management network's card and storage adapters are never set aside. Which controller a bus belongs to is told by the
root hub's serial, where ESXi writes the address there, by the host having only one, or by a person's record in
config/site.yaml; otherwise the request is refused. On hosts that forget passthrough at each boot, the next reboot takes
it away again: that is a matter of the host. SR-IOV is not handled.
"""

from __future__ import annotations

from pydantic import Field

from passgate.engine.steps import Ask, HostName, Reads, Risk, Steps, UsbSelector, runbook
from passgate.model.inventory import Inventory
from passgate.model.pci import PciSelector
from tasks import access, arbitrator, evacuation, host, passthrough, pci_controller

PRIVILEGES = ("Host.Config.PciPassthru",)
REBOOT_PRIVILEGES = (*PRIVILEGES, "Host.Config.Maintenance")


class PciEnable(Ask):
    """Ask for one function of a host, by itself or by a USB device on it."""

    host: HostName
    device: UsbSelector | None = Field(
        default=None, title="USB device", description="The USB device whose whole controller is meant"
    )
    function: PciSelector | None = Field(
        default=None, title="PCI function", description="Address (0000:05:00.0) or vendor:device, in place of a device"
    )
    shut_down: bool = Field(
        default=False,
        title="Shut down what can't move",
        description="Shut VMs down that can't leave the host, for the time of a reboot",
    )


@runbook(risk=Risk.HOST_WIDE, reads=frozenset({Reads.USB, Reads.PCI}))
def pci_enable(ask: PciEnable, site: Inventory) -> Steps:
    """Enable passthrough of a host's PCI function."""
    home = site.host(ask.host)
    yield arbitrator.CanBeRead(home)
    place = pci_controller.chosen(home, ask.device, ask.function)
    yield pci_controller.IsProven(place)
    if place.function is None:
        return
    function, functions = place.function, home.together_with(place.function)
    live = passthrough.can_be_live(site, home)
    reboots = passthrough.needs_reboot(site, home, functions, enabled=True)

    yield access.HoldsHostPrivileges(home, REBOOT_PRIVILEGES if reboots else PRIVILEGES)
    yield host.IsConnected(home)
    yield passthrough.HasIommu(home)
    yield passthrough.IsCapable(function)
    yield passthrough.SparesTheHost(home, functions)
    yield passthrough.TakesNoNetwork(home, functions)
    for one in pci_controller.controllers(functions):
        yield pci_controller.DoesNotBootHost(home, one)
        yield pci_controller.IsNotTheOnlyOne(home, one)
        yield pci_controller.NothingIsInUse(home, one)
        yield pci_controller.HasNoInput(home, one)
    if reboots:
        yield passthrough.NothingElseWaits(home, functions)
        yield from evacuation.requirements(home, shut_down=ask.shut_down)

    yield passthrough.Set(home, functions, enabled=True, now=live, reboot_follows=reboots, proof=place.proof)
    if reboots:
        yield from evacuation.clear(home, site, shut_down=ask.shut_down)
        yield evacuation.reboot(home, site)
        if live:
            yield passthrough.ApplyAgain(home, functions, enabled=True)
    yield passthrough.ShowsActive(home, functions)
    if reboots:
        yield from evacuation.refill(home, site, shut_down=ask.shut_down)
