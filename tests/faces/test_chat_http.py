"""Promise: what comes by signed HTTP is Slack's, is fresh, comes once, and is then worked on like any other click."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import SignatureVerifier
from starlette.applications import Starlette

from passgate.connect.slack.signed import KEEP, SKEW, SignedRequests
from passgate.errors import AuthenticationError, InputError
from passgate.faces.chat.buttons import APPROVE
from passgate.model.change import State
from tests.faces.test_chat import Place, place, until

__all__ = ["place"]

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


class Memory:
    """Remember in a set, as the store does in a table."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def __call__(self, key: str, _at: datetime) -> bool:
        """Return whether the key is new."""
        is_new = key not in self.keys
        self.keys.add(key)
        return is_new


def signed(body: bytes, at: datetime = NOW, **changed: str) -> dict[str, str]:
    """Return the headers that Slack would send with that body."""
    stamp = str(int(at.timestamp()))
    signature = SignatureVerifier(SECRET).generate_signature(timestamp=stamp, body=body) or ""
    headers = {"content-type": "application/x-www-form-urlencoded", "x-slack-request-timestamp": stamp}
    return {**headers, "x-slack-signature": signature, **changed}


def requests() -> SignedRequests:
    """Return what checks them, at noon."""
    return SignedRequests(SECRET, lambda: NOW, Memory())


def test_what_slack_sent_is_read() -> None:
    """A click, a slash command and an event come out as what the socket would have delivered."""
    checked = requests()
    click = b"payload=%7B%22type%22%3A%22block_actions%22%7D"
    assert checked.envelope(signed(click), click).payload == {"type": "block_actions"}
    command = b"command=%2Fpassgate&text=list"
    assert checked.envelope(signed(command), command).type == "slash_commands"
    event = b'{"type":"event_callback"}'
    found = checked.envelope(signed(event, **{"content-type": "application/json"}), event)
    assert (found.type, found.payload) == ("events_api", {"type": "event_callback"})


@given(
    st.dictionaries(
        st.sampled_from(["x-slack-signature", "x-slack-request-timestamp"]), st.text(max_size=70), min_size=1
    ),
    st.binary(max_size=40),
)
def test_no_other_header_and_no_other_body_passes(headers: dict[str, str], body: bytes) -> None:
    """Whatever stands there, no number, no ASCII, no UTF-8, it is one refusal and never a fault."""
    right = signed(b"payload=%7B%7D")
    if any(headers[name] != right[name] for name in headers) or body != b"payload=%7B%7D":
        with pytest.raises(AuthenticationError):
            requests().envelope(right | headers, body)


@pytest.mark.parametrize("missing", ["x-slack-signature", "x-slack-request-timestamp"])
def test_a_missing_header_is_refused(missing: str) -> None:
    """Both are needed."""
    headers = signed(b"payload=%7B%7D")
    del headers[missing]
    with pytest.raises(AuthenticationError):
        requests().envelope(headers, b"payload=%7B%7D")


def test_an_old_request_and_the_same_request_again_are_refused() -> None:
    """Slack's own verifier takes the same one twice within its five minutes; here it comes once."""
    body, checked = b"payload=%7B%7D", requests()
    for at in (NOW - SKEW - timedelta(seconds=1), NOW + SKEW + timedelta(seconds=1)):
        with pytest.raises(AuthenticationError):
            checked.envelope(signed(body, at), body)
    checked.envelope(signed(body), body)
    with pytest.raises(AuthenticationError, match="came before"):
        checked.envelope(signed(body), body)


def test_a_body_that_is_slacks_and_no_json_is_said_so() -> None:
    """The signature is right and the rest is not: an error that names it, not a fault."""
    body = b"payload=%7Bnot"
    with pytest.raises(InputError, match="can't be read"):
        requests().envelope(signed(body), body)


@asynccontextmanager
async def answering(app: Starlette) -> AsyncIterator[str]:
    """Serve an app on loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    task = asyncio.create_task(server.serve([listener]))
    await until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


def on(place: Place, **options: Any) -> SignedRequests:
    """Return what checks requests, with the store as its memory."""
    return SignedRequests(SECRET, lambda: datetime.now(UTC), lambda key, at: place.store.once(key, at, KEEP), **options)


async def test_a_click_by_signed_http_is_a_decision_and_counts_once(place: Place, tmp_path: Path) -> None:
    """R15: the lab's Slack sends it signed; sent again by somebody who recorded it, it is refused with 401."""
    change = place.waiting()
    async with place.chat(signed=on(place)) as chat, answering(Starlette(routes=list(chat.routes))) as url:
        recorded = await asyncio.to_thread(place.slack.send_to, f"{url}/slack", SECRET)
        parent = await place.parent(change.id)
        told = await place.click("U0BOB", APPROVE, message_ts=parent["ts"])
        assert told["acked"]
        await until(lambda: place.store.change(change.id).state is State.APPROVED)
        headers, body = recorded.sent[-1]
        async with httpx.AsyncClient() as thief:
            again = await thief.post(f"{url}/slack", content=body, headers=headers)
            forged = await thief.post(
                f"{url}/slack", content=body, headers={**headers, "x-slack-signature": b"v0=\xe9"}
            )
            bare = await thief.post(f"{url}/slack", content=b"\xff\xfe")
        assert [one.status_code for one in (again, forged, bare)] == [401, 401, 401]
        assert place.desk.asked == 1
        assert chat.status()["connected_since"] is None


async def test_slack_learns_that_the_address_is_ours(place: Place) -> None:
    """The app's settings ask once, with a signed challenge."""
    async with place.chat(signed=on(place)) as chat, answering(Starlette(routes=list(chat.routes))) as url:
        body = b'{"type":"url_verification","challenge":"3eZbrw1aB"}'
        headers = signed(body, datetime.now(UTC), **{"content-type": "application/json"})
        async with httpx.AsyncClient() as slack:
            answer = await slack.post(f"{url}/slack", content=body, headers=headers)
        assert (answer.status_code, answer.text) == (200, "3eZbrw1aB")
