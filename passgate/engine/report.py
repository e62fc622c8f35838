"""Write a change's plan and report as Markdown, for Prefect's artifacts and for files."""

from __future__ import annotations

from collections.abc import Sequence

from passgate.model.change import Change, JournalEntry
from passgate.model.plan import Plan


def of_plan(change: Change, plan: Plan) -> str:
    """Return the plan: impact, steps before -> after, and the checks that are not met."""
    lines = [f"# {change.id}: {plan.title} ({cell(plan.target)})", "", cell(change.reason), ""]
    lines += [f"- **Impact:** {cell(one)}" for one in plan.impact]
    lines += [f"- **Warning {one.code}:** {cell(one.saw)}" for one in plan.warnings]
    lines += [f"- **Second gate `{name}`**, before step {step}" for name, step in _gates(change, plan).items()]
    lines += ["", "| | step | before | after | taken back by |", "|---|---|---|---|---|"]
    lines += [
        f"| {step.index + 1} | {cell(step.title)} | {cell(step.before)} | "
        f"{cell(step.after) if step.needed else 'nothing to do'} | {cell(step.undo)} |"
        for step in plan.steps
    ]
    return "\n".join([*lines, "", f"`{plan.digest}`"])


def _gates(change: Change, plan: Plan) -> dict[str, int]:
    """Return the gates that policy has terms for, and the number of the first step that has each."""
    known = change.terms.gates if change.terms else {}
    return {step.gate: step.index + 1 for step in reversed(plan.steps) if step.gate in known}


def of_end(change: Change, journal: Sequence[JournalEntry]) -> str:
    """Return the outcome: the end in words, and what became of each step."""
    lines = [f"# {change.id}: {change.state}", "", cell(change.outcome), ""]
    lines += ["| | step | state | tries | seen |", "|---|---|---|---|---|"]
    lines += [
        f"| {one.index + 1} | {cell(one.title)} | {one.state} | {one.attempts} | {cell(one.saw or one.error)} |"
        for one in journal
    ]
    return "\n".join(lines)


def cell(text: str) -> str:
    """Return text that can't break out of a table cell: names come from the estate and may hold anything."""
    flat = " ".join(text.split())
    return "".join(f"\\{one}" if one in "|`*_<>[]#\\" else one for one in flat)
