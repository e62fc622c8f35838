"""Ways in which the checks of usb-detach, usb-move and hardware-hot-add are not met."""

from __future__ import annotations

from typing import Any

from flows import hardware_hot_add, usb_move
from passgate.model.guest import GuestDisk, GuestMount, GuestUsb
from passgate.model.inventory import ControllerKind, Inventory, Power, UsbController, UsbOptions
from tasks import hardware
from tests.scenarios.paper import ELSEWHERE, HOST, entry, estate, machine
from tests.scenarios.unmet import WARNING, Unmet

HOT = UsbOptions(hot_add=True, hot_remove=True, max_xhci=1, max_ehci=1)
XHCI = UsbController(kind=ControllerKind.XHCI, key=14000)
HAS = {"controllers": (XHCI,), "options": HOT, "cpus": 2, "memory_mb": 4096, "cpu_hot_add": True,
       "memory_hot_add": True, "usb": (entry(controller_key=14000, connected=True, vendor=0x18A5, product=0x0302),),
       "disks": 1}  # fmt: skip
USED = {"used_by": "vm-7", "used_by_name": "win-01"}
SILENT = {"guest_errors": {"vm-7": "the guest of win-01 does not answer"}}
RIGHTS = frozenset({*usb_move.PRIVILEGES, *hardware_hot_add.PRIVILEGES})


def stick(disk: GuestDisk | None = None, **changes: Any) -> GuestUsb:
    """Return the stick as the guest shows it."""
    disks = (disk,) if disk else ()
    return GuestUsb(**{"vendor": 0x18A5, "product": 0x0302, "serial": "07A4", "disks": disks, **changes})


def attached(*seen: GuestUsb, vm: dict[str, Any] | None = None, **site: Any) -> Inventory:
    """Return the estate in which win-01 has the stick, and lnx-01 could get it; `seen` is what its guest shows."""
    other = machine("lnx-01", 8, controllers=(XHCI,), options=HOT)
    fields = {"guests": {"vm-7": seen}, "privileges": {"vm-7": RIGHTS, "vm-8": RIGHTS}, **site}
    return estate({**HAS, **(vm or {})}, device=USED, site=fields, others=[other])


MORE = {"cpus": 4}
MOVE = {"to": "lnx-01"}
AWAY = machine("lnx-01", 8, host=ELSEWHERE, controllers=(XHCI,), options=HOT)
BESIDE = entry("0/1/4", key=41001, controller_key=14000)
LUKS = GuestDisk(name="sdb", held_by=("dm-0",))
BIND = GuestDisk(name="sdb", mounts=(GuestMount(where="/srv/part", part=1, whole=False),))
NO_SWITCH = {"cpu_hot_add": False, "memory_hot_add": False}

UNMET = (
    Unmet("USB-GST-01", "the guest is silent", "does not answer", attached(**SILENT), runbook="usb-detach"),
    Unmet("USB-GST-01", "the account sees no disks", "does not say which disks",
          attached(stick(disks_known=False)), runbook="usb-detach"),
    Unmet("USB-GST-01", "two that look alike", "2 devices",
          attached(stick(GuestDisk(name="sdb"), serial=None), stick(serial=None)), runbook="usb-detach"),
    Unmet("USB-GST-02", "an encrypted disk", "dm-0", attached(stick(LUKS)), runbook="usb-detach"),
    Unmet("USB-GST-02", "a bind mount", "/srv/part", attached(stick(BIND)), MOVE, runbook="usb-move"),
    Unmet("USB-ENT-01", "another device on the controller", "path:0/1/4",
          attached(vm={"usb": (*HAS["usb"], BESIDE)}), {"controller": True}, runbook="usb-detach"),
    Unmet("USB-ENT-02", "the other VM is elsewhere", "esx-02",
          estate({**HAS}, device=USED, site={"privileges": {"vm-7": RIGHTS, "vm-8": RIGHTS}, "guests": {"vm-7": ()}},
                 others=[AWAY]), MOVE, runbook="usb-move"),
    Unmet("USB-ENT-03", "the same VM", "win-01 shall get it", attached(), {"to": "win-01"}, runbook="usb-move"),
    Unmet("USB-ENT-04", "the device does not answer", "not connected",
          attached(vm={"usb": (entry(controller_key=14000),)}), MOVE, runbook="usb-move"),
    Unmet("HW-VM-01", "a VM that is off", "off",
          attached(vm={"power": Power.OFF, "tools_running": False}), MORE, runbook="hardware-hot-add"),
    Unmet("HW-VM-02", "no switch for CPUs", "CPU hot add is off", attached(vm=NO_SWITCH), MORE,
          runbook="hardware-hot-add"),
    Unmet("HW-VM-02", "no switch for memory", "memory hot add is off", attached(vm=NO_SWITCH), {"memory_mb": 8192},
          runbook="hardware-hot-add"),
    Unmet("HW-VM-03", "less than it has", "asked for: 1 CPUs", attached(), {"cpus": 1}, runbook="hardware-hot-add"),
    Unmet("HW-VM-03", "nothing", "asked for: nothing", attached(), {}, runbook="hardware-hot-add"),
    Unmet("HW-PCI-01", "no PCI hot plug", "PCI hot plug is off", attached(vm={"memory_locked": True}),
          check=lambda site: hardware.PciComesHot(site.vms[0])),
    Unmet("HW-PCI-01", "memory that is not reserved", "not all of its memory", attached(vm={"pci_hot_add": True}),
          check=lambda site: hardware.PciComesHot(site.vms[0])),
    Unmet("HW-HOST-01", "more than the host has", "4096", attached(),
          check=lambda _: hardware.HostHasMemory(HOSTED, 8192)),
    Unmet("HW-USB-01", "the host allows no change", "allows no such change",
          attached(vm={"options": UsbOptions(hot_add=True)}), MORE, runbook="hardware-hot-add"),
    Unmet("HW-USB-02", "a device with vMotion support", "STORE N GO",
          attached(vm={"usb": (entry(controller_key=14000, connected=True, hostname=HOST.name),)}), MORE, WARNING,
          runbook="hardware-hot-add"),
)  # fmt: skip
HOSTED = attached().hosts[0].model_copy(update={"memory_mb": 4096})
