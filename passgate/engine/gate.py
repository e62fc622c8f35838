"""Move a change on when its decisions or its clocks settle it. Safe to call at any time, from any process.

The gate before the first step is a state of the change. A second gate, right before a step such as a host reboot, is
passed or not while the change is being applied; its decisions are its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from passgate.engine.authority import ENGINE
from passgate.engine.opening import opening
from passgate.engine.runtime import Runtime
from passgate.errors import ConflictError
from passgate.model.change import Change, Gate, GateState, State
from passgate.model.decision import PLAN, Decision, GateTerms, Terms, Verdict
from passgate.policy.opening import Opening
from passgate.policy.votes import Outcome, tally_of
from passgate.store.expiring import Expiry

FILING_TAKES = timedelta(minutes=1)
"""How old a change without a plan must be before it counts as one whose filing was cut off by a crash."""


def settle(runtime: Runtime, change: Change) -> Change:
    """Return the change as it stands now, moved on if that is due.

    Two processes may settle one change in the same moment: the store lets one of them win, and both read the outcome.
    """
    with suppress(ConflictError):
        _settle(runtime, change)
    return runtime.store.change(change.id)


def expire(runtime: Runtime, change_ids: Sequence[str]) -> tuple[str, ...]:
    """End those of the changes whose time is over before their first step, all in one transaction; return their ids.

    What was decided in time, and waits at a second gate, is for `settle`.
    """
    now = runtime.clock()
    return runtime.store.expire(change_ids, lambda change, decisions: _expiry(change, decisions, now), ENGINE, now)


def open_gate(runtime: Runtime, change: Change) -> Change:
    """Put a planned change before those who decide, or let it pass if its policy authorises it in advance."""
    terms = change.terms or Terms(policy="none")
    verdict = tally_of(change, (), runtime.clock())
    if verdict.outcome is Outcome.APPROVED:
        return _approve(runtime, change, verdict.reasons[0])
    return runtime.store.move(change.id, State.WAITING, ENGINE, needs(terms), runtime.clock())


def needs(terms: Terms | GateTerms) -> str:
    """Say in words what a change waits for."""
    others = ", not from who approved the plan" if isinstance(terms, GateTerms) and terms.others else ""
    each = (f"{one.needed} approval{'s' if one.needed != 1 else ''} from {one.name}" for one in terms.requirements)
    return f"needs {' and '.join(each) or 'an approval that nobody can give'}{others}"


def stopped_at(change: Change) -> str | None:
    """Say at which second gate the change may go no further, who said so and why; None while it may."""
    shut = {GateState.DENIED, GateState.EXPIRED, GateState.WITHDRAWN}
    gate = next((one for one in change.gates if one.state in shut), None)
    return f"The gate {gate.name} before step {gate.step + 1} was not passed: {gate.why}." if gate else None


def _settle(runtime: Runtime, change: Change) -> None:
    match change.state:
        case State.REQUESTED if runtime.clock() - change.created_at > FILING_TAKES:
            said = "it was never planned: Passgate ended while it was filed. Request it again"
            runtime.store.move(change.id, State.VOID, ENGINE, said, runtime.clock(), outcome=said)
        case State.PLANNED:
            open_gate(runtime, change)
        case State.WAITING:
            _count(runtime, change)
        case State.APPLYING if change.open_gate is not None:
            _count_second(runtime, change, change.open_gate)
        case State.APPROVED | State.SCHEDULED if change.execute_by and runtime.clock() >= change.execute_by:
            expire(runtime, [change.id])
        case State.APPROVED:
            _schedule(runtime, change, opening(runtime, change, runtime.clock()))
        case State.SCHEDULED if change.starts_at is None or runtime.clock() >= change.starts_at:
            _reconsider(runtime, change)
        case _:
            pass


def _count(runtime: Runtime, change: Change) -> None:
    if change.terms is None or change.digest is None:
        return
    store, now = runtime.store, runtime.clock()
    decisions = store.decisions(change.id)
    verdict = tally_of(change, decisions, now)
    why = verdict.reasons[0]
    match verdict.outcome:
        case Outcome.APPROVED:
            _approve(runtime, change, why)
        case Outcome.DENIED:
            store.move(change.id, State.DENIED, ENGINE, why, now, outcome=_with_reasons(why, decisions, PLAN))
        case Outcome.EXPIRED:
            expire(runtime, [change.id])
        case Outcome.WAITING:
            pass


def _expiry(change: Change, decisions: Sequence[Decision], now: datetime) -> Expiry | None:
    match change.state:
        case State.WAITING if change.terms is not None and change.digest is not None:
            verdict = tally_of(change, decisions, now)
            why = verdict.reasons[0]
            return Expiry(why, f"nobody settled it in time: {why}") if verdict.outcome is Outcome.EXPIRED else None
        case State.APPROVED | State.SCHEDULED if change.execute_by and now >= change.execute_by:
            said = f"approved, but not begun by {change.execute_by:%Y-%m-%d %H:%M} UTC"
            return Expiry(said, said)
        case _:
            return None


def _count_second(runtime: Runtime, change: Change, gate: Gate) -> None:
    if change.terms is None or change.digest is None:
        return
    store, now = runtime.store, runtime.clock()
    decisions = store.decisions(change.id)
    verdict = tally_of(change, decisions, now, gate.name)
    state = {
        Outcome.APPROVED: GateState.PASSED,
        Outcome.DENIED: GateState.DENIED,
        Outcome.EXPIRED: GateState.EXPIRED,
    }.get(verdict.outcome)
    if state is None:
        return
    why = _with_reasons(verdict.reasons[0], decisions, gate.name)
    if state is GateState.EXPIRED:
        why = f"nobody settled it in time: {why}"
    store.settle_gate(change.id, gate.model_copy(update={"state": state, "why": why}), ENGINE, now)


def _with_reasons(why: str, decisions: Iterable[Decision], gate: str) -> str:
    said = [one.reason.rstrip(".") for one in decisions if one.gate == gate and one.verdict is Verdict.DENY]
    return ": ".join(filter(None, (why, "; ".join(filter(None, said)))))


def _approve(runtime: Runtime, change: Change, why: str) -> Change:
    """Note that it is approved, and let it wait for an opening where there is none now.

    The second clock runs from the first opening that the approval could use on: it never ends before that. One that
    rests on standing approvals is to be begun before these end.
    """
    now = runtime.clock()
    within = change.terms.execute_within if change.terms else None
    found = opening(runtime, change, now)
    stands = [
        one.standing_until for one in runtime.store.decisions(change.id) if one.standing_from and one.standing_until
    ]
    by = min([*stands, *(((found.next or now) + within,) if within else ())], default=None)
    return _schedule(runtime, runtime.store.move(change.id, State.APPROVED, ENGINE, why, now, execute_by=by), found)


def _schedule(runtime: Runtime, change: Change, found: Opening) -> Change:
    """Let an approved change wait for its opening, unless it may begin."""
    if found.may_begin:
        return change
    why = "; ".join(found.reasons)
    return runtime.store.move(change.id, State.SCHEDULED, ENGINE, why, runtime.clock(), starts_at=found.next)


def reconsider(runtime: Runtime, change: Change) -> Change:
    """Look anew when a scheduled change may begin, as after a freeze was overridden, or with another calendar."""
    with suppress(ConflictError):
        if change.state is State.SCHEDULED:
            _reconsider(runtime, change)
    return runtime.store.change(change.id)


def _reconsider(runtime: Runtime, change: Change) -> None:
    now = runtime.clock()
    found = opening(runtime, change, now)
    is_due = change.starts_at is not None and now >= change.starts_at
    if found.next != change.starts_at and not (found.may_begin and is_due):
        runtime.store.reschedule(change.id, found.next, "; ".join(found.reasons), now)


def is_ready(change: Change, at: datetime) -> bool:
    """Say whether a change waits for nothing but its run."""
    due = change.state is State.SCHEDULED and change.starts_at is not None and at >= change.starts_at
    return change.state is State.APPROVED or due
