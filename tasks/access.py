"""Check that Passgate's own account may do what the plan asks, and that vCenter is new enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from passgate.engine.steps import Check
from passgate.model.inventory import ControllerKind, Host, Inventory, Vm

OLDEST_API = {ControllerKind.EHCI: (4, 1), ControllerKind.XHCI: (5, 0)}
"""First API versions with vMotion-backed USB devices, and with the xHCI controller."""


@dataclass(frozen=True)
class HoldsPrivileges(Check):
    """Demand the privileges that the steps need, so that no change stops half done."""

    code: ClassVar[str] = "USB-API-01"
    rule: ClassVar[str] = "Passgate's account holds the privileges that the steps need on the VM"
    source: ClassVar[str] = "reference vSphere 0.3"
    hint: ClassVar[str] = "Give Passgate's role these privileges on the VM or its folder; `passgate doctor` lists them."

    vm: Vm
    needed: tuple[str, ...]

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare what is needed with what vCenter says is held."""
        held = site.privileges.get(self.vm.ref)
        if held is None:
            return False, f"vCenter did not say what Passgate's account may do with {self.vm.name}"
        missing = [name for name in self.needed if name not in held]
        return not missing, f"missing on {self.vm.name}: {', '.join(missing)}" if missing else "all privileges are held"


@dataclass(frozen=True)
class HoldsHostPrivileges(Check):
    """Demand the privileges on the host that the steps need, so that no change stops half done."""

    code: ClassVar[str] = "HOST-API-01"
    rule: ClassVar[str] = "Passgate's account holds the privileges that the steps need on the host"
    source: ClassVar[str] = "reference vSphere 0.3"
    hint: ClassVar[str] = "Give Passgate's role these privileges on the host or its cluster."

    host: Host
    needed: tuple[str, ...]

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare what is needed with what vCenter says is held."""
        held = site.privileges.get(self.host.ref)
        if held is None:
            return False, f"vCenter did not say what Passgate's account may do with {self.host.name}"
        missing = [name for name in self.needed if name not in held]
        return (
            not missing,
            f"missing on {self.host.name}: {', '.join(missing)}" if missing else "all privileges are held",
        )


@dataclass(frozen=True)
class ApiVersion(Check):
    """Demand an API that knows what is sent; pyVmomi would drop the rest without a word."""

    code: ClassVar[str] = "USB-API-02"
    rule: ClassVar[str] = "The vSphere API is 4.1 or later; 5.0 or later for a USB 3 (xHCI) controller"
    source: ClassVar[str] = "measured on pyVmomi (reference vSphere 0.1)"
    hint: ClassVar[str] = "Update vCenter."

    controller: ControllerKind

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare the API version."""
        numbers = tuple(int(part) for part in site.api_version.split(".")[:2] if part.isdigit())
        return numbers >= OLDEST_API[self.controller], f"{site.site} speaks API {site.api_version}"


@dataclass(frozen=True)
class IsVCenter(Check):
    """Demand a vCenter where hosts work together; an ESXi host that is asked by itself knows no other."""

    code: ClassVar[str] = "ACC-01"
    rule: ClassVar[str] = "Passgate speaks with a vCenter, which moving VMs between hosts takes"
    source: ClassVar[str] = "vSphere API: about.apiType is VirtualCenter, not HostAgent"
    hint: ClassVar[str] = (
        "Set `vcenter.url` in site.yaml to the vCenter that manages this host, or do without moving VMs."
    )

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at what was asked."""
        alone = f"{site.site} is an ESXi host that is asked by itself, without a vCenter"
        return not site.standalone, alone if site.standalone else f"{site.site} is a vCenter"
