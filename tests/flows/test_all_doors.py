"""Promise: whatever anybody does at whatever door, the lab is told to change nothing that was not approved."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from tests.doors import APPROVE_WITHIN, TARGETS, Asked, Doors, Time
from tests.house import House, now, until
from tests.open_doors import opened
from tests.oracle import Freeze
from tests.thieves import Thieves, configured
from tests.workshop import open_workshop

FEW = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
    print_blob=False,
)


SAME = settings(FEW, max_examples=4, stateful_step_count=30, derandomize=True)
"""The same examples at each run: what fails has failed before, and nothing hangs on chance."""


@pytest.fixture(scope="module")
def clocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Thieves]]:
    """Make thieves, who share a workshop."""
    time = Time(now())
    freeze = Freeze(first=time.now.replace(second=0, microsecond=0))
    home = tmp_path_factory.mktemp("doors") / "home"
    with open_workshop(home, lambda config: configured(config, freeze), time) as workshop, opened(workshop):
        yield lambda: Thieves(workshop, time, freeze)


@pytest.mark.timeout(300)
def test_no_call_reaches_the_lab_without_an_approval_whoever_knocks_where(clocked: Callable[[], Thieves]) -> None:
    """R1, R5, R6, R7, R9, R11, R14, R34: valid, unexpired, sufficient, bound to the plan; the lab's log judges.

    Each example lets two changes through before anything else, so that the doors are no walls.
    """
    run_state_machine_as_test(clocked, settings=SAME)


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
