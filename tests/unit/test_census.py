"""Prove what a census says of devices, and that it says nothing of what was not read."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passgate.errors import UnknownNameError
from passgate.model.census import (
    COLUMNS,
    Census,
    CensusRow,
    EstateReading,
    FindingCode,
    HostReading,
    Kind,
    Use,
    chosen,
    take_census,
)
from passgate.model.inventory import Arbitrator, Host, HostUsbDevice, PciFunction, Power, Vm, VmPci, VmUsbDevice
from passgate.model.table import Table
from tests.scenarios.paper import ELSEWHERE, HOST, entry, machine, stick

WHEN = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
NETWORK = PciFunction(
    host=HOST, address="0000:3b:00.0", vendor=0x8086, device=0x1533, name="I210",
    capable=True, enabled=True, active=True,
)  # fmt: skip


def host(*usb: HostUsbDevice, **more: Any) -> Host:
    """Return the host with these devices."""
    return Host(**{**HOST.model_dump(), "arbitrator": Arbitrator.RUNNING, "usb": usb, **more})


def census(
    *vms: Vm, usb: tuple[HostUsbDevice, ...] = (), serials: dict[str, tuple[str, ...]] | None = None, **more: Any
) -> Census:
    """Return the census of one host with these devices, and of these VMs."""
    one = host(*usb, **more)
    other = Host(**ELSEWHERE.model_dump())
    reading = HostReading(host=one, serials=serials or {})
    readings = (reading, HostReading(host=other))
    return take_census(EstateReading(read_at=WHEN, readings=readings, hosts=(one, other), vms=vms))


def found(census: Census) -> list[tuple[str, Use, str, list[FindingCode]]]:
    """Return place, use, user and findings of each row."""
    return [(row.place, row.use, row.user, [one.code for one in row.findings]) for row in census.rows]


def using(vm: Vm, **more: Any) -> HostUsbDevice:
    """Return the stick in use by that VM."""
    return stick(used_by=vm.ref, used_by_name=vm.name, **more)


NAMES_IT = machine(usb=(entry(connected=True, vendor=0x18A5, product=0x0302),))
OFF = machine(usb=(entry(),), power=Power.OFF)
ON = machine(usb=(entry(),))
OTHER = machine("win-02", 8, usb=(entry(),), power=Power.OFF)
WITHOUT = machine("win-03", 9)
CASES = {
    "a device that nobody names is free": ((), (stick(),), [("0/1/3", Use.FREE, "", [])]),
    "a device in use as configured": ((NAMES_IT,), (using(NAMES_IT),), [("0/1/3", Use.USED, "win-01", [])]),
    "one that a VM that is off names": ((OFF,), (stick(),), [("0/1/3", Use.RESERVED, "win-01", [])]),
    "one that its running VM has not got": (
        (ON,), (stick(),), [("0/1/3", Use.RESERVED, "win-01", [FindingCode.NOT_CONNECTED])],
    ),
    "an entry without a device": ((OFF,), (), [("0/1/3", Use.MISSING, "win-01", [FindingCode.NOT_THERE])]),
    "another device at the path of an entry": (
        (NAMES_IT,), (using(NAMES_IT, vendor=0x0781, product=0x5583),),
        [("0/1/3", Use.USED, "win-01", [FindingCode.ANOTHER_DEVICE])],
    ),
    "a VM that has it without an entry": (
        (WITHOUT,), (using(WITHOUT),), [("0/1/3", Use.USED, "win-03", [FindingCode.NO_ENTRY])],
    ),
    "one that two VMs name": (
        (NAMES_IT, OTHER), (using(NAMES_IT),), [("0/1/3", Use.USED, "win-01", [FindingCode.CONTESTED])],
    ),
    "one that another VM has": (
        (ON, machine("win-02", 8, usb=(entry(),))), (using(OTHER),),
        [("0/1/3", Use.USED, "win-02", [FindingCode.TAKEN, FindingCode.CONTESTED])],
    ),
    "one that is not offered": ((), (stick(offered=False),), [("0/1/3", Use.WITHHELD, "", [])]),
    "what the host boots from": ((), (stick(boots_host=True),), [("0/1/3", Use.BOOTS, "", [])]),
    "a VM that is off away from the device's host": (
        (machine(host=ELSEWHERE, power=Power.OFF, usb=(entry(hostname=HOST.name),)),), (stick(),),
        [("0/1/3", Use.RESERVED, "win-01", [FindingCode.AWAY])],
    ),
    "an entry for a host that is not there": (
        (machine(usb=(entry(hostname="gone.example"),)),), (),
        [("0/1/3", Use.MISSING, "win-01", [FindingCode.UNKNOWN_HOST])],
    ),
    "an entry by ids alone": (
        (machine(power=Power.OFF, usb=(VmUsbDevice(key=1, pattern="vid:18a5 pid:0302"),)),), (stick(),),
        [("0/1/3", Use.RESERVED, "win-01", [])],
    ),
    "a VM whose configuration could not be read": (
        (machine(change_version="", connection="inaccessible"),), (),
        [("", Use.UNREAD, "win-01", [FindingCode.NOT_READ])],
    ),
    "a VM that has it, of whose configuration nothing is known": (
        (machine(change_version=""),), (using(machine()),),
        [("0/1/3", Use.USED, "win-01", []), ("", Use.UNREAD, "win-01", [FindingCode.NOT_READ])],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_device_is_judged_by_its_path_and_by_who_answers_there(case: str) -> None:
    """Use, user and findings of the smallest estate of each kind."""
    vms, usb, rows = CASES[case]

    assert found(census(*vms, usb=usb)) == rows


def test_twins_are_told_apart_by_path_and_the_shells_serials_are_not_guessed_at() -> None:
    """Two dongles alike: both rows say so, with the serials that the shell shows, and none is put to a path."""
    twins = (stick(path="0/1/2", serial=None), stick(path="0/1/4", serial=None))

    rows = census(usb=twins, serials={"18a5:0302": ("A1", "B2")}).rows

    assert [row.place for row in rows] == ["0/1/2", "0/1/4"]
    assert {row.serial for row in rows} == {""}
    assert all("one of 2 alike" in row.findings[0].words and "A1, B2" in row.findings[0].words for row in rows)
    assert not any(row.against_config for row in rows)


def test_the_same_serial_in_two_places_is_named_with_the_other_place() -> None:
    """Cloned serials are common with cheap sticks: each row names where the other one is."""
    one, two = census(usb=(stick(path="0/1/2"), stick(path="0/1/4"))).rows

    assert (one.findings[-1].code, two.findings[-1].code) == (FindingCode.SAME_SERIAL, FindingCode.SAME_SERIAL)
    assert "0/1/4" in one.findings[-1].words
    assert "0/1/2" in two.findings[-1].words


def test_a_stopped_arbitrator_is_said_of_the_host_and_no_entry_is_called_lost() -> None:
    """While it is stopped nothing is offered: an entry's device may well be plugged in."""
    rows = census(OFF, arbitrator=Arbitrator.STOPPED).rows

    assert [one.code for row in rows for one in row.findings] == [FindingCode.ARBITRATOR, FindingCode.NOT_OFFERED]


