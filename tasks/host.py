"""Check a host before its devices are given away, and reboot it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from passgate.engine.steps import Check, Confirmation, Effect, Look, NoUndo, Saw, Severity, Step, Systems
from passgate.model.inventory import Host, HostId, HostUsbDevice, Inventory, Vm, VmId

DEVICES_PER_HOST = 20
HA_WELL = frozenset({"connectedToMaster", "master"})
"""States of an HA agent that does its work (vSphere's own words)."""
BOOTED_WITH = frozenset({"on", "automatic"})
"""Policies of services that start with their host."""
REBOOT_GATE = "host-reboot"
"""The second gate that a reboot of a host is behind, where policy has terms for it."""
FASTER_THAN_USB_3 = frozenset({"superSpeedPlus", "superSpeed20Gbps"})


@dataclass(frozen=True)
class IsConnected(Check):
    """Demand a host that vCenter can act on."""

    code: ClassVar[str] = "USB-HOST-02"
    rule: ClassVar[str] = "The host is connected and not in maintenance mode"
    source: ClassVar[str] = "reference vSphere 6.2"
    hint: ClassVar[str] = "Reconnect the host, or take it out of maintenance mode."

    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at the connection and at maintenance mode."""
        if self.host.maintenance:
            return False, f"{self.host.name} is in maintenance mode"
        return self.host.connection == "connected", f"{self.host.name} is {self.host.connection}"


@dataclass(frozen=True)
class DevicesInUse(Check):
    """Demand room for one more device in use."""

    code: ClassVar[str] = "USB-HOST-03"
    rule: ClassVar[str] = "At most 20 USB devices of a host are connected to VMs"
    source: ClassVar[str] = "article, physical USB device"
    hint: ClassVar[str] = "Detach a device of this host that is no longer needed, or use another host."

    host: Host
    device: HostUsbDevice

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Count the devices that VMs use, without the one that is asked for."""
        used = sum(1 for one in self.host.usb if one.used_by and one != self.device)
        return used < DEVICES_PER_HOST, f"{used} other USB devices of {self.host.name} are in use"


@dataclass(frozen=True)
class VersionEnough(Check):
    """Demand an ESXi version that has USB passthrough."""

    code: ClassVar[str] = "USB-HOST-04"
    rule: ClassVar[str] = "ESXi 4.1 or later; 5.5 or later for USB 3"
    source: ClassVar[str] = "article, what USB passthrough is; requirements of USB 3.0 (5.5 patch 3)"
    hint: ClassVar[str] = "Update the host."

    host: Host
    usb3: bool

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare the host's version."""
        oldest = (5, 5) if self.usb3 else (4, 1)
        return _version(self.host) >= oldest, _runs(self.host)


@dataclass(frozen=True)
class FullSpeed(Check):
    """Warn of a device that the host can't drive at its own speed."""

    code: ClassVar[str] = "USB-HOST-05"
    rule: ClassVar[str] = "ESXi 7.0 or later for the full speed of a USB 3.1 device"
    source: ClassVar[str] = "article, requirements of USB 3.0"
    hint: ClassVar[str] = "The device works at a lower speed; update the host if that is not enough."
    severity: ClassVar[Severity] = Severity.WARNING

    host: Host
    device: HostUsbDevice

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare the host's version with the device's speeds."""
        faster = FASTER_THAN_USB_3.intersection(self.device.speeds)
        speed = f"; {self.device.words} runs at {', '.join(sorted(faster))}" if faster else ""
        return not faster or _version(self.host) >= (7, 0), _runs(self.host) + speed


def _version(host: Host) -> tuple[int, ...]:
    return tuple(int(part) for part in host.version.split(".")[:2] if part.isdigit())


def _runs(host: Host) -> str:
    return f"{host.name} runs ESXi {host.version or 'of a version that vCenter does not tell'}"


@dataclass(frozen=True)
class CanReboot(Check):
    """Demand a host that can be emptied and rebooted, and whose boot time is known: the only proof of a reboot."""

    code: ClassVar[str] = "HOST-BOOT-01"
    rule: ClassVar[str] = "The host supports maintenance mode and reboot, and tells when it was booted"
    source: ClassVar[str] = "reference vSphere 2.6"
    hint: ClassVar[str] = "Look at the host's capabilities in vCenter; reboot it by hand if vCenter can't."

    host: Host

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Look at capabilities and boot time."""
        if self.host.boot_time is None:
            return False, f"{self.host.name} does not tell when it was booted"
        if self.host.can_reboot is not True:
            said = "does not tell whether it supports" if self.host.can_reboot is None else "does not support"
            return False, f"{self.host.name} {said} maintenance mode and reboot"
        return True, f"{self.host.name} supports both, and was booted at {self.host.boot_time:%Y-%m-%d %H:%M:%S}"


@dataclass(frozen=True)
class Ready(Look):
    """Wait at the gate before a host is emptied for a reboot, then see that it is still there. Only reads.

    The gate is here and not only at the reboot itself: while people decide, the VMs run on where they are.
    """

    aside: ClassVar[bool] = True
    attempts: ClassVar[int] = 2
    gate: ClassVar[str] = REBOOT_GATE

    host: HostId

    @property
    def title(self) -> str:
        """Say what is looked for."""
        return f"See {self.host.name} ready to be emptied and rebooted"

    def effect(self, site: Inventory) -> Effect:
        """Look always."""
        return Effect(needed=True, before="not looked at yet", after=f"{self.host.name} is connected", then=site)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the host anew."""
        now = systems.hosts.host(self.host)
        saw = Saw.YES if now.connection == "connected" else Saw.NO
        return Confirmation(saw, f"{now.name} is {now.connection}", {"connection": now.connection})


@dataclass(frozen=True)
class Reboot(Step):
    """Reboot a host that is in maintenance mode. Never forced: with a running VM the host refuses.

    `vms` are all VMs that are on the host when the plan is made, so that the plan names them and nobody else changes
    them meanwhile. `booted` is when the host was booted then: only a newer time proves that it went down and came back
    (reference vSphere 2.6), and it is the same after a crash of ours.
    """

    takes: ClassVar[timedelta] = timedelta(minutes=15)
    gate: ClassVar[str] = REBOOT_GATE
    attempts: ClassVar[int] = 2
    patience: ClassVar[timedelta] = timedelta(minutes=45)
    look_every: ClassVar[timedelta] = timedelta(seconds=5)

    host: HostId
    vms: tuple[VmId, ...]
    booted: datetime

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Reboot {self.host.name}"

    def effect(self, site: Inventory) -> Effect:
        """Need nothing when the host has been rebooted since."""
        host = site.host(self.host.ref)
        if host.boot_time is not None and is_newer(host.boot_time, self.booted):
            return Effect.nothing(f"{host.name} was rebooted at {host.boot_time:%Y-%m-%d %H:%M:%S}", site)
        pci = tuple(one.model_copy(update={"active": one.enabled}) for one in host.pci)
        services = host.services and tuple(
            one.model_copy(update={"running": one.policy in BOOTED_WITH}) for one in host.services
        )
        return Effect(
            needed=True,
            before=f"{host.name} has been up since {self.booted:%Y-%m-%d %H:%M:%S}",
            after=f"{host.name} was rebooted, and is connected again",
            then=site.with_host(host.model_copy(update={"pci": pci, "services": services, "reboot_required": False})),
            impact=f"{host.name} is away for minutes, up to {self.patience // timedelta(minutes=1)}; {self._who(site)}",
        )

    def _who(self, site: Inventory) -> str:
        """Name every VM that is on the host when the plan is made, and where it is meanwhile."""
        if not self.vms:
            return "no VM is on it"
        mine = {one.ref for one in self.vms}
        where = [_meanwhile(vm, self.host) for vm in site.vms if vm.ref in mine]
        return f"its VMs meanwhile: {', '.join(sorted(where))}"

    def apply(self, systems: Systems) -> None:
        """Ask for the reboot, unless it has happened; a host that vCenter let go meanwhile is taken hold of again."""
        now = systems.hosts.host(self.host)
        if now.connection == "disconnected":
            systems.hosts.reconnect(self.host)
        elif now.connection == "connected" and not self._is_over(now):
            systems.hosts.reboot(self.host)

    def confirm(self, systems: Systems) -> Confirmation:
        """Compare the boot time with the one before; a task that ended well says only that the host accepted."""
        now = systems.hosts.host(self.host)
        facts = {
            "connection": now.connection,
            "booted_before": self.booted.isoformat(),
            "booted": now.boot_time.isoformat() if now.boot_time else None,
        }
        if now.connection != "connected":
            return Confirmation(Saw.NO, f"{now.name} is {now.connection}", facts)
        if now.boot_time is None or not self._is_over(now):
            return Confirmation(Saw.NO, f"{now.name} still shows its former boot time", facts)
        return Confirmation(Saw.YES, f"{now.name} was booted at {now.boot_time:%Y-%m-%d %H:%M:%S}", facts)

    def _is_over(self, now: Host) -> bool:
        return now.boot_time is not None and is_newer(now.boot_time, self.booted)

    def undo(self) -> NoUndo:
        """Leave it: nothing of a reboot stays that could be taken back."""
        return NoUndo("a reboot that is over leaves nothing to take back", leaves=False)


@dataclass(frozen=True)
class Serves(Look):
    """Wait until a host is back at work: connected, open to VMs, its HA agent in its cluster. Only reads.

    `ha` False: the cluster has no HA, or nobody could tell its state before, so nothing is demanded of it now.
    """

    aside: ClassVar[bool] = True
    takes: ClassVar[timedelta] = timedelta(minutes=5)
    attempts: ClassVar[int] = 2
    patience: ClassVar[timedelta] = timedelta(minutes=10)
    look_every: ClassVar[timedelta] = timedelta(seconds=5)

    host: HostId
    ha: bool
    maintenance: bool = False

    @property
    def title(self) -> str:
        """Say what is looked for."""
        return f"See {self.host.name} at work again"

    def effect(self, site: Inventory) -> Effect:
        """Look always."""
        return Effect(needed=True, before="not looked at yet", after=f"{self.host.name} is as it was before", then=site)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read the host anew."""
        now = systems.hosts.host(self.host)
        facts = {"connection": now.connection, "maintenance": now.maintenance, "ha": now.ha_state}
        if now.connection != "connected":
            return Confirmation(Saw.NO, f"{now.name} is {now.connection}", facts)
        if now.maintenance is not self.maintenance:
            return Confirmation(Saw.NO, f"{now.name} is {'' if now.maintenance else 'not '}in maintenance mode", facts)
        if self.ha and not now.maintenance and now.ha_state not in HA_WELL:
            return Confirmation(Saw.NO, f"the HA agent of {now.name} is {now.ha_state or 'silent'}", facts)
        ha = f", its HA agent {now.ha_state}" if now.ha_state else ""
        return Confirmation(Saw.YES, f"{now.name} is connected{ha}", facts)


def is_newer(boot: datetime, before: datetime) -> bool:
    """Say whether a boot time is that of a later boot; a second of difference may be the clock's."""
    return boot - before > timedelta(seconds=1)


def _meanwhile(vm: Vm, host: HostId) -> str:
    if vm.host.ref != host.ref:
        return f"{vm.name} on {vm.host.name}"
    return f"{vm.name} {vm.power}"
