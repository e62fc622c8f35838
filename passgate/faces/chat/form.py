"""Make a form of a runbook's own model, and read what was filled in. Pure: a new runbook needs no edit here.

Which input a field gets follows from its JSON schema: a choice, a box to tick, a number, a moment, lines, or text. What
was filled in is judged by the model itself, so that every door says the same of the same mistake.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from passgate.engine.steps import Ask, Runbook
from passgate.faces.chat.text import fit, plain, safe

Block = dict[str, Any]
Spec = dict[str, Any]

MOST_OPTIONS = 100
LABEL, HINT, PLACEHOLDER = 150, 300, 150
OPTION_TEXT, OPTION_VALUE = 75, 150
LONGEST_INPUT = 3000
MULTILINE_FROM = 300
INPUT = "value"
TICKED = "yes"
_SAID = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,15})?")


class Kind(StrEnum):
    """Name the inputs that a field can have."""

    CHOICE = "choice"
    FLAG = "flag"
    NUMBER = "number"
    MOMENT = "moment"
    DATE = "date"
    TIME = "time"
    LINES = "lines"
    TEXT = "text"


@dataclass(frozen=True)
class FormField:
    """Hold one field of an ask as its form needs it; `spec` is its JSON schema with references followed."""

    name: str
    kind: Kind
    spec: Spec
    required: bool

    @property
    def title(self) -> str:
        """Return what stands above the input."""
        return str(self.spec.get("title") or self.name.replace("_", " ").capitalize())

    @property
    def description(self) -> str:
        """Return what stands below it."""
        return str(self.spec.get("description") or "")


def fields_of(runbook: Runbook[Any]) -> tuple[FormField, ...]:
    """Return the fields of a runbook: its own first, then those that every change has."""
    schema = runbook.ask.model_json_schema()
    required = set(schema.get("required", ()))
    names = sorted(schema["properties"], key=lambda name: name in Ask.model_fields)
    found = []
    for name in names:
        spec = _followed(schema["properties"][name], schema.get("$defs", {}))
        found.append(FormField(name, _kind(spec), spec, name in required))
    return tuple(found)


def inputs(runbook: Runbook[Any], given: Mapping[str, Any], notes: Mapping[str, str]) -> list[Block]:
    """Return the inputs of a runbook's form, filled with what was given; `notes` say what is wrong, below a field."""
    blocks: list[Block] = []
    for field in fields_of(runbook):
        blocks.append(_input(field, given.get(field.name, field.spec.get("default"))))
        if field.name in notes:
            text = {"type": "mrkdwn", "text": f"⚠️ {safe(notes[field.name], 1000)}", "verbatim": True}
            blocks.append({"type": "context", "elements": [text]})
    return blocks


