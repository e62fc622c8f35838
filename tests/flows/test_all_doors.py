"""Promise: whatever anybody does at whatever door, the lab is told to change nothing that was not approved."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from passgate.engine.authority import ENGINE
from passgate.engine.beginning import LEASE, begin
from passgate.engine.carrying import Attempt, Carrying
from passgate.engine.course import go_on
from passgate.engine.gate import settle
from passgate.errors import PassgateError
from passgate.model.change import State
from tests.doors import APPROVE_WITHIN, TARGETS, Asked, Doors, Time
from tests.house import House, now, until
from tests.workshop import Asleep, HandRun, Workshop, open_workshop

ROUNDS = 6
FEW = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
    print_blob=False,
)


class Thieves(Doors):
    """The doors of an engine without Prefect, with thieves inside its own process, and a clock that is set."""

    house: Workshop

    @rule(asked=Doors.changes)
    def ring(self, asked: Asked) -> None:
        """Wake a run, as Prefect's resume, retry or forced state does."""
        self.house.run(self.house.bell.ring(self.change(asked)))
        self.rest()

    @rule(asked=Doors.changes)
    def call_the_flow(self, asked: Asked) -> None:
        """Run a change's course directly, beside its own run."""
        with contextlib.suppress(PassgateError, Asleep):
            self.house.run(go_on(self.house.runtime, self.change(asked), HandRun()))
        self.rest()

    @rule(asked=Doors.changes)
    def steal(self, asked: Asked) -> None:
        """Take the leases of a change and carry its steps out, past gate, bell and course."""
        runtime, change = self.house.runtime, self.change(asked)
        if change.plan is None:
            return
        with contextlib.suppress(PassgateError):
            tokens = runtime.store.take_leases(change.id, change.plan.resources, LEASE, self.time.now)
            runtime.store.begin_journal(change.id, change.plan.steps)
            carrying = Carrying(runtime, change.id, change.plan, tokens)
            for planned in change.plan.steps:
                with contextlib.suppress(PassgateError):
                    self.house.run(carrying.step(planned, Attempt()))
        runtime.store.give_leases_back(change.id, self.time.now)

    @rule(asked=Doors.changes, state=st.sampled_from((State.APPROVED, State.APPLYING, State.DONE)))
    def force(self, asked: Asked, state: State) -> None:
        """Begin a change whatever it is, and push its state on where the store lets anybody."""
        runtime = self.house.runtime
        with contextlib.suppress(PassgateError):
            self.house.run(begin(runtime, self.change(asked)))
        if state is State.APPROVED:
            with contextlib.suppress(PassgateError):
                runtime.store.move(asked.id, state, ENGINE, "forced", self.time.now)
            self.house.run(self.house.bell.ring(self.change(asked)))
        self.rest()

    @rule(hours=st.sampled_from((0.1, 3.9, 4.1, 8.1)))
    def wait(self, hours: float) -> None:
        """Let time pass, and the clockwork look."""
        self.time.now += timedelta(hours=hours)
        for asked in self.known.values():
            settle(self.house.runtime, self.change(asked))
        self.rest()


@pytest.fixture(scope="module", name="clocked")
def _clocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workshop, Time]]:
    time = Time(now())
    with open_workshop(tmp_path_factory.mktemp("doors") / "home", clock=time) as workshop:
        yield workshop, time


def test_no_call_reaches_the_lab_without_an_approval_whoever_knocks_where(clocked: tuple[Workshop, Time]) -> None:
    """R1, R5, R6, R7, R11: valid, unexpired, sufficient and bound to the plan; the lab's log is the judge."""
    workshop, time = clocked
    Doors.acted = 0
    for _ in range(ROUNDS):  # by chance a round may hold no change that enough people approved in time
        run_state_machine_as_test(lambda: Thieves(workshop, time), settings=FEW)
        if Doors.acted:
            break
    assert Doors.acted > 0, "nothing was ever let through: the doors are all walls"


FORCED = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED", "RUNNING", "PENDING", "SCHEDULED", "PAUSED")


class Strangers(Doors):
    """The doors of a whole Passgate, with strangers at Prefect's API, and a power cut now and then."""

    def __init__(self, house: House) -> None:
        super().__init__(house, Time(now()))

    def rest(self) -> None:
        """Let the runs fall asleep or end; where a stranger forced a state, the books may say anything."""
        for asked in self.known.values():
            with contextlib.suppress(AssertionError):
                until(lambda one=asked: self._sleeps(one), f"the run of {asked.id} rests", within=10)

    def _sleeps(self, asked: Asked) -> bool:
        change = self.change(asked)
        return change.state.is_end or self.house.run_state(change) not in {"Running", "Pending", "Scheduled"}

    @rule(asked=Doors.changes)
    def resume(self, asked: Asked) -> None:
        """Press Resume in Prefect's page."""
        self._at_prefect(asked, "resume", run_input={"approved": True})

    @rule(asked=Doors.changes, state=st.sampled_from(FORCED))
    def force(self, asked: Asked, state: str) -> None:
        """Force a state, as Prefect's page does for Retry and Change state."""
        self._at_prefect(asked, "set_state", state={"type": state, "message": "approved"}, force=True)

    @rule(asked=Doors.changes)
    def edit_the_books(self, asked: Asked) -> None:
        """Write into a run's row that it is approved, and by whom."""
        run = self.change(asked).flow_run
        if run:
            said = {"tags": ["passgate", "approved"], "parameters": {"vm": asked.vm, "reason": "approved by bob"}}
            self.house.prefect("PATCH", f"/flow_runs/{run}", **said)

    @rule(vm=st.sampled_from(sorted(TARGETS)))
    def run_by_hand(self, vm: str) -> None:
        """Press Run on the deployment: it files a change like any other door, for a requester that nobody knows."""
        known = {one.id for one in self.house.store.changes()}
        found = self.house.prefect("GET", "/deployments/name/usb-controller-add/usb-controller-add").json()
        body = {"parameters": {"vm": vm, "kind": TARGETS[vm][1], "reason": "by hand"}}
        self.house.prefect("POST", f"/deployments/{found['id']}/create_flow_run", **body)
        with contextlib.suppress(AssertionError):
            until(lambda: {one.id for one in self.house.store.changes()} > known, "a change is filed", within=10)
        for change in self.house.store.changes():
            if change.id not in known:
                self.known[change.id] = Asked(change.id, vm, "prefect", change.created_at + APPROVE_WITHIN)
        self.rest()

    @precondition(lambda self: len(self.known) > 1)
    @rule()
    def cut_the_power(self) -> None:
        """Kill the service, and start it anew."""
        self.house.kill_service()
        self.house.up()
        self.rest()

    def _at_prefect(self, asked: Asked, act: str, **body: object) -> None:
        run = self.change(asked).flow_run
        if run:
            self.house.prefect("POST", f"/flow_runs/{run}/{act}", **body)
        self.rest()


LONG = settings(FEW, max_examples=2, stateful_step_count=15)


def test_no_call_reaches_the_lab_whatever_strangers_do_at_prefect(house: House) -> None:
    """R1, R5, R7, R11, R32: run, retry, resume, forced states, edited books and power cuts are no approvals."""
    Doors.acted = 0
    run_state_machine_as_test(lambda: Strangers(house), settings=LONG)
