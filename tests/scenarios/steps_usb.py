"""Scenarios of the steps about power, the arbitrator, USB controllers and devices, and the look into the guest."""

from __future__ import annotations

from passgate.engine.steps import Step
from passgate.model.inventory import ControllerKind
from tasks import arbitrator, guest, power, usb
from tests.scenarios.stage import Given, Scenario

XHCI, EHCI = ControllerKind.XHCI, ControllerKind.EHCI
STICK = "18a5:0302"
DISK = "0bc2:231a"
PLUGGED = [("plug", {
    "host": "esx-02.lab.example", "path": "0/1/8", "vendor": 0x0BC2, "product": 0x231A, "serial": "NA8TESTX",
    "name": "Seagate Expansion", "families": ["storage"], "bus": 1, "dev": 9, "fixed_disk": True,
})]  # fmt: skip
"""A disk in an enclosure on the host of win-02, which Windows mounts as it comes, and takes offline."""


def on(given: Given) -> Step:
    """Power the VM on."""
    return power.On(given.vm)


def off(given: Given) -> Step:
    """Power the VM off at once."""
    return power.Off(given.vm, power.How.HARD)


def xhci(given: Given) -> Step:
    """Add an xHCI controller."""
    return usb.AddController(given.vm, XHCI)


def attach(given: Given) -> Step:
    """Add the device to an xHCI controller, without vMotion support."""
    return usb.AddDevice(given.vm, given.device, XHCI)


def movable(given: Given) -> Step:
    """Add the device with vMotion support."""
    return usb.AddDevice(given.vm, given.device, XHCI, vmotion=True)


SCENARIOS = (
    Scenario("through the guest", "win-01", lambda one: power.Off(one.vm, power.How.GUEST)),
    Scenario("like pulling the plug", "lnx-01", off),
    Scenario("as gently as can be", "win-01", lambda one: power.Off(one.vm, power.How.GENTLEST)),
    Scenario("a VM that is off", "win-02", on),
    Scenario("where the arbitrator is stopped", "lnx-02", lambda one: arbitrator.Start(one.vm.host)),
    Scenario("where no VM uses a device", "win-01", lambda one: arbitrator.Stop(one.vm.host)),
    Scenario("xHCI on a VM that is off", "lnx-02", xhci),
    Scenario("EHCI beside xHCI", "win-02", lambda one: usb.AddController(one.vm, EHCI)),
    Scenario("xHCI on a running VM", "lnx-01", xhci),
    Scenario("a controller of a running VM", "lnx-01", lambda one: usb.RemoveController(one.vm, EHCI)),
    Scenario("a controller without devices", "win-02", lambda one: usb.RemoveController(one.vm, XHCI)),
    Scenario("to a VM that is off", "old-01", lambda one: usb.AddDevice(one.vm, one.device, EHCI),
             first=[lambda one: usb.AddController(one.vm, EHCI)], device=STICK),
    Scenario("to a running VM", "lnx-01", attach, first=[xhci], device=STICK),
    Scenario("to a running Windows, which mounts it at once", "win-02", attach, first=[on], device=DISK, given=PLUGGED),
    Scenario("with vMotion support", "win-01", movable, first=[off, xhci], device=STICK),
    Scenario("one of two twins", "win-02", attach, device="0529:0001,path:0/1/4"),
    Scenario("from a VM that is off", "win-02", lambda one: usb.RemoveDevice(one.vm, one.device), first=[attach],
             device="046d:082d"),
    Scenario("from a running VM, with vMotion support", "lnx-01",
             lambda one: usb.RemoveDevice(one.vm, one.device, XHCI, vmotion=True), first=[xhci, movable], device=STICK),
    Scenario("as the host says too", "lnx-01", lambda one: usb.Connected(one.vm, one.device), first=[xhci, attach],
             device=STICK),
    Scenario("in Windows", "win-01", lambda one: guest.SeesUsb(one.vm, one.device), first=[off, xhci, attach, on],
             device=STICK),
    Scenario("in Linux", "lnx-01",
             lambda one: guest.SeesUsb(one.vm, one.device),
             first=[lambda one: usb.AddDevice(one.vm, one.device, EHCI)], device=STICK),
)  # fmt: skip
