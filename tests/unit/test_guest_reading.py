"""What guests print is read as it is: whole answers give devices, anything else is an error in words."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passgate.connect.guest.reading import of_linux, of_windows
from passgate.errors import UnreachableError, UnsupportedError, WorldError

STICK = r"USB\VID_18A5&PID_0302\07A40901A2B3C4D5"
STORAGE = r"USBSTOR\DISK&VEN_VERBATIM&PROD_STORE_N_GO&REV_5.00\07A40901A2B3C4D5&0"


def pnp(instance: str, name: str = "USB Mass Storage Device", status: str = "OK") -> dict[str, Any]:
    """Return a row of Get-PnpDevice."""
    return {"Status": status, "Class": "USB", "FriendlyName": name, "InstanceId": instance}


def windows(**parts: Any) -> str:
    """Return what usb.ps1 prints, on a machine whose profile says hello first."""
    return f"Welcome to WIN-01\r\n{json.dumps(parts)}\r\n"


def linux(body: str, blocks: str = "") -> str:
    """Return what usb.sh prints."""
    return f"passgate-usb\n{body}lsblk\n{blocks}end\n"


def device(**facts: str) -> str:
    """Return one device of usb.sh."""
    return "device\n" + "".join(f"{key} {value}\n" for key, value in facts.items())


def test_windows_tells_the_stick_with_its_disk_and_letter() -> None:
    """A storage device bears the name of its disk drive, and its disk with size, state and drive letter."""
    disk = {"Number": 1, "SerialNumber": " 07A40901A2B3C4D5", "Size": 15518924800, "OperationalStatus": "Online"}
    [seen] = of_windows(
        windows(
            pnp=[pnp(STICK), pnp(STORAGE, "Verbatim STORE N GO USB Device")],
            disks=[disk],
            partitions=[{"DiskNumber": 0, "DriveLetter": "C"}, {"DiskNumber": 1, "DriveLetter": "E"}],
        )
    )
    assert (seen.vid_pid, seen.serial, seen.status) == ("18a5:0302", "07A40901A2B3C4D5", "OK")
    assert seen.name == "Verbatim STORE N GO USB Device"
    [found] = seen.disks
    assert (found.name, found.size, found.state, found.where) == ("Disk 1", 15518924800, "Online", "E:")


def test_windows_takes_a_list_of_one_that_came_as_that_one() -> None:
    """ConvertTo-Json writes a single object where a list was meant; both are read."""
    assert of_windows(windows(pnp=pnp(STICK), disks=None)) == of_windows(windows(pnp=[pnp(STICK)]))


def test_windows_serial_is_none_when_windows_made_it_up() -> None:
    """A third part with an ampersand is Windows' own invention, not the device's serial."""
    [seen] = of_windows(windows(pnp=[pnp(r"USB\VID_0529&PID_0001\6&2A6C1F8D&0&1")]))
    assert seen.serial is None


def test_windows_disk_that_is_offline_is_told_offline() -> None:
    """SAN policy may leave a disk offline: that is reported, and a NUL is no drive letter."""
    disk = {"Number": 1, "UniqueId": f"{STORAGE}:WIN-01", "IsOffline": True, "OperationalStatus": 53267}
    parts = [{"DiskNumber": 1, "DriveLetter": "\0"}]
    [seen] = of_windows(windows(pnp=[pnp(STICK), pnp(STORAGE)], disks=[disk], partitions=parts))
    assert [(one.state, one.where) for one in seen.disks] == [("Offline", "")]


def test_windows_leaves_out_hubs_mice_interfaces_and_children() -> None:
    """Only whole devices count, and none that every virtual machine has."""
    rows = [r"USB\VID_0E0F&PID_0003\6&1&0&5", r"USB\VID_0E0F&PID_0002\6&1&0&6", r"USB\ROOT_HUB30\5&1&0&0"]
    rows += [r"USB\VID_046D&PID_082D&MI_00\7&1&0&0000", r"USB\VID_1D6B&PID_0003\1", STORAGE]
    assert of_windows(windows(pnp=[pnp(row) for row in rows])) == ()


def test_windows_disk_of_a_device_without_serial_is_found_by_its_parent() -> None:
    """Path and parent tie a disk to its device where no serial does, with and without a like device beside it."""
    one, two = (rf"USB\VID_18A5&PID_0302\6&2A6C1F8D&0&{port}" for port in (1, 2))
    child = r"USBSTOR\DISK&VEN_VERBATIM&PROD_STORE_N_GO&REV_5.00\7&3B1D5A0&0"
    disk = {"Number": 1, "Path": "\\\\?\\" + child.lower().replace("\\", "#") + "#{53f56307}"}
    rows = [pnp(one), pnp(two), pnp(child, "Verbatim STORE N GO USB Device")]
    seen = of_windows(windows(pnp=rows, disks=[disk], parents=[{"InstanceId": child, "Data": two}]))
    assert [len(device.disks) for device in seen] == [0, 1]
    assert seen[1].name == "Verbatim STORE N GO USB Device"


def test_windows_disk_of_another_stick_is_not_claimed() -> None:
    """A disk whose serial is another's belongs to no device here."""
    disk = {"Number": 1, "SerialNumber": "07B5120FE6D7C8B9", "UniqueId": STORAGE.replace("07A4", "07B5")}
    [seen] = of_windows(windows(pnp=[pnp(STICK)], disks=[disk]))
    assert seen.disks == ()


