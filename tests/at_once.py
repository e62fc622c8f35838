"""Tell of a failure when it happens: whoever stops a long run, or has it stopped, knows what failed until then."""

from __future__ import annotations

import pytest


class TellsAtOnce:
    """Print the name and the report of each test that fails right when it does; the end of the run says it again."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print what failed."""
        if report.failed:
            self._terminal.write_line(f"\nFAILED ({report.when}) {report.nodeid}", red=True, bold=True)
            self._terminal.write_line(report.longreprtext)
