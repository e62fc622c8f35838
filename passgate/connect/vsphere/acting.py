"""Send mutating calls: each asks for authority as the last thing before it goes out, and its task is waited for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from passgate.connect.vsphere.session import Session
from passgate.connect.vsphere.waiting import wait_for_task
from passgate.errors import NotAuthorizedError

Authorize = Callable[[str, str], None]
TASK = timedelta(minutes=5)
"""How long a task is waited for; it goes on when we no longer wait."""


def refuse(action: str, subject: str) -> None:
    """Refuse every mutating call: what connectors for reading are made with."""
    raise NotAuthorizedError(
        f"{action} on {subject} was not sent: nothing here has the authority to change anything.",
        hint="File a change; it is carried out once policy is met.",
        subject=subject,
    )


class Acting:
    """Base of the connectors that change something through one session.

    `authorize(action, resource)` is called as the last thing before each mutating call is sent; `action` is the name of
    the method, `resource` what it changes (`vm:vm-7`, `host:host-3`).
    """

    def __init__(self, session: Session, authorize: Authorize = refuse, *, task_within: timedelta = TASK) -> None:
        self._session = session
        self._authorize = authorize
        self._task_within = task_within

    def _send(
        self, action: str, resource: str, target: Any, start: Callable[[Any], Any], *, doing: str, subject: str
    ) -> Any:
        """Ask for authority, send `start(target)`, and return what was started."""

        def send(_: Any) -> Any:
            self._authorize(action, resource)
            return start(target)

        return self._session.call(doing, subject, send)

    def _await(self, task: Any, *, doing: str, subject: str, vm: Any = None, within: timedelta | None = None) -> None:
        """Wait until the task has ended well; with `vm`, a question of that VM ends the wait too."""
        seconds = (self._task_within if within is None else within).total_seconds()
        wait_for_task(self._session, task, vm, seconds, doing=doing, subject=subject)
