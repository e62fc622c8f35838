"""Run `passgate policy explain`: which rule asked for what."""

from __future__ import annotations

from collections.abc import Iterator

from passgate.errors import InputError
from passgate.faces.cli import words
from passgate.faces.cli.changes import ChangeId
from passgate.faces.cli.client import Service
from passgate.faces.cli.terminal import Answer


def explain(change: ChangeId) -> Iterator[Answer]:
    """Say which rule of the policy asked what of a change; before it is filed: `passgate plan ... --explain`."""
    shown = Service().get("v1", "changes", change)
    told, terms = shown["change"], words.terms_now(shown)
    if terms is None:
        raise InputError(f"{change} has no plan, so nothing was asked of it.", hint=f"See `passgate show {change}`.")
    lines = [
        f"{told['id']}: {told['runbook']}, asked for by {told['requester']['person']}",
        *words.policy_lines(terms, told.get("approve_by")),
    ]
    yield Answer(lines, {"change": told["id"], "terms": terms})
