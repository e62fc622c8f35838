"""Prove that the ESXi shell's output is read as captured, and that nothing malformed is guessed at or breaks."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passgate.connect.esxi_shell import parsers
from passgate.connect.esxi_shell.parsers import Seen
from passgate.model.inventory import Arbitrator

# Published captures (reference vSphere 3.2 and 3.5), with their traps.
TABLE_STOPPED = """\
Bus  Dev  VendorId  ProductId  Enabled  Can Connect to VM                  Name
---  ---  --------  ---------  -------  ---------------------------------  ----------------------------
1    3    4791      8064         false  no (usbarbitrator is not running)  Western Digital, G-Tech G-DRIVE mobile SSD
                                                                           R-Series
"""
TABLE_RUNNING = """\
Bus  Dev  VendorId  ProductId  Enabled  Can Connect to VM          Name
---  ---  --------  ---------  -------  -------------------------  ----------------------------
2    2    bc2       231a       true     yes (passthrough enabled)  Seagate RSS LLC Expansion Portable
1    2    152d      a576       true     yes                        JMicron Technology Corp. / JMicron USA
"""
VERBOSE = """\

Bus 001 Device 003: ID 0781:5583 SanDisk Corp. Ultra Fit
Device Descriptor:
  bDeviceClass            0 (Defined at Interface level)
  bDeviceSubClass         0
  iManufacturer           1 SanDisk
  iProduct                2 Ultra Fit
  iSerial                 3 0123 4567  89AB
    bmAttributes         0x80
      (Bus Powered)
      bInterfaceClass         8 Mass Storage
      bInterfaceSubClass      6 SCSI
Device Status:     0x0000
  (Bus Powered)

Bus 001 Device 004: ID 1d6b:0003  \n  iSerial                 0  \n
Bus 002 Device 002: ID 046d:c31c Logitech, Inc. Keyboard K120
  bDeviceClass            0 (Defined at Interface level)
  bDeviceSubClass         0
  iSerial                 3 (error)
      bInterfaceClass         3 Human Interface Device
      bInterfaceSubClass      1 Boot Interface Subclass
"""

texts = st.text(st.characters(codec="utf-8"), max_size=400)
printable = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp", "Cs"]), min_size=1).map(
    str.strip
)
ids = st.integers(0, 0xFFFF)


def test_lsusb_verbose_keeps_spaces_in_serials_and_tells_none_from_unreadable() -> None:
    """A serial with spaces is whole; `iSerial 0` and `(error)` are no serial; `Bus Powered` is no device."""
    stick, hub, keyboard = parsers.lsusb(VERBOSE)

    assert stick == Seen(
        1, 3, 0x0781, 0x5583, "SanDisk Corp. Ultra Fit", "0123 4567  89AB", "SanDisk Ultra Fit", ("storage",)
    )
    assert (hub.key, hub.name, hub.serial) == ((1, 4, 0x1D6B, 3), "", None)
    assert (keyboard.serial, keyboard.families) == (None, ("hid", "hid_bootable"))


def test_a_forged_stanza_costs_the_serial() -> None:
    """A device whose strings hold a line break can't lend its serial to another one."""
    forged = VERBOSE + "Bus 001 Device 003: ID 0781:5583 SanDisk\n  iSerial   3 STOLEN\n"

    assert [one.serial for one in parsers.lsusb(forged)] == [None, None, None]


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("usbarbitrator is running\n", Arbitrator.RUNNING),
        ("usbarbitrator is stopped\n", Arbitrator.STOPPED),
        ("usbarbitrator stopped", Arbitrator.STOPPED),
        ("usbarbitrator is not running\n", Arbitrator.STOPPED),
        ("", Arbitrator.UNKNOWN),
        ("is running\n", Arbitrator.UNKNOWN),
        ("sh: /etc/init.d/usbarbitrator: not found\n", Arbitrator.UNKNOWN),
        ("usbarbitrator is running\nusbarbitrator is stopped\n", Arbitrator.STOPPED),
    ],
)
def test_the_arbitrator_runs_only_when_it_says_so(text: str, state: Arbitrator) -> None:
    """Only the two captured answers count; anything else is UNKNOWN, and a contradiction is not RUNNING."""
    assert parsers.arbitrator(text) is state


@pytest.mark.parametrize(
    ("text", "on"),
    [("usbarbitrator          on\n", True), ("usbarbitrator  off", False), ("", None), ("usbarbitrator 3:on", None)],
)
def test_chkconfig(text: str, on: bool | None) -> None:
    """On, off, or not known."""
    assert parsers.autostart(text) is on


