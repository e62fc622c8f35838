"""Prove that no text can steer a terminal, and that what is shown can be told from what was escaped."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from passgate.faces.cli.terminal import KEPT, safe
from passgate.faces.cli.words import event_line


@given(st.text())
def test_nothing_that_steers_or_hides_is_shown(text: str) -> None:
    """No control, no direction mark, no line break and no lone surrogate comes through."""
    shown = safe(text)
    assert all(unicodedata.category(one)[0] != "C" and one not in "\u2028\u2029" for one in shown if one not in KEPT)


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"])))
def test_words_in_any_language_are_shown_as_they_are(text: str) -> None:
    """Names in any script, and emoji, are kept."""
    assert safe(text) == text


def test_the_restore_point_is_told_as_what_it_is() -> None:
    """It is how the VM was before, for people; steps are taken back by their own undo, not from it."""
    line = event_line(
        {"type": "restore.saved", "at": "2026-11-23T08:12:20Z", "actor": {"person": "passgate"},
         "data": {"vm": "win-01", "config": {}}}
    )  # fmt: skip
    assert line == "08:12:20  saved how win-01 was before"
