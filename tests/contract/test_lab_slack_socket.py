"""The lab's Socket Mode carries people's acts to Slack's own client, and loses, doubles and delays them to order."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from slack_sdk import WebClient, WebhookClient
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from passgate.lab.slack import ActError, SlackServer

CHANNEL = "C0PASSGATE"
PATIENCE = 10.0


def plain(text: str) -> dict[str, str]:
    """Return a plain_text object."""
    return {"type": "plain_text", "text": text}


MODAL = {
    "type": "modal",
    "callback_id": "deny",
    "private_metadata": "CHG-0001",
    "title": plain("Deny"),
    "submit": plain("Deny"),
    "notify_on_close": True,
    "blocks": [
        {
            "type": "input",
            "block_id": "reason",
            "label": plain("Why?"),
            "element": {"type": "plain_text_input", "action_id": "text", "multiline": True, "min_length": 3},
        }
    ],
}
BUTTONS = {
    "type": "actions",
    "elements": [
        {
            "type": "button",
            "action_id": "approve",
            "text": plain("Approve"),
            "value": "sealed",
            "confirm": {
                "title": plain("Sure?"),
                "text": plain("The VM goes down."),
                "confirm": plain("Yes"),
                "deny": plain("No"),
            },
        },
        {"type": "button", "action_id": "deny", "text": plain("Deny"), "value": "sealed"},
    ],
}


class App:
    """A small real app on slack_sdk: keeps what it hears and answers as its test says."""

    def __init__(self, slack: SlackServer) -> None:
        self.heard: queue.Queue[SocketModeRequest] = queue.Queue()
        self.answer: Callable[[SocketModeRequest], dict[str, Any] | None] = lambda _request: None
        self.silent = False
        self.web = WebClient("xoxb-lab", base_url=slack.api_url, retry_handlers=[])
        self.socket = SocketModeClient(
            "xapp-lab", web_client=WebClient(base_url=slack.api_url), auto_reconnect_enabled=True
        )
        self.socket.socket_mode_request_listeners.append(self._hear)
        self.socket.connect()

    def _hear(self, client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        if not self.silent:
            client.send_socket_mode_response(SocketModeResponse(request.envelope_id, self.answer(request)))
        self.heard.put(request)

    def next(self) -> dict[str, Any]:
        """Return the next payload that it hears."""
        payload: dict[str, Any] = self.heard.get(timeout=PATIENCE).payload
        return payload


def until(true: Callable[[], bool], what: str) -> None:
    """Wait for something that another thread brings about."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s for {what}"
        time.sleep(0.01)


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    """Run the workspace."""
    with SlackServer(bot_token="xoxb-lab", app_token="xapp-lab") as server:
        yield server


@pytest.fixture
def app(slack: SlackServer) -> Iterator[App]:
    """Run a connected app that has posted a message with buttons."""
    one = App(slack)
    until(lambda: bool(slack.sockets.open), "the connection")
    one.web.chat_postMessage(channel=CHANNEL, text="change", blocks=[BUTTONS])
    yield one
    slack.stop()
    one.socket.close()


def test_a_click_comes_as_slack_sends_it(slack: SlackServer, app: App) -> None:
    """The payload names person, message, action, value and a trigger; the person sees no warning."""
    result = slack.click("U0BOB", action_id="approve")
    payload = app.next()

    assert (result["acked"], result["warning"]) == (True, "")
    assert payload["type"] == "block_actions"
    assert payload["user"] == {"id": "U0BOB", "username": "bob.berger", "name": "bob.berger", "team_id": "T0LAB"}
    assert (payload["channel"]["id"], payload["actions"][0]["value"]) == (CHANNEL, "sealed")
    assert payload["container"]["message_ts"] == payload["message"]["ts"]
    assert payload["trigger_id"]
    assert payload["response_url"].startswith(slack.url)


def test_a_dialog_must_be_answered_and_a_button_must_be_there(slack: SlackServer, app: App) -> None:
    """Nobody gets past a confirm dialog, and nobody presses what is not in the message."""
    with pytest.raises(ActError, match="The VM goes down"):
        slack.click("U0BOB", action_id="approve", confirm=False)
    with pytest.raises(ActError, match="no button"):
        slack.click("U0BOB", action_id="launch")
    with pytest.raises(ActError, match="no person"):
        slack.click("U0NOBODY", action_id="approve")
    assert app.heard.empty()


def open_modal(app: App) -> Callable[[SocketModeRequest], None]:
    """Return what opens the modal when a button is pressed."""

    def on(request: SocketModeRequest) -> None:
        if request.payload["type"] == "block_actions":
            app.web.views_open(trigger_id=request.payload["trigger_id"], view=MODAL)

    return on


def test_a_modal_is_filled_in_and_submitted(slack: SlackServer, app: App) -> None:
    """The click opens a modal, its field comes back in the state with the private metadata, and the modal closes."""
    app.answer = open_modal(app)

    result = slack.click("U0BOB", action_id="deny", fields={"reason": "not today"})
    app.next()
    view = app.next()["view"]

    assert result["acked"]
    assert view["state"]["values"] == {"reason": {"text": {"type": "plain_text_input", "value": "not today"}}}
    assert (view["callback_id"], view["private_metadata"]) == ("deny", "CHG-0001")
    assert slack.state()["modals"] == {}


