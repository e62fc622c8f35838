"""Prove what two readings of a host make news of, and that nothing else is news."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passgate.model.census import EstateReading, HostReading
from passgate.model.inventory import Arbitrator, Host, HostUsbDevice, Power, Vm
from passgate.model.watch import HostState, News, NewsKind, compared, states_of
from passgate.model.watching import A_MINUTE, KEPT_NEWS, LINE, LINES, MINUTE, STANDING, Watching
from tests.scenarios.paper import HOST, entry, machine, stick

WHEN = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
NAMES_IT = machine(usb=(entry(connected=True, vendor=0x18A5, product=0x0302),))
LOST_IT = machine(usb=(entry(vendor=0x18A5, product=0x0302),))
STRANGER = stick(vendor=0x0781, product=0x5583, serial="X1", name="Ultra Fit")


def reading(
    *usb: HostUsbDevice, vms: Iterable[Vm] = (), failed: str | None = None, at: datetime = WHEN, **host: Any
) -> EstateReading:
    """Return the reading of one host with these devices."""
    one = Host(**{**HOST.model_dump(), "arbitrator": Arbitrator.RUNNING, "usb": usb, **host})
    told = HostReading(host=one, failed=failed)
    return EstateReading(read_at=at, readings=(told,), hosts=(one,), vms=tuple(vms))


def state(*usb: HostUsbDevice, **how: Any) -> HostState:
    """Return the state of that host."""
    return states_of(reading(*usb, **how))[HOST.ref]


def news(before: HostState, *after: HostState) -> list[tuple[NewsKind, str, str]]:
    """Return kind, path and VM of the news of each state after the first."""
    found: list[News] = []
    known = compared(None, before)[1]
    for one in after:
        told, known = compared(known, one)
        found += told
    return [(one.kind, one.place, one.vm) for one in found]


HAS, HAS_NOT = {"vms": (NAMES_IT,)}, {"vms": (LOST_IT,)}
CASES = {
    "nothing": ([state(stick()), state(stick())], []),
    "a device that comes": ([state(), state(stick())], [(NewsKind.PLUG, "0/1/3", "")]),
    "a device that goes": ([state(stick()), state()], [(NewsKind.UNPLUG, "0/1/3", "")]),
    "other ids at the same path": ([state(stick()), state(STRANGER)], [(NewsKind.SWAP, "0/1/3", "")]),
    "a twin in its place": ([state(stick()), state(stick(serial="other"))], [(NewsKind.SWAP, "0/1/3", "")]),
    "the same device with other numbers": ([state(stick()), state(stick(bus=7, device=99))], []),
    "a serial that can't be read now": ([state(stick()), state(stick(serial=None))], []),
    "a twin in its place, while serials could not be read": (
        [state(stick()), state(stick(serial=None)), state(stick(serial="other"))], [(NewsKind.SWAP, "0/1/3", "")],
    ),
    "another port": ([state(stick()), state(stick(path="0/1/9"))], [(NewsKind.MOVED, "0/1/9", "")]),
    "pulled out, then another one at a path that a VM names": (
        [state(stick(), **HAS), state(**HAS_NOT), state(STRANGER, **HAS)],
        [(NewsKind.UNPLUG, "0/1/3", ""), (NewsKind.FELL_OFF, "0/1/3", "win-01"), (NewsKind.SWAP, "0/1/3", ""),
         (NewsKind.CONNECTED, "0/1/3", "win-01")],
    ),
    "pulled out, and back": (
        [state(stick(), **HAS), state(**HAS_NOT), state(stick(), **HAS)],
        [(NewsKind.UNPLUG, "0/1/3", ""), (NewsKind.FELL_OFF, "0/1/3", "win-01"), (NewsKind.PLUG, "0/1/3", ""),
         (NewsKind.CONNECTED, "0/1/3", "win-01")],
    ),
    "fell off though it is plugged in": (
        [state(stick(), **HAS), state(stick(), **HAS_NOT)], [(NewsKind.FELL_OFF, "0/1/3", "win-01")],
    ),
    "a reading of the VM that is older than that of its host": (
        [state(stick(), **HAS), state(**HAS)], [(NewsKind.UNPLUG, "0/1/3", ""), (NewsKind.FELL_OFF, "0/1/3", "win-01")],
    ),
    "a VM that is powered off has lost nothing": (
        [state(stick(), **HAS), state(stick(), vms=(machine(power=Power.OFF, usb=(entry(),)),))], [],
    ),
    "an entry that somebody removed is no loss": ([state(stick(), **HAS), state(stick(), vms=(machine(),))], []),
    "the arbitrator stops, and runs again": (
        [state(stick(), **HAS), state(arbitrator=Arbitrator.STOPPED, **HAS_NOT), state(stick(), **HAS)],
        [(NewsKind.ARBITRATOR_STOPPED, "", ""), (NewsKind.FELL_OFF, "0/1/3", "win-01"),
         (NewsKind.ARBITRATOR_STARTED, "", ""), (NewsKind.CONNECTED, "0/1/3", "win-01")],
    ),
    "pulled out while the arbitrator was stopped": (
        [state(stick()), state(arbitrator=Arbitrator.STOPPED), state()],
        [(NewsKind.ARBITRATOR_STOPPED, "", ""), (NewsKind.ARBITRATOR_STARTED, "", ""), (NewsKind.UNPLUG, "0/1/3", "")],
    ),
    "what the shell shows while it is stopped is no news": (
        [state(stick()), state(stick(path=None, offered=False), arbitrator=Arbitrator.STOPPED), state(stick())],
        [(NewsKind.ARBITRATOR_STOPPED, "", ""), (NewsKind.ARBITRATOR_STARTED, "", "")],
    ),
    "the shell goes and comes": (
        [state(stick()), state(stick(serial=None), shell_error="x", arbitrator=Arbitrator.UNKNOWN), state(stick())],
        [(NewsKind.SHELL_LOST, "", ""), (NewsKind.SHELL_BACK, "", "")],
    ),
    "the host goes, a device with it, and the host comes": (
        [state(stick()), state(failed="gone"), state(failed="gone"), state()],
        [(NewsKind.HOST_LOST, "", ""), (NewsKind.HOST_BACK, "", ""), (NewsKind.UNPLUG, "0/1/3", "")],
    ),
    "a keyboard": (
        [state(), state(stick(path=None, offered=False)), state()],
        [(NewsKind.PLUG, "", ""), (NewsKind.UNPLUG, "", "")],
    ),
    "a device that is offered now": ([state(stick(path=None, offered=False)), state(stick())], []),
    "a device that is not offered any more": (
        [state(stick()), state(stick(path=None, offered=False))], [(NewsKind.UNPLUG, "0/1/3", "")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_difference_is_its_own_news(case: str) -> None:
    """Kind, path and VM of the smallest differences, one after the other."""
    (first, *later), told = CASES[case]

    assert news(first, *later) == told


def test_how_things_stand_at_the_start_is_told_only_where_something_is_away() -> None:
    """The first reading has nothing to be compared with."""
    assert compared(None, state(stick(), **HAS))[0] == ()
    assert [one.kind for one in compared(None, state(arbitrator=Arbitrator.STOPPED, shell_error="x"))[0]] == [
        NewsKind.SHELL_LOST, NewsKind.ARBITRATOR_STOPPED,
    ]  # fmt: skip
    assert [one.kind for one in compared(None, state(failed="x"))[0]] == [NewsKind.HOST_LOST]


def test_a_swap_says_which_vm_takes_the_stranger() -> None:
    """Autoconnect follows the path: who reads the news must know whose VM has the stranger."""
    told, _ = compared(compared(None, state(stick(), **HAS))[1], state(STRANGER, **HAS))

    assert "Ultra Fit (0781:5583 at path:0/1/3, serial X1) answers now in place of" in told[0].words
    assert "win-01 names that path" in told[0].words


def test_a_stranger_where_a_vm_expects_other_ids_is_a_swap_though_nobody_saw_the_first_one() -> None:
    """The watch began after the dongle was pulled out: the VM's entry still says what was there."""
    off = machine(power=Power.OFF, usb=(entry(vendor=0x18A5, product=0x0302),))

    assert news(state(vms=(off,)), state(STRANGER, vms=(off,))) == [(NewsKind.SWAP, "0/1/3", "")]


