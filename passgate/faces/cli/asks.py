"""Make `passgate plan` and `passgate request` of the runbooks' own models; a new runbook needs no edit here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from difflib import get_close_matches
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from cyclopts import App, Parameter
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from passgate.engine.catalogue import load
from passgate.engine.steps import Runbook
from passgate.errors import InputError
from passgate.faces.cli import changes, schedules
from passgate.faces.cli.terminal import Answer
from passgate.settings.mistakes import mistakes
from passgate.settings.place import content
from passgate.settings.schedules import Missed, Overlap, ScheduleRule

Command = Callable[..., Iterator[Answer]]
WAIT = inspect.Parameter(
    "wait",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, Parameter(negative=(), help="Stay until the change has ended, and show its progress")],
)
EXPLAIN = inspect.Parameter(
    "explain",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, Parameter(negative=(), help="Say which rule of the policy asks for what")],
)


def _text(name: str, help: str, default: Any = None) -> inspect.Parameter:  # noqa: A002 - cyclopts' name
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(
        name, kind, default=default, annotation=Annotated[str | None, Parameter(name=f"--{name}", help=help)]
    )


def schedule_options() -> list[inspect.Parameter]:
    """Return the options of a schedule, with the words of its own model; no runbook may have a field of that name."""
    told = {name: info.description or "" for name, info in ScheduleRule.model_fields.items()}
    name = inspect.Parameter(
        "name",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        annotation=Annotated[str, Parameter(help="Name of the schedule, such as backup-friday")],
    )
    missed, overlap = (
        inspect.Parameter(
            field,
            inspect.Parameter.KEYWORD_ONLY,
            default="skip",
            annotation=Annotated[kind, Parameter(help=told[field])],
        )
        for field, kind in (("missed", Missed), ("overlap", Overlap))
    )
    paused = inspect.Parameter(
        "paused",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, Parameter(negative=(), help=told["paused"])],
    )
    texts = [_text(field, told[field]) for field in ("cron", "rrule", "first", "ends")]
    zone = _text("zone", told["zone"], "UTC")
    return [
        name,
        *texts,
        zone,
        missed,
        overlap,
        _text("late", told["late"], "4h"),
        _text("text", told["text"], ""),
        paused,
    ]


def runbook_first(words: list[str]) -> list[str]:
    """Put the runbook before the name and the times: people write `schedule add NAME --cron ... RUNBOOK --options`."""
    slugs = load(content())
    place = next((index for index, word in enumerate(words) if index > 1 and word in slugs), None)
    if place is None and len(words) > 2 and not {"--help", "-h"} & set(words):  # noqa: PLR2004 - `schedule add`
        raise _no_runbook(words[2:], slugs)
    if place is None:
        return words
    return [*words[:2], words[place], *words[2:place], *words[place + 1 :]]


def _no_runbook(given: list[str], slugs: Collection[str]) -> InputError:
    """Say that none of the words after `schedule add` is a runbook, and which one may be meant."""
    near = next(((word, close[0]) for word in given if (close := get_close_matches(word, slugs, 1))), None)
    return InputError(
        f"runbook: there is none called {near[0]!r}." if near else "runbook: none of these words is one.",
        hint=(f"Did you mean {near[1]}? " if near else "")
        + f"passgate schedule add NAME --cron ... RUNBOOK ...; runbooks: {', '.join(slugs)}.",
        subject="runbook",
    )


def add_runbooks(app: App, verb: str) -> None:
    """Give the app one command per runbook of the content."""
    for slug, runbook in load(content()).items():
        app.command(command(verb, runbook), name=slug)


def command(verb: str, runbook: Runbook[Any]) -> Command:
    """Return the command for a runbook, whose options are the fields of its ask."""
    schedule = schedule_options() if verb == "schedule" else []

    def run(name: str = "", *, wait: bool = False, explain: bool = False, **given: Any) -> Iterator[Answer]:
        times = {one.name: given.pop(one.name) for one in schedule if one.name in given}
        asked = checked(runbook, given)
        if verb == "schedule":
            return schedules.add({"name": name, "runbook": runbook.slug, "ask": asked, **times})
        if verb == "plan":
            return changes.plan(runbook.slug, asked, explain=explain)
        return changes.request(runbook.slug, asked, wait=wait)

    told = runbook.ask.model_json_schema()["properties"]
    options = [_option(name, info, told[name]) for name, info in runbook.ask.model_fields.items()]
    options += {"request": [WAIT], "plan": [EXPLAIN], "schedule": schedule[1:]}[verb]
    options = [*schedule[:1], *options]
    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined] # what inspect and cyclopts look for
    run.__annotations__ = {one.name: one.annotation for one in options}
    run.__name__ = runbook.slug
    run.__doc__ = f"{runbook.title}.\n\n{runbook.description}"
    return run


def checked(runbook: Runbook[Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return what was given as JSON, if the runbook's model takes it. Raises InputError that names the options."""
    try:
        ask = runbook.ask.model_validate(given)
    except ValidationError as error:
        raise _in_words(error, runbook) from None
    asked: dict[str, Any] = ask.model_dump(mode="json", exclude_unset=True)
    return asked


def _in_words(error: ValidationError, runbook: Runbook[Any]) -> InputError:
    wrong = mistakes(error, runbook.ask)
    lines = [f"{'--' + one.where.replace('_', '-') if one.where else 'the options'}: {one.words}" for one in wrong]
    hints = [one.hint for one in wrong if one.hint]
    see = f"`passgate request {runbook.slug} --help` describes each option."
    return InputError("\n".join(lines), hint=" ".join((*hints, see)), subject=runbook.slug)


def _option(name: str, info: FieldInfo, told: dict[str, Any]) -> inspect.Parameter:
    """Return the option of a field; `told` is what the form says of it, words of its type included."""
    is_flag = info.annotation is bool and not info.default
    words = told.get("description") or told.get("title") or ""
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if info.is_required() else info.get_default(call_default_factory=True),
        annotation=Annotated[cli_type(info.annotation), Parameter(help=words, negative=() if is_flag else None)],
    )


def cli_type(annotation: Any) -> Any:
    """Return the type whose text a person would write: flags, numbers, choices, lists; all else is text."""
    origin, parts = get_origin(annotation), get_args(annotation)
    inner = [cli_type(part) for part in parts if part is not NoneType] if origin is not Literal else []
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return Literal[tuple(member.value for member in annotation)]
    if origin is Annotated:
        return inner[0]
    if origin in {Union, UnionType}:
        one = inner[0] if len(set(inner)) == 1 else str
        return one | None if NoneType in parts else one
    if origin in {list, tuple, set, frozenset}:
        return list[inner[0]]  # type: ignore[valid-type] # made at run time
    return annotation if origin is Literal or annotation in {bool, int, float} else str
