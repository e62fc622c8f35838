"""Check one Passgate evidence file, on any machine with Python 3.11 and nothing else.

    python verify.py evidence.zip 'passgate.example/prod+1a2b3c4d+AbCd...'

The second argument is the verifier key, taken from a place that you trust: a key that came with the file would prove
nothing. So would this program, for whoever doubts who sent the file: Passgate's own copy of it is
passgate/ledger/offline.py.

It says what is wrong, in which file, and exits with 1; or what was proven, and exits with 0.
This file uses the standard library only and is put into every evidence file as it is.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

PROOF_HEADER = "c2sp.org/tlog-proof@v1"
STEP_EVENTS = ("step.intent", "step.attempt_failed", "step.outcome", "undo.intent", "undo.outcome", "guest.proof")
FACT_EVENTS = {"restore.saved": "restore-point", "guest.proof": "guest-proof"}
TABLES = "tables/"
"""Where the tables are that steps reported; the events tell the SHA-256 of each."""
FIXED = {
    "manifest.json", "plan.json", "plan.txt", "policy.json", "decisions.json", "steps.jsonl", "events.jsonl",
    "checkpoint.txt", "anchors.txt", "verify.py",
}  # fmt: skip
_UNBEGUN = frozenset({"not needed", "refused", "pending"})
"""States of a step that may be recorded without an intent: nothing was sent."""

CLOCK_SLACK = timedelta(minutes=2)
"""How far the clocks of two writers may be apart before the order of their times is a finding."""

ENDS = frozenset({"done", "denied", "expired", "withdrawn", "void", "undone", "stopped"})
_BEFORE = frozenset({"withdrawn", "void", "stopped"})
NEXT = {
    "requested": _BEFORE | {"planned"},
    "planned": _BEFORE | {"waiting", "approved"},
    "waiting": _BEFORE | {"approved", "denied", "expired"},
    "approved": _BEFORE | {"waiting", "scheduled", "applying", "expired"},
    "scheduled": _BEFORE | {"waiting", "applying", "expired"},
    "applying": frozenset({"done", "undone", "stopped", "void"}),
} | {end: frozenset() for end in ENDS}
"""What may follow what; a test keeps it the same as the engine's own table."""


