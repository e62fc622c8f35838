"""Say in words what each rule of the policy asks of a change. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from passgate.model.decision import Kind, Said
from passgate.policy.facts import Facts
from passgate.settings.rules import Approval, Escalation, GateRule, PolicyRule


def said(rule: PolicyRule, why_not: str, facts: Facts) -> Said:
    """Say in words what a rule asks of this change."""
    if why_not:
        return Said(rule=rule.name, words=(f"does not apply: {why_not}",))
    if facts.kind is Kind.BREAK_GLASS and rule.break_glass is not None:
        return Said(rule=rule.name, words=tuple(_of_glass(rule)))
    if facts.kind is Kind.BREAK_GLASS:
        stays = dict(_TELLERS)["undo_on_failure"](rule)
        return Said(rule=rule.name, words=("asks for nothing now: who breaks the glass needs no approval", *stays))
    told = [line for field, tell in _TELLERS if field in rule.model_fields_set for line in tell(rule)]
    asked = [line for name in facts.gates if name in rule.gates for line in _at_gate(name, rule.gates[name])]
    return Said(rule=rule.name, words=(*told, *asked) or ("asks for nothing",))


def _at_gate(name: str, gate: GateRule) -> Iterator[str]:
    others = ", not by who approved the plan" if gate.others else ""
    count = " and ".join(_count(one) for one in gate.approval)
    yield f"at the gate {name}: {count}{others}, within {span_words(gate.approve_within)}"
    for line in (*_reminders(gate.remind), *_escalations(gate.escalate)):
        yield f"at the gate {name}: {line}"


def _reminders(remind: tuple[timedelta, ...]) -> list[str]:
    return [f"a reminder after {' and '.join(span_words(one) for one in remind)}"] if remind else []


def _escalations(escalate: tuple[Escalation, ...]) -> list[str]:
    return [f"after {span_words(one.after)} {' or '.join(one.groups)} may decide too" for one in escalate]


def _of_glass(rule: PolicyRule) -> Iterator[str]:
    if (glass := rule.break_glass) is not None:
        yield (
            f"lets {' or '.join((*glass.groups, *glass.people)) or 'nobody'} break the glass: no approval, no second "
            f"gate; over {span_words(glass.execute_within)} after it was asked for; then "
            f"{' or '.join(glass.reviewers)} review it within {span_words(glass.review_within)}"
            f"{'; freezes do not stop it' if glass.overrides_freezes else '; freezes stop it as any other'}"
        )


def _count(approval: Approval) -> str:
    return f"{approval.needed} approval{'s' if approval.needed != 1 else ''} by {approval.of}"


def span_words(span: timedelta) -> str:
    """Write a span as config does: 2d, 8h, 30m."""
    seconds = int(span.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


_TELLERS: tuple[tuple[str, Callable[[PolicyRule], list[str]]], ...] = (
    ("pre_authorised", lambda rule: ["authorises it in advance"] if rule.pre_authorised else []),
    ("approval", lambda rule: [_count(one) for one in rule.approval]),
    (
        "approve_within",
        lambda rule: [
            f"to be approved within {span_words(rule.approve_within)}" if rule.approve_within else "may wait for ever"
        ],
    ),
    (
        "execute_within",
        lambda rule: [
            f"to be begun within {span_words(rule.execute_within)} of it"
            if rule.execute_within
            else "an approval never ages"
        ],
    ),
    (
        "undo_on_failure",
        lambda rule: [] if rule.undo_on_failure else ["what was done stays when a step fails for good"],
    ),
    ("reason_required", lambda rule: ["an approval needs a reason"] if rule.reason_required else []),
    ("doors", lambda rule: [f"decisions only by {' or '.join(rule.doors)}"] if rule.doors else []),
    ("remind", lambda rule: _reminders(rule.remind)),
    ("escalate", lambda rule: _escalations(rule.escalate)),
    (
        "standing",
        lambda rule: [f"an approval may stand for {span_words(rule.standing)} of a schedule"] if rule.standing else [],
    ),
    (
        "mends",
        lambda rule: ["what it finds drifted may be asked to be mended" if rule.mends else "it may not mend drift"],
    ),
)
"""What each field of a rule asks for, in words; only fields that the rule has are told."""
