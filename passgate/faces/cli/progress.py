"""Show that something is waited for: a spinner on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from passgate.errors import WorldError

EVERY = 10.0
PATIENCE = 120.0
"""Seconds for anything to happen that nobody at the terminal has to do."""
LOOK_EVERY = 0.1

T = TypeVar("T")
Say = Callable[[str], None]


def until(look: Callable[[], T | None], what: str) -> T:
    """Look again and again until there is something, and return it. Raises WorldError when it takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        if time.monotonic() > deadline:
            raise WorldError(f"Waited {PATIENCE:.0f} s in vain until {what}.")
        time.sleep(LOOK_EVERY)
    return found


@contextmanager
def waiting(words: str) -> Iterator[Say]:
    """Tell on standard error what is waited for while the block runs; gives a function that changes the words."""
    with _spinning(words) if sys.stderr.isatty() else _telling(words) as say:
        yield say


@contextmanager
def _spinning(words: str) -> Iterator[Say]:
    from rich.console import Console

    with Console(stderr=True).status(words) as status:
        yield status.update


@contextmanager
def _telling(words: str) -> Iterator[Say]:
    over, started, said = threading.Event(), time.monotonic(), [words]

    def tell() -> None:
        while not over.wait(EVERY):
            print(f"  ... {said[0]}, {time.monotonic() - started:.0f} s so far", file=sys.stderr, flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield lambda now: said.__setitem__(0, now)
    finally:
        over.set()
        teller.join()
