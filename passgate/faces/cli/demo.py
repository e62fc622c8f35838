"""Show a whole job once, on real wires, in the lab: the first thing that a newcomer runs.

What it shows is what a person would type: each command line is run as it is printed. What is asked, and who decides
where, is data in `demo_stories`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from passgate.errors import PassgateError, WorldError
from passgate.faces.cli import words
from passgate.faces.cli.client import Service
from passgate.faces.cli.demo_proof import guest_facts, guest_lines
from passgate.faces.cli.demo_stories import PLAN, STORIES, Act, Decision, Story
from passgate.faces.cli.progress import PATIENCE, until, waiting
from passgate.faces.cli.terminal import Answer

if TYPE_CHECKING:
    from passgate.faces.cli.demo_slack import LabSlack
    from passgate.faces.cli.demo_stage import Stage

Json = dict[str, Any]

PATIENCE_WITH_PEOPLE = 60
"""Seconds that somebody at the terminal has to click, before the demo does."""

LOOK_SECONDS = 5.0
"""How long the service holds one question for news."""

INTERRUPTED = 130
DOCS = "README.md and docs/ of the project"
OPEN = ("requested", "planned", "waiting", "approved", "scheduled")


@dataclass
class Told:
    """Hold a change of the story: its events so far, how many of them were shown, and how it ended."""

    id: str
    seen: list[Json] = field(default_factory=list)
    shown: int = 0
    end: Json = field(default_factory=dict)

    def decisions(self, gate: str) -> list[Json]:
        """Return the decisions at that gate."""
        return [one for one in self.seen if one["type"] == "decision.recorded" and _gate(one) == gate]

    def has(self, kind: str, gate: str = "") -> bool:
        """Say whether an event of that kind was seen, at that gate if one is named."""
        return any(one["type"] == kind and gate in {"", _gate(one)} for one in self.seen)


def demo(
    *,
    story: Annotated[
        Literal["usb", "pci", "approvals", "schedules"],
        Parameter(
            help="usb: a stick for a Windows VM. pci: a USB controller for a VM, with a host reboot behind a gate. "
            "approvals: who has to agree, who can't, and what ends a request. schedules: a backup disk over the weekend"
        ),
    ] = "usb",
    keep: Annotated[
        bool, Parameter(negative=(), help="Leave everything running, also where there is no terminal")
    ] = False,
) -> Iterator[Answer]:
    """Show a whole job in the lab, from the request to the evidence: a USB stick for a VM. Nothing real is touched.

    It works in `.passgate` of this folder. On a terminal you may click in the lab's Slack, and everything stays up for
    you to look around; elsewhere the demo clicks, and stops what it started.
    """
    from passgate.faces.cli.demo_stage import stage

    is_attended = sys.stdin.isatty() and sys.stdout.isatty()
    try:
        with stage() as taken, _config_of(STORIES[story], taken):
            told = _story(story, taken, is_attended=is_attended, keep=keep or is_attended)
            taken.is_kept = yield from told
    except KeyboardInterrupt:
        yield Answer(["", "Interrupted. Everything that the demo had started is stopped."], exit_code=INTERRUPTED)


def _story(name: str, stage: Stage, *, is_attended: bool, keep: bool) -> Generator[Answer, None, bool]:
    """Tell the story; returns whether what runs is to be kept."""
    from passgate.faces.cli.demo_slack import LabSlack
    from passgate.faces.cli.demo_stage import insist_on_lab
    from passgate.model.change import EXIT_CODES, State

    story = STORIES[name]
    chapters = _numbered()
    times = [time.monotonic()]

    yield _said(
        chapters("A datacenter to try it on"),
        "The lab: a simulated vCenter with three ESXi hosts, guests, and a Slack workspace,",
        "reached over their real protocols on this machine only. Nothing real is touched.",
    )
    (lab,) = yield from _typed("passgate lab start", "starting the lab")
    insist_on_lab(stage.home)
    slack = LabSlack(stage.home)
    yield _said(f"  vCenter at {lab.data['vcenter']}", f"  Slack at   {slack.page}")
    yield from _set(story, stage.home)
    times.append(time.monotonic())

    yield _said(
        chapters("Passgate starts"),
        "Its service, and Prefect's server, which runs the procedures. The first start takes longest.",
    )
    (up,) = yield from _typed("passgate up", "starting Passgate")
    prefect = up.data["prefect"]["url"].removesuffix("/api")
    yield _said(f"  service at {up.data['service']['url']}", f"  Prefect at {prefect}")
    yield from _repeated((yield from _typed("passgate token issue alice --save", "issuing a token for Alice")))
    service = Service(stage.home)
    _withdraw_leftovers(service)
    times.append(time.monotonic())

    changes = yield from _played(story, stage, service, slack, chapters, is_attended=is_attended)
    times.append(time.monotonic())

    seen = [event for one in changes for event in one.seen]
    if story.guest:
        yield _said(chapters("What the guest itself says"), *guest_lines(seen, story.guest))
    yield _said(chapters("What everybody read in Slack"))
    for one in changes:
        yield _said(*_thread_lines(slack, one.id)[: None if story.guest else 1])

    yield _said(
        chapters("The record"), "Everything above is in an append-only, signed ledger, and in one file per change."
    )
    (ledger,) = yield from _repeated((yield from _typed("passgate ledger verify", "checking the ledger")))
    bundles: list[Answer] = []
    for one in changes:
        line = f"passgate evidence verify {shlex.quote(_near(_evidence(stage, one)))}"
        bundles += yield from _repeated((yield from _typed(line, "checking the evidence")))

    last = changes[-1]
    ended = 0 if story.script else EXIT_CODES.get(State(last.end["state"]), 1)
    code = ended or ledger.exit_code or max(one.exit_code for one in bundles)
    is_kept = keep and not code
    if not code:
        where = _where_next(name, slack, last.id, prefect, _evidence(stage, last), is_kept=is_kept)
        yield _said(chapters("Where to look next"), *where)
    lab_took, start_took, change_took = (round(later - sooner) for sooner, later in pairwise(times))
    took = (
        f"The demo took {time.monotonic() - times[0]:.0f} s: the lab {lab_took} s, Passgate's start {start_took} s, "
        f"the change{'s' if len(changes) > 1 else ''} {change_took} s."
    )
    ends = " ".join(f"{one.id} is {one.end['state']}." for one in changes)
    yield Answer(
        ["", f"{ends} {'' if not code else words.AFTERWARDS[last.end['state']] + ' '}{took}"],
        {
            "story": name,
            "changes": [
                {
                    "change": one.id,
                    "state": one.end["state"],
                    "outcome": one.end["outcome"],
                    "evidence": {"file": str(_evidence(stage, one)), **bundle.data},
                }
                for one, bundle in zip(changes, bundles, strict=True)
            ],
            "guest": guest_facts(seen),
            "ledger": ledger.data,
            "home": str(stage.home),
            "running": is_kept,
        },
        code,
    )
    return is_kept


def _set(story: Story, home: Path) -> Iterator[Answer]:
    """Put the lab as the story needs it."""
    from passgate.faces.cli.demo_stage import set_scene

    for call, how in story.scenery:
        set_scene(home, call, how)
    if story.scene:
        yield _said(story.scene)


@contextmanager
def _config_of(story: Story, taken: Stage) -> Iterator[None]:
    """Use the config that the story needs, if it is another than the one shipped."""
    from passgate.faces.cli.demo_script import config_of

    with config_of(story.script, taken.home) if story.script else nullcontext():
        yield


def _played(
    story: Story, stage: Stage, service: Service, slack: LabSlack, chapters: Callable[[str], str], *, is_attended: bool
) -> Generator[Answer, None, list[Told]]:
    """Let everything of the story happen; an act that does not end well is the last."""
    from passgate.faces.cli.demo_script import Play
    from passgate.model.change import State

    changes: list[Told] = []
    if story.script:
        for name, text in story.script.config.items():
            yield _said(f"For this story config/{name} says:", *(f"  | {line}" for line in text.splitlines()))
        play = Play(stage.home, service, slack)
        yield from play.beats(story.script, chapters)
        changes = [Told(change) for change in play.changes.values()]
        for one in changes:
            _ended(service, one)
    for act in story.acts:
        changes.append((yield from _act(act, service, slack, chapters, is_attended=is_attended)))
        if changes[-1].end["state"] != State.DONE:
            break
    return changes


def _ended(service: Service, told: Told) -> None:
    """Read all that was recorded of a change, up to its evidence."""
    with waiting("waiting for the evidence"):
        until(lambda: told.has("evidence.written") or (_news(service, told, 1.0) and None), f"{told.id} has evidence")
    told.end = service.get("v1", "changes", told.id)["change"]


def _act(
    act: Act, service: Service, slack: LabSlack, chapters: Callable[[str], str], *, is_attended: bool
) -> Generator[Answer, None, Told]:
    """Ask for a change, let people decide wherever it waits, and show it to its end."""
    yield _said(chapters(act.title), act.wants)
    (asked,) = yield from _repeated((yield from _typed(act.request, "reading the datacenter and planning")))
    told = Told(str(asked.data["id"]))
    for decision in act.decisions:
        if decision.gate != PLAN and not told.has("gate.opened", decision.gate):
            break  # it ended before, or policy asks nobody there
        yield _said(chapters(decision.title))
        yield from _decision(decision, service, slack, told, is_attended=is_attended)
        yield _said(chapters(decision.then))
        yield from _carried_out(service, told)
    told.end = service.get("v1", "changes", told.id)["change"]
    return told


def _numbered() -> Callable[[str], str]:
    """Return what makes a heading of a title."""
    number = 0

    def heading(title: str) -> str:
        nonlocal number
        number += 1
        return f"\n{number}. {title}"

    return heading


def _typed(line: str, what: str) -> Generator[Answer, None, list[Answer]]:
    """Show a command line as a person would type it, and run that very line; returns what it has to say."""
    from passgate.faces.cli.main import build

    yield _said(f"$ {line}")
    given = shlex.split(line)[1:]
    with waiting(what):
        return list(build(given)(given, exit_on_error=False, print_error=False))


def _repeated(answers: list[Answer]) -> Generator[Answer, None, list[Answer]]:
    yield from (Answer([f"  {line}" for line in one.lines]) for one in answers)
    return answers


def _said(*lines: str) -> Answer:
    return Answer([part for line in lines for part in line.split("\n")])


def _decision(
    decision: Decision, service: Service, slack: LabSlack, told: Told, *, is_attended: bool
) -> Iterator[Answer]:
    """Wait for somebody's decision at a gate; when nobody takes it in time, click Approve as somebody who may."""
    from passgate.faces.cli.demo_slack import another

    with waiting("waiting for the message in Slack"):
        message = until(lambda: slack.asked(told.id, decision.gate), f"{told.id} is shown in Slack")
    approver = another({one["data"].get("person") or one["actor"]["person"] for one in told.decisions(PLAN)})
    where = slack.address(told.id, approver)
    yield _said(decision.words)
    if is_attended:
        yield _said(f"Be {approver.name}, and click Approve (or Deny, to see what that does):", f"  {where}")
        yield _said(f"In {PATIENCE_WITH_PEOPLE} s the demo clicks Approve as {approver.name}.")
        _wait_for_people(decision.gate, service, slack, told)
    else:
        yield _said(f"{approver.name} sees it here, and may click Approve or Deny:", f"  {where}")
    if not told.decisions(decision.gate) and slack.click_approve(message, approver):
        nobody = "Nobody clicked" if is_attended else "Nobody is at this terminal"
        yield _said(
            f"{nobody}, so the demo has clicked Approve as {approver.name}. It went out over Slack's websocket."
        )
    with waiting("waiting for the decision to be counted"):
        until(
            lambda: told.decisions(decision.gate) or (_news(service, told, 1.0) and told.decisions(decision.gate)),
            f"the click on {told.id} is counted",
        )


