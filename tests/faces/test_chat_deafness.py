"""R42: a socket that says nothing, or says nothing of clicks, is noticed within 90 s, told, and opened anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from passgate.connect.slack import Envelope
from passgate.connect.slack.deafness import LOOK_EVERY, Ears
from passgate.faces.chat.buttons import APPROVE
from passgate.faces.chat.service import Chat
from passgate.faces.chat.watchdog import Watchdog
from passgate.model.change import EventType, State
from tests.faces.test_chat import CHANNEL, Place, place, until

__all__ = ["place"]

START = datetime(2026, 11, 25, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@given(st.booleans(), st.integers(0, 600), st.integers(1, 15))
def test_deafness_is_seen_within_ninety_seconds(echoes: bool, deaf_at: int, ping: int) -> None:
    """Whenever it begins: the socket goes, or pings on and delivers nothing, or falls silent altogether."""
    for kind in ("gone", "silent", "pings on") if echoes else ("gone", "silent"):
        ears = Ears(START, connected=True)
        seen: int | None = None
        for second in range(0, deaf_at + 120, int(LOOK_EVERY)):
            now, is_deaf = START + second * SECOND, second >= deaf_at
            ears.connected = not (is_deaf and kind == "gone")
            if not is_deaf or kind == "pings on":
                ears.last_heard = now - (second % ping) * SECOND
            if ears.why_deaf(now):
                assert is_deaf, "nobody is called deaf who hears"
                seen = second
                break
            if echoes and ears.wants_probe(now):
                ears.probe_sent = now
                ears.probe_heard = now if not is_deaf else ears.probe_heard
        assert seen is not None
        assert seen - deaf_at <= 90


class Clock:
    """Tell the time that the test has set."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        """Return it."""
        return self.now


def told(place: Place) -> list[EventType]:
    """Return what was recorded of chat's ears."""
    kinds = (EventType.CHAT_DEAF, EventType.CHAT_HEARD)
    return [one.type for one in place.store.events() if one.type in kinds]


async def beats(place: Place, chat: Chat, clock: Clock) -> None:
    """Let the watchdog look, half a minute at a time, until its heartbeat came back."""
    place.slack.edits_told.add(CHANNEL)
    for _ in range(3):
        clock.now += 46 * SECOND
        chat._connector.health.last_heard = clock.now
        await chat.watchdog.look()
    await until(lambda: chat.watchdog._ears.probe_heard)


async def test_a_socket_that_pings_and_delivers_nothing_is_found_told_and_mended(place: Place) -> None:
    """The lab's Slack keeps the socket open, answers pings, and loses every delivery, until a new socket is opened."""
    clock = Clock()
    async with place.chat(heartbeat_channel=CHANNEL, clock=clock) as chat:
        await place.connected(chat)
        await beats(place, chat, clock)
        before = chat._connector.health.connections
        place.slack.spoil("drop", times=1)
        clock.now += 46 * SECOND
        chat._connector.health.last_heard = clock.now
        await chat.watchdog.look()
        assert chat.watchdog.deaf == ""
        clock.now += 25 * SECOND
        await chat.watchdog.look()
        assert "hear it come back" in chat.watchdog.deaf
        assert told(place) == [EventType.CHAT_DEAF]
        assert any("Use the command line" in words for words in chat.status()["trouble"])
        await until(lambda: chat._connector.health.connections > before)
        for _ in range(2):
            clock.now += 46 * SECOND
            chat._connector.health.last_heard = clock.now
            await chat.watchdog.look()
            await until(lambda: chat.watchdog._ears.probe_heard)
        assert (chat.watchdog.deaf, chat.watchdog.times) == ("", 1)
        assert told(place) == [EventType.CHAT_DEAF, EventType.CHAT_HEARD]
        change = place.waiting()
        parent = await place.parent(change.id)
        assert (await place.click("U0BOB", APPROVE, message_ts=parent["ts"]))["acked"]
        await until(lambda: place.store.change(change.id).state is State.APPROVED)


async def test_a_planned_reconnect_is_no_alarm(place: Place) -> None:
    """Slack asks for a new socket every few hours: it is opened, and nobody is told."""
    clock = Clock()
    async with place.chat(clock=clock) as chat:
        await place.connected(chat)
        before = chat._connector.health.connections
        place.slack.disconnect()
        await until(lambda: chat._connector.health.connections > before)
        clock.now = datetime.now(UTC)
        await chat.watchdog.look()
        assert (chat.watchdog.deaf, told(place)) == ("", [])


async def test_a_heartbeat_that_another_replica_heard_is_no_deafness(place: Place) -> None:
    """Slack gives each event to one socket of the app: what came to another replica came through."""
    clock = Clock()
    async with place.chat(heartbeat_channel=CHANNEL, clock=clock) as one:
        await place.connected(one)
        await beats(place, one, clock)
        place.slack.edits_told.clear()
        clock.now += 46 * SECOND
        one._connector.health.last_heard = clock.now
        await one.watchdog.look()
        text = next(m["text"] for m in place.parents() if "listens to Slack" in m["text"])
        event = {"type": "message", "subtype": "message_changed", "message": {"text": text}}
        other = Watchdog(one._connector, place.store, clock, CHANNEL)
        assert await other.heard(Envelope("1", "events_api", {"event": event}))
        clock.now += 25 * SECOND
        one._connector.health.last_heard = clock.now
        await one.watchdog.look()
        assert one.watchdog.deaf == ""
    assert told(place) == []
