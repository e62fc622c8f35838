"""Turn events into the one sequence of bytes that stands for them, and back (RFC 8785).

Two writers that mean the same must write the same bytes, or a hash proves nothing. So there are no floats and no
integers beyond 2**53 (they are written as text), times are text with six digits and `Z`, and a key may stand only once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
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

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
LEFT_OUT = "[left out: it looks like a secret]"
"""What stands in the ledger for a password, token or key that came in with the estate's own words."""

_SECRET_NAME = re.compile(
    r"passw(or)?d|passphrase|secret|api_?key|private_?key|credential|(bot|app|access)_?token", re.IGNORECASE
)
_SECRET_TEXT = re.compile(
    r"xox[abeprs]-[\w-]*|xapp-\d[\w-]*|\bBearer [\w.~+/-]{16,}=*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_EXACT = 2**53 - 1
"""The greatest whole number that every reader of JSON takes for the same."""


def time_text(moment: datetime) -> str:
    """Write a moment as UTC text of fixed width, which sorts as the moments do."""
    if moment.tzinfo is None:
        raise RecordError(
            f"The time {moment.isoformat()} has no zone, so nobody can say later when that was.", hint="Pass UTC times."
        )
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def time_of(text: str) -> datetime:
    """Read a moment that `time_text` wrote; every other spelling is a ValueError."""
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text!r} is not a time like 2026-11-22T10:00:00.123456Z")
    return datetime.fromisoformat(text)


def canonical(value: Any) -> bytes:
    """Write a value as its RFC 8785 bytes."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise RecordError(
            f"This can't be recorded: {error}.", hint="Hand over text, whole numbers, lists and mappings only."
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


def is_named_like_a_secret(name: str) -> bool:
    """Say whether a field of that name is likely to hold a secret."""
    return bool(_SECRET_NAME.search(name))


def recordable(value: Any, where: str = "data") -> Any:
    """Return a value as it stands in the ledger: what looks like a secret left out, odd numbers and text made plain.

    What an estate calls its VMs and devices must not stop a change, so nothing that was read there is refused. Refused
    is only what our own code declares to be a secret: what was hashed in can't be taken out again.
    """
    match value:
        case SecretStr() | SecretBytes():
            raise RecordError(
                f"{where} is a secret. Nothing was recorded.",
                hint="This is an error in a step or runbook: it must leave the secret out of what it reports.",
            )
        case str():
            return _SECRET_TEXT.sub(LEFT_OUT, value.encode(errors="replace").decode())
        case int() if abs(value) > _EXACT:
            return str(value)
        case float():
            return str(value)
        case Mapping():
            return {recordable(str(key)): _field(str(key), inner, where) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [recordable(inner, f"{where}[{index}]") for index, inner in enumerate(value)]
    return value


def _field(name: str, value: Any, where: str) -> Any:
    found = recordable(value, f"{where}.{name}")
    return LEFT_OUT if is_named_like_a_secret(name) and not isinstance(found, bool) and found else found


def event_bytes(event: Event, seq: int, prev: bytes, before: int) -> bytes:
    """Return the bytes of an event in its place.

    Part of what is hashed are its place, the hash before it (so that rows form a chain), and the place of the same
    change's event before it (so that somebody who holds one change's events alone can see that none was left out).
    """
    return canonical(
        {
            "actor": {"door": event.actor.door.value, "person": event.actor.person},
            "at": time_text(event.at),
            "before": str(before),
            "change": event.change,
            "data": recordable(event.data),
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
