"""Hold the lab's ESXi shell to what the real one prints and refuses (reference vSphere 3)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passgate.lab.esxi_commands import HostTools
from passgate.lab.esxi_shell import Output, run
from passgate.lab.inventory_seed import seeded_world
from passgate.lab.world import World

Run = Callable[[str], Output]
LIST = "hardware usb passthrough device list"


@pytest.fixture
def world() -> Iterator[World]:
    """Return a world of its own."""
    made = seeded_world()
    yield made
    made.close()


@pytest.fixture
def on_esx_01(world: World) -> Run:
    """Return the shell of esx-01."""
    return lambda line: run(line, HostTools(world, world.hosts[0], "root").all())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("chkconfig usbarbitrator --list", Output("usbarbitrator           on\n")),
        ("/etc/init.d/usbarbitrator status", Output("usbarbitrator is running\n")),
        ("xyz -a", Output("", "sh: xyz: not found\n", 127)),
        ("xyz 2>/dev/null; echo $?", Output("127\n")),
        ("false && echo a || echo \"b $?\" 'c;|&' d\\ e", Output("b 1 c;|& d e\n")),
        ("false || false || true && echo x", Output("x\n")),
        ("echo -n a; echo b", Output("ab\n")),
        ("echo a 1>&2", Output("", "a\n")),
        ("xyz 2>&1 | grep -c 'not found'", Output("1\n")),
        ("echo 'Usb' | grep -i usb", Output("Usb\n")),
        ("echo Usb | grep usb", Output(status=1)),
        ("ps | grep pcscd", Output(status=1)),
        ("lsusb | grep -e 18a5 -e 0781 | grep -cv SanDisk", Output("1\n")),
        ("esxcli storage vmfs list", Output("", "Error: Unknown command or namespace storage vmfs list\n", 1)),
        ("vmware -v", Output("VMware ESXi 8.0.2 build-22380479\n")),
        ("echo x > /etc/passwd", Output("", "sh: can't create /etc/passwd: Operation not permitted\n", 1)),
        ("", Output()),
    ],
)  # fmt: skip
def test_one_liners(on_esx_01: Run, line: str, said: Output) -> None:
    """Lists, pipes, quotes, redirections and statuses are those of ash."""
    assert on_esx_01(line) == said


@pytest.mark.parametrize(
    "line", ["echo `id`", 'echo "$(id)"', "echo $HOME", "lsusb |", "&& ls", "(ls)", "echo 'a", "ls &"]
)
def test_what_the_lab_can_not_do_is_an_error_and_not_something_else(on_esx_01: Run, line: str) -> None:
    """Grammar beyond one-liners is refused whole, never run in part or taken for plain words."""
    found = on_esx_01(line)

    assert (found.out, found.status) == ("", 2)
    assert found.err.startswith("sh: syntax error: unexpected")


def test_the_table_wraps_and_every_formatter_agrees_with_it(on_esx_01: Run, world: World) -> None:
    """Hex is unpadded, long names go on in the next line, and json, csv and xml hold the same rows."""
    world.hosts[0].usb[0].name = "Western Digital, G-Tech G-DRIVE mobile SSD R-Series"
    table = on_esx_01(f"esxcli {LIST}").out.splitlines()

    assert table[2].split()[:5] == ["1", "3", "18a5", "302", "true"]
    assert table[3].strip() == "R-Series"
    assert table[3].index("R") == table[0].index("Name")

    rows = json.loads(on_esx_01(f"esxcli --formatter=json {LIST}").out)
    assert [(row["Bus"], row["Dev"], row["VendorId"], row["ProductId"]) for row in rows] == [
        (1, 3, "18a5", "302"),
        (2, 2, "781", "5583"),
    ]
    sheet = list(csv.DictReader(io.StringIO(on_esx_01(f"esxcli --formatter=csv {LIST}").out)))
    assert [row["Name"] for row in sheet] == [row["Name"] for row in rows]
    tree = ET.fromstring(on_esx_01(f"esxcli --formatter=xml {LIST}").out)  # noqa: S314 - the lab's own words
    assert [field[0].text for field in tree.iter() if field.get("name") == "Name"] == [row["Name"] for row in rows]


def test_passthrough_of_one_device_is_switched(on_esx_01: Run, world: World) -> None:
    """A disabled device is offered to nobody; the call is on record, and so is a refused one."""
    assert on_esx_01("esxcli hardware usb passthrough device disable -d 1:3:18a5:302").status == 0
    assert "no (passthrough disabled)" in on_esx_01(f"esxcli {LIST}").out
    assert [offer.device.vendor for offer in world.offered_usb(world.hosts[0])] == [0x0781]
    assert on_esx_01("esxcli hardware usb passthrough device enable -d 9:9:18a5:302").status == 1
    assert [one.accepted for one in world.mutations] == [True, False]


def test_a_restart_takes_devices_away_and_is_on_record(world: World) -> None:
    """Restarting the arbitrator disconnects what VMs use until their next power-on."""
    said = run("/etc/init.d/usbarbitrator restart", HostTools(world, world.hosts[1], "root").all())

    assert said.out.splitlines() == ["stopping usbarbitrator...", "usbarbitrator stopped", "usbarbitrator started"]
    assert world.connected_usb(world.vm("lic-01")) == []
    assert [(one.wire, one.method, one.user) for one in world.mutations] == [
        ("ssh", "/etc/init.d/usbarbitrator restart", "root")
    ]


def test_chkconfig_sets_what_starts_at_boot(on_esx_01: Run, world: World) -> None:
    """On and off are kept, and change nothing that runs."""
    on_esx_01("chkconfig usbarbitrator off")

    assert on_esx_01("chkconfig usbarbitrator").out.split() == ["usbarbitrator", "off"]
    assert world.hosts[0].arbitrator_running
    assert on_esx_01("chkconfig nonsense on").status == 1


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=60))
def test_no_line_breaks_the_shell(line: str) -> None:
    """Whatever is typed gets an answer with a status."""
    world = seeded_world()

    assert run(line, HostTools(world, world.hosts[0], "root").all()).status in range(128)
