"""Begin an approved change: the leases, a fresh plan that must be the approved one, the restore point."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta

from passgate.engine.authority import ENGINE, words
from passgate.engine.opening import opening
from passgate.engine.planning import differences, make_plan
from passgate.engine.runtime import Runtime
from passgate.engine.targets import asked_for_more
from passgate.errors import ConfigError, ConflictError, InputError, PassgateError, RecordError, WorldError
from passgate.model.change import Change, Event, EventType, State
from passgate.model.inventory import Host, Inventory, Vm
from passgate.model.plan import Plan

LEASE = timedelta(minutes=2)
"""How long a lease holds without a sign of life."""

log = logging.getLogger(__name__)


async def begin(runtime: Runtime, change: Change) -> Change | None:
    """Return the change in state `applying`, or `void` when the world is not as it was when it was approved.

    Returns None when it can't begin yet (the calendar is closed, somebody else holds a lease, vCenter does not answer
    or does not let us in): the clockwork rings again, for as long as the approval is good. Raises RecordError where
    nothing can be recorded.
    """
    store, plan = runtime.store, change.plan
    if plan is None:
        raise InputError(f"{change.id} has no plan.", subject=change.id)
    tokens: dict[str, int] = {}
    try:
        if last_hold_up(runtime, change):
            await _replanned(runtime, change, plan)  # where the estate still can't be read, no lease is taken in vain
        tokens = store.take_leases(change.id, plan.resources, LEASE, runtime.clock())
        site, why = await _replanned(runtime, change, plan)
        # The reading may have taken longer than the leases: still held means that nobody acted in between.
        store.renew_leases(change.id, LEASE, runtime.clock(), tokens=tokens)
        points = () if site is None or why else _restore_points(runtime, change, site)
        if not why and not opening(runtime, change, runtime.clock()).may_begin:  # the reading may have taken long
            store.give_leases_back(change.id, runtime.clock())
            return None
    except RecordError:
        raise
    except ConflictError as error:
        hold_up(runtime, change, error)
        return None
    except (ConfigError, WorldError) as error:
        store.give_leases_back(change.id, runtime.clock())
        hold_up(runtime, change, error)
        return None
    except PassgateError as error:
        site, why, points = None, (words(error),), ()
    try:
        if site is None or why:
            # One difference goes on behind the colon, several stand each on a line of its own.
            said = "the world is not as it was when this was approved:" + (" " if len(why) == 1 else "\n")
            said += ";\n".join(why)
            ended = store.move(change.id, State.VOID, ENGINE, said, runtime.clock(), outcome=said)
            store.give_leases_back(change.id, runtime.clock())
            return ended
        said = "approved, and the world is as it was"
        return store.begin(change.id, plan.steps, points, ENGINE, said, runtime.clock(), tokens)
    except ConflictError:
        # Withdrawn, or its approval ran out, while the estate was read: what stands is what the store says.
        store.give_leases_back(change.id, runtime.clock())
        now = store.change(change.id)
        return now if now.state.is_end else None


def last_hold_up(runtime: Runtime, change: Change) -> str | None:
    """Return why it can't go on, if that is the last that happened: that it is tried again is no news each time."""
    last = runtime.store.last_event(change.id, without=(EventType.LEASE,))
    return str(last.data["why"]) if last is not None and last.type is EventType.HELD_UP else None


def hold_up(runtime: Runtime, change: Change, error: PassgateError) -> None:
    """Record why a change can't go on yet; the same reason once, however often it is tried."""
    log.warning("%s waits: %s", change.id, error.message)
    why = words(error)
    if last_hold_up(runtime, change) != why:
        data = {"why": why, "state": runtime.store.change(change.id).state.value}
        runtime.store.append(
            Event(type=EventType.HELD_UP, change=change.id, actor=ENGINE, at=runtime.clock(), data=data)
        )


async def _replanned(runtime: Runtime, change: Change, plan: Plan) -> tuple[Inventory | None, tuple[str, ...]]:
    """Read the estate and plan anew; return the reading, and what differs in meaning from the approved plan."""
    runbook = runtime.catalogue.runbook(change.runbook)
    if plan.digest != change.digest:
        return None, ("the stored plan is not the one that was approved",)
    ask = runbook.ask.model_validate(change.ask)
    site = await runtime.estate.read_for(runbook, ask)
    now = make_plan(runbook, ask, site)
    if now.digest == change.digest:
        return site, await asked_for_more(runtime, change, now, ask, site)
    return site, differences(plan, now) or ("the plan has another digest",)


def _restore_points(runtime: Runtime, change: Change, site: Inventory) -> tuple[Event, ...]:
    """Return the events that keep the configuration of what the change acts on, VMs and hosts, as it was before.

    What it acts on is what it has leases for, by whichever step. A PCI function is part of its host's configuration; a
    USB device has none. Raises InputError for a VM or host that the reading does not show: nothing is begun without.
    """
    kept: dict[str, Mapping[str, Vm | Host]] = {
        "vm": {vm.ref: vm for vm in site.vms},
        "host": {host.ref: host for host in site.hosts},
    }
    points: dict[tuple[str, str], Event] = {}
    for resource in change.plan.resources if change.plan else ():
        kind, _, rest = resource.partition(":")
        kind, ref = ("host", rest.partition("/")[0]) if kind == "pci" else (kind, rest)
        if kind not in kept:
            continue
        found = kept[kind].get(ref)
        if found is None:
            raise InputError(f"How {resource} is now could not be read, so it can't be kept.", subject=resource)
        data = {kind: found.name, "config": found.model_dump(mode="json")}
        points[kind, ref] = Event(
            type=EventType.RESTORE_POINT, change=change.id, actor=ENGINE, at=runtime.clock(), data=data
        )
    return tuple(points.values())
