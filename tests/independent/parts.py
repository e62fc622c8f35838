"""Say where the parts that others wrote are kept, what becomes of a test without its part, and wait for them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

T = TypeVar("T")

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "passgate-tests"
"""What is built or fetched once for many runs of the tests."""


def missing(what: str, how: str) -> NoReturn:
    """Skip, or fail where CI says that all parts must be there; `how` says what to install."""
    reason = f"{what}; {how} to run these tests"
    if os.environ.get("PASSGATE_REQUIRE_PARTS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def until(look: Callable[[], T | None], what: str, seconds: float = 30.0, pause: float = 0.05) -> T:
    """Return what `look` finds, once it is something, looking at each pause; the test fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() > deadline:
            pytest.fail(f"Waited {seconds:.0f} s in vain for {what}.")
        time.sleep(pause)
    return found
