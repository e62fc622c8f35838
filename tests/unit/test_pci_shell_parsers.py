"""The parsers of lspci and of root hubs read real lines, survive any other, and never guess."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from passgate.connect.esxi_shell import parsers

CAPTURED = """0000:00:14.0 USB controller: Intel Corporation Cannon Lake PCH USB 3.1 xHCI Host Controller
0000:3b:00.0 RAID bus controller: Broadcom MegaRAID SAS Invader Controller [vmhba2]
00:1a.0 Serial bus controller: Intel Corporation Patsburg USB Enhanced Host Controller
0000:02:00.0 Ethernet controller: Intel Corporation I210 Gigabit Network Connection [vmnic0]
0000:01:00.0 Serial bus controller: QLogic Corp. ISP2532-based 8Gb Fibre Channel [vmhba3]
"""
hexa = st.integers(0, 255).map("{:02x}".format)
addresses = st.builds(
    lambda domain, bus, slot, function: f"{domain:04x}:{bus}:{slot}.{function}",
    st.integers(0, 0xFFFF), hexa, hexa, st.integers(0, 7),
)  # fmt: skip
words = st.text(string.ascii_letters + string.digits + " .()-/+", min_size=1, max_size=40).map(str.strip).filter(bool)
lines = st.builds(
    lambda address, kind, name, alias: (
        address, kind, name, alias, f"{address} {kind}: {name}{alias and f' [{alias}]'}",
    ),
    addresses, words, words, st.sampled_from(["", "vmnic0", "vmhba32"]),
)  # fmt: skip


def test_reads_captured_lines() -> None:
    """Addresses are whole and in lower case, the kernel's name is apart, and USB controllers are told by both words."""
    found = {one.address: one for one in parsers.lspci(CAPTURED)}
    assert [one.address for one in found.values() if one.is_usb_controller] == ["0000:00:14.0", "0000:00:1a.0"]
    assert (found["0000:3b:00.0"].alias, found["0000:3b:00.0"].kind) == ("vmhba2", "RAID bus controller")
    assert found["0000:02:00.0"].name == "Intel Corporation I210 Gigabit Network Connection"


def test_passes_over_what_is_no_function() -> None:
    """Decimal addresses of other tools, vmware's own listing and noise give nothing."""
    assert (
        parsers.lspci("0:237:0:0 USB controller: x\n00000:101:00.0 Ethernet: y\nlspci: not found\n\n0000:00:14.0") == ()
    )


def test_an_address_that_comes_twice_is_nobodys() -> None:
    """Two lines for one address can't both be true."""
    assert parsers.lspci("0000:00:14.0 USB controller: a\n0000:00:14.0 Ethernet controller: b\n") == ()


@given(st.lists(lines, max_size=8, unique_by=lambda one: one[0]), st.sampled_from(["\n", "\r\n"]))
def test_reads_back_what_lspci_writes(written: list[tuple[str, str, str, str, str]], end: str) -> None:
    """Every function of a listing is found, with its parts as they were."""
    text = "".join(f"{one[4]}{end}" for one in written)
    assert [(one.address, one.kind, one.name, one.alias) for one in parsers.lspci(text)] == [one[:4] for one in written]


@given(st.text())
def test_survives_any_text(text: str) -> None:
    """No input raises, and what is found has an address in the API's spelling."""
    assert all(parsers.BDF.fullmatch(one.address) for one in parsers.lspci(text))


@given(st.text(max_size=20))
def test_only_an_address_proves_a_bus(serial: str) -> None:
    """A serial that is not exactly an address, in lower case, maps nothing."""
    assert parsers.buses([(1, serial)]) == ({1: serial} if parsers.BDF.fullmatch(serial) else {})


@given(st.dictionaries(st.integers(1, 99), addresses, max_size=6))
def test_reads_back_root_hubs(named: dict[int, str]) -> None:
    """Every bus whose root hub bears an address is mapped to it."""
    assert parsers.buses(named.items()) == named


def test_root_hubs_that_disagree_prove_nothing() -> None:
    """One bus has one controller; a second word on it, or none, makes both worthless."""
    assert parsers.buses([(1, "0000:00:14.0"), (1, "0000:05:00.0"), (2, "0000:00:14.0")]) == {2: "0000:00:14.0"}
    assert parsers.buses([(1, "0000:00:14.0"), (1, None)]) == {}
    assert parsers.buses([(1, "0000:00:14.0\n"), (2, "0000:00:14.8"), (3, "00:14.0"), (4, "0000:00:1A.0")]) == {}
