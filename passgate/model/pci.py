"""Describe PCI functions: on a host with the three states of passthrough, and in a VM's configuration.

Addresses are written as the vSphere API does, `0000:3b:00.0` in hex; the shell writes some in decimal, so addresses
are compared as tuples, never as strings across layers (reference vSphere 2.2). Ids are unsigned here.
"""

from __future__ import annotations

import re
from typing import Any, Self

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from passgate.errors import InputError
from passgate.model.frozen import Frozen
from passgate.model.identity import HostId
from passgate.model.usb import VID_PID, vid_pid

ADDRESS = re.compile(r"^([0-9a-fA-F]{1,4}):([0-9a-fA-F]{1,2}):([0-9a-fA-F]{1,2})\.([0-7])$")
USB_CLASS = 0x0C03
"""PCI class and subclass of USB controllers."""
MEMORY_BEFORE = "passgate.pci.memoryBefore"
"""Advanced setting of a VM in which a change keeps the memory reservation that it replaced: MiB, or ALL_MEMORY."""
ALL_MEMORY = "all"
ACCEPTED = "the address of a PCI function (0000:05:00.0) or its vendor:device ids in hex (1912:0015)"


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
    `alias` is the kernel's own name for what it drives (`vmnic0`, `vmhba1`), `carries` what hangs on that: `management`
    network, other `network`, `storage`; both are empty for what the host itself does not use by that name.
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
    alias: str = ""
    carries: str = ""

    @property
    def acts_on(self) -> str:
        """Return the address that a setting of passthrough really acts on."""
        return self.dependent or self.address

    @property
    def is_usb_controller(self) -> bool:
        """Say whether USB ports hang on it."""
        return self.class_id == USB_CLASS


class ConfirmedBus(Frozen):
    """Hold which controller a USB bus of a host belongs to, on the word of a person, from config/site.yaml."""

    bus: int
    address: str
    confirmed_by: str
    at: str


class VmPci(Frozen):
    """Hold one PCI passthrough device in a VM's configuration; `address` is None where vSphere assigns it (dynamic)."""

    key: int
    address: str | None = None
    vendor: int | None = None
    device: int | None = None
    system_id: str = ""
    name: str = ""


class PciSelector(str):
    """Hold what a person wrote to name a PCI function; it stays a plain string in forms, JSON and Prefect parameters.

    Example: `PciSelector("0000:05:00.0")`, or by its ids, `PciSelector("1912:0015")`. Raises InputError for anything
    else than what ACCEPTED says.
    """

    __slots__ = ("address", "device", "vendor")

    address: str | None
    vendor: int | None
    device: int | None

    def __new__(cls, text: str) -> Self:
        """Parse the text, so that a malformed selector can't exist."""
        plain = text.strip()
        self = super().__new__(cls, plain)
        self.address = self.vendor = self.device = None
        ids = VID_PID.match(plain)
        if ids:
            self.vendor, self.device = int(ids[1], 16), int(ids[2], 16)
        elif ADDRESS.match(plain):
            self.address = pci_address(plain)
        else:
            raise InputError(
                f"{plain!r} does not name a PCI function.", hint=f"Accepted: {ACCEPTED}.", subject="function"
            )
        return self

    def matches(self, function: PciId) -> bool:
        """Say whether the function is what was named."""
        if self.address is not None:
            return function.address == self.address
        return (function.vendor, function.device) == (self.vendor, self.device)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Let pydantic models hold selectors as strings."""
        return core_schema.no_info_after_validator_function(
            cls, core_schema.str_schema(), serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe a selector in JSON schema, which Prefect's form shows."""
        return {"type": "string", "title": "PCI function", "description": ACCEPTED, "examples": ["0000:05:00.0"]}