@pytest.mark.parametrize("mounts", ['"mountpoint": "/mnt/key"', '"mountpoints": [null, "/mnt/key"]'])
def test_linux_tells_the_stick_with_its_disk_and_mount(mounts: str) -> None:
    """Sizes as text and MOUNTPOINT of old releases are read like the new form."""
    facts = {"idVendor": "18a5", "idProduct": "0302", "serial": "07A4", "product": "STORE N GO", "speed": "480"}
    blocks = (
        '{"blockdevices": [{"name": "sdb", "tran": "usb", "serial": "07A4", "size": "15518924800", '
        f'"children": [{{"name": "sdb1", {mounts}}}]}}]}}\n'
    )
    [seen] = of_linux(linux(device(**facts) + "disk sdb 30310400\n", blocks))
    assert (seen.vid_pid, seen.serial, seen.name, seen.speed) == ("18a5:0302", "07A4", "STORE N GO", "480")
    assert [(one.name, one.size, one.where) for one in seen.disks] == [("sdb", 15518924800, "/mnt/key")]


def test_linux_without_lsblk_still_knows_disk_and_size() -> None:
    """The sysfs alone tells which disk is behind the device, in sectors of 512 bytes."""
    [seen] = of_linux(linux(device(idVendor="18a5", idProduct="0302") + "disk sdb 30310400\n"))
    assert [(one.name, one.size) for one in seen.disks] == [("sdb", 15518924800)]


def test_linux_matches_a_disk_by_serial_where_sysfs_is_silent() -> None:
    """Only a USB disk of that serial is the device's."""
    rows = [{"name": "sda", "tran": "sas", "serial": "07A4"}, {"name": "sdb", "tran": "usb", "serial": "07A4"}]
    [seen] = of_linux(
        linux(device(idVendor="18a5", idProduct="0302", serial="07A4"), json.dumps({"blockdevices": rows}) + "\n")
    )
    assert [one.name for one in seen.disks] == ["sdb"]


def test_linux_falls_back_on_lsusb() -> None:
    """Where there is no sysfs, lsusb tells ids and name; root hubs and VMware's own are left out."""
    lines = "Bus 001 Device 003: ID 18a5:0302 Verbatim STORE N GO\nBus 001 Device 001: ID 1d6b:0002 Linux hub\n"
    [seen] = of_linux(linux(lines + "Bus 002 Device 002: ID 0e0f:0003 VMware mouse\n"))
    assert (seen.vid_pid, seen.serial, seen.name) == ("18a5:0302", None, "Verbatim STORE N GO")


def test_linux_without_any_means_is_said_so() -> None:
    """A guest that can't tell is not a guest without devices."""
    with pytest.raises(UnsupportedError, match="neither sysfs nor lsusb"):
        of_linux(linux("unreadable\n"))


@pytest.mark.parametrize("read", [of_windows, of_linux])
@pytest.mark.parametrize("text", ["", "\n", "{", '{"pnp"', "[]", "passgate-usb\ndevice\nidVendor 18a5\n", "null"])
def test_half_an_answer_is_no_answer(read: Any, text: str) -> None:
    """What was cut off raises an error that is safe to repeat; it never reads as `no devices`."""
    with pytest.raises(UnreachableError) as caught:
        read(text)
    assert caught.value.safe_to_repeat


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ROW = st.fixed_dictionaries(
    {},
    optional={
        key: JSON | st.sampled_from([STICK, STORAGE, 1])
        for key in ("InstanceId", "FriendlyName", "Status", "Number", "SerialNumber", "UniqueId", "DiskNumber", "Path")
    },
)


@given(pnp=JSON | ROW | st.lists(ROW), disks=JSON | st.lists(ROW), partitions=JSON | st.lists(ROW))
def test_windows_json_of_any_shape_gives_devices(pnp: Any, disks: Any, partitions: Any) -> None:
    """Whatever stands in the fields, no other error than ours comes out."""
    assert isinstance(of_windows(json.dumps({"pnp": pnp, "disks": disks, "partitions": partitions})), tuple)


@given(st.text())
def test_any_text_gives_devices_or_our_error(text: str) -> None:
    """No noise from a guest ends in a traceback."""
    for read in (of_windows, of_linux):
        with suppress(WorldError):
            assert isinstance(read(text), tuple)


LINE = st.sampled_from(["device", "idVendor 18a5", "idProduct 0302", "serial A", "disk sdb 1", "disk sdb", "disk"])


@given(st.lists(LINE | st.text(st.characters(exclude_characters="\n"))), JSON)
def test_linux_lines_of_any_order_give_devices(lines: list[str], blocks: Any) -> None:
    """Lines that mean nothing are passed over, whatever lsblk said."""
    with suppress(WorldError):
        body = "".join(f"{line}\n" for line in lines)
        assert isinstance(of_linux(linux(body, json.dumps({"blockdevices": blocks}) + "\n")), tuple)


@given(
    vendor=st.integers(1, 0xFFFF).filter(lambda vendor: vendor not in {0x0E0F, 0x1D6B}),
    product=st.integers(0, 0xFFFF),
    serial=st.from_regex(r"[0-9A-Z]{1,20}", fullmatch=True),
)
def test_both_families_tell_the_same_device(vendor: int, product: int, serial: str) -> None:
    """Ids and serial survive the way through either guest."""
    [there] = of_windows(windows(pnp=[pnp(f"USB\\VID_{vendor:04X}&PID_{product:04X}\\{serial}")]))
    [here] = of_linux(linux(device(idVendor=f"{vendor:04x}", idProduct=f"{product:04x}", serial=serial)))
    assert (there.vendor, there.product, there.serial) == (vendor, product, serial)
    assert (here.vendor, here.product, here.serial) == (vendor, product, serial)
