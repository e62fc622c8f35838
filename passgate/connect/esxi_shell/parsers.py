"""Read the output of the ESXi shell's tools: text in, plain data out, and never a guess.

Formats are those of real captures (reference vSphere 3.1 to 3.5). Whatever does not look like them is left out or
becomes None or UNKNOWN; no input raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from passgate.model.inventory import Arbitrator

HEADER = re.compile(r"^Bus (\d{1,6}) Device (\d{1,6}): ID ([0-9a-fA-F]{4}):([0-9a-fA-F]{4})(?:[ \t]+(.*))?$", re.ASCII)
DESCRIPTOR = re.compile(r"^\s+(i[A-Z]\w*|b[A-Z]\w*)\s+(\d{1,3})(?:\s(.*))?$", re.ASCII)
DASHES = re.compile(r"^-+( +-+)+ *$")
UNREADABLE = ("(error)", "(null)")
RUNNING = re.compile(r"^usbarbitrator is running\.?$", re.IGNORECASE)
STOPPED = re.compile(r"^usbarbitrator (is )?(stopped|not running)\.?$", re.IGNORECASE)
AUTOSTART = re.compile(r"^usbarbitrator\s+(on|off)$")
PCI_LINE = re.compile(
    r"^([0-9a-fA-F]{4}:)?([0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]) ([^:]+): (.*?)(?: \[((?:vm|ai)[a-z]+[0-9]+)\])?$",
    re.ASCII,
)
BDF = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.ASCII)
"""A PCI address as usbutils prints it; nothing else is taken for one (reference 2.5)."""

FAMILIES = {
    0x01: "audio", 0x02: "communication", 0x03: "hid", 0x05: "physical", 0x06: "imaging", 0x07: "printer",
    0x08: "storage", 0x09: "hub", 0x0A: "communication", 0x0B: "smart_card", 0x0D: "security", 0x0E: "video",
    0xE0: "wireless", 0xFE: "other", 0xFF: "vendor_specific",
}  # fmt: skip
"""USB class code -> the word of vSphere's UsbInfo.Family."""

FINER_FAMILIES = {(0x03, 1): "hid_bootable", (0xE0, 1): "bluetooth"}
"""(class, subclass) -> the finer word that vSphere adds."""


@dataclass(frozen=True)
class Seen:
    """Hold one device as lsusb lists it; the last three fields only after `lsusb -v`."""

    bus: int
    device: int
    vendor: int
    product: int
    name: str = ""
    serial: str | None = None
    maker_and_model: str = ""
    families: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[int, int, int, int]:
        """Return what tells the device apart until it is plugged anew."""
        return self.bus, self.device, self.vendor, self.product


@dataclass(frozen=True)
class Passthrough:
    """Hold one row of `esxcli hardware usb passthrough device list`."""

    bus: int
    device: int
    vendor: int
    product: int
    enabled: bool | None
    can_connect: str
    name: str

    @property
    def key(self) -> tuple[int, int, int, int]:
        """Return what tells the device apart until it is plugged anew."""
        return self.bus, self.device, self.vendor, self.product


@dataclass(frozen=True)
class Disk:
    """Hold what matters here of one stanza of `esxcli storage core device list`."""

    name: str
    maker_and_model: str
    is_usb: bool
    boots_host: bool


@dataclass
class _Stanza:
    """Gather one device's lines of `lsusb -v`."""

    seen: Seen
    strings: dict[str, str] = field(default_factory=dict)
    classes: list[tuple[int, int]] = field(default_factory=list)
    pending: int | None = None

    def take(self, line: str) -> None:
        found = DESCRIPTOR.match(line)
        if not found:
            return
        key, number, text = found[1], int(found[2]), (found[3] or "").strip()
        if key in ("bDeviceClass", "bInterfaceClass"):
            self.pending = number
        elif key in ("bDeviceSubClass", "bInterfaceSubClass") and self.pending is not None:
            self.classes.append((self.pending, number))
            self.pending = None
        elif key in ("iSerial", "iManufacturer", "iProduct") and number and text and text not in UNREADABLE:
            self.strings.setdefault(key, text)

    def close(self) -> Seen:
        words: dict[str, None] = {}  # a set that keeps order
        for code, subclass in self.classes:
            for word in (FAMILIES.get(code), FINER_FAMILIES.get((code, subclass))):
                if word:
                    words[word] = None
        model = " ".join(self.strings[key] for key in ("iManufacturer", "iProduct") if key in self.strings)
        return replace(
            self.seen, serial=self.strings.get("iSerial"), maker_and_model=model, families=tuple(words)
        )  # fmt: skip


