"""Take deliveries that Slack sends by signed HTTP: each one is Slack's, is fresh, and comes once.

slack_sdk's verifier takes the same request twice within its five minutes, and raises on headers that are no numbers or
not ASCII (measured, reference approvals 5.5). Here all of that is one refusal, and nothing of a refused body is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from slack_sdk.signature import Clock, SignatureVerifier

from passgate.connect.slack.socket import Envelope
from passgate.errors import AuthenticationError, InputError

SKEW = timedelta(minutes=5)
"""How far Slack's timestamp may be from our clock, either way (Slack's own rule)."""
KEEP = 2 * SKEW
"""How long a signature must be remembered, so that it is refused the second time whatever the clocks say."""
MAX_BODY = 1024 * 1024

OnceOnly = Callable[[str, datetime], bool]
"""Remember a key at a moment; False when it was there before. All replicas must ask the same memory."""


class SignedRequests:
    """Turn signed requests into envelopes, or refuse them with AuthenticationError."""

    def __init__(self, secret: str, clock: Callable[[], datetime], once: OnceOnly) -> None:
        self._clock, self._once = clock, once
        self._verifier = SignatureVerifier(secret, clock=_Now(clock))

    def envelope(self, headers: Mapping[str, str], body: bytes) -> Envelope:
        """Return what was delivered. InputError when the signature holds and the body still can't be read."""
        signature = headers.get("x-slack-signature", "")
        if not self._is_slacks(signature, headers.get("x-slack-request-timestamp", ""), body):
            raise _refused("its signature or its time is not right")
        if not self._once(hashlib.sha256(signature.encode()).hexdigest(), self._clock()):
            raise _refused("the same request came before")
        return _read(headers.get("content-type", ""), body, signature)

    def _is_slacks(self, signature: str, timestamp: str, body: bytes) -> bool:
        try:
            # Python takes more for a number than the digits that Slack sends: " 12", and digits of other scripts.
            return (
                timestamp.isascii()
                and timestamp.isdecimal()
                and bool(self._verifier.is_valid(body=body, timestamp=timestamp, signature=signature))
            )
        except (ValueError, TypeError, OverflowError):  # what is no text, no number, or not ASCII
            return False


class _Now(Clock):
    """Give slack_sdk our clock."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock

    def now(self) -> float:
        """Return seconds since 1970."""
        return self._clock().timestamp()


def _read(kind: str, body: bytes, signature: str) -> Envelope:
    try:
        text = body.decode()
        if kind.startswith("application/json"):
            return _envelope("events_api", json.loads(text), signature)
        fields = dict(parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)))
        if "payload" in fields:
            return _envelope("interactive", json.loads(fields["payload"]), signature)
    except (ValueError, RecursionError):
        raise InputError("The body of a signed request from Slack can't be read.", subject="body") from None
    return _envelope("slash_commands", fields, signature)


def _envelope(kind: str, payload: Any, signature: str) -> Envelope:
    if not isinstance(payload, dict):
        raise InputError("The body of a signed request from Slack is no object.", subject="body")
    return Envelope(signature[:64], kind, payload)


def _refused(why: str) -> AuthenticationError:
    return AuthenticationError(
        f"A request to the address for Slack was refused: {why}.",
        hint="If Slack itself sent it: check slack.signing_secret in config/chat.yaml, and this machine's clock.",
        subject="slack",
    )
