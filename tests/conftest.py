"""Share what is dear: a house, for all tests of a process that need Passgate whole."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from xdist.remote import Producer  # type: ignore[import-untyped]  # it ships no types
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # it ships no types
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]  # it ships no types

from tests.at_once import TellsAtOnce
from tests.house import House, running_house
from tests.workshop import Workshop, open_workshop

settings.register_profile("passgate", deadline=None, phases=[one for one in Phase if one is not Phase.explain])
settings.load_profile("passgate")
"""No property is held to a time. Explaining failures traces each line before Python 3.12, many times slower."""

SHARED = {"linux: Guest": "guest"}
"""Fixture of the whole test run, as tests ask for it -> the process that all files with such tests run in."""
SECONDS = {"house: House": 5.0, "workshop: Workshop": 1.0}
"""What a test asks for -> about how long it takes then; all others are quick."""
QUICK = 0.2
LONG = re.compile(r"mark\.timeout\((\d+)\)")
"""What a file says of itself whose tests take longer than any other's."""


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # it ships no types
    """Run each file in one process, because its tests share labs, and all files that use the guest under QEMU in one.

    A house is a Prefect server and a service; each process that gets a file with tests for it starts one, once. With
    one house for all, its tests alone took longer than all others together (measured: 12 of 15 minutes).
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return shared_by(self.config.rootpath / file) or file

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Give out what takes longest first, so that no process is left alone with it at the end."""
        self.workqueue.move_to_end(max(self.workqueue, key=self._takes), last=False)
        super()._assign_work_unit(node)

    def _takes(self, scope: str) -> float:
        tests = self.workqueue[scope]
        file = self.config.rootpath / next(iter(tests)).partition("::")[0]
        return len(tests) * seconds_each(file)


@cache
def seconds_each(file: Path) -> float:
    """Return about how long a test in that file takes, by what the file asks for."""
    text = file.read_text(encoding="utf-8")
    asked = [seconds for what, seconds in SECONDS.items() if what in text]
    return max([*asked, *map(float, LONG.findall(text)), QUICK])


@cache
def shared_by(file: Path) -> str | None:
    """Return the process that tests in that file share with those of other files, if they do."""
    text = file.read_text(encoding="utf-8")
    return next((process for asked, process in SHARED.items() if asked in text), None)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Tell of failures at once, where there is a terminal to tell them on: not in a process of pytest-xdist."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if isinstance(terminal, pytest.TerminalReporter):
        config.pluginmanager.register(TellsAtOnce(terminal), "tells-at-once")


def pytest_collection_finish() -> None:
    """Look no more through what was imported and collected: each search for garbage would, in vain."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile | None:
    """Share the tests out by file where `--dist loadgroup` was asked for."""
    return ByFile(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.fixture(scope="session")
def whole_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Run one Passgate for all tests of this process."""
    with running_house(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture
def house(whole_house: House) -> House:
    """Lend the house with a fresh lab world and nothing under way."""
    whole_house.up()
    whole_house.restart_world()
    return whole_house


@pytest.fixture(scope="session")
def whole_workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Run one engine without Prefect for all tests of this process."""
    with open_workshop(tmp_path_factory.mktemp("workshop") / "home") as workshop:
        yield workshop


@pytest.fixture
def workshop(whole_workshop: Workshop) -> Workshop:
    """Lend the workshop with a fresh lab world and nothing under way."""
    whole_workshop.restart_world()
    return whole_workshop
