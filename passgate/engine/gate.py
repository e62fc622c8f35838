"""Move a change on when its decisions or its clocks settle it. Safe to call at any time, from any process."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from passgate.engine.authority import ENGINE
from passgate.engine.runtime import Runtime
from passgate.errors import ConflictError
from passgate.model.change import Change, State
from passgate.model.decision import Terms, Verdict
from passgate.policy.votes import Outcome, tally

FILING_TAKES = timedelta(minutes=1)
"""How old a change without a plan must be before it counts as one whose filing was cut off by a crash."""


def settle(runtime: Runtime, change: Change) -> Change:
    """Return the change as it stands now, moved on if that is due.

    Two processes may settle one change in the same moment: the store lets one of them win, and both read the outcome.
    """
    with suppress(ConflictError):
        _settle(runtime, change)
    return runtime.store.change(change.id)


def open_gate(runtime: Runtime, change: Change) -> Change:
    """Put a planned change before those who decide, or let it pass if its policy authorises it in advance."""
    terms = change.terms or Terms(policy="none", approvals=1)
    if terms.pre_authorised:
        return _approve(runtime, change, f"policy {terms.policy!r} authorises it in advance")
    return runtime.store.move(change.id, State.WAITING, ENGINE, needs(terms), runtime.clock())


def needs(terms: Terms) -> str:
    """Say in words what a change waits for."""
    return f"needs {terms.approvals} approval{'s' if terms.approvals != 1 else ''} from {' or '.join(terms.groups)}"


def _settle(runtime: Runtime, change: Change) -> None:
    match change.state:
        case State.REQUESTED if runtime.clock() - change.created_at > FILING_TAKES:
            said = "it was never planned: Passgate ended while it was filed. Request it again"
            runtime.store.move(change.id, State.VOID, ENGINE, said, runtime.clock(), outcome=said)
        case State.PLANNED:
            open_gate(runtime, change)
        case State.WAITING:
            _count(runtime, change)
        case State.APPROVED if change.execute_by and runtime.clock() >= change.execute_by:
            said = f"approved, but not begun by {change.execute_by:%Y-%m-%d %H:%M} UTC"
            runtime.store.move(change.id, State.EXPIRED, ENGINE, said, runtime.clock(), outcome=said)
        case _:
            pass


def _count(runtime: Runtime, change: Change) -> None:
    if change.terms is None or change.digest is None:
        return
    store, now = runtime.store, runtime.clock()
    decisions = store.decisions(change.id)
    verdict = tally(
        change.terms,
        decisions,
        digest=change.digest,
        requester=change.requester.person,
        now=now,
        approve_by=change.approve_by,
    )
    why = verdict.reasons[0] if verdict.reasons else verdict.outcome.value
    match verdict.outcome:
        case Outcome.APPROVED:
            _approve(runtime, change, why)
        case Outcome.DENIED:
            reasons = [one.reason for one in decisions if one.verdict is Verdict.DENY and one.reason]
            said = ": ".join(filter(None, (why, "; ".join(reasons))))
            store.move(change.id, State.DENIED, ENGINE, why, now, outcome=said)
        case Outcome.EXPIRED:
            store.move(change.id, State.EXPIRED, ENGINE, why, now, outcome=f"nobody settled it in time: {why}")
        case Outcome.WAITING:
            pass


def _approve(runtime: Runtime, change: Change, why: str) -> Change:
    now = runtime.clock()
    within = change.terms.execute_within if change.terms else None
    return runtime.store.move(change.id, State.APPROVED, ENGINE, why, now, execute_by=now + within if within else None)
