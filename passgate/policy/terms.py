"""Choose the terms that a change has to meet, from the policy as it is when the change is filed."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from passgate.errors import PolicyError
from passgate.model.decision import Terms
from passgate.model.plan import Risk
from passgate.settings.shape import People, Policy, PolicyRule


def choose(policy: Policy, people: People, *, runbook: str, risk: Risk, vms: Sequence[str], requester: str) -> Terms:
    """Return the terms of the first rule that matches.

    A rule matches when each VM that is changed fits one of its patterns. Raises PolicyError when no rule matches, and
    when too few people besides the requester could approve.
    """
    groups = {group for person in people.people if person.id == requester for group in person.groups}
    names = {requester, *groups}
    rule = next((one for one in policy.rules if _matches(one, runbook, risk, vms, names)), None)
    if rule is None:
        raise PolicyError(
            f"No rule in config/policies/ matches {runbook} (risk {risk.value}) asked for by {requester}.",
            hint="Let the last rule match everything.",
            subject=runbook,
        )
    terms = Terms(
        policy=rule.name,
        pre_authorised=True,
        approvals=0,
        approve_within=rule.approve_within,
        execute_within=rule.execute_within,
        undo_on_failure=rule.undo_on_failure,
    )
    if rule.approval is None:
        return terms
    voters = tuple(
        person.id
        for person in people.people
        if person.id != requester and set(person.groups) & set(rule.approval.groups)
    )
    if len(voters) < rule.approval.needed:
        who = f"only {', '.join(voters)} could" if voters else "nobody could"
        raise PolicyError(
            f"Policy {rule.name!r} asks for {rule.approval.needed} approval(s) of {runbook} from "
            f"{' or '.join(rule.approval.groups)}; besides {requester}, who asks for it, {who} approve: "
            "a policy that nobody can satisfy.",
            hint="Let somebody else ask for it, or add members to the group in config/people.yaml.",
            subject=rule.name,
        )
    return terms.model_copy(
        update={
            "pre_authorised": False,
            "approvals": rule.approval.needed,
            "denials": min(rule.approval.denials, len(voters)),
            "groups": rule.approval.groups,
            "voters": voters,
        }
    )


def _matches(rule: PolicyRule, runbook: str, risk: Risk, vms: Sequence[str], requester: set[str]) -> bool:
    return (
        any(fnmatchcase(runbook, pattern) for pattern in rule.runbooks)
        and (not rule.risks or risk.value in rule.risks)
        and ("*" in rule.vms or (bool(vms) and all(any(fnmatchcase(vm, one) for one in rule.vms) for vm in vms)))
        and ("*" in rule.requesters or bool(requester & set(rule.requesters)))
    )