def _wait_for_people(gate: str, service: Service, slack: LabSlack, told: Told) -> None:
    """Give people their time to click, and whoever has a dialog open the time to fill it in."""
    started = time.monotonic()
    with waiting("") as say:
        while not told.decisions(gate) and (passed := time.monotonic() - started) < PATIENCE:
            left = PATIENCE_WITH_PEOPLE - passed
            if left <= 0 and not slack.has_open_dialog():
                return
            say(f"waiting for your click, {left:.0f} s" if left > 0 else "waiting for the dialog that is open in Slack")
            _news(service, told, 1.0)


def _carried_out(service: Service, told: Told) -> Iterator[Answer]:
    """Show each step as it happens, until the change waits at its next gate or its evidence is written."""
    shown = max(told.shown, next(at for at, one in enumerate(told.seen) if one["type"] == "decision.recorded"))
    gates = len(_opened(told))
    deadline = time.monotonic() + PATIENCE
    while True:
        yield _said(*(f"  {line}" for line in map(words.event_line, told.seen[shown:]) if line))
        told.shown = shown = len(told.seen)
        if told.has("evidence.written") or len(_opened(told)) > gates:
            return
        if time.monotonic() > deadline:
            raise WorldError(f"{told.id} did not end within {PATIENCE:.0f} s.", hint=f"See `passgate show {told.id}`.")
        with waiting("working"):
            _news(service, told, LOOK_SECONDS)


