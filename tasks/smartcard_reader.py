"""Check what a smart-card reader needs before a VM gets it, and who needs it on its host."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from passgate.engine.steps import Check, Severity
from passgate.model.inventory import Arbitrator, Host, HostUsbDevice, Inventory, Vm
from passgate.model.usb import canonical_path
from tasks import pcscd, smartcard
from tasks.pcscd import Method, Policy

ARTICLE = "article, connecting USB smart cards"
OLDEST, NEWEST = (6, 5), (7, 0)
"""ESXi versions that KB 323394 speaks of."""
VMX_FILE = re.compile(r"^\[[^\[\]/]+\] .+\.vmx$")


@dataclass(frozen=True)
class IsReader(Check):
    """Demand a smart-card reader."""

    code: ClassVar[str] = "SC-DEV-01"
    rule: ClassVar[str] = "The device is a smart-card reader (USB class CCID)"
    source: ClassVar[str] = f"{ARTICLE}; KB 323394"
    hint: ClassVar[str] = "Attach other devices with usb-attach; they need neither this setting nor pcscd stopped."

    device: HostUsbDevice

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the device's classes, as vSphere or lsusb tell them."""
        families = ", ".join(self.device.families) or "a class that is not known"
        return pcscd.READER in self.device.families, f"{self.device.words} is of class {families}"


@dataclass(frozen=True)
class IsOffered(Check):
    """Demand a reader that the arbitrator offers, or will offer once pcscd is stopped."""

    code: ClassVar[str] = "SC-DEV-02"
    rule: ClassVar[str] = "The host offers the reader to VMs, or only its pcscd or a stopped arbitrator keeps it back"
    source: ClassVar[str] = f"{ARTICLE}: pcscd keeps the readers"
    hint: ClassVar[str] = (
        "Look at `esxcli hardware usb passthrough device list` on the host: the device may be disabled there. Readers "
        "that are keyboards too may need usb.quirks, which Passgate does not set."
    )

    device: HostUsbDevice

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the host's list, its arbitrator and its pcscd."""
        host = site.host(self.device.host.ref)
        if host.arbitrator is not Arbitrator.RUNNING:
            return True, "the arbitrator does not run yet; the reader is looked for again once it does"
        if pcscd.runs(host):
            return True, f"pcscd runs on {host.name}; the reader is looked for again once it is stopped"
        offered = self.device.offered
        return offered, f"{host.name} {'offers' if offered else 'does not offer'} {self.device.words}"


@dataclass(frozen=True)
class DaemonKnown(Check):
    """Demand that the host told of its services."""

    code: ClassVar[str] = "SC-HOST-01"
    rule: ClassVar[str] = "It is known whether pcscd runs on the host, and when it starts by itself"
    source: ClassVar[str] = f"{ARTICLE}; reference vSphere 3.6"
    hint: ClassVar[str] = "Reconnect the host, and let Passgate's account read it (System.Read)."

    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look whether the services were read; a host without pcscd has told so."""
        host = site.host(self.host.ref)
        service = host.service(pcscd.KEY)
        if host.services is None:
            return False, f"vCenter did not tell of the services of {host.name}"
        if service is None:
            return True, f"{host.name} has no pcscd"
        known = service.policy in set(Policy)
        state = "runs" if service.running else "is stopped"
        return known, f"pcscd on {host.name} {state}; its startup policy is {service.policy or 'not told'}"


@dataclass(frozen=True)
class VersionCovered(Check):
    """Warn of ESXi versions that the vendor's procedure does not speak of."""

    code: ClassVar[str] = "SC-HOST-02"
    rule: ClassVar[str] = "The host runs ESXi 6.5 to 7.0, for which the vendor describes this procedure"
    source: ClassVar[str] = "KB 323394 (reference vSphere 3.6)"
    hint: ClassVar[str] = "The vendor's text says nothing of this version: try it on a test VM first."
    severity: ClassVar[Severity] = Severity.WARNING

    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare the host's version."""
        version = tuple(int(part) for part in self.host.version.split(".")[:2] if part.isdigit())
        said = self.host.version or "of a version that vCenter does not tell"
        return OLDEST <= version <= NEWEST, f"{self.host.name} runs ESXi {said}"


