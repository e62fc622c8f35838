"""The lab's Slack page shows the channel as Slack would, and a person's clicks on it reach the app."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slack_sdk import WebClient
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from passgate.lab.slack import SlackServer

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed, so no browser can be driven"
)

CHANNEL = "C0PASSGATE"
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOSTILE = (
    '<img src=x onerror="document.title=1"><script>document.title=2</script> &lt;b&gt; *bold* <javascript:alert(1)|x>'
)

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no Chromium at {CHROMIUM} to show the page in")


def plain(text: str) -> dict[str, str]:
    """Return a plain_text object."""
    return {"type": "plain_text", "text": text}


CONFIRM = {"title": plain("Approve?"), "text": plain("win-01 goes down."), "confirm": plain("Yes"), "deny": plain("No")}
BLOCKS: list[dict[str, Any]] = [
    {"type": "header", "text": plain("CHG-0001")},
    {"type": "section", "text": {"type": "mrkdwn", "text": "<@U0ALICE> asks for `18a5:0302` on *win-01* :lock:"}},
    {"type": "section", "text": {"type": "mrkdwn", "text": HOSTILE}},
    {
        "type": "actions",
        "elements": [
            {
                "type": "button",
                "action_id": "approve",
                "style": "primary",
                "text": plain("Approve"),
                "confirm": CONFIRM,
            },
            {"type": "button", "action_id": "deny", "style": "danger", "text": plain("Deny")},
        ],
    },
]
REASON = {"type": "plain_text_input", "action_id": "text", "multiline": True}
MODAL = {
    "type": "modal",
    "title": plain("Deny CHG-0001"),
    "submit": plain("Deny"),
    "blocks": [{"type": "input", "block_id": "reason", "label": plain("Why not?"), "element": REASON}],
}


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    """Run the workspace."""
    with SlackServer(bot_token="xoxb-lab", app_token="xapp-lab") as server:
        yield server


@pytest.fixture
def web(slack: SlackServer) -> WebClient:
    """Return the bot's own client."""
    return WebClient("xoxb-lab", base_url=slack.api_url)


