"""Gather what policy and calendar are told of a change beside its plan: what it is about, and what went before."""

from __future__ import annotations

from datetime import datetime

from passgate.engine.runtime import Runtime
from passgate.engine.steps import Ask
from passgate.model.inventory import Host, Inventory
from passgate.model.plan import Plan
from passgate.policy.facts import Target

LOOKED_BACK = 500
"""So many of the newest changes are looked at for what a rule authorised of late."""


def targets_of(plan: Plan, ask: Ask, site: Inventory) -> tuple[Target, ...]:
    """Return the VMs and hosts that a plan is about: what was named, and all that it takes leases on."""
    named = {*ask.vms(), *ask.hosts()}
    touched = {resource.partition(":")[2].partition("/")[0] for resource in plan.resources}
    hosts = {host.ref: host for host in site.hosts}
    vms = (vm for vm in site.vms if vm.name in named or vm.ref in touched)
    return (
        *(Target(kind="vm", name=vm.name, host=vm.host.name, cluster=_cluster(hosts.get(vm.host.ref))) for vm in vms),
        *(
            Target(kind="host", name=host.name, cluster=_cluster(host))
            for host in site.hosts
            if host.name in named or host.ref in touched
        ),
    )


def _cluster(host: Host | None) -> str:
    return (host.cluster_name if host else None) or ""


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
