"""Take a reading apart: every field of every thing in it, and the reading with another value put there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from passgate.model.frozen import Frozen
from passgate.model.inventory import Inventory


@dataclass(frozen=True)
class Part:
    """Hold one field of one thing in a reading. `of` is the thing itself; `put` gives the whole with another value."""

    of: Frozen
    name: str
    value: Any
    put: Callable[[Any], Any]
    swap: Callable[[Any], Any]
    """Gives the whole with another thing in its place."""

    @property
    def model(self) -> type[Frozen]:
        """Return the class that the field is of."""
        return type(self.of)


def parts(site: Inventory) -> Iterator[Part]:
    """Yield every field of every thing in the reading, in its depth."""
    yield from _of(site, lambda whole: whole)


def _of(thing: Frozen, put: Callable[[Any], Any]) -> Iterator[Part]:
    for name in type(thing).model_fields:
        value = getattr(thing, name)

        def put_here(new: Any, name: str = name) -> Any:
            return put(thing.model_copy(update={name: new}))

        yield Part(thing, name, value, put_here, put)
        yield from _within(value, put_here)


def _within(value: Any, put: Callable[[Any], Any]) -> Iterator[Part]:
    if isinstance(value, Frozen):
        yield from _of(value, put)
    elif isinstance(value, tuple):
        for at, one in enumerate(value):
            yield from _within(one, lambda new, at=at: put((*value[:at], new, *value[at + 1 :])))
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _within(one, lambda new, key=key: put({**value, key: new}))
