"""Take away what Passgate leans on, one part after the other: nothing is lost, done twice or claimed."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

import pytest

from passgate.model.change import Change, EventType, State, StepState
from tests.house import House, until
from tests.slack_channel import Channel
from tests.workshop import Workshop

LONG = 600
"""Seconds or times that no test comes near: the test itself ends the outage."""
SENT_ONCE = Counter({"ShutdownGuest": 1, "ReconfigVM_Task": 2, "PowerOnVM_Task": 1})


def test_a_change_is_done_while_slack_is_down_and_the_thread_catches_up_in_order(house: House) -> None:
    """Slack is told nothing and stops nothing; when it is back the thread is whole, in order, nothing doubled."""
    channel = Channel(house)
    house.lab.control.slack("faults", down=LONG)
    change = house.request()
    house.decide("bob", change)
    ended = house.ends(change)
    assert ended.state is State.DONE, ended.outcome
    assert channel.parents(change) == []

    house.lab.control.slack("faults", clear=True)
    thread = channel.told(change)
    _is_whole(house, channel, thread, change.id)
    assert len(channel.parents(change)) == 1
    channel.has_no_buttons(change)


def test_answers_that_slack_lost_double_nothing(house: House) -> None:
    """A post that took effect while its answer was lost is found again, not sent again."""
    channel = Channel(house)
    change = house.request()
    channel.shows_buttons(change)
    house.lab.control.slack("faults", method="chat.postMessage", drop=True, after=True, times=2)
    house.lab.control.slack("faults", method="chat.postMessage", error="internal_error", times=1)
    house.decide("bob", change)
    house.ends(change)
    _is_whole(house, channel, channel.told(change), change.id)


def test_wrong_slack_tokens_keep_nothing_from_working_and_are_told(house: House) -> None:
    """The service starts with tokens that Slack refuses, says so in its status, and changes are done."""
    with _other_secret(house, "slack.bot_token", "xoxb-wrong-canary"):
        until(lambda: "token" in str(_chat(house)["trouble"]), "status tells of it", told=lambda: str(_chat(house)))
        assert "xoxb-wrong-canary" not in str(_chat(house))
        change = house.request()
        house.decide("bob", change)
        assert house.ends(change).state is State.DONE
        told = house.passgate("status")
        assert "Slack" in told.stdout, told.stdout + told.stderr
        assert "xoxb-wrong-canary" not in told.stdout
    _is_whole(house, Channel(house), Channel(house).told(change), change.id)


def test_a_vcenter_that_does_not_answer_refuses_the_request_in_words(house: House) -> None:
    """Nothing is filed; who asked learns which system did not answer."""
    before = house.store.changes(limit=1)
    _cut_vcenter(house)
    told = house.passgate("request", "usb-attach", "--vm", "win-01", "--device", "18a5:0302")
    assert told.returncode == 5, told.stderr
    assert house.lab.read("vcenter.url").removeprefix("https://").rstrip("/") in told.stderr
    assert "Traceback" not in told.stderr
    assert house.store.changes(limit=1) == before


def test_a_vcenter_that_does_not_answer_at_the_begin_is_waited_for(house: House) -> None:
    """An approved change waits, says why in its thread, and goes on by itself when vCenter is back."""
    channel = Channel(house)
    change = house.request()
    house.suspended(change)
    _cut_vcenter(house)
    house.decide("bob", change)
    until(lambda: any("can't begin yet" in one for one in channel.thread(change)), "the thread tells of the wait")
    assert house.store.change(change.id).state is State.APPROVED
    told = len(house.store.events(change=change.id))
    run = house.suspended(change)
    calls = _calls(house)
    house.prefect("POST", f"/flow_runs/{run}/resume")
    until(lambda: _calls(house) > calls, "it is tried again")
    house.suspended(change)
    assert len(house.store.events(change=change.id)) == told, "each further try adds to the record"

    house.lab.control.clear_faults()
    ended = house.ends(change)
    assert ended.state is State.DONE, ended.outcome
    assert _sent(house) == SENT_ONCE


@pytest.mark.parametrize("fault", ["Disconnect", "DisconnectAfter"])
def test_a_connection_that_breaks_in_the_middle_is_tried_again(workshop: Workshop, fault: str) -> None:
    """Whether the call took effect is looked at before it is sent again: each effect is there once."""
    change = workshop.request()
    workshop.suspended(change)
    workshop.lab.control.fault("ReconfigVM_Task", fault, times=1)
    workshop.lab.control.fault("PowerOnVM_Task", fault, times=1)
    workshop.decide("bob", change)
    ended = workshop.ends(change)
    assert ended.state is State.DONE, ended.outcome
    assert _sent(workshop) == SENT_ONCE
    vm = workshop.lab.control.vm("win-01")
    assert (vm["controllers"], len(vm["usb"])) == (["xhci"], 1)


def test_a_guest_that_refuses_the_login_ends_honestly(house: House) -> None:
    """Without the guest's own view there is no proof: the change does not say done, and what was done is taken back."""
    password = house.home / "lab/guest.windows.password"
    right = password.read_text(encoding="utf-8")
    password.write_text("wrong-canary\n", encoding="utf-8")
    try:
        change = house.request()
        house.decide("bob", change)
        ended = house.ends(change)
    finally:
        password.write_text(right, encoding="utf-8")
    assert ended.state is State.UNDONE, ended.outcome
    assert "guest" in ended.outcome
    assert "wrong-canary" not in ended.outcome
    vm = house.lab.control.vm("win-01")
    assert (vm["power"], vm["controllers"], vm["usb"]) == ("poweredOn", [], [])
    channel = Channel(house)
    end = next(one for one in channel.told(change) if "Undone" in one)
    shown = house.passgate("show", change.id).stdout
    for said in (end, channel.shown(change), shown[shown.index("Progress:") :]):
        assert "is connected to win-01" not in said, said


