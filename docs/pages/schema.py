"""Say in words what the fields of a JSON schema take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

KINDS = {
    "string": "text", "boolean": "true or false", "integer": "whole number", "number": "number", "null": "nothing",
    "object": "fields as the runbook takes them",
}  # fmt: skip
PLURALS = {"text": "texts", "number": "numbers", "fields below": "these fields"}
Json = dict[str, Any]


def fields(part: Json, whole: Json, depth: int = 0) -> Iterator[str]:
    """Yield a line for each field, and below it the fields of what it holds."""
    for name, field in part.get("properties", {}).items():
        inner = _inner(field, whole)
        needed = ["needed"] if name in part.get("required", ()) else []
        said = ", ".join([kind(field, whole), *needed, *default(field)])
        described = f": {field['description']}" if "description" in field else ""
        yield f"{'  ' * depth}- `{name}` ({said}){described}"
        if inner is not None:
            yield from fields(inner, whole, depth + 1)


def kind(field: Json, whole: Json) -> str:  # noqa: PLR0911 - one line for each kind
    """Say in a word or two what a field takes."""
    match field:
        case {"anyOf": choices} | {"oneOf": choices}:
            return " or ".join(dict.fromkeys(one for each in choices if (one := kind(each, whole)) != "nothing"))
        case {"$ref": name}:
            meant = whole["$defs"][name.rpartition("/")[2]]
            return "reference" if "/From" in name else "fields below" if "properties" in meant else kind(meant, whole)
        case {"enum": words}:
            return " or ".join(f"`{word}`" for word in words)
        case {"pattern": _, "examples": _}:
            return "duration"
        case {"items": items}:
            return f"list of {PLURALS.get(one := kind(items, whole), one)}"
        case {"patternProperties": _}:
            return "a name for each, and below it these fields"
        case {"type": name}:
            return KINDS[name]
        case _:
            return "any value"


def default(field: Json) -> list[str]:
    """Return the words for a field's default, where it has one that says something."""
    value = field.get("default")
    if value in (None, "", [], {}):
        return []
    if _is_duration(field):
        value = str(value).removeprefix("PT").lower()
    return [f"default `{value if isinstance(value, str) else json.dumps(value)}`"]


def _inner(field: Json, whole: Json) -> Json | None:
    """Return the part that a field holds, be it one, a list or a mapping of names."""
    named = [*field.get("patternProperties", {}).values(), field.get("items", {}), field, *field.get("anyOf", ())]
    for one in named:
        name = one.get("$ref", "").rpartition("/")[2]
        if name and not name.startswith("From"):
            found: Json = whole["$defs"][name]
            return found
    return None


def _is_duration(field: Json) -> bool:
    return any("pattern" in one and "examples" in one for one in (field, *field.get("anyOf", ())))
