"""Open the doors of a workshop that lead to other processes: HTTP for command lines, and signed requests from Slack.

Apart from `tests/workshop.py`, because what the service is made of takes seconds to import.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from passgate.faces.cli.client import URL_FILE
from passgate.faces.service import Role, answering, chatting
from tests.workshop import Workshop


@contextlib.contextmanager
def opened(workshop: Workshop) -> Iterator[None]:
    """Answer HTTP and Slack as the service does: for command lines, which are their own processes, and for clicks."""
    stack = contextlib.AsyncExitStack()

    async def open_doors() -> str:
        role = Role(workshop.runtime)
        role.chat = await stack.enter_async_context(chatting(workshop.runtime, workshop.desk))
        url = await stack.enter_async_context(answering(workshop.runtime, workshop.desk, role))
        assert role.chat is not None
        # Of chat's work that on clicks alone: what it tells people is no door.
        stack.callback(asyncio.create_task(role.chat._clicks.inbox.run()).cancel)
        return url

    (workshop.home / URL_FILE).write_text(workshop.run(open_doors()), encoding="utf-8")
    try:
        yield
    finally:
        workshop.run(stack.aclose())
