"""Read config/ into a Config, once; every error names file, line and field, what was given and what is accepted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from passgate.errors import ConfigError
from passgate.settings.agree import disagreements
from passgate.settings.agree_calendar import calendar_disagreements
from passgate.settings.agree_schedules import schedule_disagreements
from passgate.settings.agree_targets import target_disagreements
from passgate.settings.agree_user_groups import user_group_disagreements
from passgate.settings.attachments import Attachments
from passgate.settings.calendar import TAGS as TIMES
from passgate.settings.calendar import Calendar, CalendarFile, Feed, Freeze, Window
from passgate.settings.feeds import flaws
from passgate.settings.mistakes import did_you_mean, given, mistake
from passgate.settings.people import People
from passgate.settings.rules import Policy
from passgate.settings.schedules import ScheduleFile
from passgate.settings.shape import Chat, Config, Devices, LabWorld, Service, Site
from passgate.settings.targets import Targets
from passgate.settings.values import FromEnv, FromFile, Settings

FILES: dict[str, type[Settings]] = {
    "site": Site,
    "people": People,
    "chat": Chat,
    "devices": Devices,
    "attachments": Attachments,
    "service": Service,
    "targets": Targets,
    "lab": LabWorld,
}
"""File name without `.yaml` -> what it holds. Policies and calendar have folders of their own."""

REQUIRED = ("site.yaml", "people.yaml")
POLICIES, CALENDAR, SCHEDULES = "policies", "calendar", "schedules"
TAGS = frozenset({"value", "env", "file"})
"""The kinds of a text or a reference, as settings tell them apart."""
S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Document:
    """Hold one YAML file as it was read: its data, and where each part of it stands."""

    path: Path
    data: CommentedMap

    def line(self, loc: tuple[int | str, ...]) -> int:
        """Return the line, counted from 1, of the part of the data that is nearest to that place."""
        node: Any = self.data
        line = 0
        for part in loc:
            if (isinstance(node, CommentedMap) and part in node) or (
                isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node)
            ):
                line = node.lc.data.get(part, (line,))[0] if node.lc.data else line
                node = node[part]
        return line + 1


def load_config(folder: Path) -> Config:
    """Return everything in that folder, checked. Raises ConfigError with every mistake of the first wrong kind."""
    if not folder.is_dir():
        raise ConfigError(
            f"There is no config folder {folder}.",
            hint="Name the folder in PASSGATE_CONFIG, or run Passgate where config/ is.",
            subject=str(folder),
        )
    _refuse_strangers(folder)
    documents = {name: _read(folder / f"{name}.yaml") for name in FILES if (folder / f"{name}.yaml").exists()}
    pages = [_read(path) for path in sorted((folder / POLICIES).glob("*.yaml"))]
    parts = {name: _checked(document, FILES[name]) for name, document in documents.items()}
    policies = [_checked(page, Policy) for page in pages]
    rules = tuple(rule for policy in policies for rule in policy.rules)
    site = parts["site"]
    schedules, more = _schedules(folder / SCHEDULES)
    calendar, entries = _calendar(folder / CALENDAR, site.zone if isinstance(site, Site) else "UTC")
    config = Config.model_validate(
        {**parts, "policy": Policy(rules=rules), "calendar": calendar, "schedules": schedules}
    )
    places = {
        "people": [(documents["people"], index) for index in range(len(config.people.people))],
        "rules": [(page, index) for page, one in zip(pages, policies, strict=True) for index in range(len(one.rules))],
        **entries,
        **more,
        "owners": [(documents["targets"], index) for index in range(len(config.targets.owners))],
    }
    people = config.people.people
    found = (
        *disagreements(people, config.policy.rules),
        *calendar_disagreements(calendar.windows, calendar.freezes, people),
        *schedule_disagreements(schedules.schedules, people),
        *target_disagreements(config.targets, config.policy.rules, calendar, people),
    )
    mistakes = []
    for part, index, field, words in found:
        document, place = places[part][index]
        mistakes.append(_mistake(document, (part, place, field), words))
    bound = user_group_disagreements(config.people, has_slack=config.chat.slack is not None)
    mistakes += [_mistake(documents["people"], ("slack_groups", group), words) for group, words in bound]
    _raise(mistakes, folder)
    return config


Places = dict[str, list[tuple[Document, int]]]
"""Which file each entry of a list that several files make up comes from, and its position there."""


def _schedules(folder: Path) -> tuple[ScheduleFile, Places]:
    """Return all files of config/schedules/ as one."""
    pages = [_read(path) for path in sorted(folder.glob("*.yaml"))]
    files = [_checked(page, ScheduleFile) for page in pages]
    places = [(page, index) for page, file in zip(pages, files, strict=True) for index in range(len(file.schedules))]
    return ScheduleFile(schedules=tuple(one for file in files for one in file.schedules)), {"schedules": places}


def _calendar(folder: Path, zone: str) -> tuple[Calendar, Places]:
    """Return all files of config/calendar/ as one, each entry with its zone."""
    pages = [_read(path) for path in sorted(folder.glob("*.yaml"))]
    files = [_checked(page, CalendarFile) for page in pages]
    windows: list[Window] = []
    freezes: list[Freeze] = []
    places: Places = {"windows": [], "freezes": []}
    for page, file in zip(pages, files, strict=True):
        own = file.zone or zone
        windows += [one.model_copy(update={"zone": one.zone or own}) for one in file.windows]
        freezes += [one.model_copy(update={"zone": one.zone or own}) for one in file.freezes]
        places["windows"] += [(page, index) for index in range(len(file.windows))]
        places["freezes"] += [(page, index) for index in range(len(file.freezes))]
    feeds = {path.name: _feed(path) for path in sorted(folder.glob("*.ics"))}
    calendar = Calendar(zone=zone, windows=tuple(windows), freezes=tuple(freezes), feeds=feeds)
    _raise([*_lost_feeds(calendar, places), *_idle_feeds(calendar, folder)], folder)
    return calendar, places


def _feed(path: Path) -> str:
    text = _text(path)
    _raise([f"{path}, line {line}: {words}" for line, words in flaws(text)], path)
    return text


def _lost_feeds(calendar: Calendar, places: Places) -> Iterator[str]:
    """Yield which entry names an ICS file that is not there."""
    for part, entries in (("windows", calendar.windows), ("freezes", calendar.freezes)):
        for (document, place), entry in zip(places[part], entries, strict=True):
            for position, one in enumerate(entry.when):
                if isinstance(one, Feed) and one.ics not in calendar.feeds:
                    meant = did_you_mean(one.ics, list(calendar.feeds))
                    words = f"there is no file {one.ics} in {document.path.parent}.{meant}".rstrip(".")
                    yield _mistake(document, (part, place, "when", position, "ics"), words)


def _idle_feeds(calendar: Calendar, folder: Path) -> Iterator[str]:
    """Yield which ICS file no entry names: a freeze that nobody reads must not look like one that holds."""
    entries = (*calendar.windows, *calendar.freezes)
    named = {one.ics for entry in entries for one in entry.when if isinstance(one, Feed)}
    yield from (f"{folder / name}: no window and no freeze names this file" for name in calendar.feeds.keys() - named)


def resolve(reference: str | FromEnv | FromFile, home: Path) -> str:
    """Return the value that the reference stands for. Raises ConfigError that names the place, never the value."""
    if isinstance(reference, str):
        return reference
    if isinstance(reference, FromEnv):
        value = os.environ.get(reference.env, "")
        if not value:
            raise ConfigError(
                f"The environment variable {reference.env} is not set.",
                hint=f"Set {reference.env} where Passgate is started, or name another place in config/.",
                subject=reference.env,
            )
        return value
    path = home / Path(reference.file).expanduser()
    try:
        value = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"The file {path} can't be read: {error.strerror}.",
            hint="It is named in config/. Create it, or name another place"
            + ("; the lab's files are there once `passgate lab start` has run." if "lab" in path.parts else "."),
            subject=str(path),
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"The file {path} is not text in UTF-8.", subject=str(path)) from None
    value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise ConfigError(f"The file {path} is empty.", hint="It should hold the value.", subject=str(path))
    return value


def _refuse_strangers(folder: Path) -> None:
    """Refuse files that would be overlooked: a typing error in a file's name must not become a default."""
    known = [f"{name}.yaml" for name in FILES]
    folders = (folder / POLICIES, folder / CALENDAR, folder / SCHEDULES)
    taken = {folder / name for name in known}
    taken |= {path for one in folders for path in one.glob("*.yaml")} | set((folder / CALENDAR).glob("*.ics"))
    looked_at = (folder.glob("*.y*ml"), folder.glob("*.ics"), *(one.glob("*.[yYiI]*") for one in folders))
    for path in sorted(set(chain.from_iterable(looked_at)) - taken):
        meant = known if path.parent == folder else [f"{path.stem}.yaml", f"{path.stem}.ics"]
        raise ConfigError(
            f"{path}: not a file that Passgate knows.{did_you_mean(path.name, meant)}",
            hint=f"Accepted: {', '.join(known)}, {POLICIES}/*.yaml, {SCHEDULES}/*.yaml, {CALENDAR}/*.yaml and "
            f"{CALENDAR}/*.ics.",
            subject=str(path),
        )
    for name in REQUIRED:
        if not (folder / name).is_file():
            raise ConfigError(f"{folder / name} is missing.", hint="Every site needs it.", subject=str(folder / name))
    if not any((folder / POLICIES).glob("*.yaml")):
        raise ConfigError(
            f"There is no policy in {folder / POLICIES}.",
            hint="Without a rule nothing could ever be approved: add one such as 20-normal.yaml.",
            subject=str(folder / POLICIES),
        )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}.", subject=str(path)) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text in UTF-8.", subject=str(path)) from None


