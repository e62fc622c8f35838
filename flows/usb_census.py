"""Take the census of all USB and PCI passthrough devices.

It reads the hosts and says of every device: where it is (host, path or PCI address), what it is (ids, name, serial),
who uses it, whether it is free, and whether that is what the VMs' configurations say. "Against config" are entries
whose device is gone, paths at which another device answers by now (autoconnect follows the path, not the device),
devices that a VM has without an entry for them, and devices that several VMs name. Twins are told apart by path and
serial.

A host that can't be read (not responding, no shell, timed out) is a row that says why. Serials and the state of the
arbitrator come from the hosts' shells; without shells the rest is known all the same. Nothing is changed, so policy may
authorise it in advance, and a schedule may run it. The rows are in the evidence as CSV and JSON, and in Prefect as a
table.
"""

from __future__ import annotations

from pydantic import Field

from passgate.engine.steps import Ask, HostPattern, Risk, Steps, runbook
from passgate.model.census import chosen
from passgate.model.inventory import Inventory
from tasks import census


class UsbCensus(Ask):
    """Ask for some hosts or all."""

    host: tuple[HostPattern, ...] = Field(
        default=(), max_length=100, title="Hosts", description="Names or patterns such as esx-0*; none: all hosts"
    )
    shells: bool = Field(
        default=True, title="Ask shells", description="Ask the hosts' shells for serials and the arbitrator"
    )

    def target(self) -> str:
        """Return in words which hosts are asked about."""
        return ", ".join(self.host) or "all hosts"


@runbook(risk=Risk.READ_ONLY)
def usb_census(ask: UsbCensus, site: Inventory) -> Steps:
    """Take the census of all USB and PCI passthrough devices."""
    chosen(site.hosts, ask.host)
    yield census.Take(ask.host, ask.shells)
