"""Ways in which the checks of hosts whose PCI functions are set aside, or given back, are not met."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from passgate.model.inventory import Inventory, Power
from passgate.model.plan import Severity
from tasks import passthrough, pci
from tests.scenarios.paper import stick
from tests.scenarios.paper_pci import BUILT, BUILT_IN, CARD, FREE, function, on_paper, other
from tests.scenarios.unmet import STOP, WARNING, Unmet

BRIDGE = {"dependent": "0000:00:1e.0"}
HOST_RIGHTS = {"privileges": {"host-11": frozenset({"Host.Config.PciPassthru", "Host.Config.Maintenance"})}}
BOOTED = datetime(2026, 11, 1, tzinfo=UTC)
REBINDS = {"rebind": True}


def sibling(**changes: Any) -> Any:
    """Return a function that goes along with the card."""
    return function("0000:05:00.1", class_id=0x0200, name="NIC", **{**FREE, **BRIDGE, **changes})


def enable(code: str, why: str, said: str, site: Inventory, severity: Severity = STOP, **ask: Any) -> Unmet:
    """Return a case of pci-enable on the host on paper; the card is asked for unless something else is."""
    asked = {"device": None, **(ask or {"function": CARD})}
    return Unmet(code, why, said, site, {"host": "esx-01.lab.example", **asked}, severity, "pci-enable")


def disable(code: str, why: str, said: str, site: Inventory, severity: Severity = STOP) -> Unmet:
    """Return a case of pci-disable of the card."""
    ask = {"host": "esx-01.lab.example", "function": CARD}
    return Unmet(code, why, said, site, ask, severity, "pci-disable")


def live(
    host: dict[str, Any] | None = None,
    card: dict[str, Any] | None = None,
    vm: dict[str, Any] | None = None,
    **more: Any,
) -> Inventory:
    """Return an estate whose host can rebind a device without a reboot; the card is free unless said."""
    return on_paper(vm, {**REBINDS, **(host or {})}, {**FREE, **(card or {})}, site=HOST_RIGHTS, **more)


def plugged(**changes: Any) -> tuple[Any, ...]:
    """Return one USB device on the card."""
    return (stick(**{"bus": 3, "path": "0/3/1", **changes}),)


ONLY = {"pci": (function(BUILT_IN, **FREE),), "buses": {}}
UNKNOWN = {"buses": {}}
BY_DEVICE = {"device": "18a5:0302"}

UNMET = (
    Unmet("PCI-HOST-01", "VT-d is off", "0 of 2", on_paper(host={"pci": (function(capable=False),) * 2}),
          check=lambda site: passthrough.HasIommu(site.hosts[0])),
    Unmet("PCI-HOST-01", "no functions are shown", "shows no PCI", on_paper(host={"pci": ()}),
          check=lambda site: passthrough.HasIommu(site.hosts[0])),
    enable("PCI-HOST-02", "not capable", "not capable", live(card={"capable": False})),
    enable("PCI-HOST-03", "a sibling carries the management network", "vmnic0 (management)",
           live(card=BRIDGE, more=(sibling(alias="vmnic0", carries="management"),))),
    enable("PCI-HOST-03", "a sibling has the host's disks", "vmhba1 (storage)",
           live(card=BRIDGE, more=(sibling(alias="vmhba1", carries="storage"),))),
    enable("PCI-HOST-04", "a sibling is a network card", "vmnic3",
           live(card=BRIDGE, more=(sibling(alias="vmnic3", carries="network"),)), WARNING),
    enable("PCI-USB-01", "several controllers, and nothing tells", "nothing tells which of 2", live(UNKNOWN),
           **BY_DEVICE),
    enable("PCI-USB-01", "the bus is not known", "does not tell the bus", live(usb=plugged(bus=None)), **BY_DEVICE),
    enable("PCI-USB-01", "root hub and record disagree", "its root hub says",
           live({"confirmed": ({"bus": 3, "address": BUILT_IN, "confirmed_by": "alice", "at": "2026-11-25"},)},
                usb=plugged()), **BY_DEVICE),
    enable("PCI-USB-02", "ESXi boots from a stick on it", "boots from", live(usb=plugged(boots_host=True))),
    enable("PCI-USB-02", "ESXi boots from a stick that may be on it", "or may be",
           live(UNKNOWN, usb=(stick(boots_host=True, bus=1),))),
    enable("PCI-USB-03", "the only controller, with a stick", "only USB controller", live(ONLY), function=BUILT_IN),
    enable("PCI-USB-03", "the other one is set aside already", "only USB controller",
           live({"pci": (function(enabled=True, active=True), BUILT)}), function=BUILT_IN),
    enable("PCI-USB-04", "a VM uses a device on it", "lic-01 uses",
           live(usb=plugged(used_by="vm-9", used_by_name="lic-01"))),
    enable("PCI-USB-04", "the host keeps a disk on it", "keeps the disk", live(usb=plugged(offered=False))),
    enable("PCI-USB-05", "a keyboard is on it", "it has",
           live(usb=plugged(families=("hid_bootable",), offered=False)), WARNING),
    disable("PCI-HOST-06", "a running VM has it", "lic-01 (on)",
            live(card={"enabled": True, "active": True}, others=(other(pci=(pci.entry(function()),)),))),
    disable("PCI-HOST-06", "a VM that is off names it", "lic-01 (off)",
            live(card={"enabled": True, "active": True},
                 others=(other(pci=(pci.entry(function()),), power=Power.OFF),))),
    disable("PCI-HOST-05", "another setting waits for the reboot", "waiting",
            on_paper({"power": Power.OFF}, {"boot_time": BOOTED, "can_reboot": True},
                     more=(function("0000:06:00.0", enabled=True, active=False, class_id=0x0300),),
                     site=HOST_RIGHTS), WARNING),
)  # fmt: skip
