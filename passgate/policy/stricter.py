"""Say what policy would ask for that was not asked for when people approved. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from passgate.model.decision import Asked, Requirement, Terms
from passgate.policy.seats import can_fill


def asks_more(then: Terms, now: Terms) -> tuple[str, ...]:
    """Say in words what `now` asks for beyond `then`; empty where whoever satisfied `then` satisfied `now` too."""
    said = [*_more(then, now)]
    if now.doors and (not then.doors or set(then.doors) - set(now.doors)):
        said.append(f"decisions only by {' or '.join(now.doors)}")
    for name, gate in now.gates.items():
        before = then.gates.get(name)
        said += [f"at the gate {name}: {words}" for words in _more(before or Asked(), gate)]
        if gate.others and not (before and before.others):
            said.append(f"at the gate {name}: other people than those who approve the plan")
    return tuple(said)


def _more(then: Asked, now: Asked) -> Iterator[str]:
    # Each approval that was asked for may stand for one that is asked for now, if all who could give it count there.
    wanted = now.requirements
    given = {
        f"{position}.{number}": [at for at, one in enumerate(wanted) if set(old.voters) <= set(one.voters)]
        for position, old in enumerate(then.requirements)
        for number in range(old.needed)
    }
    if not can_fill([one.needed for one in wanted], given):
        alone = [one for at, one in enumerate(wanted) if sum(at in places for places in given.values()) < one.needed]
        yield " and ".join(_words(one) for one in alone or wanted)
    if now.reason_required and not then.reason_required:
        yield "a reason with each approval"


def _words(one: Requirement) -> str:
    return f"{one.needed} approval{'s' if one.needed != 1 else ''} by {one.name} (rule {one.rule})"
