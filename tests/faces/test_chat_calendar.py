"""Decide in Slack on what a schedule repeats, over its real wires, with the real desk."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from passgate.engine.desk import Desk
from passgate.engine.runtime import open_runtime
from passgate.faces.chat.buttons import STAND
from passgate.model.change import Actor, Change, Door, State
from passgate.settings.schedules import ScheduleRule
from tests.faces.served import NoBell
from tests.faces.test_chat_ask import ALICE, BOB, CHANNEL, ROOT, Site, until
from tests.lab_site import Lab

Json = dict[str, Any]
AUTHOR = Actor(person="alice", door=Door.CLI)
RULE = {"name": "weekly", "runbook": "usb-attach", "ask": {"vm": "win-01", "device": "18a5:0302"}, "author": "alice"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run a lab."""
    with Lab.start(tmp_path_factory.mktemp("calendar")) as found:
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
