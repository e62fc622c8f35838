"""Stop and start pcscd, the daemon that keeps a host's smart-card readers for the login to the host itself.

It is driven through vCenter's service system by default: that needs no shell, and vCenter's own log shows who did it.
Where services are not to be changed through the API, its init script does the same. Either way it counts as stopped
only when the other side agrees: the host's list of processes (the article's `ps | grep pcscd`) and the service system
must both say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar

from passgate.engine.steps import Confirmation, Effect, Saw, Step, Systems
from passgate.errors import RefusedError
from passgate.model.inventory import Host, HostId, Inventory
from passgate.model.usb import pattern_means

KEY = "pcscd"
READER = "smart_card"
"""vSphere's word for the class of smart-card readers (CCID)."""


class Method(StrEnum):
    """Name the two ways to change a VM and its host: vSphere's API, or the VMX file and init scripts over SSH."""

    API = "api"
    VMX = "vmx"


class Policy(StrEnum):
    """Name when a service starts by itself: with the host, when a port that it needs is opened, or never."""

    ON = "on"
    AUTOMATIC = "automatic"
    OFF = "off"


@dataclass(frozen=True)
class Stop(Step):
    """Stop pcscd on a host, so that the arbitrator offers the host's smart-card readers to VMs."""

    patience: ClassVar[timedelta] = timedelta(seconds=30)

    host: HostId
    method: Method = Method.API

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Stop pcscd on {self.host.name}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when it is stopped, or when the host has none."""
        host = site.host(self.host.ref)
        if not runs(host):
            return Effect.nothing(f"pcscd does not run on {host.name}", site)
        takers = takers_of_readers(site, host)
        others = f"; {', '.join(takers)} may take a reader then, for their configurations name one" if takers else ""
        return Effect(
            needed=True,
            before=f"pcscd runs on {host.name} and keeps its smart-card readers",
            after=f"pcscd on {host.name} is stopped",
            then=site.with_host(with_service(host, running=False)),
            impact=f"nobody can log in to {host.name} itself with a smart card until pcscd runs again{others}",
        )

    def apply(self, systems: Systems) -> None:
        """Stop it, unless both sides say that it is stopped."""
        if _running(systems, self.host) == (False, False):
            return
        if self.method is Method.API:
            systems.hosts.stop_service(self.host, KEY)
        else:
            systems.shell.stop_service(self.host, KEY)

    def confirm(self, systems: Systems) -> Confirmation:
        """Ask the service system and the list of processes; both must say so."""
        return _is(systems, self.host, wanted=False)

    def undo(self) -> Step:
        """Start it again, unless a VM uses a reader by then."""
        return Start(self.host, self.method)


@dataclass(frozen=True)
class Start(Step):
    """Start pcscd on a host: its smart-card readers go back to the login to the host itself."""

    patience: ClassVar[timedelta] = timedelta(seconds=30)

    host: HostId
    method: Method = Method.API

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Start pcscd on {self.host.name}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when it runs."""
        host = site.host(self.host.ref)
        if runs(host):
            return Effect.nothing(f"pcscd runs on {host.name}", site)
        return Effect(
            needed=True,
            before=f"pcscd does not run on {host.name}",
            after=f"pcscd runs on {host.name}",
            then=site.with_host(with_service(host, running=True)),
            impact=f"no VM can use a smart-card reader of {host.name} while pcscd runs",
        )

    def apply(self, systems: Systems) -> None:
        """Start it, after a look that no VM uses a reader: pcscd would take it away from the VM."""
        if _running(systems, self.host) == (True, True):
            return
        devices = systems.vsphere.usb_devices(self.host)
        users = sorted({one.used_by_name or one.used_by for one in devices if one.used_by and READER in one.families})
        if users:
            raise RefusedError(
                f"pcscd on {self.host.name} was left stopped: {', '.join(users)} use smart-card readers of the host.",
                hint="Start it by hand when they are done, if people shall log in to the host with smart cards.",
                subject=self.host.name,
            )
        if self.method is Method.API:
            systems.hosts.start_service(self.host, KEY)
        else:
            systems.shell.start_service(self.host, KEY)

    def confirm(self, systems: Systems) -> Confirmation:
        """Ask the service system and the list of processes; both must say so."""
        return _is(systems, self.host, wanted=True)

    def undo(self) -> Step:
        """Stop it again."""
        return Stop(self.host, self.method)


