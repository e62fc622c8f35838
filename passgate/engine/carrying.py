"""Carry a plan out: each step with its intent, act, proof and outcome, and the way back. Knows nothing of Prefect."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from passgate.engine.authority import ENGINE, Warrant, words
from passgate.engine.runtime import Runtime
from passgate.engine.steps import Confirmation, NoUndo, Saw, Step, Systems
from passgate.errors import PassgateError, UnconfirmedError
from passgate.model.change import Event, EventType, JournalEntry, StepState
from passgate.model.plan import Plan, PlannedStep

FIRST_LOOK = 0.05
"""Seconds until the second look at a step's effect; it doubles from there up to the step's own pace."""
UNDO_ATTEMPTS = 3

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """Say which try of a step this is, and when the next would follow (seconds; None: this is the last)."""

    number: int = 1
    next_in: float | None = None


@dataclass
class Carrying:
    """Carry out one approved change. `tokens` are the fencing tokens of this run's leases."""

    runtime: Runtime
    change: str
    plan: Plan
    tokens: Mapping[str, int]
    left: list[str] = field(default_factory=list)
    """What could not be taken back, in words."""

    async def step(self, planned: PlannedStep, attempt: Attempt) -> None:
        """Do one step, unless the journal says that it is done; raise what made this attempt fail.

        A step whose intent was recorded without an outcome is looked at first: what is found done is not done again.
        """
        entry = self._entry(planned.index)
        if entry.state in {StepState.DONE, StepState.NOT_NEEDED}:
            return
        if not planned.needed:
            self._record(planned, StepState.NOT_NEEDED, EventType.STEP_OUTCOME, saw=planned.before)
            return
        interrupted = entry.state is StepState.INTENT
        number = str(entry.attempts + 1)
        self._record(planned, StepState.INTENT, EventType.STEP_INTENT, attempt=True, data={"attempt": number})
        try:
            seen = await self._do(planned, interrupted=interrupted)
        except Exception as error:
            again = attempt.next_in is not None and isinstance(error, PassgateError) and error.safe_to_repeat
            if not isinstance(error, PassgateError):
                log.exception("step %s of %s failed", planned.index + 1, self.change)
            self._record(
                planned,
                StepState.INTENT if again else StepState.FAILED,
                EventType.STEP_ATTEMPT_FAILED,
                error=words(error),
                data={
                    "attempt": number,
                    "why": words(error),
                    "next_in": f"{attempt.next_in:.0f}" if again and attempt.next_in is not None else "",
                },
            )
            raise
        kind = EventType.GUEST_PROOF if self._step(planned).in_guest else EventType.STEP_OUTCOME
        self._record(planned, StepState.DONE, kind, saw=seen.words, data={"facts": seen.facts})

    async def take_back(self) -> tuple[str, ...]:
        """Take back what was done, last first; return in words what could not be taken back."""
        self.left.clear()
        for planned in reversed(self.plan.steps):
            entry = self._entry(planned.index)
            if not planned.mutates or entry.state not in {StepState.DONE, StepState.INTENT, StepState.FAILED}:
                continue
            try:
                undo = self._step(planned).undo()
            except PassgateError as error:
                undo = NoUndo(words(error))
            if isinstance(undo, NoUndo):
                self.left.append(f"{planned.title}: can't be taken back, {undo.why}")
            else:
                await self._take_back(planned, undo)
        return tuple(self.left)

    async def _take_back(self, planned: PlannedStep, undo: Step) -> None:
        state = self._entry(planned.index).state
        self._record(planned, state, EventType.UNDO_INTENT, data={"undo": undo.title})
        systems = self._systems(planned.index, undoing=True)
        error: Exception | None = None
        for attempt in range(UNDO_ATTEMPTS):
            if attempt:
                await asyncio.sleep(self.runtime.config.service.retry_delays[0])
            try:
                await self.runtime.estate.in_thread(undo.apply, systems)
                seen = await self._confirmed(undo, systems)
            except Exception as failed:  # noqa: BLE001 - one step that can't be taken back must not leave the others
                error = failed
                if not (isinstance(failed, PassgateError) and failed.safe_to_repeat):
                    break
            else:
                data = {"undo": undo.title, "saw": seen.words}
                self._record(planned, StepState.UNDONE, EventType.UNDO_OUTCOME, saw=seen.words, data=data)
                return
        why = words(error) if error else "no attempt was made"
        self.left.append(f"{planned.title}: not taken back, {why}")
        data = {"undo": undo.title, "why": why}
        self._record(planned, StepState.UNKNOWN, EventType.UNDO_OUTCOME, error=why, data=data)

    async def _do(self, planned: PlannedStep, *, interrupted: bool) -> Confirmation:
        step = self._step(planned)
        systems = self._systems(planned.index)
        if interrupted:
            try:
                seen = await self.runtime.estate.in_thread(step.confirm, systems)
            except PassgateError as error:
                log.info("step %s of %s could not be looked at yet: %s", planned.index + 1, self.change, error)
            else:
                if seen.saw is Saw.YES:
                    return seen
        await self.runtime.estate.in_thread(step.apply, systems)
        return await self._confirmed(step, systems)

    async def _confirmed(self, step: Step, systems: Systems) -> Confirmation:
        """Look until the effect is there or the step's patience is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + step.patience.total_seconds()
        pause = FIRST_LOOK
        while True:
            try:
                seen = await self.runtime.estate.in_thread(step.confirm, systems)
            except PassgateError as error:
                if not error.safe_to_repeat:
                    raise
                seen = Confirmation(Saw.UNKNOWN, words(error))
            if seen.saw is Saw.YES:
                return seen
            if loop.time() + pause > deadline:
                waited = timedelta(seconds=round(step.patience.total_seconds()))
                raise UnconfirmedError(
                    f"{step.title}: no proof within {waited}. Last seen: {seen.words}.",
                    hint="The call itself was accepted; its effect was not seen." if step.mutates else "",
                    subject=step.title,
                )
            await asyncio.sleep(pause)
            pause = min(pause * 2, step.look_every.total_seconds())

    def _step(self, planned: PlannedStep) -> Step:
        return self.runtime.catalogue.step(planned.kind, planned.fields)

    def _systems(self, index: int, *, undoing: bool = False) -> Systems:
        warrant = Warrant(self.runtime.store, self.runtime.clock, self.change, index, self.tokens, undoing=undoing)
        return self.runtime.estate.acting_under(warrant)

    def _entry(self, index: int) -> JournalEntry:
        return next(entry for entry in self.runtime.store.journal(self.change) if entry.index == index)

    def _record(
        self,
        planned: PlannedStep,
        state: StepState,
        kind: EventType,
        *,
        saw: str = "",
        error: str = "",
        attempt: bool = False,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        said = {"step": str(planned.index), "title": planned.title, "state": state.value}
        told = {**said, **({"saw": saw} if saw else {}), **(data or {})}
        event = Event(type=kind, change=self.change, actor=ENGINE, at=self.runtime.clock(), data=told)
        self.runtime.store.step(self.change, planned.index, state, event, saw=saw, error=error, attempt=attempt)
