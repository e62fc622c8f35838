"""Write the page of all commands, from their own help."""

from __future__ import annotations

from cyclopts import App

from pages.page import MARK
from passgate.faces.cli.main import build


def page() -> str:
    """Return the page."""
    app: App = build(["request"])
    text = app.generate_docs(output_format="markdown")
    commands = text[text.index("\n## passgate ") :]
    help_text = " ".join(str(app.help).split())
    return (
        f"# Commands\n\n{MARK}\n{help_text}\n\n{app.help_epilogue}\n\n`passgate plan RUNBOOK` takes the options of "
        f"`passgate request RUNBOOK`, without `--wait`.\n{commands.rstrip()}\n"
    )
