"""Take requests and decisions from every door; all faces speak to the engine through here."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from passgate.connect.vsphere.reading import Scope
from passgate.engine import reviewing
from passgate.engine.again import ask_again
from passgate.engine.calendar_desk import Explanation, explain, held_up, override, refuse_override
from passgate.engine.ending import evidence_file
from passgate.engine.filing import asked, file_change, previewed, refuse_past, wrong_fields
from passgate.engine.gate import is_ready, settle
from passgate.engine.runtime import Runtime
from passgate.engine.scheduling import Scheduling
from passgate.engine.standing import may_stand
from passgate.engine.steps import Runbook
from passgate.errors import ConflictError, InputError, PassgateError, PolicyError, UnknownNameError
from passgate.model.census import Census, take_census
from passgate.model.change import Actor, Change, GateState, JournalEntry, RecordedEvent, State
from passgate.model.decision import PLAN, Decision, Terms, Verdict
from passgate.model.inventory import Host
from passgate.model.plan import Plan
from passgate.model.review import Review, ReviewVerdict
from passgate.policy.opening import Holding
from passgate.policy.reviews import may_not_approve, require_none_open, waits_for
from passgate.policy.user_groups import proofs
from passgate.policy.votes import may_approve_plan, may_decide, standing, tally_of

log = logging.getLogger(__name__)


class Bell(Protocol):
    """Start and wake the runs that carry changes out. A ring is no approval: the run reads the decisions itself."""

    async def start(self, change: Change) -> None:
        """Make a run for the change, once."""

    async def ring(self, change: Change) -> None:
        """Wake the change's run."""


def _waits_at(change: Change, gate: str) -> bool:
    """Say whether the change waits for decisions at that gate now."""
    if gate == PLAN:
        return change.state is State.WAITING
    return change.open_gate is not None and change.open_gate.name == gate


def _nothing_to_decide(change: Change, gate: str) -> ConflictError:
    hint = f"See what became of it: `passgate show {change.id}`."
    if at := change.open_gate:
        hint = f"It waits at the gate {at.name}: to decide there, name that gate (`--gate {at.name}`)."
    if gate != PLAN and not change.state.is_end and change.gate(gate) is None:
        return ConflictError(
            f"{change.id} is {change.state} and has not come to the gate {gate} yet. Nothing was recorded.",
            hint=hint if at else f"Its plan is decided first: `passgate show {change.id}` says how it stands.",
            subject=change.id,
        )
    what = "its plan" if gate == PLAN else f"the gate {gate}"
    return ConflictError(
        f"{change.id} is {change.state}; there is nothing to decide on {what} any more.", hint=hint, subject=change.id
    )


def _decision(  # noqa: PLR0917 - the parts of one decision
    change: Change, actor: Actor, gate: str, digest: str | None, verdict: Verdict, reason: str, at: datetime
) -> Decision:
    return Decision(
        change=change.id,
        digest=digest or change.digest or "",
        gate=gate,
        person=actor.person,
        door=actor.door.value,
        verdict=verdict,
        reason=reason.strip(),
        at=at,
    )


@dataclass(frozen=True)
class Progress:
    """Say how many of the hosts were read so far."""

    done: int
    total: int


@dataclass(frozen=True)
class Preview:
    """Hold a plan and what it would need, with nothing filed."""

    plan: Plan
    terms: Terms


