"""Give a PCI function that was set aside for virtual machines back to its host.

The mirror image of pci-enable: no VM, on or off, may have the function in its configuration. Where the host can rebind
a device without a reboot, that is all. Where it can't, a gate of its own follows; behind it the host is emptied, put
into maintenance mode and rebooted, passthrough is seen gone, and host and VMs are given back as they were. Every
function that comes back along, because it shares a bridge, is named.

Known limits: VMs that are registered on other hosts are not looked at; one that names this function can't be powered on
there in any case. Which USB devices come back with a controller is seen only after it has come back.
"""

from __future__ import annotations

from pydantic import Field

from passgate.engine.steps import Ask, HostName, Reads, Risk, Steps, runbook
from passgate.model.inventory import Inventory
from passgate.model.pci import PciSelector
from tasks import access, evacuation, host, passthrough

PRIVILEGES = ("Host.Config.PciPassthru",)
REBOOT_PRIVILEGES = (*PRIVILEGES, "Host.Config.Maintenance")


class PciDisable(Ask):
    """Ask for one function of a host."""

    host: HostName
    function: PciSelector = Field(title="PCI function", description="Address (0000:05:00.0) or vendor:device")
    shut_down: bool = Field(
        default=False,
        title="Shut down what can't move",
        description="Shut VMs down that can't leave the host, for the time of a reboot",
    )


@runbook(risk=Risk.HOST_WIDE, reads=frozenset({Reads.USB, Reads.PCI}))
def pci_disable(ask: PciDisable, site: Inventory) -> Steps:
    """Disable passthrough of a host's PCI function."""
    home = site.host(ask.host)
    functions = home.together_with(home.function(ask.function))
    live = passthrough.can_be_live(site, home)
    reboots = passthrough.needs_reboot(site, home, functions, enabled=False)

    yield access.HoldsHostPrivileges(home, REBOOT_PRIVILEGES if reboots else PRIVILEGES)
    yield host.IsConnected(home)
    yield passthrough.NoVmHasIt(home, functions)
    if reboots:
        yield passthrough.NothingElseWaits(home, functions)
        yield from evacuation.requirements(home, shut_down=ask.shut_down)

    yield passthrough.Set(home, functions, enabled=False, now=live, reboot_follows=reboots)
    if reboots:
        yield from evacuation.clear(home, site, shut_down=ask.shut_down)
        yield evacuation.reboot(home, site)
        if live:
            yield passthrough.ApplyAgain(home, functions, enabled=False)
    yield passthrough.ShowsActive(home, functions, active=False)
    if reboots:
        yield from evacuation.refill(home, site, shut_down=ask.shut_down)