def test_passthrough_table_with_unpadded_hex_and_a_wrapped_name() -> None:
    """Columns are cut at the dashes: brackets with spaces stay whole and a wrapped name is one name."""
    (stopped,) = parsers.passthrough(TABLE_STOPPED) or ()
    expansion, jmicron = parsers.passthrough(TABLE_RUNNING) or ()

    assert stopped.key == (1, 3, 0x4791, 0x8064)
    assert (stopped.enabled, stopped.can_connect) == (False, "no (usbarbitrator is not running)")
    assert stopped.name == "Western Digital, G-Tech G-DRIVE mobile SSD R-Series"
    assert (expansion.key, expansion.can_connect) == ((2, 2, 0x0BC2, 0x231A), "yes (passthrough enabled)")
    assert (jmicron.enabled, jmicron.can_connect) == (True, "yes")


@pytest.mark.parametrize("key", ["Can Connect to VM", "CanConnecttoVM", "canConnectToVM"])
def test_passthrough_json_in_any_spelling(key: str) -> None:
    """Releases spell JSON keys differently; ids are hex text without leading zeros."""
    row = {"Bus": 1, "Dev": "2", "VendorId": "781", "ProductId": "5583", "Enabled": True, key: "yes", "Name": "x"}

    (found,) = parsers.passthrough(json.dumps([row])) or ()

    assert (found.key, found.enabled, found.can_connect) == ((1, 2, 0x781, 0x5583), True, "yes")


@pytest.mark.parametrize("text", ["", "{}", "Error: Unknown command or namespace", "[", "null", "---"])
def test_what_is_no_list_is_told_from_an_empty_one(text: str) -> None:
    """An answer that can't be read is None, so that nobody takes it for a host without devices."""
    assert parsers.passthrough(text) is None
    assert parsers.disks(text) is None
    assert parsers.passthrough("[]") == ()


def test_disks_from_stanzas() -> None:
    """The boot stick is the one that is USB and boots the host."""
    text = """\
naa.6001
   Display Name: Local Disk (naa.6001)
   Is USB: false
   Is Boot Device: false

mpx.vmhba32:C0:T0:L0
   Vendor: TOSHIBA
   Model: TransMemory
   Is USB: true
   Is Boot Device: true
"""
    disk, stick = parsers.disks(text) or ()

    assert (disk.is_usb, disk.boots_host) == (False, False)
    assert (stick.name, stick.maker_and_model) == ("mpx.vmhba32:C0:T0:L0", "TOSHIBA TransMemory")
    assert (stick.is_usb, stick.boots_host) == (True, True)


@settings(deadline=None)  # the machine may be busy
@given(texts)
def test_no_text_breaks_a_parser(text: str) -> None:
    """Whatever a host says, parsers answer with data."""
    parsers.lsusb(text)
    parsers.passthrough(text)
    parsers.disks(text)
    parsers.arbitrator(text)
    parsers.autostart(text)


@settings(deadline=None)  # the machine may be busy
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(
    st.sampled_from(["Bus", "Dev", "VendorId", "ProductId", "Enabled", "Is USB"]) | st.text(), x)))  # fmt: skip
def test_no_json_breaks_a_parser(data: object) -> None:
    """JSON of any shape is read or refused."""
    parsers.passthrough(json.dumps(data))
    parsers.disks(json.dumps(data))


@settings(deadline=None)  # the machine may be busy
@given(st.tuples(st.integers(0, 999), st.integers(0, 999), ids, ids), printable, printable)
def test_every_lsusb_stanza_comes_back(key: tuple[int, int, int, int], name: str, serial: str) -> None:
    """What lsusb prints of a device is what is read, whatever its strings hold."""
    bus, device, vendor, product = key
    text = f"\nBus {bus:03} Device {device:03}: ID {vendor:04x}:{product:04x} {name}\n  iSerial      3 {serial}\n"

    (found,) = parsers.lsusb(text)

    assert found.key == key
    assert found.name == name
    assert found.serial == (serial if serial and serial not in parsers.UNREADABLE else None)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(st.integers(1, 99), st.integers(1, 99), ids, ids), min_size=1), st.booleans())
def test_every_passthrough_row_comes_back(rows: list[tuple[int, int, int, int]], running: bool) -> None:
    """Each row of the table is read with its own ids, however many there are."""
    can = "yes (passthrough enabled)" if running else "no (usbarbitrator is not running)"
    head = "Bus  Dev  VendorId  ProductId  Enabled  Can Connect to VM                  Name"
    dashes = "---  ---  --------  ---------  -------  ---------------------------------  ----"
    lines = [f"{b:<5}{d:<5}{v:<10x}{p:<11x}{str(running).lower():<9}{can:<35}n" for b, d, v, p in rows]

    found = parsers.passthrough("\n".join([head, dashes, *lines])) or ()

    assert [one.key for one in found] == rows
    assert {one.can_connect for one in found} == {can}
