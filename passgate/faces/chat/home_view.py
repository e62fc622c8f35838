"""Draw a person's App Home: what waits for them, what they asked for, what ended lately. Pure: facts in, view out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from passgate.faces.chat.buttons import again_block, decide_block
from passgate.faces.chat.directory import Directory
from passgate.faces.chat.text import fit, fit_lines, plain, safe
from passgate.faces.chat.words import SYMBOLS, WORDS, moment, title
from passgate.model.change import Change
from passgate.model.decision import PLAN, Decision
from passgate.model.review import Review

Block = dict[str, Any]

REQUEST = "passgate_home_request"
MOST_WAITING, MOST_REVIEWS, MOST_DECIDED, MOST_MINE, MOST_ENDED = 20, 10, 5, 10, 10
"""So many are shown of each kind: two blocks for one with buttons, one for each other; 100 is the limit."""
WORDS_OF_ONE = 1500
IMPACT = 400
STANDING = 2900


@dataclass(frozen=True)
class Listed:
    """Hold one change with the decisions on it, the address of its message, and by which it was asked for again."""

    change: Change
    decisions: tuple[Decision, ...] = ()
    link: str = ""
    again: str = ""


@dataclass(frozen=True)
class Shown:
    """Hold what is known for one person; `more` says that more waits than is listed, `note` what they are told.

    `standing` are their approvals that stand for later runs, each with its schedule; `reviews` those of broken glasses
    that they may close.
    """

    waiting: tuple[Listed, ...] = ()
    decided: tuple[Listed, ...] = ()
    mine: tuple[Listed, ...] = ()
    ended: tuple[Listed, ...] = ()
    more: bool = False
    note: str = ""
    standing: tuple[tuple[str, Decision], ...] = ()
    reviews: tuple[tuple[Listed, Review], ...] = ()


def home(people: Directory, seal: Callable[[Change, str], str], shown: Shown) -> dict[str, Any]:
    """Return the App Home of a listed person."""
    blocks: list[Block] = [_section(f"⚠️ {fit(shown.note, WORDS_OF_ONE)}")] if shown.note else []
    blocks += [_actions(), _header("Waits for your decision")]
    if not shown.waiting:
        blocks.append(_section("Nothing waits for you."))
    for one in shown.waiting:
        blocks += _with_buttons(people, seal, one)
    if shown.more:
        blocks.append(_section("… and more: `/passgate waiting`, or `passgate list --waits-for-me`"))
    if shown.reviews:
        blocks.append(_header("Waits for your review"))
        blocks += [_section(fit(_review(people, *one), WORDS_OF_ONE)) for one in shown.reviews]
    if shown.decided:
        blocks.append(_header("You decided, and it has not begun"))
        for one in shown.decided:
            blocks += _with_buttons(people, seal, one)
    if shown.standing:
        lines = [
            f"🔁 *{safe(name, 64)}*, plan {safe(one.digest[:19], 19)}, given on {one.change}"
            f"{f', until {moment(one.standing_until)}' if one.standing_until else ''}. "
            f"To end it: `passgate schedule revoke {safe(name, 64)}`"
            for name, one in shown.standing
        ]
        blocks += [_header("Your approvals that stand"), _section(fit_lines(lines, STANDING, more="… and {left} more"))]
    blocks += _plain_list(
        seal, "You asked for", shown.mine, f"Nothing of yours is open. `{'/passgate'}` asks for a change."
    )
    blocks += _plain_list(seal, "Ended lately", shown.ended, "")
    return {"type": "home", "blocks": blocks}


def stranger(user: str) -> dict[str, Any]:
    """Return the App Home of somebody who is not listed, or may not be: how to get listed, and nothing else."""
    words = (
        f"*Passgate does not know you yet.*\nAsk whoever keeps `config/people.yaml` to list you with your Slack user "
        f"id `{safe(user, 40)}`. After the service was restarted, what waits for you shows here. "
        "Guests, bots and people of other workspaces can't be listed."
    )
    return {"type": "home", "blocks": [_header("Passgate"), _section(words)]}


def _with_buttons(people: Directory, seal: Callable[[Change, str], str], one: Listed) -> Iterator[Block]:
    change, gate = one.change, one.change.open_gate
    name = gate.name if gate else PLAN
    until = gate.approve_by if gate else change.approve_by
    impact = "; ".join(change.plan.impact) if change.plan else ""
    at = f"\n🚧 At the gate *{safe(gate.name, 64)}*, before step {gate.step + 1}" if gate else ""
    lines = [
        f"{_named(one)}{at}",
        f"Asked for by {people.name(change.requester.person)}{f', decide by {moment(until)}' if until else ''}",
        f"Why: “{safe(change.reason, 300)}”" if change.reason else "",
        f"Impact: {safe(impact, IMPACT)}" if impact else "",
    ]
    yield _section(fit("\n".join(line for line in lines if line), WORDS_OF_ONE))
    block = decide_block(change, name, one.decisions, seal, f"decide:{change.id}:{name}")
    if block:
        yield block


def _review(people: Directory, one: Listed, review: Review) -> str:
    change = one.change
    why = f"\nWhy: “{safe(change.reason, 300)}”" if change.reason else ""
    return (
        f"{_named(one)}\n{people.name(review.by)} broke the glass for it{why}\n"
        f"Say by {moment(review.due_at)} whether it was justified: by the buttons of its message, or "
        f"`passgate review close {change.id}`"
    )


def _plain_list(
    seal: Callable[[Change, str], str], head: str, listed: tuple[Listed, ...], nothing: str
) -> Iterator[Block]:
    if listed or nothing:
        yield _header(head)
    if not listed and nothing:
        yield _section(nothing)
    for one in listed:
        change = one.change
        outcome = f"\n{safe(change.outcome, 300)}" if change.outcome and change.state.is_end else ""
        outcome += f"\nIt was asked for again as {one.again}." if one.again else ""
        when = f", {moment(change.ended_at)}" if change.ended_at else ""
        state = f"{SYMBOLS[change.state]} {WORDS[change.state]}{when}"
        yield _section(fit(f"{_named(one)}\n{state}{outcome}", WORDS_OF_ONE))
        if block := again_block(change, one.again, seal, f"again:{change.id}"):
            yield block


def _named(one: Listed) -> str:
    what = safe(title(one.change).partition(" · ")[2], 200)
    return f"*<{one.link}|{one.change.id}> · {what}*" if one.link else f"*{one.change.id} · {what}*"


def _actions() -> Block:
    button = {"type": "button", "action_id": REQUEST, "text": _plain("Request a change", 75), "style": "primary"}
    return {"type": "actions", "block_id": "request", "elements": [button]}


def _header(text: str) -> Block:
    return {"type": "header", "text": _plain(text, 150)}


def _section(text: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _plain(text: str, longest: int) -> Block:
    return {"type": "plain_text", "text": plain(text, longest), "emoji": False}
