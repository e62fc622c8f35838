"""Prove that each rule that users' complaints taught us is held by a test that bears its number."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
RULES = {f"R{number}" for number in range(1, 44)} - {"R41"}
"""R41 asks that approval be built in and free of charge: that is what all of Passgate is."""


def test_each_rule_of_approvals_is_named_by_a_test_that_holds_it() -> None:
    """Rules have numbers so that none is forgotten; a docstring names those that its test proves."""
    held = {
        rule
        for path in TESTS.rglob("test_*.py")
        if path != Path(__file__)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef)
        for rule in re.findall(r"\bR\d{1,2}\b", ast.get_docstring(node) or "")
    }
    assert RULES - held == set()
