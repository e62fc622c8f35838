"""Run `prefect server` with its garbage collected beside its event loop, not in it.

Measured with Prefect 3.8.8 on SQLite, under load: every fifth change or so waited 60 s for Prefect. A connection that
waits for SQLite's write lock holds its own mutex meanwhile, up to Prefect's busy_timeout of 60 s. When the event loop's
thread collects garbage, and a cursor of that connection is in it, the loop waits for that mutex; who holds the write
lock needs the loop to go on; and so all of Prefect stands still until the 60 s are over. Collected in a thread of its
own, only that thread waits.
"""

from __future__ import annotations

import gc
import sys
import time
from itertools import count
from threading import Thread

EVERY = 1.0
"""Seconds between two collections of what is new."""
OLDER, ALL = 10, 300
"""Every how many collections that of older objects is made, and that of all."""


def collect_beside() -> None:
    """Turn automatic collection off in this process, and collect in a thread instead."""
    gc.disable()
    Thread(target=_collect, name="garbage", daemon=True).start()


def _collect() -> None:
    for rounds in count(1):
        time.sleep(EVERY)
        gc.collect(2 if rounds % ALL == 0 else 1 if rounds % OLDER == 0 else 0)


def main() -> None:
    """Be the command `prefect server` with the arguments that were given."""
    collect_beside()
    from prefect.cli import app  # noqa: PLC0415 - it takes seconds, and who only wants the above needs none of it

    sys.argv[0] = "prefect"
    sys.argv.insert(1, "server")
    app()


if __name__ == "__main__":
    main()
