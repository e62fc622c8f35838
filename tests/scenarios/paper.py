"""Make small estates on paper: one VM on one host with one USB stick, all healthy; a test says only what differs.

`estate()` is a site where usb-attach meets every check. `estate(vm={"power": Power.OFF}, host={"dpm": True})` changes
fields of the three, `others=` adds VMs and `devices=` adds devices of the same host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.usb_attach import PRIVILEGES
from passgate.engine.catalogue import load
from passgate.engine.planning import make_plan
from passgate.engine.steps import Runbook
from passgate.model.inventory import (
    Arbitrator,
    GuestFamily,
    Host,
    HostId,
    HostUsbDevice,
    Inventory,
    Power,
    Vm,
    VmUsbDevice,
)
from passgate.model.plan import Plan

RUNBOOKS: dict[str, Runbook[Any]] = load(Path(__file__).parents[2])
HOST = HostId(ref="host-11", name="esx-01.lab.example", uuid="4c4c4544")
ELSEWHERE = HostId(ref="host-12", name="esx-02.lab.example", uuid="4c4c4545")
Fields = Mapping[str, Any]


def stick(**changes: Any) -> HostUsbDevice:
    """Return a free USB 2 stick that the host offers."""
    fields = {
        "host": HOST, "vendor": 0x18A5, "product": 0x0302, "path": "0/1/3", "serial": "07A4", "name": "STORE N GO",
        "pattern": "path:0/1/3", "families": ("storage",), "speeds": ("high",), "offered": True, "bus": 1, "device": 3,
    }  # fmt: skip
    return HostUsbDevice(**{**fields, **changes})


def entry(path: str = "0/1/3", **changes: Any) -> VmUsbDevice:
    """Return an entry for the device at that path in a VM's configuration."""
    return VmUsbDevice(**{"key": 41000, "pattern": f"path:{path}", **changes})


def machine(name: str = "win-01", number: int = 7, **changes: Any) -> Vm:
    """Return a running Windows Server with VMware Tools and no USB controller."""
    fields = {
        "ref": f"vm-{number}", "name": name, "uuid": f"5000-{number:04}", "host": HOST, "power": Power.ON,
        "guest_id": "windows2019srv_64Guest", "guest_name": "Microsoft Windows Server 2019",
        "guest_family": GuestFamily.WINDOWS, "hardware_version": 19, "tools_installed": True, "tools_running": True,
        "guest_ready": True, "disks": 1, "change_version": "1",
    }  # fmt: skip
    return Vm(**{**fields, **changes})


def estate(
    vm: Fields | None = None,
    host: Fields | None = None,
    device: Fields | None = None,
    site: Fields | None = None,
    *,
    others: Sequence[Vm] = (),
    devices: Sequence[HostUsbDevice] = (),
) -> Inventory:
    """Return the estate with those changes."""
    home = {
        **HOST.model_dump(), "cluster": "domain-c1", "cluster_name": "Cluster-01", "version": "8.0.2",
        "arbitrator": Arbitrator.RUNNING, "usb": (stick(**(device or {})), *devices), "usb_controllers": 1,
        "management_ip": "192.0.2.11",
    }  # fmt: skip
    one = machine(**(vm or {}))
    fields = {
        "site": "lab", "api_version": "8.0.2.0", "read_at": datetime(2026, 11, 23, 7, 0, tzinfo=UTC),
        "vms": (one, *others),
        "hosts": (Host(**{**home, **(host or {})}), Host(**ELSEWHERE.model_dump(), version="8.0.2")),
        "privileges": {one.ref: frozenset(PRIVILEGES)},
    }  # fmt: skip
    return Inventory(**{**fields, **(site or {})})


def plan(site: Inventory | None = None, *, runbook: str = "usb-attach", **ask: Any) -> Plan:
    """Plan on that estate; where the runbook asks for a VM or a USB device, win-01 and the stick unless said."""
    book = RUNBOOKS[runbook]
    usual = {"vm": "win-01", "device": "18a5:0302"}
    asked = {**{name: usual[name] for name in usual.keys() & book.ask.model_fields.keys()}, **ask}
    return make_plan(book, book.ask.model_validate(asked), site if site is not None else estate())
