"""Say when a schedule is due, and what is to be done about what is due now. Pure.

Local times that come twice mean the first time only; those that the clock skips mean the moment of the change
(`passgate.policy.occurrences.moment`). So one wall-clock time is one occurrence, whatever the clocks do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim

from passgate.model.schedule import Due
from passgate.policy.explain import span_words
from passgate.policy.occurrences import moment
from passgate.settings.calendar import rule_of
from passgate.settings.schedules import ScheduleRule

PROMPT = timedelta(minutes=10)
"""How late an occurrence may be and still count as one that was not missed."""
LOOK_BACK = timedelta(days=31)
"""What is older than that after an outage is neither looked for nor told."""
TOLD_EACH = 3
"""So many missed occurrences are told one by one."""
DAY = timedelta(days=1)


class Skipped(NamedTuple):
    """Say of an occurrence why it is not filed."""

    due: Due
    why: str


class Judgement(NamedTuple):
    """Say what to do now: file that occurrence, or let it wait (with `why`), or neither; and what is skipped."""

    file: Due | None = None
    wait: Due | None = None
    why: str = ""
    skipped: tuple[Skipped, ...] = ()


def upcoming(rule: ScheduleRule, after: datetime) -> Iterator[Due]:
    """Yield the occurrences after that moment, in order, each moment once."""
    zone = ZoneInfo(rule.zone)
    # A day earlier: no change of the clock moves a local time further than that.
    begin = after.astimezone(zone).replace(tzinfo=None, microsecond=0) - DAY
    last: Due | None = None
    for local in _local_times(rule, begin):
        if rule.ends is not None and local > rule.ends:
            break
        due = Due(local=f"{local:%Y-%m-%d %H:%M}", at=moment(local, zone))
        if last is not None and last.at > after and due.at != last.at:
            yield last
        last = due  # of several local times that the clock skips, the last one stands for the moment of the change
    if last is not None and last.at > after:
        yield last


def next_ones(rule: ScheduleRule, after: datetime, count: int) -> tuple[Due, ...]:
    """Return the next occurrences."""
    return tuple(islice(upcoming(rule, after), count))


def due_between(rule: ScheduleRule, after: datetime, until: datetime) -> tuple[Due, ...]:
    """Return the occurrences after one moment, up to and with the other, at most a month's."""
    return tuple(takewhile(lambda due: due.at <= until, upcoming(rule, max(after, until - LOOK_BACK))))


def judge(
    rule: ScheduleRule, dues: Sequence[Due], now: datetime, *, queued: Collection[str] = (), busy: str = ""
) -> Judgement:
    """Return what is to be done about what is due and not settled, in the order of time.

    `queued` are the local times of occurrences that were let wait before; `busy` is the open change of an earlier one.
    At most one change is filed, and it is for the last occurrence: those before it are skipped.
    """
    if not dues:
        return Judgement()
    *earlier, last = dues
    skipped = _earlier(earlier, last, queued)
    lateness = now - last.at
    bound = rule.late if last.local in queued or rule.missed == "latest" else PROMPT
    if lateness > max(bound, PROMPT):
        why = f"it was due at {last.local}, {span_words(_whole(lateness))} ago, and {_bound(rule, last, queued)}"
        return Judgement(skipped=(*skipped, Skipped(last, why)))
    if busy and rule.overlap == "skip":
        why = f"{busy} of the occurrence before is still open, and occurrences that overlap are skipped"
        return Judgement(skipped=(*skipped, Skipped(last, why)))
    if busy:
        return Judgement(wait=last, why=f"it waits for the end of {busy}", skipped=tuple(skipped))
    return Judgement(file=last, skipped=tuple(skipped))


def _local_times(rule: ScheduleRule, begin: datetime) -> Iterator[datetime]:
    if rule.cron is not None:
        yield from CronSim(rule.cron, begin)
    elif rule.rrule is not None and rule.first is not None:
        yield from rule_of(rule.rrule, rule.first).xafter(begin, inc=True)


def _earlier(earlier: Sequence[Due], last: Due, queued: Collection[str]) -> list[Skipped]:
    """Say of those that a later one overtook why they are skipped; of many that were missed, once of all."""
    waited = [due for due in earlier if due.local in queued]
    missed = [due for due in earlier if due.local not in queued]
    found = [Skipped(due, f"it waited until the next one came at {last.local}") for due in waited]
    if len(missed) > TOLD_EACH:
        why = f"missed, like {len(missed) - 1} before it from {missed[0].local} on: nothing filed them in time"
        return [*found, Skipped(missed[-1], why)]
    why = f"missed: nothing filed it in time, and the one at {last.local} came since"
    return [*found, *(Skipped(due, why) for due in missed)]


def _bound(rule: ScheduleRule, due: Due, queued: Collection[str]) -> str:
    if due.local in queued or rule.missed == "latest":
        return f"at most {span_words(rule.late)} late is allowed (late)"
    return "missed occurrences are skipped (missed)"


def _whole(span: timedelta) -> timedelta:
    return timedelta(seconds=span // timedelta(seconds=1))


def local_of(at: datetime, rule: ScheduleRule) -> str:
    """Return what the wall clock of the schedule shows at that moment, to the millisecond."""
    return at.astimezone(ZoneInfo(rule.zone)).replace(tzinfo=None).isoformat(" ", "milliseconds")
