"""The Slack connector against the lab's Slack, over real HTTP and a real websocket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from passgate.connect.slack import Envelope, Mark, Reply, SlackConnector
from passgate.connect.slack.scopes import missing
from passgate.errors import BusyError, LoginError, RefusedError, UnreachableError, WorldError
from passgate.lab.slack import SlackServer

BOT, APP, CHANNEL = "xoxb-lab-very-secret", "xapp-lab-very-secret", "C0PASSGATE"
MARK = Mark("CHG-0001", 7)


@pytest.fixture
def lab() -> Iterator[SlackServer]:
    """Start the lab's Slack."""
    with SlackServer(bot_token=BOT, app_token=APP) as server:
        yield server


@pytest.fixture
async def slack(lab: SlackServer) -> AsyncIterator[SlackConnector]:
    """Open a connector to it."""
    async with connector(lab) as opened:
        yield opened


def connector(lab: SlackServer, **changed: Any) -> SlackConnector:
    """Make a connector to the lab's Slack."""
    options = {"bot_token": BOT, "app_token": APP, "api_url": lab.api_url, "timeout": 2.0, "longest_pause": 0.2}
    return SlackConnector(**{**options, **changed})


async def test_a_message_is_found_by_its_mark(slack: SlackConnector) -> None:
    """What was posted is found by change and event, in the channel and in a thread, and nothing else is."""
    parent = await slack.post(CHANNEL, "parent", (), mark=Mark("CHG-0001"))
    reply = await slack.post(CHANNEL, "reply", (), mark=MARK, thread=parent)
    assert await slack.find(CHANNEL, Mark("CHG-0001")) == parent
    assert await slack.find(CHANNEL, MARK, thread=parent) == reply
    assert await slack.find(CHANNEL, Mark("CHG-0001", 8), thread=parent) is None
    assert await slack.find(CHANNEL, Mark("CHG-0002")) is None


async def test_an_edit_keeps_the_mark(slack: SlackConnector) -> None:
    """A message that was edited is still found."""
    ts = await slack.post(CHANNEL, "one", (), mark=Mark("CHG-0001"))
    await slack.update(CHANNEL, ts, "two", (), mark=Mark("CHG-0001"))
    assert await slack.find(CHANNEL, Mark("CHG-0001")) == ts


async def test_a_find_reads_every_page(lab: SlackServer, slack: SlackConnector) -> None:
    """A message behind more than one page of others is found."""
    wanted = await slack.post(CHANNEL, "the first", (), mark=MARK)
    lab._do(lambda: [lab.workspace.post(CHANNEL, {"user": "U0DAVE", "text": "later"}) for _ in range(205)])
    assert await slack.find(CHANNEL, MARK) == wanted


@pytest.mark.parametrize(
    "fault",
    [{"status": 500}, {"status": 502}, {"status": 504}, {"hang": 4.0}, {"drop": True}, {"error": "fatal_error"}],
)
async def test_no_answer_is_unreachable(lab: SlackServer, slack: SlackConnector, fault: dict[str, Any]) -> None:
    """Where it is unknown whether Slack took a call, it is said so, and nothing is repeated behind our back."""
    lab.fail("chat.postMessage", **fault)
    with pytest.raises(UnreachableError, match="whether it took the call is not known"):
        await slack.post(CHANNEL, "hello", (), mark=MARK)
    assert lab.state()["messages"][CHANNEL] == []


async def test_a_rate_limit_is_waited_out(lab: SlackServer, slack: SlackConnector) -> None:
    """HTTP 429 means that Slack did not take the call: it is made again after Retry-After, and posts once."""
    lab.fail("chat.postMessage", times=2, status=429, retry_after=0)
    await slack.post(CHANNEL, "hello", (), mark=MARK)
    assert len(lab.state()["messages"][CHANNEL]) == 1
    lab.fail("chat.postMessage", times=99, status=429, retry_after=0)
    with pytest.raises(BusyError):
        await slack.post(CHANNEL, "hello", (), mark=MARK)


async def test_a_rate_limit_holds_for_all_calls_of_the_method_and_no_other(
    lab: SlackServer, slack: SlackConnector
) -> None:
    """Retry-After closes the method for whoever calls it; what calls another method does not wait."""
    lab.fail("chat.postMessage", times=1, status=429, retry_after=2)
    first = asyncio.create_task(slack.post(CHANNEL, "first", (), mark=MARK))
    async with asyncio.timeout(20):
        while not slack._closed_until:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)
    second = asyncio.create_task(slack.post(CHANNEL, "second", (), mark=MARK))
    for _ in range(5):
        await slack.user("U0BOB")
    assert lab.state()["messages"][CHANNEL] == []
    await asyncio.gather(first, second)
    assert len(lab.state()["messages"][CHANNEL]) == 2


async def test_refusals_say_what_to_do(lab: SlackServer, slack: SlackConnector) -> None:
    """A missing scope is named; an unknown channel, and blocks that Slack does not take, are faults by name."""
    lab.order(scopes=["users:read"])
    with pytest.raises(RefusedError, match="chat:write") as refused:
        await slack.post(CHANNEL, "hello", (), mark=MARK)
    assert refused.value.fault == "missing_scope"
    assert "install the app again" in refused.value.hint
    assert "chat:write" in [one.name for one in missing((await slack.identity()).scopes)]
    lab.order(scopes=["chat:write"])
    with pytest.raises(RefusedError) as unknown:
        await slack.post("C0NOWHERE", "hello", (), mark=MARK)
    assert unknown.value.fault == "channel_not_found"
    with pytest.raises(RefusedError, match="unsupported type") as blocks:
        await slack.post(CHANNEL, "hello", ({"type": "nonsense"},), mark=MARK)
    assert blocks.value.fault == "invalid_blocks"