@dataclass(frozen=True)
class SetPolicy(Step):
    """Set when pcscd starts by itself; the former policy says how to take that back.

    A step and not a warning: a pcscd that was only stopped is back after the host's next boot, and takes the reader
    from its VM weeks after anybody thinks of this change.
    """

    takes: ClassVar[timedelta] = timedelta(seconds=30)
    host: HostId
    policy: Policy
    former: Policy
    method: Method = Method.API

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Set the startup policy of pcscd on {self.host.name} to {self.policy}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when that is its policy."""
        host = site.host(self.host.ref)
        service = host.service(KEY)
        if service is None or service.policy == self.policy:
            return Effect.nothing(f"the startup policy of pcscd on {host.name} is {self.policy}", site)
        boots = "does not start" if self.policy is Policy.OFF else "starts"
        return Effect(
            needed=True,
            before=f"the startup policy of pcscd on {host.name} is {service.policy}",
            after=f"it is {self.policy}",
            then=site.with_host(with_service(host, policy=self.policy)),
            impact=f"pcscd {boots} by itself when {host.name} boots",
        )

    def apply(self, systems: Systems) -> None:
        """Set it, unless it is so."""
        if _policy(systems, self.host) == self.policy:
            return
        if self.method is Method.API:
            systems.hosts.set_service_policy(self.host, KEY, self.policy)
        else:
            systems.shell.set_service_policy(self.host, KEY, self.policy)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the host's services."""
        policy = _policy(systems, self.host)
        words = f"the startup policy of pcscd on {self.host.name} is {policy or 'not known'}"
        saw = Saw.UNKNOWN if policy is None else Saw.YES if policy == self.policy else Saw.NO
        return Confirmation(saw, words, {"policy": policy})

    def undo(self) -> Step:
        """Set the former one again."""
        return SetPolicy(self.host, self.former, self.policy, self.method)


def runs(host: Host) -> bool:
    """Say whether the host's list of services shows a pcscd that runs."""
    service = host.service(KEY)
    return service is not None and service.running


def policy_of(host: Host) -> Policy:
    """Return the policy of the host's pcscd; off where the host has none, or names one that nobody knows."""
    service = host.service(KEY)
    known = set(Policy)
    return Policy(service.policy) if service is not None and service.policy in known else Policy.OFF


def with_service(host: Host, **changes: object) -> Host:
    """Return the host as it would be with its pcscd changed."""
    services = tuple(
        one.model_copy(update=changes) if one.key == KEY else one for one in host.services or ()
    )  # fmt: skip
    return host.model_copy(update={"services": services})


def takers_of_readers(site: Inventory, host: Host) -> tuple[str, ...]:
    """Return the VMs on the host whose configurations name one of its smart-card readers."""
    readers = [one for one in host.usb if READER in one.families]
    return tuple(
        vm.name
        for vm in site.vms_on(host)
        if any(
            pattern_means(entry.pattern, one.path, one.vendor, one.product) for entry in vm.usb for one in readers
        )
    )  # fmt: skip


def _policy(systems: Systems, host: HostId) -> str | None:
    service = systems.hosts.host(host).service(KEY)
    return service.policy if service else None


def _running(systems: Systems, host: HostId) -> tuple[bool | None, bool | None]:
    """Return what the service system and the list of processes say; None: they don't."""
    service = systems.hosts.host(host).service(KEY)
    return service.running if service else None, systems.shell.process_runs(host, KEY)


def _is(systems: Systems, host: HostId, *, wanted: bool) -> Confirmation:
    service, process = _running(systems, host)
    facts = {"service": service, "process": process}
    said = {True: "runs", False: "is stopped", None: "is not known"}
    words = f"pcscd on {host.name}: the service {said[service]}, the process {said[process]}"
    if None in (service, process):
        return Confirmation(Saw.UNKNOWN, words, facts)
    return Confirmation(Saw.YES if (service, process) == (wanted, wanted) else Saw.NO, words, facts)
