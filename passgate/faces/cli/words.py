"""Put changes, plans and events into lines for people; in goes JSON as the service tells it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]

AFTERWARDS = {
    "waiting": "It waits for a decision.",
    "approved": "It will start.",
    "scheduled": "It waits for its window.",
    "applying": "It is being carried out.",
    "done": "The result was confirmed.",
    "denied": "Nothing was changed.",
    "expired": "Nobody decided in time. Nothing was changed.",
    "withdrawn": "Nothing was changed.",
    "void": "What was approved is not what would have to be done now.",
    "undone": "A step failed for good; what had been done was taken back.",
    "stopped": "A person is needed.",
}


VERDICTS = {"approve": "approved", "deny": "denied", "retract": "decision taken back"}


def open_gate(change: Json) -> Json | None:
    """Return the second gate that a change waits at, if it does."""
    gates: Sequence[Json] = change.get("gates") or ()
    at_one = change["state"] == "applying"
    return next((gate for gate in gates if gate["state"] == "open"), None) if at_one else None


def standing(change: Json) -> str:
    """Return a change's state, and at which second gate it waits."""
    gate = open_gate(change)
    return f"{change['state']}, waits at the gate {gate['name']}" if gate else str(change["state"])


def override_lines(plan: Json) -> Iterator[str]:
    """Yield the warnings that an approval of this plan overrides."""
    for check in plan["checks"]:
        if not check["met"]:
            yield f"  You override the warning {check['code']}: {check['saw']}. The record says so."


def moment(text: str | None) -> str:
    """Return a time as `2026-11-23 15:04 UTC`; the service tells all times in UTC."""
    return f"{text[:10]} {text[11:16]} UTC" if text else "never"


def span(text: str) -> str:
    """Return a length of time as `1d 2h 30m`; the service tells it as P1DT2H30M."""
    parts = re.findall(r"(\d+)(?:\.\d+)?([DHMS])", text)
    return " ".join(f"{number}{unit.lower()}" for number, unit in parts) or "no time"


def broken(text: str, indent: int) -> Iterator[str]:
    """Yield a text that may have several lines, all but the first with that many spaces before them."""
    first, *more = text.split("\n")
    yield first
    yield from (f"{' ' * indent}{line}" for line in more)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows in columns."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def change_lines(told: Json) -> Iterator[str]:
    """Yield all that there is to say of a change, as the service shows it with its decisions and progress."""
    change, decisions, journal = told["change"], told.get("decisions"), told.get("journal")
    plan = change.get("plan")
    yield f"{change['id']}  {plan['title'] if plan else change['runbook']}"
    yield f"  State: {change['state']}. {_what_now(change)}".rstrip()
    if change.get("outcome"):
        yield from broken(f"  Outcome: {change['outcome']}", 4)
    ticket = f", ticket {change['ticket']}" if change.get("ticket") else ""
    yield f"  Asked for by {change['requester']['person']} at {moment(change['created_at'])}{ticket}"
    yield f"  Reason: {change['reason'] or 'none given, and policy wants none'}"
    if change.get("replaces"):
        yield f"  In the place of {change['replaces']}, which came to nothing"
    if change.get("schedule"):
        yield f"  Filed for the schedule {change['schedule']}: passgate schedule show {change['schedule']}"
    if plan:
        yield from plan_lines(plan, change.get("digest") or "", terms_now(told), change.get("approve_by"))
    yield from (f"Freeze {one['freeze']}: {_let_through(one)}" for one in change.get("overrides") or ())
    if (change.get("terms") or {}).get("break_glass"):
        yield f"Its review: passgate review show {change['id']}"
    if decisions:
        yield "Decisions:"
        yield from (f"  {_decision(one)}{_overridden(one, plan)}" for one in decisions)
    for one in change.get("gates") or ():
        if one["state"] != "open":
            yield f"Gate {one['name']}, before step {one['step'] + 1}: {one['state']}, {one['why']}"
    if journal:
        yield "Progress:"
        yield from (f"  {entry['index'] + 1}. {entry['title']}: {_progress(entry, change)}" for entry in journal)


def again_lines(change: Json) -> list[str]:
    """Say how to ask again, of a change that came to nothing because of the world or the time."""
    wanted = change["state"] in {"expired", "withdrawn", "void", "undone"}
    return [f"  If it is still wanted, ask again: passgate again {change['id']}"] if wanted else []


