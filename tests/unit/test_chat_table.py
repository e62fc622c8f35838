"""Prove how a table that a step reports is shown in the thread: bounded, in columns, and without a way out of it."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from passgate.engine import tables
from passgate.faces.chat.text import block, units
from passgate.model.table import Table, columns

texts = st.text(st.characters(codec="utf-8"), max_size=80)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(texts, texts), max_size=30))
def test_nothing_in_a_cell_ends_the_block_and_the_block_is_bounded(rows: list[tuple[str, str]]) -> None:
    """Backticks, markup and control characters of devices' names stay inside; the length is Slack's to count."""
    shown = block(columns(("name", "words"), rows), 1600, more="… and {left} more lines")

    inside = shown.removeprefix("```\n").removesuffix("\n```")
    assert units(shown) <= 1600
    assert "`" not in inside
    assert "<" not in inside
    assert all(char.isprintable() or char in "\n\u200c\u200d" for char in inside)


def test_the_ledger_is_told_the_first_rows_and_the_files_hold_all(tmp_path: Path) -> None:
    """Thousands of rows are files with a hash each, not an event."""
    table = Table(name="t", title="T", columns=("a", "b"), rows=tuple((str(one), "xoxb-1-abcdef") for one in range(50)))
    clean = tables.cleaned(table)

    told = tables.keep(tmp_path, "CHG-0001", 1, clean)

    assert (told["rows"], len(told["head"])) == ("50", tables.HEAD)
    files = tables.files_of(tmp_path, "CHG-0001", [{"table": told}])
    assert set(files) == {"2-t.csv", "2-t.json"}
    assert files["2-t.csv"].count(b"\r\n") == 51
    assert b"abcdef" not in files["2-t.csv"] + files["2-t.json"]


def test_a_table_whose_file_is_gone_is_left_out(tmp_path: Path) -> None:
    """The evidence is written all the same; whoever verifies it learns that the file is missing."""
    assert tables.files_of(tmp_path, "CHG-0001", [{}, {"table": {"files": {"1-t.csv": "00"}}}]) == {}