def test_a_host_that_could_not_be_read_is_a_row_with_the_reason_and_nothing_more_is_claimed() -> None:
    """One host's failure is its own row; the entries that name its devices are not judged."""
    one, other = host(), Host(**ELSEWHERE.model_dump())
    readings = (HostReading(host=one, failed="no answer in 30 s"), HostReading(host=other))

    found = take_census(EstateReading(read_at=WHEN, readings=readings, hosts=(one, other), vms=(OFF,)))

    assert [(row.kind, row.use, row.findings[0].words) for row in found.rows] == [
        (Kind.HOST, Use.UNREAD, "no answer in 30 s")
    ]
    assert "1 of 2 hosts read" in found.summary


def test_a_shell_that_could_not_be_read_costs_serials_and_nothing_else() -> None:
    """The devices are there all the same, and what is missing is said."""
    rows = census(usb=(stick(serial=None),), shell_error="connection refused").rows

    assert [(row.kind, row.use) for row in rows] == [(Kind.HOST, Use.UNREAD), (Kind.USB, Use.FREE)]
    assert "connection refused" in rows[0].findings[0].words
    assert "1 shell not read" in census(shell_error="x").summary


PCI_CASES = {
    "free": ({}, (), Use.FREE, []),
    "used": ({}, (Power.ON,), Use.USED, []),
    "reserved": ({}, (Power.OFF,), Use.RESERVED, []),
    "waits for a reboot": ({"active": False}, (), Use.NEEDS_REBOOT, []),
    "named, but not active": ({"active": False}, (Power.OFF,), Use.RESERVED, [FindingCode.NOT_ACTIVE]),
    "another function": ({"device": 0x1534}, (Power.OFF,), Use.RESERVED, [FindingCode.ANOTHER_DEVICE]),
    "two VMs": ({}, (Power.ON, Power.OFF), Use.USED, [FindingCode.CONTESTED]),
}


@pytest.mark.parametrize("case", PCI_CASES)
def test_pci_functions_are_judged_by_address_ids_and_state(case: str) -> None:
    """Enabled, active, named and used are told apart."""
    changes, powers, use, codes = PCI_CASES[case]
    names = VmPci(key=13000, address="0000:3b:00.0", vendor=0x8086, device=0x1533)
    vms = [machine(f"vm-{at}", at, power=power, pci=(names,)) for at, power in enumerate(powers, start=1)]

    (row,) = census(*vms, pci=(NETWORK.model_copy(update=changes),)).rows

    assert (row.kind, row.place, row.use) == (Kind.PCI, "0000:3b:00.0", use)
    assert [one.code for one in row.findings] == codes


def test_pci_functions_that_nobody_passes_through_are_left_out_except_usb_controllers() -> None:
    """A host has a hundred functions; a USB controller that could be passed through is worth a row."""
    idle = NETWORK.model_copy(update={"enabled": False, "active": False})
    usb = idle.model_copy(update={"address": "0000:00:14.0", "class_id": 0x0C03})

    assert [(row.place, row.use) for row in census(pci=(idle, usb)).rows] == [("0000:00:14.0", Use.NOT_ENABLED)]