def plan_lines(plan: Json, digest: str, terms: Json | None, approve_by: str | None = None) -> Iterator[str]:
    """Yield a plan: each step before and after, the impact, the checks, and what it waits for."""
    yield f"Plan for {plan['target']} (risk: {plan['risk']}, {digest[:19]}):"
    for step in plan["steps"]:
        if step["needed"]:
            yield f"  {step['index'] + 1}. {step['title']}: {step['before']} -> {step['after']}"
            if step["impact"]:
                yield f"     Impact: {step['impact']}"
        else:
            yield f"  {step['index'] + 1}. {step['title']}: nothing to do, {step['before']}"
    if not plan["steps"]:
        yield "  no steps"
    yield from check_lines(plan["checks"])
    if terms:
        yield f"Needs: {terms_words(terms, approve_by)}"
        yield from (f"  {line}" for line in (*_later(terms), *_in_place(terms), *_not_now(terms)))
        yield from _gates(plan, terms)


def check_lines(checks: Sequence[Json]) -> Iterator[str]:
    """Yield how many checks are met, and each one that is not."""
    failed = [check for check in checks if not check["met"]]
    yield f"Checks: {len(checks) - len(failed)} of {len(checks)} met"
    for check in failed:
        word = "NOT MET" if check["severity"] == "stop" else "Warning"
        yield f"  {word} {check['code']}: {check['rule']}. Seen: {check['saw']}"
        if check["hint"]:
            yield f"     What to do: {check['hint']}"


def terms_now(told: Json) -> Json | None:
    """Return the terms of a change, or of a plan, without those who can approve nothing now, and who these are.

    Terms are frozen when a change is filed; who has a review to answer for changes from day to day.
    """
    terms: Json | None = told.get("change", told).get("terms")
    barred = told.get("may_not_approve") or {}
    if not terms or not barred:
        return terms

    def left(asked: Json) -> Json:
        parts = {
            part: [
                {**one, "voters": [who for who in one["voters"] if who not in barred]} for one in asked.get(part, ())
            ]
            for part in _NAMING
        }
        return {**asked, **parts}

    every = (terms, *terms.get("gates", {}).values())
    named = {who for asked in every for part in _NAMING for one in asked.get(part, ()) for who in one["voters"]}
    gates = {name: left(gate) for name, gate in terms.get("gates", {}).items()}
    return {**left(terms), "gates": gates, "not_now": {who: why for who, why in barred.items() if who in named}}


_NAMING = ("requirements", "escalations")
"""The parts of terms that name who may decide."""


def terms_words(terms: Json, approve_by: str | None = None) -> str:
    """Return what policy asks for."""
    if terms["pre_authorised"]:
        return f"no decision: policy {terms['policy']!r} authorises it in advance"
    if glass := terms.get("break_glass"):
        who = f"{' or '.join(glass['groups'])} ({', '.join(glass['reviewers'])})"
        return f"no approval: {glass['by']} breaks the glass, and one of {who} reviews it afterwards"
    until = f", until {moment(approve_by)}" if approve_by else ""
    doors = f"; decisions only by {' or '.join(terms['doors'])}" if terms.get("doors") else ""
    reason = ", each with a reason" if terms.get("reason_required") else ""
    return f"{approvals_words(terms)}{reason}{until}; policy {terms['policy']!r}{doors}"


def approvals_words(asked: Json) -> str:
    """Return how many approvals a gate needs, by whom, and who that is."""
    each = (
        f"{one['needed']} approval{'' if one['needed'] == 1 else 's'} from {one['name']} ({_people(one)})"
        for one in asked["requirements"]
    )
    return " and ".join(each) or "an approval that nobody can give"


_TOLD = ("host", "cluster", "environments", "tags", "owners")