class BadEvidenceError(Exception):
    """Raised with the file that is wrong and the reason."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file
        self.reason = reason


@dataclass(frozen=True)
class Evidence:
    """Hold what an evidence file proves."""

    change: str
    origin: str
    digest: str
    approved_by: tuple[str, ...]
    denied_by: tuple[str, ...]
    pre_authorised: str
    broke_glass: str
    """Who began it without an approval, to be reviewed afterwards."""
    review: str
    """How that review stands, in words."""
    gates: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...]
    """Each second gate that was come to: its name, how it was settled, who approved and who denied there."""
    overrides: tuple[str, ...]
    """Codes of the warnings that those who approved the plan overrode."""
    freezes: tuple[tuple[str, str], ...]
    """Each freeze that it was let through, and by whom."""
    end: str
    ended_at: str
    events: int
    tree_size: int
    standing: tuple[str, ...] = ()
    """Which approvals were given on an earlier change of the same schedule, with the same plan, in words."""

    @property
    def words(self) -> str:
        """Say it in one paragraph."""
        heard = [f"{verdict} by {', '.join(people)}" for verdict, people in self._verdicts if people]
        if self.pre_authorised:
            heard.append(f"allowed beforehand by the policy {self.pre_authorised!r}")
        if self.broke_glass:
            heard.append(f"begun without approval by {self.broke_glass}, who broke the glass ({self.review})")
        agreed = ", ".join(heard) or "decided on by nobody"
        agreed += f" ({'; '.join(self.standing)}: see its evidence)" if self.standing else ""
        agreed += f" (warnings overridden: {', '.join(self.overrides)})" if self.overrides else ""
        return (
            f"{self.change} ended as {self.end} at {self.ended_at}. It was {agreed}{self._on_what}. {self._at_gates}"
            f"All {self.events} events of it are in the ledger {self.origin}, as that was when it held "
            f"{self.tree_size} events and was signed with the given key. Not proven: that what was recorded is true, "
            "and that the ledger was not replaced since: `passgate ledger verify` with a copy from outside shows that."
        )

    @property
    def _on_what(self) -> str:
        if not self.digest:
            return ", as no plan was made"
        plan = f"the plan in plan.txt ({self.digest})"
        match sum(len(people) for _, people in self._verdicts):
            case 0:
                return f"; it had {plan}"
            case 1:
                return f", on exactly {plan}"
            case _:
                return f", each on exactly {plan}"

    @property
    def _at_gates(self) -> str:
        said = []
        for name, state, approved, denied in self.gates:
            by = ", ".join([*(f"{one} (approved)" for one in approved), *(f"{one} (denied)" for one in denied)])
            said.append(f"The gate {name} was {state}, decided on by {by or 'nobody'}. ")
        said += (f"{person} let it through the freeze {freeze}. " for freeze, person in self.freezes)
        return "".join(said)

    @property
    def _verdicts(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return ("approved", self.approved_by), ("denied", self.denied_by)


# Signatures: Ed25519 after RFC 8032, section 6. It only verifies, so it need not be constant in time.

_P = 2**255 - 19
_Q = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]


def _add(one: _Point, two: _Point) -> _Point:
    a = (one[1] - one[0]) * (two[1] - two[0]) % _P
    b = (one[1] + one[0]) * (two[1] + two[0]) % _P
    c = 2 * one[3] * two[3] * _D % _P
    d = 2 * one[2] * two[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(factor: int, point: _Point) -> _Point:
    found: _Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            found = _add(found, point)
        point = _add(point, point)
        factor >>= 1
    return found


def _point(raw: bytes) -> _Point | None:
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P or (not x and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


_BASE = _point((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))


def ed25519_verifies(public: bytes, text: bytes, signature: bytes) -> bool:
    """Say whether the key made that signature over that text."""
    if (len(public), len(signature)) != (32, 64):
        return False
    key, nonce, scalar = _point(public), _point(signature[:32]), int.from_bytes(signature[32:], "little")
    if key is None or nonce is None or _BASE is None or scalar >= _Q:
        return False
    hashed = int.from_bytes(hashlib.sha512(signature[:32] + public + text).digest(), "little") % _Q
    left, right = _times(scalar, _BASE), _add(nonce, _times(hashed, key))
    return not ((left[0] * right[2] - right[0] * left[2]) % _P or (left[1] * right[2] - right[1] * left[2]) % _P)


# Tree heads and proofs: C2SP signed notes, RFC 6962 trees.


class Head(NamedTuple):
    """Hold a tree head: which ledger, how many events, which root."""

    origin: str
    size: int
    root: bytes


def unbase64(text: str) -> bytes:
    """Read base64; a second spelling of the same bytes is a ValueError, so that no bit goes unchecked."""
    try:
        found = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"{text[:60]!r} is no base64") from error
    if base64.b64encode(found).decode() != text:
        raise ValueError(f"{text[:60]!r} is no base64 as it is written here")
    return found


def open_head(note: str, key: str) -> Head:
    """Return a signed tree head; ValueError says what is wrong with it."""
    try:
        name, key_id, encoded = key.strip().split("+", 2)
        raw_key = unbase64(encoded)
    except ValueError as error:
        raise ValueError("the given key is not of the form name+1a2b3c4d+AbCd...") from error
    if raw_key[:1] != b"\x01" or hashlib.sha256(name.encode() + b"\n" + raw_key).hexdigest()[:8] != key_id:
        raise ValueError("the given key is damaged: its id does not belong to it")
    text, blank, lines = note.rpartition("\n\n")
    text += "\n"
    if not blank or not lines.endswith("\n"):
        raise ValueError("it is no signed note")
    for line in lines[:-1].split("\n"):
        prefix = f"\u2014 {name} "
        if not line.startswith(prefix):
            continue
        raw = unbase64(line.removeprefix(prefix))
        if raw[:4].hex() != key_id:
            continue
        if not ed25519_verifies(raw_key[1:], text.encode(), raw[4:]):
            raise ValueError("its signature is wrong: what it says was altered after it was signed")
        origin, size, root, end = text.split("\n")
        if end or not size.isdecimal():
            raise ValueError("it is no tree head")
        return Head(origin, int(size), unbase64(root))
    raise ValueError("it is not signed with the given key")


def included(body: bytes, index: int, proof: list[bytes], head: Head) -> bool:
    """Say whether the proof leads from that event to that root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < head.size:
        return False
    at, last, found = index, head.size - 1, hashlib.sha256(b"\x00" + body).digest()
    for other in proof:
        if not last:
            return False
        if at & 1 or at == last:
            found = hashlib.sha256(b"\x01" + other + found).digest()
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = hashlib.sha256(b"\x01" + found + other).digest()
        at, last = at >> 1, last >> 1
    return not last and found == head.root


def plain(value: Any) -> bytes:
    """Write JSON as RFC 8785 does, for values without fractions."""

    def ordered(inner: Any) -> Any:
        if isinstance(inner, dict):
            return {key: ordered(inner[key]) for key in sorted(inner, key=lambda key: key.encode("utf-16-be"))}
        return [ordered(each) for each in inner] if isinstance(inner, list) else inner

    return json.dumps(ordered(value), ensure_ascii=False, separators=(",", ":")).encode()


def lines_of(text: bytes) -> list[bytes]:
    """Return the lines of a file in which every line, also the last, ends with a newline and nothing else."""
    *lines, rest = text.split(b"\n")
    if rest:
        raise ValueError("its last line is cut off")
    return lines


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object in which a key stands twice: readers differ in which one they take."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


# The story: hashes may be fine while what they cover is not.


@dataclass
class _Vote:
    """Hold one person's vote, and which of the places that have to be filled it may fill."""

    verdict: str
    places: tuple[int, ...]
    instead_of: str = ""


