"""Describe how a check is not met: what the files `unmet_*.py` beside this one are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from passgate.engine.steps import Check, Severity
from passgate.model.inventory import Inventory

STOP, WARNING = Severity.STOP, Severity.WARNING


@dataclass(frozen=True)
class Unmet:
    """One way in which one check is not met: the estate, the ask, the severity, and a part of what is said.

    The ask is of `runbook`. `check` is for a check that no shipped runbook makes alone: it is made from the estate, and
    looked at by itself.
    """

    code: str
    why: str
    said: str
    site: Inventory
    ask: dict[str, Any] = field(default_factory=dict)
    severity: Severity = STOP
    runbook: str = "usb-attach"
    check: Callable[[Inventory], Check] | None = None
