"""Look into the lab's Slack, and click in it as a person would: what is clicked goes out over its real websocket."""

from __future__ import annotations

import html
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from passgate.errors import WorldError
from passgate.faces.cli.demo_stories import PLAN
from passgate.lab import lifecycle

Json = dict[str, Any]

APPROVE = "passgate_approve"
PATIENCE = 15.0


@dataclass(frozen=True)
class Approver:
    """Somebody of the lab's workspace who may approve what Alice asks for."""

    person: str
    name: str
    user: str


APPROVERS = (Approver("bob", "Bob", "U0BOB"), Approver("carol", "Carol", "U0CAROL"))
OTHERS = (Approver("dave", "Dave", "U0DAVE"),)


def person(name: str) -> Approver:
    """Return somebody of the lab's workspace by the id in config/people.yaml."""
    return next(one for one in (*APPROVERS, *OTHERS) if one.person == name)


def another(than: set[str]) -> Approver:
    """Return who may approve besides these people: those who approved the plan may not count at a second gate."""
    return next((one for one in APPROVERS if one.person not in than), APPROVERS[0])


class LabSlack:
    """Speak to the Slack workspace of the lab that runs in a home."""

    def __init__(self, home: Path) -> None:
        self.page = lifecycle.status(home).page
        self._token = (home / "lab/control.token").read_text(encoding="utf-8").strip()

    def asked(self, change: str, gate: str) -> Json | None:
        """Return the message that asks for a decision at a gate, if it is there; the plan's is the change's own."""
        parent = self._parent(change)
        if parent is None or gate == PLAN:
            return parent
        at = f"at the gate {gate}"
        return next((one for one in self._below(parent) if at in one["text"].replace("*", "")), None)

    def address(self, change: str, approver: Approver) -> str:
        """Return where a browser shows the change's thread, to the person who may approve it."""
        parent = self._parent(change)
        return f"{self.page}?as={approver.user}" + (f"&thread={parent['ts']}" if parent else "")

    def click_approve(self, message: Json, approver: Approver) -> bool:
        """Click Approve and confirm as that person; False when somebody was faster and the button is gone."""
        try:
            told = self._call("click", user=approver.user, action_id=APPROVE, message_ts=message["ts"], confirm=True)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        if not told["acked"]:
            raise WorldError(f"{approver.name}'s click in Slack was not answered. {told['warning']}", subject="slack")
        return True

    def has_open_dialog(self) -> bool:
        """Say whether somebody has a dialog open, such as the one that asks why a change is denied."""
        return any(self._state()["modals"].values())

    def thread(self, change: str) -> Iterator[str]:
        """Yield the change's message and its thread as plain text, one line each."""
        parent = self._parent(change)
        if parent is not None:
            names = {one["id"]: one["real_name"] for one in self._state()["people"]}
            yield from (_plain(one["text"], names) for one in (parent, *self._below(parent)))

    def _parent(self, change: str) -> Json | None:
        for message in self._messages():
            if message.get("thread_ts", message["ts"]) == message["ts"] and f" {change} " in message["text"]:
                return message
        return None

    def _below(self, parent: Json) -> list[Json]:
        return [one for one in self._messages() if one.get("thread_ts") == parent["ts"] != one["ts"]]

    def _messages(self) -> list[Json]:
        return [one for messages in self._state()["messages"].values() for one in messages]

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