class _Votes(dict[str, _Vote]):
    """Hold the votes that stand at one gate, by person, in their order."""

    @property
    def spoken_for(self) -> set[str]:
        """Return in whose place others voted."""
        return {vote.instead_of for vote in self.values() if vote.instead_of}

    def of(self, verdict: str) -> dict[str, _Vote]:
        """Return those of one kind."""
        return {person: vote for person, vote in self.items() if vote.verdict == verdict}

    def approve(self, asked: dict[str, Any]) -> bool:
        """Say whether they fill all places, each person one: by trying, for there are few."""
        seats = [number for number, one in enumerate(_requirements(asked)) for _ in range(int(one["needed"]))]
        return bool(seats) and _fill(seats, self.of("approve"))

    def deny(self, asked: dict[str, Any]) -> bool:
        """Say whether they suffice to end it."""
        against = [vote.places for vote in self.of("deny").values()]
        each = enumerate(_requirements(asked))
        return any(sum(number in places for places in against) >= int(one["denials"]) for number, one in each)


def _fill(seats: list[int], votes: dict[str, _Vote]) -> bool:
    """Say whether different people can sit on all these seats (Hall's condition, by augmenting paths)."""
    taken: dict[int, str] = {}

    def sit(person: str, tried: set[int]) -> bool:
        for index, requirement in enumerate(seats):
            if index in tried or requirement not in votes[person].places:
                continue
            tried.add(index)
            if index not in taken or sit(taken[index], tried):
                taken[index] = person
                return True
        return False

    for person in votes:
        sit(person, set())
    return len(taken) == len(seats)