def _read(path: Path) -> Document:
    """Return the file's data. Raises ConfigError for what is not one YAML mapping."""
    text = _text(path)
    try:
        data = YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{path}{line}: {_why_not_yaml(error)}.", hint="Correct the file and try again.", subject=str(path)
        ) from None
    except YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {str(error).splitlines()[0]}.", subject=str(path)) from None
    if data is None:
        raise ConfigError(f"{path} is empty.", hint="Fill it in, or delete it if it is optional.", subject=str(path))
    if not isinstance(data, CommentedMap):
        raise ConfigError(f"{path}, line 1: given {given(data)}; accepted: fields, one per line, as `name: value`.")
    return Document(path, data)


def _why_not_yaml(error: MarkedYAMLError) -> str:
    problem = (error.problem or error.context or "not YAML").strip().splitlines()[0]
    if "duplicate key" in problem:
        return problem.split(" with value")[0].replace("found duplicate key", "the same field is given twice:")
    if "\\t" in problem or "\t" in problem:
        return "a tab; YAML is indented with spaces"
    return f"not YAML: {problem}"


def _checked(document: Document, model: type[S]) -> S:
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        found = [mistake(one, _untagged(one["loc"]), model) for one in error.errors()]
        wrong = [_mistake(document, one.place, one.whole) for one in found]
    _raise(wrong, document.path)
    raise ConfigError(f"{document.path} is wrong.", subject=str(document.path))


def _mistake(document: Document, loc: tuple[int | str, ...], words: str) -> str:
    return f"{document.path}, line {document.line(loc)}: {_field(loc) or 'the file'}: {words}"


def _raise(mistakes: list[str], where: Path) -> None:
    if mistakes:
        raise ConfigError(
            "\n".join(f"{one}." for one in mistakes),
            hint="Every field is described in config/schema/; correct the file and try again.",
            subject=str(where),
        )


def _field(loc: tuple[int | str, ...]) -> str:
    """Return `rules[0].approval.needed`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def _untagged(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return the place as the file has it: pydantic adds the kind of a reference, and `[key]`."""
    kept: list[int | str] = []
    skipped = False
    for index, part in enumerate(loc):
        skipped = part == "[key]" or part in TIMES or (part in TAGS and not skipped and index < len(loc) - 1)
        if not skipped:
            kept.append(part)
    return tuple(kept)