paths = st.sampled_from([None, "0/1/1", "0/1/2", "0/2/1"])
devices = st.lists(
    st.builds(
        lambda path, one, serial: stick(path=path, vendor=one, serial=serial, offered=path is not None),
        paths, st.sampled_from([0x0529, 0x18A5]), st.sampled_from([None, "A", "B"]),
    ),
    max_size=4, unique_by=lambda one: one.path or id(one),
)  # fmt: skip
machines = st.lists(
    st.builds(
        lambda number, power, path, has: machine(
            f"win-{number}", number, power=power,
            usb=(entry(path, connected=has),),
        ),
        st.integers(1, 3), st.sampled_from(Power), st.sampled_from(["0/1/1", "0/1/2"]), st.booleans(),
    ),
    max_size=3, unique_by=lambda one: one.ref,
)  # fmt: skip
states = st.builds(
    lambda usb, vms, arbitrator, shell, failed: state(
        *usb, vms=vms, arbitrator=arbitrator, shell_error=shell, failed=failed
    ),
    devices, machines, st.sampled_from(Arbitrator), st.sampled_from([None, "no shell"]),
    st.sampled_from([None, None, None, "gone"]),
)  # fmt: skip


@settings(deadline=None)  # the machine may be busy
@given(st.lists(states, min_size=1, max_size=5))
def test_no_change_is_no_news_whatever_came_before(seen: list[HostState]) -> None:
    """A reading that is like the last one tells nothing, after any history."""
    known: HostState | None = None
    for one in seen:
        known = compared(known, one)[1]

    assert compared(known, seen[-1])[0] == ()


