"""Share what is dear: one house for all tests that need Passgate whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.house import House, running_house


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all tests that use the house in one process, so that one Prefect server serves them."""
    for item in items:
        if "whole_house" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("house"))


@pytest.fixture(scope="session")
def whole_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Run one Passgate for the whole test run."""
    with running_house(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture
def house(whole_house: House) -> House:
    """Lend the house with a fresh lab world and nothing under way."""
    whole_house.up()
    whole_house.restart_world()
    return whole_house
