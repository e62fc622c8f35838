"""File a change: the one way in, for every door; bad input and unmet hard checks are refused before it is filed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from passgate.engine.gate import open_gate
from passgate.engine.opening import in_utc
from passgate.engine.planning import make_plan, refuse_stops
from passgate.engine.runtime import Runtime
from passgate.engine.standing import let_stand
from passgate.engine.steps import Ask, Runbook, UsbSelector
from passgate.engine.targets import facts_of, targets_of, used_of_late
from passgate.errors import InputError, UnknownNameError
from passgate.model.change import Actor, Change, State
from passgate.model.decision import Kind, Terms
from passgate.model.plan import Plan
from passgate.model.schedule import Due
from passgate.policy.explain import span_words
from passgate.policy.reviews import require_none_open
from passgate.policy.terms import choose
from passgate.settings.mistakes import listed, mistakes
from passgate.store.refusing import refuse_secrets

LATE = timedelta(minutes=5)
"""By how much a moment to begin may be over when it is asked for."""


class ForSchedule(NamedTuple):
    """Say for which occurrence of a schedule a change is filed, and who stands behind it beside its author."""

    name: str
    due: Due
    behind: tuple[str, ...] = ()


async def file_change(
    runtime: Runtime,
    slug: str,
    fields: dict[str, Any],
    actor: Actor,
    *,
    flow_run: str | None = None,
    schedule: ForSchedule | None = None,
    replaces: str | None = None,
    key: str = "",
    behind: tuple[str, ...] = (),
) -> Change:
    """Check, plan and file a change. `flow_run` is given when Prefect started the run by itself.

    `replaces` is a change that came to nothing and is asked for again (`passgate.engine.again`). `schedule` is given
    when it is an occurrence of one; that is filed once: ConflictError at the second time. A request with a `key` is
    filed once, however often it is worked on: what was filed under it is found. `behind` are people who stand behind it
    beside who asks.
    """
    known = runtime.store.change_filed(key) if key else None
    if known is not None and known.state is not State.REQUESTED:
        return open_gate(runtime, known) if known.state is State.PLANNED else known
    runbook, ask = asked(runtime, slug, fields)
    if schedule is None and known is None:
        refuse_past(runtime, ask)
    _refuse_haste(runtime, ask, actor)
    plan, terms = await previewed(
        runtime, runbook, ask, actor, behind=(*behind, *(schedule.behind if schedule else ()))
    )
    refuse_stops(plan)
    store, now = runtime.store, runtime.clock()
    asked_for = ask.model_dump(mode="json")
    if schedule:
        change = store.schedules.file(
            schedule.name, schedule.due, slug, asked_for, actor,
            behind=schedule.behind, reason=ask.reason, ticket=ask.ticket, at=now,
        )  # fmt: skip
    else:
        change = store.file_change(
            slug, asked_for, actor, ask.reason, ask.ticket, now, replaces=replaces, key=key
        )  # fmt: skip
    if flow_run:
        store.set_flow_run(change.id, flow_run)
    within = terms.approve_within if terms.requirements else None
    change = store.save_plan(change.id, plan, terms, now + within if within else None, now)
    let_stand(runtime, change)
    return open_gate(runtime, change)


def refuse_past(runtime: Runtime, ask: Ask) -> None:
    """Return unless it is asked to begin at a moment that is over. Raises InputError.

    One that is over by less than `LATE` is taken: whoever writes "now" is a little late, and clocks differ.
    """
    if ask.not_before is None or ask.not_before > runtime.clock() - LATE:
        return
    zone = ZoneInfo(runtime.config.calendar.zone)
    now = runtime.clock().astimezone(zone)
    raise InputError(
        f"not_before: {ask.not_before.astimezone(zone):%Y-%m-%d %H:%M} is over; it is {now:%Y-%m-%d %H:%M} "
        f"({zone.key}). Nothing was filed.",
        hint=f"Give a moment to come, such as {now + timedelta(hours=1):%Y-%m-%dT%H:%M}, or leave it out to begin as "
        f"soon as it is approved. One that is over by less than {span_words(LATE)} is taken as now.",
        subject="not_before",
    )


def _refuse_haste(runtime: Runtime, ask: Ask, actor: Actor) -> None:
    """Return unless it is asked for in a hurry without a reason, or by who has a broken glass to answer for."""
    kind = Kind(ask.urgency)
    if kind is not Kind.NORMAL and not ask.reason.strip():
        raise InputError(
            f"A change with urgency {kind} needs a reason. Nothing was filed.",
            hint='Say what can\'t wait, and why: --reason "...". It is told to everybody at once, and recorded.',
            subject="reason",
        )
    if kind is Kind.BREAK_GLASS:
        require_none_open(actor.person, runtime.store.reviews.all(only_open=True, by=actor.person), "break it again")


async def previewed(
    runtime: Runtime, runbook: Runbook[Any], ask: Ask, actor: Actor, *, behind: tuple[str, ...] = ()
) -> tuple[Plan, Terms]:
    """Return the plan for that ask as the world is now, and what policy would ask for.

    `behind` are people who stand behind it beside who asks: they can't approve it either.
    """
    site = await runtime.estate.read_for(runbook, ask)
    plan = make_plan(runbook, ask, site)
    config = runtime.config
    facts = facts_of(plan, ask, actor.person, runtime.clock(), await targets_of(runtime, plan, ask, site))
    facts = facts.model_copy(update={"behind": behind, "used": used_of_late(runtime)})
    return plan, choose(config.policy, await runtime.membership.people(), facts)


def asked(runtime: Runtime, slug: str, fields: dict[str, Any]) -> tuple[Runbook[Any], Ask]:
    """Return the runbook and the checked ask, names of devices resolved. Raises InputError that names the field."""
    runbook = runtime.catalogue.runbook(slug)
    try:
        ask: Ask = runbook.ask.model_validate(fields)
    except ValidationError as error:
        wrong = mistakes(error, runbook.ask)
        there = f"Fields of {slug}: {', '.join(runbook.ask.model_fields)}. See `passgate runbook show {slug}`."
        raise InputError(
            f"{slug} was not asked for properly: {listed(wrong, 'the request')}.",
            hint=" ".join([*(one.hint for one in wrong if one.hint), there]),
            subject=wrong[0].field or slug,
        ) from None
    named = {
        name: _device(runtime, value)
        for name in type(ask).model_fields
        if isinstance(value := getattr(ask, name), UsbSelector) and value.name
    }
    begins = {"not_before": in_utc(runtime, ask.not_before)} if ask.not_before else {}
    return runbook, ask.model_copy(update={**named, **begins})


def wrong_fields(runtime: Runtime, slug: str, fields: dict[str, Any]) -> dict[str, str]:
    """Return what is wrong with each field, in words, for a form that shows it there; nothing when all is right.

    What concerns several fields at once stands under the empty name. Nothing outside is asked.
    """
    runbook = runtime.catalogue.runbook(slug)
    try:
        runbook.ask.model_validate(fields)
    except ValidationError as error:
        found: dict[str, str] = {}
        for one in mistakes(error, runbook.ask):
            found.setdefault(one.field, one.whole)
        return found
    try:
        refuse_secrets(reason=fields.get("reason"), ticket=fields.get("ticket"))
        refuse_past(runtime, asked(runtime, slug, fields)[1])
    except InputError as error:
        return {error.subject: f"{error.message} {error.hint}".strip()}
    return {}


def _device(runtime: Runtime, selector: UsbSelector) -> UsbSelector:
    """Return what a name from config/devices.yaml stands for, so that the change does not depend on that file."""
    devices = runtime.config.devices.devices
    name = selector.name or ""
    if name not in devices:
        raise UnknownNameError(
            f"No device is called {name!r} in config/devices.yaml.",
            hint=f"Names there: {', '.join(sorted(devices)) or 'none'}. Or give vendor:product, as in 18a5:0302.",
            subject="device",
        )
    return UsbSelector(devices[name].selector)
