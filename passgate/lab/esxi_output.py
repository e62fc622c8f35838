"""Write what ESXi's tools print, in the formats of real captures (reference vSphere 3.2, 3.3 and 3.5)."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from passgate.lab.hardware import HostUsb
from passgate.lab.pci import CLASS_WORDS, PciFunction

Row = Mapping[str, object]
NAME_WIDTH = 42
"""Longer names go on in the next line, as in the captured table."""


@dataclass(frozen=True)
class UsbClass:
    """Hold what lsusb shows of a device's class; `device` says whether it stands in the device descriptor."""

    code: int
    subclass: int
    protocol: int
    words: str
    in_device: bool = False


CLASSES = {
    "audio": UsbClass(1, 1, 0, "Audio"),
    "communication": UsbClass(2, 2, 1, "Communications"),
    "hid": UsbClass(3, 0, 0, "Human Interface Device"),
    "hid_bootable": UsbClass(3, 1, 1, "Human Interface Device"),
    "imaging": UsbClass(6, 1, 1, "Imaging"),
    "printer": UsbClass(7, 1, 2, "Printer"),
    "storage": UsbClass(8, 6, 80, "Mass Storage"),
    "hub": UsbClass(9, 0, 0, "Hub", in_device=True),
    "smart_card": UsbClass(11, 0, 0, "Chip/SmartCard"),
    "video": UsbClass(14, 1, 0, "Video"),
    "bluetooth": UsbClass(224, 1, 1, "Wireless"),
    "wireless": UsbClass(224, 2, 1, "Wireless"),
    "vendor_specific": UsbClass(255, 255, 255, "Vendor Specific Class"),
}
"""vSphere's family -> USB class."""

RATES = {
    "low": "1.5M", "full": "12M", "high": "480M", "superSpeed": "5000M", "superSpeedPlus": "10000M",
    "superSpeed20Gbps": "20000M",
}  # fmt: skip


def lsusb(devices: Sequence[HostUsb]) -> str:
    """Return one line for each device."""
    return "".join(f"{_header(one)}\n" for one in devices)


def lsusb_verbose(devices: Sequence[HostUsb]) -> str:
    """Return a stanza for each device; a device without a serial has `iSerial 0` with trailing spaces."""
    return "".join(_stanza(one) for one in devices)


def lsusb_tree(devices: Sequence[HostUsb]) -> str:
    """Return the devices below their buses, in the shape that usbutils prints."""
    lines = []
    for bus in sorted({one.bus for one in devices}, reverse=True):
        root, *others = sorted((one for one in devices if one.bus == bus), key=lambda one: one.dev)
        lines.append(f"/:  Bus {bus:02}.Port 1: Dev 1, Class=root_hub, Driver=xhci_hcd/16p, {RATES[root.speeds[0]]}")
        for one in others:
            *hubs, port = one.path.split("/")[2:]
            for number, family in enumerate(one.families or ("vendor_specific",)):
                words = CLASSES[family].words
                lines.append(
                    f"{'    ' * (len(hubs) + 1)}|__ Port {port}: Dev {one.dev}, If {number}, Class={words}, Driver=, "
                    f"{RATES[one.speeds[0]]}"
                )
    return "".join(f"{line}\n" for line in lines)


def table(rows: Sequence[Row]) -> str:
    """Return rows as a table whose columns are as wide as a line of dashes; long names wrap."""
    if not rows:
        return ""
    columns = list(rows[0])
    cells = [[_text(row[column]) for column in columns] for row in rows]
    last = len(columns) - 1
    widths = [max(len(column), *(len(row[at]) for row in cells)) for at, column in enumerate(columns)]
    widths[last] = max(len(columns[last]), 28)
    lines = ["  ".join(name.ljust(width) for name, width in zip(columns, widths, strict=True)).rstrip()]
    lines.append("  ".join("-" * width for width in widths))
    for row in cells:
        first, *more = textwrap.wrap(row[last], NAME_WIDTH) or [""]
        left = "  ".join(cell.ljust(width) for cell, width in zip(row[:last], widths[:last], strict=True))
        lines += [f"{left}  {first}".rstrip(), *(" " * (len(left) + 2) + part for part in more)]
    return "".join(f"{line}\n" for line in lines)


def stanzas(rows: Sequence[Row], *, title: str | None = None) -> str:
    """Return each row as indented `Key: value` lines, below its title if there is one."""
    return "\n".join(
        (f"{row[title]}\n" if title else "")
        + "".join(f"   {key}: {_text(value)}\n" for key, value in row.items() if key != title)
        for row in rows
    )


