"""Describe PCI functions: on a host with the three states of passthrough, and in a VM's configuration.

Addresses are written as the vSphere API does, `0000:3b:00.0` in hex; the shell writes some in decimal, so addresses
are compared as tuples, never as strings across layers (reference vSphere 2.2). Ids are unsigned here.
"""

from __future__ import annotations

import re

from pydantic import Field

from passgate.errors import InputError
from passgate.model.frozen import Frozen
from passgate.model.identity import HostId
from passgate.model.usb import vid_pid

ADDRESS = re.compile(r"^([0-9a-fA-F]{1,4}):([0-9a-fA-F]{1,2}):([0-9a-fA-F]{1,2})\.([0-7])$")
USB_CLASS = 0x0C03
"""PCI class and subclass of USB controllers."""


def pci_address(text: str) -> str:
    """Return the address in the API's form, `0000:3b:00.0`. Raises InputError for anything else."""
    found = ADDRESS.match(text.strip())
    if found is None:
        raise InputError(
            f"{text!r} is no PCI address.", hint="Accepted: domain:bus:slot.function in hex, as in 0000:3b:00.0."
        )
    domain, bus, slot = (int(found[part], 16) for part in (1, 2, 3))
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{found[4]}"


class PciId(Frozen):
    """Identify a PCI function of a host: its address, and its ids, because addresses are renumbered (reference 2.6)."""

    host: HostId
    address: str
    vendor: int = Field(ge=0, le=0xFFFF)
    device: int = Field(ge=0, le=0xFFFF)
    name: str = ""

    @property
    def ids(self) -> str:
        """Return `8086:a36d`: vendor and device in hex, four digits each."""
        return vid_pid(self.vendor, self.device)

    @property
    def words(self) -> str:
        """Return the function as people are shown it."""
        return f"{self.name or 'PCI device'} ({self.ids} at {self.address})"

    def is_same_function(self, other: PciId) -> bool:
        """Say whether both describe one function: same host, address and ids."""
        mine = (self.host.ref, self.address.lower(), self.vendor, self.device)
        return mine == (other.host.ref, other.address.lower(), other.vendor, other.device)


class PciFunction(PciId):
    """Hold one PCI function as the host shows it.

    `class_id` is class and subclass (0x0c03: USB controller). `capable`, `enabled` and `active` are the three states of
    passthrough: possible at all, set by a person, in effect since the last boot or rebind. `dependent` is the address
    that the setting really acts on, a bridge maybe: all functions with the same one change together (reference 2.1).
    """

    class_id: int = 0
    subvendor: int = 0
    subdevice: int = 0
    parent_bridge: str | None = None
    dependent: str | None = None
    capable: bool = False
    enabled: bool = False
    active: bool = False
    label: str = ""

    @property
    def is_usb_controller(self) -> bool:
        """Say whether USB ports hang on it."""
        return self.class_id == USB_CLASS


class VmPci(Frozen):
    """Hold one PCI passthrough device in a VM's configuration; `address` is None where vSphere assigns it (dynamic)."""

    key: int
    address: str | None = None
    vendor: int | None = None
    device: int | None = None
    system_id: str = ""
    name: str = ""
