"""Share the guest under QEMU, which is dear to boot: one for all tests that ask for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.independent.guest_of_qemu import Guest, booted


@pytest.fixture(scope="session")
def linux(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """Boot the guest once for the whole test run."""
    with booted(tmp_path_factory.mktemp("guest")) as guest:
        yield guest
