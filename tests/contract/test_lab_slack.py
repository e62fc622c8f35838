"""The lab's Slack answers Slack's own client as Slack does: results, errors, limits, rates and faults."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from passgate.lab.slack import SlackServer

CHANNEL = "C0PASSGATE"
CONTROL = "control-token"


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    """Run the workspace."""
    with SlackServer(bot_token="xoxb-lab", app_token="xapp-lab", control_token=CONTROL) as server:
        yield server


@pytest.fixture
def web(slack: SlackServer) -> WebClient:
    """Return the bot's own client, which repeats nothing by itself."""
    return WebClient("xoxb-lab", base_url=slack.api_url, retry_handlers=[], timeout=5)


def refused(call: Any, **args: Any) -> dict[str, Any]:
    """Return Slack's answer to a call that it must refuse."""
    with pytest.raises(SlackApiError) as caught:
        call(**args)
    return dict(caught.value.response.data)


def section(text: str) -> dict[str, Any]:
    """Return a section block."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def button(**parts: Any) -> dict[str, Any]:
    """Return a button."""
    return {"type": "button", "action_id": "go", "text": {"type": "plain_text", "text": "Go"}, **parts}


def test_a_message_goes_through_its_whole_life(web: WebClient) -> None:
    """Posted, changed, threaded, read back in Slack's order, linked and deleted."""
    parent = web.chat_postMessage(channel="#passgate", text="first", blocks=[section("first")])
    reply = web.chat_postMessage(channel=CHANNEL, text="reply", thread_ts=parent["ts"])
    second = web.chat_postMessage(channel=CHANNEL, text="second")
    web.chat_update(channel=CHANNEL, ts=parent["ts"], text="changed")

    history = web.conversations_history(channel=CHANNEL)["messages"]
    thread = web.conversations_replies(channel=CHANNEL, ts=parent["ts"])["messages"]

    assert [message["text"] for message in history] == ["second", "changed"]
    assert "blocks" not in history[1]
    assert history[1]["edited"]["user"] == "U0PASSGATE"
    assert (history[1]["reply_count"], history[1]["latest_reply"]) == (1, reply["ts"])
    assert [message["ts"] for message in thread] == [parent["ts"], reply["ts"]]
    assert parent["ts"] < reply["ts"] < second["ts"]
    assert parent["ts"].replace(".", "") in web.chat_getPermalink(channel=CHANNEL, message_ts=parent["ts"])["permalink"]

    web.chat_delete(channel=CHANNEL, ts=second["ts"])

    assert len(web.conversations_history(channel=CHANNEL)["messages"]) == 1


def test_metadata_is_shown_only_to_those_who_ask(web: WebClient) -> None:
    """A repost is avoided by metadata, so it must come back whole when asked for."""
    metadata = {"event_type": "change", "event_payload": {"id": "CHG-0001"}}
    web.chat_postMessage(channel=CHANNEL, text="x", metadata=metadata)

    plain = web.conversations_history(channel=CHANNEL)["messages"][0]
    asked = web.conversations_history(channel=CHANNEL, include_all_metadata=True)["messages"][0]

    assert "metadata" not in plain
    assert asked["metadata"] == metadata


def test_history_is_given_in_pages(web: WebClient) -> None:
    """A cursor leads through all messages without losing or doubling one."""
    for number in range(5):
        web.chat_postMessage(channel=CHANNEL, text=str(number))

    pages = [page["messages"] for page in web.conversations_history(channel=CHANNEL, limit=2)]

    assert [[message["text"] for message in page] for page in pages] == [["4", "3"], ["2", "1"], ["0"]]


def test_people_and_groups_are_known(web: WebClient) -> None:
    """The directory holds the lab's people, and the operations group has Bob and Carol."""
    people = {member["id"]: member for member in web.users_list()["members"]}

    assert web.usergroups_users_list(usergroup="S0OPS")["users"] == ["U0BOB", "U0CAROL"]
    assert web.usergroups_list(include_users=True)["usergroups"][0]["users"] == ["U0BOB", "U0CAROL"]
    assert people["U0ALICE"]["real_name"] == "Alice Archer"
    assert people["U0GUEST"]["is_restricted"]
    assert people["U0PASSGATE"]["is_bot"]
    assert web.auth_test()["user_id"] == "U0PASSGATE"
    assert "usergroups:read" in web.auth_test().headers["x-oauth-scopes"]
    assert web.conversations_info(channel=CHANNEL)["channel"]["name"] == "passgate"


def test_a_file_is_shared_in_the_thread(web: WebClient) -> None:
    """slack_sdk's three-step upload works, and the file comes back as it went in."""
    parent = web.chat_postMessage(channel=CHANNEL, text="plan")
    web.files_upload_v2(channel=CHANNEL, thread_ts=parent["ts"], content="the plan", filename="plan.txt", title="Plan")

    shared = web.conversations_replies(channel=CHANNEL, ts=parent["ts"])["messages"][1]["files"][0]

    assert shared["title"] == "Plan"
    with urllib.request.urlopen(shared["url_private"], timeout=5) as answer:  # noqa: S310 - loopback
        assert answer.read() == b"the plan"