def _opened(told: Told) -> list[Json]:
    return [one for one in told.seen if one["type"] == "gate.opened"]


def _gate(event: Json) -> str:
    return str(event["data"].get("gate") or PLAN)


def _news(service: Service, told: Told, wait: float) -> list[Json]:
    """Wait that long for events that were not seen yet, and add them to those that were."""
    after = told.seen[-1]["seq"] if told.seen else 0
    new: list[Json] = service.get("v1", "changes", told.id, "events", after=after, wait=wait)["events"]
    told.seen += new
    return new


def _withdraw_leftovers(service: Service) -> None:
    """Take back what an interrupted demo left open, so that it does not wake up in this one."""
    for one in service.get("v1", "changes", state=OPEN)["changes"]:
        with suppress(PassgateError):  # one that has just begun goes on, and ends by itself
            service.post("v1", "changes", one["id"], "withdraw", body={"reason": "left over by an interrupted demo"})


def _thread_lines(slack: LabSlack, change: str) -> list[str]:
    """Return the change's thread; chat follows the ledger, so its last message may need a moment."""

    def thread() -> list[str]:
        lines = list(slack.thread(change))
        return lines if f"{change}.zip" in " ".join(lines) else []

    with waiting("waiting for the last message in Slack"):
        parent, *replies = until(thread, f"the thread of {change} is complete")
    return [parent, *(f"  | {line}" for line in replies)]


