"""Failed attempts are told where people look: in the change's thread, in the journal and on Prefect's pages."""

from __future__ import annotations

from passgate.model.change import EventType, State
from tests.house import House, until
from tests.slack_channel import BOB, Channel

STEP = "Add a USB 3 (xHCI) controller to win-01"


def test_each_failed_attempt_is_told_with_its_reason_and_the_next_try(house: House) -> None:
    """The VM is busy twice: the thread tells both failures and when it is tried again, then that it worked."""
    channel = Channel(house)
    change = house.request()
    channel.shows_buttons(change)
    house.lab.control.fault("ReconfigVM_Task", "TaskInProgress", times=2)
    channel.click(BOB, change)

    ended = house.ends(change)
    thread = channel.told(change)

    assert ended.state is State.DONE, ended.outcome
    about = [one for one in thread if STEP in one]
    assert ["failed" in one for one in about] == [False, True, False, True, False, False], "\n".join(about)
    for number, failed in enumerate((about[1], about[3]), 1):
        assert f"attempt {number} failed" in failed
        assert "another task" in failed.lower()
        assert "Next try in" in failed
    assert "attempt 3" in about[4]
    assert "done" in about[5]
    entry = next(one for one in house.store.journal(change.id) if one.title == STEP)
    assert entry.attempts == 3
    told = [one for one in house.store.events(change=change.id) if one.type is EventType.STEP_ATTEMPT_FAILED]
    assert [one.data["attempt"] for one in told] == ["1", "2"]
    until(lambda: _run_count(house, ended.flow_run) == 3, "Prefect shows the retries")


def test_a_step_that_fails_for_good_is_told_and_taken_back(house: House) -> None:
    """A refusal is not tried again: the thread tells it, what was taken back, and how the change ended."""
    channel = Channel(house)
    change = house.request()
    channel.shows_buttons(change)
    house.lab.control.fault("ReconfigVM_Task", "NoPermission", times=1)
    channel.click(BOB, change)

    ended = house.ends(change)
    thread = channel.told(change)

    assert ended.state is State.UNDONE, ended.outcome
    failed = next(one for one in thread if "attempt 1 failed" in one)
    assert STEP in failed
    assert "No further try" in failed
    assert any("Shut down the guest of win-01: taken back" in one for one in thread), "\n".join(thread)
    end = next(one for one in thread if "Undone" in one)
    assert "<@U0ALICE>" in end
    assert STEP in end
    assert house.lab.control.vm("win-01")["power"] == "poweredOn"
    assert house.lab.control.vm("win-01")["controllers"] == []


def _run_count(house: House, flow_run: str | None) -> int:
    runs = house.prefect("POST", "/task_runs/filter", flow_runs={"id": {"any_": [flow_run]}}).json()
    return max((int(one["run_count"]) for one in runs if one["name"] == STEP), default=0)