@settings(deadline=None)  # the machine may be busy
@given(devices, st.lists(st.tuples(st.integers(0, 9), st.integers(0, 99)), min_size=4, max_size=4), st.randoms())
def test_numbers_and_order_are_no_news(usb: list[HostUsbDevice], numbers: list[tuple[int, int]], dice: Any) -> None:
    """What lsusb numbers anew, or lists in another order, is the same device."""
    again = [one.model_copy(update={"bus": bus, "device": at}) for one, (bus, at) in zip(usb, numbers, strict=False)]
    dice.shuffle(again)

    assert news(state(*usb), state(*again)) == []


@settings(deadline=None)  # the machine may be busy
@given(devices, devices)
def test_what_came_and_went_adds_up(before: list[HostUsbDevice], after: list[HostUsbDevice]) -> None:
    """At each path the news says what the two readings say: came, went, exchanged, or nothing."""
    old = {one.path: one for one in before if one.path}
    new = {one.path: one for one in after if one.path}
    told = news(state(*before), state(*after))

    for path in old.keys() | new.keys():
        kinds = {kind for kind, place, _ in told if place == path}
        if path in old and path in new:
            one, two = old[path], new[path]
            differ = one.vendor != two.vendor or (one.serial and two.serial and one.serial != two.serial)
            assert kinds == ({NewsKind.SWAP} if differ else set())
        elif path in new:
            assert kinds <= {NewsKind.PLUG, NewsKind.MOVED}
        else:
            assert kinds <= {NewsKind.UNPLUG}


# The watch: what is told of the news, and when.


def watching(minutes: int = 60) -> Watching:
    """Return a watch that has begun, with an empty port."""
    begun = Watching(until=WHEN + timedelta(minutes=minutes)).with_reading(reading(), WHEN, timedelta())
    return begun.told()


def test_the_first_message_says_how_things_stand() -> None:
    """Until when it goes on, and the first findings; all of them are in the table."""
    many = [machine(f"win-{at}", at, power=Power.OFF, usb=(entry(f"0/9/{at}"),)) for at in range(1, STANDING + 3)]

    begun = Watching(until=WHEN + MINUTE).with_reading(reading(vms=many), WHEN, timedelta())

    (first,) = begun.to_tell
    assert first.words.startswith("Watching until 08:01:00 UTC. At the start: 1 of 1 host read")
    assert first.words.count("where no device is offered") == STANDING
    assert "2 more" in first.words
    assert begun.summary.startswith("1 host watched until 08:01:00 UTC, 1 look: ")
    assert len(begun.table().rows) == STANDING + 2


def test_each_thing_is_told_once_with_its_number() -> None:
    """A second look at the same world has nothing to tell; numbers never repeat."""
    watch = watching().with_reading(reading(stick()), WHEN + timedelta(seconds=5), timedelta())
    (told,) = watch.to_tell

    again = watch.told().with_reading(reading(stick()), WHEN + timedelta(seconds=10), timedelta())

    assert again.to_tell == ()
    assert (told.number, told.facts["message"]) == (2, "2")


