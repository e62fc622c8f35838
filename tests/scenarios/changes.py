"""Change what a plan means, each time in one way that has a name: the corpus of what must always void an approval.

`IN_THE_WORLD` changes a reading, and says which words must be told of it; `on_paper` changes a stored plan.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from passgate.model.frozen import Frozen
from passgate.model.identity import HostId
from passgate.model.inventory import Arbitrator, Host, HostUsbDevice, Inventory, Power, Vm
from passgate.model.pci import PciFunction
from passgate.model.plan import CheckResult, Plan, PlannedStep, Risk, Severity
from tests.scenarios.parts import parts
from tests.scenarios.readings import Reading

OTHER_HOST = HostId(ref="host-99", name="esx-99.lab.example", uuid="4c4c9999")


@dataclass(frozen=True)
class InTheWorld:
    """Change things of one class that the plan names. `said` is what people must read of it, or of the refusal."""

    of: type[Frozen]
    how: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]]
    said: str
    runbooks: str = "."
    which: Callable[[Any], bool] = lambda _: True

    def made(self, reading: Reading) -> Iterator[Inventory]:
        """Yield the reading once for each thing that the plan names and that is of this kind, with it changed."""
        text = reading.plan.model_dump_json()
        for part in parts(reading.site):
            mine = part.name == "name" and type(part.of) is self.of and self.which(part.of)
            if mine and _key(part.of) in text:
                how = self.how(part.of) if callable(self.how) else self.how
                yield part.swap(part.of.model_copy(update=dict(how)))


def _key(thing: Any) -> str:
    """Return what a plan names the thing by."""
    if isinstance(thing, HostUsbDevice):
        ids = f'"vendor":{thing.vendor},"product":{thing.product},"path":"{thing.path}"'
        return f'"host":{thing.host.model_dump_json()},{ids}'
    if isinstance(thing, PciFunction):
        return f'"host":{thing.host.model_dump_json()},"address":"{thing.address}"'
    return f'"ref":"{thing.ref}"'


VM_BOOKS = "usb-(attach|detach|move|migrate|return|controller)|pci-(attach|detach)|smartcard|hardware"
IN_THE_WORLD: dict[str, InTheWorld] = {
    "another VM bears the name": InTheWorld(Vm, {"ref": "vm-999"}, "vm-999"),
    "the VM was made anew": InTheWorld(Vm, {"uuid": "5000-9999"}, "5000-9999"),
    "the VM is elsewhere": InTheWorld(Vm, {"host": OTHER_HOST}, r"esx-99|host-99|gone|vms \d+ name was"),
    "the VM is turned off, or on": InTheWorld(
        Vm, lambda vm: {"power": Power.OFF if vm.power is Power.ON else Power.ON}, r"\b(off|on|Shut down)\b"
    ),
    "the VM asks a question": InTheWorld(
        Vm, {"question": "Moved or copied?"}, "Moved or copied", VM_BOOKS, lambda vm: vm.power is Power.ON
    ),
    "the host was registered anew": InTheWorld(Host, {"ref": "host-99"}, "host-", "pci-(en|dis)able|usb-migrate"),
    "another host bears the name": InTheWorld(
        Host, {"uuid": "4c4c9999"}, "4c4c9999", "pci-(en|dis)able|usb-(migrate|attach)"
    ),
    "the host does not answer": InTheWorld(
        Host,
        {"connection": "notResponding"},
        "notResponding|HOST",
        "usb-(attach|detach|move|controller)|pci-|smartcard|hardware",
    ),
    "the host is in maintenance": InTheWorld(Host, {"maintenance": True}, "maintenance", "pci-(en|dis)able|usb-attach"),
    "the arbitrator stands": InTheWorld(Host, {"arbitrator": Arbitrator.STOPPED}, "arbitrator|stopped", "usb-attach"),
    "the host was rebooted meanwhile": InTheWorld(
        Host,
        lambda host: {"boot_time": host.boot_time and host.boot_time + timedelta(hours=1)},
        "has been up since|booted",
        "pci-(en|dis)able",
        lambda host: host.boot_time is not None,
    ),
    "another vendor in that port": InTheWorld(HostUsbDevice, {"vendor": 0x0781}, "0781|1921|no|No", "usb-|smartcard"),
    "another product in that port": InTheWorld(
        HostUsbDevice, {"product": 0x5583}, "5583|21891|no|No", "usb-|smartcard"
    ),
    "the device in another port": InTheWorld(
        HostUsbDevice,
        {"path": "0/9/9", "pattern": "path:0/9/9"},
        "0/9/9|not offer|No USB|does not show|not there",
        "usb-(attach|move|detach|migrate)",
    ),
    "another serial": InTheWorld(HostUsbDevice, {"serial": "OTHER-1"}, "OTHER-1|No USB", "usb-(attach|detach|migrate)"),
    "the device is called otherwise": InTheWorld(
        HostUsbDevice, {"name": "Rubber Duck"}, "Rubber Duck", "usb-|smartcard"
    ),
    "another function at that address": InTheWorld(PciFunction, {"device": 0x9999}, "9999|39321|No PCI", "pci-"),
    "the function at another address": InTheWorld(
        PciFunction, {"address": "0000:99:00.0"}, "0000:99:00.0|0000:05:00.0|PCI-USB-01", "pci-"
    ),
    "the function is set aside already": InTheWorld(
        PciFunction, {"enabled": True, "active": True}, "set aside|needed", "pci-enable"
    ),
    "the function is not in effect": InTheWorld(
        PciFunction, {"active": False}, "0000:05:00.0|in effect|PCI-", "pci-(attach|disable)"
    ),
}


class OnPaper(NamedTuple):
    """Hold a stored plan that was changed, how, and what people must be told."""

    how: str
    plan: Plan
    said: str


def on_paper(plan: Plan) -> Iterator[OnPaper]:
    """Yield the plan with each of its words changed, and its steps in another order, one fewer, and one twice."""
    steps = plan.steps
    for at, step in enumerate(steps):
        yield OnPaper(f"step {at} is gone", _with(plan, *steps[:at], *steps[at + 1 :]), re.escape(step.title))
        yield OnPaper(f"step {at} is done twice", _with(plan, *steps[: at + 1], *steps[at:]), re.escape(step.title))
        if at and steps[at - 1].meaning != step.meaning:
            swapped = (*steps[: at - 1], step, steps[at - 1], *steps[at + 1 :])
            yield OnPaper(f"steps {at - 1} and {at} change places", _with(plan, *swapped), re.escape(step.title))
        for how, other, said in _of_step(step):
            yield OnPaper(f"step {at}: {how}", _with(plan, *steps[:at], other, *steps[at + 1 :]), said)
    for risk in set(Risk) - {plan.risk}:
        yield OnPaper(f"risk {risk}", plan.model_copy(update={"risk": risk}), f"risk: {plan.risk} -> {risk}")
    for name in ("runbook", "target"):
        yield OnPaper(
            name, plan.model_copy(update={name: "something-else"}), f"{name}: {getattr(plan, name)} -> something-else"
        )
    yield OnPaper("impact", plan.model_copy(update={"impact": (*plan.impact, "all goes dark")}), "all goes dark")
    yield OnPaper("objects", plan.model_copy(update={"resources": (*plan.resources, "vm:vm-999")}), "vm:vm-999")
    new = CheckResult(code="NEW-01", rule="new", severity=Severity.WARNING, met=False, saw="something new")
    yield OnPaper("a warning more", plan.model_copy(update={"checks": (*plan.checks, new)}), "NEW-01 .*something new")
    for at, check in enumerate(plan.checks):
        turned = (*plan.checks[:at], check.model_copy(update={"met": not check.met}), *plan.checks[at + 1 :])
        yield OnPaper(f"{check.code} turned", plan.model_copy(update={"checks": turned}), check.code)


def _of_step(step: PlannedStep) -> Iterator[tuple[str, PlannedStep, str]]:
    title = re.escape(step.title)
    for name in ("kind", "title", "before", "after", "impact", "undo", "gate"):
        yield (
            name,
            step.model_copy(update={name: "quite another"}),
            f"{title}: {name} was .*quite another",
        )
    for name in ("needed", "mutates"):
        other = not getattr(step, name)
        yield name, step.model_copy(update={name: other}), f"{name} was .*is {'yes' if other else 'no'}"
    for path, fields in _leaves(step.fields):
        yield (
            f"field {path}",
            step.model_copy(update={"fields": fields}),
            f"{title}: {re.escape(path)} was .*is other",
        )


def _leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield each path into the value with the value as it is with something else there."""
    if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            for path, new in _leaves(one):
                whole = {**value, key: new} if isinstance(value, dict) else [*value[:key], new, *value[key + 1 :]]
                yield f"{key if isinstance(value, dict) else key + 1} {path}".strip(), whole
    else:
        yield "", "other"


def _with(plan: Plan, *steps: PlannedStep) -> Plan:
    return plan.model_copy(update={"steps": steps})
