"""Say in chat what can't wait: emergencies, broken glasses and their reviews, reminders and escalations.

What is loud stands in the channel itself, not in the change's thread, where only those look who know of it.
"""

from __future__ import annotations

from passgate.faces.chat.directory import Directory
from passgate.faces.chat.text import safe
from passgate.faces.chat.words import View, asked_at, moment, title, who
from passgate.ledger.canonical import time_of
from passgate.model.change import Event, EventType, State
from passgate.model.decision import PLAN, Kind

HEADS = {Kind.EMERGENCY: "🚨 *Emergency*", Kind.BREAK_GLASS: "🔨 *The glass is broken*"}
"""How a change of these kinds is headed, in its own message and in the one that everybody sees."""


def is_loud(event: Event, view: View) -> bool:
    """Say whether an event is told in the channel itself, and not only in the thread of its change."""
    match event.type:
        case EventType.REVIEW_OPENED | EventType.REVIEW_OVERDUE:
            return True
        case EventType.REMINDED:
            return bool(event.data.get("last"))
        case EventType.STATE:
            return is_emergency_asked(event, view)
        case _:
            return False


def is_emergency_asked(event: Event, view: View) -> bool:
    """Say whether this is the moment at which an emergency change is put before those who decide."""
    terms = view.change.terms
    first = (event.data.get("from"), event.data.get("to")) == (State.PLANNED, State.WAITING)
    return first and terms is not None and terms.kind is Kind.EMERGENCY


def head(change_kind: Kind | None) -> str:
    """Return what a change is headed with: nothing for one of the common kinds."""
    return HEADS.get(change_kind, "") if change_kind else ""


def emergency(people: Directory, event: Event, view: View) -> str:
    """Call everybody who can decide on an emergency: who asks, for what, why, and until when."""
    change = view.change
    until = f" by {moment(change.approve_by)}" if change.approve_by else ""
    voters = people.mentions(asked_at(people, view.change, (), event.at))
    return (
        f"{HEADS[Kind.EMERGENCY]}: {safe(title(change), 200)}.\n{who(people, change.requester)} asked for it: "
        f"“{safe(change.reason, 500)}”\n{voters}: please decide{until}, in its thread or with "
        f"`passgate approve {change.id}`."
    )


def review_opened(people: Directory, event: Event, view: View) -> str:
    """Tell everybody that a glass is broken: who, what, why, until when, and who looks at it afterwards."""
    change, terms = view.change, view.change.terms
    within = terms.execute_within if terms else None
    until = f"; no step of it begins after {moment(event.at + within)}" if within else ""
    reviewers = people.mentions(event.data.get("reviewers") or ())
    due = _time(event, "due_at")
    return (
        f"{HEADS[Kind.BREAK_GLASS]}: {safe(title(change), 200)}.\n{who(people, change.requester)} began it without "
        f"approval{until}. Why: “{safe(event.data.get('reason') or '', 500)}”\n{reviewers}: one of you reviews it by "
        f"{due}, once it has ended: `passgate review close {change.id}`. Until then "
        f"{people.name(change.requester.person)} can approve nothing."
    )


def review_overdue(people: Directory, event: Event, view: View) -> str:
    """Tell everybody that a review is overdue; said again every day."""
    data = event.data
    return (
        f"⏰ *A review is overdue*: {people.mention(view.change.requester.person)} broke the glass for "
        f"{safe(title(view.change), 200)}, and nobody has looked at it by {_time(event, 'due_at')}.\n"
        f"{people.mentions(data.get('reviewers') or ())}: `passgate review show {view.change.id}`. Until it is closed "
        f"{people.name(view.change.requester.person)} can approve nothing. This is said once a day."
    )


def review_closed(people: Directory, event: Event, view: View) -> str:
    """Tell the author what the review came to."""
    data = event.data
    author = people.mention(view.change.requester.person)
    if data.get("verdict") == "not-needed":
        return f"🔍 {author} No review is needed: {view.change.id} ended before its first step, nothing was changed."
    verdict = safe(str(data.get("verdict", "")).replace("-", " "), 40)
    said = safe(data.get("reason") or "", 500)
    return f"🔍 {author} *Reviewed* by {people.name(event.actor.person)}: *{verdict}*. “{said}”"


def reminded(people: Directory, event: Event, view: View) -> str:
    """Remind who can still decide, louder before the end (R25)."""
    change, data = view.change, event.data
    asked = people.mentions(data.get("people") or ()) or "Nobody who could decide is left"
    until = f", until {_time(event, 'approve_by')}" if data.get("approve_by") else ""
    so_far = safe(data.get("why") or "", 300)
    if data.get("last"):
        after = "what was done is taken back" if _gate(event) else "it expires"
        return (
            f"🔔 *Last reminder*: {safe(title(change), 200)} still waits for a decision{_where(event)}{until}; then "
            f"{after}. {so_far}.\n{asked}: please decide, in its thread or with `{_command(event, view)}`."
        )
    return f"🔔 {asked}: {change.id} waits for your decision{_where(event)}{until}. {so_far}."


def escalated(people: Directory, event: Event, view: View) -> str:
    """Call those who may decide from now on, because nobody did so far (R30)."""
    groups = " and ".join(safe(one, 60) for one in event.data.get("groups") or ())
    asked = people.mentions(event.data.get("people") or ())
    return (
        f"⬆️ Nobody decided so far, so {groups} may decide on {view.change.id}{_where(event)} too.\n{asked}: decide "
        f"here, or with `{_command(event, view)}`."
    )


def _time(event: Event, name: str) -> str:
    """Return a time that the event tells, as people read it."""
    try:
        return moment(time_of(str(event.data.get(name))))
    except ValueError:
        return safe(event.data.get(name) or "an unknown time", 40)


def _gate(event: Event) -> str:
    gate = str(event.data.get("gate") or PLAN)
    return "" if gate == PLAN else gate


def _where(event: Event) -> str:
    return f" at the gate *{safe(_gate(event), 64)}*" if _gate(event) else ""


def _command(event: Event, view: View) -> str:
    return f"passgate approve {view.change.id}{f' --gate {safe(_gate(event), 64)}' if _gate(event) else ''}"
