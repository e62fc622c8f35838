"""Open the one client to Prefect's server that all of this process shares: bell, worker, and the runs themselves.

On SQLite, Prefect's server answers 503 when two of its own writes meet: its transactions begin by reading, and SQLite
refuses the write of one that has read what another changed since. Prefect's client then waits 2 s, 4 s, 8 s, although
the way is free again at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.context import AsyncClientContext

FIRST_WAIT = 0.05
"""Seconds before the second try; each further wait is twice as long. Prefect's client tries six times in all."""
TRIES = "passgate.tries"


@asynccontextmanager
async def shared_client() -> AsyncIterator[PrefectClient]:
    """Open the client; Prefect's own `get_client()` finds it from here on."""
    async with AsyncClientContext() as context:
        # Not by `httpx_settings`: Prefect hands the shared client only to those who ask with the very same settings.
        context.client._client.event_hooks = {"response": [_again_soon]}  # noqa: SLF001 - for want of another way in
        yield context.client


async def _again_soon(answer: httpx.Response) -> None:
    """Say when a request that was refused for the moment may be repeated; the client goes by this header."""
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        tries = answer.request.extensions.get(TRIES, 0)
        answer.request.extensions[TRIES] = tries + 1
        answer.headers.setdefault("Retry-After", str(FIRST_WAIT * 2**tries))
