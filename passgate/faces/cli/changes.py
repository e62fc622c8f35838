"""Ask for changes, decide on them, and follow them, through the service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any

from cyclopts import Parameter

from passgate.errors import InputError, UnreachableError
from passgate.faces.cli import words
from passgate.faces.cli.client import Service
from passgate.faces.cli.terminal import Answer

LOOK_SECONDS = 20.0
"""How long the service holds one question for news."""

SILENCE_SECONDS = 120.0
"""How long a watch lives with a service that does not answer; it may just be starting anew."""

NOT_MET = 3

Gate = Annotated[
    str, Parameter(help="Where you decide: on the plan, or at the second gate that the change waits at, by its name")
]
ChangeId = Annotated[str, Parameter(help="Id of the change, such as CHG-0042")]
Reason = Annotated[str, Parameter(help="Why, for the people concerned and for the record")]


def plan(runbook: str, ask: dict[str, Any], *, explain: bool = False) -> Iterator[Answer]:
    """Yield the plan, with `explain` which rule of the policy asks for what; nothing is filed and nothing touched."""
    told = Service().post("v1", "plans", body={"runbook": runbook, "ask": ask})
    terms = words.terms_now(told)
    stops = [check for check in told["plan"]["checks"] if not check["met"] and check["severity"] == "stop"]
    lines = [
        *words.plan_lines(told["plan"], told["digest"], terms),
        *(words.policy_lines(terms) if explain and terms else ()),
        "Such a change would be refused: see the checks that are not met."
        if stops
        else "This was a dry run: nothing was filed and nothing touched.",
    ]
    yield Answer(lines, told, NOT_MET if stops else 0)


def request(runbook: str, ask: dict[str, Any], *, wait: bool) -> Iterator[Answer]:
    """File a change and yield its plan; with `wait`, go on until it has ended."""
    yield from _filed(Service().post("v1", "changes", body={"runbook": runbook, "ask": ask}), wait=wait)


def again(
    change: ChangeId, *, wait: Annotated[bool, Parameter(help="Follow the new change until it has ended")] = False
) -> Iterator[Answer]:
    """Ask again for a change that came to nothing: the same ask in your name, planned and decided anew."""
    yield from _filed(Service().post("v1", "changes", change, "again", body={}), wait=wait)


def _filed(change: dict[str, Any], *, wait: bool) -> Iterator[Answer]:
    yield Answer(filed_lines(change, go_on=not wait), None if wait else change)
    if wait:
        yield from _followed(change["id"], show_events=False)


def filed_lines(change: dict[str, Any], *, go_on: bool = True) -> list[str]:
    """Return what there is to say of a change that was just filed, and how to go on with it."""
    barred = Service().get("v1", "changes", change["id"])["may_not_approve"]
    told = {"change": change, "may_not_approve": barred}
    return [*words.change_lines(told), *(how_to_go_on(told) if go_on else ())]


def watch(change: ChangeId) -> Iterator[Answer]:
    """Show a change's progress as it happens, until it has ended; the exit code tells the ends apart.

    done 0, denied 10, expired 11, withdrawn 12, void 13, undone 14, stopped 15. With --json each line is one object: an
    event as it is recorded, and at the end the change with its decisions and progress.
    """
    yield from _followed(change, show_events=True)


def approve(
    change: ChangeId,
    *,
    reason: Reason = "",
    digest: Annotated[str | None, Parameter(help="The plan that you saw; another one is not approved")] = None,
    gate: Gate = "plan",
    standing_until: Annotated[
        str | None,
        Parameter(
            help="For a change of a schedule, where policy lets it: approve later runs with the very same plan too, "
            "until the end of that day (UTC), such as 2027-03-31"
        ),
    ] = None,
) -> Iterator[Answer]:
    """Approve the plan of a change, or its going on at a second gate."""
    until = _end_of_day(standing_until) if standing_until else None
    yield _decided(change, "approve", reason, digest, gate, standing_until=until)


def deny(
    change: ChangeId,
    *,
    reason: Reason,
    digest: Annotated[str | None, Parameter(help="The plan that you saw")] = None,
    gate: Gate = "plan",
) -> Iterator[Answer]:
    """Deny a change, or its going on at a second gate; the reason is told to who asked for it."""
    if not reason.strip():
        raise InputError("A denial needs a reason.", hint='Say why: --reason "...".', subject="reason")
    yield _decided(change, "deny", reason, digest, gate)


def retract(change: ChangeId, *, reason: Reason = "", gate: Gate = "plan") -> Iterator[Answer]:
    """Take your own decision back: until the first step, or until the second gate is passed."""
    told = Service().post("v1", "changes", change, "retract", body={"reason": reason, "gate": gate})
    yield Answer([f"Your decision is taken back. {told['id']} is {told['state']}."], told)


def withdraw(change: ChangeId, *, reason: Reason = "") -> Iterator[Answer]:
    """Take a change back before it is carried out; at a second gate, what was done is taken back."""
    told = Service().post("v1", "changes", change, "withdraw", body={"reason": reason})
    back = " What was done is taken back now." if told["state"] == "applying" else ""
    yield Answer([f"{told['id']} is {told['state']}.{back}"], told)


def list_changes(
    *,
    state: Annotated[list[str] | None, Parameter(help="Only changes in this state; may be repeated")] = None,
    limit: Annotated[int, Parameter(help="How many, the newest first")] = 50,
    waits_for_me: Annotated[
        bool, Parameter(help="Only changes that wait for your decision, and reviews that you may close", negative=())
    ] = False,
) -> Iterator[Answer]:
    """List changes, the newest first."""
    asked = {"waits_for": "me"} if waits_for_me else {"state": state or [], "limit": limit}
    told = Service().get("v1", "changes", **asked)
    rows = [
        (
            one["id"],
            words.standing(one),
            one["runbook"],
            (one["plan"] or {}).get("target") or one["ask"].get("vm", ""),
            one["requester"]["person"],
            words.moment(one["created_at"]),
        )
        for one in told["changes"]
    ]
    head = ("CHANGE", "STATE", "RUNBOOK", "TARGET", "ASKED BY", "WHEN")
    reviews = told.get("reviews")
    lines = [*(words.table(head, rows) if rows else () if reviews else ["There are no such changes."])]
    yield Answer([*lines, *(words.open_reviews(reviews) if reviews else ())], told)


def show(change: ChangeId) -> Iterator[Answer]:
    """Show a change with its plan, decisions and progress."""
    told = Service().get("v1", "changes", change)
    lines = list(words.change_lines(told))
    if told["so_far"]:
        lines.append(f"So far: {told['so_far']}")
    yield Answer([*lines, *how_to_go_on(told)], told)


def runbook_list() -> Iterator[Answer]:
    """List the runbooks that this site has."""
    from passgate.engine.catalogue import load
    from passgate.settings.place import content

    found = [{"slug": one.slug, "title": one.title, "risk": one.risk.value} for one in load(content()).values()]
    rows = [(one["slug"], one["risk"], one["title"]) for one in found]
    yield Answer(words.table(("RUNBOOK", "RISK", "WHAT IT DOES"), rows), {"runbooks": found})


def runbook_show(
    runbook: Annotated[str, Parameter(help="Name of the runbook, such as usb-attach")],
) -> Iterator[Answer]:
    """Show what a runbook does and what it asks."""
    from passgate.engine.catalogue import Catalogue
    from passgate.settings.place import content

    found = Catalogue(content()).runbook(runbook)
    schema = found.ask.model_json_schema()
    needed = schema.get("required", [])
    rows = [
        (
            f"--{name.replace('_', '-')}",
            "needed" if name in needed else "",
            one.get("description", one.get("title", "")),
        )
        for name, one in schema["properties"].items()
    ]
    lines = [
        f"{found.slug}  {found.title}",
        f"  Risk: {found.risk.value}",
        *(f"  {line}" for line in found.description.splitlines()),
        "What it asks:",
        *(f"  {line.rstrip()}" for line in words.table(("OPTION", "", "MEANING"), rows)),
        f"Try it on paper: passgate plan {found.slug} ...",
    ]
    data = {"slug": found.slug, "title": found.title, "description": found.description, "risk": found.risk.value}
    yield Answer(lines, {**data, "ask": schema})


def usb_list(*, host: Annotated[str | None, Parameter(help="Only this host")] = None) -> Iterator[Answer]:
    """List the USB devices of the hosts, read now, with who uses them."""
    told = Service().get("v1", "usb", host=host)
    lines: list[str] = []
    for one in told["hosts"]:
        lines.append(f"{one['name']}  (arbitrator {one['arbitrator']})")
        if one["shell_error"]:
            lines.append(f"  Its shell can't be read: {one['shell_error']}")
        rows = [
            (
                f"  {device['vendor']:04x}:{device['product']:04x}",
                f"path:{device['path']}" if device["path"] else "",
                f"serial:{device['serial']}" if device["serial"] else "",
                device["name"] or ", ".join(device["families"]),
                _use(device),
            )
            for device in one["usb"]
        ]
        lines += words.table(("  ID", "PATH", "SERIAL", "NAME", "USE"), rows) if rows else ["  no USB devices"]
    yield Answer(lines or ["No hosts were read."], told)


def evidence_fetch(change: ChangeId) -> Iterator[Answer]:
    """Fetch the evidence of a change from the service into the current folder."""
    from pathlib import Path

    name, data = Service().fetch("v1", "changes", change, "evidence")
    path = Path(name)
    if path.exists() and path.read_bytes() != data:
        raise InputError(f"{path} is there already and differs.", hint="Move it away first.", subject=str(path))
    path.write_bytes(data)
    yield Answer([f"Wrote {path}. Check it with: passgate evidence verify {path}"], {"path": str(path)})


def _end_of_day(day: str) -> str:
    """Return the end of that day in UTC. Raises InputError for what is no day."""
    try:
        return f"{date.fromisoformat(day)}T23:59:59+00:00"
    except ValueError:
        raise InputError(
            f"--standing-until: {day!r} is no day.", hint="Write it as 2027-03-31.", subject="standing_until"
        ) from None


def _decided(
    change: str, verdict: str, reason: str, digest: str | None, gate: str, *, standing_until: str | None = None
) -> Answer:
    service = Service()
    seen = digest or service.get("v1", "changes", change)["change"]["digest"]
    body = {"verdict": verdict, "reason": reason, "digest": seen, "gate": gate, "standing_until": standing_until}
    told = service.post("v1", "changes", change, "decisions", body=body)
    missing = f": {told['so_far']}" if told["so_far"] else ""
    stands = f"It is {words.standing(told)} now{missing}."
    lines = [f"Your decision on {told['id']} is recorded. {stands}"]
    if not told["recorded"]:
        return Answer([f"You decided so on {told['id']} before: nothing new was recorded. {stands}"], told)
    if told["state"] == "scheduled":
        lines.append(f"Why it waits: passgate calendar explain --for {told['id']}")
    if standing_until:
        until = words.moment(standing_until)
        lines.append(f"It stands for later runs of {told['schedule']} with the very same plan, until {until}.")
        lines.append(f"To end that: passgate schedule revoke {told['schedule']}")
    if (verdict, gate) == ("approve", "plan"):
        lines += words.override_lines(told["plan"])
    return Answer(lines, told)


def _followed(change_id: str, *, show_events: bool) -> Iterator[Answer]:
    """Yield what happens to a change until it has ended; a service that starts anew meanwhile is waited for."""
    from passgate.model.change import EXIT_CODES, State

    service = Service()
    told = service.get("v1", "changes", change_id)
    after = 0
    silent_since: float | None = None
    while True:
        try:
            events = service.get("v1", "changes", change_id, "events", after=after, wait=LOOK_SECONDS)["events"]
            told = told if events else service.get("v1", "changes", change_id)
        except UnreachableError as error:
            if silent_since is None:
                silent_since = time.monotonic()
                hint = "A change under way stands still until it is back: run `passgate up`. Waiting for it ..."
                yield Answer([f"{error.message} {hint}"])
            if time.monotonic() - silent_since > SILENCE_SECONDS:
                raise
            time.sleep(1)
            continue
        silent_since = None
        for event in events:
            after = max(after, event["seq"])
            line = words.event_line(event)
            yield Answer(words.broken(line, 10) if line else [], event if show_events else None)
        ended = any(one["type"] == "change.state" and State(one["data"]["to"]).is_end for one in events)
        if ended or State(told["change"]["state"]).is_end:
            break
    told = service.get("v1", "changes", change_id)
    end = State(told["change"]["state"])
    yield Answer(_end_lines(told), told, EXIT_CODES.get(end, 1))


def _end_lines(told: dict[str, Any]) -> list[str]:
    change = told["change"]
    lines = [f"{change['id']} is {change['state']}. {words.AFTERWARDS.get(change['state'], '')}".rstrip()]
    lines += words.broken(f"  {change['outcome']}", 4) if change["outcome"] else []
    return [*lines, f"  Details: passgate show {change['id']}", *words.again_lines(change)]


def how_to_go_on(told: dict[str, Any]) -> list[str]:
    """Return which commands come next for that change, as the service shows it."""
    change = told["change"]
    if change["ended_at"]:
        return words.again_lines(change)
    lines = ["How to go on:", f"  passgate watch {change['id']}      follow it"]
    if change["state"] in {"planned", "waiting"} and (terms := words.terms_now(told)) and terms["requirements"]:
        voters = dict.fromkeys(voter for one in terms["requirements"] for voter in one["voters"])
        who = ", ".join(voters) or "those who are asked, once they can"
        lines.append(f"  passgate approve {change['id']}    for {who}{_or_in_slack(change)}")
    if gate := words.open_gate(change):
        lines.append(f"  passgate approve {change['id']} --gate {gate['name']}    let it go on{_or_in_slack(change)}")
    if change["state"] == "scheduled":
        lines.append(
            f"  passgate calendar explain --for {change['id']}   why it waits, and who may let it through a freeze"
        )
    return [*lines, f"  passgate withdraw {change['id']}   take it back"]


def _or_in_slack(change: dict[str, Any]) -> str:
    doors = (change["terms"] or {}).get("doors") or ["slack"]
    return "; or in Slack" if "slack" in doors else f"; only by {' or '.join(doors)}, not in Slack"


def _use(device: dict[str, Any]) -> str:
    if device["used_by_name"] or device["used_by"]:
        return f"used by {device['used_by_name'] or device['used_by']}"
    if device["boots_host"]:
        return "the host boots from it"
    return "free" if device["offered"] else "not offered for passthrough"
