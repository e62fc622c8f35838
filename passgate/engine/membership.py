"""Read Slack's user groups, where config/people.yaml binds groups to them: from memory to file, anew to decide."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path

from passgate.connect.slack import SlackConnector
from passgate.engine.authority import Clock
from passgate.errors import ConfigError, PassgateError, PolicyError, RefusedError, WorldError
from passgate.policy.user_groups import Proof, members_only
from passgate.settings.load import resolve
from passgate.settings.people import People
from passgate.settings.shape import Config

log = logging.getLogger(__name__)

STALE = timedelta(minutes=5)
"""For so long what was read is good enough to say who is asked (usergroups.users.list is Tier 2: 20 a minute)."""
FRESH = timedelta(seconds=10)
"""For so long it is good enough to decide on: a crowd of clicks asks Slack once."""
PATIENCE = 8.0
"""Seconds that Slack has to answer."""


class Membership:
    """Know who is in the user groups that config binds. Nothing is asked where it binds none."""

    def __init__(self, config: Config, home: Path, clock: Clock) -> None:
        self._config, self._home, self._clock = config, home, clock
        self._read: dict[str, tuple[datetime, frozenset[str]]] = {}

    async def people(self) -> People:
        """Return the people with the groups that they are in by list and by Slack.

        Where Slack can't say, the list alone tells who is asked: before anybody decides it has to be proven anew.
        """
        people, found = self._config.people, dict[str, frozenset[str]]()
        for group in people.slack_groups:
            try:
                found[group] = await self._members(group, STALE)
            except PassgateError as error:
                log.warning("Who is asked is told by config/people.yaml alone: %s", error.message)
        return members_only(people, found) if found else people

    async def look(self) -> None:
        """Read each user group anew. Raises WorldError in words of the first that can't be read."""
        for group in self._config.people.slack_groups:
            await self._members(group, timedelta(0))

    async def require(self, proofs: Collection[Proof]) -> None:
        """Return when all of them still are in the user groups. Raises PolicyError in words when not, or not known."""
        for one in proofs:
            if not [group for group in one.groups if self._slack_id(one.person) in await self._now(group)]:
                names = " or ".join(f"{group!r}" for group in one.groups)
                raise PolicyError(
                    f"{one.person} is not in the Slack user group of {names} any more, and so can't decide as one of "
                    "them. Nothing was recorded.",
                    hint="Whoever keeps that user group in Slack can put them back; others who are asked can decide.",
                    subject=one.person,
                )

    async def _now(self, group: str) -> frozenset[str]:
        try:
            return await self._members(group, FRESH)
        except PassgateError as error:
            raise PolicyError(
                f"Who is in the group {group!r} could not be asked of Slack: {error.message} Nothing was recorded.",
                hint=f"{error.hint} Try again; or ask somebody who counts by config/people.yaml alone.".strip(),
                subject=group,
            ) from None

    def _slack_id(self, person: str) -> str | None:
        return next((one.slack for one in self._config.people.people if one.id == person), None)

    async def _members(self, group: str, age: timedelta) -> frozenset[str]:
        known = self._read.get(group)
        if known is None or self._clock() - known[0] >= age:
            known = self._read[group] = (self._clock(), await self._asked(group))
        return known[1]

    async def _asked(self, group: str) -> frozenset[str]:
        slack, bound = self._config.chat.slack, self._config.people.slack_groups[group]
        if slack is None:
            raise ConfigError("config/chat.yaml names no Slack.", hint="Name it, or take `slack_groups` out.")
        token, url = (resolve(one, self._home) for one in (slack.bot_token, slack.api_url))
        try:
            async with asyncio.timeout(PATIENCE), SlackConnector(bot_token=token, api_url=url) as connector:
                return frozenset(await connector.usergroup(bound))
        except TimeoutError:
            raise WorldError(f"Slack did not answer within {PATIENCE:.0f} s.") from None
        except RefusedError as error:
            raise _refused(error, group, bound) from None


def _refused(error: RefusedError, group: str, bound: str) -> WorldError:
    if error.fault == "plan_upgrade_required":
        return WorldError(
            "This Slack workspace has no user groups: its plan has none.",
            hint=f"List the members of {group!r} in config/people.yaml, and take `slack_groups` out.",
            subject=group,
        )
    if error.fault in {"no_such_subteam", "subteam_not_found"}:
        return WorldError(
            f"Slack knows no user group {bound}.", hint="Correct its id in config/people.yaml.", subject=group
        )
    return error
