"""Describe a plan: the ordered steps and checks for one change, and the digest that a decision is bound to."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Any

import rfc8785

from passgate.model.frozen import Frozen


class Risk(StrEnum):
    """Rank runbooks by what they can take away from somebody."""

    READ_ONLY = "read-only"
    LOW = "low"
    DISRUPTIVE = "disruptive"
    HOST_WIDE = "host-wide"


class Severity(StrEnum):
    """Say what a check that is not met does: STOP has no override, WARNING is shown to who decides."""

    STOP = "stop"
    WARNING = "warning"


class CheckResult(Frozen):
    """Hold what one check found. `met` False with severity STOP means that the change can't be planned."""

    code: str
    rule: str
    severity: Severity
    met: bool
    saw: str
    hint: str = ""
    source: str = ""


class PlannedStep(Frozen):
    """Hold one step on paper.

    `kind` is `module.Class` under tasks/ (`power.Off`), `fields` its arguments as JSON. `before`, `after` and `impact`
    are the words that people approve. `needed` False means that nothing has to be done, and `before` says why.
    `gate` names a second gate right before a step that is needed (`host-reboot`).
    """

    index: int
    kind: str
    fields: dict[str, Any]
    title: str
    needed: bool
    mutates: bool
    before: str
    after: str
    impact: str = ""
    undo: str = ""
    gate: str = ""

    @property
    def meaning(self) -> dict[str, Any]:
        """Return what a decision on this step is bound to; its place follows from the order of steps.

        A step without a gate means what it meant before there were gates, so that older plans keep their digests.
        """
        return self.model_dump(mode="json", exclude={"index"} if self.gate else {"index", "gate"})


class Plan(Frozen):
    """Hold the ordered steps for one change, all check results, and what they mean for others.

    `resources` are the objects that the change takes leases on (`vm:vm-7`, `host:host-3`, `usb:host-3/18a5:0302`).
    """

    runbook: str
    title: str
    risk: Risk
    target: str
    resources: tuple[str, ...]
    checks: tuple[CheckResult, ...]
    steps: tuple[PlannedStep, ...]
    impact: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Return `sha256:<hex>` over the meaning: what is done to what, in which order, with which warnings.

        Met checks, reading times, list order in the inventory and load are noise and stay out (DESIGN, path, 2).
        """
        meaning: dict[str, Any] = {
            "runbook": self.runbook,
            "risk": self.risk.value,
            "target": self.target,
            "resources": sorted(self.resources),
            "warnings": sorted(check.code for check in self.checks if not check.met),
            "steps": [step.meaning for step in self.steps],
            "impact": list(self.impact),
        }
        return "sha256:" + hashlib.sha256(rfc8785.dumps(meaning)).hexdigest()

    @property
    def stops(self) -> tuple[CheckResult, ...]:
        """Return the checks that forbid this change."""
        return tuple(check for check in self.checks if not check.met and check.severity is Severity.STOP)

    @property
    def warnings(self) -> tuple[CheckResult, ...]:
        """Return the checks that are not met but that policy may live with."""
        return tuple(check for check in self.checks if not check.met and check.severity is Severity.WARNING)

    @property
    def todo(self) -> tuple[PlannedStep, ...]:
        """Return the steps that have something to do."""
        return tuple(step for step in self.steps if step.needed)

    @property
    def gates(self) -> tuple[str, ...]:
        """Return the names of the second gates before steps that have something to do, in their order."""
        return tuple(dict.fromkeys(step.gate for step in self.steps if step.gate))
