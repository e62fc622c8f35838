"""Say where the parts that others wrote are kept, and what becomes of a test whose part is not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "passgate-tests"
"""What is built or fetched once for many runs of the tests."""


def missing(what: str, how: str) -> NoReturn:
    """Skip, or fail where CI says that all parts must be there; `how` says what to install."""
    reason = f"{what}; {how} to run these tests"
    if os.environ.get("PASSGATE_REQUIRE_PARTS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
