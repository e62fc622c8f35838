"""Say where a decision is given when policy does not take it in Slack (R14). Pure."""

from __future__ import annotations

from passgate.faces.chat.text import safe
from passgate.model.change import Change, Door
from passgate.model.decision import PLAN

_WAYS = {
    Door.CLI: "at a shell, with `passgate approve {at}` or `passgate deny {at}`",
    Door.WEB: "on the web page",
    Door.API: "through the API",
}


def elsewhere(change: Change, gate: str = PLAN) -> str:
    """Return where decisions on a change are given, in words; empty where Slack takes them."""
    doors = change.terms.doors if change.terms else ()
    if not doors or Door.SLACK in doors:
        return ""
    at = change.id if gate == PLAN else f"{change.id} --gate {safe(gate, 64)}"
    ways = " or ".join(_WAYS[Door(door)].format(at=at) for door in doors)
    return f"Policy takes no decisions on {change.id} in Slack. Decide {ways}."
