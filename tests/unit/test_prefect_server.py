"""Prefect's server may not stand still because its event loop waits for a connection that waits for the loop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BLOCKADE = """
import gc, sqlite3, sys, threading, time
from passgate.engine.prefect_server import collect_beside

def connection(timeout=0):
    return sqlite3.connect(sys.argv[1], timeout=timeout, isolation_level=None, check_same_thread=False)

holder, waiter = connection(), connection(timeout=3)
holder.execute("pragma journal_mode = wal")
holder.execute("create table t (n)")
if sys.argv[2] == "beside":
    collect_beside()
gc.collect()
holder.execute("begin immediate")
rubbish = [waiter.execute("values (1), (2)")]  # not read to its end, as where a statement failed
next(rubbish[0])
rubbish.append(rubbish)
said = []

def write():
    try:
        waiter.execute("insert into t values (3)")
        said.append("written")
    except sqlite3.OperationalError as error:
        said.append(str(error))

writing = threading.Thread(target=write)
writing.start()
time.sleep(0.5)  # it waits for the lock now
del rubbish
kept = [[] for _ in range(200_000)]  # what the loop does next: in the end its garbage is collected
holder.execute("commit")
writing.join()
print(said[0])
"""


@pytest.mark.parametrize(("collected", "said"), [("in the loop", "database is locked"), ("beside", "written")])
def test_garbage_of_a_waiting_connection_does_not_hold_up_who_has_the_lock(
    tmp_path: Path, collected: str, said: str
) -> None:
    """The first case shows the fault, so that the second is known to be about it."""
    words = [sys.executable, "-c", BLOCKADE, str(tmp_path / "test.db"), collected]
    told = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert told.stdout.strip() == said, told.stderr
