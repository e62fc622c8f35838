"""Hold rows for people and programs, and write them as CSV, as JSON, and as columns of text. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field, model_validator

from passgate.model.frozen import Frozen

CELL = 60
"""Characters of one cell in columns of text; the files hold all of it."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula; devices and VMs bear any name."""


class Table(Frozen):
    """Hold a table: `name` for files (`usb-census`), a title for people, columns, and rows, the weightiest first.

    Every cell is text; one that has nothing to say is empty. `brief` names the columns that narrow places show.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = ()
    brief: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_square(self) -> Table:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"each row of {self.name} needs {len(self.columns)} cells")
        if not set(self.brief) <= set(self.columns):
            raise ValueError(f"brief columns of {self.name} are among {self.columns}")
        return self

    def shortened(self, rows: int) -> Table:
        """Return the first rows with the brief columns only, for narrow places."""
        places = [self.columns.index(name) for name in self.brief or self.columns]
        return Table(
            name=self.name,
            title=self.title,
            columns=tuple(self.columns[at] for at in places),
            rows=tuple(tuple(row[at] for at in places) for row in self.rows[:rows]),
        )

    def records(self, limit: int | None = None) -> list[dict[str, str]]:
        """Return the rows, or the first ones, as one mapping each."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows[:limit]]

    def as_csv(self) -> str:
        """Return RFC 4180 text with a head line; what a spreadsheet would run as a formula gets a quote before it."""
        sheet = io.StringIO()
        writer = csv.writer(sheet)
        writer.writerows([self.columns, *(map(_harmless, row) for row in self.rows)])
        return sheet.getvalue()

    def as_json(self) -> str:
        """Return a JSON document: name, title, and the rows as one object each."""
        told: dict[str, Any] = {"name": self.name, "title": self.title, "rows": self.records()}
        return json.dumps(told, ensure_ascii=False, indent=1) + "\n"

    def lines(self, limit: int | None = None) -> Iterator[str]:
        """Yield head and rows in columns; long cells are cut, and columns without a word are left out."""
        yield from columns(self.columns, self.rows[:limit])


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows in columns of text below their head, without the columns that are empty in all of them."""
    used = [at for at in range(len(head)) if any(row[at] for row in rows)] if rows else list(range(len(head)))
    cells = [[_cut(row[at]) for at in used] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= CELL else f"{flat[: CELL - 1]}…"


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
