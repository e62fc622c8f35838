"""Class every field of a reading: what another reading may show of it with nothing changed, and what is a change.

`FIELDS` is the one table. A field with `noise` may become any of these at each reading, and no approval goes void; one
with `meaning` makes another plan of at least one runbook. Many are both: a host may be patched from 8.0.2 to 8.0.3, and
may not become 6.5. What can't be told by a field alone (numbers that belong together, VMs and devices that have nothing
to do with a change) is in `replay`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from pydantic import BaseModel

from passgate.model.frozen import Frozen
from passgate.model.guest import GuestDisk, GuestMount, GuestUsb
from passgate.model.identity import HostId
from passgate.model.inventory import (
    Arbitrator,
    Cluster,
    ControllerKind,
    GuestFamily,
    Host,
    HostService,
    HostUsbDevice,
    Inventory,
    Power,
    Schedule,
    Snapshot,
    UsbController,
    UsbOptions,
    Vm,
    VmUsbDevice,
)
from passgate.model.pci import ConfirmedBus, PciFunction, VmPci
from passgate.model.plan import Plan

Noise = Callable[[Any, Random], Any]
Meaning = Callable[[Any], Any]
NAMES = ("spare", "test", "old", "annotated", "moved here", "nightly")


@dataclass(frozen=True)
class Says:
    """Hold what may become of a field: at another reading with nothing changed, and by changes that count."""

    noise: Noise | None = None
    meaning: tuple[Meaning, ...] = ()


def seeded(seed: int) -> Random:
    """Return a source of chance that gives the same replay again."""
    return Random(seed)  # noqa: S311 - noise, no secret


def one_of(*values: Any) -> Noise:
    """Return noise that chooses among values."""
    return lambda _, chance: chance.choice(values)


def shuffled(values: Any, chance: Random) -> Any:
    """Return the same entries in another order."""
    if isinstance(values, dict):
        return dict(chance.sample(list(values.items()), len(values)))
    return values if values is None else tuple(chance.sample(list(values), len(values)))


def to(*values: Any) -> Says:
    """Say that a field counts: it is no noise that it becomes one of these."""
    return Says(meaning=tuple(lambda _, value=value: value for value in values))


YES, NO = True, False
NUMBER = Says(noise=lambda old, chance: old if old is None else chance.randrange(1, 10**6))
TEXT = Says(noise=lambda _, chance: chance.choice(NAMES))
FLAG = Says(noise=lambda _, chance: chance.random() < 0.5)
ORDER = Says(noise=shuffled)
FLIPPED = Says(meaning=(lambda old: not old,))
ANOTHER = Says(meaning=(lambda old: f"{old}9" if old else "9",))
"""A name or an identity: another one is another thing."""
KEPT = Says()
"""A part that is looked into: what counts is what is in it, and each of its fields has a line of its own."""
BESIDE = Says()
"""A field that counts only in company of others: where it does, the test of the check that reads it proves so."""
ENTRIES = Says(noise=shuffled, meaning=(lambda _: (),))
"""A list of things: its order is noise, that a thing is there is not."""
NUMBERS = Says(meaning=(lambda old: old + 1, lambda _: 0, lambda _: 10**6))

FIELDS: dict[type[Frozen], dict[str, Says]] = {
    Inventory: {
        "site": TEXT,  # the name in our own config, not read at all
        "api_version": Says(lambda old, chance: chance.choice((old, "8.0.3.0", "9.0.0.0")) if old >= "7" else old,
                            to("6.0").meaning),
        "read_at": Says(lambda old, chance: old + timedelta(seconds=chance.randrange(10**7))),
        "vms": ENTRIES, "hosts": ENTRIES, "clusters": ENTRIES,
        "standalone": FLIPPED,
        "guests": Says(shuffled, (lambda _: {},)),
        "guest_errors": Says(shuffled, (lambda _: {"vm-7": "silent", "vm-9": "silent", "vm-103": "silent"},)),
        "privileges": Says(lambda old, _: {ref: held | {"System.View"} for ref, held in reversed(old.items())},
                           (lambda _: {},)),
        "depended_on": Says(shuffled, (lambda _: dict.fromkeys([f"vm-{n}" for n in range(200)], "vCenter"),)),
    },
    HostId: {"ref": ANOTHER, "name": ANOTHER, "uuid": ANOTHER},
    Vm: {
        "ref": ANOTHER, "name": ANOTHER, "uuid": ANOTHER, "host": KEPT,
        "power": to(*Power),
        "connection": ANOTHER, "template": FLIPPED,
        "guest_id": to("", "dosGuest"),
        "guest_name": Says(lambda old, chance: old + chance.choice(("", " (64-bit)"))),
        "guest_family": to(*GuestFamily),
        "guest_version": Says(meaning=to("2.6.9", "5.1.2600", "").meaning),
        "hardware_version": to(3, 7, 8),
        "tools_installed": FLIPPED, "tools_running": FLIPPED,
        "guest_ready": FLAG,
        "fault_tolerance": FLIPPED,
        "question": to("Moved or copied?"),
        "controllers": ENTRIES, "usb": ENTRIES,
        "disks": Says(lambda old, chance: old and chance.randrange(1, 60), to(0).meaning),
        "options": to(None),
        "change_version": TEXT,
        "cpus": NUMBERS, "memory_mb": NUMBERS, "memory_reservation_mb": NUMBERS, "memory_locked": FLIPPED,
        "cpu_hot_add": FLIPPED, "memory_hot_add": FLIPPED, "pci_hot_add": BESIDE,
        "snapshots": Says(shuffled, to((Snapshot(name="before"), Snapshot(name="with memory", memory=True))).meaning),
        "schedules": Says(shuffled, (lambda _: None,)),
        "pci": ENTRIES,
        "extra": Says(shuffled, (lambda _: {}, lambda old: {key: f"{value}9" for key, value in old.items()})),
        "vmx_path": ANOTHER,
        "shared_storage": to(None, NO),
    },
    UsbController: {"kind": to(*ControllerKind), "key": KEPT},  # renumbered by `replay`, with what refers to it
    VmUsbDevice: {
        "key": NUMBER, "controller_key": KEPT,
        "pattern": Says(meaning=(lambda old: old.replace("0/", "0/8/"), lambda _: "path:0/1/3")),
        "hostname": to(None, "esx-09.lab.example"),
        "connected": FLIPPED,
        "vendor": BESIDE, "product": BESIDE,
    },
    UsbOptions: {
        "usb_supported": FLIPPED, "hot_add": FLIPPED, "hot_remove": FLIPPED,
        "max_ehci": BESIDE,
        "max_xhci": Says(lambda old, chance: old and chance.randrange(1, 9), to(0).meaning),
    },
    Snapshot: {"name": TEXT, "memory": FLIPPED},
    Schedule: {"name": TEXT, "method": to("SuspendVM_Task", "PowerOffVM_Task", "MigrateVM_Task"), "enabled": FLIPPED},
    VmPci: {
        "key": NUMBER, "address": ANOTHER, "vendor": KEPT, "device": KEPT, "system_id": KEPT, "name": TEXT,
    },
    Host: {
        "ref": ANOTHER, "name": ANOTHER, "uuid": ANOTHER,
        "cluster": to(None, "domain-c99"), "cluster_name": TEXT,
        "connection": to("notResponding"), "maintenance": FLIPPED,
        "version": Says(lambda old, chance: old and f"{old.rpartition('.')[0]}.{chance.randrange(2, 9)}",
                        to("6.0.0", "5.5.0").meaning),
        "arbitrator": to(*Arbitrator),
        "usb": ENTRIES,
        "usb_controllers": Says(lambda old, chance: chance.randrange(1, 15) if old <= 15 else old,
                                to(16).meaning),
        "dpm": FLIPPED,
        "management_ip": to(None, "203.0.113.9"),
        "shell_error": to("the shell does not answer"),
        "datacenter": BESIDE,
        "boot_time": Says(meaning=(lambda old: old and old + timedelta(hours=1), lambda _: None)),
        "can_reboot": to(None, NO),
        "ha_state": to(None),
        "reboot_required": FLAG,
        "memory_mb": to(0, 512),
        "services": ENTRIES, "pci": ENTRIES,
        "rebind": to(YES, NO, None),
        "system_id": KEPT,
        "buses": Says(shuffled, (lambda _: {},)),
        "confirmed": Says(shuffled, (lambda _: (),)),
    },
    HostService: {"key": ANOTHER, "label": TEXT, "running": FLIPPED, "policy": to("on", "off", "automatic")},
    HostUsbDevice: {
        "host": KEPT, "vendor": to(0x1234), "product": to(0x1234), "path": ANOTHER, "serial": ANOTHER,
        "name": ANOTHER, "pattern": KEPT,
        "families": to(("smartCard",), ("hub",), ("video",), ()),
        "speeds": Says(meaning=to(("superSpeed",), ("low",), ("high",)).meaning),
        "used_by": to(None, "vm-77"), "used_by_name": TEXT,
        "offered": FLIPPED, "boots_host": FLIPPED,
        "bus": to(0, 77), "device": NUMBER,
    },
    PciFunction: {
        "host": KEPT, "address": to("0000:99:00.0"), "vendor": to(0x1234), "device": to(0x1234),
        "name": ANOTHER, "class_id": to(0x0C03, 0x0200, 0x0604),
        "subvendor": NUMBER, "subdevice": NUMBER,
        "parent_bridge": KEPT,
        "dependent": to("0000:99:00.0", "0000:00:1c.0"),
        "capable": FLIPPED, "enabled": FLIPPED, "active": FLIPPED,
        "label": TEXT,
        "alias": BESIDE, "carries": to("management", "storage", "network"),
    },
    ConfirmedBus: {"bus": to(77), "address": BESIDE, "confirmed_by": BESIDE, "at": BESIDE},
    Cluster: {
        "ref": ANOTHER, "name": TEXT, "drs": FLAG, "drs_level": TEXT, "drs_overrides": ORDER,
        "dpm": BESIDE,
        "dpm_overrides": Says(shuffled, (lambda _: dict.fromkeys([f"host-{n}" for n in range(40)], True),)),
        "ha": FLIPPED,
    },
    GuestUsb: {
        "vendor": to(0x1234), "product": to(0x1234), "serial": ANOTHER, "name": ANOTHER,
        "status": TEXT, "speed": Says(one_of("12", "480", "5000", "")),
        "kinds": to(("0b",), ("08",)),
        "disks": ENTRIES, "disks_known": FLIPPED,
    },
    GuestDisk: {
        "name": ANOTHER, "size": NUMBERS, "state": to("Offline"), "where": ANOTHER, "serial": ANOTHER,
        "unique": ANOTHER,
        "mounts": ENTRIES, "held_by": to(("dm-0",)),
    },
    GuestMount: {"where": ANOTHER, "part": NUMBERS, "kind": ANOTHER, "options": ANOTHER, "whole": FLIPPED},
}  # fmt: skip


def replay(site: Inventory, plan: Plan, chance: Random) -> Inventory:
    """Return the estate as another reading could show it, with nothing changed that the plan is about.

    Every field takes its noise, all lists another order, device keys and buses other numbers; VMs that the plan does
    not name live their own lives, and VMs, hosts and devices join that have nothing to do with it.
    """
    text = plan.model_dump_json()
    found: Inventory = _noisy(site, chance)
    vms = [_renumbered(vm, chance) for vm in found.vms]
    vms = [vm if f'"{vm.ref}"' in text or _holds_something(vm) else _living(vm, chance) for vm in vms]
    hosts = [_joined_by_devices(_other_buses(host, chance), text, chance) for host in found.hosts]
    emptied = {str(step.fields["host"]["ref"]) for step in plan.steps if step.kind == "host.Reboot"}
    for number in range(chance.randrange(3)):
        stranger = HostId(ref=f"host-9{number}", name=f"zzz-{number}.lab.example", uuid=f"4c4c99{number}")
        hosts.append(Host(**stranger.model_dump(), version="8.0.2", cluster=chance.choice((None, "domain-c99"))))
    for number in range(chance.randrange(4)):
        home = chance.choice([host for host in hosts if host.ref not in emptied])
        there = Vm(ref=f"vm-9{number}", name=f"stranger-{number}", uuid=f"9000-{number}", host=home.id, power=Power.ON)
        vms.append(_living(there, chance))
    chance.shuffle(vms)
    chance.shuffle(hosts)
    return found.model_copy(update={"vms": tuple(vms), "hosts": tuple(hosts)})


def _noisy(value: Any, chance: Random) -> Any:
    """Return a part of a reading with the noise of each of its fields, in its depth."""
    if isinstance(value, BaseModel):
        update: dict[str, Any] = {}
        for name, says in FIELDS[type(value)].items():  # type: ignore[index]  # a missing class is what a test is for
            deep = _noisy(getattr(value, name), chance)
            update[name] = deep if says.noise is None else says.noise(deep, chance)
        return value.model_copy(update=update)
    if isinstance(value, tuple):
        return tuple(_noisy(one, chance) for one in value)
    return value if not isinstance(value, dict) else {key: _noisy(one, chance) for key, one in value.items()}


def _renumbered(vm: Vm, chance: Random) -> Vm:
    """Return the VM with other keys of its controllers, and its devices on the same ones as before."""
    keys: Mapping[int | None, int] = {
        one.key: chance.randrange(14000, 16000, 7) + at for at, one in enumerate(vm.controllers)
    }
    controllers = tuple(one.model_copy(update={"key": keys[one.key]}) for one in vm.controllers)
    usb = tuple(one.model_copy(update={"controller_key": keys.get(one.controller_key)}) for one in vm.usb)
    return vm.model_copy(update={"controllers": controllers, "usb": usb})


def _holds_something(vm: Vm) -> bool:
    """Say whether a VM takes from its host what others could want: a function, or memory that is set aside for it."""
    return bool(vm.pci or vm.memory_locked or vm.memory_reservation_mb)


def _living(vm: Vm, chance: Random) -> Vm:
    """Return a VM that the plan does not name, a while later: its power, size, guest and annotations are its own."""
    return vm.model_copy(
        update={
            "power": chance.choice(list(Power)),
            "cpus": chance.randrange(1, 9),
            "memory_mb": chance.randrange(4, 2048),
            "tools_running": chance.random() < 0.5,
            "guest_ready": chance.random() < 0.5,
            "question": chance.choice((None, "?")),
            "guest_id": chance.choice(("", "dosGuest")),
            "hardware_version": chance.randrange(3, 21),
            "snapshots": (Snapshot(name=chance.choice(NAMES)),) * chance.randrange(3),
            "fault_tolerance": chance.random() < 0.5,
        }
    )


def _other_buses(host: Host, chance: Random) -> Host:
    """Return the host with its buses numbered otherwise: each controller has its devices as before.

    A bus that a person confirmed keeps its number: the record in config/ says it.
    """
    if host.confirmed:
        return host
    old = sorted({*host.buses, *(one.bus for one in host.usb if one.bus)})
    new = dict(zip(old, chance.sample(range(1, 40), len(old)), strict=True))
    usb = tuple(one.model_copy(update={"bus": new.get(one.bus or 0)}) for one in host.usb)
    return host.model_copy(update={"usb": usb, "buses": {new[bus]: address for bus, address in host.buses.items()}})


def _joined_by_devices(host: Host, text: str, chance: Random) -> Host:
    """Return the host with USB devices in other ports, on buses of no controller that the plan speaks of."""
    free = [bus for bus, address in host.buses.items() if address not in text] or [None] * (not host.pci)
    if not free:
        return host
    plugged = tuple(
        HostUsbDevice(
            host=host.id,
            vendor=0x1E7D,
            product=0x1000 + number,
            path=f"0/7/{number}",
            pattern=f"path:0/7/{number}",
            families=("audio",),
            speeds=("high",),
            name=chance.choice(NAMES),
            offered=True,
            bus=chance.choice(free),
        )
        for number in range(chance.randrange(3))
    )
    return host.model_copy(update={"usb": tuple(chance.sample((*host.usb, *plugged), len(host.usb) + len(plugged)))})
