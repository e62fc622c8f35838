"""Run `passgate review`: what was begun without approval is looked at afterwards, by somebody else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from passgate.errors import InputError
from passgate.faces.cli import words
from passgate.faces.cli.changes import ChangeId
from passgate.faces.cli.client import Service
from passgate.faces.cli.terminal import Answer


def list_reviews(
    *, all_of_them: Annotated[bool, Parameter(name="--all", help="Those that are closed too", negative=())] = False
) -> Iterator[Answer]:
    """List the reviews of broken glasses that are open, the newest first."""
    told = Service().get("v1", "reviews", all="true" if all_of_them else None)
    rows = [
        (
            one["change"],
            one["by"],
            words.moment(one["opened_at"]),
            words.moment(one["due_at"]),
            f"{_verdict(one)} ({one['closed_by']})" if one["closed_at"] else ", ".join(one["reviewers"]),
        )
        for one in told["reviews"]
    ]
    head = ("CHANGE", "BROKEN BY", "WHEN", "REVIEW DUE", "CLOSED AS" if all_of_them else "WHO CAN CLOSE IT")
    none = "No glass was ever broken." if all_of_them else "No review is open."
    yield Answer(words.table(head, rows) if rows else [none], told)


def show(change: ChangeId) -> Iterator[Answer]:
    """Show the review of a change: who broke the glass and why, what came of it, and who can close it."""
    told = Service().get("v1", "reviews", change)
    yield Answer(review_lines(told["review"], told["change"]), told)


def close(
    change: ChangeId,
    *,
    verdict: Annotated[
        Literal["justified", "not-justified"], Parameter(help="Whether the glass had to be broken; nothing is undone")
    ],
    reason: Annotated[str, Parameter(help="What was found, for its author and for the record")],
) -> Iterator[Answer]:
    """Close the review of a change, if you are among its reviewers; its author may approve again from then on."""
    if not reason.strip():
        raise InputError("A review needs words.", hint='Say what was found: --reason "...".', subject="reason")
    told = Service().post("v1", "reviews", change, "close", body={"verdict": verdict, "reason": reason})
    lines = [
        f"The review of {told['change']} is closed: {_verdict(told)}. {told['by']} may approve again.",
        f"  The evidence holds it now: passgate evidence fetch {told['change']}",
    ]
    yield Answer(lines, told)


def review_lines(review: Mapping[str, Any], change: Mapping[str, Any]) -> Iterator[str]:
    """Yield all that there is to say of a review."""
    plan = change.get("plan")
    yield f"{review['change']}  {plan['title'] if plan else change['runbook']}"
    yield f"  {review['by']} broke the glass at {words.moment(review['opened_at'])}: {change['reason']}"
    yield f"  What came of it: {change['state']}. {change['outcome']}".rstrip()
    if review["closed_at"]:
        yield f"  Reviewed by {review['closed_by']} at {words.moment(review['closed_at'])}: {_verdict(review)}"
        yield f"  Found: {review['words']}"
        return
    yield f"  Review due by {words.moment(review['due_at'])}; {review['by']} may approve nothing until it is closed"
    yield f"  Who can close it: {', '.join(review['reviewers'])}"
    yield f'  passgate review close {review["change"]} --verdict justified --reason "..."'


def _verdict(review: Mapping[str, Any]) -> str:
    return str(review["verdict"]).replace("-", " ")
