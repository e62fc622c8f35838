"""Say what every generated page has in common."""

from __future__ import annotations

import re

MARK = "<!-- Written by docs/generate.py; `make check` compares. -->\n"


def first_line(kind: object) -> str:
    """Return the first sentence of a docstring on one line."""
    return on_one_line((kind.__doc__ or "").strip().split("\n\n")[0])


def on_one_line(text: str) -> str:
    """Return a text without its line breaks."""
    return re.sub(r"\s+", " ", text).strip()


def cell(text: str) -> str:
    """Return a text as it may stand in a cell of a table."""
    return on_one_line(text).replace("|", "\\|")
