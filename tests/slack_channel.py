"""Look at the lab's Slack as its people do, and click there as they do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from passgate.model.change import Change
from tests.house import House, until

Json = dict[str, Any]
CHANNEL = "C0PASSGATE"
BOB, CAROL, ALICE, DAVE, GUEST = "U0BOB", "U0CAROL", "U0ALICE", "U0DAVE", "U0GUEST"
APPROVE, DENY, AGAIN = "passgate_approve", "passgate_deny", "passgate_again"


@dataclass(frozen=True)
class Channel:
    """The channel of a house."""

    house: House

    def parents(self, change: Change) -> list[Json]:
        """Return the messages of that change in the channel itself; there should be one."""
        messages = self._state()["messages"][CHANNEL]
        own = re.compile(rf"\b{change.id}\b")
        return [
            one
            for one in messages
            if one.get("thread_ts", one["ts"]) == one["ts"] and own.search(_words(one.get("blocks", [])[:1]))
        ]

    def parent(self, change: Change) -> Json:
        """Wait for the change's message in the channel."""
        until(lambda: bool(self.parents(change)), f"{change.id} shows in Slack", told=self.trouble)
        (found,) = self.parents(change)
        return found

    def shown(self, change: Change) -> str:
        """Return all words of the change's message."""
        return _words(self.parent(change)["blocks"])

    def marked_up(self, change: Change) -> list[str]:
        """Return the texts of the change's message in which Slack looks for mentions, links and formats."""
        parent = self.parent(change)
        return [parent["text"], *(_words(one) for one in _mrkdwn(parent["blocks"]))]

    def thread(self, change: Change) -> list[str]:
        """Return what the change's thread says, message by message."""
        ts = self.parent(change)["ts"]
        return [str(one["text"]) for one in self._state()["threads"][CHANNEL].get(ts, [])]

    def told(self, change: Change) -> list[str]:
        """Wait until the thread of a change that has ended tells of its evidence, and return the thread."""
        until(
            lambda: any("evidence" in one for one in self.thread(change)),
            f"the thread of {change.id} is whole",
            told=lambda: f"{self.trouble()} {self.thread(change)}",
        )
        return self.thread(change)

    def buttons(self, change: Change) -> list[str]:
        """Return the buttons that the change's message has now."""
        return [
            element["action_id"]
            for block in self.parent(change)["blocks"]
            if block["type"] == "actions"
            for element in block["elements"]
        ]

    def shows_buttons(self, change: Change) -> None:
        """Wait until the change can be decided in Slack."""
        until(lambda: self.buttons(change) == [APPROVE, DENY], f"{change.id} has buttons", told=self.trouble)

    def has_no_buttons(self, change: Change) -> None:
        """Wait until the change can't be decided in Slack any more; what came to nothing may be asked for again."""
        until(
            lambda: set(self.buttons(change)) <= {AGAIN}, f"{change.id} has no buttons", told=lambda: self.shown(change)
        )

    def click(self, person: str, change: Change, button: str = APPROVE, **how: Any) -> Json:
        """Click a button of the change's message as that person, and say yes where Slack asks again."""
        ts = self.parent(change)["ts"]
        return self.house.lab.control.slack("click", user=person, message_ts=ts, action_id=button, confirm=True, **how)

    def gate(self, change: Change) -> Json:
        """Wait for the message of the change's second gate in its thread."""
        ts = self.parent(change)["ts"]

        def found() -> list[Json]:
            thread: list[Json] = self._state()["threads"][CHANNEL].get(ts, [])
            return [one for one in thread if "the gate *" in _words(one["blocks"][:1]) and "before step" in one["text"]]

        until(lambda: bool(found()), f"{change.id} shows its gate", told=lambda: str(self.thread(change)))
        (message,) = found()
        return message

    def gate_buttons(self, change: Change) -> list[Json]:
        """Return the buttons of the gate's message."""
        blocks = self.gate(change)["blocks"]
        return [element for block in blocks if block["type"] == "actions" for element in block["elements"]]

    def click_gate(self, person: str, change: Change, button: str = APPROVE, **how: Any) -> Json:
        """Click a button of the gate's message as that person."""
        ts = self.gate(change)["ts"]
        return self.house.lab.control.slack("click", user=person, message_ts=ts, action_id=button, confirm=True, **how)

    def notes(self, person: str) -> list[str]:
        """Return what Passgate told that person alone, oldest first."""
        return [str(one["text"]) for one in self._state()["ephemerals"] if one["to"] == person]

    def note(self, person: str, *, after: int) -> str:
        """Wait until that person has more private notes than before, and return the newest."""
        until(lambda: len(self.notes(person)) > after, f"{person} is told privately", told=self.trouble)
        return self.notes(person)[-1]

    def trouble(self) -> str:
        """Return how the service says that chat stands."""
        return str(self.house.call("alice", "GET", "/v1/status").json().get("chat"))

    def _state(self) -> Json:
        return self.house.lab.control.slack("state")


def _words(block: Any) -> str:
    """Return every text in a block, in order."""
    match block:
        case {"text": str(text)}:
            return text
        case dict():
            return "\n".join(filter(None, map(_words, block.values())))
        case list():
            return "\n".join(filter(None, map(_words, block)))
    return ""


def _mrkdwn(block: Any) -> list[Json]:
    """Return the text objects in a block that are not plain."""
    match block:
        case {"type": "mrkdwn"}:
            return [block]
        case dict():
            return [one for part in block.values() for one in _mrkdwn(part)]
        case list():
            return [one for part in block for one in _mrkdwn(part)]
    return []
