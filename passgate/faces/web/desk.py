"""Name what the faces ask the engine; `passgate.engine.desk.Desk` satisfies it by its shape."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from passgate.engine.steps import Runbook
from passgate.model.change import Actor, Change, JournalEntry, RecordedEvent, State
from passgate.model.decision import Decision, Terms, Verdict
from passgate.model.inventory import Host
from passgate.model.plan import Plan


class Preview(Protocol):
    """Hold a plan that was made without filing anything, and what it would need."""

    @property
    def plan(self) -> Plan:
        """Return the plan."""

    @property
    def terms(self) -> Terms:
        """Return what policy asks for it."""


class Desk(Protocol):
    """Take requests and decisions, and tell what became of them."""

    def runbooks(self) -> Sequence[Runbook[Any]]:
        """Return all runbooks."""

    async def plan(self, runbook: str, ask: dict[str, Any], actor: Actor) -> Preview:
        """Plan without filing anything."""

    async def request(self, runbook: str, ask: dict[str, Any], actor: Actor) -> Change:
        """File a change and plan it."""

    async def decide(
        self, change_id: str, actor: Actor, verdict: Verdict, reason: str = "", digest: str | None = None
    ) -> Change:
        """Record one person's verdict."""

    async def withdraw(self, change_id: str, actor: Actor, reason: str) -> Change:
        """Take a change back."""

    async def change(self, change_id: str) -> Change:
        """Return one change."""

    async def changes(self, states: tuple[State, ...] = (), limit: int = 50) -> Sequence[Change]:
        """Return the newest changes in those states."""

    async def journal(self, change_id: str) -> Sequence[JournalEntry]:
        """Return the state of each step."""

    async def decisions(self, change_id: str) -> Sequence[Decision]:
        """Return all decisions."""

    async def events(self, change_id: str | None, after: int = 0, wait: float = 0) -> Sequence[RecordedEvent]:
        """Return what was recorded after that place, waiting for the first so long."""

    async def usb(self, host: str | None = None) -> Sequence[Host]:
        """Return hosts with their USB devices, read now."""

    def person_of_token(self, token: str) -> str | None:
        """Return whose token that is."""

    async def evidence(self, change_id: str) -> Path:
        """Return the change's evidence bundle."""
