"""Prove that the shell's output is read whole or not at all: cut off, with noise, or written in another form.

The writers below are the test's own, after the captures of reference vSphere 3.2 and 3.5.
"""

from __future__ import annotations

import json
import textwrap
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from passgate.connect.esxi_shell import parsers
from passgate.connect.esxi_shell.parsers import Passthrough, Seen
from passgate.model.inventory import Arbitrator

quick = settings(deadline=None)  # the machine may be busy
ids = st.integers(0, 0xFFFF)
word = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=12)
words = st.lists(word, min_size=1, max_size=8).map(" ".join)
serials = st.none() | words.filter(lambda one: one not in parsers.UNREADABLE)
NOISE = ("can't get debug descriptor: Resource temporarily unavailable", "", "Couldn't open device, some information",
         "    bmAttributes         0x80", "      (Bus Powered)", "Device Status:     0x0000")  # fmt: skip

devices = st.lists(
    st.builds(Seen, bus=st.integers(1, 999), device=st.integers(1, 999), vendor=ids, product=ids, name=words,
              serial=serials),
    max_size=5, unique_by=lambda one: (one.bus, one.device),
)  # fmt: skip


def lsusb(found: list[Seen], noise: list[str] | None = None, end: str = "\n") -> str:
    """Write `lsusb -v` of these devices, with lines in between that say nothing of them."""
    lines: list[str] = []
    for one in found:
        serial = f"3 {one.serial}" if one.serial else "0 "
        lines += [
            f"Bus {one.bus:03} Device {one.device:03}: ID {one.vendor:04x}:{one.product:04x} {one.name}",
            "Device Descriptor:", "  bDeviceClass            0 (Defined at Interface level)", *(noise or ()),
            "  bDeviceSubClass         0 ", f"  iSerial                 {serial}",
            "      bInterfaceClass         8 Mass Storage", "      bInterfaceSubClass      6 SCSI", "",
        ]  # fmt: skip
    return end.join(lines)


@quick
@given(devices, st.lists(st.sampled_from(NOISE), max_size=3), st.sampled_from(["\n", "\r\n"]))
def test_every_device_of_lsusb_comes_back_with_its_own_serial(found: list[Seen], noise: list[str], end: str) -> None:
    """Warnings between the lines and a terminal's line ends change nothing; no device has its neighbour's serial."""
    read = parsers.lsusb(lsusb(found, noise, end))

    assert [(one.key, one.name, one.serial) for one in read] == [(one.key, one.name, one.serial) for one in found]
    assert all(one.families == ("storage",) for one in read)


@quick
@given(devices, st.integers(0, 2000))
def test_lsusb_that_was_cut_off_says_nothing_false_of_what_it_holds_whole(found: list[Seen], length: int) -> None:
    """Answers of ESXi's sshd get cut off at times: all devices but the last one read are as they were."""
    whole = parsers.lsusb(lsusb(found)[:length])[:-1]

    assert [(one.key, one.name, one.serial) for one in whole] == [
        (one.key, one.name, one.serial) for one in found[: len(whole)]
    ]


CAN = ("yes", "yes (passthrough enabled)", "no (passthrough disabled)", "no (usbarbitrator is not running)")
rows = st.lists(
    st.builds(Passthrough, bus=st.integers(1, 99), device=st.integers(1, 99), vendor=ids, product=ids,
              enabled=st.booleans(), can_connect=st.sampled_from(CAN), name=words),
    min_size=1, max_size=5,
)  # fmt: skip


def table(found: list[Passthrough], width: int) -> str:
    """Write esxcli's table; names longer than that go on in the next line, below the column."""
    head = "Bus  Dev  VendorId  ProductId  Enabled  Can Connect to VM                  Name"
    lines = [head, f"---  ---  --------  ---------  -------  {'-' * 33}  {'-' * 28}"]
    for one in found:
        first, *more = textwrap.wrap(one.name, width, break_long_words=False) or [""]
        left = (f"{one.bus:<5}{one.device:<5}{one.vendor:<10x}{one.product:<11x}{str(one.enabled).lower():<9}"
                f"{one.can_connect:<35}")  # fmt: skip
        lines += [left + first, *(" " * len(left) + part for part in more)]
    return "\n".join(lines)


