"""Scenarios of the steps that take a device out of use, remove and free it, and of those that help a blind guest."""

from __future__ import annotations

from typing import Any

from passgate.engine.steps import Step
from passgate.model.guest import GuestDisk, GuestMount, GuestUsb
from tasks import guest, hardware, usb, usb_entry
from tests.scenarios.stage import Given, Scenario
from tests.scenarios.steps_usb import DISK, PLUGGED, STICK, XHCI, attach, off, on, xhci

HANDLED = [("guest", {"vm": "lnx-01", "path": "0/1/3", "act": "mount", "where": "/mnt/backup"})]
SMALL, LARGE = hardware.Size(2, 4096), hardware.Size(4, 8192)
UNSEEN = GuestUsb(vendor=0x18A5, product=0x0302)


def used(given: Given) -> GuestUsb:
    """Return what the guest shows of the device."""
    mine = guest.of_device(given.site.guests.get(given.vm.ref, ()), given.device)
    return mine[0] if mine else UNSEEN


def release(given: Given) -> Step:
    """Take the device out of use."""
    return guest.Release(given.vm, given.device, used(given))


def once_more(given: Given) -> Step:
    """Add the device once more if need be."""
    return usb.AddOnceMore(given.vm, given.device, XHCI)


def blind(until: str) -> list[tuple[str, dict[str, Any]]]:
    """Let the guest miss what is hot-added."""
    return [("set_vm", {"vm": "lnx-01", "blind": until})]


def sees(given: Given) -> Step:
    """Wait until the guest sees the device."""
    return guest.SeesUsb(given.vm, given.device)


def grow(given: Given) -> Step:
    """Give the VM twice of everything."""
    return hardware.HotAdd(given.vm, LARGE, SMALL)


def back(given: Given) -> Step:
    """Bring the stick back to where it was mounted."""
    mount = GuestMount(where="/mnt/backup", part=1, kind="vfat", options="rw")
    was = UNSEEN.model_copy(update={"disks": (GuestDisk(name="sdb", mounts=(mount,)),)})
    return guest.TakeBack(given.vm, given.device, was)


def entry(given: Given) -> Step:
    """Remove the entry of the VM's first device, which is gone."""
    return usb_entry.RemoveEntry(given.vm, usb_entry.entries(given.site, given.vm)[0].device)


SCENARIOS = (
    Scenario("a mounted stick in Linux", "lnx-01", release, first=[xhci, attach], then=HANDLED, device=STICK),
    Scenario("a stick with a letter in Windows", "win-01", release, first=[off, xhci, attach, on, sees], device=STICK),
    Scenario("a disk with a letter in Windows", "win-02", release, first=[on, attach, sees], given=PLUGGED,
             device=DISK),
    Scenario("back into use in Linux", "lnx-01", back, first=[xhci, attach], device=STICK),
    Scenario("a disk that is out of use; it comes back mounted", "win-02",
             lambda one: usb.RemoveDevice(one.vm, one.device, XHCI), first=[on, attach, sees, release], given=PLUGGED,
             device=DISK, undone=False),
    Scenario("which a guest missed", "lnx-01", once_more, first=[xhci, attach], given=blind("until-readd"),
             device=STICK),
    Scenario("which still does not see the device", "lnx-01", lambda one: guest.Reboot(one.vm, one.device),
             first=[xhci, attach], given=blind("until-reboot"), device=STICK),
    Scenario("no VM has it", "win-01", lambda one: usb.Freed(one.device), device=STICK),
    Scenario("whose device was pulled out", "lic-01", entry,
             given=[("unplug", {"host": "esx-02.lab.example", "path": "0/1/2"})], of=usb_entry.RemoveEntry),
    Scenario("CPUs and memory, which are taken back while the VM is off", "lnx-02", grow),
    Scenario("CPUs and memory", "lnx-02", lambda one: hardware.SetBack(one.vm, SMALL, LARGE), first=[grow]),
    Scenario("as its guest counts it", "lnx-01", lambda one: guest.SeesHardware(one.vm, 2, 4096)),
)  # fmt: skip
