"""Count for Prometheus: changes by state, chat's ears and outbox, how fast clicks are stored. No names, no secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from passgate.faces.chat.sender import CURSOR
from passgate.store.store import Store

CONTENT = "text/plain; version=0.0.4; charset=utf-8"
ACKS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0)
"""Bounds in seconds. Slack waits three seconds; the target is 0.5 for 99 of 100 (reference approvals 5.2)."""

SHOWN = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
"""Bounds in seconds; the target is 2 for 95 of 100 (reference approvals 5.7)."""


class Metrics:
    """Hold what is counted in this process, and read the rest when it is asked for."""

    def __init__(self, store: Store, chat: Callable[[], dict[str, Any]] | None) -> None:
        self.registry = CollectorRegistry()
        self.acks = Histogram(
            "passgate_slack_ack_seconds",
            "From a delivery of Slack's until it is stored and may be acknowledged",
            buckets=ACKS,
            registry=self.registry,
        )
        self.shown = Histogram(
            "passgate_slack_decision_shown_seconds",
            "From a decision until the message of its change shows it",
            buckets=SHOWN,
            registry=self.registry,
        )
        self.registry.register(_Standing(store, chat))

    @property
    def route(self) -> Route:
        """Return where Prometheus asks."""

        async def metrics(_: Request) -> Response:
            # In a thread: counting reads the database, and clicks must not wait for that.
            return Response(await asyncio.to_thread(generate_latest, self.registry), media_type=CONTENT)

        return Route("/metrics", metrics)


class _Standing(Collector):
    """Read how things stand at the moment of the question."""

    def __init__(self, store: Store, chat: Callable[[], dict[str, Any]] | None) -> None:
        self._store, self._chat = store, chat

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Yield what is so now."""
        changes = GaugeMetricFamily("passgate_changes", "Changes by state", labels=["state"])
        for state, count in self._store.counts().items():
            changes.add_metric([state], count)
        yield changes
        counted = self._store.counted((CURSOR,))
        decided = CounterMetricFamily("passgate_decisions", "Decisions recorded", labels=["verdict", "door"])
        for (verdict, door), count in counted.decisions.items():
            decided.add_metric([verdict, door], count)
        yield decided
        if self._chat is None:
            return
        clicks = CounterMetricFamily("passgate_slack_clicks", "Clicks worked on, by outcome", labels=["outcome"])
        for outcome, count in counted.clicks.items():
            clicks.add_metric([outcome], count)
        yield clicks
        behind = counted.behind[CURSOR]
        yield GaugeMetricFamily("passgate_slack_events_behind", "Events that chat has not come to yet", value=behind)
        told, now = self._chat(), datetime.now(UTC)
        connected = told["connected_since"] is not None
        yield GaugeMetricFamily("passgate_slack_connected", "1 while the socket is open", value=float(connected))
        heard = told["last_heard"]
        age = (now - datetime.fromisoformat(heard)).total_seconds() if heard else float("nan")
        yield GaugeMetricFamily("passgate_slack_last_heard_seconds", "Since the socket said anything", value=age)
        yield CounterMetricFamily("passgate_slack_deaf", "Times the socket was found deaf", value=told["times_deaf"])
        yield GaugeMetricFamily(
            "passgate_slack_messages_behind", "Not told in Slack yet", value=told["messages_behind"]
        )
        yield GaugeMetricFamily(
            "passgate_slack_clicks_open", "Clicks kept and not worked on", value=told["clicks_open"]
        )
