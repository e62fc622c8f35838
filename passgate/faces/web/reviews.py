"""Show and close the reviews of broken glasses over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from passgate.engine.desk import Desk
from passgate.model.change import Actor
from passgate.model.frozen import Frozen
from passgate.model.review import ReviewVerdict

Body = Callable[[Request, type["CloseBody"]], Awaitable["CloseBody"]]


class CloseBody(Frozen):
    """Hold what a review came to."""

    verdict: ReviewVerdict
    reason: str = Field(default="", max_length=500)


class ReviewApi:
    """Translate between HTTP and the desk, for reviews; `actor` and `body` are those of the whole API."""

    def __init__(self, desk: Desk, actor: Callable[[Request], Awaitable[Actor]], body: Body) -> None:
        self._desk, self._actor, self._body = desk, actor, body

    async def reviews(self, request: Request) -> Response:
        """List the reviews, newest first: those that are open, or with `all=true` all of them."""
        await self._actor(request)
        found = await self._desk.reviews(only_open=request.query_params.get("all") != "true")
        return JSONResponse({"reviews": [one.model_dump(mode="json") for one in found]})

    async def review(self, request: Request) -> Response:
        """Show the review of one change, with the change."""
        await self._actor(request)
        review = await self._desk.review(request.path_params["id"])
        change = await self._desk.change(review.change)
        return JSONResponse({"review": review.model_dump(mode="json"), "change": change.model_dump(mode="json")})

    async def close(self, request: Request) -> Response:
        """Close a review with the speaker's verdict."""
        actor = await self._actor(request)
        body = await self._body(request, CloseBody)
        review = await self._desk.close_review(request.path_params["id"], actor, body.verdict, body.reason)
        return JSONResponse(review.model_dump(mode="json"))