def test_a_device_that_was_pulled_out_after_the_approval_voids_it(workshop: Workshop) -> None:
    """What was approved can't be done any more: nothing is touched, and the end names the device."""
    change = workshop.request()
    workshop.suspended(change)
    workshop.lab.control.unplug("esx-01.lab.example", "0/1/3")
    workshop.decide("bob", change)
    ended = workshop.ends(change)
    assert ended.state is State.VOID, ended.outcome
    assert "18a5:0302" in ended.outcome
    assert workshop.touched() == []


def test_a_second_change_of_the_same_vm_waits_for_the_first(workshop: Workshop) -> None:
    """Two approved changes of one VM run one after the other: the second goes on when the first gave the VM back."""
    first, second = workshop.request(), workshop.request()
    workshop.suspended(second)
    workshop.suspended(first)
    # The first is refused in the middle and taken back, so that the world is again what the second was approved for.
    workshop.lab.control.fault("ReconfigVM_Task", "NoPermission", delay=2.0, times=1)
    workshop.decide("bob", first)
    workshop.becomes(first, State.APPLYING)
    until(lambda: workshop.store.journal(first.id)[2].state is StepState.INTENT, "the first is in the middle")
    workshop.decide("bob", second)
    until(lambda: _held_up(workshop, second), "the second waits", told=workshop.told(second))
    assert workshop.ends(first).state is State.UNDONE

    ended = workshop.ends(second)
    assert ended.state is State.DONE, ended.outcome


def test_a_step_that_can_not_be_recorded_is_not_run(house: House) -> None:
    """The ledger takes no intent: nothing is sent to vCenter while that lasts, and the change goes on after it."""
    change = house.request()
    house.suspended(change)
    with _unwritable_ledger(house, '"step.intent"'):
        house.decide("bob", change)
        house.becomes(change, State.APPLYING)
        until(lambda: house.run_state(change) in {"Failed", "AwaitingRetry"}, "the run gives up for now")
        assert house.touched() == []
        assert house.store.change(change.id).state is State.APPLYING
    assert house.ends(change).state is State.DONE


