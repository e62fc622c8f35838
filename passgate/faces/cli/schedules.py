"""Add, show and steer schedules through the service."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from passgate.faces.cli import words
from passgate.faces.cli.client import Service
from passgate.faces.cli.terminal import Answer

Json = dict[str, Any]
Name = Annotated[str, Parameter(help="Name of the schedule")]


def add(rule: Json) -> Iterator[Answer]:
    """Add a schedule; with its next occurrences, and what would be refused if it were due now."""
    told = Service().post("v1", "schedules", body=rule)
    lines = [*lines_of(told), *_warned(told)]
    lines.append(f"Each run waits for its decisions. File one now: passgate schedule run {rule['name']}")
    yield Answer(lines, told)


def list_schedules() -> Iterator[Answer]:
    """List the schedules, with what comes next and what came of the last occurrence."""
    told = Service().get("v1", "schedules")
    rows = [
        (
            one["rule"]["name"],
            one["rule"]["runbook"],
            _times(one["rule"]),
            "paused" if one["paused"] else (one["upcoming"] or [{"local": "never"}])[0]["local"],
            _last(one["occurrences"]),
            one["rule"]["author"],
        )
        for one in told["schedules"]
    ]
    head = ("SCHEDULE", "RUNBOOK", "TIMES", "NEXT", "LAST", "AUTHOR")
    yield Answer(words.table(head, rows) if rows else ["There are no schedules."], told)


def show(name: Name) -> Iterator[Answer]:
    """Show a schedule: what it asks for, what comes next, what became of the last ones, and which approvals stand."""
    told = Service().get("v1", "schedules", name)
    yield Answer(lines_of(told), told)


def pause(name: Name) -> Iterator[Answer]:
    """Let a schedule file nothing until its author resumes it. Anybody may."""
    yield _acted(name, "pause", f"{name} is paused: it files nothing until it is resumed.")


def resume(name: Name) -> Iterator[Answer]:
    """Let a schedule go on; what was due meanwhile is not made up for. Only its author may."""
    yield _acted(name, "resume", f"{name} goes on. What was due while it was paused is not made up for.")


def remove(name: Name) -> Iterator[Answer]:
    """Remove a schedule; what it filed stays. Only its author may."""
    told = Service().post("v1", "schedules", name, "remove", body={})
    yield Answer([f"{name} is removed. The changes that it filed stay as they are."], told)


def revoke(name: Name) -> Iterator[Answer]:
    """End the standing approvals of a schedule: each later run is asked for again. Anybody may."""
    told = Service().post("v1", "schedules", name, "revoke", body={})
    waiting = told["waiting_again"]
    lines = [f"No approval stands for {name} any more: its next run is asked for again."]
    lines += [f"Waiting for decisions again: {', '.join(waiting)}"] if waiting else []
    yield Answer(lines, told)


def run(name: Name) -> Iterator[Answer]:
    """File the change of a schedule now, in its author's name. Neither the author nor who runs it can approve it."""
    from passgate.faces.cli.changes import filed_lines

    told = Service().post("v1", "schedules", name, "run", body={})
    yield Answer(filed_lines(told), told)


def lines_of(told: Json) -> Iterator[str]:
    """Yield all that there is to say of a schedule."""
    rule = told["rule"]
    yield f"{rule['name']}  {rule['text'] or rule['runbook']}"
    asks = " ".join(f"--{field.replace('_', '-')} {_value(value)}" for field, value in rule["ask"].items())
    yield f"  Asks for: {rule['runbook']} {asks}".rstrip()
    yield f"  When: {_times(rule)}" + (f", not after {_local(rule['ends'])}" if rule["ends"] else "")
    where = "config/schedules/" if told["origin"] == "config" else "passgate schedule add"
    yield f"  In the name of {rule['author']}, since {words.moment(told['created_at'])} ({where})"
    yield f"  Missed occurrences: {_MISSED[rule['missed']].format(late=rule['late'])}"
    yield f"  While the change before is open: {_OVERLAP[rule['overlap']].format(late=rule['late'])}"
    if told["paused"]:
        yield "  Paused: it files nothing until it is resumed"
    if told["upcoming"]:
        yield f"Next ({rule['zone']}):"
        yield from (f"  {one['local']}   {words.moment(one['at'])}" for one in told["upcoming"])
    elif not told["paused"]:
        yield "It never happens again."
    if told["occurrences"]:
        yield "What became of the last ones:"
        yield from (f"  {one['local']}   {_became(one)}" for one in told["occurrences"])
    for one in told["standing"]:
        until = words.moment(one["standing_until"])
        plan = one["digest"][:19]
        yield f"Approval that stands: {one['person']}'s on {one['change']}, for plan {plan}, until {until}"


_MISSED = {
    "skip": "skipped, and told",
    "latest": "the last one is made up for, up to {late} late; those before it are skipped, and told",
}
_OVERLAP = {
    "skip": "an occurrence is skipped, and told",
    "queue": "an occurrence waits for its end, up to {late} late",
}


def _acted(name: str, act: str, said: str) -> Answer:
    told = Service().post("v1", "schedules", name, act, body={})
    return Answer([said, *lines_of(told)], told)


def _warned(told: Json) -> Sequence[str]:
    warning = told["warning"]
    return [f"If it were due now, nothing would be filed: {warning.rstrip('.')}."] if warning else []


def _times(rule: Json) -> str:
    first = f" from {_local(rule['first'])}" if rule["first"] else ""
    return f"{rule['cron'] or rule['rrule']}{first} {rule['zone']}"


def _local(text: str) -> str:
    return text[:16].replace("T", " ")


def _last(occurrences: Sequence[Json]) -> str:
    return f"{occurrences[0]['local']} {occurrences[0]['change'] or occurrences[0]['outcome']}" if occurrences else ""


def _became(one: Json) -> str:
    what = f"filed as {one['change']}" if one["change"] else one["outcome"]
    return f"{what}: {one['why']}" if one["why"] else what


def _value(value: Any) -> str:
    text = str(value)
    return f'"{text}"' if " " in text or not text else text