def policy_lines(terms: Json, approve_by: str | None = None) -> Iterator[str]:
    """Yield what each rule asked for, what that comes to, and who does not count. As it was when it was filed."""
    yield f"  As a change of the kind {terms.get('kind', 'normal')}; all rules that match apply, the strictest wins:"
    for one in terms.get("said") or ():
        first, *others = one["words"]
        yield f"  - {one['rule']}: {'; '.join((first, *others))}"
    yield from (f"  About {_target(one)}" for one in terms.get("targets") or ())
    yield f"  Together: {terms_words(terms, approve_by)}"
    for name, gate in terms.get("gates", {}).items():
        others = ", not from who approved the plan" if gate["others"] else ""
        within = f", within {span(gate['approve_within'])}"
        yield f"  At the gate {name}: {approvals_words(gate)}{others}{within}"
        yield from (f"  At the gate {name}: {line}" for line in _later(gate))
    yield from (f"  {line}" for line in (*_later(terms), *_in_place(terms)))
    if terms.get("doors"):
        yield f"  Decisions are taken only by {' or '.join(terms['doors'])}"
    for person, why in terms.get("excluded", {}).items():
        yield f"  Does not count: {person}, who {why}"
    yield from (f"  {line}" for line in _not_now(terms))


def _later(asked: Json) -> Iterator[str]:
    """Yield who may decide later, if nobody did."""
    for one in asked.get("escalations") or ():
        yield f"after {span(one['after'])} {' or '.join(one['groups'])} may decide too ({_people(one)})"


def _people(one: Json) -> str:
    return ", ".join(one["voters"]) or "nobody can now"


def _not_now(terms: Json) -> Iterator[str]:
    """Yield who is asked too, but can approve nothing now, and why."""
    yield from (f"Can approve nothing now: {who}, who {why}" for who, why in terms.get("not_now", {}).items())


def _in_place(terms: Json) -> Iterator[str]:
    """Yield who decides for whom while they are away, among those who are asked."""
    asked = {
        voter
        for gate in (terms, *terms.get("gates", {}).values())
        for one in gate["requirements"]
        for voter in one["voters"]
    }
    for one in terms.get("stand_ins") or ():
        if one["of"] in asked:
            span_of = f"from {moment(one['since'])} to {moment(one['until'])}"
            yield f"{one['person']} decides in the place of {one['of']} {span_of}; both have one vote together"


def open_reviews(reviews: Sequence[Json]) -> Iterator[str]:
    """Yield the reviews that wait for somebody, and the command to type."""
    rows = [(one["change"], one["by"], moment(one["opened_at"]), moment(one["due_at"])) for one in reviews]
    yield "Reviews of broken glasses that wait for you:"
    yield from table(("CHANGE", "BROKEN BY", "WHEN", "REVIEW DUE"), rows)
    yield f"  passgate review show {reviews[0]['change']}   what was done, and how to close its review"


def _target(one: Json) -> str:
    """Say what policy was told of a VM or host."""
    known = {name: one[name] if isinstance(one[name], str) else ", ".join(one[name]) for name in _TOLD if one[name]}
    facts = "".join(f"; {name} {words}" for name, words in known.items())
    return f"the {'VM' if one['kind'] == 'vm' else one['kind']} {one['name']}{facts}"


def _gates(plan: Json, terms: Json) -> Iterator[str]:
    """Yield what is asked once more, right before a step."""
    seen: set[str] = set()
    for step in plan["steps"]:
        name = step.get("gate")
        if not name or name in seen or name not in terms.get("gates", {}):
            continue
        seen.add(name)
        asked = terms["gates"][name]
        others = ", not from who approved the plan" if asked["others"] else ""
        yield f"Again before step {step['index'] + 1}, at the gate {name}: {approvals_words(asked)}{others}"


def _what_now(change: Json) -> str:
    if gate := open_gate(change):
        return f"It {_at_gate(gate)}."
    if change["state"] != "scheduled":
        return AFTERWARDS.get(change["state"], "")
    starts = change.get("starts_at")
    return f"It waits for its opening, {moment(starts)}." if starts else "No opening for it is in sight."


def _let_through(one: Json) -> str:
    return f"overridden by {one['person']} ({one['door']}) at {moment(one['at'])}: {one['reason']}"


def _at_gate(gate: Json) -> str:
    return f"waits at the gate {gate['name']}, before step {gate['step'] + 1}: {gate['why']}, until " + moment(
        gate["approve_by"]
    )


def _overridden(decision: Json, plan: Json | None) -> str:
    """Say which warnings an approval of the plan overrode: those of the plan that it is bound to."""
    if plan is None or (decision["verdict"], decision.get("gate", "plan")) != ("approve", "plan"):
        return ""
    codes = [check["code"] for check in plan["checks"] if not check["met"]]
    return f"; overrides {', '.join(codes)}" if codes else ""