def test_a_flood_is_told_in_part_and_its_sum_when_the_minute_is_over() -> None:
    """Ten messages a minute; the rest is counted by kind, and is whole in the table."""
    flood = [stick(path=f"0/{at}/1", product=at) for at in range(1, 31)]
    watch = watching().with_reading(reading(*flood), WHEN, timedelta())

    assert len(watch.to_tell) == A_MINUTE
    assert watch.told().at_moment(WHEN + timedelta(seconds=59)).to_tell == ()
    (last,) = watch.told().at_moment(WHEN + MINUTE).to_tell
    assert "20 more since 08:00:00: 20 plugged in" in last.words
    assert len(watch.table().rows) == 30


def test_what_was_held_back_is_told_at_the_end_at_the_latest() -> None:
    """A watch that ends within the minute leaves nothing untold."""
    flood = [stick(path=f"0/{at}/1", product=at) for at in range(1, 31)]
    watch = watching(minutes=0).with_reading(reading(*flood), WHEN, timedelta()).at_moment(WHEN)

    assert len(watch.to_tell) == A_MINUTE + 1


def test_the_table_is_bounded_and_says_what_it_leaves_out() -> None:
    """A device that comes and goes every second must not fill the disk."""
    watch = watching()
    for at in range(3):
        usb = [stick(path=f"0/{one}/1", product=one) for one in range(1000)] if at % 2 == 0 else []
        watch = watch.with_reading(reading(*usb), WHEN, timedelta()).told()

    assert len(watch.table().rows) == KEPT_NEWS
    assert "1000 more are only counted" in watch.table().title


def test_lines_of_a_log_call_for_a_look_and_are_shown_and_nothing_else() -> None:
    """Only the last few, cut; a host without news has nothing to show them with."""
    at = WHEN + timedelta(seconds=2)
    watch = watching().with_lines(HOST.name, [f"usb {number} " + "x" * 500 for number in range(9)])

    assert watching().is_due(at) is False
    assert watch.is_due(at) is True
    (told,) = watch.with_reading(reading(stick()), at, timedelta()).to_tell
    assert told.words.count("usb ") == LINES
    assert max(map(len, told.facts["log"].split(" | "))) == LINE
    assert watch.with_reading(reading(), at, timedelta()).to_tell == ()


def test_after_news_the_next_look_comes_soon() -> None:
    """What follows from a change, such as a VM that gets or loses the device, comes moments later."""
    watch = watching().with_reading(reading(stick()), WHEN, timedelta())

    assert watch.is_due(WHEN + timedelta(seconds=1)) is True
    assert watch.with_reading(reading(stick()), WHEN, timedelta()).is_due(WHEN + timedelta(seconds=1)) is False


def test_a_slow_look_is_followed_by_a_longer_pause() -> None:
    """A watch of thousands of hosts is no constant load, however much their logs say."""
    slow = watching().with_reading(reading(), WHEN, timedelta(seconds=30)).with_lines(HOST.name, ["usb"])

    assert slow.is_due(WHEN + timedelta(seconds=119)) is False
    assert slow.is_due(WHEN + timedelta(seconds=120)) is True


def test_a_vcenter_that_is_away_is_told_once_and_when_it_is_back_with_what_changed() -> None:
    """What was seen before it went is what the next reading is compared with."""
    watch = watching().without_reading("no answer", WHEN, timedelta()).without_reading("still none", WHEN, timedelta())
    assert [one.words.partition(" ")[2] for one in watch.to_tell] == ["nothing can be read: no answer"]

    back = watch.told().with_reading(reading(stick()), WHEN, timedelta())

    assert [one.facts["what"] for one in back.to_tell] == ["vCenter back", "plugged in"]


@settings(deadline=None, max_examples=30)  # the machine may be busy
@given(st.lists(st.tuples(devices, st.integers(0, 90)), max_size=4))
def test_a_watch_that_was_written_down_goes_on_as_if_nothing_had_been(looks: list[tuple[Any, int]]) -> None:
    """Each look after a restart tells what it would have told without one."""
    one = other = watching()
    at = WHEN
    for usb, seconds in looks:
        at += timedelta(seconds=seconds)
        one = one.with_reading(reading(*usb), at, timedelta()).at_moment(at)
        other = Watching.model_validate_json(other.model_dump_json())
        other = other.with_reading(reading(*usb), at, timedelta()).at_moment(at)
        assert other == one
