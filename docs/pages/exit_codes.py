"""Write the page of exit codes, from the tree of errors and the ends of changes."""

from __future__ import annotations

from pages.page import MARK, first_line
from passgate import errors
from passgate.errors import PassgateError
from passgate.faces.cli.words import AFTERWARDS
from passgate.model.change import EXIT_CODES


def page() -> str:
    """Return the page."""
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, PassgateError)]
    lines = ["# Exit codes", "", MARK]
    lines += ["A command that did what was asked ends with 0. Interrupted from the keyboard: 130.", ""]
    lines += ["## Errors", "", "With `--json` an error also carries its code; message and hint say what to do.", ""]
    for number in sorted({one.exit_code for one in kinds}):
        lines += [f"**{number}**", ""]
        lines += [f"- `{one.code}` {one.__name__}. {first_line(one)}" for one in kinds if one.exit_code == number]
        lines.append("")
    lines += ["## Ends of a change", "", "Of `passgate watch` and `passgate request --wait`.", ""]
    lines += [f"- **{code}** {state}. {AFTERWARDS[state]}" for state, code in EXIT_CODES.items()]
    return "\n".join(lines) + "\n"
