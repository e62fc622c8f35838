"""Scenarios of the steps about PCI passthrough: in VMs, on hosts, and the look into the guest."""

from __future__ import annotations

from passgate.engine.steps import Step
from passgate.model.inventory import PciFunction
from passgate.model.pci import PciSelector
from tasks import guest_pci, passthrough, pci, power
from tests.scenarios.stage import Given, Scenario

CARD = "0000:05:00.0"
ACTIVE = (("passthrough", {"host": "esx-02.lab.example", "enable": [CARD], "live": True}),)


def card(given: Given) -> PciFunction:
    """Return the USB card of the VM's host; on paper, where there is none, one that is like it."""
    if given.host.pci:
        return given.host.function(PciSelector(CARD))
    return PciFunction(host=given.host.id, address=CARD, vendor=0x1912, device=0x0015, class_id=0x0C03, capable=True)


def add(given: Given) -> Step:
    """Add the card to the VM."""
    return pci.AddDevice(given.vm, card(given), pci.former(given.vm))


def remove(given: Given) -> Step:
    """Remove the card, and restore what was reserved."""
    return pci.RemoveDevice(given.vm, card(given), pci.kept(given.vm), pci.kept(given.vm))


def off(given: Given) -> Step:
    """Power the VM off at once."""
    return power.Off(given.vm, power.How.HARD)


def on(given: Given) -> Step:
    """Power the VM on."""
    return power.On(given.vm)


def reserve(**fields: object) -> tuple[str, dict[str, object]]:
    """Let win-02 have memory reserved before."""
    return ("set_vm", {"vm": "win-02", **fields})


ESX_02 = "esx-02.lab.example"
FORGOTTEN = (("passthrough", {"host": ESX_02, "forgotten": [CARD]}),)
REBINDS = (("passthrough", {"host": ESX_02, "rebinds_live": True}),)


def old_card(given: Given) -> tuple[PciFunction, ...]:
    """Return the card of esx-03 whose functions share a bridge, both of them."""
    if not given.host.pci:
        return (card(given),)
    return given.host.together_with(given.host.function(PciSelector("0000:07:00.0")))


SCENARIOS = (
    Scenario("a card whose host must be rebooted", "win-02",
             lambda one: passthrough.Set(one.host, (card(one),), enabled=True, now=True, reboot_follows=True)),
    Scenario("both functions behind one bridge, at once", "lnx-02",
             lambda one: passthrough.Set(one.host, old_card(one), enabled=True, now=True)),
    Scenario("back to the host, at once", "win-02",
             lambda one: passthrough.Set(one.host, (card(one),), enabled=False, now=True), given=(*REBINDS, *ACTIVE)),
    Scenario("back to the host, after the reboot", "win-02",
             lambda one: passthrough.Set(one.host, (card(one),), enabled=False, reboot_follows=True), given=ACTIVE),
    Scenario("where the host has forgotten it", "win-02",
             lambda one: passthrough.ApplyAgain(one.host, (card(one),), enabled=True), given=FORGOTTEN),
    Scenario("in effect", "win-02", lambda one: passthrough.ShowsActive(one.host, (card(one),)), given=ACTIVE),
    Scenario("gone", "win-02", lambda one: passthrough.ShowsActive(one.host, (card(one),), active=False)),
    Scenario("a card for a VM without a reservation", "win-02", add, given=ACTIVE),
    Scenario("a card for a VM with a reservation", "win-02", add, given=(*ACTIVE, reserve(memory_reservation_mb=512))),
    Scenario("a card for a VM whose memory is locked", "win-02", add, given=(*ACTIVE, reserve(memory_locked=True))),
    Scenario("a card of a VM with a reservation before", "win-02", remove, first=[add],
             given=(*ACTIVE, reserve(memory_reservation_mb=512))),
    Scenario("a card whose VM had all of its memory locked", "win-02", remove, first=[add],
             given=(*ACTIVE, reserve(memory_locked=True))),
    Scenario("a card, and the reservation stays", "win-02", lambda one: pci.RemoveDevice(one.vm, card(one)),
             first=[add], given=ACTIVE),
    Scenario("with a card that is right", "win-02", lambda one: pci.WouldPowerOn(one.vm), first=[add], given=ACTIVE),
    Scenario("in Windows", "win-02", lambda one: guest_pci.SeesPci(one.vm, card(one)), first=[add, on], given=ACTIVE),
    Scenario("in Linux", "lic-01", lambda one: guest_pci.SeesPci(one.vm, card(one)), first=[off, add, on],
             given=ACTIVE),
)  # fmt: skip
