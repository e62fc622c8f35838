"""Find out that the socket is deaf although it looks well, within 90 s (reference approvals 5.8, R42).

Two probes: the age of what was last heard at all, pings included; and, where a site gives it a channel, an edit of a
heartbeat message whose event has to come back through a socket. A bot can't click its own button: only the second
shows that deliveries come through. That Slack sends the event for a bot's own edit is not verified on a real workspace.
The third probe, `auth.test`, is the watchdog's (passgate/faces/chat/watchdog.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

SILENT = timedelta(seconds=60)
"""So long nothing, not even a ping, or no socket at all: Slack pings every few seconds."""
PROBE_EVERY = timedelta(seconds=45)
ECHO_WITHIN = timedelta(seconds=20)
LOOK_EVERY = 5.0
"""Seconds between two looks. The worst case is 45 + 20 + 5 s after the last echo, so well below 90."""


@dataclass
class Ears:
    """Hold what was sent and heard: moments, None for never."""

    since: datetime
    """When listening began, or was last begun anew because it was deaf."""
    connected: bool = False
    last_heard: datetime | None = None
    probe_sent: datetime | None = None
    probe_heard: datetime | None = None

    def why_deaf(self, now: datetime) -> str:
        """Say why nothing would be heard now; empty while all is well."""
        if not self.connected:
            gone = max(self.since, self.last_heard or self.since)
            return f"there was no socket for {_seconds(now - gone)} s" if now - gone >= SILENT else ""
        heard = max(self.since, self.last_heard or self.since)
        if now - heard >= SILENT:
            return f"nothing was heard for {_seconds(now - heard)} s, not even a ping"
        sent = self.probe_sent
        if sent is not None and sent >= self.since and (self.probe_heard or self.since) < sent <= now - ECHO_WITHIN:
            return f"what was sent {_seconds(now - sent)} s ago to hear it come back did not"
        return ""

    @property
    def awaits_probe(self) -> bool:
        """Say whether what was sent did not come back yet."""
        return self.probe_sent is not None and (self.probe_heard or self.since) < self.probe_sent

    def wants_probe(self, now: datetime) -> bool:
        """Say whether it is time to send something that has to come back."""
        return self.connected and (self.probe_sent is None or now - self.probe_sent >= PROBE_EVERY)


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())
