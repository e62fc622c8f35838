"""The client to Prefect's server, over real HTTP, against a server that is busy for a moment or fails."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import prefect
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from passgate.engine.prefect_client import TRIES, shared_client
from passgate.engine.worker import WarmWorker

REFUSALS = 7
"""More than the six tries of Prefect's client."""


class _Busy(BaseHTTPRequestHandler):
    """Answers as Prefect's server does whose SQLite is busy: 503, without saying when to come again."""

    refused = 0

    def do_GET(self) -> None:
        is_busy = self.path == "/api/hello" and type(self).refused < REFUSALS
        is_broken = self.path.startswith("/api/deployments/")
        type(self).refused += is_busy
        body = json.dumps(prefect.__version__).encode()
        self.send_response(503 if is_busy else 500 if is_broken else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Write no access log."""


@pytest.fixture
def busy_server() -> Iterator[str]:
    """Run the server."""
    _Busy.refused = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), _Busy) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()
        thread.join()


async def test_what_a_busy_server_refused_is_repeated_soon(busy_server: str) -> None:
    """Prefect's client alone would wait 2, 4 and 8 s; nothing of a change may hang on that."""
    with temporary_settings({PREFECT_API_URL: busy_server}):
        async with asyncio.timeout(10), shared_client() as client:
            answer = await client.hello()
    assert answer.status_code == 200
    assert _Busy.refused == REFUSALS
    assert answer.request.extensions[TRIES] == REFUSALS


async def test_all_of_the_process_shares_the_one_client(busy_server: str) -> None:
    """Bell, worker and runs ask Prefect for a client, and get this one: one pool of connections, one patience."""
    _Busy.refused = REFUSALS
    with temporary_settings({PREFECT_API_URL: busy_server}):
        async with shared_client() as client:
            assert get_client() is client
            async with get_client() as again:
                await again.hello()
            assert (await client.hello()).status_code == 200


async def test_a_run_that_can_not_be_taken_up_is_let_go(busy_server: str) -> None:
    """The server fails where a run's deployment is read: the worker goes on, and the run can be taken up again."""
    run = FlowRun(flow_id=uuid4(), deployment_id=uuid4())
    with temporary_settings({PREFECT_API_URL: busy_server}):
        async with shared_client() as client:
            worker = WarmWorker(name="test")
            worker._client = client
            worker._submitting_flow_run_ids.add(run.id)
            await worker._submit_run(run)
    assert not worker.has(run.id)
