"""Set PCI functions of a host aside for VMs, and give them back: the setting, what makes it effective, its checks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from passgate.engine.steps import Check, Confirmation, Effect, Look, Remedy, Saw, Severity, Step, Systems
from passgate.model.inventory import Host, HostId, Inventory, PciFunction, PciId
from tasks import pci_controller

LIVE_SINCE = (7, 0)
"""First version of vCenter and of ESXi that can set passthrough without a reboot (reference vSphere 0.1)."""
NEEDED = frozenset({"management", "storage"})


@dataclass(frozen=True)
class Set(Step):
    """Enable or disable passthrough of a function of a host, and of all that share a bridge with it.

    `now` asks for it without a reboot. `reboot_follows` says that the plan reboots the host after this step: without
    one, a setting that is not in effect is not done. `proof` says how it is known which function is meant.
    """

    patience: ClassVar[timedelta] = timedelta(seconds=3)

    host: HostId
    functions: tuple[PciId, ...]
    enabled: bool
    now: bool = False
    reboot_follows: bool = False
    proof: str = ""

    @property
    def title(self) -> str:
        """Say what is done."""
        names = ", ".join(one.name or one.ids for one in self.functions)
        return f"{'Enable' if self.enabled else 'Disable'} passthrough of {names} on {self.host.name}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when all of them are set so, and, without a reboot to come, in effect."""
        host = site.host(self.host.ref)
        mine = named(host, self.functions)
        if all(one.enabled is self.enabled and (self.reboot_follows or one.active is self.enabled) for one in mine):
            return Effect.nothing(f"{_words(mine)} of {host.name}: {state(mine)}", site)
        live = self.now and host.rebind is True
        functions, functions_and_devices = _words(mine), f"{_words(mine)}{_together(mine)}{_plugged(host, mine)}"
        asides = {
            one.address: one.model_copy(
                update={"enabled": self.enabled, "active": self.enabled if live else one.active}
            )
            for one in mine
        }
        waits = any(one.enabled is not one.active for one in asides.values())
        then = host.model_copy(
            update={
                "pci": tuple(asides.get(one.address, one) for one in host.pci),
                "reboot_required": waits or host.reboot_required,
            }
        )
        when = ", in effect after the reboot" if waits else ""
        return Effect(
            needed=True,
            before=f"{_words(mine)} of {host.name}: {state(mine)}" + (f" ({self.proof})" if self.proof else ""),
            after=f"set aside for VMs{when}" if self.enabled else f"the host's own again{when}",
            then=site.with_host(then),
            impact=f"{host.name} loses {functions_and_devices}"
            if self.enabled
            else f"{host.name} gets back {functions}; no VM can have it any more",
        )

    def apply(self, systems: Systems) -> None:
        """Set it; what is set already is not sent."""
        systems.hosts.set_passthrough(self.host, self.functions, enabled=self.enabled, now=self.now)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the states anew; in effect too, unless a reboot follows."""
        host = systems.hosts.passthrough(self.host)
        mine = named(host, self.functions)
        words, known = f"{_words(mine)} of {host.name}: {state(mine)}", facts(host, mine)
        if len(mine) < len(self.functions) or not all(one.enabled is self.enabled for one in mine):
            return Confirmation(Saw.NO, words, known)
        if not self.reboot_follows and not all(one.active is self.enabled for one in mine):
            return Confirmation(Saw.NO, f"{words}; what was set takes effect only when {host.name} is rebooted", known)
        return Confirmation(Saw.YES, words, known)

    def undo(self) -> Step:
        """Set it back."""
        return Set(self.host, self.functions, enabled=not self.enabled, now=self.now)


@dataclass(frozen=True)
class ApplyAgain(Remedy):
    """Set passthrough once more, to be in effect at once, where it is not after the reboot (a quirk of ESXi 7).

    Some hosts read passthrough disabled after each boot; set once more without a reboot, it holds until the next one
    (reference vSphere 2.6).
    """

    patience: ClassVar[timedelta] = timedelta(seconds=4)
    attempts: ClassVar[int] = 2

    host: HostId
    functions: tuple[PciId, ...]
    enabled: bool

    @property
    def title(self) -> str:
        """Say what is done, and when."""
        return f"Set it once more on {self.host.name}, if it is not in effect after the reboot"

    def effect(self, site: Inventory) -> Effect:
        """Leave the inventory as it is: on paper the reboot has made it effective."""
        return Effect(
            needed=True,
            before="not known before the reboot",
            after=f"passthrough is {'in effect' if self.enabled else 'off'}",
            then=site,
        )

    def well(self, systems: Systems) -> Confirmation:
        """Look whether the setting is in effect."""
        return _in_effect(systems, self.host, self.functions, wanted=self.enabled)

    def apply(self, systems: Systems) -> None:
        """Set it, at once."""
        systems.hosts.set_passthrough(self.host, self.functions, enabled=self.enabled, now=True)

    def confirm(self, systems: Systems) -> Confirmation:
        """Look whether it is in effect now."""
        return _in_effect(systems, self.host, self.functions, wanted=self.enabled)

    def undo(self) -> Step:
        """Set it back, as the step that set it first does."""
        return Set(self.host, self.functions, enabled=not self.enabled, now=True)


@dataclass(frozen=True)
class ShowsActive(Look):
    """Wait until the host shows passthrough in effect, or gone. Only reads.

    What a host was told to do proves nothing: after a reboot some have forgotten it (reference vSphere 2.6).
    """

    attempts: ClassVar[int] = 1
    patience: ClassVar[timedelta] = timedelta(seconds=30)

    host: HostId
    functions: tuple[PciId, ...]
    active: bool = True

    @property
    def title(self) -> str:
        """Say what is looked for."""
        names = ", ".join(one.name or one.ids for one in self.functions)
        return f"See passthrough of {names} {'in effect' if self.active else 'gone'} on {self.host.name}"

    def effect(self, site: Inventory) -> Effect:
        """Look always."""
        after = "in effect" if self.active else "off, and so it stays"
        return Effect(needed=True, before="not looked at yet", after=f"passthrough is {after}", then=site)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the states anew."""
        return _in_effect(systems, self.host, self.functions, wanted=self.active)