def test_a_pci_entry_without_its_function_is_not_there() -> None:
    """Addresses are renumbered when cards are added: the VM's entry then names nothing."""
    vm = machine(pci=(VmPci(key=13000, address="0000:99:00.0", vendor=1, device=2),))

    rows = [row for row in census(vm, pci=(NETWORK,)).rows if row.user]

    assert [(row.use, row.findings[0].code) for row in rows] == [(Use.MISSING, FindingCode.NOT_THERE)]


def test_patterns_choose_hosts_and_one_that_fits_none_is_named() -> None:
    """A typing error must not end as a census of nothing."""
    hosts = (host(), Host(**ELSEWHERE.model_dump()))

    assert chosen(hosts, ()) == hosts
    assert chosen(hosts, ("esx-01*",)) == hosts[:1]
    with pytest.raises(UnknownNameError, match="'esx-9\\*'"):
        chosen(hosts, ("esx-01*", "esx-9*"))


def test_the_table_begins_with_what_is_against_config() -> None:
    """Where only the first rows are shown, they are the ones to look at."""
    table = census(OFF, usb=(stick(path="0/1/9"),)).table()

    assert [row["use"] for row in table.records()] == ["not there", "free"]
    assert table.columns == COLUMNS


texts = st.text(st.characters(codec="utf-8"), max_size=12)
paths = st.sampled_from(["0/1/1", "0/1/2", "0/2/1"])
ids = st.sampled_from([0x0529, 0x18A5])
patterns = st.one_of(
    paths.map(lambda path: f"path:{path} version:2"), ids.map(lambda one: f"vid:{one:04x} pid:{one:04x}"), texts
)
devices = st.builds(
    lambda path, one, serial, offered, used: stick(
        path=path, pattern=path and f"path:{path}", vendor=one, product=one, serial=serial, offered=offered,
        used_by=used, used_by_name=used,
    ),
    st.none() | paths, ids, st.none() | texts, st.booleans(), st.sampled_from([None, "vm-1", "vm-2", "vm-x"]),
)  # fmt: skip
vms = st.builds(
    lambda number, power, patterns, away, names, version: machine(
        f"win-{number}", number, power=power, host=ELSEWHERE if away else HOST, change_version=version,
        usb=tuple(
            VmUsbDevice(key=key, pattern=one, hostname=names, vendor=0x0529 if key % 2 else None, product=0x0529)
            for key, one in enumerate(patterns)
        ),
    ),
    st.integers(1, 3), st.sampled_from(Power), st.lists(patterns, max_size=3), st.booleans(),
    st.sampled_from([None, HOST.name, "gone"]), st.sampled_from(["", "1"]),
)  # fmt: skip


@settings(deadline=None)  # the machine may be busy
@given(st.lists(devices, max_size=4), st.lists(vms, max_size=3), st.sampled_from(Arbitrator))
def test_no_estate_breaks_a_census_and_every_device_and_entry_has_its_row(
    usb: list[HostUsbDevice], machines: list[Vm], arbitrator: Arbitrator
) -> None:
    """Each device is one row; each entry is seen in a row; a free device is one that no VM has or names."""
    told = census(*machines, usb=tuple(usb), arbitrator=arbitrator)

    rows = [row for row in told.rows if row.kind is Kind.USB and row.use is not Use.MISSING]
    assert [(row.place, row.ids) for row in rows] == [(one.path or "", one.vid_pid) for one in usb]
    for row, device in zip(rows, usb, strict=True):
        assert (row.use is Use.USED) is bool(device.used_by)
        if row.use is Use.FREE:
            assert not row.user
    missing = [row for row in told.rows if row.use is Use.MISSING]
    assert len(missing) <= sum(len(vm.usb) for vm in machines)
    assert all(row.findings and row.user for row in missing)
    assert len(told.table().rows) == len(told.rows)
    assert told == Census.model_validate_json(told.model_dump_json())


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.lists(st.text(st.characters(codec="utf-8"), max_size=30), min_size=2, max_size=2), max_size=5))
def test_csv_and_json_hold_what_the_table_holds(rows: list[list[str]]) -> None:
    """Any text comes back as it went in; what a spreadsheet would run as a formula has a quote before it."""
    table = Table(name="x", title="t", columns=("a", "b"), rows=tuple(map(tuple, rows)))

    assert [list(one.values()) for one in json.loads(table.as_json())["rows"]] == rows
    head, *found = csv.reader(io.StringIO(table.as_csv(), newline=""))
    assert head == ["a", "b"]
    for row, texts_of in zip(found, rows, strict=True):
        for cell, text in zip(row, texts_of, strict=True):
            assert cell == (f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} and text else text)
    assert all("\n" not in line for line in table.lines())


def test_a_row_says_what_and_where_in_words() -> None:
    """Words for messages."""
    row = CensusRow(host="h", kind=Kind.USB, ids="18a5:0302", name="Stick", place="0/1/3", serial="S", use=Use.FREE)

    assert row.words == "Stick (18a5:0302 at path:0/1/3, serial S)"