def lsusb(text: str) -> tuple[Seen, ...]:
    """Read `lsusb` or `lsusb -v`, one entry per bus and device number.

    Number pairs that come twice can't be told apart, so such a device keeps no serial (a device's own strings may hold
    a line break and forge a stanza).
    """
    stanzas: list[_Stanza] = []
    for line in text.split("\n"):
        header = HEADER.match(line.rstrip("\r"))
        if header:
            bus, device, vendor, product = int(header[1]), int(header[2]), int(header[3], 16), int(header[4], 16)
            stanzas.append(_Stanza(Seen(bus, device, vendor, product, (header[5] or "").strip())))
        elif stanzas:
            stanzas[-1].take(line.rstrip("\r"))
    found: dict[tuple[int, int], Seen] = {}
    for stanza in stanzas:
        seen = stanza.close()
        earlier = found.get((seen.bus, seen.device))
        found[seen.bus, seen.device] = replace(earlier, serial=None) if earlier else seen
    return tuple(found.values())


def arbitrator(text: str) -> Arbitrator:
    """Read `/etc/init.d/usbarbitrator status`; anything but its two known answers is UNKNOWN."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(STOPPED.match(line) for line in lines):
        return Arbitrator.STOPPED
    return Arbitrator.RUNNING if any(RUNNING.match(line) for line in lines) else Arbitrator.UNKNOWN


def autostart(text: str) -> bool | None:
    """Read `chkconfig usbarbitrator --list`: on, off, or None when it says neither."""
    for line in text.splitlines():
        found = AUTOSTART.match(line.strip())
        if found:
            return found[1] == "on"
    return None


def process_runs(text: str, name: str) -> bool | None:
    """Read `ps`: whether a process of that name is listed; None for what is no list of processes.

    A host always runs something, so a list with nothing below its head is none.
    """
    head, _, rest = text.strip().partition("\n")
    if not re.match(r"\s*(WID|PID|World)\b", head) or not rest.strip():
        return None
    return any(name in {word.rpartition("/")[2] for word in line.split()} for line in rest.splitlines())


def passthrough(text: str) -> tuple[Passthrough, ...] | None:
    """Read `esxcli hardware usb passthrough device list` as JSON or as a table; None when it is neither."""
    rows = _json_rows(text)
    if rows is None:
        rows = _table_rows(text)
    return None if rows is None else tuple(one for one in map(_passthrough_row, rows) if one)


def disks(text: str) -> tuple[Disk, ...] | None:
    """Read `esxcli storage core device list` as JSON or as stanzas; None when it is neither."""
    rows = _json_rows(text)
    if rows is None:
        rows = _stanza_rows(text)
    if rows is None:
        return None
    return tuple(
        Disk(
            name=str(row.get("device") or row.get("displayname") or ""),
            maker_and_model=f"{row.get('vendor', '')} {row.get('model', '')}".strip(),
            is_usb=_truth(row.get("isusb")) is True,
            boots_host=any(_truth(row.get(key)) is True for key in ("isbootdevice", "isbootusbdevice")),
        )
        for row in rows
    )


def _passthrough_row(row: dict[str, Any]) -> Passthrough | None:
    bus, device = _number(row.get("bus"), 10), _number(row.get("dev"), 10)
    vendor, product = _number(row.get("vendorid"), 16), _number(row.get("productid"), 16)
    if bus is None or device is None or vendor is None or product is None:
        return None
    words = " ".join(str(row.get("canconnecttovm", "")).split())
    return Passthrough(bus, device, vendor, product, _truth(row.get("enabled")), words, str(row.get("name", "")))


def _number(value: Any, base: int) -> int | None:
    """Return a number of at most 16 bits as esxcli writes it: without 0x, ids in hex without leading zeros."""
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"[0-9a-fA-F]{1,5}" if base != 10 else r"[0-9]{1,5}", text):  # noqa: PLR2004 - base ten
        return None
    number = int(text, base)
    return number if number <= 0xFFFF else None  # noqa: PLR2004 - sixteen bits


def _truth(value: Any) -> bool | None:
    return {"true": True, "false": False}.get(str(value).strip().lower())


def _plain(key: Any) -> str:
    """Return a column's name without spaces and case, which esxcli's releases spell differently."""
    return re.sub(r"[^a-z0-9]", "", str(key).lower())


def _json_rows(text: str) -> list[dict[str, Any]] | None:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, list):
        return None
    return [{_plain(key): value for key, value in row.items()} for row in data if isinstance(row, dict)]


def _table_rows(text: str) -> list[dict[str, Any]] | None:
    """Cut a table at its line of dashes; a line without its first column goes on with the row above."""
    lines = text.splitlines()
    dashes = next((number for number, line in enumerate(lines) if number and DASHES.match(line)), None)
    if dashes is None:
        return None
    starts = [found.start() for found in re.finditer(r"-+", lines[dashes])]
    cuts = list(zip(starts, [*starts[1:], None], strict=True))
    names = [_plain(lines[dashes - 1][start:end]) for start, end in cuts]
    rows: list[list[str]] = []
    for line in lines[dashes + 1 :]:
        cells = [line[start:end].strip() for start, end in cuts]
        if cells[0]:
            rows.append(cells)
        elif rows:
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
    return [dict(zip(names, cells, strict=True)) for cells in rows]


def _stanza_rows(text: str) -> list[dict[str, Any]] | None:
    """Read stanzas: a name at the margin, then indented `Key: value` lines."""

    def rows() -> Iterator[dict[str, Any]]:
        row: dict[str, Any] = {}
        for line in text.splitlines():
            key, colon, value = line.partition(":")
            if line[:1].strip():
                if len(row) > 1:
                    yield row
                row = {"device": line.strip()}
            elif colon and row:
                row.setdefault(_plain(key), value.strip())
        if len(row) > 1:
            yield row

    return list(rows()) or None


@dataclass(frozen=True)
class Pci:
    """Hold one line of `lspci`: the address in the API's spelling, the class in words, the name, the kernel's name."""

    address: str
    kind: str
    name: str
    alias: str = ""

    @property
    def is_usb_controller(self) -> bool:
        """Say whether it is a USB controller: newer id files call it so, older ones name the class above it."""
        kind = self.kind.lower()
        return kind == "usb controller" or (kind == "serial bus controller" and "usb" in self.name.lower())


def lspci(text: str) -> tuple[Pci, ...]:
    """Read `lspci`, one entry per address; an address that comes twice is left out, for nobody can tell which is true.

    A line is `0000:3b:00.0 RAID bus controller: Broadcom MegaRAID SAS [vmhba2]`, the domain left out at times.
    """
    found: dict[str, Pci | None] = {}
    for line in text.split("\n"):
        parts = PCI_LINE.match(line.rstrip("\r"))
        if parts:
            address = f"{parts[1] or '0000:'}{parts[2]}".lower()
            one = Pci(address, parts[3].strip(), parts[4].strip(), parts[5] or "")
            found[address] = None if address in found else one
    return tuple(one for one in found.values() if one)


def buses(root_hubs: Iterable[tuple[int, str | None]]) -> dict[int, str]:
    """Return bus -> PCI address of its controller, of pairs of bus and serial of its root hub.

    Only a serial that is an address counts, as usbutils writes it on Linux; whether ESXi does is not known (reference
    2.5), so that anything else proves nothing. A bus with two root hubs that disagree is left out.
    """
    said: dict[int, set[str]] = {}
    for bus, serial in root_hubs:
        said.setdefault(bus, set()).add(serial or "")
    return {bus: next(iter(one)) for bus, one in said.items() if len(one) == 1 and BDF.fullmatch(next(iter(one)))}
