"""Do what it is told.

For tests of the engine alone: the steps of its plan are named in the request.
"""

from __future__ import annotations

from passgate.engine.steps import Ask, Risk, Steps, VmName, runbook
from passgate.model.inventory import ControllerKind, Inventory
from tasks import power, proving, usb

XHCI = ControllerKind.XHCI
MAKERS = {
    "off": lambda vm: power.Off(vm, power.How.HARD),
    "held": lambda vm: proving.Held(vm, XHCI),
    "held until": lambda vm: proving.HeldUntil(vm, XHCI),
    "given back": lambda vm: proving.GivenBack(vm, XHCI),
    "remove": lambda vm: usb.RemoveController(vm, XHCI),
    "restart": proving.Restart,
    "on": power.On,
    "on if off": proving.OnIfOff,
    "on behind gate": proving.OnBehindGate,
    "on if off behind gate": proving.OnIfOffBehindGate,
    "fail": lambda vm: proving.Fail(vm, ControllerKind.EHCI),
}


class ProveSteps(Ask):
    """Ask for one VM, and for steps by name."""

    vm: VmName
    steps: str


@runbook(risk=Risk.HOST_WIDE)
def prove_steps(ask: ProveSteps, site: Inventory) -> Steps:
    """Do what it is told."""
    machine = site.vm(ask.vm)
    for name in ask.steps.split(", "):
        yield MAKERS[name](machine)
