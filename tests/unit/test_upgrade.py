"""Promise: what waits, waits over restarts and upgrades, for as long as it takes, and is decided like any other.

`tests/upgrade` holds a database as the code before the second version of policies left it (schema 0002), with three
changes that wait, the key that signed its ledger, which signed nothing else, and the file of its signed heads. Written
by `passgate.engine.filing` of that time on the lab, then dumped by `sqlite3`'s `iterdump`.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from passgate.engine.clockwork import Clockwork
from passgate.ledger.verify import Proven
from passgate.model.change import State
from tests.doors import Time
from tests.workshop import Workshop, open_workshop

KEPT = Path(__file__).parents[1] / "upgrade"
FILED = datetime(2026, 11, 25, 14, 29, tzinfo=UTC)
"""When the changes were filed."""
LATER = datetime(2027, 1, 12, 10, 0, tzinfo=UTC)
"""More than thirty days later, on a Tuesday."""


@pytest.fixture(name="upgraded")
def _upgraded(tmp_path: Path) -> Iterator[Workshop]:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with closing(sqlite3.connect(home / "passgate.db")) as database:
        database.executescript((KEPT / "revision_0002.sql").read_text(encoding="utf-8"))
    for name in ("ledger.key", "anchors.log"):
        shutil.copy(KEPT / name, home / name)
        (home / name).chmod(0o600)  # git keeps no such mode
    with open_workshop(home, clock=Time(LATER)) as workshop:
        workshop.lab.control.rename_vm("win-02", "pair-02")
        yield workshop


def test_what_waited_before_an_upgrade_is_approved_and_carried_out_after_it(upgraded: Workshop) -> None:
    """R30: a wait of a month and a new schema change nothing: one vote given before counts, an expired one is told."""
    store = upgraded.store
    single, double, late = (store.change(f"CHG-{number:04}") for number in (1, 2, 3))
    assert {one.created_at.date() for one in (single, double, late)} == {FILED.date()}
    upgraded.run(Clockwork(upgraded.runtime, upgraded.bell).round())
    assert store.change(late.id).state is State.EXPIRED
    assert [store.change(one.id).state for one in (single, double)] == [State.WAITING] * 2

    assert upgraded.decide("bob", single).status_code == 200
    assert upgraded.decide("carol", double).status_code == 200
    ended = [upgraded.ends(one) for one in (single, double)]

    assert [one.state for one in ended] == [State.DONE, State.DONE], [one.outcome for one in ended]
    assert sorted(one.person for one in store.decisions(double.id)) == ["bob", "carol"]
    assert [one["object"] for one in upgraded.touched()] == ["lnx-02", "pair-02"]
    assert isinstance(store.verify(), Proven)