WRONG_BLOCKS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "long section": ([section("x" * 3001)], "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"),
    "long header": (
        [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}],
        "must be less than 151 characters [json-pointer:/blocks/0/text/text]",
    ),
    "marked header": (
        [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}],
        "unsupported type: mrkdwn [json-pointer:/blocks/0/text/type]",
    ),
    "51 blocks": ([{"type": "divider"}] * 51, "no more than 50 items allowed [json-pointer:/blocks]"),
    "26 buttons": (
        [{"type": "actions", "elements": [button(action_id=str(n)) for n in range(26)]}],
        "no more than 25 items allowed [json-pointer:/blocks/0/elements]",
    ),
    "11 in context": (
        [{"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 11}],
        "no more than 10 items allowed [json-pointer:/blocks/0/elements]",
    ),
    "long button": (
        [{"type": "actions", "elements": [button(text={"type": "plain_text", "text": "x" * 76})]}],
        "must be less than 76 characters [json-pointer:/blocks/0/elements/0/text/text]",
    ),
    "long value": (
        [{"type": "actions", "elements": [button(value="x" * 2001)]}],
        "must be less than 2001 characters [json-pointer:/blocks/0/elements/0/value]",
    ),
    "long confirm": (
        [
            {
                "type": "actions",
                "elements": [
                    button(
                        confirm={
                            "title": {"type": "plain_text", "text": "Sure?"},
                            "text": {"type": "mrkdwn", "text": "x" * 301},
                            "confirm": {"type": "plain_text", "text": "Yes"},
                            "deny": {"type": "plain_text", "text": "No"},
                        }
                    )
                ],
            }
        ],
        "must be less than 301 characters [json-pointer:/blocks/0/elements/0/confirm/text/text]",
    ),
    "twin block_id": (
        [{"type": "divider", "block_id": "a"}, {"type": "divider", "block_id": "a"}],
        "block_id already exists: a [json-pointer:/blocks/1/block_id]",
    ),
    "twin action_id": (
        [{"type": "actions", "elements": [button(), button()]}],
        "action_id already exists: go [json-pointer:/blocks/0/elements/1/action_id]",
    ),
    "unknown block": ([{"type": "table_tennis"}], "unsupported type: table_tennis [json-pointer:/blocks/0/type]"),
    "unknown field": ([{"type": "divider", "colour": "red"}], "invalid additional property: colour"),
    "empty section": ([{"type": "section"}], "must provide text or fields [json-pointer:/blocks/0]"),
    "empty text": ([section("")], "must be more than 0 characters [json-pointer:/blocks/0/text/text]"),
}


@pytest.mark.parametrize(("blocks", "message"), WRONG_BLOCKS.values(), ids=WRONG_BLOCKS.keys())
def test_wrong_blocks_are_refused_in_slacks_words(web: WebClient, blocks: list[dict[str, Any]], message: str) -> None:
    """Each limit of Block Kit is kept, and the answer points at the fault."""
    answer = refused(web.chat_postMessage, channel=CHANNEL, text="x", blocks=blocks)

    assert answer["error"] == "invalid_blocks"
    assert any(words.startswith(f"[ERROR] {message}") for words in answer["response_metadata"]["messages"])


def test_blocks_at_their_limits_are_taken(web: WebClient) -> None:
    """A limit refuses what is over it, not what is at it."""
    buttons = [button(action_id=str(number), value="x" * 2000) for number in range(25)]
    blocks = [section("x" * 3000), {"type": "actions", "elements": buttons}, *[{"type": "divider"}] * 48]

    assert len(web.chat_postMessage(channel=CHANNEL, text="x", blocks=blocks)["message"]["blocks"]) == 50


def test_calls_are_refused_as_slack_refuses_them(web: WebClient, slack: SlackServer) -> None:
    """Each error that the product must tell apart comes with Slack's own name."""
    own = web.chat_postMessage(channel=CHANNEL, text="x")["ts"]
    theirs = slack.act("say", user="U0BOB", text="hello")["ts"]
    post, update = web.chat_postMessage, web.chat_update

    assert refused(post, channel="C0NOWHERE", text="x")["error"] == "channel_not_found"
    assert refused(web.api_call, api_method="chat.postMessage", json={"channel": CHANNEL})["error"] == "no_text"
    assert refused(post, channel=CHANNEL, text="x" * 40_001)["error"] == "msg_too_long"
    assert refused(post, channel=CHANNEL, text="x", blocks=[section("x" * 3000)] * 5)["error"] == "msg_blocks_too_long"
    assert refused(post, channel=CHANNEL, text="x", blocks={"a": 1})["error"] == "invalid_blocks_format"
    assert refused(update, channel=CHANNEL, ts=own, text="x" * 4_001)["error"] == "msg_too_long"
    assert refused(update, channel=CHANNEL, ts="1.000001", text="x")["error"] == "message_not_found"
    assert refused(update, channel=CHANNEL, ts=theirs, text="x")["error"] == "cant_update_message"
    assert refused(web.users_info, user="U0NOBODY")["error"] == "user_not_found"
    assert refused(web.views_open, trigger_id="1.2.3", view={"type": "modal"})["error"] == "invalid_arguments"
    assert refused(web.api_call, api_method="chat.fly")["error"] == "unknown_method"
    assert refused(web.apps_connections_open, app_token="xoxb-lab")["error"] == "not_allowed_token_type"
    assert refused(WebClient("wrong", base_url=slack.api_url).auth_test)["error"] == "invalid_auth"
    assert refused(WebClient(base_url=slack.api_url).auth_test)["error"] == "not_authed"

    slack.order(scopes=["chat:write"])

    answer = refused(web.usergroups_list)
    assert (answer["error"], answer["needed"], answer["provided"]) == ("missing_scope", "usergroups:read", "chat:write")


def test_posting_too_fast_is_told_how_long_to_wait(web: WebClient, slack: SlackServer) -> None:
    """With the limit on, a burst passes and the next message gets 429 with Retry-After; other methods do not."""
    slack.order(rate_limit=True)

    def flood() -> None:
        for number in range(20):
            web.chat_postMessage(channel=CHANNEL, text=str(number))

    with pytest.raises(SlackApiError) as caught:
        flood()

    assert caught.value.response.status_code == 429
    assert caught.value.response.data["error"] == "ratelimited"
    assert int(caught.value.response.headers["Retry-After"]) >= 1
    assert len(web.conversations_history(channel=CHANNEL)["messages"]) >= 5


def texts(slack: SlackServer) -> list[str]:
    """Return what stands in the channel."""
    return [message["text"] for message in slack.state()["messages"][CHANNEL]]


def test_ordered_failures_come_once_each_and_then_end(web: WebClient, slack: SlackServer) -> None:
    """A fault hits its own method, as often as was ordered, and leaves no message behind."""
    slack.fail("chat.postMessage", error="fatal_error")
    slack.fail("chat.postMessage", status=502)
    slack.fail("chat.postMessage", status=429, retry_after=7)

    assert web.auth_test()["ok"]
    assert refused(web.chat_postMessage, channel=CHANNEL, text="1")["error"] == "fatal_error"
    with pytest.raises(SlackApiError) as bad_gateway:
        web.chat_postMessage(channel=CHANNEL, text="2")
    with pytest.raises(SlackApiError) as limited:
        web.chat_postMessage(channel=CHANNEL, text="3")
    web.chat_postMessage(channel=CHANNEL, text="4")

    assert bad_gateway.value.response.status_code == 502
    assert limited.value.response.headers["Retry-After"] == "7"
    assert texts(slack) == ["4"]


@pytest.mark.parametrize(("after", "left"), [(False, []), (True, ["x"])])
def test_a_cut_connection_may_hide_a_post_that_exists(
    web: WebClient, slack: SlackServer, *, after: bool, left: list[str]
) -> None:
    """The connection breaks before or after the post took effect; the client can't tell, the channel can."""
    slack.fail("chat.postMessage", drop=True, after=after)

    with pytest.raises((ConnectionError, urllib.error.URLError)):
        web.chat_postMessage(channel=CHANNEL, text="x")
    assert texts(slack) == left


def test_a_silent_slack_runs_into_the_clients_own_limit(slack: SlackServer) -> None:
    """A call that hangs is cut by the client's time-out, not answered."""
    slack.fail("auth.test", hang=60)

    with pytest.raises((TimeoutError, urllib.error.URLError)):
        WebClient("xoxb-lab", base_url=slack.api_url, retry_handlers=[], timeout=1).auth_test()


def test_an_outage_refuses_all_calls_until_it_ends(web: WebClient, slack: SlackServer) -> None:
    """While Slack is down nothing is answered; afterwards everything is, and nothing was lost that was there."""
    web.chat_postMessage(channel=CHANNEL, text="before")
    slack.go_down(60)

    with pytest.raises((ConnectionError, urllib.error.URLError)):
        web.auth_test()

    slack.clear_faults()
    web.chat_postMessage(channel=CHANNEL, text="after")

    assert texts(slack) == ["before", "after"]


def ask(slack: SlackServer, path: str, body: Any = None, token: str = CONTROL) -> Any:
    """Use the lab's controls over HTTP."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{slack.url}_lab/slack/{path}", data, headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
        return json.load(answer)


def test_the_controls_work_over_http_with_the_token_only(web: WebClient, slack: SlackServer) -> None:
    """Another process can order faults, act and look, when it has the token; nobody else can."""
    ask(slack, "faults", {"method": "auth.test", "error": "fatal_error"})
    said = ask(slack, "say", {"user": "U0BOB", "text": "a <b> & c"})

    assert refused(web.auth_test)["error"] == "fatal_error"
    assert said["ok"]
    assert ask(slack, "state")["messages"][CHANNEL][0]["text"] == "a &lt;b&gt; &amp; c"
    for path, body in (("state", None), ("faults", {"down": 60}), ("say", {"user": "U0BOB", "text": "x"})):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            ask(slack, path, body, token="")
