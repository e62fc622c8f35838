"""Decide in Slack with a reason, and take a decision back: over real HTTP and a real websocket."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from passgate.model.change import Change, State
from passgate.model.decision import Verdict
from passgate.store.tables import inbox
from tests.faces.test_chat import ALICE, ENGINE, TERMS, Place, now, place, plan, until

__all__ = ["place"]  # the fixture

APPROVE, RETRACT = "passgate_approve", "passgate_retract"


def waiting(place: Place, **terms: Any) -> Change:
    """File a change and bring it to the gate, with terms of its own."""
    change = place.store.file_change("usb-attach", {"vm": "win-01"}, ALICE, "Backup", None, now())
    asked = TERMS.model_copy(update=terms)
    place.store.save_plan(change.id, plan(), asked, now() + timedelta(hours=8), now())
    return place.store.move(change.id, State.WAITING, ENGINE, "needs 1 approval", now())


async def test_policy_may_ask_why_it_is_approved(place: Place) -> None:
    """R13, R18: Where a reason is demanded, Approve opens a dialog for it, and the reason stands in the record."""
    async with place.chat() as chat:
        await place.connected(chat)
        change = waiting(place, reason_required=True)
        await place.parent(change.id)
        told = await place.click("U0BOB", APPROVE, fields={"reason": "after hours"})
        assert told["acked"]
        await until(lambda: place.store.decisions(change.id))
    (decision,) = place.store.decisions(change.id)
    assert (decision.person, decision.verdict, decision.reason) == ("bob", Verdict.APPROVE, "after hours")


async def test_an_approval_is_taken_back_by_who_gave_it_alone(place: Place) -> None:
    """R10, R27: Carol is told that there is none of hers, Bob takes his back; a late copy is nothing."""
    async with place.chat() as chat:
        await place.connected(chat)
        change = waiting(place)
        await place.parent(change.id)
        place.slack.spoil("duplicate")
        await place.click("U0BOB", APPROVE)
        await until(lambda: RETRACT in str(place.parents()))
        await place.click("U0CAROL", RETRACT)
        await until(lambda: any("no decision" in one and change.id in one for one in place.notes("U0CAROL")))
        assert place.store.change(change.id).state is State.APPROVED
        (kept,) = [data for _, data in rows(place) if data["verdict"] == "approve"]
        await place.click("U0BOB", RETRACT)
        await until(lambda: place.store.change(change.id).state is State.WAITING)
        assert not place.store.inbox_put(kept_key(place), kept, now()), "the same click is kept once"
        await until(lambda: APPROVE in str(place.parents()))
    assert [one.verdict for one in place.store.decisions(change.id)] == [Verdict.APPROVE, Verdict.RETRACT]


def rows(place: Place) -> list[tuple[str, dict[str, Any]]]:
    """Return all that was ever kept in the inbox."""
    with place.store._database.reading() as connection:
        return [(row.key, json.loads(row.payload)) for row in connection.execute(select(inbox))]


def kept_key(place: Place) -> str:
    """Return the key under which the approval was kept."""
    return next(key for key, data in rows(place) if data["verdict"] == "approve")
