"""Decide in Slack: the real service, the lab's Slack, and what people see there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from passgate.model.change import Door, EventType, State
from passgate.model.decision import Verdict
from tests.house import House, until
from tests.lab_site import LabError
from tests.slack_channel import ALICE, APPROVE, BOB, CAROL, DAVE, DENY, GUEST, Channel

ATTACHED = (
    "asked for",
    "The plan",
    "*Needs* 1 approval from operations",
    "Approved by Bob Berger in Slack",
    "Approved; not started yet",
    "In progress",
    "Start the USB arbitrator on esx-01.lab.example: nothing to do",
    "Shut down the guest of win-01",
    "Shut down the guest of win-01: done",
    "Add a USB 3 (xHCI) controller to win-01",
    "Add a USB 3 (xHCI) controller to win-01: done",
    "Add Verbatim STORE N GO to win-01",
    "Add Verbatim STORE N GO to win-01: done",
    "Power on win-01",
    "Power on win-01: done",
    "See Verbatim STORE N GO connected to win-01",
    "See Verbatim STORE N GO connected to win-01: done",
    "See Verbatim STORE N GO in the guest of win-01",
    "See Verbatim STORE N GO in the guest of win-01. *Seen in the guest*",
    "Done*",
    "evidence",
)


@pytest.fixture
def channel(house: House) -> Channel:
    """Show the channel."""
    return Channel(house)


def in_order(thread: list[str], wanted: tuple[str, ...]) -> list[str]:
    """Return what of the wanted words the thread does not say in that order, each in a message of its own."""
    rest = iter(thread)
    return [words for words in wanted if not any(words in one for one in rest)]


def test_an_approval_clicked_in_slack_carries_the_change_out_and_the_thread_tells_all_of_it(
    house: House, channel: Channel
) -> None:
    """R17, R24: One click is enough: done, names in place of the buttons, and the thread holds every step."""
    change = house.request(reason="Backup stick", ticket="CHG123")
    channel.shows_buttons(change)
    asked = channel.shown(change)
    assert "Alice Archer" in asked
    assert "Backup stick" in asked
    assert "CHG123" in asked
    assert "Shut down the guest of win-01" in asked

    assert channel.click(BOB, change)["acked"]
    ended = house.ends(change)
    thread = channel.told(change)

    assert ended.state is State.DONE, ended.outcome
    (decision,) = house.store.decisions(change.id)
    assert (decision.person, decision.door, decision.verdict) == ("bob", Door.SLACK, Verdict.APPROVE)
    assert in_order(thread, ATTACHED) == [], "\n".join(thread)
    assert len(thread) == len(set(thread)), "\n".join(thread)
    end = next(one for one in thread if "Done*" in one)
    assert f"<@{ALICE}>" in end
    assert "07A40901A2B3C4D5" in next(one for one in thread if "Seen in the guest" in one)
    channel.has_no_buttons(change)
    assert "Approved by Bob Berger in Slack" in channel.shown(change)
    assert len(channel.parents(change)) == 1


def test_a_denial_needs_a_reason_which_reaches_who_asked(house: House, channel: Channel) -> None:
    """R13, R18: Deny opens a dialog; without a reason nothing is decided, with one the change ends and says why."""
    change = house.request()
    channel.shows_buttons(change)

    empty = channel.click(BOB, change, DENY, fields={"reason": ""})
    assert empty["errors"], empty
    assert house.store.decisions(change.id) == ()

    house.lab.control.slack("submit", user=BOB, fields={"reason": "Not during the audit"})
    ended = house.ends(change)

    assert ended.state is State.DENIED
    assert "Not during the audit" in ended.outcome
    channel.has_no_buttons(change)
    shown = channel.shown(change)
    assert "Denied by Bob Berger in Slack" in shown
    assert "Not during the audit" in shown
    end = next(one for one in channel.told(change) if "Denied*" in one)
    assert f"<@{ALICE}>" in end
    assert "Not during the audit" in end
    assert house.touched() == []


@pytest.mark.parametrize(
    ("person", "words"),
    [(ALICE, "asked"), (DAVE, "operations"), (GUEST, "not know you")],
    ids=["who asked", "no group", "guest"],
)
def test_who_may_not_decide_is_told_so_privately_and_nothing_changes(
    house: House, channel: Channel, person: str, words: str
) -> None:
    """A click by somebody without the right is refused in a note that only they see; the buttons stay for others."""
    change = house.request()
    channel.shows_buttons(change)
    until(lambda: any("Needs" in one for one in channel.thread(change)), "the thread tells what it waits for")
    before = len(channel.notes(person))
    length = len(channel.thread(change))

    assert channel.click(person, change)["acked"]

    assert words in channel.note(person, after=before)
    assert house.store.change(change.id).state is State.WAITING
    assert house.store.decisions(change.id) == ()
    assert channel.buttons(change) == [APPROVE, DENY]
    assert len(channel.thread(change)) == length
    assert house.touched() == []


def test_double_and_concurrent_clicks_make_one_outcome(house: House, channel: Channel) -> None:
    """R21: Two people who click at once, and one who clicks twice, start one run and one set of steps."""
    house.lab.control.rename_vm("win-01", "pair-01")
    change = house.request(vm="pair-01")
    channel.shows_buttons(change)
    with ThreadPoolExecutor(6) as hands:
        clicks = [hands.submit(channel.click, person, change) for person in (BOB, CAROL) * 3]
        for one in clicks:
            # A click that comes after the end finds no button, as a person would.
            assert isinstance(one.exception(), LabError | None), one.exception()

    ended = house.ends(change)

    assert ended.state is State.DONE, ended.outcome
    assert {one.person for one in house.store.decisions(change.id)} == {"bob", "carol"}
    assert len(house.store.decisions(change.id)) == 2
    methods = [one["method"] for one in house.touched()]
    assert sorted(methods) == ["PowerOnVM_Task", "ReconfigVM_Task", "ReconfigVM_Task", "ShutdownGuest"]
    moves = [one.data["to"] for one in house.store.events(change=change.id) if one.type is EventType.STATE]
    assert moves == ["waiting", "approved", "applying", "done"]
    assert in_order(channel.told(change), ("(1 of 2)", "(2 of 2)", "In progress", "Done*")) == []


def test_a_click_that_comes_late_is_answered_privately(house: House, channel: Channel) -> None:
    """R27: Who clicks a button that stood there too long learns what became of the change; nothing else happens."""
    change = house.request()
    channel.shows_buttons(change)
    before = len(channel.notes(CAROL))
    # Slack fails every edit: the buttons stay although the change is over.
    house.lab.control.slack("faults", method="chat.update", error="internal_error", times=1000)
    house.call("alice", "POST", f"/v1/changes/{change.id}/withdraw", reason="not needed")
    assert house.store.change(change.id).state is State.WITHDRAWN

    assert channel.buttons(change) == [APPROVE, DENY]
    assert channel.click(CAROL, change)["acked"]

    note = channel.note(CAROL, after=before)
    assert "withdrawn" in note
    assert change.id in note
    assert house.store.decisions(change.id) == ()
    house.lab.control.slack("faults", clear=True)
    channel.has_no_buttons(change)
    assert house.touched() == []


def test_an_expired_change_loses_its_buttons_and_says_so(house: House, channel: Channel) -> None:
    """R28: Nobody decided in time: the change ends, the buttons go, and who asked is told what to do."""
    house.lab.control.rename_vm("win-01", "soon-over-01")
    change = house.request(vm="soon-over-01")
    channel.shows_buttons(change)

    ended = house.ends(change)

    assert ended.state is State.EXPIRED, ended.outcome
    channel.has_no_buttons(change)
    assert "Expired" in channel.shown(change)
    end = next(one for one in channel.told(change) if "Expired" in one)
    assert f"<@{ALICE}>" in end
    assert "ask again" in end
    assert house.touched() == []
