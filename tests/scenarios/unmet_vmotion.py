"""Ways in which the checks of usb-migrate and usb-return-home are not met."""

from __future__ import annotations

from typing import Any

from flows.usb_migrate import PRIVILEGES as MIGRATE
from flows.usb_return_home import PRIVILEGES as RETURN
from passgate.model.inventory import Arbitrator, Host, HostId, Inventory, Power, VmPci
from tests.scenarios.paper import ELSEWHERE, HOST, entry, estate, machine, stick
from tests.scenarios.unmet import WARNING, Unmet

THIRD = HostId(ref="host-13", name="esx-03.lab.example", uuid="4c4c4546")
CLUSTER = {"cluster": "domain-c1", "cluster_name": "Cluster-01", "version": "8.0.2", "arbitrator": Arbitrator.RUNNING}
DONGLE = entry(hostname=HOST.name, connected=True)
USED = {"used_by": "vm-7", "used_by_name": "win-01"}
TO = {"to": ELSEWHERE.name}
TO_IT = {"runbook": "usb-migrate", "ask": TO}
HOME = {"runbook": "usb-return-home"}


def at_home(vm: dict[str, Any] | None = None, host: dict[str, Any] | None = None, **how: Any) -> Inventory:
    """Return an estate where win-01 runs at home with its dongle and can move to the second host."""
    other = how.pop("other", {})
    device = {**USED, **how.pop("device", {})}
    made = estate({"usb": (DONGLE,), "shared_storage": True, **(vm or {})}, host, device, **how)
    held = {
        "privileges": {"vm-7": frozenset({*MIGRATE, *RETURN}), "host-11": frozenset({"Host.Inventory.EditCluster"})}
    }
    second = Host(**{**ELSEWHERE.model_dump(), **CLUSTER, "management_ip": "192.0.2.12", **other})
    return made.with_host(second).model_copy(update=held)


def elsewhere(vm: dict[str, Any] | None = None, host: dict[str, Any] | None = None, **how: Any) -> Inventory:
    """Return an estate where win-01 is off on the second host, its dongle unused at home."""
    off = {"host": ELSEWHERE, "power": Power.OFF, "usb": (entry(hostname=HOST.name),)}
    device = {"used_by": None, "used_by_name": None, **how.pop("device", {})}
    return at_home({**off, **(vm or {})}, host, device=device, **how)


PCI = {"pci": (VmPci(key=13000, address="0000:00:14.0"),)}
SECOND = entry("0/1/4", key=41001, hostname=THIRD.name)
UNMET = (
    Unmet("ACC-01", "a host that stands alone", "without a vCenter", at_home(site={"standalone": True}), **TO_IT),
    Unmet("USB-VMO-05", "one device without vMotion support", "path:0/1/4",
          at_home({"usb": (DONGLE, entry("0/1/4", key=41001, connected=True))}), **TO_IT),
    Unmet("USB-VMO-06", "off", "win-01 is off", at_home({"power": Power.OFF}), **TO_IT),
    Unmet("USB-VMO-06", "suspended", "win-01 is suspended", at_home({"power": Power.SUSPENDED}), **TO_IT),
    Unmet("USB-VMO-06", "no USB device", "no USB device", at_home({"usb": ()}), **TO_IT),
    Unmet("USB-VMO-06", "a device that is not connected", "not connected",
          at_home({"usb": (entry(hostname=HOST.name),)}), **TO_IT),
    Unmet("USB-VM-07", "fault tolerance", "on", at_home({"fault_tolerance": True}), **TO_IT),
    Unmet("USB-VMO-07", "another datacenter", "different datacenters",
          at_home(host={"datacenter": "datacenter-2"}, other={"cluster": "domain-c9", "datacenter": "datacenter-3"}),
          **TO_IT),
    Unmet("USB-VMO-07", "a datacenter that nobody tells", "not known",
          at_home(host={"datacenter": "datacenter-2"}, other={"cluster": "domain-c9"}), **TO_IT),
    Unmet("USB-VMO-08", "the destination has no vmk0", "esx-02.lab.example has no address",
          at_home(other={"management_ip": None}), **TO_IT),
    Unmet("USB-VMO-08", "IPv4 here, IPv6 there", "2001:db8::12", at_home(other={"management_ip": "2001:db8::12"}),
          **TO_IT),
    Unmet("USB-VMO-08", "what is no address", "dhcp", at_home(other={"management_ip": "dhcp"}), **TO_IT),
    Unmet("USB-VMO-09", "the destination's shell is silent", "SSH is off", at_home(other={"shell_error": "SSH is off"}),
          severity=WARNING, **TO_IT),
    Unmet("USB-VMO-11", "PCI passthrough", "0000:00:14.0", at_home(PCI), **TO_IT),
    Unmet("USB-VMO-12", "local disks", "local disks", at_home({"shared_storage": False}), **TO_IT),
    Unmet("USB-HOST-02", "the destination is away", "notResponding", at_home(other={"connection": "notResponding"}),
          **TO_IT),
    Unmet("HOST-API-01", "DPM may not be overridden", "EditCluster",
          at_home(host={"dpm": True}).model_copy(
              update={"privileges": {"vm-7": frozenset(MIGRATE), "host-11": frozenset()}}), **TO_IT),
    Unmet("USB-VMO-10", "no device with a home", "no host", elsewhere({"usb": ()}), **HOME),
    Unmet("USB-VMO-10", "devices of two hosts", "esx-03", elsewhere({"usb": (DONGLE, SECOND)}), **HOME),
    Unmet("USB-VMO-05", "runs away from home beside a local device", "path:0/1/4",
          elsewhere({"power": Power.ON, "usb": (DONGLE, entry("0/1/4", key=41001))}, device=USED), **HOME),
    Unmet("USB-VMO-11", "PCI passthrough", "0000:00:14.0", elsewhere(PCI), **HOME),
    Unmet("USB-VMO-12", "local disks", "local disks", elsewhere({"shared_storage": False}), **HOME),
    Unmet("USB-HOST-02", "home is switched off", "notResponding", elsewhere(host={"connection": "notResponding"}),
          **HOME),
    Unmet("USB-DEV-07", "another VM has it now", "lic-01",
          elsewhere(device={"used_by": "vm-9", "used_by_name": "lic-01"}), **HOME),
    Unmet("USB-VMO-04", "powering it off away from home", "esx-02.lab.example",
          estate({"usb": (entry("0/1/4", hostname=ELSEWHERE.name),)}), runbook="usb-controller-add"),
)  # fmt: skip
MET = {
    "IPv6 on both sides": at_home(host={"management_ip": "2001:db8::11"}, other={"management_ip": "2001:db8::12"}),
    "one datacenter, two clusters": at_home(
        host={"datacenter": "datacenter-2"}, other={"cluster": "domain-c9", "datacenter": "datacenter-2"}
    ),
    "a twin of the device on another host": at_home(
        others=[machine("lnx-01", 8, host=THIRD)], devices=[stick(path="0/1/9", pattern="path:0/1/9", serial="0815")]
    ),
}