def test_a_modal_keeps_wrong_input_and_shows_why(slack: SlackServer, app: App) -> None:
    """Slack's client holds back what is empty or too short; the app's own errors leave the modal open."""
    opening = open_modal(app)

    def answer(request: SocketModeRequest) -> dict[str, Any] | None:
        opening(request)
        errors = {"response_action": "errors", "errors": {"reason": "Say more."}}
        return errors if request.payload["type"] == "view_submission" else None

    app.answer = answer

    empty = slack.click("U0BOB", action_id="deny", fields={})
    short = slack.act("submit", user="U0BOB", fields={"reason": "no"})
    app.next()

    assert empty["errors"] == {"reason": "Please complete this required field."}
    assert "3 characters or more" in short["errors"]["reason"]
    assert app.heard.empty()
    assert slack.act("submit", user="U0BOB", fields={"reason": "nope"})["errors"] == {"reason": "Say more."}
    assert len(slack.state()["modals"]["U0BOB"]) == 1


def test_a_modal_may_be_replaced_and_closed(slack: SlackServer, app: App) -> None:
    """`update` puts another modal in place; closing it tells the app that asked to be told."""
    opening = open_modal(app)
    changed = {**MODAL, "title": plain("Really?")}

    def answer(request: SocketModeRequest) -> dict[str, Any] | None:
        opening(request)
        return {"response_action": "update", "view": changed} if request.payload["type"] == "view_submission" else None

    app.answer = answer
    slack.click("U0BOB", action_id="deny", fields={"reason": "because"})

    assert slack.state()["modals"]["U0BOB"][0]["title"]["text"] == "Really?"

    slack.act("close", user="U0BOB")

    assert [app.next()["type"] for _ in range(3)] == ["block_actions", "view_submission", "view_closed"]
    assert slack.state()["modals"] == {}


def test_a_trigger_opens_one_modal_only(slack: SlackServer, app: App) -> None:
    """A trigger is used up by its first modal, and an invented one opens none."""
    slack.click("U0BOB", action_id="deny")
    trigger = app.next()["trigger_id"]
    app.web.views_open(trigger_id=trigger, view=MODAL)

    for wrong, error in ((trigger, "exchanged_trigger_id"), ("1.2.3", "invalid_trigger_id")):
        with pytest.raises(SlackApiError, match=error):
            app.web.views_open(trigger_id=wrong, view=MODAL)


def test_a_late_trigger_opens_nothing(slack: SlackServer, app: App) -> None:
    """Three seconds after the click the trigger is over, and the person who got no ack was warned."""
    app.silent = True

    result = slack.click("U0BOB", action_id="deny")

    assert not result["acked"]
    assert "3 seconds" in result["warning"]
    assert slack.state()["warnings"][0]["user"] == "U0BOB"
    with pytest.raises(SlackApiError, match="expired_trigger_id"):
        app.web.views_open(trigger_id=app.next()["trigger_id"], view=MODAL)


def test_a_click_may_come_twice(slack: SlackServer, app: App) -> None:
    """A doubled envelope has the same id both times."""
    slack.spoil("duplicate")
    slack.click("U0BOB", action_id="approve")

    first, second = (app.heard.get(timeout=PATIENCE) for _ in range(2))

    assert first.envelope_id == second.envelope_id


def test_each_envelope_goes_to_one_connection(slack: SlackServer, app: App) -> None:
    """With two connections, every click reaches exactly one of them, and both get some."""
    other = App(slack)
    until(lambda: len(slack.sockets.open) == 2, "the second connection")
    for _ in range(4):
        slack.click("U0BOB", action_id="approve")
    until(lambda: app.heard.qsize() + other.heard.qsize() == 4, "four clicks")

    assert (app.heard.qsize(), other.heard.qsize()) == (2, 2)
    slack.stop()
    other.socket.close()


def test_the_app_comes_back_after_a_disconnect(slack: SlackServer, app: App) -> None:
    """Told to refresh, slack_sdk connects anew and hears the next click."""
    before = list(slack.sockets.open)
    slack.disconnect("refresh_requested")
    until(lambda: bool(slack.sockets.open) and slack.sockets.open != before, "the new connection")

    assert slack.click("U0BOB", action_id="approve")["acked"]


def test_without_a_connection_the_person_is_told(slack: SlackServer) -> None:
    """A click with no app behind it comes to nothing, and says so at once."""
    WebClient("xoxb-lab", base_url=slack.api_url).chat_postMessage(channel=CHANNEL, text="x", blocks=[BUTTONS])

    result = slack.click("U0BOB", action_id="approve")

    assert not result["acked"]
    assert "not connected" in result["warning"]


def test_the_response_url_answers_the_person(slack: SlackServer, app: App) -> None:
    """What the app sends to the click's response_url is shown to the person alone, or changes the message."""
    slack.click("U0BOB", action_id="approve")
    hook = WebhookClient(app.next()["response_url"])

    hook.send(text="You voted before.")
    hook.send(text="closed", replace_original=True)
    state = slack.state()

    assert [(note["to"], note["text"]) for note in state["ephemerals"]] == [("U0BOB", "You voted before.")]
    assert [message["text"] for message in state["messages"][CHANNEL]] == ["closed"]


def test_commands_and_shortcuts_arrive(slack: SlackServer, app: App) -> None:
    """A slash command carries its text; the text of its ack is shown to the person alone."""
    app.answer = lambda request: {"text": "Two changes wait."} if request.type == "slash_commands" else None

    slack.act("say", user="U0DAVE", text="/passgate list waiting")
    slack.act("shortcut", user="U0DAVE", callback_id="new_change")
    command, shortcut = app.next(), app.next()

    assert (command["command"], command["text"], command["user_id"]) == ("/passgate", "list waiting", "U0DAVE")
    assert (shortcut["type"], shortcut["callback_id"]) == ("shortcut", "new_change")
    assert [(note["to"], note["text"]) for note in slack.state()["ephemerals"]] == [("U0DAVE", "Two changes wait.")]