@dataclass(frozen=True)
class HasIommu(Check):
    """Demand a host that can pass anything through."""

    code: ClassVar[str] = "PCI-HOST-01"
    rule: ClassVar[str] = "The host has Intel VT-d or AMD-Vi (IOMMU), switched on in its firmware"
    source: ClassVar[str] = "article, requirements of PCI passthrough"
    hint: ClassVar[str] = "Switch VT-d, AMD-Vi or IOMMU on in the host's UEFI/BIOS setup, if its hardware has it."

    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look whether any function can be passed through: without an IOMMU none can."""
        if not self.host.pci:
            return False, f"{self.host.name} shows no PCI functions"
        capable = sum(one.capable for one in self.host.pci)
        words = f"{capable} of {len(self.host.pci)} PCI functions of {self.host.name} can be passed through"
        return bool(capable), words


@dataclass(frozen=True)
class IsCapable(Check):
    """Demand that this function can be passed through."""

    code: ClassVar[str] = "PCI-HOST-02"
    rule: ClassVar[str] = "The host says that the function can be passed through"
    source: ClassVar[str] = "reference vSphere 2.1 and 2.3: forcing it by passthru.map is not supported"
    hint: ClassVar[str] = "Use another function, or a card that the vendor lists for passthrough."

    function: PciFunction

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the host's word."""
        return self.function.capable, f"{self.function.words} is {'' if self.function.capable else 'not '}capable of it"


@dataclass(frozen=True)
class SparesTheHost(Check):
    """Refuse what the host itself lives on: its management network and its storage, siblings behind a bridge too."""

    code: ClassVar[str] = "PCI-HOST-03"
    rule: ClassVar[str] = "Neither the management network nor storage of the host is on a function that goes along"
    source: ClassVar[str] = "reference vSphere 2.1: all functions with the same dependent device go together"
    hint: ClassVar[str] = "Put the card into a slot of its own, behind another bridge, or use another one."

    host: Host
    functions: tuple[PciFunction, ...]

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at what the host's kernel drives on each."""
        found = [f"{one.alias} ({one.carries}) is {one.words}" for one in self.functions if one.carries in NEEDED]
        return not found, "; ".join(found) or f"{self.host.name} needs none of {_words(self.functions)}"


@dataclass(frozen=True)
class TakesNoNetwork(Check):
    """Warn of a network card that goes along, whatever it carries."""

    code: ClassVar[str] = "PCI-HOST-04"
    rule: ClassVar[str] = "No network card of the host is among the functions"
    source: ClassVar[str] = "reference vSphere 2.1"
    hint: ClassVar[str] = "Take the card out of its switches and teams first."
    severity: ClassVar[Severity] = Severity.WARNING

    host: Host
    functions: tuple[PciFunction, ...]

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at what the host's kernel drives on each."""
        found = [f"{one.alias} is {one.words}" for one in self.functions if one.carries == "network"]
        return not found, "; ".join(found) or "none of them is a network card"


