"""Ways in which the checks of reboots and evacuations are not met."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from passgate.engine.steps import Check
from passgate.model.inventory import Host, Inventory, Power, VmPci
from tasks import evacuation, host
from tests.scenarios.paper import ELSEWHERE, HOST, entry, estate, machine
from tests.scenarios.unmet import WARNING, Unmet

BOOTED = datetime(2026, 10, 1, 6, 0, tzinfo=UTC)
UP = {"boot_time": BOOTED, "can_reboot": True, "cluster": "domain-c7", "memory_mb": 65536}
FREE = {"shared_storage": True, "memory_mb": 4096}
DONGLE = {"used_by": "vm-8", "used_by_name": "lnx-01"}


def site(
    vm: dict[str, Any] | None = None, own: dict[str, Any] | None = None, other: dict[str, Any] | None = None, **how: Any
) -> Inventory:
    """Return an estate where the host can be emptied and rebooted, with those changes; `other` is the second host."""
    held = frozenset({*evacuation.MOVE, *evacuation.POWER})
    made = estate({**FREE, **(vm or {})}, {**UP, **(own or {})}, **how)
    second = Host(**{**ELSEWHERE.model_dump(), **UP, **(other or {})})
    return made.with_host(second).model_copy(update={"privileges": {vm.ref: held for vm in made.vms}})


def of(kind: Callable[..., Check], **how: Any) -> Callable[[Inventory], Check]:
    """Return what makes that check of the estate's first host."""
    return lambda one: kind(one.host(HOST.ref), **how)


def never(kind: Callable[..., Check]) -> Callable[[Inventory], Check]:
    """Return what makes that check where no VM may be shut down."""
    return of(kind, shut_down=False)


AWAY = {"usb": (entry(), entry("0/1/2", key=41001, hostname="esx-02.lab.example"))}
UNMET = (
    Unmet("HOST-BOOT-01", "no boot time", "does not tell when", site(own={"boot_time": None}),
          check=of(host.CanReboot)),
    Unmet("HOST-BOOT-01", "no reboot", "does not support", site(own={"can_reboot": False}), check=of(host.CanReboot)),
    Unmet("HOST-BOOT-01", "not told", "does not tell whether", site(own={"can_reboot": None}),
          check=of(host.CanReboot)),
    Unmet("EVAC-01", "a PCI function", "win-01 has a PCI", site({"pci": (VmPci(key=13000),)}),
          check=never(evacuation.PciStays)),
    Unmet("EVAC-02", "without vMotion support", "win-01 uses a USB", site({"usb": (entry(),)}),
          check=never(evacuation.UsbStays)),
    Unmet("EVAC-02", "with vMotion support, but of the host that reboots", "win-01 uses a USB",
          site({"usb": (entry(hostname=HOST.name),)}), check=never(evacuation.UsbStays)),
    Unmet("EVAC-03", "fault tolerance", "win-01 is protected", site({"fault_tolerance": True}),
          check=never(evacuation.FaultTolerantStays)),
    Unmet("EVAC-04", "a local datastore", "win-01 has disks", site({"shared_storage": False}),
          check=never(evacuation.LocalDisksStay)),
    Unmet("EVAC-04", "storage that was not read", "win-01 has disks", site({"shared_storage": None}),
          check=never(evacuation.LocalDisksStay)),
    Unmet("EVAC-05", "suspended", "win-01 is suspended", site({"power": Power.SUSPENDED}),
          check=of(evacuation.SuspendedStay), severity=WARNING),
    Unmet("EVAC-06", "the other host in maintenance mode", "room for win-01", site(other={"maintenance": True}),
          check=of(evacuation.HasRoom)),
    Unmet("EVAC-06", "the other host away", "room for win-01", site(other={"connection": "notResponding"}),
          check=of(evacuation.HasRoom)),
    Unmet("EVAC-06", "the other host in another cluster", "room for win-01", site(other={"cluster": "domain-c9"}),
          check=of(evacuation.HasRoom)),
    Unmet("EVAC-06", "a host of its own", "room for win-01", site(own={"cluster": None}, other={"cluster": None}),
          check=of(evacuation.HasRoom)),
    Unmet("EVAC-06", "no memory left", "room for win-01",
          site(other={"memory_mb": 6144}, others=[machine("lnx-01", 8, host=ELSEWHERE, **FREE)]),
          check=of(evacuation.HasRoom)),
    Unmet("EVAC-06", "room for the first one only", "room for win-01",
          site(other={"memory_mb": 6144}, others=[machine("lnx-01", 8, **FREE)]), check=of(evacuation.HasRoom)),
    Unmet("EVAC-07", "a VM that stays has a device of another host", "devices of esx-02.lab.example", site(AWAY),
          check=of(evacuation.NobodyIsAway)),
    Unmet("EVAC-08", "a VM elsewhere has its dongle", "lnx-01 uses",
          site(device=DONGLE, others=[machine("lnx-01", 8, host=ELSEWHERE)]), check=of(evacuation.NoDeviceIsAway)),
    Unmet("EVAC-09", "vCenter runs in a VM that stays", "vCenter runs in win-01",
          site({"usb": (entry(),)}, site={"depended_on": {"vm-7": "vCenter"}}), check=of(evacuation.SparesWhatWeNeed)),
    Unmet("EVAC-11", "a VM that moves", "win-01: Resource.HotMigrate",
          site().model_copy(update={"privileges": {"vm-7": frozenset({"Resource.ColdMigrate"})}}),
          check=of(evacuation.MayMove)),
    Unmet("EVAC-11", "a VM that is shut down, of which nothing is told", "win-01: VirtualMachine.Interact.PowerOff",
          site({"usb": (entry(),)}).model_copy(update={"privileges": {}}), check=of(evacuation.MayMove)),
    Unmet("EVAC-10", "no Tools in a VM that stays", "no Tools in win-01",
          site({"usb": (entry(),), "tools_running": False}), check=of(evacuation.GuestsShutDown), severity=WARNING),
)  # fmt: skip
