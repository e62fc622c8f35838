"""Chat is loud where it must be, over the lab's Slack: emergencies, broken glasses, overdue reviews, last reminders."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from passgate.ledger.canonical import time_text
from passgate.model.change import Change, Event, EventType, State
from passgate.model.decision import GlassBroken, Kind, Terms
from passgate.model.review import ReviewVerdict
from tests.faces.test_chat import ENGINE, TERMS, Place, now, place, plan, until
from tests.record_story import ALICE, BOB

__all__ = ["place"]
GLASS = GlassBroken(by="alice", reviewers=("bob", "carol"), groups=("managers",), review_within=timedelta(days=3))
BROKEN = Terms(
    policy="break-glass", kind=Kind.BREAK_GLASS, excluded={"alice": "asks for it"}, break_glass=GLASS,
    execute_within=timedelta(minutes=30),
)  # fmt: skip


def filed(place: Place, terms: Terms, to: State) -> Change:
    """File a change in a hurry."""
    change = place.store.file_change("usb-attach", {"vm": "win-01"}, ALICE, "the dongle died", None, now())
    place.store.save_plan(change.id, plan(), terms, now() + timedelta(minutes=30), now())
    return place.store.move(change.id, to, ENGINE, "", now())


def loud(place: Place, words: str) -> list[str]:
    """Return the messages with these words that stand in the channel itself."""
    return [one["text"] for one in place.parents() if words in one["text"]]


def buttons(place: Place) -> list[str]:
    """Return the names of all buttons that are to be seen."""
    blocks = (block for one in place.messages() for block in one["blocks"] if block["type"] == "actions")
    return [element["action_id"] for block in blocks for element in block["elements"]]


async def test_a_review_is_closed_by_a_button(place: Place) -> None:
    """Once the change has ended; the words go to the desk with the person, and the buttons are gone (R28)."""
    async with place.chat() as chat:
        change = filed(place, BROKEN, State.APPROVED)
        await place.connected(chat)
        await place.parent(change.id)
        place.carry_out(change.id)
        await until(lambda: buttons(place) == ["passgate_review_justified", "passgate_review_not_justified"])
        clicked = await place.click("U0BOB", "passgate_review_not_justified", fields={"reason": "a spare was there"})
        assert clicked["acked"]
        await until(lambda: not place.store.reviews.one(change.id).is_open)
        await until(lambda: buttons(place) == [])
        await place.told()
    review = place.store.reviews.one(change.id)
    assert (review.closed_by, review.verdict, review.words) == (
        "bob", ReviewVerdict.NOT_JUSTIFIED, "a spare was there",
    )  # fmt: skip
    assert "*Reviewed* by Bob Berger: *not justified*" in place.thread()[-1]
    assert place.store.inbox_open() == ()


async def test_a_review_stands_in_the_home_of_those_who_may_close_it(place: Place) -> None:
    """From the end of the change until it is closed: who broke the glass, why, and until when; not in others' Homes."""

    def home(user: str) -> str:
        return str(place.slack.state()["homes"].get(user, ""))

    async with place.chat() as chat:
        await place.connected(chat)
        for user in ("U0BOB", "U0ALICE"):
            await asyncio.to_thread(place.slack.act, "home", user=user)
        change = filed(place, BROKEN, State.APPROVED)
        await until(lambda: change.id in home("U0ALICE"))
        assert "Waits for your review" not in home("U0BOB")
        place.carry_out(change.id)
        await until(lambda: "Waits for your review" in home("U0BOB"))
        for said in (change.id, "broke the glass", "the dongle died", f"passgate review close {change.id}"):
            assert said in home("U0BOB")
        assert "Waits for your review" not in home("U0ALICE")
        place.store.reviews.close(change.id, ReviewVerdict.JUSTIFIED, "it was down", BOB, now())
        await until(lambda: "Waits for your review" not in home("U0BOB"))


async def test_what_the_desk_refuses_of_a_review_is_told_to_who_clicked_alone(place: Place) -> None:
    """Its author clicks: the review stays open, and the note says why."""
    async with place.chat() as chat:
        change = filed(place, BROKEN, State.APPROVED)
        await place.connected(chat)
        await place.parent(change.id)
        place.carry_out(change.id)
        await until(lambda: buttons(place))
        await place.click("U0ALICE", "passgate_review_justified", fields={"reason": "I was right"})
        await until(lambda: place.notes("U0ALICE"))
    assert "alice may not review" in place.notes("U0ALICE")[0]
    assert place.store.reviews.one(change.id).is_open


async def test_a_broken_glass_is_told_in_the_channel_itself(place: Place) -> None:
    """Who, what, why, until when; the reviewers are called, and nobody is asked for an approval."""
    async with place.chat():
        change = filed(place, BROKEN, State.APPROVED)
        await place.told()
        (said,) = loud(place, "*The glass is broken*")
        for words in (
            change.id,
            "Alice Archer",
            "“the dongle died”",
            "<@U0BOB>, <@U0CAROL>",
            "no step of it begins after",
            "reviews it",
        ):
            assert words in said
        assert "Alice Archer can approve nothing" in said
        assert buttons(place) == []
        assert "Begun without approval by Alice Archer" in str((await place.parent(change.id))["blocks"])
        place.carry_out(change.id)
        place.store.reviews.tell_overdue(place.store.reviews.one(change.id), ENGINE, now())
        place.store.reviews.close(change.id, ReviewVerdict.NOT_JUSTIFIED, "a spare was there", BOB, now())
        await place.told()
    (overdue,) = loud(place, "*A review is overdue*")
    assert "<@U0ALICE>" in overdue
    assert "<@U0BOB>, <@U0CAROL>" in overdue
    assert place.thread()[-1] == "🔍 <@U0ALICE> *Reviewed* by Bob Berger: *not justified*. “a spare was there”"


async def test_an_emergency_is_told_in_the_channel_itself(place: Place) -> None:
    """Those who can decide are called there; buttons stand with the change's own message."""
    async with place.chat():
        change = filed(place, TERMS.model_copy(update={"kind": Kind.EMERGENCY}), State.WAITING)
        await place.told()
    (said,) = loud(place, "*Emergency*: ")
    assert "<@U0BOB>, <@U0CAROL>: please decide by" in said
    assert f"passgate approve {change.id}" in said
    (parent,) = [one for one in place.parents() if any(block["type"] == "actions" for block in one["blocks"])]
    assert "🚨 *Emergency* · ⏳" in str(parent["blocks"])


async def test_reminders_grow_louder(place: Place) -> None:
    """The first stands in the thread, the last in the channel; each calls those whom the record names (R25)."""
    async with place.chat():
        change = place.waiting()
        for last in ({}, {"last": "yes"}):
            data = {
                "gate": "plan",
                "people": ["carol"],
                "why": "0 of 1 approvals",
                "approve_by": time_text(now()),
                **last,
            }
            place.store.append(Event(type=EventType.REMINDED, change=change.id, actor=ENGINE, at=now(), data=data))
        data = {"gate": "plan", "people": ["bob"], "groups": ["managers"], "why": "0 of 1 approvals"}
        place.store.append(Event(type=EventType.ESCALATED, change=change.id, actor=ENGINE, at=now(), data=data))
        await place.told()
    assert any(one.startswith(f"🔔 <@U0CAROL>: {change.id} waits for your decision, until") for one in place.thread())
    assert "managers may decide on" in place.thread()[-1]
    (said,) = loud(place, "*Last reminder*")
    assert "then it expires. 0 of 1 approvals.\n<@U0CAROL>: please decide" in said