class Desk:
    """File, decide, withdraw and show changes."""

    def __init__(self, runtime: Runtime, bell: Bell) -> None:
        self.runtime = runtime
        self._bell = bell
        self._waiting: set[asyncio.Future[None]] = set()
        self._ringing: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()

        def tell() -> None:
            loop.call_soon_threadsafe(self._wake)

        runtime.store.listeners.append(tell)
        self.schedules = Scheduling(runtime, self.start)
        """What people ask about schedules."""

    def runbooks(self) -> tuple[Runbook[Any], ...]:
        """Return all runbooks."""
        return tuple(self.runtime.catalogue.runbooks.values())

    async def plan(self, runbook: str, ask: dict[str, Any], actor: Actor) -> Preview:
        """Plan on paper; nothing is filed and nothing touched. Checks that are not met are in the plan."""
        book, wanted = asked(self.runtime, runbook, ask)
        refuse_past(self.runtime, wanted)
        return Preview(*await previewed(self.runtime, book, wanted, actor))

    def wrong_fields(self, runbook: str, ask: dict[str, Any]) -> dict[str, str]:
        """Return what is wrong with each field of an ask, in words; nothing outside is asked."""
        return wrong_fields(self.runtime, runbook, ask)

    async def request(self, runbook: str, ask: dict[str, Any], actor: Actor, *, key: str = "") -> Change:
        """File a change and start its run; a request with a `key` is filed once, however often it comes."""
        change = await file_change(self.runtime, runbook, ask, actor, key=key)
        self.start(change)
        return change

    async def again(self, change_id: str, actor: Actor, *, key: str = "") -> Change:
        """File anew what a change that came to nothing asked for, by whoever asks now, and start its run."""
        change = await ask_again(self.runtime, change_id, actor, key=key)
        self.start(change)
        return change

    def start(self, change: Change) -> None:
        """Start the run of a change that was just filed, without waiting for it."""
        self._in_background(self._bell.start(change), change)

    async def decide(
        self,
        change_id: str,
        actor: Actor,
        verdict: Verdict,
        reason: str = "",
        digest: str | None = None,
        *,
        gate: str = PLAN,
        standing_until: datetime | None = None,
    ) -> Change:
        """Record one person's decision on the plan as it stands, and wake the run if that settles it.

        `gate` says at which gate: before the first step, or at the second gate that the change has come to. With
        `standing_until` an approval stands for later runs of the same schedule with the same plan, until then.
        """
        store, people = self.runtime.store, self.runtime.config.people
        change = store.change(change_id)
        known = (PLAN, *(change.terms.gates if change.terms else ()))
        if gate not in known:
            raise InputError(
                f"{change_id} has no gate {gate!r}.", hint=f"Its gates: {', '.join(known)}.", subject="gate"
            )
        if not _waits_at(change, gate) or change.terms is None or change.digest is None:
            raise _nothing_to_decide(change, gate)
        if verdict is Verdict.DENY and not reason.strip():
            raise InputError("A denial needs a reason.", hint="Say in a sentence why, for who asked.", subject="reason")
        unproven = proofs(change, gate, actor.person, store.decisions(change_id), self.runtime.clock(), people)
        await self.runtime.membership.require(unproven)
        so_far = store.decisions(change_id)
        at = self.runtime.clock()  # before it is settled, so that what still waits afterwards was decided in time
        may_decide(change, people, actor.person, gate=gate, decisions=so_far, at=at, door=actor.door.value)
        if verdict is Verdict.APPROVE and change.terms.asked_at(gate).reason_required and not reason.strip():
            raise InputError(
                "Policy wants a reason for an approval too.", hint="Say in a sentence why.", subject="reason"
            )
        if verdict is Verdict.APPROVE:
            own = store.reviews.all(only_open=True, by=actor.person)
            require_none_open(actor.person, own, "approve anything")
        if standing_until is not None:
            may_stand(change, standing_until, at, gate=gate, verdict=verdict)
        if gate == PLAN and verdict is Verdict.APPROVE:
            may_approve_plan(change.terms, actor.person, change.digest, so_far)
        change = settle(self.runtime, change)
        if _waits_at(change, gate):
            decision = _decision(change, actor, gate, digest, verdict, reason, at)
            store.decide(decision.model_copy(update={"standing_until": standing_until}), actor)
            change = settle(self.runtime, change)
        if not _waits_at(change, gate):
            self._in_background(self._bell.ring(change), change)
        return change

    async def retract(
        self, change_id: str, actor: Actor, reason: str = "", digest: str | None = None, *, gate: str = PLAN
    ) -> Change:
        """Take the person's own decision back: until the first step, or until a second gate is passed.

        What was approved by it waits again, for as long as its first clock runs.
        """
        change = self.runtime.store.change(change_id)
        at = self.runtime.clock()
        self.runtime.store.decide(_decision(change, actor, gate, digest, Verdict.RETRACT, reason, at), actor)
        return settle(self.runtime, change)

    def so_far(self, change: Change) -> str:
        """Say how far the decisions are that a change waits for now; empty where it waits for none."""
        gate = change.open_gate.name if change.open_gate else PLAN
        if not _waits_at(change, gate):
            return ""
        return tally_of(change, self.runtime.store.decisions(change.id), self.runtime.clock(), gate).reasons[0]

    async def withdraw(self, change_id: str, actor: Actor, reason: str) -> Change:
        """Take a change back before its first step, or at a second gate. Only who asked may.

        At a second gate it counts as a denial: what was done is taken back, as policy says for a failed step.
        """
        change = self.runtime.store.change(change_id)
        if change.requester.person != actor.person:
            raise InputError(
                f"{change_id} was asked for by {change.requester.person}; only they can withdraw it.",
                hint=f'If it must not happen, deny it: `passgate deny {change_id} --reason "..."`.',
                subject=change_id,
            )
        if change.state.is_end or (change.state is State.APPLYING and change.open_gate is None):
            raise ConflictError(
                f"{change_id} has ended as {change.state}: there is nothing to take back."
                if change.state.is_end
                else f"{change_id} is being carried out and can't be withdrawn any more. It goes on.",
                hint=f"Follow it with `passgate watch {change_id}`. What it did, a change of its own can take back.",
                subject=change_id,
            )
        now = self.runtime.clock()
        said = f"withdrawn by {actor.person}" + (f": {reason.rstrip('.')}" if reason else "")
        if gate := change.open_gate:
            shut = gate.model_copy(update={"state": GateState.WITHDRAWN, "why": said})
            change = self.runtime.store.settle_gate(change_id, shut, actor, now)
        else:
            why = reason or "withdrawn"
            change = self.runtime.store.move(change_id, State.WITHDRAWN, actor, why, now, outcome=said)
        self._in_background(self._bell.ring(change), change)
        return change

    async def reviews(self, *, only_open: bool = True) -> tuple[Review, ...]:
        """Return the reviews of broken glasses, the newest first."""
        return self.runtime.store.reviews.all(only_open=only_open)

    async def reviews_for(self, person: str) -> tuple[Review, ...]:
        """Return the reviews that wait for that person now, the one that is due first at the top."""
        store, people = self.runtime.store, self.runtime.config.people
        found = store.reviews.all(only_open=True)
        waiting = (one for one in found if waits_for(one, store.change(one.change), people, person))
        return tuple(sorted(waiting, key=lambda one: one.due_at))

    def may_not_approve(self) -> dict[str, str]:
        """Return who can approve nothing now, whatever their terms say of them, and why."""
        return may_not_approve(self.runtime.store.reviews.all(only_open=True))

    async def review(self, change_id: str) -> Review:
        """Return the review of one change."""
        return self.runtime.store.reviews.one(change_id)

    async def close_review(self, change_id: str, actor: Actor, verdict: ReviewVerdict, reason: str) -> Review:
        """Say of a broken glass whether it was justified; its evidence is written anew with that."""
        return await reviewing.close(self.runtime, change_id, actor, verdict, reason)

    async def explain_calendar(self, about: str, at: str | None, actor: Actor) -> Explanation:
        """Say whether something may begin at a moment, and why."""
        return await explain(self.runtime, about, at, actor)

    def held_up(self, change: Change) -> tuple[Holding, ...]:
        """Return the freezes that hold a change up now, and that somebody may let it through."""
        return held_up(self.runtime, change)

    def may_override(self, change_id: str, person: str, freeze: str) -> None:
        """Return when that person may let that change through that freeze; raise in words when not."""
        refuse_override(self.runtime, self.runtime.store.change(change_id), person, freeze)

    async def override(self, change_id: str, actor: Actor, freeze: str, reason: str) -> Change:
        """Let one change of somebody else through a freeze, and wake its run if that lets it begin."""
        change = override(self.runtime, change_id, actor, freeze, reason)
        if is_ready(change, self.runtime.clock()):
            self._in_background(self._bell.ring(change), change)
        return change

    async def change(self, change_id: str) -> Change:
        """Return one change."""
        return self.runtime.store.change(change_id)

    async def changes(self, states: tuple[State, ...] = (), limit: int = 50) -> tuple[Change, ...]:
        """Return the newest changes."""
        return self.runtime.store.changes(states, limit)

    async def waiting_for(self, person: str) -> tuple[Change, ...]:
        """Return the changes that wait for that person's decision now, the newest first."""
        waiting = self.runtime.store.changes((State.WAITING, State.APPLYING), limit=10_000)
        return tuple(change for change in waiting if self.waits_for(change, person))

    def waits_for(self, change: Change, person: str) -> bool:
        """Say whether the change waits for that person's decision now."""
        gate = change.open_gate.name if change.open_gate else PLAN
        if not _waits_at(change, gate) or change.terms is None or change.digest is None:
            return False
        decisions = self.runtime.store.decisions(change.id)
        if person in standing(decisions, gate=gate, digest=change.digest):
            return False
        people, now = self.runtime.config.people, self.runtime.clock()
        try:
            # Whoever may decide by another door than this one is waited for all the same.
            door = next(iter(change.terms.doors), "")
            may_decide(change, people, person, gate=gate, decisions=decisions, at=now, door=door)
        except PolicyError:
            return False
        return True

    async def journal(self, change_id: str) -> tuple[JournalEntry, ...]:
        """Return the state of each step."""
        return self.runtime.store.journal(change_id)

    async def decisions(self, change_id: str) -> tuple[Decision, ...]:
        """Return who decided what."""
        return self.runtime.store.decisions(change_id)

    async def events(self, change_id: str | None, after: int = 0, wait: float = 0) -> tuple[RecordedEvent, ...]:
        """Return what happened after that place in the ledger; with `wait`, up to that many seconds for something."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while True:
            news: asyncio.Future[None] = loop.create_future()
            self._waiting.add(news)
            try:
                # Registered before reading, so that what is recorded from here on wakes this waiter in any case.
                found = self.runtime.store.events(after=after, change=change_id)
                left = deadline - loop.time()
                if found or left <= 0:
                    return found
                await asyncio.wait((news,), timeout=left)
            finally:
                self._waiting.discard(news)

    def _wake(self) -> None:
        for news in self._waiting:
            if not news.done():
                news.set_result(None)

    async def usb(self, host: str | None = None) -> tuple[Host, ...]:
        """Return the hosts with their USB devices, or one of them."""
        scope = Scope(hosts=(host,), usb=True) if host else Scope(all_hosts=True, usb=True)
        site = await self.runtime.estate.read(scope)
        return (site.host(host),) if host else site.hosts

    async def census(
        self, hosts: tuple[str, ...] = (), *, shells: bool = True
    ) -> AsyncGenerator[Progress | Census, None]:
        """Yield how far the reading is, then the census; nothing is filed. Whoever stops listening ends the reading."""
        loop, news, stop = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
        newest = Progress(0, 0)

        def tell(told: Progress) -> None:
            nonlocal newest
            newest = told
            news.set()

        def read() -> Census:
            def progress(done: int, total: int) -> None:
                loop.call_soon_threadsafe(tell, Progress(done, total))

            survey = self.runtime.estate.survey
            return take_census(survey.read(hosts, shells=shells, progress=progress, stop=stop))

        def ended(one: asyncio.Future[Census]) -> None:
            if not one.cancelled():
                one.exception()  # it is raised below, if anybody still listens
            news.set()

        reading = asyncio.ensure_future(self.runtime.estate.in_thread(read))
        reading.add_done_callback(ended)
        try:
            while not reading.done():
                await news.wait()
                news.clear()
                yield newest
            yield await reading
        finally:
            stop.set()

    def person_of_token(self, token: str) -> str | None:
        """Return whose personal token that is."""
        return self.runtime.store.person_of_token(token)

    async def evidence(self, change_id: str) -> Path:
        """Return the change's evidence file."""
        change = self.runtime.store.change(change_id)
        path = evidence_file(self.runtime.home, change_id)
        if not path.exists():
            raise UnknownNameError(
                f"There is no evidence file of {change_id} yet.",
                hint=f"It is written when a change ends; {change_id} is {change.state}.",
                subject=change_id,
            )
        return path

    def _in_background(self, call: Any, change: Change) -> None:
        """Ring without waiting: what is decided stands in our tables, and the clockwork rings again if this fails."""

        async def ring() -> None:
            try:
                await call
            except PassgateError as error:
                log.warning("%s: %s", change.id, error.message)
            except Exception:
                log.exception("%s could not be woken; the clockwork tries again", change.id)

        task = asyncio.create_task(ring())
        self._ringing.add(task)
        task.add_done_callback(self._ringing.discard)
