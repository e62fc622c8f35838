"""Turn events into the one sequence of bytes that stands for them, and back (RFC 8785).

Two writers that mean the same must write the same bytes, or a hash proves nothing. So floats are refused, integers
beyond 2**53 are refused by rfc8785, times are text with six digits and `Z`, and a key may stand only once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import rfc8785
from pydantic import SecretBytes, SecretStr

from passgate.errors import RecordError
from passgate.model.change import Actor, Event, EventType, RecordedEvent

VERSION = "1"
"""Version of the event's own shape; it stands in every event, so that old ones stay readable for ever."""

NO_PREV = bytes(32)
"""What the first event names as the hash before it."""

FIELDS = frozenset({"actor", "at", "before", "change", "data", "prev", "seq", "type", "v"})

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_SECRET_KEY = re.compile(
    r"passw(or)?d|passphrase|secret|api_?key|private_?key|credential|(bot|app|access)_?token", re.IGNORECASE
)
_SECRET_VALUE = re.compile(r"xox[abeprs]-|xapp-\d|-----BEGIN [A-Z ]*PRIVATE KEY|\bBearer [\w.~+/-]{16}")


def time_text(moment: datetime) -> str:
    """Write a moment as UTC text of fixed width, which sorts as the moments do."""
    if moment.tzinfo is None:
        raise RecordError(
            f"the time {moment.isoformat()} has no zone, so nobody can say later when that was", hint="pass UTC times"
        )
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def time_of(text: str) -> datetime:
    """Read a moment that `time_text` wrote; every other spelling is a ValueError."""
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text!r} is not a time like 2026-11-22T10:00:00.123456Z")
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def canonical(value: Any) -> bytes:
    """Write a value as its RFC 8785 bytes."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise RecordError(
            f"this can't be recorded: {error}", hint="write big numbers as text, and text as valid Unicode"
        ) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_float(text: str) -> Any:
    raise ValueError(f"{text} is a number with a fraction or an exponent")


def parse(body: bytes) -> Any:
    """Read canonical bytes; what is not canonical (duplicate keys, floats, other spellings) is a ValueError."""
    value = json.loads(body.decode(), object_pairs_hook=_once, parse_float=_no_float, parse_constant=_no_float)
    try:
        again = canonical(value)
    except RecordError as error:
        raise ValueError(error.message) from error
    if again != body:
        raise ValueError("these bytes are not the canonical ones for what they mean")
    return value


def refuse_secrets(value: Any, where: str = "data") -> None:
    """Raise RecordError where a value is a float or looks like a secret: what is hashed in can't be taken out again."""
    if isinstance(value, SecretStr | SecretBytes):
        raise RecordError(f"{where} is a secret; nothing was recorded", hint="leave it out of the event")
    if isinstance(value, float):
        raise RecordError(f"{where} is a number with a fraction; nothing was recorded", hint="write it as text")
    if isinstance(value, str) and _SECRET_VALUE.search(value):
        raise RecordError(f"{where} looks like a password, token or key; nothing was recorded", hint="leave it out")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if _SECRET_KEY.search(str(key)) and inner not in (None, "", False, True):
                raise RecordError(f"{where}.{key} is named like a secret; nothing was recorded", hint="leave it out")
            refuse_secrets(inner, f"{where}.{key}")
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for index, inner in enumerate(value):
            refuse_secrets(inner, f"{where}[{index}]")


def event_bytes(event: Event, seq: int, prev: bytes, before: int) -> bytes:
    """Return the bytes of an event in its place.

    Part of what is hashed are its place, the hash before it (so that rows form a chain), and the place of the same
    change's event before it (so that somebody who holds one change's events alone can see that none was left out).
    """
    refuse_secrets(event.data)
    return canonical(
        {
            "actor": {"door": event.actor.door.value, "person": event.actor.person},
            "at": time_text(event.at),
            "before": str(before),
            "change": event.change,
            "data": event.data,
            "prev": prev.hex(),
            "seq": str(seq),
            "type": event.type.value,
            "v": VERSION,
        }
    )


def read_event(body: bytes, leaf: bytes) -> RecordedEvent:
    """Make the event again from its bytes."""
    read: dict[str, Any] = json.loads(body)
    return RecordedEvent(
        type=EventType(read["type"]),
        change=read["change"],
        actor=Actor(**read["actor"]),
        at=time_of(read["at"]),
        data=read["data"],
        seq=int(read["seq"]),
        leaf=leaf.hex(),
    )
