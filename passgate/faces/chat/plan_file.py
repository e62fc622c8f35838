"""Write a whole plan as a text file, for plans that are longer than a message. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from passgate.faces.chat.text import escape
from passgate.model.change import Change
from passgate.model.plan import Plan, PlannedStep

SHOWN_STEPS, SHOWN_IMPACT, SHOWN_WARNINGS = 2500, 1500, 1500
NAME, IMPACT, WARNING = 200, 400, 300
"""What a message is sure to hold of a plan; the parts of `render` are a little larger, for what is written around."""


@dataclass(frozen=True)
class PlanFile:
    """Hold the file with a change's whole plan."""

    name: str
    body: bytes

    @property
    def sha256(self) -> str:
        """Return the digest that the message names, in hex."""
        return hashlib.sha256(self.body).hexdigest()


def name_of(change: Change) -> str:
    """Return the name of the file with the change's plan; the plan's own digest is part of it."""
    return f"{change.id}-plan-{(change.digest or '').removeprefix('sha256:')[:12]}.txt"


def needs_file(plan: Plan) -> bool:
    """Say whether the plan is longer than its message can show."""
    steps = [(part, NAME) for step in plan.steps for part in (step.title, step.before, step.after)]
    impact = [(line, IMPACT) for line in plan.impact]
    warnings = [(part, WARNING) for check in plan.warnings for part in (check.rule, check.saw)]
    warnings += [(check.hint, NAME) for check in plan.warnings]
    rooms = ((steps, SHOWN_STEPS), (impact, SHOWN_IMPACT), (warnings, SHOWN_WARNINGS))
    return any(
        any(len(escape(part)) > longest for part, longest in parts)
        or sum(len(escape(part)) + 12 for part, _ in parts) > room
        for parts, room in rooms
    )


def plan_file(change: Change, plan: Plan) -> PlanFile:
    """Return the file: every step, impact and check, unshortened, and the digest that decisions are bound to."""
    return PlanFile(name_of(change), ("\n".join(_lines(change, plan)) + "\n").encode("utf-8", "replace"))


def _lines(change: Change, plan: Plan) -> Iterator[str]:
    yield f"{change.id}: {_line(plan.title)}"
    yield f"Runbook {plan.runbook}, target {_line(plan.target)}, risk {plan.risk}"
    yield f"Plan {change.digest}: decisions are bound to this digest, not to this file."
    yield ""
    yield "IMPACT"
    yield from (f"- {_line(one)}" for one in plan.impact or ("It names nothing that anybody loses.",))
    yield ""
    yield f"STEPS ({len(plan.todo)} of {len(plan.steps)} have something to do)"
    for step in plan.steps:
        yield from _step(step)
    yield ""
    yield "CHECKS"
    for check in plan.checks:
        state = "met" if check.met else f"NOT MET ({check.severity})"
        hint = f" {_line(check.hint)}" if check.hint and not check.met else ""
        yield f"- {check.code} {state}: {_line(check.rule)}. Seen: {_line(check.saw)}.{hint}"


def _step(step: PlannedStep) -> Iterator[str]:
    gate = f" [behind the gate {step.gate}]" if step.gate else ""
    yield f"{step.index + 1}. {_line(step.title)}{gate}{'' if step.needed else ' [nothing to do]'}"
    parts = {"before": step.before, "after": step.after, "impact": step.impact, "undo": step.undo}
    yield from (f"   {name}: {_line(words)}" for name, words in parts.items() if words)


def _line(text: str) -> str:
    """Return the text in one line: a name with a line break in it must not look like a step of its own."""
    return " ".join(text.split())