def as_json(found: list[Passthrough]) -> str:
    """Write the same as esxcli's JSON formatter does."""
    return json.dumps([
        {"Bus": one.bus, "CanConnecttoVM": one.can_connect, "Dev": one.device, "Enabled": one.enabled,
         "Name": one.name, "ProductId": f"{one.product:x}", "VendorId": f"{one.vendor:x}"}
        for one in found
    ])  # fmt: skip


@quick
@given(rows, st.integers(12, 42))
def test_esxcli_says_the_same_as_a_table_and_as_json(found: list[Passthrough], width: int) -> None:
    """Whichever form a release knows: the same rows, with brackets, unpadded hex and wrapped names whole."""
    assert parsers.passthrough(table(found, width)) == tuple(found)
    assert parsers.passthrough(as_json(found)) == tuple(found)


@quick
@given(rows, st.integers(0, 4), st.sampled_from(["", "x", "-1", "10000", "1.5", "0x1", "None", "１"]))  # noqa: RUF001 - a digit that is none of ASCII
def test_a_row_that_can_not_be_is_left_out_and_costs_no_other(found: list[Passthrough], at: int, wrong: str) -> None:
    """A number that is none, or too large, is never guessed at."""
    told: list[dict[str, Any]] = json.loads(as_json(found))
    at %= len(told)
    told[at]["VendorId"] = wrong

    assert parsers.passthrough(json.dumps(told)) == tuple(found[:at] + found[at + 1 :])


@quick
@given(rows, st.integers(0, 2000))
def test_json_that_was_cut_off_is_no_shorter_list(found: list[Passthrough], length: int) -> None:
    """An answer that lacks its end is not an answer: devices that are left out would look as if they were not there."""
    whole = as_json(found)

    assert parsers.passthrough(whole[: min(length, len(whole) - 1)]) is None


disks = st.lists(
    st.tuples(st.integers(1, 999), words, words, st.booleans(), st.booleans()), min_size=1, max_size=4,
    unique_by=lambda one: one[0],
)  # fmt: skip


@quick
@given(disks)
def test_disks_are_the_same_in_stanzas_and_in_json(found: list[tuple[int, str, str, bool, bool]]) -> None:
    """Which disk is USB and boots the host decides about a hard stop: no form may say it otherwise."""
    named = [
        {"Device": f"mpx.vmhba{number}:C0:T0:L0", "Vendor": vendor, "Model": model, "Is USB": usb,
         "Is Boot Device": boot}
        for number, vendor, model, usb, boot in found
    ]  # fmt: skip
    stanzas = "\n".join(
        f"{one['Device']}\n" + "".join(f"   {key}: {str(value).lower() if isinstance(value, bool) else value}\n"
                                        for key, value in one.items() if key != "Device")
        for one in named
    )  # fmt: skip
    plain = json.dumps([{key.replace(" ", ""): value for key, value in one.items()} for one in named])

    assert parsers.disks(stanzas) == parsers.disks(plain)
    assert [(one.name, one.is_usb, one.boots_host) for one in parsers.disks(plain) or ()] == [
        (one["Device"], one["Is USB"], one["Is Boot Device"]) for one in named
    ]


@quick
@given(st.lists(st.tuples(word.filter(lambda one: one != "usbarbitrator"), st.booleans()), max_size=6),
       st.none() | st.booleans(), st.integers(0, 6))  # fmt: skip
def test_chkconfig_is_read_of_the_one_service_whatever_stands_around_it(
    others: list[tuple[str, bool]], on: bool | None, at: int
) -> None:
    """The state of another service never counts, and a service that is not listed is not known."""
    lines = [f"{name:24}{'on' if state else 'off'}" for name, state in others]
    if on is not None:
        lines.insert(at, f"{'usbarbitrator':24}{'on' if on else 'off'}")

    assert parsers.autostart("\n".join(lines)) is on


texts = st.text(st.characters(codec="utf-8"), max_size=30).filter(lambda one: "usbarbitrator" not in one.lower())


@quick
@given(st.lists(texts, max_size=4), st.sampled_from([*Arbitrator]), st.integers(0, 4))
def test_the_arbitrators_word_counts_whatever_stands_around_it(lines: list[str], state: Arbitrator, at: int) -> None:
    """Banners and warnings are passed over; without its own word nothing is known."""
    said = {Arbitrator.RUNNING: ["usbarbitrator is running"], Arbitrator.STOPPED: ["usbarbitrator stopped"]}
    lines[at:at] = said.get(state, [])

    assert parsers.arbitrator("\n".join(lines)) is state
