"""Play Slack's servers: send clicks to Passgate by signed HTTP, and what thieves make of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any
from urllib.parse import urlencode

from slack_sdk.signature import SignatureVerifier

from passgate.lab.slack.workspace import TEAM
from tests.house import HTTP
from tests.slack_channel import APPROVE, CHANNEL

_numbers = count(1)


@dataclass
class SignedSlack:
    """Sign with the app's secret, at the time of a clock, and send to the service."""

    url: str
    secret: str
    clock: Callable[[], datetime]
    sent: list[tuple[bytes, dict[str, str]]] = field(default_factory=list)
    """What was sent with the right signature: a thief may have recorded it."""

    def decide(self, user: str, value: str, verdict: str) -> int:
        """Click the button that has this value, and fill in the dialog that a denial opens; return the HTTP status."""
        return self._send(_pressed(user, value) if verdict == "approve" else _explained(user, value), self.secret)

    def forge(self, user: str, value: str) -> int:
        """Click without knowing the secret."""
        return self._send(_pressed(user, value), "0" * len(self.secret))

    def replay(self) -> int:
        """Send once more what was sent last."""
        return self._post(*self.sent[-1])

    def _send(self, payload: dict[str, Any], secret: str) -> int:
        body = urlencode({"payload": json.dumps(payload)}).encode()
        stamp = str(int(self.clock().timestamp()))
        signature = SignatureVerifier(secret).generate_signature(timestamp=stamp, body=body) or ""
        headers = {"content-type": "application/x-www-form-urlencoded", "x-slack-request-timestamp": stamp}
        headers["x-slack-signature"] = signature
        if secret == self.secret:
            self.sent.append((body, headers))
        return self._post(body, headers)

    def _post(self, body: bytes, headers: dict[str, str]) -> int:
        return HTTP.post(f"{self.url}/slack", content=body, headers=headers).status_code


def _of(user: str) -> dict[str, Any]:
    return {"user": {"id": user, "team_id": TEAM}, "team": {"id": TEAM}, "trigger_id": f"{next(_numbers)}.0"}


def _pressed(user: str, value: str) -> dict[str, Any]:
    action = {"action_id": APPROVE, "value": value, "action_ts": f"{next(_numbers)}.0"}
    return {"type": "block_actions", **_of(user), "channel": {"id": CHANNEL}, "actions": [action]}


def _explained(user: str, value: str) -> dict[str, Any]:
    view = {
        "id": f"V{next(_numbers)}",
        "callback_id": "passgate_deny_reason",
        "private_metadata": f"{value}\n{CHANNEL}\n",
        "state": {"values": {"reason": {"text": {"value": "because"}}}},
    }
    return {"type": "view_submission", **_of(user), "view": view}