@dataclass(frozen=True)
class NothingElseWaits(Check):
    """Warn of other functions whose setting waits for a reboot: this one would bring it into effect."""

    code: ClassVar[str] = "PCI-HOST-05"
    rule: ClassVar[str] = "No other setting of passthrough waits for a reboot of the host"
    source: ClassVar[str] = "reference vSphere 2.1: enabled is not active"
    hint: ClassVar[str] = "Find out who set that and why, or take it back: the reboot brings it into effect too."
    severity: ClassVar[Severity] = Severity.WARNING

    host: Host
    functions: tuple[PciFunction, ...]

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare set and in effect, for all other functions."""
        mine = {one.address for one in self.functions}
        found = [one.words for one in self.host.pci if one.enabled is not one.active and one.address not in mine]
        return not found, f"waiting: {', '.join(found)}" if found else "nothing else waits"


@dataclass(frozen=True)
class NoVmHasIt(Check):
    """Refuse to give back a function that a VM names, whether that VM is on or off: it could not be powered on."""

    code: ClassVar[str] = "PCI-HOST-06"
    rule: ClassVar[str] = "No VM of the host, on or off, has the function in its configuration"
    source: ClassVar[str] = "reference vSphere 2.3"
    hint: ClassVar[str] = "Detach it first: `passgate request pci-detach`."

    host: Host
    functions: tuple[PciFunction, ...]

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at all VMs that are registered on the host."""
        found = [
            f"{vm.name} ({vm.power}) has {one.words}"
            for vm in site.vms_on(self.host) for one in self.functions if vm.passes(one)
        ]  # fmt: skip
        return not found, "; ".join(found) or f"no VM on {self.host.name} has it"


def can_be_live(site: Inventory, host: Host) -> bool:
    """Say whether the setting may be asked for without a reboot: vCenter and host know that from 7.0 on."""
    return numbers(site.api_version) >= LIVE_SINCE and numbers(host.version) >= LIVE_SINCE


def needs_reboot(site: Inventory, host: Host, functions: Iterable[PciFunction], *, enabled: bool) -> bool:
    """Say whether the host has to be rebooted for it: not where it can rebind, nor where it is in effect already."""
    if host.rebind is True and can_be_live(site, host):
        return False
    return any(one.active is not enabled for one in functions)


def numbers(version: str) -> tuple[int, ...]:
    """Return the first two parts of a version as numbers."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def named(host: Host, functions: Iterable[PciId]) -> list[PciFunction]:
    """Return those functions as the host shows them now; one whose ids are others is left out."""
    there = {one.address: one for one in host.pci}
    found = [(one, there.get(one.address)) for one in functions]
    return [now for asked, now in found if now is not None and asked.is_same_function(now)]


def state(functions: Iterable[PciFunction]) -> str:
    """Say in words how passthrough of functions stands, in as few words as are true of all."""
    said = {
        (False, False): "not set aside",
        (True, False): "set aside, but not in effect before a reboot",
        (True, True): "set aside for VMs",
        (False, True): "given back, but still set aside until a reboot",
    }
    return ", ".join(dict.fromkeys(said[one.enabled, one.active] for one in functions)) or "gone"


def facts(host: Host, functions: Iterable[PciFunction]) -> dict[str, object]:
    """Return what was read, for the evidence."""
    shown = [
        {"address": one.address, "ids": one.ids, "capable": one.capable, "enabled": one.enabled, "active": one.active}
        for one in functions
    ]
    return {"functions": shown, "reboot_required": host.reboot_required, "connection": host.connection}


def _in_effect(systems: Systems, host: HostId, functions: tuple[PciId, ...], *, wanted: bool) -> Confirmation:
    now = systems.hosts.passthrough(host)
    mine = named(now, functions)
    there = len(mine) == len(functions) and all((one.enabled, one.active) == (wanted, wanted) for one in mine)
    words = f"{_words(mine) or 'none of the functions'} of {now.name}: {state(mine)}"
    return Confirmation(Saw.YES if there else Saw.NO, words, facts(now, mine))


def _together(functions: list[PciFunction]) -> str:
    return f" together, because they share {functions[0].acts_on}" if len(functions) > 1 else ""


def _plugged(host: Host, functions: list[PciFunction]) -> str:
    """Name what the host loses with the functions: the USB devices that are, or may be, on them."""
    found = [one.words for function in functions for one in pci_controller.behind(host, function)]
    return f", with what is plugged in there now or may be: {', '.join(dict.fromkeys(found))}" if found else ""


def _words(functions: Iterable[PciId]) -> str:
    return ", ".join(one.words for one in functions)