def _where_next(
    name: str, slack: LabSlack, change: str, prefect: str, evidence: Path, *, is_kept: bool
) -> Iterator[str]:
    """Say what to look at: pages only while they are up."""
    from passgate.faces.cli.demo_slack import another

    passgate = _program()
    if is_kept:
        yield f"  the thread in Slack   {slack.address(change, another(set()))}"
        yield f"  the run in Prefect    {prefect}"
        yield f"  the change            {passgate} show {change}"
        yield f"  ask for another one   {', '.join(f'{passgate} {one}' for one in STORIES[name].another)}"
    else:
        story = "" if name == "usb" else f" --story {name}"
        yield f"  run it all again      {passgate} demo{story} --keep, which leaves everything up to look around"
    yield from (f"  another story         {passgate} demo --story {other}" for other in STORIES if other != name)
    yield f"  the evidence          {_near(evidence)}: the verify.py in it checks it without Passgate"
    yield f"  the documentation     {DOCS}"
    if is_kept:
        yield f"  stop everything       {passgate} down && {passgate} lab stop"


def _evidence(stage: Stage, told: Told) -> Path:
    return stage.home / "evidence" / f"{told.id}.zip"


def _program() -> str:
    """Return how a person calls the `passgate` that runs here."""
    beside = Path(sys.executable).with_name("passgate")
    found = shutil.which("passgate")
    is_on_path = found is not None and beside.exists() and Path(found).samefile(beside)
    return "passgate" if is_on_path or not beside.exists() else shlex.quote(_near(beside))


def _near(path: Path) -> str:
    """Return the path as seen from here, where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)