def read(runbook: Runbook[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was filled in, as the model takes it; an input that was left empty is left out."""
    found: dict[str, Any] = {}
    for field in fields_of(runbook):
        state = (values.get(field.name) or {}).get(INPUT) or {}
        value = _READ[field.kind](state)
        if value not in {None, ""} if not isinstance(value, list) else value:
            found[field.name] = value
    return found


def typed(runbook: Runbook[Any], words: Mapping[str, str]) -> dict[str, Any]:
    """Return what was typed behind a command as a form's inputs hold it; a name that is no field stays as it is."""
    kinds = {field.name: field.kind for field in fields_of(runbook)}
    found: dict[str, Any] = {}
    for name, word in words.items():
        match kinds.get(name):
            case Kind.LINES:
                found[name] = word.replace(",", " ").split()
            case Kind.FLAG if word.lower() in _SAID:
                found[name] = _SAID[word.lower()]
            case _:
                found[name] = word
    return found


def example(runbook: Runbook[Any], words: Mapping[str, str], wrong: Collection[str]) -> str:
    """Return how it would be typed right: what was right as it was, what was not with what its field takes."""
    fields = {field.name: field for field in fields_of(runbook)}
    right: dict[str, str] = {}
    for name, word in words.items():
        meant = name if name in fields else next(iter(get_close_matches(name, fields, n=1)), "")
        if meant:
            right.setdefault(meant, _example(fields[meant]) if name in wrong and name in fields else word)
    first = next(iter(fields.values()))
    return " ".join(f"{name}={word}" for name, word in (right or {first.name: _example(first)}).items())


def _example(field: FormField) -> str:
    spec = field.spec
    known = next(iter(spec.get("examples") or spec.get("enum") or ()), None)
    number = spec.get("minimum", spec.get("maximum", 1))
    kinds = {Kind.FLAG: "yes", Kind.NUMBER: number, Kind.MOMENT: "2026-12-01T22:00"}
    kinds |= {Kind.DATE: "2026-12-01", Kind.TIME: "22:00"}
    return str(known if known is not None else kinds.get(field.kind, field.name.upper()))


def _followed(prop: Spec, definitions: Mapping[str, Spec]) -> Spec:
    """Follow references, and what may be left out to what it is when it is given."""
    spec = dict(prop)
    if reference := spec.pop("$ref", None):
        spec = {**definitions[reference.rpartition("/")[2]], **spec}
    options = [one for one in spec.pop("anyOf", ()) if one.get("type") != "null"]
    if len(options) == 1:
        spec = {**_followed(options[0], definitions), **spec}
    return spec


def _kind(spec: Spec) -> Kind:
    choices = spec.get("enum", ())
    if choices and len(choices) <= MOST_OPTIONS and all(0 < len(str(one)) <= OPTION_VALUE for one in choices):
        return Kind.CHOICE
    kinds = {"boolean": Kind.FLAG, "integer": Kind.NUMBER, "number": Kind.NUMBER, "array": Kind.LINES}
    formats = {"date-time": Kind.MOMENT, "date": Kind.DATE, "time": Kind.TIME}
    return kinds.get(str(spec.get("type"))) or formats.get(str(spec.get("format"))) or Kind.TEXT


def _input(field: FormField, value: Any) -> Block:
    """Return one input block. Slack demands a tick where a box is not optional, so a box always is."""
    told = not field.description or (field.kind is Kind.FLAG and len(field.description) <= OPTION_TEXT)
    hint = {} if told else {"hint": _plain(field.description, HINT)}
    return {
        "type": "input",
        "block_id": field.name,
        "label": _plain(field.title, LABEL),
        "optional": field.kind is Kind.FLAG or not field.required,
        "element": {"action_id": INPUT, **_ELEMENTS[field.kind](field, value)},
        **hint,
    }


def _choice(field: FormField, value: Any) -> Block:
    options = [option(str(one), str(one)) for one in field.spec["enum"]]
    initial = next((one for one in options if one["value"] == str(value)), None) if value is not None else None
    return {"type": "static_select", "options": options, **({"initial_option": initial} if initial else {})}


def _flag(field: FormField, value: Any) -> Block:
    ticked = option(TICKED, field.description if 0 < len(field.description) <= OPTION_TEXT else "Yes")
    return {"type": "checkboxes", "options": [ticked], **({"initial_options": [ticked]} if value is True else {})}


def _number(field: FormField, value: Any) -> Block:
    spec = field.spec
    initial = value if _is_number(value) else None
    bounds = {"min_value": spec.get("minimum"), "max_value": spec.get("maximum"), "initial_value": initial}
    kept = {name: str(bound) for name, bound in bounds.items() if bound is not None}
    return {"type": "number_input", "is_decimal_allowed": spec.get("type") == "number", **kept}


def _is_number(value: Any) -> bool:
    """Say whether Slack takes the value as what stands in a number's input at first."""
    return not isinstance(value, bool) and _NUMBER.fullmatch(str(value)) is not None


def _moment(_field: FormField, value: Any) -> Block:
    try:
        at = datetime.fromisoformat(str(value)).timestamp() if value else None
    except ValueError:
        at = None
    return {"type": "datetimepicker", **({"initial_date_time": int(at)} if at else {})}


def _text(field: FormField, value: Any) -> Block:
    spec = field.spec
    longest = min(int(spec.get("maxLength", LONGEST_INPUT)), LONGEST_INPUT)
    examples = spec.get("examples") or ()
    initial = fit(str(value), longest) if value else ""
    return {
        "type": "plain_text_input",
        "max_length": longest,
        **({"multiline": True} if MULTILINE_FROM <= longest < LONGEST_INPUT else {}),
        **({"placeholder": _plain(f"for example {examples[0]}", PLACEHOLDER)} if examples else {}),
        **({"initial_value": initial} if initial else {}),
    }


def _lines(_field: FormField, value: Any) -> Block:
    initial = fit("\n".join(str(one) for one in value or ()), LONGEST_INPUT)
    return {
        "type": "plain_text_input",
        "multiline": True,
        "placeholder": _plain("one in each line", PLACEHOLDER),
        **({"initial_value": initial} if initial else {}),
    }


def _picker(kind: str, initial: str, pattern: str) -> Callable[[FormField, Any], Block]:
    def draw(_field: FormField, value: Any) -> Block:
        found = re.match(pattern, str(value))
        return {"type": kind, **({initial: found[0]} if found else {})}

    return draw


_ELEMENTS: dict[Kind, Callable[[FormField, Any], Block]] = {
    Kind.CHOICE: _choice,
    Kind.FLAG: _flag,
    Kind.NUMBER: _number,
    Kind.MOMENT: _moment,
    Kind.DATE: _picker("datepicker", "initial_date", r"\d{4}-\d\d-\d\d$"),
    Kind.TIME: _picker("timepicker", "initial_time", r"([01]\d|2[0-3]):[0-5]\d"),
    Kind.LINES: _lines,
    Kind.TEXT: _text,
}


def _moment_of(state: Spec) -> str | None:
    at = state.get("selected_date_time")
    return datetime.fromtimestamp(int(at), UTC).isoformat() if at else None


_READ: dict[Kind, Callable[[Spec], Any]] = {
    Kind.CHOICE: lambda state: (state.get("selected_option") or {}).get("value"),
    Kind.FLAG: lambda state: bool(state.get("selected_options")),
    Kind.NUMBER: lambda state: str(state.get("value") or "").strip(),
    Kind.MOMENT: _moment_of,
    Kind.DATE: lambda state: state.get("selected_date"),
    Kind.TIME: lambda state: state.get("selected_time"),
    Kind.LINES: lambda state: str(state.get("value") or "").replace(",", " ").split(),
    Kind.TEXT: lambda state: str(state.get("value") or "").strip(),
}


def option(value: str, text: str, description: str = "") -> Block:
    """Return one choice, within Slack's limits."""
    more = {"description": _plain(description, OPTION_TEXT)} if description else {}
    return {"value": value, "text": _plain(text, OPTION_TEXT), **more}


def _plain(text: str, longest: int) -> Block:
    return {"type": "plain_text", "text": plain(text, longest), "emoji": False}
