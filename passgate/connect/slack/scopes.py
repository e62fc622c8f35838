"""Name the bot scopes that the app needs, what each is for, and what does not work without it. Data.

Slack needs no scope for clicks, modals and the App Home. The app manifest in docs/how-to/ asks for all of these.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum


class Use(StrEnum):
    """Say who needs a scope: every site, or those whose config asks for something more."""

    ALWAYS = "always"
    USER_GROUPS = "user groups"
    HEARTBEAT = "heartbeat"


@dataclass(frozen=True)
class Scope:
    """Hold one scope; `without` says what its lack costs, `or_else` which scope does as well in some places."""

    name: str
    use: str
    without: str
    of: Use = Use.ALWAYS
    or_else: str = ""


SCOPES = (
    Scope("chat:write", "post and edit messages", "nothing is asked or told in Slack"),
    Scope(
        "channels:history",
        "find its own messages after a lost answer",
        "no message is sent after an answer that was lost, because it may be there already",
        or_else="groups:history",
    ),
    Scope("users:read", "tell members from guests and bots", "every click is refused"),
    Scope("commands", "offer /passgate and the shortcut", "nobody can ask for a change in Slack"),
    Scope(
        "files:write",
        "put a plan that is too long for a message into its thread",
        "people who decide see the beginning of a long plan, and the rest only at a shell",
    ),
    Scope(
        "usergroups:read",
        "see who is in the user groups that `slack_groups` binds",
        "nobody decides who counts by such a group alone",
        Use.USER_GROUPS,
    ),
    Scope(
        "groups:history",
        "hear its own heartbeat in a private channel",
        "the heartbeat never comes back, and the socket is taken for deaf",
        Use.HEARTBEAT,
    ),
)


def missing(held: Collection[str], uses: Collection[Use] = (Use.ALWAYS,)) -> tuple[Scope, ...]:
    """Return the scopes that are needed for these uses and not held."""
    return tuple(one for one in SCOPES if one.of in uses and not {one.name, one.or_else} & set(held))
