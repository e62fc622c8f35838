"""Come to a second gate.

For tests of the engine alone: a VM is powered off and gets a controller, and is powered on behind a gate.
"""

from __future__ import annotations

from passgate.engine.steps import Ask, Risk, Steps, VmName, runbook
from passgate.model.inventory import ControllerKind, Inventory
from tasks import power, proving, usb


class ProveGate(Ask):
    """Ask for one VM."""

    vm: VmName


@runbook(risk=Risk.HOST_WIDE)
def prove_gate(ask: ProveGate, site: Inventory) -> Steps:
    """Come to a second gate."""
    machine = site.vm(ask.vm)
    yield power.Off(machine, power.How.HARD)
    yield usb.AddController(machine, ControllerKind.XHCI)
    yield proving.OnBehindGate(machine)
