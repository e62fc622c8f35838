"""Fill the simulated datacenter: three hosts, six VMs and the USB devices that the tutorial and the tests speak of."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from passgate.lab.hardware import HostService, HostUsb, LabHost, LabVm, VirtualDevice, VirtualUsb
from passgate.lab.pci import Passthrough
from passgate.lab.pci_seed import functions_of
from passgate.lab.smartcards import DAEMON, is_reader
from passgate.lab.world import World
from passgate.settings.shape import LabWorld

WINDOWS_LOGIN = ("Administrator", "lab-Windows-1")
LINUX_LOGIN = ("root", "lab-Linux-1")
"""Accounts inside the guests; published, because the lab is on loopback and holds nothing of worth."""

_SPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")

# key, label, running, policy: as a real ESXi 8 lists them; usbarbitrator is not among them (reference 3.1).
_SERVICES = (
    ("DCUI", "Direct Console UI", True, "on"),
    ("TSM", "ESXi Shell", False, "off"),
    ("TSM-SSH", "SSH", True, "on"),
    ("lbtd", "Load-Based Teaming Daemon", True, "on"),
    ("ntpd", "NTP Daemon", True, "on"),
    ("pcscd", "PC/SC Smart Card Daemon", False, "off"),
    ("sfcbd-watchdog", "CIM Server", False, "on"),
    ("snmpd", "SNMP Server", False, "on"),
    ("vmsyslogd", "Syslog Server", True, "on"),
    ("vpxa", "VMware vCenter Agent", True, "on"),
)


def seeded_world(settings: LabWorld | None = None) -> World:
    """Return the lab's world as it is when the lab starts."""
    hosts = [_host(index, usb, arbitrator=index != 3) for index, usb in enumerate(_usb(), start=1)]  # noqa: PLR2004 - esx-03 is the one that stands still
    vms = _vms(hosts)
    for index in range(4, 4 + (settings.more_hosts if settings else 0)):
        hosts.append(_host(index, _dongles(), arbitrator=True))
        vms.append(_licensed(index, hosts[-1]))
    return World(hosts, vms, settings)


def _id(name: str) -> str:
    return str(uuid.uuid5(_SPACE, name))


def _host(index: int, usb: list[HostUsb], *, arbitrator: bool) -> LabHost:
    name = f"esx-{index:02}.lab.example"
    return LabHost(
        ref=f"host-{10 + index}",
        name=name,
        uuid=_id(name),
        ip=f"192.0.2.{(9 + index) % 254 + 1}",
        arbitrator_running=arbitrator,
        arbitrator_autostart=arbitrator,
        usb=usb,
        pci=functions_of(index),
        passthrough=Passthrough(rebinds_live=index == 3),  # noqa: PLR2004 - esx-03 is the one that can
        services={
            # Where a reader is plugged in, people log in to the host with smart cards.
            key: HostService(key, label, running=True, policy="on")
            if key == DAEMON and any(map(is_reader, usb))
            else HostService(key, label, running, policy)
            for key, label, running, policy in _SERVICES
        },
        boot_time=datetime.now(UTC) - timedelta(days=30),
    )


def _usb() -> tuple[list[HostUsb], list[HostUsb], list[HostUsb]]:
    storage = ("storage",)
    return (
        [
            HostUsb(0x18A5, 0x0302, "Verbatim STORE N GO", "0/1/3", "07A40901A2B3C4D5", 1, 3, storage),
            HostUsb(0x0781, 0x5583, "SanDisk Ultra Fit", "0/2/1", "4C530001230101", 2, 2, storage, ("superSpeed",)),
            HostUsb(
                0x0930, 0x6544, "Toshiba TransMemory", "0/1/7", "C03FD5F7713E", 1, 2, storage, offered=False, boot=True
            ),
            HostUsb(0x05E3, 0x0608, "Genesys Logic Hub", "0/1/5", None, 1, 4, ("hub",), offered=False),
            HostUsb(
                0x046D, 0xC31C, "Logitech Keyboard K120", "0/1/5/1", None, 1, 5, ("hid_bootable",), ("low",),
                offered=False,
            ),
        ],
        [
            HostUsb(0x0529, 0x0001, "Aladdin HASP HL", "0/1/2", None, 1, 2, ("vendor_specific",), ("low",)),
            HostUsb(0x0529, 0x0001, "Aladdin HASP HL", "0/1/4", None, 1, 3, ("vendor_specific",), ("low",)),
            HostUsb(0x0951, 0x1666, "Kingston DataTraveler 3.0", "0/3/1", "E0D55EA573F1", 3, 2, storage),
            HostUsb(0x046D, 0x082D, "Logitech HD Pro Webcam C920", "0/1/6", "5B2A1E6F", 1, 4, ("video", "audio")),
        ],
        [
            HostUsb(0x18A5, 0x0302, "Verbatim STORE N GO", "0/1/3", "07B5120FE6D7C8B9", 1, 2, storage),
            HostUsb(
                0x076B, 0x3031, "OmniKey CardMan 3121", "0/1/4", None, 1, 3, ("smart_card",), ("full",)
            ),
        ],
    )  # fmt: skip


