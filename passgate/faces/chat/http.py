"""Take what Slack sends by signed HTTP, where it does not come over the socket: stored, acknowledged, worked on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from passgate.connect.slack.signed import MAX_BODY
from passgate.connect.slack.socket import guarded
from passgate.errors import AuthenticationError, InputError

if TYPE_CHECKING:
    from passgate.connect.slack import Envelope, Reply
    from passgate.connect.slack.signed import SignedRequests

PATH = "/slack"
"""One address for all: interactivity, slash commands and events of the app's settings."""

log = logging.getLogger(__name__)

Take = Callable[["Envelope"], Awaitable["Reply"]]


def slack_route(signed: SignedRequests, take: Take) -> Route:
    """Return the route; what it answers is the acknowledgement, with what goes back in it."""

    async def receive(request: Request) -> Response:
        try:
            body = await _body(request)
            # The memory of signatures is in the database, so this waits for its writer.
            envelope = await asyncio.to_thread(signed.envelope, request.headers, body)
        except AuthenticationError as error:
            log.warning("%s", error.message)
            return PlainTextResponse("not Slack's, or not new", status_code=401)
        except InputError as error:
            log.warning("%s", error.message)
            return PlainTextResponse("can't be read", status_code=400)
        except ClientDisconnect:
            return Response(status_code=400)
        if envelope.payload.get("type") == "url_verification":
            return PlainTextResponse(str(envelope.payload.get("challenge", "")))
        try:
            reply = await take(envelope)
        except Exception:
            log.exception("A delivery from Slack could not be stored, so it is not acknowledged")
            return PlainTextResponse("could not be stored", status_code=503)
        then = BackgroundTask(guarded, reply.then) if reply.then else None
        return JSONResponse(reply.payload, background=then) if reply.payload else Response(background=then)

    return Route(PATH, receive, methods=["POST"])


async def _body(request: Request) -> bytes:
    size, chunks = 0, []
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            raise InputError("A request to the address for Slack is too large.", subject="body")
        chunks.append(chunk)
    return b"".join(chunks)
