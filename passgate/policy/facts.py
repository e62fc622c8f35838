"""Hold what policy and calendar are told of a change, and say which changes a selector is about. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

from pydantic import Field

from passgate.model.decision import Kind
from passgate.model.frozen import Frozen
from passgate.model.plan import Risk
from passgate.model.target import Target
from passgate.settings.rules import Hours, Selector

WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Facts(Frozen):
    """Hold all that policy and calendar may decide on. `requester` and `behind` are person ids, `groups` theirs.

    `behind` are people who stand behind the change beside who asked, such as a schedule's author. `warnings` are the
    codes of unmet checks that a decision would override, `gates` the second gates of the plan, `used` the moments of
    the standard changes of late, by the rule that authorised them.
    """

    runbook: str
    risk: Risk
    requester: str
    at: datetime
    kind: Kind = Kind.NORMAL
    targets: tuple[Target, ...] = ()
    behind: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    used: dict[str, tuple[datetime, ...]] = Field(default_factory=dict)

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of the VMs (`vm`) or hosts (`host`) that it is about."""
        return tuple(one.name for one in self.targets if one.kind == kind)


def selects(selector: Selector, facts: Facts, *, every: bool) -> bool:
    """Say whether a selector is about a change: with `every`, only if each of its VMs, hosts, tagged things fits.

    What allows something must be asked with `every`, or one test VM would carry a production VM through; what asks for
    something, or forbids, without, or one test VM would excuse it.
    """
    vms = facts.names("vm")
    hosts = [one.name if one.kind == "host" else one.host for one in facts.targets]
    clusters = [one.cluster for one in facts.targets]
    return (
        any(fnmatchcase(facts.runbook, pattern) for pattern in selector.runbooks or ("*",))
        and (not selector.risks or facts.risk.value in selector.risks)
        and (not selector.kinds or facts.kind.value in selector.kinds)
        and _fit(selector.vms, [(vm,) for vm in vms], every=every)
        and _fit(selector.hosts, [(host,) for host in hosts], every=every)
        and _fit(selector.clusters, [(cluster,) for cluster in clusters], every=every)
        and _fit(selector.tags, [one.tags for one in facts.targets], every=every)
        and _fit(selector.environments, [one.environments for one in facts.targets], every=every)
        and _is_any(selector.requesters, {facts.requester, *facts.groups})
    )


def in_hours(hours: Collection[Hours], at: datetime) -> bool:
    """Say whether a moment lies in any of these hours; none means always."""
    return not hours or any(_holds(one, at) for one in hours)


def _holds(hours: Hours, at: datetime) -> bool:
    local = at.astimezone(ZoneInfo(hours.zone))
    now, today = f"{local:%H:%M}", WEEK[local.weekday()]
    if hours.start < hours.end:
        return today in hours.days and hours.start <= now < hours.end
    yesterday = WEEK[local.weekday() - 1]
    return (today in hours.days and now >= hours.start) or (yesterday in hours.days and now < hours.end)


def _fit(patterns: Iterable[str], of_each: list[tuple[str, ...]], *, every: bool) -> bool:
    wanted = tuple(patterns)
    if not wanted or "*" in wanted:
        return True
    fitting = [any(fnmatchcase(name, pattern) for name in names for pattern in wanted) for names in of_each]
    return bool(fitting) and (all(fitting) if every else any(fitting))


def _is_any(wanted: Collection[str], given: set[str]) -> bool:
    return not wanted or "*" in wanted or bool(given & set(wanted))
