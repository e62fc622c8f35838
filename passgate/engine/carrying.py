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
from passgate.errors import InputError, PassgateError, RecordError, RefusedError, SupersededError, UnconfirmedError
from passgate.model.change import Event, EventType, JournalEntry, StepState
from passgate.model.plan import Plan, PlannedStep

FIRST_LOOK = 0.05
"""Seconds until the second look at a step's effect; it doubles from there up to the step's own pace."""
UNDO_ATTEMPTS = 3
STILL_THERE = timedelta(seconds=5)
"""How long an effect that was there before an interruption may take to show again."""
_MAY_BE_THERE = frozenset({StepState.DONE, StepState.INTENT, StepState.FAILED, StepState.UNKNOWN})

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
    sent: set[int] = field(default_factory=set)
    """Steps of which a mutating call went out; what a step that sent nothing finds is not its own to take back."""
    begun: set[int] = field(default_factory=set)
    """Steps whose intent this process recorded: of these it knows whether anything was sent."""

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
        if interrupted and planned.index not in self.begun:
            self.sent.add(planned.index)  # nobody can say any more that nothing was sent
        self.begun.add(planned.index)
        number = str(entry.attempts + 1)
        self._record(planned, StepState.INTENT, EventType.STEP_INTENT, attempt=True, data={"attempt": number})
        try:
            seen = await self._do(planned, interrupted=interrupted)
        except (RecordError, SupersededError):
            raise  # the journal says intent: whoever goes on looks at the world first
        except Exception as error:
            again = attempt.next_in is not None and isinstance(error, PassgateError) and error.safe_to_repeat
            if not isinstance(error, PassgateError):
                log.exception("step %s of %s failed", planned.index + 1, self.change)
            self._record(
                planned,
                self._after_failure(planned, again=again),
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

    def _after_failure(self, planned: PlannedStep, *, again: bool) -> StepState:
        if again:
            return StepState.INTENT
        return StepState.FAILED if planned.index in self.sent or not planned.mutates else StepState.REFUSED

    async def lost(self) -> str | None:
        """Look anew at the last effect of each kind, before going on after an interruption; say which is gone.

        What was approved is what runs: a VM that was powered off as planned and that somebody powered on meanwhile is
        not the VM that the next step was approved for. Raises WorldError when it can't be looked at now.
        """
        begun = {
            planned.kind.partition(".")[0]: planned
            for planned in self.plan.steps
            if planned.mutates and self._entry(planned.index).state in {StepState.DONE, StepState.INTENT}
        }
        for planned in begun.values():
            if self._entry(planned.index).state is StepState.INTENT:
                continue  # it may have gone out and undone what was before it; it looks for itself before it acts
            try:
                seen = await self._still_there(self._step(planned), self._systems(planned.index))
            except (InputError, RefusedError) as error:
                seen = words(error)
            if seen != Saw.YES:
                return f"{planned.title} was done, but does not hold any more after an interruption: {seen}."
        return None

    async def _still_there(self, step: Step, systems: Systems) -> str:
        """Return YES, or what was seen instead for as long as an effect may take to show again."""
        deadline = asyncio.get_running_loop().time() + STILL_THERE.total_seconds()
        while True:
            seen = await self.runtime.estate.in_thread(step.confirm, systems)
            if seen.saw is Saw.YES:
                return Saw.YES
            if asyncio.get_running_loop().time() > deadline:
                return seen.words
            await asyncio.sleep(step.look_every.total_seconds() / 4)

    async def take_back(self) -> None:
        """Take back what was done, last first; the journal says of each step what became of it."""
        for planned in reversed(self.plan.steps):
            if not planned.mutates or self._entry(planned.index).state not in _MAY_BE_THERE:
                continue
            try:
                undo = self._step(planned).undo()
            except PassgateError as error:
                undo = NoUndo(words(error))
            if isinstance(undo, NoUndo):
                data = {"undo": "none", "why": undo.why}
                self._record(planned, StepState.UNKNOWN, EventType.UNDO_OUTCOME, error=undo.why, data=data)
            else:
                await self._take_back(planned, undo)

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
            except (RecordError, SupersededError):
                raise
            except Exception as failed:  # noqa: BLE001 - one step that can't be taken back must not leave the others
                error = failed
                if not (isinstance(failed, PassgateError) and failed.safe_to_repeat):
                    break
            else:
                data = {"undo": undo.title, "saw": seen.words}
                self._record(planned, StepState.UNDONE, EventType.UNDO_OUTCOME, saw=seen.words, data=data)
                return
        why = words(error) if error else "no attempt was made"
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
        warrant = Warrant(
            self.runtime.store, self.runtime.clock, self.change, index, self.tokens, self.sent, undoing=undoing
        )
        return self.runtime.estate.acting_under(warrant)

    def _entry(self, index: int) -> JournalEntry:
        return next(entry for entry in self.runtime.store.journal(self.change) if entry.index == index)

    def _record(
        self,
        planned: PlannedStep,
        state: StepState,
        kind: EventType,
        *,
        saw: str | None = None,
        error: str | None = None,
        attempt: bool = False,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        said = {"step": str(planned.index), "title": planned.title, "state": state.value}
        told = {**said, **({"saw": saw} if saw else {}), **(data or {})}
        event = Event(type=kind, change=self.change, actor=ENGINE, at=self.runtime.clock(), data=told)
        self.runtime.store.step(
            self.change, planned.index, state, event, saw=saw, error=error, attempt=attempt, tokens=self.tokens
        )
