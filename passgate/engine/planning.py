"""Make a plan: run a runbook on paper. Pure: an inventory in, a plan out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from difflib import SequenceMatcher
from os.path import commonprefix
from typing import Any

from passgate.engine.steps import Ask, Check, Effect, NoUndo, Runbook, Step
from passgate.errors import CheckFailedError
from passgate.model.inventory import Inventory
from passgate.model.plan import CheckResult, Plan, PlannedStep
from passgate.model.usb import vid_pid

LINE = 120
"""How many characters of a value people still read in a line."""
CONTEXT = 30
"""How many characters are shown before the place where two long texts part."""


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
    said += _about_steps(approved.steps, now.steps)
    if approved.digest != now.digest and not said:
        # Both follow from the steps, so they are named only where no step tells why.
        said += _about_list("object", approved.resources, now.resources)
        said += _about_list("impact", approved.impact, now.impact)
    return tuple(said)


def _about_list(what: str, then: tuple[str, ...], today: tuple[str, ...]) -> Iterator[str]:
    yield from (f"{what} is new: {one}" for one in today if one not in then)
    yield from (f"{what} is gone: {one}" for one in then if one not in today)
    if then != today and set(then) == set(today):
        yield f"{what}s in another order: {', '.join(today)}"


def _about_steps(then: tuple[PlannedStep, ...], today: tuple[PlannedStep, ...]) -> Iterator[str]:
    """Say of each step what became of it: one more or fewer is told once, whatever it moves the others by."""
    kinds, now = [one.kind for one in then], [one.kind for one in today]
    gone: list[int] = []
    new: list[int] = []
    for tag, a, b, c, d in SequenceMatcher(None, kinds, now, autojunk=False).get_opcodes():
        if b - a != d - c:
            gone += range(a, b)
            new += range(c, d)
        elif tag in {"equal", "replace"}:
            for old, one in zip(then[a:b], today[c:d], strict=True):
                yield from (f"step {old.index + 1}, {old.title}: {words}" for words in _changed(old, one))
    for at in gone:
        moved = next((place for place in new if today[place].meaning == then[at].meaning), None)
        if moved is None:
            yield f"step {at + 1}, {then[at].title}, is gone"
        else:
            new.remove(moved)
            before = f", before {today[moved + 1].title}" if moved + 1 < len(today) else ""
            yield f"step {at + 1}, {then[at].title}: comes as step {moved + 1} now{before}"
    yield from (f"step {at + 1}, {today[at].title}, is new" for at in new)


def _changed(old: PlannedStep, new: PlannedStep) -> Iterator[str]:
    for name in ("title", "kind", "needed", "mutates", "before", "after", "impact", "undo", "gate"):
        if (was := getattr(old, name)) != (is_ := getattr(new, name)):
            yield f"{name} {_was_and_is(was, is_)}"
    then, today = dict(_leaves(old.fields)), dict(_leaves(new.fields))
    for name in dict.fromkeys([*then, *today]):
        if then.get(name) != today.get(name):
            yield f"{name} {_was_and_is(then.get(name), today.get(name))}"


def _was_and_is(was: object, is_: object) -> str:
    """Say both in a line; of two long texts that begin alike only from a little before the place where they part."""
    begin = 0
    if isinstance(was, str) and isinstance(is_, str) and max(len(was), len(is_)) > LINE:
        alike = len(commonprefix([was, is_]))  # noqa: RUF071 - these are texts, no paths
        begin = max(0, was.rfind(" ", 0, max(0, alike - CONTEXT)) + 1)
    dots = "..." if begin else ""
    then, today = (one[begin:] if isinstance(one, str) else one for one in (was, is_))
    return f"was {dots}{short(then)}, is {dots}{short(today)}"


def _leaves(fields: dict[str, Any], above: str = "") -> Iterator[tuple[str, object]]:
    """Return what a step's fields hold in their depth, by names such as `vm host name`."""
    for name, value in fields.items():
        path = f"{above} {name}".strip()
        if isinstance(value, dict):
            yield from _leaves(value, path)
        elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
            yield from _leaves({str(at): one for at, one in enumerate(value, 1)}, path)
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
    return text if len(text) <= LINE else text[: LINE - 3] + "..."
