"""Answer what the calendar says, and take overrides of freezes, from every door."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from passgate.connect.vsphere.reading import Scope
from passgate.engine.gate import reconsider, settle
from passgate.engine.opening import expected_of, facts_of, groups_of, opening
from passgate.engine.runtime import Runtime
from passgate.engine.targets import targets_named
from passgate.errors import InputError, UnknownNameError
from passgate.model.change import Actor, Change, Override, State
from passgate.model.inventory import Inventory
from passgate.model.target import Target
from passgate.policy.calendar import look
from passgate.policy.calendar_words import explained
from passgate.policy.estimate import total
from passgate.policy.facts import Facts
from passgate.policy.occurrences import moment
from passgate.policy.opening import Holding, Opening
from passgate.policy.overriding import may_override

ABOUT = "Give CHG-0042 for a change, usb-attach for a runbook, usb-attach@esx-01.lab.example for one on a host, or "
ABOUT += "usb-attach@vm:win-01 for one on a VM."


@dataclass(frozen=True)
class Explanation:
    """Hold what the calendar says of a change, or of a runbook on something, at a moment. `takes` needs a plan."""

    about: str
    zone: str
    opening: Opening
    takes: timedelta | None
    lines: tuple[str, ...]


async def explain(runtime: Runtime, about: str, at: str | None, actor: Actor) -> Explanation:
    """Say whether something may begin at a moment, and why; without a moment now. Files nothing.

    Raises InputError for a time or a name that can't be used, UnknownNameError for what is not there.
    """
    now = _moment(runtime, at)
    if about.startswith("CHG-"):
        change = runtime.store.change(about)
        takes = total(expected_of(runtime, change.plan)) if change.plan else None
        return _explanation(runtime, f"{change.id} ({change.runbook})", opening(runtime, change, now), takes)
    slug, at_sign, place = about.partition("@")
    if slug not in runtime.catalogue.runbooks:
        raise UnknownNameError(
            f"{slug!r} is neither a change nor a runbook.",
            hint=f"{ABOUT} Runbooks: {', '.join(runtime.catalogue.runbooks) or 'none'}.",
            subject="for",
        )
    runbook = runtime.catalogue.runbook(slug)
    facts = Facts(
        runbook=slug,
        risk=runbook.risk,
        requester=actor.person,
        at=now,
        targets=await _targets(runtime, place) if at_sign else (),
        groups=groups_of(runtime, actor.person),
    )
    on = f"{slug} on {', '.join(one.name for one in facts.targets)}" if at_sign else slug
    return _explanation(runtime, on, look(runtime.config.calendar, facts, now), None)


def override(runtime: Runtime, change_id: str, actor: Actor, freeze: str, reason: str) -> Change:
    """Let one change through a freeze, on the word of somebody whom the freeze names; see how it stands then.

    Raises InputError without a reason, and what `may_override` raises.
    """
    change = runtime.store.change(change_id)
    if not reason.strip():
        raise InputError(
            "To override a freeze needs a reason.", hint="Say in a sentence why it can't wait.", subject="reason"
        )
    refuse_override(runtime, change, actor.person, freeze)
    given = Override(
        freeze=freeze, person=actor.person, door=actor.door.value, reason=reason.strip(), at=runtime.clock()
    )
    runtime.store.override(change_id, given, actor)
    return reconsider(runtime, settle(runtime, runtime.store.change(change_id)))


def refuse_override(runtime: Runtime, change: Change, person: str, freeze: str) -> None:
    """Return when that person may let that change through that freeze; raise what `may_override` raises when not."""
    config = runtime.config
    may_override(config.calendar, facts_of(runtime, change), change.terms, config.people, person, freeze)


def held_up(runtime: Runtime, change: Change) -> tuple[Holding, ...]:
    """Return the freezes that hold a change up now, and that somebody may let it through."""
    if change.state is not State.SCHEDULED:
        return ()
    now = runtime.clock()
    return tuple(
        one for one in opening(runtime, change, now).freezes if one.override and one.since and one.since <= now
    )


def _explanation(runtime: Runtime, about: str, found: Opening, takes: timedelta | None) -> Explanation:
    zone = runtime.config.calendar.zone
    lines = tuple(explained(about, found, takes, ZoneInfo(zone)))
    return Explanation(about, zone, found, takes, lines)


def _moment(runtime: Runtime, given: str | None) -> datetime:
    if given is None:
        return runtime.clock()
    try:
        at = datetime.fromisoformat(given.strip())
    except ValueError:
        raise InputError(
            f"{given!r} is no time.",
            hint=f"Such as 2026-12-25 23:00, in {runtime.config.calendar.zone}, or 2026-12-25T22:00Z.",
            subject="at",
        ) from None
    return at.astimezone(UTC) if at.tzinfo else moment(at, ZoneInfo(runtime.config.calendar.zone))


async def _targets(runtime: Runtime, place: str) -> tuple[Target, ...]:
    """Return the VM or host of that name, as it is now, with all that windows and freezes may select it by."""
    kind, colon, name = place.partition(":")
    if not colon:
        kind, name = "", place
    if kind not in {"", "vm", "host"} or not name:
        raise InputError(f"{place!r} names no VM and no host.", hint=ABOUT, subject="for")
    site: Inventory = await runtime.estate.read(Scope())
    wanted = [one for one in await targets_named(runtime, site, {name}) if kind in {"", one.kind}]
    if not wanted:
        there = ", ".join(sorted(host.name for host in site.hosts))
        raise UnknownNameError(
            f"There is no {kind or 'host or VM'} {name!r}.", hint=f"Hosts: {there}. {ABOUT}", subject="for"
        )
    return tuple(wanted)
