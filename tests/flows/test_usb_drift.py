"""Find drift on the lab, and file what mends it, once and through its own gate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from passgate.model.change import Change, EventType, State
from tests.house import House, until
from tests.workshop import Workshop, open_workshop

MENDING = """
rules:
  - name: mend-drift
    runbooks: [usb-drift]
    requesters: [alice]
    mends: true
"""


@pytest.fixture(scope="module")
def mending(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Run a workshop whose policy lets Alice's drift be mended."""

    def let_it(config: Path) -> None:
        (config / "policies/06-mend.yaml").write_text(MENDING, encoding="utf-8")

    with open_workshop(tmp_path_factory.mktemp("mending") / "home", let_it) as found:
        yield found


def compared(room: House, person: str = "alice") -> tuple[Change, str]:
    """Compare with the declaration as that person; return the change and what was said of mending."""
    change = room.ends(room.request(person, "usb-drift", vm=None, device=None, mend=True))
    assert change.state is State.DONE, change.outcome
    until(lambda: bool(room.store.events_of(change.id, EventType.MENDS)), "what became of the mends is recorded")
    return change, str(room.store.events_of(change.id, EventType.MENDS)[0].data["why"])


def test_drift_is_mended_once_and_by_who_asked(mending: Workshop) -> None:
    """R1: the stick is free and belongs to win-01: one usb-attach, which Alice can't approve; the next files none."""
    room = mending
    found, said = compared(room)
    assert "usb-attach --device backup-stick --vm win-01: filed as" in said
    (mend,) = [one for one in room.store.changes() if one.runbook == "usb-attach"]
    assert mend.requester.person == "alice"
    assert found.id in mend.reason
    assert mend.state is State.WAITING
    assert room.decide("alice", mend).status_code == 403
    assert not room.touched()

    _, again = compared(room)
    assert f"{mend.id} is open already" in again
    assert len([one for one in room.store.changes() if one.runbook == "usb-attach"]) == 1

    assert room.decide("bob", mend).status_code == 200
    assert room.ends(mend).state is State.DONE
    done = room.ends(room.request("alice", "usb-drift", vm=None, device=None, mend=True))
    assert "no drift" in room.store.journal(done.id)[0].saw


def test_nothing_is_filed_where_policy_does_not_say_so(mending: Workshop) -> None:
    """The rule is Alice's alone; as shipped nobody's."""
    room = mending
    room.restart_world()
    _, said = compared(room, "dave")
    assert "no rule of the policy lets drift be mended" in said
    assert all(one.state.is_end for one in room.store.changes() if one.runbook == "usb-attach")