def _requirements(asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a gate needs; what was recorded before there were several needs one thing."""
    if "requirements" in asked or not asked.get("approvals"):
        return list(asked.get("requirements", ()))
    return [{"needed": asked["approvals"], "denials": asked.get("denials", 1), "voters": asked.get("voters", ())}]


def _span(text: str) -> timedelta:
    """Read a length of time as the record writes it: P1DT2H30M."""
    found = re.fullmatch(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.\d+)?S)?)?", text)
    if not found:
        raise ValueError(f"{text!r} is no length of time")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _places(  # noqa: PLR0917 - what the record says of one vote
    asked: dict[str, Any], stand_ins: list[dict[str, Any]], person: str, at: str, opened_at: str, votes: _Votes
) -> tuple[tuple[int, ...], str]:
    """Return which places somebody may fill at that moment, and in whose stead if not by themselves."""
    now, opened = datetime.fromisoformat(at), datetime.fromisoformat(opened_at)
    late = any(person in one["voters"] and now >= opened + _span(one["after"]) for one in asked.get("escalations", ()))
    own = tuple(number for number, one in enumerate(_requirements(asked)) if late or person in one["voters"])
    spoken_for = {*votes, *votes.spoken_for}
    for one in stand_ins:
        is_away = datetime.fromisoformat(one["since"]) <= now < datetime.fromisoformat(one["until"])
        if one["person"] != person or not is_away or one["of"] in spoken_for:
            continue
        theirs = tuple(
            number
            for number, each in enumerate(_requirements(asked))
            if one["of"] in each["voters"] and number not in own
        )
        if theirs:
            return (*own, *theirs), one["of"]
    return own, ""


@dataclass
class _Gate:
    """Hold what the events said of one second gate: its votes are its own."""

    approve_by: str
    opened_at: str
    state: str = "open"
    votes: _Votes = field(default_factory=_Votes)


@dataclass
class _Review:
    """Hold what the events said of the review of a broken glass."""

    by: str
    due_at: str
    verdict: str = ""
    closed_by: str = ""

    @property
    def words(self) -> str:
        """Say how it stands."""
        if not self.verdict:
            return f"its review, due by {self.due_at}, was still open"
        return f"reviewed by {self.closed_by}: {self.verdict.replace('-', ' ')}"


@dataclass
class _Told:
    """Hold what the events of one change said so far."""

    requester: str
    asked_at: str
    schedule: str = ""
    behind: tuple[str, ...] = ()
    """The schedule that it was filed for, and who stands behind it beside who asked."""
    stands: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Approvals for later runs of the schedule, by person: the digest of the plan, and until when."""
    standing: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Approvals that were given on an earlier change, by person: which change, and until when they stand."""
    state: str = "requested"
    digest: str = ""
    terms: dict[str, Any] = field(default_factory=dict)
    approve_by: str = ""
    execute_by: str = ""
    starts_at: str = ""
    votes: _Votes = field(default_factory=_Votes)
    steps: dict[str, str] = field(default_factory=dict)
    """The second gate before each step, by the step's index, where policy has terms for it."""
    gates: dict[str, _Gate] = field(default_factory=dict)
    review: _Review | None = None
    was_begun: bool = False
    freezes: dict[str, str] = field(default_factory=dict)
    """Who let it through each freeze."""
    last: str = "0"
    last_vote: str = ""
    """When the last approval that stands was given."""


class Story:
    """Follow events in their order and say what must not have happened."""

    def __init__(self) -> None:
        self.told: dict[str, _Told] = {}
        self.open_intents: dict[tuple[str, str, str], tuple[int, str]] = {}
        self.revoked: dict[str, str] = {}
        """When the standing approvals of a schedule were last revoked."""
        self._newest: datetime | None = None

    def wrong(self, event: dict[str, Any]) -> str | None:
        """Take in the next event; return what is wrong with it, in words."""
        now = datetime.fromisoformat(event["at"])
        newest, self._newest = self._newest, max(now, self._newest or now)
        if newest and now < newest - CLOCK_SLACK:
            return f"its time {event['at']} is before that of an earlier event: a clock ran backwards"
        told = self.told.get(event["change"])
        if told is None:
            if event["type"] == "change.requested":
                about = event["data"].get("schedule") or {}
                self.told[event["change"]] = _Told(
                    event["actor"]["person"], event["at"], about.get("name", ""), tuple(about.get("behind", ())),
                    last=event["seq"],
                )  # fmt: skip
                return None if event["before"] == "0" else "events of this change that came before it are missing"
            if event["change"].startswith("CHG-"):
                return f"{event['change']} was never requested"
            if event["type"] == "schedule.changed" and "standing_since" in event["data"]:
                self.revoked[event["data"]["name"]] = event["data"]["standing_since"]
            return None
        if event["before"] != told.last:
            return f"event {event['before']} of this change should come before it, and does not"
        told.last = event["seq"]
        return self._of_change(event, told)

    def _of_change(self, event: dict[str, Any], told: _Told) -> str | None:
        data, kind = event["data"], event["type"]
        if kind == "change.requested":
            return "this change was requested twice"
        wrong = self._glass(event, told)
        if wrong:
            return wrong
        if kind == "change.planned":
            if told.state != "requested":
                return f"a plan was put into a change that was {told.state}"
            told.state, told.digest, told.terms = "planned", data["digest"], data["terms"]
            told.approve_by = data.get("approve_by") or ""
            asked = told.terms.get("gates", {})
            steps = data.get("steps") or ()
            told.steps = {str(step["index"]): step["gate"] for step in steps if step.get("gate") in asked}
        takes_in = {
            "decision.recorded": self._decision,
            "change.state": self._move,
            "gate.opened": self._open_gate,
            "gate.settled": self._settle_gate,
            "review.opened": self._open_review,
            "review.overdue": self._overdue,
            "review.closed": self._close_review,
            "change.rescheduled": self._reschedule,
            "freeze.overridden": self._override,
            **dict.fromkeys(STEP_EVENTS, self._step),
        }.get(kind)
        return takes_in(event, told) if takes_in else None

    def _glass(self, event: dict[str, Any], told: _Told) -> str | None:
        """Say what a broken glass forbids: of the whole ledger, as its author's other changes are there too."""
        data, kind = event["data"], event["type"]
        if kind == "decision.recorded" and data["verdict"] == "approve":
            person, what = data["person"], "approved"
        elif kind == "change.planned" and data["terms"].get("break_glass"):
            person, what = data["terms"]["break_glass"].get("by", ""), "broke the glass"
            if person != told.requester or data["terms"].get("kind") != "break-glass":
                return "it has the terms of a broken glass, but nobody broke it"
        else:
            return None
        before = next((name for name, one in self.told.items() if one.review and _is_open(one.review, person)), None)
        return f"{person} {what} while the review of {before} was open" if before else None

    @staticmethod
    def _open_review(event: dict[str, Any], told: _Told) -> str | None:
        data = event["data"]
        glass = told.terms.get("break_glass")
        if not glass or told.review is not None:
            return "a review was opened" + (" twice" if glass else ", but nobody broke the glass")
        if data["by"] != told.requester or data["reviewers"] != glass["reviewers"]:
            return "the review was opened on another author, or for others than its terms say"
        told.review = _Review(data["by"], data["due_at"])
        return None

    @staticmethod
    def _overdue(event: dict[str, Any], told: _Told) -> str | None:
        if told.review is None or told.review.verdict or event["at"] < told.review.due_at:
            return "a review was said to be overdue, and was not"
        return None

    @staticmethod
    def _close_review(event: dict[str, Any], told: _Told) -> str | None:
        data, review = event["data"], told.review
        person, verdict = data["person"], data["verdict"]
        if review is None or review.verdict:
            return f"{person} closed a review that was {'closed before' if review else 'never opened'}"
        by_itself = person == event["actor"]["person"] == "passgate"
        wrongs = (
            (event["actor"]["person"] != person, f"the review was closed by another than {person}"),
            (person == told.requester, f"{person} reviewed a change of their own"),
            (person in told.terms.get("excluded", ()), f"{person} reviewed it although excluded from it"),
            (
                not by_itself and person not in told.terms["break_glass"]["reviewers"],
                f"{person} reviewed it without being entitled to",
            ),
            (told.state not in ENDS, f"it was reviewed while it was {told.state}"),
            (
                verdict not in (("not-needed",) if by_itself else ("justified", "not-justified")),
                f"{verdict!r} is no verdict of {person}",
            ),
            (by_itself and told.was_begun, "its review was closed as not needed, although it was begun"),
        )
        wrong = next((words for is_wrong, words in wrongs if is_wrong), None)
        if wrong is None:
            review.verdict, review.closed_by = verdict, person
        return wrong

    def _decision(self, event: dict[str, Any], told: _Told) -> str | None:
        data, asked, person = event["data"], told.terms, event["data"]["person"]
        name, votes, approve_by, waits = data.get("gate", "plan"), told.votes, told.approve_by, {"planned", "waiting"}
        opened_at, barred = told.asked_at, set[str]()
        if name != "plan":
            gate = told.gates.get(name)
            if gate is None or gate.state != "open":
                return f"{person} decided at the gate {name}, which was {gate.state if gate else 'never opened'}"
            asked, votes, approve_by, waits = told.terms["gates"][name], gate.votes, gate.approve_by, {"applying"}
            opened_at = gate.opened_at
            barred = set(told.votes.of("approve")) if asked.get("others") else set()
        if data["verdict"] == "retract":
            told.stands.pop(person, None)
            told.standing.pop(person, None)
            return _retracted(person, told.state, votes, is_plan=name == "plan")
        stand_ins = [one for one in told.terms.get("stand_ins", ()) if one["of"] not in barred]
        places, instead_of = _places(asked, stand_ins, person, event["at"], opened_at, votes)
        wrongs = (
            (told.state not in waits, f"decided while the change was {told.state}"),
            (data["digest"] != told.digest, "decided on another plan than the one of this change"),
            (person == told.requester, "decided on a change of their own"),
            (person in told.terms.get("excluded", ()), "decided although excluded from it"),
            (person in barred, f"decided at the gate {name}, which is for others than who approved the plan"),
            (person in votes, "decided twice"),
            (person in votes.spoken_for, "decided although somebody had decided in their place"),
            (not places, "decided without being entitled to"),
            (person in told.behind, "decided on a change that they stand behind"),
            *self._standing_wrongs(event, told),
            (bool(approve_by) and event["at"] > approve_by, f"decided too late, after {approve_by}"),
        )
        for is_wrong, what in wrongs:
            if is_wrong:
                return f"{person} {what}"
        votes[person] = _Vote(data["verdict"], places, instead_of)
        if until := data.get("standing_until"):
            if source := data.get("standing_from"):
                told.standing[person] = (source, until)
            else:
                told.stands[person], told.last_vote = (told.digest, until), event["at"]
        return None

    def _standing_wrongs(self, event: dict[str, Any], told: _Told) -> tuple[tuple[bool, str], ...]:
        """Return what may be wrong with an approval that stands, or that was given on an earlier change."""
        data = event["data"]
        until, source = data.get("standing_until"), data.get("standing_from")
        if not until and not source:
            return ()
        longest = told.terms.get("standing")
        wrongs = (
            (not told.schedule, "gave an approval that stands, on a change of no schedule"),
            (
                data["verdict"] != "approve" or data.get("gate", "plan") != "plan",
                "let stand what is no approval of a plan",
            ),
            (not longest, "gave an approval that stands, which the policy does not allow"),
            (not until, "has an approval that stands without an end"),
            (event["at"] >= (until or event["at"]), f"has an approval that stood until {until}"),
        )
        if not source:
            at, span = datetime.fromisoformat(event["at"]), _span(longest or "P0D")
            too_long = bool(until) and datetime.fromisoformat(until) > at + span
            return (*wrongs, (too_long, f"let an approval stand until {until}, longer than the policy allows"))
        return (*wrongs, *self._source_wrongs(event, told, source))

    def _source_wrongs(self, event: dict[str, Any], told: _Told, source: str) -> Iterator[tuple[bool, str]]:
        """Yield what may be wrong with where a standing approval was given; evidence of one change can't show that."""
        data = event["data"]
        yield event["actor"]["person"] != "passgate", "put a standing approval there by themselves"
        given = self.told.get(source)
        if given is None:
            return
        stands = given.stands.get(data["person"])
        yield given.schedule != told.schedule, f"approved {source}, which is of another schedule"
        yield stands != (told.digest, data["standing_until"]), f"gave no approval on {source} that stands for this plan"
        revoked = self.revoked.get(told.schedule, "")
        yield stands is not None and given.last_vote < revoked, f"gave an approval on {source} that was revoked"

    @staticmethod
    def _open_gate(event: dict[str, Any], told: _Told) -> str | None:
        data, name = event["data"], event["data"]["gate"]
        if told.state != "applying" or name in told.gates:
            return f"the gate {name} was opened {'twice' if name in told.gates else f'while it was {told.state}'}"
        if told.steps.get(data["step"]) != name or data["digest"] != told.digest:
            return f"the gate {name} was opened, but the plan has no such gate before step {data['step']}"
        told.gates[name] = _Gate(data["approve_by"], event["at"])
        return None

    @staticmethod
    def _settle_gate(event: dict[str, Any], told: _Told) -> str | None:
        name, state = event["data"]["gate"], event["data"]["state"]
        gate = told.gates.get(name)
        if gate is None or gate.state != "open" or told.state != "applying":
            return f"the gate {name} was settled as {state}, but was {gate.state if gate else 'never opened'}"
        asked, verdicts = told.terms["gates"][name], [vote.verdict for vote in gate.votes.values()]
        denied = gate.votes.deny(asked)
        approved = gate.votes.approve(asked) and not denied
        wrong = {
            "passed": not approved,
            "denied": not denied,
            "expired": approved or denied or event["at"] < gate.approve_by,
            "withdrawn": event["actor"]["person"] != told.requester,
        }
        if wrong.get(state, True):
            return f"the gate {name} was settled as {state}, which its decisions ({', '.join(verdicts) or 'none'}) deny"
        gate.state = state
        return None

    @staticmethod
    def _move(event: dict[str, Any], told: _Told) -> str | None:
        data, terms = event["data"], told.terms
        if data["from"] != told.state or data["to"] not in NEXT.get(told.state, ()):
            return f"it says {data['from']} became {data['to']}, but the change was {told.state}"
        told.state = data["to"]
        told.starts_at = told.starts_at if told.state == "applying" else data.get("starts_at") or ""
        told.was_begun = told.was_begun or told.state == "applying"
        if told.state == "approved":
            if terms.get("break_glass") and told.review is None:
                return "it was begun without approval, and no review was opened"
            told.execute_by = data.get("execute_by") or ""
            if not terms.get("pre_authorised") and not terms.get("break_glass"):
                if not told.votes.approve(terms):
                    needed = sum(int(one["needed"]) for one in _requirements(terms))
                    return f"it was approved with {len(told.votes.of('approve'))} of {needed} approvals"
                if told.votes.deny(terms):
                    return "it was approved although it was denied"
        return _begun_at_a_wrong_time(event, told) if told.state == "applying" else None

    @staticmethod
    def _reschedule(event: dict[str, Any], told: _Told) -> str | None:
        if told.state != "scheduled":
            return f"it got another opening while it was {told.state}"
        told.starts_at = event["data"].get("starts_at") or ""
        return None

    @staticmethod
    def _override(event: dict[str, Any], told: _Told) -> str | None:
        data, person = event["data"], event["actor"]["person"]
        freeze = data["freeze"]
        wrongs = (
            (person == told.requester, "for a change of their own"),
            (person in told.terms.get("excluded", ()), "although excluded from the change"),
            (data["digest"] != told.digest, "for another plan than the one of this change"),
            (not data["reason"], "without a reason"),
            (freeze in told.freezes, "which was overridden before"),
            (told.state in ENDS, f"when the change was {told.state}"),
        )
        for is_wrong, what in wrongs:
            if is_wrong:
                return f"{person} overrode the freeze {freeze} {what}"
        told.freezes[freeze] = person
        return None

    def _step(self, event: dict[str, Any], told: _Told) -> str | None:
        data, kind = event["data"], event["type"]
        place = (event["change"], "undo" if kind.startswith("undo.") else "step", str(data.get("step", "")))
        if data.get("digest", told.digest) != told.digest:
            return "a step was done under another plan than the approved one"
        if kind.endswith(".intent"):
            if told.state != "applying":
                return f"a step was begun while the change was {told.state}: nobody had allowed it"
            if kind == "step.intent" and (shut := _shut_gate(told, str(data.get("step", "")))):
                return f"a step was begun behind the gate {shut}, which was not passed"
            self.open_intents[place] = (int(event["seq"]), str(data.get("title", "")))
        elif place not in self.open_intents and data.get("state") not in _UNBEGUN and data.get("undo") != "none":
            return "a step has an outcome, but nobody said before that it would be done"
        else:
            self._outcome(place, data, told)
        return None

    def _outcome(self, place: tuple[str, str, str], data: dict[str, Any], told: _Told) -> None:
        if place[1] == "step" and data.get("state") == "not needed":
            told.steps.pop(place[2], None)  # its gate is never come to
        if data.get("state") != "intent":
            # A failed attempt that will be tried again leaves the intent open.
            self.open_intents.pop(place, None)


def _is_open(review: _Review, person: str) -> bool:
    """Say whether that person has still to answer for it."""
    return review.by == person and not review.verdict


def _begun_at_a_wrong_time(event: dict[str, Any], told: _Told) -> str | None:
    if event["data"]["from"] == "scheduled" and not "" < told.starts_at <= event["at"]:
        return f"it was begun before its opening ({told.starts_at or 'none was in sight'})"
    if told.execute_by and event["at"] > told.execute_by:
        return f"it was begun after its approval had run out ({told.execute_by})"
    return None


def _retracted(person: str, state: str, votes: _Votes, *, is_plan: bool) -> str | None:
    """Take somebody's vote back; return what is wrong with that."""
    if person not in votes:
        return f"{person} took a decision back that does not stand"
    if is_plan and state not in {"waiting", "approved", "scheduled"}:
        return f"{person} took a decision back while the change was {state}"
    del votes[person]
    return None


def _shut_gate(told: _Told, step: str) -> str | None:
    """Return a gate before this step or an earlier one that was not passed."""
    before = [name for index, name in told.steps.items() if int(index) <= int(step)]
    return next((name for name in before if name not in told.gates or told.gates[name].state != "passed"), None)


# The evidence file.


def plan_words(plan: dict[str, Any]) -> str:
    """Write a plan as people read it."""
    if not plan:
        return "No plan was made.\n"
    lines = [plan["title"], f"Runbook {plan['runbook']}, target {plan['target']}, risk {plan['risk']}", ""]
    lines += ["What it means for others:", *(f"  {each}" for each in plan["impact"]), ""] if plan["impact"] else []
    warnings = [check for check in plan["checks"] if not check["met"]]
    lines += ["Warnings:", *(f"  {check['code']}: {check['saw']}" for check in warnings), ""] if warnings else []
    for step in plan["steps"]:
        lines.append(f"{step['index'] + 1}. {step['title']}" + ("" if step["needed"] else "  (nothing to do)"))
        lines += [f"   now: {step['before']}", *([f"   then: {step['after']}"] if step["needed"] else [])]
        lines += [f"   impact: {step['impact']}"] if step["impact"] else []
        lines += [f"   to take it back: {step['undo']}"] if step["undo"] else []
        lines += [f"   gate before it, where policy has terms for it: {step['gate']}"] if step.get("gate") else []
    return "\n".join(lines) + "\n"


def plan_digest(plan: dict[str, Any]) -> str:
    """Return the digest that decisions are bound to, from the plan itself."""
    meaning = {
        "runbook": plan["runbook"],
        "risk": plan["risk"],
        "target": plan["target"],
        "resources": sorted(plan["resources"]),
        "warnings": sorted(check["code"] for check in plan["checks"] if not check["met"]),
        # A step without a gate means what it meant before there were gates.
        "steps": [
            {key: value for key, value in step.items() if key != "index" and (key != "gate" or value)}
            for step in plan["steps"]
        ],
        "impact": plan["impact"],
    }
    return "sha256:" + hashlib.sha256(plain(meaning)).hexdigest()


def told_by(events: list[dict[str, Any]]) -> dict[str, bytes]:
    """Return the files that only repeat what the events say, for people who look for one thing."""
    planned = [event for event in events if event["type"] == "change.planned"]
    votes = [event for event in events if event["type"] == "decision.recorded"]
    steps = [event for event in events if event["type"] in STEP_EVENTS]
    view = [event["data"] | {"seq": event["seq"], "at": event["at"]} for event in votes]
    files = {
        "policy.json": plain(planned[0]["data"]["terms"] if planned else {}),
        "decisions.json": plain(view),
        "steps.jsonl": b"".join(plain(event) + b"\n" for event in steps),
    }
    for event in events:
        if event["type"] in FACT_EVENTS:
            files[f"facts/{FACT_EVENTS[event['type']]}-{event['seq']}.json"] = plain(event["data"])
    return files


def tables_of(events: list[dict[str, Any]]) -> dict[str, str]:
    """Return the SHA-256 of each table's files, by their names, as the events tell them."""
    told = [event["data"]["table"]["files"] for event in events if "table" in event["data"]]
    return {f"{TABLES}{name}": digest for files in told for name, digest in files.items()}


def read_bundle(path: Path) -> dict[str, bytes]:
    """Return the files in the evidence file, after checking names, sizes and hashes against its manifest."""
    files = _unpack(path)
    if "manifest.json" not in files:
        raise BadEvidenceError("manifest.json", "it is missing")
    try:
        listed = {entry["name"]: entry for entry in json.loads(files["manifest.json"])["files"]}
    except (ValueError, KeyError, TypeError) as error:
        raise BadEvidenceError("manifest.json", "it can't be read") from error
    for name in sorted(FIXED - {"manifest.json"} | set(listed)):
        if name not in files:
            raise BadEvidenceError(name, "it is missing")
    for name in sorted(set(files) - {"manifest.json"}):
        if name not in listed:
            raise BadEvidenceError(name, "it is in the file, but not in its manifest")
        seen = {"name": name, "sha256": hashlib.sha256(files[name]).hexdigest(), "size": str(len(files[name]))}
        if listed[name] != seen:
            raise BadEvidenceError(name, "it is not the one that the manifest lists: it was altered or exchanged")
    return files


def manifest(change: str, files: dict[str, bytes]) -> bytes:
    """Return the manifest of all other files."""
    listed = [
        {"name": name, "sha256": hashlib.sha256(files[name]).hexdigest(), "size": str(len(files[name]))}
        for name in sorted(set(files) - {"manifest.json"})
    ]
    return plain({"change": change, "files": listed, "v": "1"})


def _unpack(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as bundle:
            names = bundle.namelist()
            files = {name: bundle.read(name) for name in names}
    except (OSError, EOFError, NotImplementedError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise BadEvidenceError(path.name, f"it can't be read: {error}") from error
    if len(files) != len(names):
        raise BadEvidenceError(path.name, "a name stands in it twice")
    return files


def check(path: Path, key: str) -> Evidence:
    """Return what the evidence file proves under that key, or raise BadEvidenceError."""
    files = read_bundle(path)
    with _naming("checkpoint.txt"):
        note = files["checkpoint.txt"].decode()
        head = open_head(note, key)
    with _naming("events.jsonl"):
        bodies = lines_of(files["events.jsonl"])
        events = [_event(body) for body in bodies]
        told = _follow(events)
    with _naming("manifest.json"):
        _require(files["manifest.json"] == manifest(events[0]["change"], files), "it is not the one of these files")
    proofs = [f"proofs/{event['seq']}.tlog-proof" for event in events]
    for proof, event, body in zip(proofs, events, bodies, strict=True):
        with _naming(proof):
            _check_proof(files.get(proof), note, body, int(event["seq"]), head)
    with _naming("plan.json"):
        plan = json.loads(files["plan.json"], object_pairs_hook=once)
        digest = plan_digest(plan) if plan else ""
        _require(files["plan.json"] == plain(plan) and digest == told.digest, "it is not the plan that was decided on")
        said: dict[str, Any] = next((event["data"] for event in events if event["type"] == "change.planned"), {})
        # The digest is over what is done; what the plan is called stands in the event beside it.
        _require(
            all(plan.get(key) == said.get(key) for key in ("title", "risk")), "it is called otherwise than planned"
        )
        warnings = [check["code"] for check in plan.get("checks", ()) if not check["met"]]
        said_of = (event["data"].get("overrides", warnings) for event in events if event["type"] == "decision.recorded")
        _require(all(codes == warnings for codes in said_of), "a decision overrides other warnings than it has")
        views = told_by(events) | {"plan.txt": plan_words(plan).encode()}
    for name, content in views.items():
        with _naming(name):
            _require(files.get(name) == content, "it does not say what the recorded events say")
        tables = tables_of(events)
    for name, digest in tables.items():
        with _naming(name):
            _require(name in files, "it is missing, though a step reported it")
            _require(hashlib.sha256(files[name]).hexdigest() == digest, "it is not the table that the step reported")
    with _naming("anchors.txt"):
        _check_anchors(lines_of(files["anchors.txt"]), key, head, {event["seq"]: event["at"] for event in events})
    for name in sorted(set(files) - FIXED - set(proofs) - set(views) - set(tables)):
        raise BadEvidenceError(name, "nothing of this name belongs into an evidence file")
    approved, denied = _by_verdict(told.votes)
    ended = next(event["at"] for event in reversed(events) if event["type"] == "change.state")
    policy = told.terms["policy"] if told.terms.get("pre_authorised") else ""
    return Evidence(
        change=events[0]["change"],
        origin=head.origin,
        digest=told.digest,
        approved_by=approved,
        denied_by=denied,
        pre_authorised=policy,
        broke_glass=(told.terms.get("break_glass") or {}).get("by", ""),
        review=told.review.words if told.review else "",
        gates=tuple((name, gate.state, *_by_verdict(gate.votes)) for name, gate in told.gates.items()),
        overrides=tuple(warnings) if approved else (),
        freezes=tuple(told.freezes.items()),
        end=told.state,
        ended_at=ended,
        events=len(events),
        tree_size=head.size,
        standing=tuple(
            f"{person}'s approval was given on {source}, and stands for the same plan until {until}"
            for person, (source, until) in sorted(told.standing.items())
        ),
    )


def _by_verdict(votes: _Votes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return who approved and who denied."""
    return tuple(sorted(votes.of("approve"))), tuple(sorted(votes.of("deny")))


@contextmanager
def _naming(file: str) -> Iterator[None]:
    """Turn whatever is wrong in here into a finding on that file."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadEvidenceError(file, str(error) or "it can't be read") from error


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _event(body: bytes) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(body, object_pairs_hook=once)
    if plain(event) != body:
        raise ValueError("an event is not written in its canonical form")
    return event


def _check_proof(proof: bytes | None, note: str, body: bytes, seq: int, head: Head) -> None:
    if proof is None:
        raise ValueError("it is missing")
    path, _, signed = proof.decode().partition("\n\n")
    header, index, *hashes = path.split("\n")
    if header != PROOF_HEADER or index != f"index {seq - 1}" or signed != note:
        raise ValueError("it is a proof for something else")
    if not included(body, seq - 1, [unbase64(each) for each in hashes], head):
        raise ValueError(f"it does not lead from event {seq} to the signed root: that event is not in this ledger")


def _follow(events: list[dict[str, Any]]) -> _Told:
    story = Story()
    for event in events:
        if event["change"] != events[0]["change"]:
            raise ValueError(f"event {event['seq']} belongs to another change")
        wrong = story.wrong(event)
        if wrong:
            raise ValueError(f"event {event['seq']}: {wrong}")
    if not events:
        raise ValueError("it holds no event")
    told = story.told.get(events[0]["change"])
    if told is None or told.state not in ENDS:
        raise ValueError("the change has no end here: the last events are missing")
    return told


def _check_anchors(lines: list[bytes], key: str, head: Head, times: dict[str, str]) -> None:
    """Check copies of signed heads: each stands for the moment of one of the events here."""
    for line in lines:
        parts = line.decode().split(" ")
        _require(len(parts) == len(("time", "origin", "size", "root", "signature")), f"{parts[0]!r} is no anchor line")
        at, origin, size, root, signature = parts
        copy = open_head(f"{origin}\n{size}\n{root}\n\n\u2014 {origin} {signature}\n", key)
        _require(copy.origin == head.origin, f"{copy.origin} is another ledger")
        _require(times.get(size) == at, f"no event {size} of this change was recorded at {at}")
        _require(copy.size <= head.size, f"{size} events were signed, but here are only {head.size}: it is cut")
        _require(copy.size != head.size or copy == head, f"two ledgers of {size} events were signed: it was forked")


def main(arguments: list[str]) -> int:
    """Check the evidence file that the command line names."""
    if len(arguments) != len(("evidence file", "key")):
        print(__doc__)  # noqa: T201 - this file is a program of its own
        return 2
    try:
        evidence = check(Path(arguments[0]), arguments[1])
    except BadEvidenceError as error:
        print(f"NOT PROVEN. {error}. Don't rely on this file; ask for it anew where it came from.", file=sys.stderr)  # noqa: T201 - as above
        return 1
    print(evidence.words)  # noqa: T201 - as above
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
