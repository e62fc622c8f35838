"""Prove that a list of processes and a guest's classes of devices are read, and never guessed at."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passgate.connect.esxi_shell import parsers
from passgate.connect.guest import reading
from passgate.model.guest import GuestUsb

HEAD = "WID      CID      World Name                Command\n"


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        (f"{HEAD}2098838  2098838  hostd  hostd\n2098840  2098840  pcscd  /usr/sbin/pcscd\n", True),
        (f"{HEAD}2098838  2098838  hostd  hostd\n2098840  2098840  x  /usr/sbin/pcscd -f\n", True),
        (f"{HEAD}2098838  2098838  hostd  hostd\n", False),
        (f"{HEAD}2098838  2098838  pcscd-helper  xpcscd\n", False),
        ("  PID USER       VSZ STAT COMMAND\n    1 root      1234 S    init\n", False),
        (HEAD, None),
        ("", None),
        ("sh: ps: not found\n", None),
        ("pcscd\npcscd\n", None),
    ],
)
def test_a_process_runs_when_the_list_has_its_name(text: str, runs: bool | None) -> None:
    """Whole names count, with or without a path; what is no list of processes says nothing."""
    assert parsers.process_runs(text, "pcscd") is runs


@given(st.text(max_size=200), st.text(min_size=1, max_size=10))
def test_no_list_breaks_the_reading(text: str, name: str) -> None:
    """Whatever a shell prints is yes, no or not known."""
    assert parsers.process_runs(text, name) in {True, False, None}
    assert parsers.process_runs(HEAD + text, name) in {True, False, None}


@pytest.mark.parametrize(
    ("kinds", "is_reader"),
    [
        ((), None),
        (("0b",), True),
        (("ff", "0b"), True),
        (("SmartCardReader",), True),
        (("03",), False),
        (("USB",), False),
    ],
)
def test_what_the_guest_takes_for_a_reader(kinds: tuple[str, ...], is_reader: bool | None) -> None:
    """Windows' class or the USB class code says so; nothing said is not known."""
    assert GuestUsb(vendor=0x76B, product=0x3031, kinds=kinds).is_reader is is_reader


def test_linux_tells_the_classes_of_all_interfaces() -> None:
    """Each once, of this device alone; an empty one is none."""
    text = (
        "passgate-usb\ndevice\nidVendor 076b\nidProduct 3031\nkind 03\nkind 0b\nkind 0b\nkind \n"
        "device\nidVendor 18a5\nidProduct 0302\nkind 08\nlsblk\nend\n"
    )
    assert [one.kinds for one in reading.of_linux(text)] == [("03", "0b"), ("08",)]


def test_windows_tells_the_classes_of_a_device_and_its_interfaces() -> None:
    """A reader with a keypad is a composite device, whose interfaces are readers and keyboards."""
    rows = [
        {"InstanceId": "USB\\VID_076B&PID_3031\\6&1&0&1", "Class": "USB", "FriendlyName": "Composite", "Status": "OK"},
        {"InstanceId": "USB\\VID_076B&PID_3031&MI_00\\7&1&0", "Class": "SmartCardReader", "Status": "OK"},
        {"InstanceId": "USB\\VID_076B&PID_3031&MI_01\\7&1&1", "Class": "HIDClass", "Status": "OK"},
        {"InstanceId": "USB\\VID_046D&PID_0001&MI_00\\7&1&1", "Class": "Camera", "Status": "OK"},
    ]
    (one,) = reading.of_windows(json.dumps({"pnp": rows}))
    assert (one.kinds, one.is_reader) == (("USB", "SmartCardReader", "HIDClass"), True)
