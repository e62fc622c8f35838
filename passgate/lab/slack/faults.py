"""Hold what a test has ordered to go wrong: failing calls, lost or doubled envelopes, an outage."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass
class CallFault:
    """The next calls of a Web API method fail: with an error, an HTTP status, silence or a cut connection."""

    method: str = "*"
    times: int = 1
    error: str = ""
    status: int = 0
    retry_after: int = 1
    hang: float = 0
    drop: bool = False
    after: bool = False
    """Whether the call takes effect before its answer is lost."""


@dataclass
class EnvelopeFault:
    """The next envelopes are lost, delivered twice or delivered late."""

    kind: Literal["drop", "duplicate", "delay"]
    times: int = 1
    seconds: float = 0


@dataclass
class Faults:
    """All faults that are ordered and not used up yet."""

    calls: list[CallFault] = field(default_factory=list)
    envelopes: list[EnvelopeFault] = field(default_factory=list)
    down_until: float = 0
    latency: float = 0
    """Seconds that each call of the Web API takes on its way, as from far away."""

    @property
    def down(self) -> bool:
        """Tell whether Slack refuses everything just now."""
        return time.monotonic() < self.down_until

    def for_call(self, method: str) -> CallFault | None:
        """Take the first fault that is meant for this method."""
        return _take(self.calls, next((one for one in self.calls if one.method in {"*", method}), None))

    def for_envelope(self) -> EnvelopeFault | None:
        """Take the first fault for an envelope."""
        return _take(self.envelopes, next(iter(self.envelopes), None))

    def clear(self) -> None:
        """Forget all faults and end an outage."""
        self.latency = 0
        self.calls.clear()
        self.envelopes.clear()
        self.down_until = 0


def _take(faults: list[Any], fault: Any) -> Any:
    """Use a fault once, and strike it off when it is used up."""
    if fault is not None:
        fault.times -= 1
        if fault.times <= 0:
            faults.remove(fault)
    return fault
