"""Write into Passgate's database behind its back: what was approved is what runs, or nothing does.

These tests have a ledger of their own, which does not hold afterwards: that is its purpose.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from passgate.engine.beginning import begin
from passgate.engine.carrying import Attempt
from passgate.engine.ending import end
from passgate.engine.filing import file_change
from passgate.engine.runtime import Runtime
from passgate.errors import NotAuthorizedError
from passgate.ledger.verify import Finding
from passgate.model.change import State
from tests.contract.vsphere_places import Place, lab
from tests.engine_room import ALICE, approved, begun, engine_on

ASK = {"vm": "win-01", "force_off": True}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Run the lab's vCenter."""
    with lab(tmp_path) as opened:
        yield opened


@pytest.fixture
def runtime(place: Place, tmp_path: Path) -> Iterator[Runtime]:
    """Open a runtime on it."""
    with engine_on(place, tmp_path / "home") as opened:
        yield opened


async def test_a_plan_that_was_changed_is_not_carried_out(runtime: Runtime, place: Place) -> None:
    """An approval is bound to a digest: a stored plan that is another one voids the change."""
    change = await approved(runtime, "usb-controller-add", ASK)
    sql(runtime, "update changes set plan = replace(plan, 'win-01', 'win-02') where id = ?", change.id)

    ended = await begin(runtime, runtime.store.change(change.id))

    assert ended is not None
    assert (ended.state, "not the one that was approved" in ended.outcome) == (State.VOID, True)
    assert touched(place) == []


async def test_a_plan_that_was_changed_in_the_middle_goes_no_further(runtime: Runtime, place: Place) -> None:
    """The digest is compared before each mutating call, not only at the start."""
    carrying = await begun(runtime, await approved(runtime, "usb-controller-add", ASK))
    sql(runtime, "update changes set plan = replace(plan, 'win-01', 'win-02') where id = ?", carrying.change)

    with pytest.raises(NotAuthorizedError, match="not the one whose digest was approved"):
        await carrying.step(carrying.plan.steps[0], Attempt())

    assert touched(place) == []


async def test_a_change_that_was_moved_on_has_no_authority(runtime: Runtime, place: Place) -> None:
    """State `approved` alone is worth nothing: the decisions are counted before each mutating call."""
    change = await file_change(runtime, "usb-controller-add", ASK, ALICE)
    sql(runtime, "update changes set state = 'approved' where id = ?", change.id)
    carrying = await begun(runtime, runtime.store.change(change.id))

    with pytest.raises(NotAuthorizedError, match="not approved"):
        await carrying.step(carrying.plan.steps[0], Attempt())
    await carrying.take_back()
    ended = await end(runtime, runtime.store.change(change.id), "it was not approved.", carrying.tokens)

    assert touched(place) == []
    assert ended.state in {State.STOPPED, State.UNDONE}
    finding = runtime.store.verify()
    assert isinstance(finding, Finding)
    assert "the change was waiting" in finding.words


def sql(runtime: Runtime, statement: str, *values: object) -> None:
    """Write into the database, as somebody with the file could."""
    with contextlib.closing(sqlite3.connect(runtime.home / "passgate.db", timeout=10)) as database, database:
        database.execute(statement, values)


def touched(place: Place) -> list[str]:
    """Return the mutating calls that the lab took."""
    return [one.method for one in place.world.mutations if one.wire == "soap"] if place.world else []
