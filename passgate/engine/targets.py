"""Gather what policy and calendar are told of a change beside its plan: what it is about, and what went before."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from fnmatch import fnmatchcase

from passgate.connect.vsphere.tags import require_tags
from passgate.engine.runtime import Runtime
from passgate.engine.steps import Ask
from passgate.errors import PolicyError
from passgate.model.change import Change
from passgate.model.decision import Kind, Terms
from passgate.model.inventory import Host, Inventory, Vm
from passgate.model.plan import Plan
from passgate.model.target import Target
from passgate.policy.facts import Facts
from passgate.policy.stricter import asks_more
from passgate.policy.terms import choose
from passgate.settings.people import People
from passgate.settings.targets import Targets, Things

LOOKED_BACK = 500
"""So many of the newest changes are looked at for what a rule authorised of late."""


async def targets_of(runtime: Runtime, plan: Plan, ask: Ask, site: Inventory) -> tuple[Target, ...]:
    """Return the VMs and hosts that a plan is about: what was named, and all that it takes leases on.

    Their tags are read from vCenter where anything in config/ speaks of tags. Raises WorldError where they can't be
    read: that a thing has no tags is never guessed.
    """
    named = {*ask.vms(), *ask.hosts()}
    touched = {resource.partition(":")[2].partition("/")[0] for resource in plan.resources}
    return await targets_named(runtime, site, named, touched)


async def targets_named(
    runtime: Runtime, site: Inventory, named: Collection[str], touched: Collection[str] = ()
) -> tuple[Target, ...]:
    """Return the VMs and hosts of these names, and those of these ids, with all that rules may select them by."""
    vms = [vm for vm in site.vms if {vm.name, vm.uuid} & set(named) or vm.ref in touched]
    hosts = [host for host in site.hosts if host.name in named or host.ref in touched]
    config, tags = runtime.config, dict[str, tuple[str, ...]]()
    entries = (*config.policy.rules, *config.calendar.windows, *config.calendar.freezes)
    if (vms or hosts) and config.targets.speaks_of_tags(entries):
        require_tags(site.api_version, standalone=site.standalone, address=runtime.estate.tags.address)
        refs = ([vm.ref for vm in vms], [host.ref for host in hosts])
        tags = await runtime.estate.in_thread(runtime.estate.tags.of, *refs)
    clusters = {host.ref: _cluster(host) for host in site.hosts}
    plain = (
        *(_of_vm(vm, clusters.get(vm.host.ref, ""), tags.get(vm.ref, ())) for vm in vms),
        *(Target(kind="host", name=one.name, cluster=_cluster(one), tags=tags.get(one.ref, ())) for one in hosts),
    )
    return tuple(placed(one, config.targets, config.people) for one in plain)


def _of_vm(vm: Vm, cluster: str, tags: tuple[str, ...]) -> Target:
    return Target(kind="vm", name=vm.name, host=vm.host.name, cluster=cluster, tags=tags)


def _cluster(host: Host) -> str:
    return host.cluster_name or ""


def placed(target: Target, targets: Targets, people: People) -> Target:
    """Return a thing with its environments and owners, as config/targets.yaml has them. Pure."""
    owners = [one for one in targets.owners if _is_of(target, one)]
    persons = {name for one in owners for name in one.people}
    groups = {name for one in owners for name in one.groups}
    return target.model_copy(
        update={
            "environments": tuple(name for name, things in targets.environments.items() if _is_of(target, things)),
            "owners": tuple(one.id for one in people.people if one.id in persons or groups & set(one.groups)),
        }
    )


def _is_of(target: Target, things: Things) -> bool:
    is_vm = target.kind == "vm"
    return (
        (is_vm and _fit([target.name], things.vms))
        or _fit([target.host if is_vm else target.name], things.hosts)
        or _fit([target.cluster] if target.cluster else (), things.clusters)
        or _fit(target.tags, things.tags)
    )


def _fit(names: Iterable[str], patterns: Iterable[str]) -> bool:
    wanted = tuple(patterns)
    return any(fnmatchcase(name, pattern) for name in names for pattern in wanted)


def facts_of(plan: Plan, ask: Ask, requester: str, at: datetime, targets: tuple[Target, ...]) -> Facts:
    """Return what policy is told of a change with that plan."""
    return Facts(
        runbook=plan.runbook,
        risk=plan.risk,
        requester=requester,
        at=at,
        kind=Kind(ask.urgency),
        targets=targets,
        # A plan that only looks overrides nothing, whatever it warns of.
        warnings=tuple(check.code for check in plan.warnings) if any(step.mutates for step in plan.todo) else (),
        gates=plan.gates,
    )


async def asked_for_more(runtime: Runtime, change: Change, plan: Plan, ask: Ask, site: Inventory) -> tuple[str, ...]:
    """Say in words what policy would ask for, were what the change is about what it is now: tags, environments, owners.

    Compared is today's policy on both, on what was frozen and on what is read now: an edit of the rules voids nothing.
    Raises WorldError where tags can't be read.
    """
    if change.terms is None or not change.terms.targets:
        return ()
    then, now = change.terms.targets, await targets_of(runtime, plan, ask, site)
    if then == now:
        return ()
    said = [f"{one.name}, {words}" for one in now for words in _changed(then, one)]
    try:
        more = asks_more(_terms(runtime, change, plan, ask, then), _terms(runtime, change, plan, ask, now))
    except PolicyError as error:
        more = (f"{error.message}",)
    return (f"{'; '.join(said)}, and policy asks for more: {'; '.join(more)}",) if more else ()


def _terms(runtime: Runtime, change: Change, plan: Plan, ask: Ask, targets: tuple[Target, ...]) -> Terms:
    facts = facts_of(plan, ask, change.requester.person, change.created_at, targets)
    return choose(runtime.config.policy, runtime.config.people, facts)


def _changed(then: tuple[Target, ...], now: Target) -> list[str]:
    old = next((one for one in then if (one.kind, one.name) == (now.kind, now.name)), Target(kind=now.kind, name=""))
    return [
        f"{name}: {_words(was)} -> {_words(is_)}"
        for name in ("tags", "environments", "owners", "cluster", "host")
        if (was := getattr(old, name)) != (is_ := getattr(now, name))
    ]


def _words(value: str | tuple[str, ...]) -> str:
    return (value if isinstance(value, str) else ", ".join(value)) or "nothing"


def used_of_late(runtime: Runtime) -> dict[str, tuple[datetime, ...]]:
    """Return when each rule with a limit authorised a change in advance, as far as the limits look back."""
    limited = {rule.name: rule.limit.within for rule in runtime.config.policy.rules if rule.limit}
    if not limited:
        return {}
    since = runtime.clock() - max(limited.values())
    used: dict[str, list[datetime]] = {}
    for change in runtime.store.changes(limit=LOOKED_BACK):
        if change.created_at > since and change.terms and change.terms.pre_authorised:
            for name in limited.keys() & set(change.terms.policy.split(" + ")):
                used.setdefault(name, []).append(change.created_at)
    return {name: tuple(moments) for name, moments in used.items()}
