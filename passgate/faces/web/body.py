"""Read the body of a request as one of our models; what is wrong with it is said in words."""

from __future__ import annotations

import json
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from passgate.errors import InputError
from passgate.settings.mistakes import listed, mistakes

MAX_BODY = 256 * 1024

B = TypeVar("B", bound=BaseModel)


async def body_of(request: Request, model: type[B]) -> B:
    """Return the request's body as that model. Raises InputError in words."""
    size = 0
    chunks: list[bytes] = []
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            raise InputError(f"The body is larger than {MAX_BODY // 1024} KiB.", subject="body")
        chunks.append(chunk)
    try:
        given = json.loads(b"".join(chunks) or b"{}", parse_constant=_no_constant)
        text = json.dumps(given, ensure_ascii=False)
        text.encode()
    except (ValueError, RecursionError):
        raise InputError("The body is not JSON.", hint="Send a JSON object in UTF-8.", subject="body") from None
    if "\\u0000" in text:
        raise InputError("The body holds a NUL character.", hint="Leave it out.", subject="body")
    try:
        return model.model_validate(given)
    except ValidationError as error:
        words = listed(mistakes(error, model), "body")
        raise InputError(
            f"The body is not right: {words}.", hint=f"Fields: {', '.join(model.model_fields)}.", subject="body"
        ) from None


def _no_constant(name: str) -> float:
    """Refuse NaN and Infinity, which are not JSON and which no record could hold."""
    raise ValueError(name)
