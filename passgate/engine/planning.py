"""Make a plan: run a runbook on paper. Pure: an inventory in, a plan out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any

from passgate.engine.steps import Ask, Check, Effect, NoUndo, Runbook, Step
from passgate.errors import CheckFailedError
from passgate.model.inventory import Inventory
from passgate.model.plan import CheckResult, Plan, PlannedStep
from passgate.model.usb import vid_pid


def make_plan(runbook: Runbook[Any], ask: Ask, site: Inventory) -> Plan:
    """Run the runbook on paper against that inventory.

    Checks look at the inventory as it was read; each step sees what the steps before it would have left. Raises
    InputError when the ask names what is not there. A plan with checks that are not met is returned all the same, so
    that all of them can be shown; `refuse_stops` raises.
    """
    paper = site
    checks: list[CheckResult] = []
    steps: list[PlannedStep] = []
    resources: list[str] = []
    for item in runbook(ask, site):
        if isinstance(item, Check):
            checks.append(item.result(site))
            continue
        effect = item.effect(paper)
        paper = effect.then
        steps.append(_planned(len(steps), item, effect))
        if effect.needed and item.mutates:
            resources += resources_of(item)
    return Plan(
        runbook=runbook.slug,
        title=runbook.title,
        risk=runbook.risk,
        target=ask.target(),
        resources=_unique(resources),
        checks=tuple(checks),
        steps=tuple(steps),
        impact=_unique(step.impact for step in steps if step.impact),
    )


def _planned(index: int, step: Step, effect: Effect) -> PlannedStep:
    undo = step.undo()
    return PlannedStep(
        index=index,
        kind=step.kind(),
        fields=step.fields(),
        title=step.title,
        needed=effect.needed,
        mutates=step.mutates,
        before=effect.before,
        after=effect.after,
        impact=effect.impact if effect.needed else "",
        undo=undo.words if isinstance(undo, NoUndo) else undo.title,
        gate=step.gate if effect.needed else "",
    )


def rest_differs(
    approved: Plan, first: int, step_of: Callable[[PlannedStep], Step], site: Inventory
) -> tuple[str, ...]:
    """Say in words how the steps from `first` on would differ from what was approved, were they planned now.

    Each sees what the ones before it would leave, as when the plan was made; `site` is a fresh reading.
    """
    paper = site
    said: list[str] = []
    for planned in approved.steps[first:]:
        step = step_of(planned)
        effect = step.effect(paper)
        paper = effect.then
        now = _planned(planned.index, step, effect)
        said += [f"step {planned.index + 1}, {planned.title}: {one}" for one in _changed(planned, now)]
    return tuple(said)


def refuse_stops(plan: Plan) -> None:
    """Raise CheckFailedError that names each check which forbids this plan, with what to do."""
    if plan.stops:
        saw = "; ".join(f"{check.code}: {check.saw}" for check in plan.stops)
        hints = " ".join(dict.fromkeys(check.hint for check in plan.stops if check.hint))
        raise CheckFailedError(f"{plan.title} can't be done. {saw}.", hint=hints, subject=plan.target)


def resources_of(step: Step) -> tuple[str, ...]:
    """Return what a step needs the exclusive right to: `vm:`, `usb:<host>/<ids>`, `pci:<host>/<address>` or `host:`.

    A device has one key, whatever is known of its path and serial; twins on one host share it, and wait for each other.

    A step that acts on a VM or a device does not lock the whole host; only one whose field is a host does.
    """
    found: list[str] = []
    for field in step.fields().values():
        for value in field if isinstance(field, list) else [field]:
            match value:
                case {"vendor": vendor, "product": product, "host": {"ref": host}}:
                    found.append(f"usb:{host}/{vid_pid(vendor, product)}")
                case {"address": address, "host": {"ref": host}}:
                    found.append(f"pci:{host}/{address}")
                case {"ref": ref, "host": {"ref": _}}:
                    found.append(f"vm:{ref}")
                case {"ref": ref}:
                    found.append(f"host:{ref}")
    return tuple(found)


def differences(approved: Plan, now: Plan) -> tuple[str, ...]:
    """Say in words what differs in meaning between the plan that was approved and the plan as it would be now.

    Plans of the same digest, and only these, have no differences.
    """
    said = [
        f"{name}: {was} -> {is_}"
        for name in ("runbook", "risk", "target")
        if (was := getattr(approved, name)) != (is_ := getattr(now, name))
    ]
    then, today = ({check.code: check.saw for check in plan.checks if not check.met} for plan in (approved, now))
    said += [f"check {code} is not met any more: {saw}" for code, saw in today.items() if code not in then]
    said += [f"warning {code} is gone" for code in then if code not in today]
    said += _steps_differ(approved.steps, now.steps)
    if approved.digest != now.digest and not said:
        # Both follow from the steps, so they are named only where no step tells why.
        said.append(f"objects: {', '.join(approved.resources)} -> {', '.join(now.resources)}")
        said.append(f"impact: {short('; '.join(approved.impact))} -> {short('; '.join(now.impact))}")
    return tuple(said)


def _steps_differ(old: Sequence[PlannedStep], new: Sequence[PlannedStep]) -> Iterator[str]:
    """Say of each step what became of it; a step that is new or gone does not make all that follow other steps."""
    kinds, now = [step.kind for step in old], [step.kind for step in new]
    for _, a, b, c, d in SequenceMatcher(None, kinds, now, autojunk=False).get_opcodes():
        if b - a == d - c:
            for then, today in zip(old[a:b], new[c:d], strict=True):
                yield from (f"step {then.index + 1}, {then.title}: {one}" for one in _changed(then, today))
            continue
        yield from (f"step {step.index + 1}, {step.title}, is gone" for step in old[a:b])
        yield from (f"step {step.index + 1}, {step.title}, is new" for step in new[c:d])


def _changed(old: PlannedStep, new: PlannedStep) -> Iterator[str]:
    for name in ("title", "kind", "needed", "mutates", "before", "after", "impact", "undo", "gate"):
        if (was := getattr(old, name)) != (is_ := getattr(new, name)):
            yield f"{name} was {short(was)}, is {short(is_)}"
    then, today = dict(_leaves(old.fields)), dict(_leaves(new.fields))
    for name in dict.fromkeys([*then, *today]):
        if then.get(name) != today.get(name):
            yield f"{name} was {short(then.get(name))}, is {short(today.get(name))}"


def _leaves(fields: dict[str, Any], above: str = "") -> Iterator[tuple[str, object]]:
    """Return what a step's fields hold in their depth, by names such as `vm host name`."""
    for name, value in fields.items():
        path = f"{above} {name}".strip()
        if isinstance(value, dict):
            yield from _leaves(value, path)
        else:
            yield path, value


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def short(value: object) -> str:
    """Return the value as words of one line's length."""
    match value:
        case bool():
            text = "yes" if value else "no"
        case None | "":
            text = "nothing"
        case _:
            text = str(value)
    return text if len(text) <= 120 else text[:117] + "..."  # noqa: PLR2004 - a line that people still read
