"""Write the table of all requirements and limits, from the checks themselves."""

from __future__ import annotations

from typing import Any

from pages.page import MARK, cell
from pages.procedure import checks_of
from passgate.engine.steps import Check, Runbook
from passgate.model.plan import Severity

ABOUT = """\
Every requirement and limit of a procedure is a check. All of them are looked at on paper before a change is filed, and
again right before it begins; `passgate plan` shows what each saw. A code means the same rule for ever.

**Severity.** *Stop*: the change is refused, and no decision overrides that. *Warning*: those who decide are shown it
with the plan, and their decision, which is recorded, covers it.

**Sources.** *Article* is the description of USB and PCI passthrough that the procedures come from; *KB* an article of
VMware's knowledge base; *reference* what vendor documents say of the vSphere API and the ESXi shell, by section of our
notes; *measured* what was seen on real software.

"""
HEAD = "| code | rule | severity | what to do when it is not met | runbooks | source |"
WORDS = {Severity.STOP: "stop", Severity.WARNING: "warning"}


def page(runbooks: dict[str, Runbook[Any]]) -> str:
    """Return the page."""
    runs: dict[type[Check], list[str]] = {}
    for slug, runbook in runbooks.items():
        for check in checks_of(runbook):
            runs.setdefault(check, []).append(slug)
    lines = ["# Checks", "", MARK, ABOUT + HEAD, "|---|---|---|---|---|---|"]
    for check in sorted(runs, key=lambda one: one.code):
        links = ", ".join(f"[{slug}](runbooks/{slug}.md)" for slug in runs[check])
        lines.append(
            f'| <a id="{anchor(check)}"></a>{check.code} | {cell(check.rule)} | {WORDS[check.severity]} '
            f"| {cell(check.hint)} | {links} | {cell(check.source)} |"
        )
    return "\n".join(lines) + "\n"


def anchor(check: type[Check]) -> str:
    """Return where in the page a check's row is."""
    return check.code.lower()
