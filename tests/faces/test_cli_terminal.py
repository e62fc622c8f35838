"""Prove that no text can steer a terminal, and that what is shown can be told from what was escaped."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from passgate.faces.cli.terminal import KEPT, safe


@given(st.text())
def test_nothing_that_steers_or_hides_is_shown(text: str) -> None:
    """No control, no direction mark, no line break and no lone surrogate comes through."""
    shown = safe(text)
    assert all(unicodedata.category(one)[0] != "C" and one not in "\u2028\u2029" for one in shown if one not in KEPT)


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"])))
def test_words_in_any_language_are_shown_as_they_are(text: str) -> None:
    """Names in any script, and emoji, are kept."""
    assert safe(text) == text
