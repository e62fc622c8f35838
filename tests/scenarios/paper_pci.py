"""Make small estates with PCI functions on paper: one host with two USB controllers, all healthy."""

from __future__ import annotations

from typing import Any

from flows.pci_attach import PRIVILEGES
from passgate.model.inventory import Inventory, PciFunction, Vm
from passgate.model.pci import PciSelector
from passgate.model.plan import Severity
from tests.scenarios.paper import HOST, Fields, estate, machine, stick
from tests.scenarios.unmet import STOP, Unmet

CARD, BUILT_IN = "0000:05:00.0", "0000:00:14.0"


def function(address: str = CARD, **changes: Any) -> PciFunction:
    """Return a USB controller whose passthrough is in effect."""
    fields = {
        "host": HOST, "address": address, "vendor": 0x1912, "device": 0x0015, "name": "uPD720202", "class_id": 0x0C03,
        "capable": True, "enabled": True, "active": True,
    }  # fmt: skip
    return PciFunction(**{**fields, **changes})


BUILT = function(BUILT_IN, vendor=0x8086, device=0xA36D, name="xHCI", enabled=False, active=False)
FREE = {"enabled": False, "active": False}


def on_paper(
    vm: Fields | None = None,
    host: Fields | None = None,
    card: Fields | None = None,
    *,
    others: tuple[Vm, ...] = (),
    more: tuple[PciFunction, ...] = (),
    usb: tuple[Any, ...] | None = None,
    site: Fields | None = None,
) -> Inventory:
    """Return an estate where win-01 may get the card, with those changes; `more` are functions besides."""
    functions = (BUILT, function(**(card or {})), *more)
    base = {
        "pci": functions, "memory_mb": 65536, "rebind": False, "buses": {1: BUILT_IN, 3: CARD},
        "usb": (stick(bus=1),) if usb is None else usb, "usb_controllers": len(functions),
    }  # fmt: skip
    privileges = {"vm-7": frozenset(PRIVILEGES), HOST.ref: frozenset({"Host.Config.PciPassthru"})}
    return estate(
        {"memory_mb": 4096, "schedules": (), **(vm or {})},
        {**base, **(host or {})},
        site={"privileges": privileges, **(site or {})},
        others=others,
    )


def attach(code: str, why: str, said: str, site: Inventory, severity: Severity = STOP, **ask: Any) -> Unmet:
    """Return a case of pci-attach."""
    return Unmet(code, why, said, site, {"function": CARD, **ask}, severity, "pci-attach")


def detach(code: str, why: str, said: str, site: Inventory, severity: Severity = STOP, **ask: Any) -> Unmet:
    """Return a case of pci-detach."""
    return Unmet(code, why, said, site, {"function": CARD, **ask}, severity, "pci-detach")


def other(**changes: Any) -> Vm:
    """Return another VM of the host."""
    return machine("lic-01", 9, **changes)


def card_of(site: Inventory) -> PciFunction:
    """Return the card as that estate has it."""
    return site.hosts[0].function(PciSelector(CARD))
