"""Watch hosts for USB devices that come, go, are exchanged, or fall off their VMs.

For the asked time (or once) it compares what vCenter and the shells show with what they showed before, and tells in the
change's thread what differs: a device that was plugged in, pulled out or moved; another device that answers at a path
which a VM's configuration names, because the VM takes it; a running VM that lost its device; an arbitrator that was
stopped; a shell, a host or vCenter that can't be read any more, and that can be again. Each thing is told once. Of a
flood, ten messages a minute are told, and the sum of the rest; all of it is in a table at the end.

It follows the hosts' vmkernel.log too. Its lines are a reason to look at once, and are shown beside the news as they
came; nothing is read out of them, because how ESXi writes them is not published. Nothing is ever changed by a watch.
It goes on after the service was restarted, until the moment that was set at its start, and can't be ended before.
"""

from __future__ import annotations

from pydantic import Field

from passgate.engine.steps import Ask, HostPattern, Risk, Steps, runbook
from passgate.model.census import chosen
from passgate.model.inventory import Inventory
from tasks import watch

AT_MOST_8_HOURS = r"^([1-9][0-9]{0,3}s|([1-9][0-9]?|[1-3][0-9]{2}|4[0-7][0-9]|480)m|[1-8]h)$"


class UsbWatch(Ask):
    """Ask for some hosts or all, and for how long."""

    host: tuple[HostPattern, ...] = Field(
        default=(), max_length=100, title="Hosts", description="Names or patterns such as esx-0*; none: all hosts"
    )
    lasting: str = Field(
        default="10m",
        pattern=AT_MOST_8_HOURS,
        title="For how long",
        description="Seconds, minutes or hours, as in 90s, 10m, 2h; at most 8h",
    )
    once: bool = Field(default=False, title="Once", description="Look once and say how things stand, whatever the time")
    shells: bool = Field(
        default=True, title="Ask shells", description="Ask the hosts' shells too, and follow their vmkernel.log"
    )

    def target(self) -> str:
        """Return in words which hosts are asked about."""
        return ", ".join(self.host) or "all hosts"


@runbook(risk=Risk.READ_ONLY)
def usb_watch(ask: UsbWatch, site: Inventory) -> Steps:
    """Watch hosts for USB devices that come, go, are exchanged, or fall off their VMs."""
    chosen(site.hosts, ask.host)
    yield watch.Usb(ask.host, "" if ask.once else ask.lasting, ask.shells)
