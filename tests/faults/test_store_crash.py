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
