"""Carry a plan out: each step with its intent, act, proof and outcome, and the way back. Knows nothing of Prefect."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

from passgate.engine import tables
from passgate.engine.authority import ENGINE, Warrant, words
from passgate.engine.gate import stopped_at
from passgate.engine.notes import Notebook
from passgate.engine.opening import refuses
from passgate.engine.runtime import Runtime
from passgate.engine.steps import Confirmation, NoUndo, Remedy, Saw, Step, Systems
from passgate.errors import InputError, PassgateError, RecordError, RefusedError, SupersededError, UnconfirmedError
from passgate.model.change import Event, EventType, JournalEntry, StepState
from passgate.model.plan import Plan, PlannedStep
from passgate.model.table import Table

FIRST_LOOK = 0.05
"""Seconds until the second look at a step's effect; it doubles from there up to the step's own pace."""
UNDO_ATTEMPTS = 3
STILL_THERE = timedelta(seconds=5)
"""How long an effect that was there before an interruption may take to show again."""
_MAY_BE_THERE = frozenset({StepState.DONE, StepState.INTENT, StepState.FAILED, StepState.UNKNOWN})
_ON_THE_WAY_BACK = frozenset({StepState.FAILED, StepState.REFUSED, StepState.UNDONE, StepState.UNKNOWN})
_OVER = frozenset({StepState.DONE, StepState.NOT_NEEDED, StepState.UNDONE})
"""States of a step that is not done any more; going forward, only a temporary step that was given back is UNDONE."""

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
    called_for: set[int] = field(default_factory=set)
    """Remedies that this process saw to be called for."""

    async def step(self, planned: PlannedStep, attempt: Attempt) -> Table | None:
        """Do one step, unless the journal says that it is done; raise what made this attempt fail.

        A step whose intent was recorded without an outcome is looked at first: what is found done is not done again.
        Returns the table that the step reports, if it does.
        """
        entry = self._entry(planned.index)
        if entry.state in _OVER:
            return None
        if not planned.needed:
            self._record(planned, StepState.NOT_NEEDED, EventType.STEP_OUTCOME, saw=planned.before)
            return None
        if not await self.is_called_for(planned, attempt):
            return None
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
            self._record_failure(planned, self._after_failure(planned, again=again), number, error, attempt)
            raise
        kind = EventType.GUEST_PROOF if self.step_of(planned).in_guest else EventType.STEP_OUTCOME
        data: dict[str, Any] = {"facts": seen.facts}
        table = tables.cleaned(seen.table) if seen.table else None
        if table is not None:
            kept = self.runtime.estate.in_thread(tables.keep, self.runtime.home, self.change, planned.index, table)
            data["table"] = await kept
        self._record(planned, StepState.DONE, kind, saw=seen.words, data=data)
        return table

    async def is_called_for(self, planned: PlannedStep, attempt: Attempt) -> bool:
        """Say whether a step is to be carried out when its turn has come: a remedy only if all is not well without it.

        A remedy that was begun is ended like any step. Raises what made it impossible to look, as a failed attempt.
        """
        step, entry = self.step_of(planned), self._entry(planned.index)
        if not isinstance(step, Remedy) or entry.state is not StepState.PENDING or planned.index in self.called_for:
            return entry.state not in _OVER
        try:
            seen = await self._look(step, step.well, self._systems(planned.index))
        except (RecordError, SupersededError):
            raise
        except Exception as error:
            again = attempt.next_in is not None and isinstance(error, PassgateError) and error.safe_to_repeat
            state = StepState.PENDING if again else StepState.REFUSED
            self._record_failure(planned, state, str(entry.attempts + 1), error, attempt)
            raise
        known = self.runtime.store.change(self.change).terms
        offered = not planned.gate or (known is not None and planned.gate in known.gates)
        if seen.saw is Saw.YES or not offered:
            said = seen.words if offered or seen.saw is Saw.YES else f"policy offers no {planned.gate}; {seen.words}"
            data = {"facts": seen.facts}
            self._record(planned, StepState.NOT_NEEDED, EventType.STEP_OUTCOME, saw=said, data=data)
            return False
        self.called_for.add(planned.index)
        return True

    def _record_failure(
        self, planned: PlannedStep, state: StepState, number: str, error: Exception, attempt: Attempt
    ) -> None:
        again = state in {StepState.INTENT, StepState.PENDING} and attempt.next_in is not None
        data = {"attempt": number, "why": words(error), "next_in": f"{attempt.next_in:.0f}" if again else ""}
        self._record(planned, state, EventType.STEP_ATTEMPT_FAILED, error=words(error), data=data)

    def _after_failure(self, planned: PlannedStep, *, again: bool) -> StepState:
        if again:
            return StepState.INTENT
        return StepState.FAILED if planned.index in self.sent or not planned.mutates else StepState.REFUSED

    async def lost(self) -> str | None:
        """Look anew at the last effect on each aspect, before going on after an interruption; say which is gone.

        What was approved is what runs: a VM that was powered off as planned and that somebody powered on meanwhile is
        not the VM that the next step was approved for. Raises WorldError when it can't be looked at now.
        """
        begun = {
            self.step_of(planned).aspect or planned.kind.partition(".")[0]: planned
            for planned in self.plan.steps
            if planned.mutates and self._entry(planned.index).state in {StepState.DONE, StepState.INTENT}
        }
        for planned in begun.values():
            if self._entry(planned.index).state is StepState.INTENT:
                continue  # it may have gone out and undone what was before it; it looks for itself before it acts
            try:
                seen = await self._still_there(self.step_of(planned), self._systems(planned.index))
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

    def why_on_the_way_back(self) -> str | None:
        """Return why a former process was on its way back, if one was; the change goes on with that."""
        if why := stopped_at(self.runtime.store.change(self.change)):
            return why
        journal = self.runtime.store.journal(self.change)
        back = [entry for entry in journal if entry.state in _ON_THE_WAY_BACK]
        given_back = {planned.index for planned, _, _ in self._temporary()}
        if all(
            one.state in _OVER and (one.state is not StepState.UNDONE or one.index in given_back) for one in journal
        ):
            return None  # all was done, and what was temporary was being given back
        # What was taken back keeps the error that it failed with, if it was the one.
        first = [one for one in back if one.state in {StepState.FAILED, StepState.REFUSED}]
        found = next(iter([*first, *(one for one in back if one.error), *back]), None)
        if found is None:
            return None
        return f"{found.title}: {found.error}" if found.error else f"{found.title} did not hold any more."

    async def give_back(self) -> str | None:
        """Give back what is temporary and was not ended by a step of the plan; say what could not be given back."""
        for planned, undo, closer in self._temporary():
            ended = closer is not None and self._entry(closer.index).state is StepState.DONE
            if not ended and self._entry(planned.index).state in _MAY_BE_THERE:
                await self._take_back(planned, undo)
                entry = self._entry(planned.index)
                if entry.state is not StepState.UNDONE:
                    return f"All steps were done, but '{planned.title}' could not be given back: {entry.error}"
        return None

    async def take_back(self, *, only_temporary: bool = False) -> None:
        """Take back what was done, last first; the journal says of each step what became of it.

        With `only_temporary`, what policy leaves as it is when a change fails stays; what is temporary never does. A
        step that ends a temporary one, and has no undo of its own, has the fate of the one that it ends.
        """
        temporary = {planned.index: (undo, closer) for planned, undo, closer in self._temporary()}
        ends = {closer.index: index for index, (_, closer) in temporary.items() if closer is not None}
        for planned in reversed(self.plan.steps):
            if not planned.mutates or self._entry(planned.index).state not in _MAY_BE_THERE:
                continue
            undo, closer = temporary.get(planned.index, (self._undo(planned), None))
            if planned.index in temporary:
                await self._give_back(planned, undo, closer)
            elif only_temporary:
                continue
            elif not isinstance(undo, NoUndo):
                await self._take_back(planned, undo)
            elif planned.index in ends and self._entry(ends[planned.index]).state in _MAY_BE_THERE:
                continue  # settled with the step that it ends
            else:
                self._leave(planned, undo)

    async def _give_back(self, planned: PlannedStep, undo: Step | NoUndo, closer: PlannedStep | None) -> None:
        if isinstance(undo, NoUndo):
            return self._leave(planned, undo)
        ended = self._entry(closer.index) if closer else None
        if closer and ended and ended.state is StepState.DONE and isinstance(self._undo(closer), NoUndo):
            # Nobody looks any more: what is there by now is not of this change's making.
            data = {"undo": "none", "why": f"step {closer.index + 1} gave it back: {ended.saw}"}
            for one in (planned, closer):
                self._record(one, StepState.UNDONE, EventType.UNDO_OUTCOME, saw=ended.saw, data=data)
            return None
        await self._take_back(planned, undo)
        if closer and ended and ended.state in _MAY_BE_THERE and isinstance(self._undo(closer), NoUndo):
            became = self._entry(planned.index)
            data = {"undo": "none", "why": f"settled with step {planned.index + 1}"}
            self._record(closer, became.state, EventType.UNDO_OUTCOME, saw=became.saw, data=data)
        return None

    def _leave(self, planned: PlannedStep, undo: NoUndo) -> None:
        """Record what becomes of a step that has no undo: what leaves nothing counts as taken back once it was done."""
        gone = not undo.leaves and self._entry(planned.index).state is StepState.DONE
        data = {"undo": "none", "why": undo.why}
        if gone:
            self._record(planned, StepState.UNDONE, EventType.UNDO_OUTCOME, saw=undo.why, data=data)
        else:
            self._record(planned, StepState.UNKNOWN, EventType.UNDO_OUTCOME, error=undo.why, data=data)

    def _undo(self, planned: PlannedStep) -> Step | NoUndo:
        try:
            return self.step_of(planned).undo()
        except PassgateError as error:
            return NoUndo(words(error))

    def _temporary(self) -> Iterator[tuple[PlannedStep, Step, PlannedStep | None]]:
        """Return the temporary steps that have something to do, the last first: each with its undo, and its closer.

        The closer is the later step of the plan that is equal to the undo.
        """
        for planned in reversed(self.plan.todo):
            if not planned.mutates or not self.step_of(planned).temporary:
                continue
            undo = self._undo(planned)
            if isinstance(undo, NoUndo):
                continue
            name = (undo.kind(), undo.fields())
            later = self.plan.todo[self.plan.todo.index(planned) + 1 :]
            yield planned, undo, next((one for one in later if (one.kind, one.fields) == name), None)

    async def _take_back(self, planned: PlannedStep, undo: Step) -> None:
        entry = self._entry(planned.index)
        self._record(planned, entry.state, EventType.UNDO_INTENT, data={"undo": undo.title})
        systems = self._systems(planned.index, undoing=True)
        error: Exception | None = None
        for attempt in range(UNDO_ATTEMPTS):
            if attempt:
                await asyncio.sleep(self.runtime.config.service.retry_delays[0])
            try:
                there = self.step_of(planned).temporary and await self._is_there(undo, systems)
                if not there:
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
        step = self.step_of(planned)
        systems = self._systems(planned.index)
        if interrupted and (seen := await self._is_there(step, systems)):
            return seen
        await self.runtime.estate.in_thread(step.apply, systems)
        return await self._confirmed(step, systems)

    async def _is_there(self, step: Step, systems: Systems) -> Confirmation | None:
        """Return what was seen if the effect is there already; one that can't be looked at yet is not."""
        try:
            seen = await self.runtime.estate.in_thread(step.confirm, systems)
        except (RecordError, SupersededError):
            raise
        except PassgateError as error:
            log.info("'%s' of %s could not be looked at yet: %s", step.title, self.change, error)
            return None
        return seen if seen.saw is Saw.YES else None

    async def _confirmed(self, step: Step, systems: Systems) -> Confirmation:
        """Look until the effect is there; raise UnconfirmedError when the step's patience is over."""
        seen = await self._look(step, step.confirm, systems)
        if seen.saw is Saw.YES:
            return seen
        waited = timedelta(seconds=round(step.patience.total_seconds()))
        raise UnconfirmedError(
            f"{step.title}: no proof within {waited}. Last seen: {seen.words}.",
            hint="The call itself was accepted; its effect was not seen." if step.mutates else "",
            subject=step.title,
        )

    async def _look(self, step: Step, look: Callable[[Systems], Confirmation], systems: Systems) -> Confirmation:
        """Look until it says yes or the step's patience is over; return what was seen last."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + step.patience.total_seconds()
        pause = FIRST_LOOK
        while True:
            try:
                seen = await self.runtime.estate.in_thread(look, systems)
            except (RecordError, SupersededError):
                raise  # what was told while it looked could not be recorded
            except PassgateError as error:
                if not error.safe_to_repeat:
                    raise
                seen = Confirmation(Saw.UNKNOWN, words(error))
            if seen.saw is Saw.YES or loop.time() + pause > deadline:
                return seen
            await asyncio.sleep(pause)
            pause = min(pause * 2, step.look_every.total_seconds())

    def is_over(self, planned: PlannedStep) -> bool:
        """Say whether nothing is left to do for a step."""
        return self._entry(planned.index).state in _OVER

    def refuse(self, planned: PlannedStep, why: str, **more: str) -> None:
        """Record that a step is not begun, and why; the journal keeps the reason for whoever goes on."""
        data = {"why": why, "next_in": "", **more}
        self._record(planned, StepState.REFUSED, EventType.STEP_ATTEMPT_FAILED, error=why, data=data)

    def step_of(self, planned: PlannedStep) -> Step:
        """Make the step that was planned."""
        return self.runtime.catalogue.step(planned.kind, planned.fields)

    def _systems(self, index: int, *, undoing: bool = False) -> Systems:
        calendar = partial(refuses, self.runtime)
        warrant = Warrant(
            self.runtime.store,
            self.runtime.clock,
            self.change,
            index,
            self.tokens,
            calendar,
            self.sent,
            undoing=undoing,
        )

        def tell(said: str, facts: Mapping[str, Any]) -> None:
            data = {"step": str(index), "saw": said, "facts": dict(facts)}
            event = Event(type=EventType.NOTICED, change=self.change, actor=ENGINE, at=self.runtime.clock(), data=data)
            self.runtime.store.append(event, tokens=self.tokens)

        def was_told(number: int) -> bool:
            told = self.runtime.store.events_of(self.change, EventType.NOTICED)
            mine = (one.data["facts"] for one in told if one.data["step"] == str(index))
            return any(facts.get("message") == str(number) for facts in mine)

        return replace(
            self.runtime.estate.acting_under(warrant),
            tell=tell,
            logs=self.runtime.estate.logs.reader(f"{self.change}:{index}"),
            notes=Notebook(self.runtime.home / "notes" / self.change / f"{index + 1}.json", was_told),
        )

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