def formatted(rows: Sequence[Row], formatter: str, *, kind: str, one: bool = False) -> str:
    """Return rows as `esxcli --formatter` does; `kind` names their type, `one` says that there is only ever one.

    Keys lose their spaces and are sorted; csv lines end in a comma, as on real hosts.
    """
    plain = [{key.replace(" ", ""): value for key, value in sorted(row.items())} for row in rows]
    if formatter == "json":
        return json.dumps(plain[0] if one else plain) + "\n"
    if formatter == "csv":
        sheet = io.StringIO()
        writer = csv.writer(sheet, lineterminator=",\n")
        writer.writerows(
            [list(plain[0]), *([_text(value) for value in row.values()] for row in plain)] if plain else []
        )
        return sheet.getvalue()
    if formatter == "keyvalue":
        return "".join(
            f"{kind}{'' if one else f'[{index}]'}.{key}.{_type(value)}={_text(value)}\n"
            for index, row in enumerate(plain)
            for key, value in row.items()
        )
    body = "".join(_structure(kind, row) for row in plain)
    listed = body if one else f'<list type="structure">{body}</list>'
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<output xmlns="http://www.vmware.com/Products/ESX/5.0/esxcli"><root>{listed}</root></output>\n'
    )


def _structure(kind: str, row: Row) -> str:
    fields = "".join(
        f'<field name="{key}"><{_type(value)}>{escape(_text(value))}</{_type(value)}></field>'
        for key, value in row.items()
    )
    return f'<structure typeName="{kind}">{fields}</structure>'


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _type(value: object) -> str:
    return "boolean" if isinstance(value, bool) else "integer" if isinstance(value, int) else "string"


def pci_line(one: PciFunction) -> str:
    """Return one function as lspci prints it, with the kernel's name for it behind."""
    alias = f" [{one.alias}]" if one.alias else ""
    return f"{one.id} {CLASS_WORDS.get(one.class_id, 'Device')}: {one.vendor_name} {one.device_name}{alias}"


def _header(one: HostUsb) -> str:
    return f"Bus {one.bus:03} Device {one.dev:03}: ID {one.vendor:04x}:{one.product:04x} {one.name}"


def _stanza(one: HostUsb) -> str:
    maker, _, model = one.name.partition(" ")
    kinds = [CLASSES[family] for family in one.families] or [CLASSES["vendor_specific"]]
    in_device = kinds[0] if kinds[0].in_device else UsbClass(0, 0, 0, "(Defined at Interface level)")
    serial = f"3 {one.serial}" if one.serial else "0 "
    usb = "3.10" if one.is_super_speed else "2.00"
    interfaces = "".join(
        f"    Interface Descriptor:\n      bLength                 9\n      bDescriptorType         4\n"
        f"      bInterfaceNumber    {number:5}\n      bAlternateSetting       0\n      bNumEndpoints           2\n"
        f"      bInterfaceClass     {kind.code:5} {kind.words}\n      bInterfaceSubClass  {kind.subclass:5} \n"
        f"      bInterfaceProtocol  {kind.protocol:5} \n      iInterface              0 \n"
        for number, kind in enumerate(kinds)
    )
    return (
        f"\n{_header(one)}\nDevice Descriptor:\n  bLength                18\n  bDescriptorType         1\n"
        f"  bcdUSB               {usb}\n  bDeviceClass        {in_device.code:5} {in_device.words}\n"
        f"  bDeviceSubClass     {in_device.subclass:5} \n  bDeviceProtocol     {in_device.protocol:5} \n"
        f"  bMaxPacketSize0        64\n  idVendor           0x{one.vendor:04x} {maker}\n"
        f"  idProduct          0x{one.product:04x} {model}\n  bcdDevice            1.00\n"
        f"  iManufacturer           1 {maker}\n  iProduct                2 {model}\n"
        f"  iSerial                 {serial}\n"
        f"  bNumConfigurations      1\n  Configuration Descriptor:\n    bLength                 9\n"
        f"    bDescriptorType         2\n    bNumInterfaces      {len(kinds):5}\n    bConfigurationValue     1\n"
        f"    iConfiguration          0 \n    bmAttributes         0x80\n      (Bus Powered)\n"
        f"    MaxPower              200mA\n{interfaces}Device Status:     0x0000\n  (Bus Powered)\n"
    )
