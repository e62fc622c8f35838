# ruff: noqa: INP001 - a program of its own, no package
"""Write the reference pages that code already knows: `python docs/generate.py [--check]`.

Which runbooks there are, and their policy, is read from the content (PASSGATE_CONTENT, else the checkout); a runbook
that is gone loses its page.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pages import checks, commands, config, exit_codes, runbooks, states

from passgate.engine.catalogue import load
from passgate.settings.load import load_config
from passgate.settings.place import config_dir, content

DOCS = Path(__file__).parent
REFERENCE = DOCS / "reference"
EXAMPLES = DOCS / "examples"


def pages() -> dict[Path, str]:
    """Return the text of each page."""
    books, policy = load(content()), load_config(config_dir()).policy
    wanted = {
        "checks.md": checks.page(books),
        "cli.md": commands.page(),
        "config.md": config.page(),
        "exit-codes.md": exit_codes.page(),
        "states.md": states.page(),
        "runbooks/index.md": runbooks.index(books, policy),
    }
    for slug, runbook in books.items():
        recorded = EXAMPLES / f"{slug}.json"
        example = json.loads(recorded.read_text("utf-8")) if recorded.exists() else None
        wanted[f"runbooks/{slug}.md"] = runbooks.page(runbook, policy, example)
    return {REFERENCE / name: text for name, text in wanted.items()}


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` say which differ."""
    wanted = pages()
    gone = [path for path in (REFERENCE / "runbooks").glob("*.md") if path not in wanted]
    if "--check" not in arguments:
        for path, text in wanted.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for path in gone:
            path.unlink()
        return 0
    differ = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text] + gone
    if differ:
        names = ", ".join(str(path.relative_to(REFERENCE)) for path in differ)
        sys.stderr.write(f"docs/reference: {names} differ. Run: python docs/generate.py\n")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
