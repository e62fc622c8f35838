"""Read the names of time zones, as the IANA database has them; any other name is refused with the nearest ones."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError


@cache
def known() -> frozenset[str]:
    """Return all names of the IANA database that this machine, or the package tzdata, has."""
    return frozenset(available_timezones())


def _zone(given: Any) -> Any:
    if given in known():
        return given
    near = get_close_matches(given, known(), n=1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    raise PydanticCustomError("zone", "the IANA name of a time zone, such as Europe/Vienna.{meant}", {"meant": meant})


Zone = Annotated[
    str, AfterValidator(_zone), WithJsonSchema({"type": "string", "examples": ["UTC", "Europe/Vienna", "US/Pacific"]})
]
"""A time zone by its IANA name, with all its changes between summer and winter time."""
