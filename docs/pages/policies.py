"""Say in words which rule of the shipped policy takes a runbook's changes, and what it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from pages.procedure import checks_of, steps_of
from passgate.engine.steps import Runbook, Step
from passgate.model.plan import Severity
from passgate.settings.rules import Approval, Policy, PolicyRule


def rules_of(policy: Policy, runbook: Runbook[Any]) -> list[PolicyRule]:
    """Return the rules that may apply to a change of the runbook, in their order."""
    return [
        rule
        for rule in policy.rules
        if any(fnmatchcase(runbook.slug, pattern) for pattern in rule.runbooks)
        and (not rule.risks or runbook.risk.value in rule.risks)
    ]


def lines(policy: Policy, runbook: Runbook[Any]) -> Iterator[str]:
    """Yield what the policy as shipped in `config/policies/` says of the runbook."""
    yield "By the policy as shipped in `config/policies/`: all rules that match apply, and the strictest wins."
    yield ""
    may_warn = any(check.severity is Severity.WARNING for check in checks_of(runbook))
    for rule in rules_of(policy, runbook):
        yield f"- `{rule.name}`{_where(rule)}: {_needs(rule, may_warn=may_warn)}"
    gates = dict.fromkeys(
        item.kind.gate for item in steps_of(runbook) if issubclass(item.kind, Step) and item.kind.gate
    )
    for name in gates:
        asking = [rule for rule in rules_of(policy, runbook) if name in rule.gates]
        if not asking:
            yield f"- Second gate `{name}`: not asked at; the plan's approval covers the step."
        for rule in asking:
            gate = rule.gates[name]
            others = ", other people than who approved the plan" if gate.others else ""
            yield (
                f"- Second gate `{name}`, rule `{rule.name}`: {_approvals(gate.approval)}{others}, within "
                f"{_time(gate.approve_within)}; then what was done is taken back."
            )


def _where(rule: PolicyRule) -> str:
    vms = "" if "*" in rule.vms else f"VMs {', '.join(rule.vms)}"
    kinds = f"asked for as {' or '.join(rule.kinds)}" if rule.kinds else ""
    people = "" if "*" in rule.requesters else f"asked for by {', '.join(rule.requesters)}"
    said = ", ".join(filter(None, (vms, kinds, people)))
    return f" ({said})" if said else ""


def _needs(rule: PolicyRule, *, may_warn: bool) -> str:
    undone = "" if rule.undo_on_failure else " What was done stays when a step fails for good."
    if rule.pre_authorised:
        limit = f", at most {rule.limit.changes} changes in {_time(rule.limit.within)}" if rule.limit else ""
        warned = "; with a warning somebody has to approve it" if may_warn else ""
        return f"no decision, it is authorised in advance{limit}{warned}.{undone}"
    if glass := rule.break_glass:
        who = " or ".join((*glass.groups, *glass.people)) or "nobody"
        return (
            f"{who} may begin it without approval, within {_time(glass.execute_within)}; "
            f"{' or '.join(glass.reviewers)} review it within {_time(glass.review_within)}."
        )
    if not rule.approval:
        return f"adds to what the other rules ask.{undone}"
    begun = f" It must begin within {_time(rule.execute_within)} then." if rule.execute_within else ""
    within = f", within {_time(rule.approve_within)}" if rule.approve_within else ""
    default = ", where no other rule says who approves" if rule.default else ""
    return f"{_approvals(rule.approval)}, never of who asked{within}{default}.{begun}{undone}"


def _approvals(approvals: Sequence[Approval]) -> str:
    return " and ".join(
        f"{'1 approval' if one.needed == 1 else f'{one.needed} approvals'} of {one.of}" for one in approvals
    )


def _time(span: timedelta) -> str:
    minutes = span.total_seconds() / 60
    return f"{minutes / 60:.0f} h" if minutes % 60 == 0 else f"{minutes:.0f} min"
