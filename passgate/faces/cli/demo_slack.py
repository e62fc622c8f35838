"""Look into the lab's Slack, and click in it as a person would: what is clicked goes out over its real websocket."""

from __future__ import annotations

import html
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from passgate.errors import WorldError
from passgate.lab import lifecycle

Json = dict[str, Any]

APPROVER = "U0BOB"
APPROVE = "passgate_approve"
PATIENCE = 15.0


class LabSlack:
    """Speak to the Slack workspace of the lab that runs in a home."""

    def __init__(self, home: Path) -> None:
        self.page = lifecycle.status(home).page
        self._token = (home / "lab/control.token").read_text(encoding="utf-8").strip()

    def parent(self, change: str) -> Json | None:
        """Return the change's message in the channel, if it is there yet."""
        for messages in self._state()["messages"].values():
            for message in messages:
                if message.get("thread_ts", message["ts"]) == message["ts"] and f" {change} " in message["text"]:
                    found: Json = message
                    return found
        return None

    def address(self, message: Json) -> str:
        """Return where a browser shows the message's thread, to the person who may approve it."""
        return f"{self.page}?as={APPROVER}&thread={message['ts']}"

    def click_approve(self, message: Json) -> bool:
        """Click Approve and confirm, as Bob; False when somebody was faster and the button is gone."""
        try:
            told = self._call("click", user=APPROVER, action_id=APPROVE, message_ts=message["ts"], confirm=True)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        if not told["acked"]:
            raise WorldError(f"Bob's click in Slack was not answered. {told['warning']}", subject="slack")
        return True

    def has_open_dialog(self) -> bool:
        """Say whether somebody has a dialog open, such as the one that asks why a change is denied."""
        return any(self._state()["modals"].values())

    def thread(self, message: Json) -> Iterator[str]:
        """Yield the message and its thread as plain text, one line each."""
        state = self._state()
        names = {one["id"]: one["real_name"] for one in state["people"]}
        for messages in state["messages"].values():
            for one in messages:
                if message["ts"] in {one["ts"], one.get("thread_ts")}:
                    yield _plain(one["text"], names)

    def _state(self) -> Json:
        return self._call("state")

    def _call(self, what: str, **act: Any) -> Json:
        request = urllib.request.Request(  # noqa: S310 - the lab's own loopback address
            f"{self.page}_lab/slack/{what}",
            data=json.dumps(act).encode() if act else None,
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - as above
            told: Json = json.load(answer)
            return told


def _plain(text: str, names: dict[str, str]) -> str:
    named = re.sub(r"<@(\w+)>", lambda found: f"@{names.get(found[1], found[1])}", text)
    return html.unescape(re.sub(r"\*([^*\n]+)\*", r"\1", named)).replace("\n", " ")
