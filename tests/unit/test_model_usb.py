"""Name USB devices: whatever is written is either understood exactly or refused, and the right device is found."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from passgate.errors import AmbiguousNameError, InputError, UnknownNameError
from passgate.model.inventory import Host, HostUsbDevice
from passgate.model.usb import UsbSelector, canonical_path, vid_pid
from tests.scenarios.paper import HOST

ids = st.integers(0, 0xFFFF)
paths = st.lists(st.integers(0, 99), min_size=2, max_size=7).map(lambda parts: "/".join(map(str, parts)))
serials = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x17F, exclude_characters=","), min_size=1, max_size=20
).filter(str.isprintable)
spelled = st.sampled_from(["{:04x}:{:04x}", "0x{:x}:0x{:x}", "{:X}:{:04X}", " {:x}:{:x} "])


@given(st.tuples(ids, ids), spelled, st.none() | paths, st.none() | serials, st.randoms(use_true_random=False))
def test_a_selector_means_what_was_written(
    both: tuple[int, int], how: str, path: str | None, serial: str | None, chance: Random
) -> None:
    """Parts in any order and any spelling of hex come out as they were meant, and the text makes the same again."""
    vendor, product = both
    parts = [how.format(vendor, product)]
    parts += [f"path:{path}"] if path else []
    parts += [f"serial:{serial}"] if serial else []
    chance.shuffle(parts)
    selector = UsbSelector(",".join(parts))
    assert (selector.vendor, selector.product) == (vendor, product)
    assert (selector.path_part, selector.serial_part, selector.name) == (path, serial, None)
    adapter = TypeAdapter(UsbSelector)
    again = adapter.validate_json(adapter.dump_json(selector))
    assert (again, again.vendor, again.path_part, again.serial_part) == (selector, vendor, path, serial)
    assert again.matches(vendor, product, path or "0/1", serial or "S")
    assert not again.matches(vendor ^ 1, product, path or "0/1", serial or "S")
    assert not again.matches(vendor, product ^ 1, path or "0/1", serial or "S")
    assert serial is None or not again.matches(vendor, product, path or "0/1", None)
    assert path is None or not again.matches(vendor, product, None, serial or "S")


@given(st.text(max_size=40) | st.lists(st.sampled_from([":", ",", "/", "0", "f", "path", "serial", " "])).map("".join))
def test_any_other_text_is_refused_in_words(text: str) -> None:
    """Nothing in between: a text names something that can be matched, or is refused with what would be accepted."""
    made = understood(text)
    if isinstance(made, InputError):
        assert ("18a5:0302" in made.hint, made.subject) == (True, "device")
    else:
        assert made.name or made.vendor is not None or made.path_part or made.serial_part
        assert made.path_part is None or made.path_part.isascii()


def understood(text: str) -> UsbSelector | InputError:
    """Return what the text names, or why it is refused."""
    try:
        return UsbSelector(text)
    except InputError as error:
        return error


@pytest.mark.parametrize(
    "text",
    ["", ",", "18a5", "18a5:", "18a5:03022", "zz:11", "path:", "path:1", "path:0/1/", "path:0//1", "serial:", "a b",
     "18a5:0302,", "18a5:0302,stick", "18a5:0302,18a5:0302", "path:0/1,path:0/2", "serial:a\nb", "-1:2",
     "path:\u0660/\u0661"],
)  # fmt: skip
def test_these_are_refused(text: str) -> None:
    """Half a name is no name: guessing could take the wrong dongle."""
    with pytest.raises(InputError):
        UsbSelector(text)


@given(paths, st.permutations(["version:2", "autoclean:1", r"name:My\ path:9/9\ stick", "vid:18a5"]), st.integers(0, 4))
def test_a_path_is_found_wherever_it_stands_in_a_pattern(path: str, others: list[str], at: int) -> None:
    """What only describes does not count, and a name that holds `path:` deceives nobody."""
    pattern = " ".join([*others[:at], f"path:{path}", *others[at:]])
    assert canonical_path(pattern) == path
    assert canonical_path(path) == path


def test_patterns_without_a_path_are_compared_whole() -> None:
    """Two of them are the same only if they are the same text."""
    assert canonical_path(" vid:0529 pid:0001 ") == "vid:0529 pid:0001"


def some(number: int) -> HostUsbDevice:
    """Return one of a few devices that resemble each other."""
    product, path, serial = number % 2, number % 3, number % 4
    return HostUsbDevice(host=HOST, vendor=0x529, product=product, path=f"0/{path}", serial=f"S{serial}", name="HASP")


selectors = st.tuples(st.integers(0, 2), st.none() | st.integers(0, 3), st.none() | st.integers(0, 4))


@given(st.lists(st.integers(0, 11).map(some), max_size=6, unique_by=lambda one: one.path), selectors)
def test_a_host_returns_one_device_or_says_what_there_is(
    devices: list[HostUsbDevice], asked: tuple[int, int | None, int | None]
) -> None:
    """None and several are errors that list devices; one is that one."""
    product, path, serial = asked
    parts = [vid_pid(0x529, product)]
    parts += [] if path is None else [f"path:0/{path}"]
    parts += [] if serial is None else [f"serial:S{serial}"]
    meant = [
        one for one in devices
        if one.product == product
        and (path is None or one.path == f"0/{path}")
        and (serial is None or one.serial == f"S{serial}")
    ]  # fmt: skip
    host = Host(**HOST.model_dump(), usb=tuple(devices))
    if len(meant) == 1:
        assert host.usb_device(UsbSelector(",".join(parts))) is meant[0]
        return
    with pytest.raises(AmbiguousNameError if meant else UnknownNameError) as refused:
        host.usb_device(UsbSelector(",".join(parts)))
    listed = meant or devices
    assert all(one.words in refused.value.hint for one in listed)
