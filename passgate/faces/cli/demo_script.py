"""Play a script of the demo: several people type and click, each as themselves, and the datacenter changes meanwhile.

Each line is run as it is printed, over the service's API with the token of who types it; each click goes out over the
wire of the lab's Slack. A line that should be refused and is not, or the other way round, ends the demo with an error.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from passgate.errors import PassgateError, WorldError
from passgate.faces.cli.progress import until, waiting
from passgate.faces.cli.terminal import Answer

if TYPE_CHECKING:
    from pathlib import Path

    from passgate.faces.cli.client import Service
    from passgate.faces.cli.demo_slack import LabSlack

TOKEN = "PASSGATE_TOKEN"  # noqa: S105 - the name of an environment variable


@dataclass(frozen=True)
class Chapter:
    """Begin something new, and say what it is about."""

    title: str
    words: str


@dataclass(frozen=True)
class Types:
    """Let somebody type a command. `{X}` in it is the change that an earlier line filed under `files="X"`.

    `refused` says that Passgate must not do it; `code` is the exit code that it must end with otherwise.
    """

    who: str
    line: str
    files: str = ""
    refused: bool = False
    code: int = 0
    what: str = "asking Passgate"


@dataclass(frozen=True)
class Clicks:
    """Let somebody click Approve on a change in Slack; `words` say what comes of it."""

    who: str
    change: str
    words: str


@dataclass(frozen=True)
class Happens:
    """Let something happen in the datacenter that nobody asked Passgate for: a call of the lab's control."""

    words: str
    call: str
    how: Mapping[str, Any]


@dataclass(frozen=True)
class Passes:
    """Let time go by, in seconds, such as until a guest has booted."""

    words: str
    seconds: float


Beat = Chapter | Types | Clicks | Happens | Passes


@dataclass(frozen=True)
class Script:
    """Hold what is played, and what config/ says for it beyond what is shipped: file name -> text."""

    config: Mapping[str, str]
    beats: tuple[Beat, ...]

    @property
    def people(self) -> tuple[str, ...]:
        """Return who types."""
        return tuple(dict.fromkeys(beat.who for beat in self.beats if isinstance(beat, Types)))


class Play:
    """Play a script in a home whose lab and service run."""

    def __init__(self, home: Path, service: Service, slack: LabSlack) -> None:
        self._home, self._service, self._slack = home, service, slack
        self._tokens: dict[str, str] = {}
        self.changes: dict[str, str] = {}
        """What the script calls a change -> its id, in the order in which they were filed."""

    def beats(self, script: Script, chapters: Any) -> Iterator[Answer]:
        """Play them one after the other."""
        for person in script.people:
            self._tokens[person] = self._token(person)
        for beat in script.beats:
            match beat:
                case Chapter():
                    yield Answer([*chapters(beat.title).split("\n"), *beat.words.split("\n")])
                case Types():
                    yield from self._types(beat)
                case Clicks():
                    yield from self._clicks(beat)
                case Passes():
                    yield Answer(["", beat.words])
                    with waiting("waiting"):
                        time.sleep(beat.seconds)
                case Happens():
                    from passgate.faces.cli.demo_stage import set_scene

                    yield Answer(["", beat.words])
                    set_scene(self._home, beat.call, beat.how)

    def _types(self, beat: Types) -> Generator[Answer, None, None]:
        line = beat.line.format(**self.changes)
        yield Answer([f"{beat.who}$ {line}"])
        given = shlex.split(line)[1:]
        try:
            with waiting(beat.what), self._as(beat.who):
                answers = _run(given)
        except PassgateError as error:
            lines = [f"  {error.message}", *([f"  What to do: {error.hint}"] if error.hint else [])]
            yield Answer([part for one in lines for part in one.split("\n")])
            if not beat.refused:
                raise
            return
        for one in answers:
            yield Answer([f"  {each}" for each in one.lines])
        code = next((one.exit_code for one in reversed(answers)), 0)
        if beat.refused or code != beat.code:
            raise WorldError(f"`{line}` should have been {'refused' if beat.refused else f'ended with {beat.code}'}.")
        if beat.files:
            self.changes[beat.files] = str(answers[-1].data["id"])

    def _clicks(self, beat: Clicks) -> Iterator[Answer]:
        from passgate.faces.cli.demo_slack import person

        change, who = self.changes[beat.change], person(beat.who)
        before = len(self._decisions(change))
        with waiting("waiting for the message in Slack"):
            message = until(lambda: self._slack.asked(change, "plan"), f"{change} is shown in Slack")
        self._slack.click_approve(message, who)
        with waiting("waiting for the click to be counted"):
            until(lambda: len(self._decisions(change)) > before, f"{who.name}'s click on {change} is counted")
        yield Answer([f"{who.name} clicks Approve on {change} in Slack. {beat.words}"])

    def _decisions(self, change: str) -> Sequence[Any]:
        told: Sequence[Any] = self._service.get("v1", "changes", change)["decisions"]
        return told

    def _token(self, person: str) -> str:
        return str(_run(["token", "issue", person])[0].data["token"])

    @contextmanager
    def _as(self, person: str) -> Iterator[None]:
        os.environ[TOKEN] = self._tokens[person]
        try:
            yield
        finally:
            os.environ.pop(TOKEN, None)


def _run(given: list[str]) -> list[Answer]:
    from passgate.faces.cli.main import build

    return list(build(given)(given, exit_on_error=False, print_error=False))


@contextmanager
def config_of(script: Script, home: Path) -> Iterator[None]:
    """Use a copy of config/ with what the script adds, for as long as it is played."""
    import shutil

    from passgate.settings.place import config_dir

    before, own = os.environ.get("PASSGATE_CONFIG"), home / "config"
    shutil.rmtree(own, ignore_errors=True)
    shutil.copytree(config_dir(), own)
    for name, text in script.config.items():
        path = own / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    os.environ["PASSGATE_CONFIG"] = str(own)
    try:
        yield
    finally:
        os.environ.pop("PASSGATE_CONFIG")
        if before is not None:
            os.environ["PASSGATE_CONFIG"] = before
