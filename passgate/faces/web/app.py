"""Make the service's HTTP API. The person always comes from the token, and no GET decides anything."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pydantic import Field
from pydantic_core import to_jsonable_python
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from passgate import __version__
from passgate.engine.calendar_desk import ABOUT
from passgate.engine.desk import Desk, Progress
from passgate.engine.steps import Runbook
from passgate.errors import (
    AuthenticationError,
    CheckFailedError,
    ConflictError,
    InputError,
    PassgateError,
    PolicyError,
    RecordError,
    UnknownNameError,
    WorldError,
)
from passgate.faces.web.body import body_of
from passgate.faces.web.reviews import ReviewApi
from passgate.faces.web.schedules import schedule_routes
from passgate.model.census import Census
from passgate.model.change import Actor, Door, State
from passgate.model.decision import PLAN, Verdict
from passgate.model.frozen import Frozen
from passgate.settings.loaded import Loaded
from passgate.settings.people import People

STATUS: dict[type[PassgateError], int] = {
    UnknownNameError: 404,
    InputError: 400,
    CheckFailedError: 422,
    AuthenticationError: 401,
    PolicyError: 403,
    WorldError: 502,
    ConflictError: 409,
    RecordError: 503,
}
"""HTTP status of each error; a class that is not listed takes that of its nearest base."""

DOOR_HEADER = "passgate-door"
MAX_WAIT = 30.0
MAX_CHANGES = 500
MAX_PATTERNS = 100

log = logging.getLogger(__name__)
Handler = Callable[[Request], Awaitable[Response]]


class PlanBody(Frozen):
    """Name a runbook and what it is asked."""

    runbook: str = Field(min_length=1, max_length=100)
    ask: dict[str, Any] = Field(default_factory=dict)


class DecisionBody(Frozen):
    """Hold a verdict. `digest` is the plan that the person saw; a change that moved on since then refuses it.

    `gate` is where it is given: on the plan as a whole, or at the second gate that the change has come to. A verdict
    for one never counts at another. `standing_until` lets an approval stand for later runs of a schedule.
    """

    verdict: Verdict
    reason: str = Field(default="", max_length=500)
    digest: str | None = Field(default=None, max_length=100)
    gate: str = Field(default=PLAN, max_length=64)
    standing_until: datetime | None = None


class RetractBody(Frozen):
    """Say why somebody takes their own decision back, and at which gate it was given."""

    reason: str = Field(default="", max_length=500)
    digest: str | None = Field(default=None, max_length=100)
    gate: str = Field(default=PLAN, max_length=64)


class OverrideBody(Frozen):
    """Name a freeze, and say why one change goes through it all the same."""

    freeze: str = Field(min_length=1, max_length=64)
    reason: str = Field(default="", max_length=500)


class WithdrawBody(Frozen):
    """Say why a change is taken back."""

    reason: str = Field(default="", max_length=500)


def make_app(desk: Desk, people: People) -> Starlette:
    """Return the application; `people` are those who may speak, beyond having a token."""
    api = Api(desk, people)
    reviews = ReviewApi(desk, api.actor, body_of)
    routes = [
        Route("/health", guarded(api.health)),
        Route("/v1/status", guarded(api.status)),
        Route("/v1/settings", guarded(api.settings)),
        Route("/v1/runbooks", guarded(api.runbooks)),
        Route("/v1/runbooks/{slug}", guarded(api.runbook)),
        Route("/v1/plans", guarded(api.plan), methods=["POST"]),
        Route("/v1/changes", guarded(api.changes)),
        Route("/v1/changes", guarded(api.request), methods=["POST"]),
        Route("/v1/changes/{id}", guarded(api.change)),
        Route("/v1/changes/{id}/decisions", guarded(api.decide), methods=["POST"]),
        Route("/v1/changes/{id}/retract", guarded(api.retract), methods=["POST"]),
        Route("/v1/changes/{id}/again", guarded(api.again), methods=["POST"]),
        Route("/v1/changes/{id}/withdraw", guarded(api.withdraw), methods=["POST"]),
        Route("/v1/changes/{id}/overrides", guarded(api.override), methods=["POST"]),
        Route("/v1/calendar", guarded(api.calendar)),
        Route("/v1/changes/{id}/events", guarded(api.events)),
        Route("/v1/changes/{id}/evidence", guarded(api.evidence)),
        Route("/v1/reviews", guarded(reviews.reviews)),
        Route("/v1/reviews/{id}", guarded(reviews.review)),
        Route("/v1/reviews/{id}/close", guarded(reviews.close), methods=["POST"]),
        Route("/v1/usb", guarded(api.usb)),
        Route("/v1/census", guarded(api.census)),
    ]
    routes += schedule_routes(desk, api.actor, guarded)
    return Starlette(routes=routes, exception_handlers={HTTPException: _http_error})


def guarded(handler: Handler) -> Handler:
    """Return the handler with every error turned into data; what nobody foresaw gets an incident id, no traceback."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except PassgateError as error:
            status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
            return _error(status, error.as_data(), error.exit_code)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception:
            incident = secrets.token_hex(6)
            log.exception("incident %s in %s %s", incident, request.method, request.url.path)
            words = {
                "code": PassgateError.code,
                "message": f"Passgate failed in a way that was not foreseen (incident {incident}).",
                "hint": f"What was asked may or may not have happened: look before repeating. "
                f"The service's log holds the details under {incident}.",
                "subject": incident,
            }
            return _error(500, words, PassgateError.exit_code)

    return answer


