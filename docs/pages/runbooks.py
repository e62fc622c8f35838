"""Write one page for each runbook, and the list of them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from pages import policies
from pages.checks import WORDS, anchor
from pages.page import MARK, cell, first_line, on_one_line
from pages.procedure import checks_of, steps_of
from pages.schema import default, kind
from pages.sentences import impact_of, undo_of
from passgate.engine.steps import Ask, Remedy, Runbook, Step
from passgate.faces.cli.words import plan_lines
from passgate.model.plan import Plan, Risk, Severity
from passgate.settings.rules import Policy

Json = dict[str, Any]
LIMITS = re.compile(r"(?:^|(?<=[.:]))\s*\bKnown limits?[.:]\s+", re.MULTILINE)
RISKS = {
    Risk.READ_ONLY: "It changes nothing.",
    Risk.LOW: "Nobody loses anything by it.",
    Risk.DISRUPTIVE: "A VM or a device is away for a while.",
    Risk.HOST_WIDE: "It concerns a whole host and all VMs on it.",
}
GATES = {
    "host-reboot": "right before the host is rebooted",
    "guest-reboot": "right before the guest is rebooted",
}
LIMITED = {
    "minLength": "at least {} characters", "maxLength": "at most {} characters", "minimum": "from {}",
    "maximum": "up to {}", "maxItems": "at most {}", "minItems": "at least {}",
}  # fmt: skip


def index(runbooks: dict[str, Runbook[Any]], policy: Policy) -> str:
    """Return the list of all runbooks."""
    lines = ["# Runbooks", "", MARK]
    lines += [
        "A runbook is one procedure. `passgate runbook list` says which your site has; `passgate plan RUNBOOK ...`",
        "shows on paper what one would do, and touches nothing. The rule is the first in the shipped policies that",
        "takes every change of that runbook; its page names others, such as one for test machines.",
        "",
        "| runbook | what it does | risk | rule |",
        "|---|---|---|---|",
    ]
    for slug, runbook in runbooks.items():
        rule = policies.rules_of(policy, runbook)[-1]
        lines.append(f"| [{slug}]({slug}.md) | {cell(runbook.title)} | {runbook.risk.value} | {rule.name} |")
    return "\n".join(lines) + "\n"


def page(runbook: Runbook[Any], policy: Policy, example: Json | None) -> str:
    """Return the page of one runbook; `example` holds an ask and its plan, as recorded on the lab."""
    about, limits = _described(runbook)
    parts: list[list[str]] = [[f"# {runbook.slug}", "", f"{runbook.title}.", "", MARK + "\n" + about]]
    parts.append([f"**Risk: {runbook.risk.value}.** {RISKS[runbook.risk]}"])
    if limits:
        parts.append(["## Known limits", "", limits])
    parts.append(["## What it asks", "", *_fields(runbook)])
    if checks := list(_checks(runbook)):
        parts.append(["## Checks", "", CHECKS, *checks])
    parts.append(["## Steps", "", STEPS, *_steps(runbook)])
    parts.append(["## Whose decision it takes", "", *policies.lines(policy, runbook)])
    parts.append(["## Commands", "", *_commands(runbook, example)])
    if example:
        parts.append(["## An example", "", *_example(example)])
    return "\n\n".join("\n".join(part).rstrip() for part in parts) + "\n"


CHECKS = "All are looked at before the change is filed, and again right before it begins.\n"
STEPS = """\
Each step is recorded before it is begun, carried out, and proven by a fresh reading. A step that finds the world as it
should be does nothing. Words in italics stand for names that only a plan knows.
"""


def _described(runbook: Runbook[Any]) -> tuple[str, str]:
    """Return what the runbook's file says of it, and its known limits: what follows on `Known limits:`."""
    about, _, limits = LIMITS.sub("\0", runbook.description, count=1).partition("\0")
    return about.strip(), f"{limits[:1].upper()}{limits[1:]}".strip()


def _fields(runbook: Runbook[Any]) -> Iterator[str]:
    schema = runbook.ask.model_json_schema()
    last = {name: place for place, name in enumerate(Ask.model_fields)}
    yield "| option | takes | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in sorted(schema["properties"].items(), key=lambda one: last.get(one[0], -1)):
        needed = name in schema.get("required", ())
        usual = "needed" if needed else (default(field) or ["none"])[0].removeprefix("default ")
        limits = [words.format(field[key]) for key, words in LIMITED.items() if key in field and field[key] != 1]
        takes = ", ".join([kind(field, schema), *limits])
        meaning = field.get("description") or field.get("title") or ""
        yield f"| `--{name.replace('_', '-')}` | {cell(takes)} | {cell(usual)} | {cell(meaning)} |"


