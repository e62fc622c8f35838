"""Run `passgate calendar explain` and `passgate override`: may it be done now, and if not, who can let it through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from cyclopts import Parameter

from passgate.faces.cli import words
from passgate.faces.cli.changes import ChangeId
from passgate.faces.cli.client import Service
from passgate.faces.cli.terminal import Answer

About = Annotated[
    str,
    Parameter(
        name="--for",
        help="A change (CHG-0042), a runbook (usb-attach), or a runbook on a host (usb-attach@esx-01.lab.example) or "
        "on a VM (usb-attach@vm:win-01)",
    ),
]
At = Annotated[
    str | None,
    Parameter(help="When: 2026-12-25 23:00, in the site's time zone, or with an offset; left out: now"),
]


def explain(*, about: About = "", at: At = None) -> Iterator[Answer]:
    """Say whether something may begin at a moment, by which windows and freezes, and when next."""
    told = Service().get("v1", "calendar", **{"for": about}, at=at)
    yield Answer(told["lines"], told)


def override(
    change: ChangeId,
    *,
    freeze: Annotated[str, Parameter(help="Name of the freeze, as `passgate calendar explain` says it")],
    reason: Annotated[str, Parameter(help="Why it can't wait, for the people concerned and for the record")],
) -> Iterator[Answer]:
    """Let one change of somebody else through a freeze, if you are among those whom the freeze names."""
    told = Service().post("v1", "changes", change, "overrides", body={"freeze": freeze, "reason": reason})
    yield Answer([f"{told['id']} is let through the freeze {freeze}. It is {words.standing(told)} now."], told)
