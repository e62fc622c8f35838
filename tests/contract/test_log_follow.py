"""Follow the lab's vmkernel.log over SSH: through rotation, a reboot and a shell that is away, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passgate.connect.esxi_shell.follow import KEPT, LONGEST, LineCutter, LogFollowers, LogNews, LogReader
from passgate.engine.estate import Estate
from passgate.model.inventory import HostId
from passgate.settings.load import load_config
from tests.lab_site import Lab

ESX_01, ESX_02 = (HostId(ref="", name=f"esx-0{number}.lab.example", uuid="") for number in (1, 2))
Seen = dict[str, list[str]]


@pytest.fixture(scope="module")
def whole_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, LogFollowers]]:
    """Run one lab for all tests."""
    with Lab.start(tmp_path_factory.mktemp("logs")) as lab:
        estate = Estate(load_config(lab.config), lab.home)
        yield lab, estate.logs
        estate.close()


@pytest.fixture
def lab(whole_lab: tuple[Lab, LogFollowers]) -> Lab:
    """Lend the lab as it was at its start."""
    whole_lab[0].control.reset()
    return whole_lab[0]


@pytest.fixture
def reader(whole_lab: tuple[Lab, LogFollowers], lab: Lab) -> Iterator[LogReader]:
    """Follow the logs of two hosts, from now on."""
    reader = whole_lab[1].reader("test")
    seen = waited(reader, lambda seen, _: len(seen) == 2)
    assert set(seen) == {ESX_01.name, ESX_02.name}
    yield reader
    reader.end()


def waited(reader: LogReader, holds: Callable[[Seen, Mapping[str, LogNews]], bool]) -> Seen:
    """Take news until it holds; fail when it does not."""
    seen: Seen = {}
    deadline = time.monotonic() + 20
    while True:
        news = reader.news((ESX_01, ESX_02))
        for host, one in news.items():
            seen.setdefault(host, []).extend(one.lines)
        if holds(seen, news):
            return seen
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)


def test_what_a_host_writes_about_usb_comes_and_the_rest_is_left_out(lab: Lab, reader: LogReader) -> None:
    """A plug is a line of that host alone; what is about other things is not kept."""
    lab.control.log(ESX_01.name, "ScsiDeviceIO: nothing of interest")
    lab.control.unplug(ESX_01.name, "0/1/3")

    seen = waited(reader, lambda seen, _: bool(seen))

    assert [line.partition(")")[2] for line in seen[ESX_01.name]] == [
        "LabUsb: device gone at path:0/1/3: Verbatim STORE N GO"
    ]
    assert ESX_02.name not in seen


def test_a_log_that_is_rotated_is_followed_on(lab: Lab, reader: LogReader) -> None:
    """What comes into the new file is seen."""
    lab.control.log(ESX_01.name, "usb in the old file")
    lab.control.log(ESX_01.name, "usb in the new file", rotate=True)

    seen = waited(reader, lambda seen, _: "new file" in str(seen))

    assert len([line for line in seen[ESX_01.name] if "new file" in line]) == 1


def test_a_host_that_reboots_is_followed_again_and_that_is_news(lab: Lab, reader: LogReader) -> None:
    """The connection is made anew by itself; it says so, because lines may have been missed."""
    lab.control.post("/reboot", host=ESX_01.name)

    waited(reader, lambda _, news: ESX_01.name in news and news[ESX_01.name].reconnected)
    lab.control.log(ESX_01.name, "usb after the reboot")

    waited(reader, lambda seen, _: "after the reboot" in str(seen))


def test_a_shell_that_was_away_is_followed_when_it_is_there(lab: Lab, whole_lab: tuple[Lab, LogFollowers]) -> None:
    """A host without SSH at the start is no reason to give up, nor to hold up the others."""
    lab.control.service(ESX_01.name, "TSM-SSH", running=False)
    reader = whole_lab[1].reader("late")
    try:
        assert set(waited(reader, lambda seen, _: bool(seen))) == {ESX_02.name}
        lab.control.service(ESX_01.name, "TSM-SSH", running=True)
        waited(reader, lambda _, news: ESX_01.name in news)
    finally:
        reader.end()


def test_a_flood_keeps_the_newest_lines_only(lab: Lab, reader: LogReader) -> None:
    """Memory is bounded, however much a host writes while nobody reads."""
    lab.control.log(ESX_01.name, *(f"usb {number}" for number in range(5 * KEPT)))
    time.sleep(0.5)

    seen = waited(reader, lambda seen, _: f"usb {5 * KEPT - 1}" in str(seen))

    assert len(seen[ESX_01.name]) <= 2 * KEPT


def test_two_readers_of_one_host_get_every_line_each(lab: Lab, whole_lab: tuple[Lab, LogFollowers]) -> None:
    """Two watches of one host are two changes: neither takes the other's lines away."""
    readers = [whole_lab[1].reader(name) for name in ("one", "two")]
    try:
        for reader in readers:
            waited(reader, lambda seen, _: len(seen) == 2)
        lab.control.log(ESX_01.name, "usb for both")
        for reader in readers:
            waited(reader, lambda seen, _: "for both" in str(seen))
    finally:
        for reader in readers:
            reader.end()


lines = st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=8)


@settings(deadline=None)  # the machine may be busy
@given(lines, st.lists(st.integers(0, 30), max_size=12))
def test_lines_are_the_same_however_their_bytes_arrive(given_lines: list[bytes], sizes: list[int]) -> None:
    """Cut anywhere, the lines come whole and once, without what would steer a terminal."""
    data = b"".join(line + b"\n" for line in given_lines)
    cutter, found = LineCutter(), list[str]()
    for size in sizes:
        part, data = data[:size], data[size:]
        found += cutter.feed(part)
    found += cutter.feed(data)

    expected = list(LineCutter().feed(b"".join(line + b"\n" for line in given_lines)))
    assert found == expected
    assert len(found) == len(given_lines)
    assert all(char.isprintable() for line in found for char in line)


def test_a_line_without_an_end_takes_no_more_memory_than_the_longest() -> None:
    """What a broken or hostile host writes is dropped up to the line's end, and the next line is whole."""
    cutter = LineCutter()

    found = [line for _ in range(100) for line in cutter.feed(b"x" * 65536)]
    found += cutter.feed(b"tail\nnext\n")

    assert [len(line) for line in found] == [LONGEST, 4]
    assert found[1] == "next"
