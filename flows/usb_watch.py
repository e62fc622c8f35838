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

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from passgate.engine.steps import Ask, HostPattern, Risk, Steps, runbook
from passgate.errors import InputError
from passgate.model.census import chosen
from passgate.model.inventory import Inventory
from tasks import watch

AT_MOST_8_HOURS = r"^([1-9][0-9]{0,3}s|([1-9][0-9]?|[1-3][0-9]{2}|4[0-7][0-9]|480)m|[1-8]h)$"


def at_most_8_hours(text: str) -> str:
    """Return the time as it was given. Raises InputError in words for what is none, or is too long."""
    if not re.match(AT_MOST_8_HOURS, text):
        raise InputError(
            f"{text!r} is no time to watch for.",
            hint="Accepted: seconds, minutes or hours, as in 90s, 10m, 2h; at most 8h.",
        )
    return text


class UsbWatch(Ask):
    """Ask for some hosts or all, and for how long."""

    host: tuple[HostPattern, ...] = Field(
        default=(), max_length=100, title="Hosts", description="Names or patterns such as esx-0*; none: all hosts"
    )
    lasting: Annotated[str, AfterValidator(at_most_8_hours)] = Field(
        default="10m",
        json_schema_extra={"pattern": AT_MOST_8_HOURS},
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
