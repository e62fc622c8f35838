"""Say in words which rule of the shipped policy takes a runbook's changes, and what it needs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from pages.procedure import checks_of, steps_of
from passgate.engine.steps import Runbook, Step
from passgate.model.plan import Severity
from passgate.settings.shape import Approval, Policy, PolicyRule


def rules_of(policy: Policy, runbook: Runbook[Any]) -> list[PolicyRule]:
    """Return the rules that may take a change of the runbook, in their order, up to the first that takes any."""
    found: list[PolicyRule] = []
    for rule in policy.rules:
        is_for_it = any(fnmatchcase(runbook.slug, pattern) for pattern in rule.runbooks)
        if is_for_it and (not rule.risks or runbook.risk.value in rule.risks):
            found.append(rule)
            if "*" in rule.vms and "*" in rule.requesters:
                break
    return found


def lines(policy: Policy, runbook: Runbook[Any]) -> Iterator[str]:
    """Yield what the policy as shipped in `config/policies/` says of the runbook."""
    yield "By the policy as shipped in `config/policies/`; the first rule that matches is the one."
    yield ""
    may_warn = any(check.severity is Severity.WARNING for check in checks_of(runbook))
    for rule in rules_of(policy, runbook):
        yield f"- `{rule.name}`{_where(rule)}: {_needs(rule, may_warn=may_warn)}"
    gates = dict.fromkeys(
        item.kind.gate for item in steps_of(runbook) if issubclass(item.kind, Step) and item.kind.gate
    )
    for name in gates:
        for rule in rules_of(policy, runbook):
            gate = rule.gates.get(name)
            if gate is None:
                yield f"- Second gate `{name}`, rule `{rule.name}`: not asked at; the plan's approval covers the step."
            else:
                others = ", other people than who approved the plan" if gate.others else ""
                yield (
                    f"- Second gate `{name}`, rule `{rule.name}`: {_approvals(gate.approval)}{others}, within "
                    f"{_time(gate.approve_within)}; then what was done is taken back."
                )


def _where(rule: PolicyRule) -> str:
    vms = "" if "*" in rule.vms else f"VMs {', '.join(rule.vms)}"
    people = "" if "*" in rule.requesters else f"asked for by {', '.join(rule.requesters)}"
    said = ", ".join(filter(None, (vms, people)))
    return f" ({said})" if said else ""


def _needs(rule: PolicyRule, *, may_warn: bool) -> str:
    undone = "" if rule.undo_on_failure else " What was done stays when a step fails for good."
    begun = f" It must begin within {_time(rule.execute_within)} then." if rule.execute_within else ""
    if rule.pre_authorised or rule.approval is None:
        warned = "; with a warning somebody has to approve it" if may_warn else ""
        return f"no decision, it is authorised in advance{warned}.{undone}"
    within = f", within {_time(rule.approve_within)}" if rule.approve_within else ""
    return f"{_approvals(rule.approval)}, never of who asked{within}.{begun}{undone}"


def _approvals(approval: Approval) -> str:
    count = "1 approval" if approval.needed == 1 else f"{approval.needed} approvals"
    return f"{count} of {' or '.join(approval.groups)}"


def _time(span: timedelta) -> str:
    minutes = span.total_seconds() / 60
    return f"{minutes / 60:.0f} h" if minutes % 60 == 0 else f"{minutes:.0f} min"
