"""No runbook may power a VM off, or suspend it, without looking whether it is away from the host of its devices."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TAKES_DOWN = {"power.Off", "power.Suspend"}
"""away.CycleAtHome is not among them: it looks for itself where the VM is, right before it acts."""
GUARDS = {"vmotion.IsAtHome"}
EVACUATES, REQUIRES = "evacuation.clear", "evacuation.requirements"


def calls(tree: ast.AST) -> set[str]:
    """Return the dotted names that are called there, such as `power.Off`."""
    return {ast.unparse(one.func) for one in ast.walk(tree) if isinstance(one, ast.Call)}


FLOWS = sorted(path for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
def test_a_vm_away_from_home_is_never_taken_down(path: Path) -> None:
    """Who powers off or suspends yields vmotion.IsAtHome; who evacuates a host yields all its requirements."""
    called = calls(ast.parse(path.read_text("utf-8")))
    if called & TAKES_DOWN:
        assert called & GUARDS, f"{path.name} takes a VM down and never yields vmotion.IsAtHome"
    if EVACUATES in called:
        assert REQUIRES in called, f"{path.name} evacuates a host without {REQUIRES}"


def test_the_guard_is_seen_where_it_is_missing() -> None:
    """The reader of the sources finds calls inside generators, conditions and arguments."""
    tree = ast.parse("def book(ask):\n    if ask:\n        yield power.Off(one, power.gentlest(one))\n")
    assert calls(tree) & TAKES_DOWN
    assert not calls(tree) & GUARDS