EVENTS = {
    "change.requested": "requested by {person}: {runbook}",
    "change.planned": "planned",
    "change.state": "{to}{opens}{about}",
    "change.rescheduled": "waits for its opening{opens}{about}",
    "freeze.overridden": "let through the freeze {freeze} by {person}{about}",
    "authority.refused": "held back: a call without authority was refused{about}",
    "restore.saved": "saved how {vm}{host} was before",
    "gate.opened": "waits at the gate {gate}: {why}, until {until}",
    "gate.settled": "the gate {gate} is {state}{about}",
    "gate.reminded": "reminded of the gate {gate}: {why}, until {until}",
    "gate.escalated": "others may decide at the gate {gate} too: {who}",
    "review.opened": "{by} broke the glass; to be reviewed by {who}",
    "review.overdue": "its review is overdue; {who} can close it",
    "review.closed": "its review was closed by {person}: {verdict}{about}",
    "step.intent": "{title}{again} ...",
    "step.attempt_failed": "{title}: attempt {attempt} failed{about}{next_try}",
    "step.outcome": "{title}: {state}{seen}",
    "step.noticed": "noticed{about}",
    "undo.intent": "taking back '{title}': {undo} ...",
    "undo.outcome": "taking back '{title}': {state}{seen}",
    "run.resumed": "resumed{about}",
    "run.held_up": "can't {go_on} yet, and is tried again{about}",
    "guest.proof": "{title}: {state}{seen}",
    "evidence.written": "evidence written",
    "drift.mends": "to mend the drift{about}",
    "schedule.occurrence": "of its schedule {name}{about}",
}
"""How each event reads; those that are left out mean nothing to who watches."""


def event_line(event: Json) -> str | None:
    """Return an event as one line, when and what; None for what means nothing to who watches."""
    kind, data = event["type"], event["data"]
    when = event["at"][11:19]
    if kind == "decision.recorded":
        return f"{when}  {_decision({**event['actor'], 'reason': '', **data})}"
    if kind not in EVENTS:
        return None
    said = data.get("saw") or data.get("why") or data.get("outcome") or data.get("reason") or ""
    said = data["reason"] if kind == "review.closed" else said
    told = {
        "about": f": {said}" if said else "",
        "seen": f" ({said})" if said else "",
        "again": f" (attempt {data['attempt']})" if data.get("attempt", "1") != "1" else "",
        "next_try": f" Next try in {data['next_in']} s." if data.get("next_in") else "",
        "person": event["actor"]["person"],
        "who": ", ".join(data.get("reviewers") or data.get("people") or ()),
        "go_on": "go on" if data.get("state") == "applying" else "begin",
        "until": moment(data.get("approve_by")),
        "opens": f" at {moment(data['starts_at'])}" if data.get("starts_at") else "",
    }
    return f"{when}  {EVENTS[kind].format_map(_Told({**data, **told}))}"


class _Told(dict[str, Any]):
    """Leave out what an event does not say."""

    def __missing__(self, key: str) -> str:
        return ""


def _decision(one: Json) -> str:
    verb = VERDICTS[one["verdict"]]
    gate = one.get("gate", "plan")
    verb += "" if gate == "plan" else f" at the gate {gate}"
    at = f" at {moment(one['at'])}" if one.get("at") else ""
    reason = f": {one['reason']}" if one.get("reason") else ""
    overrides = f"; overrides {', '.join(one['overrides'])}" if one.get("overrides") else ""
    stands = f"; stands for later runs until {moment(one['standing_until'])}" if one.get("standing_until") else ""
    stands += f", given on {one['standing_from']}" if one.get("standing_from") else ""
    return f"{verb} by {one['person']} ({one['door']}){at}{reason}{overrides}{stands}"


def _progress(entry: Json, change: Json) -> str:
    if (change["state"], entry["state"]) == ("undone", "done"):
        return "was so until it was taken back"  # a step that only looked: what it saw does not hold any more
    tries = f" after {entry['attempts']} attempts" if entry["attempts"] > 1 else ""
    said = entry["saw"] or entry["error"]
    return f"{entry['state']}{tries}{f' ({said})' if said else ''}"
