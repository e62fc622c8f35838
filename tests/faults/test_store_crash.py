"""Promise: any process may die at any moment, and several write at once; the ledger stays whole (DESIGN, promise 5)."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from passgate.ledger.verify import Proven
from tests.record_story import open_store

WRITER = """
import sys
from pathlib import Path
from tests.record_story import open_store, whole_change
store = open_store(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    whole_change(store)
"""
EXPIRER = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from passgate.store.expiring import Expiry
from tests.record_story import AT, ENGINE, open_store, waiting_change

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def expire(store):
    late = Expiry("too late", "too late")
    return store.expire(ids, lambda change, _: late if change.state == "waiting" else None, ENGINE, AT)

def dies_at(statement):
    store, seen = open_store(folder), []
    def note(*_):
        seen.append(1)
        if len(seen) == statement:
            die()
    event.listen(store._database.engine, "before_cursor_execute", note)
    store._anchors.append = die
    expire(store)

folder = Path(sys.argv[1])
store = open_store(folder)
ids = [waiting_change(store).id for _ in range(5)]
store.close()
for statement in range(5, 100, 3):
    if os.fork() == 0:
        dies_at(statement)
    assert os.wait()[1] == signal.SIGKILL
    store = open_store(folder)
    print(statement, store.counts(), type(store.verify()).__name__, flush=True)
    over = not store.counts().get("waiting")
    store.close()
    if over:
        break
store = open_store(folder)
print("again", expire(store), type(store.verify()).__name__)
"""
ROOT = Path(__file__).parents[2]


def writer(folder: Path, changes: int) -> subprocess.Popen[bytes]:
    """Start a process that carries out changes, one after another."""
    return subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(changes)], cwd=ROOT)


def test_a_killed_writer_leaves_a_ledger_that_verifies_and_goes_on(tmp_path: Path) -> None:
    """Kill -9 in the middle of writing loses nothing that was committed, and the next one goes on."""
    store = open_store(tmp_path)
    for _ in range(2):
        process, before = writer(tmp_path, 10_000), len(store.events(limit=100_000))
        while len(store.events(limit=100_000)) < before + 20:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
        found = store.verify()
        assert isinstance(found, Proven), found


def test_three_writers_never_fork_the_chain(tmp_path: Path) -> None:
    """Three processes that write at once make one chain, with every change in it."""
    store = open_store(tmp_path)
    for process in [writer(tmp_path, 3) for _ in range(3)]:
        assert process.wait(100) == 0
    assert isinstance(store.verify(), Proven)
    assert len(store.changes()) == 9


def test_many_that_expire_together_do_so_whole_or_not_at_all(tmp_path: Path) -> None:
    """Kill -9 within their transaction leaves all of them waiting; right after it, all have expired, each once."""
    run = [sys.executable, "-c", EXPIRER, str(tmp_path)]
    said = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True, timeout=100).stdout.splitlines()
    *inside, after, again = (line.split(" ", 1)[1] for line in said)
    assert len(inside) >= 3
    assert set(inside) == {"{'waiting': 5} Proven"}
    assert (after, again) == ("{'expired': 5} Proven", "() Proven")