@pytest.fixture
def heard(slack: SlackServer, web: WebClient) -> Iterator[queue.Queue[dict[str, Any]]]:
    """Run an app that opens a modal on Deny, finds fault with the first reason, and keeps what it hears."""
    heard: queue.Queue[dict[str, Any]] = queue.Queue()

    def hear(client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        payload = request.payload
        answer = None
        if payload["type"] == "view_submission" and "later" not in str(payload["view"]["state"]):
            answer = {"response_action": "errors", "errors": {"reason": "Say when it may be asked again."}}
        client.send_socket_mode_response(SocketModeResponse(request.envelope_id, answer))
        if payload["type"] == "block_actions" and payload["actions"][0]["action_id"] == "deny":
            web.views_open(trigger_id=payload["trigger_id"], view=MODAL)
        heard.put(payload)

    client = SocketModeClient("xapp-lab", web_client=WebClient(base_url=slack.api_url))
    client.socket_mode_request_listeners.append(hear)
    client.connect()
    yield heard
    slack.stop()
    client.close()


@pytest.fixture
def page(slack: SlackServer) -> Iterator[Any]:
    """Open the page as Bob, in a browser that tells of every error of the page's own script."""
    errors: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        opened = browser.new_page()
        opened.set_default_timeout(10_000)
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.goto(f"{slack.url}?as=U0BOB")
        yield opened
        browser.close()
    assert errors == []


def test_a_message_is_shown_as_slack_shows_it(page: Any, web: WebClient) -> None:
    """Header, names, code and buttons appear live; hostile text stays text; an edit takes the buttons away."""
    posted = web.chat_postMessage(channel=CHANNEL, text="CHG-0001", blocks=BLOCKS)
    message = page.locator(f"#channel [data-ts='{posted['ts']}']")

    message.get_by_text("@Alice Archer").wait_for()
    assert message.locator(".header").inner_text() == "CHG-0001"
    assert message.locator("code").first.inner_text() == "18a5:0302"
    assert message.locator("svg.emoji[aria-label='🔒']").count() == 1
    assert '<img src=x onerror="document.title=1">' in message.inner_text()
    assert message.locator("img, script").count() == 0
    assert message.locator("a[href^=javascript]").count() == 0
    assert message.locator("button[data-action]").count() == 2

    web.chat_update(channel=CHANNEL, ts=posted["ts"], text="CHG-0001 is approved", blocks=BLOCKS[:1])

    message.get_by_text("(edited)").wait_for()
    assert message.locator("button[data-action]").count() == 0


def test_a_thread_opens_beside_the_channel(page: Any, web: WebClient) -> None:
    """The message counts its replies; a click shows them, and new ones come in while it is open."""
    parent = web.chat_postMessage(channel=CHANNEL, text="CHG-0001")["ts"]
    web.chat_postMessage(channel=CHANNEL, text="step one", thread_ts=parent)
    page.get_by_text("1 reply").click()
    page.locator("#thread").get_by_text("step one").wait_for()

    web.chat_postMessage(channel=CHANNEL, text="step two", thread_ts=parent)

    page.locator("#thread").get_by_text("step two").wait_for()
    assert page.locator("#channel").get_by_text("step two").count() == 0


def test_a_click_asks_first_and_then_reaches_the_app(
    page: Any, web: WebClient, heard: queue.Queue[dict[str, Any]]
) -> None:
    """The dialog holds the click back until it is answered; then the app hears Bob, once."""
    web.chat_postMessage(channel=CHANNEL, text="CHG-0001", blocks=BLOCKS)
    page.locator("[data-action=approve]").click()
    page.get_by_role("alertdialog").get_by_text("No", exact=True).click()
    assert heard.empty()

    page.locator("[data-action=approve]").click()
    page.get_by_role("alertdialog").get_by_text("Yes", exact=True).click()

    assert heard.get(timeout=10)["user"]["id"] == "U0BOB"
    assert heard.empty()


def test_a_reason_is_given_in_a_modal(page: Any, web: WebClient, heard: queue.Queue[dict[str, Any]]) -> None:
    """The modal opens for whom clicked, shows errors under the field, keeps what was typed, and closes when taken."""
    web.chat_postMessage(channel=CHANNEL, text="CHG-0001", blocks=BLOCKS)
    page.locator("#who").click()
    page.get_by_role("menuitem").get_by_text("Carol Chen").click()
    page.locator("[data-action=deny]").click()
    modal = page.get_by_role("dialog")
    for typed, error in (("", "Please complete"), ("no", "Say when")):
        modal.locator("textarea").fill(typed)
        modal.get_by_text("Deny", exact=True).click()
        modal.get_by_text(error).wait_for()
        assert modal.locator("textarea").input_value() == typed

    modal.locator("textarea").fill("later")
    modal.get_by_text("Deny", exact=True).click()
    modal.wait_for(state="detached")

    said = [heard.get(timeout=10) for _ in range(3)][-1]
    assert said["user"]["id"] == "U0CAROL"
    assert said["view"]["state"]["values"]["reason"]["text"]["value"] == "later"


def test_only_who_is_meant_sees_a_private_note(page: Any, web: WebClient) -> None:
    """An ephemeral message shows to its person and to nobody else."""
    web.chat_postEphemeral(channel=CHANNEL, user="U0ALICE", text="for Alice")
    web.chat_postEphemeral(channel=CHANNEL, user="U0BOB", text="for Bob")

    page.get_by_text("for Bob").wait_for()

    assert page.get_by_text("Only visible to you").count() == 1
    assert page.get_by_text("for Alice").count() == 0


def test_a_click_that_nobody_answers_warns(page: Any, web: WebClient) -> None:
    """With no app connected the person is told at the message that nothing was sent."""
    web.chat_postMessage(channel=CHANNEL, text="CHG-0001", blocks=BLOCKS)

    page.locator("[data-action=deny]").click()

    page.get_by_role("alert").get_by_text("not connected to Slack").wait_for()
