"""Say when time alone changes something about a change: then somebody has to look at it, and not before. Pure."""

from __future__ import annotations

from datetime import datetime

from passgate.model.change import Change, State
from passgate.policy.ladder import ladder


def next_moment(change: Change, since: datetime | None = None) -> datetime | None:
    """Return the first moment at which a change has to be looked at because of the clock; None while there is none.

    What is planned, and what was never planned, is looked at from the beginning. Of reminders and escalations only
    those after `since` are left, where that is given; the end of a clock is never over until somebody has looked.
    """
    rungs = (one.at for one in ladder(change) if since is None or one.at > since)
    return min(filter(None, (_end_of_clock(change), *rungs)), default=None)


def _end_of_clock(change: Change) -> datetime | None:
    match change.state:
        case State.REQUESTED | State.PLANNED:
            return change.created_at
        case State.WAITING:
            return change.approve_by
        case State.APPROVED:
            return change.execute_by
        case State.SCHEDULED:
            return min((one for one in (change.starts_at, change.execute_by) if one), default=None)
        case State.APPLYING:
            return change.open_gate.approve_by if change.open_gate else None
        case _:
            return None
