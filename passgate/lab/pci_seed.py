"""Fill the lab's hosts with PCI functions.

Each host has its chipset's USB controller, a network card with the management network, and a boot drive. esx-02 has a
USB 3 card of its own besides; so has esx-03 an old one, whose functions share a bridge with a FireWire port.
"""

from __future__ import annotations

from passgate.lab.pci import BRIDGE_CLASS, HOST_BRIDGE_CLASS, USB_CLASS, PciFunction

_INTEL, _RENESAS, _NEC, _TEXAS = (
    "Intel Corporation", "Renesas Technology Corp.", "NEC Corporation", "Texas Instruments",
)  # fmt: skip

_EVERY = (
    PciFunction("0000:00:00.0", HOST_BRIDGE_CLASS, 0x8086, 0x3EC2, _INTEL, "8th Gen Core Host Bridge"),
    PciFunction("0000:00:14.0", USB_CLASS, 0x8086, 0xA36D, _INTEL, "Cannon Lake PCH USB 3.1 xHCI Host", buses=(1, 2)),
    PciFunction("0000:00:1b.0", BRIDGE_CLASS, 0x8086, 0xA340, _INTEL, "Cannon Lake PCH PCI Express Root Port"),
    PciFunction("0000:00:1d.0", BRIDGE_CLASS, 0x8086, 0xA330, _INTEL, "Cannon Lake PCH PCI Express Root Port"),
    PciFunction(
        "0000:02:00.0", 0x0200, 0x8086, 0x1533, _INTEL, "I210 Gigabit Network Connection", "0000:00:1b.0",
        alias="vmnic0",
    ),
    PciFunction(
        "0000:03:00.0", 0x0108, 0x144D, 0xA808, "Samsung Electronics", "NVMe SSD Controller SM981", "0000:00:1d.0",
        alias="vmhba0",
    ),
)  # fmt: skip
_USB_CARD = (
    PciFunction("0000:00:1c.0", BRIDGE_CLASS, 0x8086, 0xA338, _INTEL, "Cannon Lake PCH PCI Express Root Port"),
    PciFunction(
        "0000:05:00.0", USB_CLASS, 0x1912, 0x0015, _RENESAS, "uPD720202 USB 3.0 Host Controller", "0000:00:1c.0",
        buses=(3, 4),
    ),
)  # fmt: skip
_OLD_CARD = (
    PciFunction("0000:00:1e.0", BRIDGE_CLASS, 0x8086, 0x244E, _INTEL, "82801 PCI Bridge"),
    PciFunction(
        "0000:07:00.0", USB_CLASS, 0x1033, 0x00E0, _NEC, "uPD72010x USB 2.0 Controller", "0000:00:1e.0", "0000:00:1e.0",
        buses=(3,),
    ),
    PciFunction(
        "0000:07:01.0", 0x0C00, 0x104C, 0x8024, _TEXAS, "TSB43AB23 IEEE-1394a-2000 Controller", "0000:00:1e.0",
        "0000:00:1e.0",
    ),
)  # fmt: skip
_MORE = {2: _USB_CARD, 3: _OLD_CARD}


def functions_of(index: int) -> list[PciFunction]:
    """Return the functions of the host with that number, in the order of their addresses."""
    return sorted([*_EVERY, *_MORE.get(index, ())], key=lambda one: one.place)
