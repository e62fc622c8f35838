"""Promise: other channels hear what they asked for, once and in order, and nothing they are sent decides anything."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from email import message_from_string
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from passgate.faces.metrics import Metrics
from passgate.faces.notices import Notices
from passgate.model.change import Actor, Door, Event, EventType, State
from passgate.settings.shape import Notice
from passgate.settings.values import FromFile
from passgate.store.store import Store
from tests.record_story import AT, BOB, ENGINE, open_store, vote, waiting_change

CANARY = "canary-of-the-channel"


class Receiver:
    """A Mattermost, as far as a webhook is concerned: it keeps what it is sent, and may be out of order."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Any]] = []
        self.broken = 0
        outer = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if outer.broken:
                    outer.broken -= 1
                    self.send_response(503)
                else:
                    outer.got.append((self.path, json.loads(body)))
                    self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server.server_address[1])

    @property
    def texts(self) -> list[str]:
        """What it was sent, as text."""
        return [json.dumps(body) for _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Lend one."""
    one = Receiver()
    yield one
    one.server.shutdown()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Lend an empty store."""
    one = open_store(tmp_path)
    yield one
    one.close()


@asynccontextmanager
async def telling(store: Store, home: Path, url: str, *about: Any, clock: datetime = AT) -> Any:
    """Run a channel until the block ends."""
    (home / "channel.url").write_text(url)
    notice = Notice(name="ops", url=FromFile(file="channel.url"), about=about)
    store.append(Event(type=EventType.KEY, change="", actor=ENGINE, at=AT, data={}))
    task = asyncio.create_task(Notices(notice, store, home, lambda: clock).run())
    await until(lambda: store.cursor("notice:ops"))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(true: Any) -> None:
    """Wait until something is true; the bound only ends a broken test."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what is looked at has no event to wait for
            await asyncio.sleep(0.02)


async def test_a_channel_hears_what_it_asked_for_from_when_it_is_there(
    store: Store, tmp_path: Path, receiver: Receiver
) -> None:
    """R19, R26: what waits and how it ended, in words; nothing of before, no other event, no button and no secret."""
    waiting_change(store)
    url = f"mmost://127.0.0.1:{receiver.port}/{CANARY}"
    async with telling(store, tmp_path, url, "waiting", "ended", "chat-deaf"):
        change = waiting_change(store)
        store.move(change.id, State.EXPIRED, ENGINE, "0 of 1 approvals", AT, outcome="nobody settled it in time")
        passgate = Actor(person="passgate", door=Door.ENGINE)
        store.append(Event(type=EventType.CHAT_DEAF, change="", actor=passgate, at=AT, data={"why": "silence"}))
        await until(lambda: len(receiver.got) == 3)
    first, second, third = receiver.texts
    assert "CHG-0002: Waiting for a decision" in first
    assert "passgate show CHG-0002" in first
    assert "CHG-0002: Expired" in second
    assert "may not hear clicks" in third
    assert "http" not in "".join(json.dumps(body["text"]) for _, body in receiver.got)
    assert not any("CHG-0001" in text for text in receiver.texts)


async def test_a_channel_that_is_down_loses_nothing_and_is_told_once(
    store: Store, tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again; after a restart the cursor says what was told. The address is in no log."""
    receiver.broken = 2
    url = f"json://127.0.0.1:{receiver.port}/{CANARY}"
    async with telling(store, tmp_path, url, "waiting"):
        waiting_change(store)
        await until(lambda: store.cursor("notice:ops") == store.newest_seq())
    async with telling(store, tmp_path, url, "waiting"):
        waiting_change(store)
        await until(lambda: len(receiver.got) == 2)
    assert ["CHG-0001" in text for text in receiver.texts] == [True, False]
    assert CANARY not in caplog.text


async def test_metrics_count_and_name_nobody(store: Store) -> None:
    """Prometheus reads changes by state and how fast deliveries were stored; no person, VM or token is in it."""
    change = waiting_change(store)
    waiting_change(store)
    store.move(change.id, State.EXPIRED, ENGINE, "", AT)
    store.decide(vote(waiting_change(store)), BOB)
    store.inbox_put("one", {}, AT)
    store.inbox_done("one", "refused: alice may not decide", AT)
    chat = {"connected_since": None, "last_heard": None, "times_deaf": 2, "messages_behind": 0, "clicks_open": 0}
    metrics = Metrics(store, lambda: chat)
    metrics.acks.observe(0.004)
    transport = httpx.ASGITransport(app=Starlette(routes=[metrics.route]))
    async with httpx.AsyncClient(transport=transport, base_url="http://passgate") as client:
        told = (await client.get("/metrics")).text
    assert 'passgate_changes{state="waiting"} 2.0' in told
    assert 'passgate_decisions_total{door="slack",verdict="approve"} 1.0' in told
    assert 'passgate_slack_clicks_total{outcome="refused"} 1.0' in told
    assert "passgate_slack_deaf_total 2.0" in told
    assert f"passgate_slack_events_behind {store.newest_seq()}.0" in told
    assert 'passgate_changes{state="expired"} 1.0' in told
    assert 'passgate_slack_ack_seconds_bucket{le="0.005"} 1.0' in told
    assert not any(word in told for word in ("alice", "win-01", "usb"))


class Post(asyncio.Protocol):
    """A mail server, as far as taking one mail goes (RFC 5321)."""

    def __init__(self, got: list[str]) -> None:
        self._got, self._in_data, self._lines = got, False, list[str]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 post\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer each line; keep what is between DATA and the dot."""
        for line in data.decode().splitlines():
            if self._in_data:
                self._lines.append(line)
                if line == ".":
                    self._in_data = False
                    self._got.append("\n".join(self._lines))
                    self._transport.write(b"250 taken\r\n")
            elif line.upper() == "DATA":
                self._in_data = True
                self._transport.write(b"354 go on\r\n")
            else:
                self._transport.write(b"250 well\r\n")


async def test_mail_tells_and_asks_nothing(store: Store, tmp_path: Path) -> None:
    """R19: a mail has no link that a scanner could open; how to decide is a command at a shell."""
    mails: list[str] = []
    server = await asyncio.get_running_loop().create_server(lambda: Post(mails), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"mailto://127.0.0.1:{port}?from=passgate@example.com&to=ops@example.com&mode=insecure&format=text"
    async with telling(store, tmp_path, url, "waiting"):
        waiting_change(store)
        await until(lambda: mails)
    server.close()
    body = message_from_string(mails[0]).get_payload(decode=True)
    assert isinstance(body, bytes)
    assert b"passgate show CHG-0001" in body
    assert b"://" not in body


async def test_a_notice_of_yesterday_is_no_news(store: Store, tmp_path: Path, receiver: Receiver) -> None:
    """A channel that was down for more than a day hears what is new, not what was."""
    url = f"json://127.0.0.1:{receiver.port}/{CANARY}"
    async with telling(store, tmp_path, url, "waiting", clock=AT + timedelta(days=2)):
        waiting_change(store)
        waiting_change(store, AT + timedelta(days=2))
        await until(lambda: receiver.got)
    assert ["CHG-0002" in text for text in receiver.texts] == [True]
