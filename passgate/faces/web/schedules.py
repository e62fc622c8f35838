"""Offer schedules over HTTP: list, show, add, pause, resume, run, revoke, remove. It translates, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from passgate.engine.desk import Desk
from passgate.engine.scheduling import Shown
from passgate.errors import InputError
from passgate.faces.web.body import body_of
from passgate.model.change import Actor
from passgate.model.frozen import Frozen
from passgate.settings.mistakes import listed, mistakes
from passgate.settings.schedules import ScheduleRule

Handler = Callable[[Request], Awaitable[Response]]
ACTS = ("pause", "resume", "run", "revoke", "remove")


class ScheduleBody(Frozen):
    """Hold a schedule as its author wants it; the author is who speaks."""

    name: str
    runbook: str
    zone: str = "UTC"
    text: str = ""
    ask: dict[str, Any] = Field(default_factory=dict)
    cron: str | None = None
    rrule: str | None = None
    first: str | None = None
    ends: str | None = None
    missed: str = "skip"
    overlap: str = "skip"
    late: str = "4h"
    paused: bool = False


class Nothing(Frozen):
    """Ask nothing more than the path says."""


def schedule_routes(
    desk: Desk, actor_of: Callable[[Request], Awaitable[Actor]], guarded: Callable[[Handler], Handler]
) -> list[Route]:
    """Return the routes; `guarded` turns errors into data, as for all others."""

    async def shown(request: Request) -> Response:
        await actor_of(request)
        return JSONResponse({"schedules": [_told(one) for one in desk.schedules.all()]})

    async def one(request: Request) -> Response:
        await actor_of(request)
        return JSONResponse(_told(desk.schedules.one(request.path_params["name"])))

    async def add(request: Request) -> Response:
        actor = await actor_of(request)
        body = await body_of(request, ScheduleBody)
        rule = rule_from({**body.model_dump(), "author": actor.person})
        return JSONResponse(_told(await desk.schedules.add(rule, actor)), status_code=201)

    async def act(request: Request) -> Response:
        actor = await actor_of(request)
        await body_of(request, Nothing)
        name, what = request.path_params["name"], request.path_params["act"]
        match what:
            case "pause":
                return JSONResponse(_told(desk.schedules.pause(name, actor)))
            case "resume":
                return JSONResponse(_told(desk.schedules.resume(name, actor)))
            case "run":
                return JSONResponse((await desk.schedules.run(name, actor)).model_dump(mode="json"), status_code=201)
            case "revoke":
                return JSONResponse({"name": name, "waiting_again": desk.schedules.revoke(name, actor)})
            case "remove":
                return JSONResponse(_told(Shown(desk.schedules.remove(name, actor))))
            case _:
                raise InputError(f"{what!r} can't be done.", hint=f"Accepted: {', '.join(ACTS)}.", subject=what)

    return [
        Route("/v1/schedules", guarded(shown)),
        Route("/v1/schedules", guarded(add), methods=["POST"]),
        Route("/v1/schedules/{name}", guarded(one)),
        Route("/v1/schedules/{name}/{act}", guarded(act), methods=["POST"]),
    ]


def rule_from(given: dict[str, Any]) -> ScheduleRule:
    """Return the schedule that was asked for. Raises InputError that names each field that is wrong, in words."""
    try:
        return ScheduleRule.model_validate(given)
    except ValidationError as error:
        wrong = mistakes(error, ScheduleRule)
        raise InputError(
            f"The schedule was not asked for properly: {listed(wrong, 'times')}.",
            hint="See `passgate schedule add --help`.",
            subject=wrong[0].field or "times",
        ) from None


def _told(shown: Shown) -> dict[str, Any]:
    schedule = shown.schedule
    return {
        **schedule.model_dump(mode="json"),
        "upcoming": [one.model_dump(mode="json") for one in shown.upcoming],
        "occurrences": [one.model_dump(mode="json") for one in shown.occurrences],
        "standing": [one.model_dump(mode="json") for one in shown.standing],
        "warning": shown.warning,
    }