def _vms(hosts: list[LabHost]) -> list[LabVm]:
    esx_01, esx_02, esx_03 = hosts
    server, client = "windows2019srv_64Guest", "windows9_64Guest"
    rhel, ubuntu, seven = "rhel8_64Guest", "ubuntu64Guest", "windows7_64Guest"
    vms = [
        _vm(1, "win-01", esx_01, server, "Microsoft Windows Server 2019 (64-bit)", on=True),
        _vm(2, "win-02", esx_02, client, "Microsoft Windows 10 (64-bit)", controllers=("xhci",)),
        _vm(3, "lnx-01", esx_01, rhel, "Red Hat Enterprise Linux 8 (64-bit)", on=True, controllers=("ehci",)),
        _vm(4, "lnx-02", esx_03, ubuntu, "Ubuntu Linux (64-bit)"),
        _vm(5, "lic-01", esx_02, rhel, "Red Hat Enterprise Linux 8 (64-bit)", on=True, controllers=("xhci",)),
        _vm(6, "old-01", esx_01, seven, "Microsoft Windows 7 (64-bit)", version=7, tools=False),
    ]
    # win-01 stands for the VMs whose host allows no USB device to come or go while they run: the article's own way.
    vms[0].hot_add = vms[0].hot_remove = False
    vms[4].devices.append(
        VirtualUsb("usb", 41000, 14000, 41000, "USB 1", "Aladdin HASP HL", pattern=esx_02.usb[0].pattern)
    )
    return vms


def _dongles() -> list[HostUsb]:
    """Return what each of many hosts alike has: two licence dongles that nothing but their paths tells apart."""
    return [
        HostUsb(0x0529, 0x0001, "Aladdin HASP HL", f"0/1/{port}", None, 1, port, ("vendor_specific",), ("low",))
        for port in (2, 4)
    ]


def _licensed(index: int, host: LabHost) -> LabVm:
    """Return the VM of such a host, which runs and has the first dongle."""
    vm = _vm(index + 3, f"lic-{index:02}", host, "rhel8_64Guest", "RHEL 8 (64-bit)", on=True, controllers=("xhci",))
    entry = VirtualUsb("usb", 41000, 14000, 41000, "USB 1", "Aladdin HASP HL", pattern=host.usb[0].pattern)
    vm.devices.append(entry)
    return vm


def _vm(
    index: int,
    name: str,
    host: LabHost,
    guest_id: str,
    guest_name: str,
    *,
    on: bool = False,
    controllers: tuple[str, ...] = (),
    version: int = 19,
    tools: bool = True,
) -> LabVm:
    user, password = WINDOWS_LOGIN if guest_id.startswith("win") else LINUX_LOGIN
    return LabVm(
        ref=f"vm-{100 + index}",
        name=name,
        uuid=_id(f"bios {name}"),
        instance_uuid=_id(f"instance {name}"),
        host=host,
        guest_id=guest_id,
        guest_name=guest_name,
        power="poweredOn" if on else "poweredOff",
        hardware_version=version,
        tools_installed=tools,
        devices=[*basic_hardware(), *(usb_controller(kind) for kind in controllers)],
        ip=f"198.51.100.{index}",
        guest_user=user,
        guest_password=password,
        boot_time=datetime.now(UTC) - timedelta(days=3) if on else None,
    )


def basic_hardware() -> list[VirtualDevice]:
    """Return the devices that every VM has, with the keys that real hosts use."""
    return [
        VirtualDevice("ide", 200, None, None, "IDE 0", "IDE 0"),
        VirtualDevice("ide", 201, None, None, "IDE 1", "IDE 1"),
        VirtualDevice("ps2", 300, None, None, "PS2 controller 0", "PS2 controller 0"),
        VirtualDevice("pci", 100, None, None, "PCI controller 0", "PCI controller 0"),
        VirtualDevice("sio", 400, None, None, "SIO controller 0", "SIO controller 0"),
        VirtualDevice("keyboard", 600, 300, 0, "Keyboard", "Keyboard"),
        VirtualDevice("pointing", 700, 300, 1, "Pointing device", "Pointing device; Device"),
        VirtualDevice("video", 500, 100, 0, "Video card", "Video card"),
        VirtualDevice("scsi", 1000, 100, 3, "SCSI controller 0", "VMware paravirtual SCSI"),
        VirtualDevice("disk", 2000, 1000, 0, "Hard disk 1", "41,943,040 KB"),
        VirtualDevice("nic", 4000, 100, 7, "Network adapter 1", "VM Network"),
    ]


def usb_controller(kind: str) -> VirtualDevice:
    """Return a USB controller with the key, place and label that real hosts give it (reference 1.4)."""
    if kind == "xhci":
        return VirtualDevice("xhci", 14000, 100, 23, "USB xHCI controller", "USB xHCI controller")
    return VirtualDevice("ehci", 7000, 100, 22, "USB controller", "Auto connect Disabled")