def test_a_change_waits_while_nothing_can_be_recorded_and_goes_on_after(house: House) -> None:
    """A full disk in the middle: no further call is sent while it lasts, and nothing is sent twice afterwards."""
    change = house.request()
    house.suspended(change)
    house.lab.control.fault("ShutdownGuest", delay=1.0, times=1)
    house.decide("bob", change)
    until(lambda: "ShutdownGuest" in _called(house), "the first step is under way", told=house.told(change))
    with _unwritable_ledger(house, ""):
        until(lambda: house.lab.control.vm("win-01")["power"] == "poweredOff", "the guest is down")
        until(lambda: "disk is full" in (house.home / "service.log").read_text(), "the service tells its log")
        assert _sent(house) == Counter({"ShutdownGuest": 1})
        assert house.store.change(change.id).state is State.APPLYING

    ended = house.ends(change)

    assert ended.state is State.DONE, ended.outcome
    assert max(_sent(house)[method] for method in ("ShutdownGuest", "PowerOnVM_Task")) == 1
    assert house.lab.control.vm("win-01")["power"] == "poweredOn"


def test_a_decision_that_can_not_be_anchored_is_not_taken(house: House) -> None:
    """The file outside the database can't be written: who decides is told so, and nothing of it counts."""
    change = house.request()
    house.suspended(change)
    anchors, aside = house.home / "anchors.log", house.home / "anchors.aside"
    anchors.rename(aside)
    anchors.mkdir()
    try:
        told = house.passgate("approve", change.id, person="bob")
    finally:
        anchors.rmdir()
        aside.rename(anchors)
    assert told.returncode == 7, told.stdout + told.stderr
    assert "anchors.log" in told.stderr
    assert house.store.decisions(change.id) == ()
    assert house.touched() == []

    assert house.passgate("approve", change.id, person="bob").returncode == 0
    assert house.ends(change).state is State.DONE


def _is_whole(house: House, channel: Channel, thread: list[str], change: str) -> None:
    """Check that the thread tells each step's begin and end once, in the journal's order."""
    told = house.store.journal(change)
    places = []
    for entry in told:
        own = [place for place, one in enumerate(thread) if f"Step {entry.index + 1} of {len(told)}," in one]
        expected = 1 if entry.state is StepState.NOT_NEEDED else 2
        assert len(own) == expected, f"{entry.title}: {own}\n" + "\n".join(thread)
        places += own
    assert places == sorted(places), "\n".join(thread)
    assert len(thread) == len(set(thread)), "\n".join(thread)


def _cut_vcenter(house: House) -> None:
    house.lab.control.fault("*", "Disconnect", times=LONG)


def _chat(house: House) -> dict[str, object]:
    told: dict[str, object] = house.call("alice", "GET", "/v1/status").json()["chat"]
    return told


def _sent(house: House) -> Counter[str]:
    return Counter(one["method"] for one in house.touched() if one["accepted"])


def _calls(house: House) -> int:
    return sum(house.lab.control.get("/calls")["calls"].values())


def _called(house: House) -> set[str]:
    return {one["method"] for one in house.touched()}


def _held_up(house: House, change: Change) -> bool:
    return any(one.type is EventType.HELD_UP for one in house.store.events(change=change.id))


@contextlib.contextmanager
def _other_secret(house: House, name: str, text: str) -> Iterator[None]:
    """Run the service with another secret in one of its files, and put it right again."""
    path = house.home / "lab" / name
    right = path.read_text(encoding="utf-8")

    def restart(secret: str) -> None:
        house.kill_service()
        path.write_text(secret, encoding="utf-8")
        house.up()

    restart(text)
    try:
        yield
    finally:
        restart(right)


@contextlib.contextmanager
def _unwritable_ledger(house: House, kind: str) -> Iterator[None]:
    """Let the database refuse events of that kind, as a full disk would refuse all of them."""
    house.sql(
        "create trigger outage before insert on ledger "
        f"when instr(new.body, cast('{kind}' as blob)) > 0 begin select raise(abort, 'disk is full'); end"
    )
    try:
        yield
    finally:
        house.sql("drop trigger outage")