class Api:
    """Translate between HTTP and the desk, and nothing else."""

    def __init__(self, desk: Desk, people: People) -> None:
        self._desk = desk
        self._people = frozenset(person.id for person in people.people)

    async def health(self, _: Request) -> Response:
        """Say that the service answers."""
        return JSONResponse({"service": "passgate", "version": __version__})

    async def status(self, request: Request) -> Response:
        """Tell how the service's parts are, if who runs it left a way to ask in `app.state.status`."""
        await self.actor(request)
        told: Callable[[], Any] = getattr(request.app.state, "status", dict)
        return JSONResponse(to_jsonable_python(told(), fallback=str))

    async def settings(self, request: Request) -> Response:
        """Name the parts of config, and the files that it refers to, that are others now than the service runs with."""
        await self.actor(request)
        loaded: Loaded | None = getattr(request.app.state, "loaded", None)
        outdated = await asyncio.to_thread(loaded.outdated) if loaded else ()
        return JSONResponse({"folder": str(loaded.folder) if loaded else None, "outdated": outdated})

    async def runbooks(self, request: Request) -> Response:
        """List the runbooks."""
        await self.actor(request)
        return JSONResponse({"runbooks": [_runbook(one) for one in self._desk.runbooks()]})

    async def runbook(self, request: Request) -> Response:
        """Show one runbook with the JSON schema of what it asks."""
        await self.actor(request)
        slug = request.path_params["slug"]
        found = {one.slug: one for one in self._desk.runbooks()}
        if slug not in found:
            raise UnknownNameError(
                f"There is no runbook {slug!r}.", hint=f"There are: {', '.join(sorted(found))}.", subject=slug
            )
        return JSONResponse({**_runbook(found[slug]), "ask": found[slug].ask.model_json_schema()})

    async def plan(self, request: Request) -> Response:
        """Plan without filing or touching anything."""
        actor = await self.actor(request)
        body = await body_of(request, PlanBody)
        preview = await self._desk.plan(body.runbook, body.ask, actor)
        return JSONResponse(
            {
                "plan": preview.plan.model_dump(mode="json"),
                "digest": preview.plan.digest,
                "terms": preview.terms.model_dump(mode="json"),
                "may_not_approve": self._desk.may_not_approve(),
            }
        )

    async def request(self, request: Request) -> Response:
        """File a change."""
        actor = await self.actor(request)
        body = await body_of(request, PlanBody)
        change = await self._desk.request(body.runbook, body.ask, actor)
        return JSONResponse(change.model_dump(mode="json"), status_code=201)

    async def changes(self, request: Request) -> Response:
        """List changes, newest first: in any `state` given, or those that the speaker decides (`waits_for=me`).

        With the latter come the reviews that wait for the speaker.
        """
        actor = await self.actor(request)
        if (whom := request.query_params.get("waits_for")) is not None:
            if whom != "me":
                raise InputError(f"waits_for={whom!r} can't be used.", hint="Accepted: me.", subject="waits_for")
            waiting = await self._desk.waiting_for(actor.person)
            reviews = await self._desk.reviews_for(actor.person)
            return JSONResponse(
                {
                    "changes": [one.model_dump(mode="json") for one in waiting],
                    "reviews": [one.model_dump(mode="json") for one in reviews],
                }
            )
        states = tuple(_choice(State, "state", one) for one in request.query_params.getlist("state"))
        limit = int(_number(request, "limit", 50.0, 1, MAX_CHANGES))
        found = await self._desk.changes(states, limit)
        return JSONResponse({"changes": [one.model_dump(mode="json") for one in found]})

    async def change(self, request: Request) -> Response:
        """Show one change with its journal and decisions."""
        await self.actor(request)
        change_id = request.path_params["id"]
        change = await self._desk.change(change_id)
        journal = await self._desk.journal(change_id)
        decisions = await self._desk.decisions(change_id)
        return JSONResponse(
            {
                "change": change.model_dump(mode="json"),
                "journal": [one.model_dump(mode="json") for one in journal],
                "decisions": [one.model_dump(mode="json") for one in decisions],
                "so_far": self._desk.so_far(change),
                "may_not_approve": self._desk.may_not_approve(),
            }
        )

    async def decide(self, request: Request) -> Response:
        """Record the speaker's verdict."""
        actor = await self.actor(request)
        body = await body_of(request, DecisionBody)
        before = await self._desk.decisions(request.path_params["id"])
        change = await self._desk.decide(
            request.path_params["id"], actor, body.verdict, body.reason, body.digest,
            gate=body.gate, standing_until=_in_utc(body.standing_until),
        )  # fmt: skip
        told = change.model_dump(mode="json")
        is_new = len(await self._desk.decisions(change.id)) > len(before)
        return JSONResponse({**told, "recorded": is_new, "so_far": self._desk.so_far(change)})

    async def retract(self, request: Request) -> Response:
        """Take the speaker's own decision back."""
        actor = await self.actor(request)
        body = await body_of(request, RetractBody)
        change = await self._desk.retract(request.path_params["id"], actor, body.reason, body.digest, gate=body.gate)
        return JSONResponse(change.model_dump(mode="json"))

    async def again(self, request: Request) -> Response:
        """File anew what a change that came to nothing asked for."""
        actor = await self.actor(request)
        change = await self._desk.again(request.path_params["id"], actor)
        return JSONResponse(change.model_dump(mode="json"), status_code=201)

    async def withdraw(self, request: Request) -> Response:
        """Take a change back."""
        actor = await self.actor(request)
        body = await body_of(request, WithdrawBody)
        change = await self._desk.withdraw(request.path_params["id"], actor, body.reason)
        return JSONResponse(change.model_dump(mode="json"))

    async def override(self, request: Request) -> Response:
        """Let a change of somebody else through a freeze."""
        actor = await self.actor(request)
        body = await body_of(request, OverrideBody)
        change = await self._desk.override(request.path_params["id"], actor, body.freeze, body.reason)
        return JSONResponse(change.model_dump(mode="json"))

    async def calendar(self, request: Request) -> Response:
        """Say whether something (`for`) may begin at a moment (`at`, without it now), and why."""
        actor = await self.actor(request)
        about = request.query_params.get("for")
        if not about:
            raise InputError("`for` is missing: it is not said what is to begin.", hint=ABOUT, subject="for")
        told = await self._desk.explain_calendar(about, request.query_params.get("at"), actor)
        return JSONResponse(
            {
                "for": told.about,
                "zone": told.zone,
                "takes_seconds": None if told.takes is None else round(told.takes.total_seconds()),
                "lines": told.lines,
                **told.opening.model_dump(mode="json"),
            }
        )

    async def events(self, request: Request) -> Response:
        """Return what was recorded after `after`, waiting up to `wait` seconds for the first."""
        await self.actor(request)
        change_id = request.path_params["id"]
        await self._desk.change(change_id)
        after = int(_number(request, "after", 0.0, 0, 2**53))
        wait = _number(request, "wait", 0.0, 0, MAX_WAIT)
        found = await self._desk.events(change_id, after, wait)
        return JSONResponse({"events": [one.model_dump(mode="json") for one in found]})

    async def evidence(self, request: Request) -> Response:
        """Hand out the change's evidence bundle."""
        await self.actor(request)
        path = await self._desk.evidence(request.path_params["id"])
        if not path.is_file():
            raise RecordError(f"The evidence file {path.name} is gone.", hint="It can be written again at any time.")
        return FileResponse(path, filename=path.name)

    async def usb(self, request: Request) -> Response:
        """List hosts with their USB devices, read now."""
        await self.actor(request)
        hosts = await self._desk.usb(request.query_params.get("host"))
        return JSONResponse({"hosts": [one.model_dump(mode="json") for one in hosts]})

    async def census(self, request: Request) -> Response:
        """Take a census now, as lines of JSON: progress, one line per row, then the summary; nothing is filed.

        It may take minutes, and an estate has tens of thousands of rows. What goes wrong before the first host is an
        answer like any other; what goes wrong later is a last line with `error`.
        """
        await self.actor(request)
        hosts = tuple(request.query_params.getlist("host"))
        if len(hosts) > MAX_PATTERNS:
            raise InputError(
                f"{len(hosts)} patterns of hosts are too many.", hint=f"At most {MAX_PATTERNS}.", subject="host"
            )
        shells = request.query_params.get("shells", "true")
        if shells not in {"true", "false"}:
            raise InputError(f"shells={shells!r} can't be used.", hint="Accepted: true, false.", subject="shells")
        told = self._desk.census(hosts, shells=shells == "true")
        first = await anext(told)
        return StreamingResponse(_census_lines(first, told), media_type="application/x-ndjson")

    async def actor(self, request: Request) -> Actor:
        """Return who speaks, by the token alone. Raises AuthenticationError."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        person = self._desk.person_of_token(token.strip()) if scheme.lower() == "bearer" and token else None
        if person is None:
            raise AuthenticationError(
                "The token is missing or not known." if token else "Who speaks is not known: no token was sent.",
                hint="Let an administrator run `passgate token issue PERSON`, and put the token into PASSGATE_TOKEN.",
            )
        if person not in self._people:
            raise AuthenticationError(
                f"The token belongs to {person}, who is not in config/people.yaml any more.",
                hint="Ask an administrator.",
                subject=person,
            )
        # The door is told by the caller and only ever named in the record; it grants nothing.
        door = Door.CLI if request.headers.get(DOOR_HEADER) == Door.CLI.value else Door.API
        return Actor(person=person, door=door)


def _in_utc(given: datetime | None) -> datetime | None:
    """Return the moment in UTC, which one without an offset is already."""
    return given if given is None else given.replace(tzinfo=given.tzinfo or UTC).astimezone(UTC)


def _runbook(runbook: Runbook[Any]) -> dict[str, str]:
    return {
        "slug": runbook.slug,
        "title": runbook.title,
        "description": runbook.description,
        "risk": runbook.risk.value,
    }


async def _census_lines(first: Progress | Census, told: AsyncGenerator[Progress | Census, None]) -> AsyncIterator[str]:
    """Yield a census as lines of JSON; `aclose` of this ends the reading, as when the client has left."""
    async with aclosing(told):
        try:
            news: Progress | Census = first
            while isinstance(news, Progress):
                yield _line({"progress": asdict(news)})
                news = await anext(told)
        except PassgateError as error:
            yield _line({"error": {**error.as_data(), "exit_code": error.exit_code}})
            return
        for row in news.rows:
            yield _line({"row": row.model_dump(mode="json")})
        end = {"summary": news.summary, **news.model_dump(mode="json", exclude={"rows"})}
        yield _line({"census": {**end, "rows": len(news.rows)}})


def _line(data: dict[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False) + "\n"


def _number(request: Request, name: str, default: float, least: float, most: float) -> float:
    given = request.query_params.get(name)
    try:
        number = default if given is None else float(given)
    except ValueError:
        number = float("nan")
    if not least <= number <= most:
        raise InputError(f"{name}={given!r} can't be used.", hint=f"Accepted: {least} to {most}.", subject=name)
    return number


def _choice(kind: type[State], name: str, given: str) -> State:
    try:
        return kind(given)
    except ValueError:
        raise InputError(
            f"{name}={given!r} can't be used.", hint=f"Accepted: {', '.join(kind)}.", subject=name
        ) from None


def _error(status: int, data: dict[str, str], exit_code: int) -> Response:
    return JSONResponse({"error": {**data, "exit_code": exit_code}}, status_code=status)


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    words = "There is nothing at" if status == 404 else f"{request.method} is not possible for"  # noqa: PLR2004 - HTTP
    data = {
        "code": InputError.code,
        "message": f"{words} {request.url.path}.",
        "hint": "GET /v1/runbooks and GET /v1/changes are good places to start.",
        "subject": request.url.path,
    }
    return _error(status, data, InputError.exit_code)
