"""Choose the terms that a change has to meet, from the policy as it is when the change is filed."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from passgate.errors import PolicyError
from passgate.model.decision import GateTerms, Terms
from passgate.model.plan import Risk
from passgate.settings.shape import Approval, GateRule, People, Policy, PolicyRule


def choose(
    policy: Policy,
    people: People,
    *,
    runbook: str,
    risk: Risk,
    vms: Sequence[str],
    requester: str,
    warnings: Sequence[str] = (),
    gates: Sequence[str] = (),
) -> Terms:
    """Return the terms of the first rule that matches.

    A rule matches when each VM that is changed fits one of its patterns. With `warnings` (codes of unmet checks) the
    change is never pre-authorised: to override a warning is a decision of a person, so the next rule that matches and
    asks for an approval has its turn. `gates` are the second gates of the plan; the terms hold those that policy knows.
    Raises PolicyError when no rule matches, and when too few people besides the requester could approve.
    """
    groups = {group for person in people.people if person.id == requester for group in person.groups}
    matching = [one for one in policy.rules if _matches(one, runbook, risk, vms, {requester, *groups})]
    if not matching:
        raise PolicyError(
            f"No rule in config/policies/ matches {runbook} (risk {risk.value}) asked for by {requester}.",
            hint="Let the last rule match everything.",
            subject=runbook,
        )
    rule = next((one for one in matching if one.approval is not None), None) if warnings else matching[0]
    if rule is None:
        raise PolicyError(
            f"{runbook} has warnings ({', '.join(warnings)}), so somebody has to approve it, but no rule in "
            f"config/policies/ that matches it asks for an approval.",
            hint="Let the last rule match everything, and ask for an approval.",
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
    if rule.approval is not None:
        voters = _voters(rule.approval, people, requester)
        _require_enough(rule.approval, voters, f"Policy {rule.name!r}", runbook, requester, rule)
        terms = terms.model_copy(
            update={
                "pre_authorised": False,
                "approvals": rule.approval.needed,
                "denials": min(rule.approval.denials, len(voters)),
                "groups": rule.approval.groups,
                "voters": voters,
            }
        )
    # A rule that gave way because of warnings keeps its say about second gates.
    known = {name: gate for one in (matching[0], rule) for name, gate in one.gates.items()}
    found = {name: _gate(name, known[name], terms, people, runbook, requester, rule) for name in gates if name in known}
    return terms.model_copy(update={"gates": found})


def _gate(  # noqa: PLR0917 - what the words of a refusal need
    name: str, gate: GateRule, terms: Terms, people: People, runbook: str, requester: str, rule: PolicyRule
) -> GateTerms:
    voters = _voters(gate.approval, people, requester)
    what = f"The gate {name!r} of policy {rule.name!r}"
    _require_enough(gate.approval, voters, what, runbook, requester, rule)
    both = {*voters, *terms.voters}
    if gate.others and len(both) < gate.approval.needed + terms.approvals:
        raise PolicyError(
            f"{what} wants other people than those who approve the plan: {gate.approval.needed + terms.approvals} in "
            f"all. Besides {requester}, who asks for it, only {', '.join(sorted(both))} could approve: a policy that "
            "nobody can satisfy.",
            hint="Let somebody else ask for it, or add members to the groups in config/people.yaml.",
            subject=rule.name,
        )
    left = max(1, len(voters) - (terms.approvals if gate.others else 0))
    return GateTerms(
        approvals=gate.approval.needed,
        denials=min(gate.approval.denials, left),
        groups=gate.approval.groups,
        voters=voters,
        others=gate.others,
        approve_within=gate.approve_within,
    )


def _voters(approval: Approval, people: People, requester: str) -> tuple[str, ...]:
    wanted = set(approval.groups)
    return tuple(one.id for one in people.people if one.id != requester and set(one.groups) & wanted)


def _require_enough(  # noqa: PLR0917 - what the words of a refusal need
    approval: Approval, voters: Sequence[str], what: str, runbook: str, requester: str, rule: PolicyRule
) -> None:
    if len(voters) >= approval.needed:
        return
    who = f"only {', '.join(voters)} could" if voters else "nobody could"
    raise PolicyError(
        f"{what} asks for {approval.needed} approval(s) of {runbook} from {' or '.join(approval.groups)}; "
        f"besides {requester}, who asks for it, {who} approve: a policy that nobody can satisfy.",
        hint="Let somebody else ask for it, or add members to the group in config/people.yaml.",
        subject=rule.name,
    )


def _matches(rule: PolicyRule, runbook: str, risk: Risk, vms: Sequence[str], requester: set[str]) -> bool:
    return (
        any(fnmatchcase(runbook, pattern) for pattern in rule.runbooks)
        and (not rule.risks or risk.value in rule.risks)
        and ("*" in rule.vms or (bool(vms) and all(any(fnmatchcase(vm, one) for one in rule.vms) for vm in vms)))
        and ("*" in rule.requesters or bool(requester & set(rule.requesters)))
    )
