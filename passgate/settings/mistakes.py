"""Say what a model does not take: the field, what was given, what would be accepted. The one place for all doors.

What pydantic says of its own types never reaches people; what our own validators say is already in words.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from passgate.errors import PassgateError

LONGEST = 60
"""So many characters of what was given are shown: half a line of a terminal."""

_LIST = "a list, such as [one, two]"
_FIELDS = "fields, one per line, as `name: value`"
_YES_NO = "true or false"
_WHOLE = "a whole number"
_MOMENT = "a date and time, such as 2026-12-01T22:00"
_DAY = "a day, such as 2026-12-01"
_ACCEPTED = {
    "bool_type": _YES_NO,
    "bool_parsing": _YES_NO,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": "a smaller number",
    "int_from_float": _WHOLE,
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "string_type": "text; a number needs quotes around it",
    "string_unicode": "text in UTF-8",
    "string_too_short": "at least {min_length} character{s}",
    "string_too_long": "at most {max_length} character{s}",
    "string_pattern_mismatch": "text that fits {pattern}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "none_required": "nothing",
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "iterable_type": _LIST,
    "too_short": "at least {min_length} item{s}",
    "too_long": "at most {max_length} item{s}",
    "dict_type": _FIELDS,
    "model_type": _FIELDS,
    "model_attributes_type": _FIELDS,
    "invalid_key": "names that are text",
    "date_type": _DAY,
    "date_parsing": _DAY,
    "date_from_datetime_parsing": _DAY,
    "date_from_datetime_inexact": _DAY,
    "time_type": "a time, such as 22:00",
    "time_parsing": "a time, such as 22:00",
    "datetime_type": _MOMENT,
    "datetime_parsing": _MOMENT,
    "datetime_object_invalid": _MOMENT,
    "datetime_from_date_parsing": _MOMENT,
    "timezone_aware": "a date and time with its offset, such as 2026-12-01T22:00Z",
    "timezone_naive": "a date and time without an offset, such as 2026-12-01T22:00",
}
"""What is accepted, by pydantic's name of the mistake; in braces what the mistake holds, {s} for a plural."""


class Mistake(NamedTuple):
    """Hold one thing that is wrong: where, in words without the field's name, and what to do where its rule says so."""

    place: tuple[int | str, ...]
    words: str
    hint: str = ""

    @property
    def field(self) -> str:
        """Return the outermost field, empty where several are wrong together."""
        return str(self.place[0]) if self.place else ""

    @property
    def where(self) -> str:
        """Return the whole name of the field, such as `rules.0.name`."""
        return ".".join(map(str, self.place))

    @property
    def whole(self) -> str:
        """Return what is wrong and what to do, without a full stop."""
        return f"{self.words}. {self.hint}".rstrip(". ")


def mistakes(error: ValidationError, model: type[BaseModel]) -> tuple[Mistake, ...]:
    """Return all that is wrong with what was given for that model."""
    return tuple(mistake(one, one["loc"], model) for one in error.errors())


def listed(wrong: tuple[Mistake, ...], otherwise: str) -> str:
    """Return the words of each, behind the name of its field; `otherwise` names what concerns several together."""
    return "; ".join(f"{one.where or otherwise}: {one.words}" for one in wrong)


def mistake(error: ErrorDetails, place: tuple[int | str, ...], model: type[BaseModel]) -> Mistake:
    """Return one mistake, at that place in the model; what stands where a secret belongs is never shown."""
    kind, cause = error["type"], error.get("ctx", {}).get("error")
    if isinstance(cause, PassgateError):
        return Mistake(place, cause.message.rstrip("."), cause.hint)
    if kind == "extra_forbidden":
        return Mistake(place, no_such(str(place[-1]), _fields_at(model, place[:-1])))
    about = _description(model, place)
    about = f" ({about.rstrip('.')})" if about and kind not in {"reference", "text"} else ""
    if kind == "missing":
        return Mistake(place, f"is missing{about}")
    if kind in {"reference", "text"} or {"env", "file"} & set(place):
        return Mistake(place, f"accepted: {_accepted(error)}{about}")
    return Mistake(place, f"given {given(error['input'])}; accepted: {_accepted(error)}{about}")


def no_such(name: str, accepted: list[str]) -> str:
    """Say that there is no field of that name, which one may be meant, and which there are."""
    return f"there is no such field.{did_you_mean(name, accepted)} Accepted: {', '.join(accepted)}"


def did_you_mean(name: str, accepted: list[str]) -> str:
    """Name the one that is likely meant, if one is near."""
    near = get_close_matches(name, accepted, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def given(value: object) -> str:
    """Return what was given, shortened."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "fields"
    if isinstance(value, list | tuple):
        return "a list"
    shown = repr(value if isinstance(value, str) else str(value)) if not isinstance(value, bool) else str(value).lower()
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 3]}..."


def _accepted(error: ErrorDetails) -> str:
    holds = error.get("ctx", {})
    if isinstance(holds.get("error"), Exception):
        return str(holds["error"])
    if "url" not in error:  # pydantic gives the address of its own words only
        return error["msg"]
    shown = {name: f"{one:g}" if isinstance(one, float) else one for name, one in holds.items()}
    number = holds.get("min_length", holds.get("max_length"))
    known = _ACCEPTED.get(error["type"], "something else")
    return known.format(**{**shown, "s": "" if number == 1 else "s"})


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation speaks of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _models_at(model: type[BaseModel], place: tuple[int | str, ...]) -> list[type[BaseModel]]:
    models = [model]
    for part in place:
        deeper = [one.model_fields[part].annotation for one in models if part in one.model_fields]
        models = [found for annotation in deeper for found in _models(annotation)] or models
    return models


def _fields_at(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    return list(dict.fromkeys(name for one in _models_at(model, place) for name in one.model_fields))


def _description(model: type[BaseModel], place: tuple[int | str, ...]) -> str:
    names = [part for part in place if isinstance(part, str)]
    if not names:
        return ""
    above = place[: max(index for index, part in enumerate(place) if part == names[-1])]
    found = [
        one.model_fields[names[-1]].description for one in _models_at(model, above) if names[-1] in one.model_fields
    ]
    return next((words for words in found if words), "")