async def test_wrong_tokens_are_a_login_error_and_never_shown(
    lab: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused token is said to be refused; no error and no log line, at any level, holds a token or a body."""
    caplog.set_level(logging.DEBUG)
    async with connector(lab, bot_token="xoxb-wrong-secret", app_token="xapp-wrong-secret") as wrong:
        with pytest.raises(LoginError, match="bot token") as refused:
            await wrong.post(CHANNEL, "body-of-a-message", (), mark=MARK)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(wrong.listen(_nothing), 0.5)
        assert "app token" in wrong.health.trouble
    async with connector(lab) as right:
        await right.post(CHANNEL, "body-of-a-message", (), mark=MARK)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(right.listen(_nothing), 0.5)
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("uvicorn")]
    said = " ".join(ours) + str(refused.value) + refused.value.hint
    for secret in ("xoxb", "secret", "ticket=", "body-of-a-message"):
        assert secret not in said.replace("(xoxb-)", "").replace("(xapp-)", "")


async def test_nobody_there_is_unreachable() -> None:
    """A Slack that does not answer at all is unreachable, by name."""
    async with SlackConnector(bot_token=BOT, app_token=APP, api_url="http://127.0.0.1:9/api/") as slack:
        with pytest.raises(UnreachableError):
            await slack.identity()


async def test_users_and_groups(slack: SlackConnector) -> None:
    """Members, guests and bots are told apart, and a user group says who is in it."""
    assert not (await slack.user("U0BOB")).guest
    assert (await slack.user("U0GUEST")).guest
    assert (await slack.user("U0PASSGATE")).bot
    assert await slack.usergroup("S0OPS") == ("U0BOB", "U0CAROL")
    with pytest.raises(RefusedError):
        await slack.user("U0NOBODY")


async def test_stored_then_acknowledged_then_worked_on(lab: SlackServer, slack: SlackConnector) -> None:
    """The order is kept: Slack hears nothing before the delivery is stored; work begins after it has heard."""
    order: list[str] = []
    worked = asyncio.Event()

    async def work() -> None:
        order.append("worked on")
        worked.set()

    async def store(_: Envelope) -> Reply:
        await asyncio.sleep(0.05)
        order.append(f"stored, {'acknowledged before' if slack.health.last_ack else 'not acknowledged yet'}")
        return Reply(then=work)

    async with listening(slack, store):
        ack = await asyncio.to_thread(lab.run, lab.sockets.deliver("interactive", {"type": "shortcut"}))
        assert ack.acked
        await asyncio.wait_for(worked.wait(), 10)
    assert order == ["stored, not acknowledged yet", "worked on"]
    assert slack.health.last_ack


async def test_what_was_not_stored_is_not_acknowledged(lab: SlackServer, slack: SlackConnector) -> None:
    """When storing fails the person sees Slack's warning, and the next delivery is taken as ever."""
    failing = [True]

    async def store(_: Envelope) -> Reply:
        if failing.pop():
            failing.append(False)
            raise WorldError("The disk is full.")
        failing.append(False)
        return Reply()

    async with listening(slack, store):
        first = await asyncio.to_thread(lab.run, lab.sockets.deliver("interactive", {"type": "shortcut"}))
        second = await asyncio.to_thread(lab.run, lab.sockets.deliver("interactive", {"type": "shortcut"}))
    assert (first.acked, second.acked) == (False, True)


async def test_a_deaf_socket_is_given_up() -> None:
    """R42: A socket whose other side says nothing any more, not even pong, is given up for a new one."""
    sockets: list[web.WebSocketResponse] = []

    async def opened(request: web.Request) -> web.Response:
        return web.json_response({"ok": True, "url": f"ws://{request.host}/link"})

    async def link(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        await socket.send_json({"type": "hello"})
        sockets.append(socket)
        await asyncio.sleep(10)  # reads nothing, so no ping is ever answered
        return socket

    app = web.Application()
    app.add_routes([web.post("/api/apps.connections.open", opened), web.get("/link", link)])
    async with TestServer(app) as server:
        url = str(server.make_url("/api/"))
        slack = SlackConnector(bot_token=BOT, app_token=APP, api_url=url, ping_every=0.1)
        async with slack, listening(slack, _nothing), asyncio.timeout(10):
            while len(sockets) < 2:  # noqa: ASYNC110 - the server has no event to wait for
                await asyncio.sleep(0.01)
        for socket in sockets:
            await socket.close()


async def _nothing(_: Envelope) -> Reply:
    return Reply()


@contextlib.asynccontextmanager
async def listening(slack: SlackConnector, store: Any) -> AsyncIterator[None]:
    """Listen until the block ends."""
    task = asyncio.create_task(slack.listen(store))
    try:
        await _until_connected(slack)
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _until_connected(slack: SlackConnector) -> None:
    async with asyncio.timeout(10):
        while not slack.health.connected_since:  # noqa: ASYNC110 - the health has no event to wait for
            await asyncio.sleep(0.01)