def _checks(runbook: Runbook[Any]) -> Iterator[str]:
    for check, when in checks_of(runbook).items():
        word = " (warning)" if WORDS.get(check.severity) == WORDS[Severity.WARNING] else ""
        said = f" Made {when}." if when else ""
        yield f"- [{check.code}](../checks.md#{anchor(check)}){word} {on_one_line(check.rule)}.{said}"


def _steps(runbook: Runbook[Any]) -> Iterator[str]:
    for number, item in enumerate(steps_of(runbook), 1):
        step = item.kind
        if not issubclass(step, Step):
            continue
        when = f" *{item.when[0].upper()}{item.when[1:]}.*" if item.when else ""
        does, _, more = first_line(step).partition(". ")
        yield f"{number}. **{does.rstrip('.')}.**{more and ' ' + more} `{step.kind()}`{when}"
        indent = " " * len(f"{number}. ")
        yield from (f"{indent}- {line}" for line in _facts(step))


def _facts(step: type[Step]) -> Iterator[str]:
    if issubclass(step, Remedy):
        yield "A remedy: carried out only if all is not well without it when its turn comes."
    if step.gate:
        yield (
            f"Second gate `{step.gate}`, {GATES.get(step.gate, 'right before it')}: where policy has terms for it, the "
            "change waits there for decisions of their own."
        )
    if step.mutates:
        impact = [f"{text}." for text in impact_of(step)]
        if impact:
            yield "Impact, as the case may be: " + " / ".join(impact) if len(impact) > 1 else f"Impact: {impact[0]}"
        yield f"Taken back by: {' / '.join(undo_of(step))}" if not _none(step) else f"Undo: {' / '.join(undo_of(step))}"
    else:
        yield "Looks only" + (", in the guest itself: that is the guest's proof." if step.in_guest else ".")
    if step.temporary:
        yield "Temporary: given back on every end of the change."
    tries = f"up to {step.attempts} tries, each waits" if step.attempts > 1 else "one try, which waits"
    yield f"Patience: {tries} up to {_time(step.patience.total_seconds())} for the effect to be seen."


def _none(step: type[Step]) -> bool:
    return all(one.startswith("none") for one in undo_of(step))


def _time(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _commands(runbook: Runbook[Any], example: Json | None) -> Iterator[str]:
    ask = (example or {}).get("ask") or _needed(runbook)
    options = "".join(f" {one}" for one in _options(ask))
    yield f"    passgate runbook show {runbook.slug}"
    yield f"    passgate plan {runbook.slug}{options}"
    yield f"    passgate request {runbook.slug}{options} --reason 'Why it is wanted'"
    yield ""
    yield f"In Prefect's UI the same form is the deployment `{runbook.slug}`."


def _needed(runbook: Runbook[Any]) -> Json:
    return {name: name.upper() for name, info in runbook.ask.model_fields.items() if info.is_required()}


def _options(ask: Mapping[str, Any]) -> Iterator[str]:
    for name, value in ask.items():
        option = f"--{name.replace('_', '-')}"
        match value:
            case True:
                yield option
            case False:
                yield f"--no-{option.removeprefix('--')}"
            case list():
                yield from (f"{option} {shlex.quote(str(one))}" for one in value)
            case _:
                yield f"{option} {shlex.quote(str(value))}"


def _how(how: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value if isinstance(value, str) else json.dumps(value)}" for name, value in how.items())


def _example(example: Json) -> Iterator[str]:
    plan = Plan.model_validate(example["plan"])
    yield f"Its plan on the lab: {example['name']}."
    if example.get("given"):
        calls = "; ".join(f"`{act}` {_how(how)}" for one in example["given"] for act, how in one.items())
        yield f"In a lab with this changed before: {calls}."
    yield ""
    said = plan_lines(plan.model_dump(mode="json"), "sha256:...", None)
    yield from (f"    {line}" for line in said)
    undone = [step for step in plan.steps if step.needed and step.mutates]
    if undone:
        yield ""
        yield "What takes each step back:"
        yield ""
        yield from (f"    {step.index + 1}. {step.title}: {step.undo}" for step in undone)
