"""Promise: where policy takes no decisions in Slack (R14), the message has no buttons and says how else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from passgate.connect.slack import Mark, SlackConnector
from passgate.faces.chat.clicks import Seal
from passgate.faces.chat.elsewhere import elsewhere
from passgate.model.change import Change, State
from passgate.model.decision import PLAN
from tests.faces.test_chat import ALICE, BOT, CHANNEL, ENGINE, ORIGIN, TERMS, Place, now, place, plan, until

__all__ = ["place"]


def waiting(place: Place, *doors: str) -> Change:
    """File a change on which decisions are taken only by these doors, and bring it to the gate."""
    change = place.store.file_change("usb-attach", {"vm": "win-01"}, ALICE, "Backup", "CHG123", now())
    terms = TERMS.model_copy(update={"doors": doors})
    place.store.save_plan(change.id, plan(), terms, now() + timedelta(hours=8), now())
    return place.store.move(change.id, State.WAITING, ENGINE, "needs 1 approval", now())


async def test_a_change_that_is_not_decided_in_slack_shows_no_buttons(place: Place) -> None:
    """R14: the message says by which door it is decided instead, in blocks and in text."""
    async with place.chat():
        change = waiting(place, "cli")
        parent = await place.parent(change.id)
    how = f"Decide at a shell, with `passgate approve {change.id}` or `passgate deny {change.id}`."
    assert "button" not in str(parent["blocks"])
    assert how in str(parent["blocks"])
    assert how in parent["text"]


@pytest.mark.parametrize("action", ["passgate_approve", "passgate_deny"])
async def test_a_click_on_a_button_of_before_is_refused_privately(place: Place, action: str) -> None:
    """R14: a button that should not be there decides nothing; who clicked is told alone how to decide instead."""
    change = waiting(place, "cli")
    button = {"type": "button", "action_id": action, "text": {"type": "plain_text", "text": "Click"}}
    block = {"type": "actions", "elements": [{**button, "value": Seal(BOT, ORIGIN)(change)}]}
    async with place.chat() as chat, SlackConnector(bot_token=BOT, api_url=place.slack.api_url) as slack:
        await place.connected(chat)
        ts = await slack.post(CHANNEL, "A message of before", [block], mark=Mark("other"))
        told = await place.click("U0BOB", action, message_ts=ts)
        assert told["acked"]
        await until(lambda: any("no decisions" in note for note in place.notes("U0BOB")))
        assert place.notes("U0ALICE") == []
    assert place.desk.asked == 0
    assert place.store.decisions(change.id) == ()


def test_other_doors_are_named_with_what_to_do_there(place: Place) -> None:
    """At a second gate the command names it; where Slack is among the doors, nothing is said."""
    change = waiting(place, "api", "cli")
    assert f"`passgate approve {change.id} --gate host-reboot`" in elsewhere(change, "host-reboot")
    assert "through the API or at a shell" in elsewhere(change)
    assert elsewhere(waiting(place, "slack", "cli"), PLAN) == ""
    assert elsewhere(waiting(place), PLAN) == ""
