"""Ask again for a change that came to nothing, on a lab: a new request follows where the world has changed (R34)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from passgate.engine.again import ask_again
from passgate.engine.authority import ENGINE
from passgate.engine.beginning import begin
from passgate.engine.runtime import Runtime
from passgate.errors import ConflictError, UnknownNameError
from passgate.faces.cli import words
from passgate.model.change import Actor, Change, Door, EventType, State
from tests.contract.vsphere_places import Place, lab
from tests.engine_room import ALICE, approved, begun, engine_on

DAVE = Actor(person="dave", door=Door.CLI)
ASK = {"vm": "win-01", "reason": "the licence dongle needs a port", "ticket": "T-7"}


@pytest.fixture(name="place")
def _place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "lab").mkdir()
    with lab(tmp_path / "lab") as place:
        yield place


@pytest.fixture(name="engine")
def _engine(tmp_path: Path, place: Place) -> Iterator[Runtime]:
    with engine_on(place, tmp_path / "home") as engine:
        yield engine


async def voided(place: Place, engine: Runtime) -> Change:
    """Return a change that is void because the VM was made anew under its name after the approval."""
    change = await approved(engine, "usb-controller-add", ASK)
    assert place.world is not None
    place.world.vm("win-01").instance_uuid = "5000aaaa-0000-0000-0000-000000000001"
    ended = await begin(engine, change)
    assert ended is not None
    assert ended.state is State.VOID
    return ended


async def test_a_new_request_follows_where_the_world_changed(place: Place, engine: Runtime) -> None:
    """R34: the words say the difference and how to ask again; the new change has its own plan, and names the old."""
    old = await voided(place, engine)
    assert "uuid was" in old.outcome
    assert "5000aaaa-0000-0000-0000-000000000001" in old.outcome
    assert words.again_lines(old.model_dump(mode="json")) == [
        f"  If it is still wanted, ask again: passgate again {old.id}"
    ]

    new = await ask_again(engine, old.id, DAVE)

    assert (new.replaces, new.requester, new.state) == (old.id, DAVE, State.WAITING)
    assert (new.ask, new.reason, new.ticket) == (old.ask, ASK["reason"], ASK["ticket"])
    assert new.digest != old.digest
    assert engine.store.decisions(new.id) == ()
    asked = next(one for one in engine.store.events(change=new.id) if one.type is EventType.REQUESTED)
    assert (asked.data["replaces"], asked.actor) == (old.id, DAVE)
    assert f"  In the place of {old.id}, which came to nothing" in words.change_lines(
        {"change": new.model_dump(mode="json")}
    )


async def test_it_is_asked_again_once_at_a_time(place: Place, engine: Runtime) -> None:
    """Two people who ask again for the same get one change; after that one came to nothing too, it may be asked for."""
    old = await voided(place, engine)
    new = await ask_again(engine, old.id, ALICE)
    with pytest.raises(ConflictError, match=f"{new.id} asks for what {old.id} asked for already"):
        await ask_again(engine, old.id, DAVE)
    engine.store.move(new.id, State.WITHDRAWN, ALICE, "not now", engine.clock())
    assert (await ask_again(engine, old.id, DAVE)).replaces == old.id


async def test_what_may_still_be_done_or_is_done_is_not_asked_again(engine: Runtime) -> None:
    """A change that waits or runs, one that is done, and one that never was: refused in words, nothing filed."""
    change = await approved(engine, "usb-controller-add", ASK)
    with pytest.raises(ConflictError, match="may still be done"):
        await ask_again(engine, change.id, ALICE)
    await begun(engine, change)
    engine.store.move(change.id, State.DONE, ALICE, "all is well", engine.clock())
    with pytest.raises(ConflictError, match="is done"):
        await ask_again(engine, change.id, ALICE)
    with pytest.raises(UnknownNameError):
        await ask_again(engine, "CHG-4711", ALICE)
    assert len(engine.store.changes()) == 1


async def test_a_moment_to_begin_that_is_over_is_not_asked_for_again(engine: Runtime) -> None:
    """It would be refused at the door, and is as good as none by now."""
    late = {**ASK, "not_before": (engine.clock() - timedelta(minutes=1)).isoformat()}
    old = await approved(engine, "usb-controller-add", late)
    engine.store.move(old.id, State.WITHDRAWN, ENGINE, "", engine.clock(), outcome="withdrawn")
    new = await ask_again(engine, old.id, DAVE)
    assert (old.ask["not_before"] is None, new.ask["not_before"]) == (False, None)
