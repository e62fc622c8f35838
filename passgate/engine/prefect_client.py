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

FIRST_WAIT, LONGEST_WAIT = 0.05, 0.5
"""Seconds before the second try, and the most before any other; each wait is twice as long as the one before."""
UNCOUNTED = 20
"""Refusals that are not counted among the six tries of Prefect's client: under load its SQLite is busy for seconds."""
TRIES = "passgate.tries"


@asynccontextmanager
async def shared_client() -> AsyncIterator[PrefectClient]:
    """Open the client; Prefect's own `get_client()` finds it from here on."""
    async with AsyncClientContext() as context:
        # Not by `httpx_settings`: Prefect hands the shared client only to those who ask with the very same settings.
        context.client._client.event_hooks = {"response": [_again_soon]}  # noqa: SLF001 - for want of another way in
        yield context.client


async def _again_soon(answer: httpx.Response) -> None:
    """Say when a request that was refused for the moment may be repeated; the client goes by these headers."""
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        tries = answer.request.extensions.get(TRIES, 0)
        answer.request.extensions[TRIES] = tries + 1
        answer.headers.setdefault("Retry-After", str(min(FIRST_WAIT * 2**tries, LONGEST_WAIT)))
        if tries < UNCOUNTED:
            answer.headers["Prefect-Maintenance"] = "true"  # how Prefect's own cloud says: try again, uncounted