@dataclass(frozen=True)
class HostLogin(Check):
    """Warn that people who log in to the host itself with smart cards can't do so any more."""

    code: ClassVar[str] = "SC-HOST-03"
    rule: ClassVar[str] = "Nobody needs pcscd on the host, which serves the smart-card login to the host itself"
    source: ClassVar[str] = f"{ARTICLE}; KB 323394: side effect"
    hint: ClassVar[str] = "Ask who logs in to this host with a smart card, and see that they have another way in."
    severity: ClassVar[Severity] = Severity.WARNING

    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look whether pcscd runs, or would start by itself."""
        host = site.host(self.host.ref)
        runs, policy = pcscd.runs(host), pcscd.policy_of(host)
        state = f"{'runs' if runs else 'does not run'}, and its startup policy is {policy}"
        return not runs and policy is Policy.OFF, f"pcscd on {host.name} {state}"


@dataclass(frozen=True)
class OthersAllowed(Check):
    """Warn of other VMs on the host that may take smart-card readers: what is done to pcscd concerns them too."""

    code: ClassVar[str] = "SC-HOST-04"
    rule: ClassVar[str] = "No other VM on the host may take smart-card readers"
    source: ClassVar[str] = f"{ARTICLE}; reference vSphere 3.6"
    hint: ClassVar[str] = (
        "While pcscd is stopped these VMs may take a reader too, and while one of them has one, pcscd stays stopped."
    )
    severity: ClassVar[Severity] = Severity.WARNING

    vm: Vm
    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look through the configurations of the other VMs on the host."""
        others = [vm.name for vm in others_allowed(site, self.vm, self.host)]
        if not others:
            return True, f"no other VM on {self.host.name} has {smartcard.KEY} = {smartcard.ALLOWED}"
        return False, f"{', '.join(others)} on {self.host.name} have {smartcard.KEY} = {smartcard.ALLOWED}"


@dataclass(frozen=True)
class PolicyFitsMethod(Check):
    """Refuse a startup policy that chkconfig can't set, or could not set again."""

    code: ClassVar[str] = "SC-VMX-01"
    rule: ClassVar[str] = (
        "With the method vmx, pcscd's startup policy is and becomes on or off: chkconfig knows no third"
    )
    source: ClassVar[str] = "reference vSphere 3.1, 3.4: chkconfig; policies of the service system"
    hint: ClassVar[str] = "Use the method api, or set the policy of pcscd to on or off by hand first."

    host: Host
    method: Method
    policy: Policy

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the policy that is, and at the one that shall be."""
        former = pcscd.policy_of(site.host(self.host.ref))
        said = f"the startup policy of pcscd on {self.host.name} is {former}, and becomes {self.policy}"
        return self.method is Method.API or Policy.AUTOMATIC not in {former, self.policy}, said


@dataclass(frozen=True)
class VmxFileKnown(Check):
    """Demand to know where the VM's configuration file is."""

    code: ClassVar[str] = "SC-VMX-02"
    rule: ClassVar[str] = "With the method vmx, it is known where the VM's VMX file is on a datastore"
    source: ClassVar[str] = f"{ARTICLE}: editing the VMX file"
    hint: ClassVar[str] = "Use the method api, or see in vCenter why the VM's files can't be read."

    vm: Vm
    method: Method

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the path that vCenter shows."""
        path = self.vm.vmx_path
        known = VMX_FILE.match(path) is not None
        return self.method is Method.API or known, f"the VMX file of {self.vm.name} is {path or 'not known'}"


def as_known_to(vm: Vm, device: HostUsbDevice) -> HostUsbDevice:
    """Return the device with its path, which the host does not tell while pcscd keeps it: as the VM's entry names it.

    Only where the VM has one entry of these ids; of several nobody knows which one is meant.
    """
    mine = [one for one in vm.usb if (one.vendor, one.product) == (device.vendor, device.product)]
    if device.path is not None or len(mine) != 1:
        return device
    return device.model_copy(update={"path": canonical_path(mine[0].pattern)})


def others_allowed(site: Inventory, vm: Vm, host: Host) -> tuple[Vm, ...]:
    """Return the other VMs on the host that may take smart-card readers."""
    return tuple(one for one in site.vms_on(host) if one.ref != vm.ref and smartcard.is_allowed(one))
