"""Decide in Slack on what a schedule repeats and on what a freeze holds up: over its real wires, with the real desk."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from passgate.engine.desk import Desk
from passgate.engine.runtime import open_runtime
from passgate.faces.chat.buttons import STAND
from passgate.faces.chat.overriding import OVERRIDE
from passgate.model.change import Actor, Change, Door, State
from passgate.model.decision import Verdict
from passgate.settings.schedules import ScheduleRule
from tests.faces.served import NoBell
from tests.faces.test_chat_ask import ALICE, BOB, CHANNEL, GUEST, ROOT, Site, until
from tests.lab_site import Lab

Json = dict[str, Any]
DAVE = "U0DAVE"
AUTHOR = Actor(person="alice", door=Door.CLI)
RULE = {"name": "weekly", "runbook": "usb-attach", "ask": {"vm": "win-01", "device": "18a5:0302"}, "author": "alice"}
FREEZE = """
freezes:
  - name: stocktaking
    text: Stocktaking, CHG0031000
    runbooks: [usb-controller-add]
    when: [{start: 2020-01-01 00:00, duration: 366d, rrule: FREQ=YEARLY}]
    override: [operations]
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run a lab in which controllers are frozen for ever."""
    with Lab.start(tmp_path_factory.mktemp("calendar")) as found:
        (found.config / "calendar/30-stocktaking.yaml").write_text(FREEZE, encoding="utf-8")
        yield found


@pytest.fixture
def site(lab: Lab) -> Iterator[Site]:
    """Run the engine on a fresh world."""
    lab.control.reset()
    runtime = open_runtime(lab.home, ROOT, lab.config)
    yield Site(lab, runtime)
    runtime.estate.close()
    runtime.store.close()


def message(site: Site, change: Change) -> Json:
    """Return the change's message in the channel, if there is one."""
    return next((one for one in site.state()["messages"][CHANNEL] if f"{change.id} ·" in one["text"]), {})


async def test_an_approval_stands_for_later_runs_by_a_button(site: Site) -> None:
    """R34: With a day and a reason, never the author's, within policy; Bob's Home lists it until it is revoked."""
    desk, now = Desk(site.runtime, NoBell()), datetime.now(UTC)
    await desk.schedules.add(ScheduleRule(**RULE, cron="0 18 * * FRI", zone="UTC"), AUTHOR)
    first = await desk.schedules.run("weekly", AUTHOR)
    day = (now + timedelta(days=30)).date()
    async with site.chat():
        await until(lambda: STAND in str(message(site, first)))
        await site.act("home", user=BOB)
        click = {"message_ts": message(site, first)["ts"], "action_id": STAND}
        fields = {"until": day.isoformat(), "reason": "the same each week"}
        told = await site.act("click", user=BOB, fields={**fields, "until": "2099-01-01"}, **click)
        assert "lets an approval stand for 90d" in told["errors"]["until"]
        assert (await site.act("click", user=ALICE, fields=fields, **click))["acked"]
        await until(lambda: site.notes(ALICE))
        assert site.runtime.store.decisions(first.id) == ()
        assert (await site.act("click", user=BOB, fields=fields, **click))["acked"]
        await until(lambda: "stands for later runs" in str(message(site, first)))
        await until(lambda: "Your approvals that stand" in site.home(BOB) and "*weekly*" in site.home(BOB))
        (vote,) = site.runtime.store.decisions(first.id)
        assert (vote.person, vote.reason, vote.door) == ("bob", fields["reason"], "slack")
        assert vote.standing_until == datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)
        await desk.withdraw(first.id, AUTHOR, "enough seen")
        later = await desk.schedules.run("weekly", AUTHOR)
        assert later.state is State.APPROVED
        desk.schedules.revoke("weekly", AUTHOR)
        await until(lambda: "Your approvals that stand" not in site.home(BOB))


async def test_a_freeze_is_overridden_by_a_button(site: Site) -> None:
    """R37: Only those whom the freeze names are asked for the reason, and never who asked; the others are told why."""
    desk, carol = Desk(site.runtime, NoBell()), Actor(person="carol", door=Door.CLI)
    change = await desk.request("usb-controller-add", {"vm": "lnx-02", "reason": "a scanner"}, AUTHOR)
    await desk.decide(change.id, carol, Verdict.APPROVE)
    assert site.runtime.store.change(change.id).state is State.SCHEDULED
    button = f"{OVERRIDE}:0"
    async with site.chat():
        await until(lambda: button in str(message(site, change)))
        assert "The freeze *stocktaking* (Stocktaking, CHG0031000) holds it up until" in str(message(site, change))
        click = {"message_ts": message(site, change)["ts"], "action_id": button}
        for user, why in ((ALICE, "asks for it"), (DAVE, "is not among those"), (GUEST, "does not know you")):
            await site.act("click", user=user, **click)
            await until(lambda user=user, why=why: why in "".join(site.notes(user)))  # type: ignore[misc] # bound now
            assert site.dialog(user) is None
        assert (await site.act("click", user=BOB, fields={"reason": "The till is down"}, **click))["acked"]
        await until(lambda: button not in str(message(site, change)))
        await until(lambda: "*The freeze stocktaking was overridden*" in str(site.state()["threads"]))
    (given,) = site.runtime.store.change(change.id).overrides
    assert (given.person, given.freeze, given.reason, given.door) == ("bob", "stocktaking", "The till is down", "slack")
