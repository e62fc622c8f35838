"""Hold the state of the simulated Slack workspace: people, groups, channels, messages, open modals.

The workspace lives on the server's event loop and is touched there alone, so it needs no locks. Messages, people and
views are kept as the JSON that Slack itself shows, because that is what every reader of them wants.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

TEAM = "T0LAB"
TEAM_NAME = "Lab Example"
TEAM_DOMAIN = "lab-example"
APP = "A0PASSGATE"
BOT_USER = "U0PASSGATE"
BOT = "B0PASSGATE"
CHANNEL = "C0PASSGATE"
TRIGGER_LIFE = 3.0
SCOPES = (
    "channels:history",
    "channels:read",
    "chat:write",
    "commands",
    "files:write",
    "reactions:write",
    "usergroups:read",
    "users:read",
    "users:read.email",
)


def person(user_id: str, real_name: str, **flags: bool) -> Json:
    """Return a member as users.info shows one."""
    handle = real_name.lower().replace(" ", ".")
    profile = {"real_name": real_name, "display_name": real_name, "email": f"{handle}@lab.example", "team": TEAM}
    base = {"id": user_id, "team_id": TEAM, "name": handle, "real_name": real_name, "tz": "Etc/UTC", "profile": profile}
    standing = dict.fromkeys(
        ("deleted", "is_bot", "is_admin", "is_restricted", "is_ultra_restricted", "is_stranger"), False
    )
    return base | standing | flags


PEOPLE = (
    person("U0ALICE", "Alice Archer"),
    person("U0BOB", "Bob Berger"),
    person("U0CAROL", "Carol Chen"),
    person("U0DAVE", "Dave Diaz"),
    person("U0GUEST", "Greta Guest", is_restricted=True),
    person(BOT_USER, "Passgate", is_bot=True),
)
GROUPS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {"S0OPS": ("operations", "Operations", ("U0BOB", "U0CAROL"))}


@dataclass
class Trigger:
    """A person's act that may open one modal, for three seconds."""

    user: str
    expires: float
    used: bool = False


@dataclass
class Workspace:
    """Everything that the simulated Slack knows."""

    url: str = ""
    scopes: set[str] = field(default_factory=lambda: set(SCOPES))
    people: dict[str, Json] = field(default_factory=lambda: {one["id"]: deepcopy(one) for one in PEOPLE})
    groups: dict[str, tuple[str, str, tuple[str, ...]]] = field(default_factory=lambda: dict(GROUPS))
    channels: dict[str, str] = field(default_factory=lambda: {CHANNEL: "passgate"})
    messages: dict[str, dict[str, Json]] = field(default_factory=lambda: {CHANNEL: {}})
    former: dict[str, list[Json]] = field(default_factory=dict)
    """Blocks that messages had before they were edited, by ts: what a client that is behind still shows."""
    ephemerals: list[Json] = field(default_factory=list)
    modals: dict[str, list[Json]] = field(default_factory=dict)
    homes: dict[str, Json] = field(default_factory=dict)
    warnings: list[Json] = field(default_factory=list)
    files: dict[str, Json] = field(default_factory=dict)
    triggers: dict[str, Trigger] = field(default_factory=dict)
    response_urls: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    version: int = 0
    _last_ts: int = 0
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self) -> None:
        """Wake everybody who watches the workspace."""
        self.version += 1
        self._news.set()
        self._news = asyncio.Event()

    async def news(self) -> None:
        """Wait until the workspace changes."""
        await self._news.wait()

    def stamp(self) -> str:
        """Return a message timestamp that was never given out before and is greater than all before it."""
        self._last_ts = max(time.time_ns() // 1000, self._last_ts + 1)
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def new_id(self, letter: str) -> str:
        """Return an id in Slack's manner."""
        return f"{letter}0{next(self._numbers):08d}"

    def new_trigger(self, user: str) -> str:
        """Return a trigger id: it opens one modal for this person within three seconds."""
        name = f"{next(self._numbers)}.{time.time_ns() // 1000}.{secrets.token_hex(16)}"
        self.triggers[name] = Trigger(user, time.monotonic() + TRIGGER_LIFE)
        return name

    def named(self, blocks: list[Json]) -> list[Json]:
        """Return the blocks with the ids that Slack gives where the app gave none."""
        blocks = deepcopy(blocks)
        for block in blocks:
            block.setdefault("block_id", secrets.token_urlsafe(4)[:5])
            for element in [*block.get("elements", []), block.get("accessory"), block.get("element")]:
                if isinstance(element, dict) and element.get("type") not in {"plain_text", "mrkdwn", "image", None}:
                    element.setdefault("action_id", secrets.token_urlsafe(4)[:5])
        return blocks

    def post(self, channel: str, message: Json) -> Json:
        """Keep a message under a new timestamp, and count it in its thread."""
        message = {"type": "message", "team": TEAM, "ts": self.stamp(), **message}
        self.messages[channel][message["ts"]] = message
        self.recount(channel, message.get("thread_ts"))
        self.changed()
        return message

    def recount(self, channel: str, thread_ts: str | None) -> None:
        """Bring a thread's parent up to date with its replies."""
        parent = self.messages[channel].get(thread_ts or "")
        if parent is None:
            return
        replies = self.replies(channel, parent["ts"])
        if not replies:
            for name in ("thread_ts", "reply_count", "reply_users_count", "reply_users", "latest_reply"):
                parent.pop(name, None)
            return
        users = list(dict.fromkeys(reply["user"] for reply in replies))
        parent |= {
            "thread_ts": parent["ts"],
            "reply_count": len(replies),
            "reply_users_count": len(users),
            "reply_users": users[:5],
            "latest_reply": replies[-1]["ts"],
        }

    def replies(self, channel: str, thread_ts: str) -> list[Json]:
        """Return the replies of a thread, oldest first, without the parent."""
        return [
            message
            for message in self.messages[channel].values()
            if message.get("thread_ts") == thread_ts and message["ts"] != thread_ts
        ]

    def top(self, channel: str) -> list[Json]:
        """Return the messages that stand in the channel itself, oldest first."""
        return [one for one in self.messages[channel].values() if one.get("thread_ts", one["ts"]) == one["ts"]]

    def view(self, view_id: str) -> tuple[str, Json] | None:
        """Return who has the modal open, and the modal."""
        return next(
            ((user, view) for user, stack in self.modals.items() for view in stack if view["id"] == view_id), None
        )

    def warn(self, user: str, words: str, *, message_ts: str = "", view_id: str = "") -> None:
        """Show a person that what they did came to nothing."""
        self.warnings.append(
            {"ts": self.stamp(), "user": user, "text": words, "message_ts": message_ts, "view_id": view_id}
        )
        self.changed()

    def snapshot(self) -> Json:
        """Return all that a viewer may see, as JSON."""
        return deepcopy(
            {
                "version": self.version,
                "team": {"id": TEAM, "name": TEAM_NAME},
                "bot": BOT_USER,
                "people": list(self.people.values()),
                "groups": [
                    {"id": group, "handle": handle, "name": name, "users": list(users)}
                    for group, (handle, name, users) in self.groups.items()
                ],
                "channels": [{"id": channel, "name": name} for channel, name in self.channels.items()],
                "messages": {channel: list(messages.values()) for channel, messages in self.messages.items()},
                "threads": {
                    channel: {
                        one["ts"]: self.replies(channel, one["ts"]) for one in self.top(channel) if "reply_count" in one
                    }
                    for channel in self.channels
                },
                "ephemerals": self.ephemerals,
                "modals": self.modals,
                "homes": self.homes,
                "warnings": self.warnings,
            }
        )
