"""Show the main job once, whole and on real wires, in the lab: the first thing that a newcomer runs.

What it shows is what a person would type: each command line is run as it is printed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from cyclopts import Parameter

from passgate.errors import PassgateError, WorldError
from passgate.faces.cli import words
from passgate.faces.cli.client import Service
from passgate.faces.cli.demo_wait import waiting
from passgate.faces.cli.terminal import Answer

if TYPE_CHECKING:
    from passgate.faces.cli.demo_slack import LabSlack
    from passgate.faces.cli.demo_stage import Stage

Json = dict[str, Any]
T = TypeVar("T")

REQUEST = (
    "passgate request usb-attach --vm win-01 --device 18a5:0302 --vmotion "
    '--reason "The nightly backup of win-01 goes to this stick" --ticket CHG0031337'
)
PATIENCE_WITH_PEOPLE = 60
"""Seconds that somebody at the terminal has to click, before the demo does."""

PATIENCE = 120.0
"""Seconds for anything else to happen."""

LOOK_SECONDS = 5.0
"""How long the service holds one question for news."""

LOOK_EVERY = 0.1
INTERRUPTED = 130
DOCS = "README.md and docs/ of the project"
OPEN = ("requested", "planned", "waiting", "approved", "scheduled")
CHAPTERS = (
    "A datacenter to try it on",
    "Passgate starts",
    "Alice asks",
    "Somebody else decides",
    "What comes of it, step by step",
    "What the guest itself says",
    "What everybody read in Slack",
    "The record",
    "Where to look next",
)


def demo(
    *,
    keep: Annotated[
        bool, Parameter(negative=(), help="Leave everything running, also where there is no terminal")
    ] = False,
) -> Iterator[Answer]:
    """Attach a USB stick to a Windows VM of the lab, from the request to the evidence. Nothing real is touched.

    It works in `.passgate` of this folder. On a terminal you may click in the lab's Slack, and everything stays up for
    you to look around; elsewhere the demo clicks, and stops what it started.
    """
    from passgate.faces.cli.demo_stage import stage

    is_attended = sys.stdin.isatty() and sys.stdout.isatty()
    try:
        with stage() as taken:
            taken.is_kept = yield from _story(taken, is_attended=is_attended, keep=keep or is_attended)
    except KeyboardInterrupt:
        yield Answer(["", "Interrupted. Everything that the demo had started is stopped."], exit_code=INTERRUPTED)


def _story(stage: Stage, *, is_attended: bool, keep: bool) -> Generator[Answer, None, bool]:
    """Tell the story; returns whether what runs is to be kept."""
    from passgate.faces.cli.demo_slack import LabSlack
    from passgate.faces.cli.demo_stage import insist_on_lab
    from passgate.model.change import EXIT_CODES, State

    chapters = iter(f"\n{number}. {name}" for number, name in enumerate(CHAPTERS, 1))
    times = [time.monotonic()]

    yield _said(next(chapters), "The lab: a simulated vCenter with three ESXi hosts, guests, and a Slack workspace,")
    yield _said("reached over their real protocols on this machine only. Nothing real is touched.")
    (lab,) = yield from _typed("passgate lab start", "starting the lab")
    insist_on_lab(stage.home)
    slack = LabSlack(stage.home)
    yield _said(f"  vCenter at {lab.data['vcenter']}", f"  Slack at   {slack.page}")
    times.append(time.monotonic())

    yield _said(
        next(chapters), "Its service, and Prefect's server, which runs the procedures. The first start takes longest."
    )
    (up,) = yield from _typed("passgate up", "starting Passgate")
    prefect = up.data["prefect"]["url"].removesuffix("/api")
    yield _said(f"  service at {up.data['service']['url']}", f"  Prefect at {prefect}")
    yield from _told((yield from _typed("passgate token issue alice --save", "issuing a token for Alice")))
    service = Service(stage.home)
    _withdraw_leftovers(service)
    times.append(time.monotonic())

    yield _said(next(chapters), "Alice wants the Verbatim stick of host esx-01 in the Windows VM win-01, with vMotion.")
    (asked,) = yield from _told((yield from _typed(REQUEST, "reading the datacenter and planning")))
    change = str(asked.data["id"])
    seen: list[Json] = []

    yield _said(next(chapters))
    yield from _decision(service, slack, change, seen, is_attended=is_attended)

    yield _said(next(chapters))
    end = yield from _carried_out(service, change, seen)
    times.append(time.monotonic())

    yield _said(next(chapters), *_guest_lines(seen))
    yield _said(next(chapters), *_thread_lines(slack, change))

    yield _said(next(chapters), "Everything above is in an append-only, signed ledger, and in one file per change.")
    evidence = stage.home / "evidence" / f"{change}.zip"
    (ledger,) = yield from _told((yield from _typed("passgate ledger verify", "checking the ledger")))
    line = f"passgate evidence verify {shlex.quote(_near(evidence))}"
    (bundle,) = yield from _told((yield from _typed(line, "checking the evidence")))

    code = EXIT_CODES.get(State(end["state"]), 1) or ledger.exit_code or bundle.exit_code
    is_kept = keep and not code
    if not code:
        yield _said(next(chapters), *_where_next(slack, change, prefect, evidence, is_kept=is_kept))
    lab_took, start_took, change_took = (round(later - sooner) for sooner, later in pairwise(times))
    took = (
        f"The demo took {time.monotonic() - times[0]:.0f} s: "
        f"the lab {lab_took} s, Passgate's start {start_took} s, the change {change_took} s."
    )
    yield Answer(
        ["", f"{change} is {end['state']}. {'' if not code else words.AFTERWARDS[end['state']] + ' '}{took}"],
        {
            "change": change,
            "state": end["state"],
            "outcome": end["outcome"],
            "guest": _guest_facts(seen),
            "ledger": ledger.data,
            "evidence": {"file": str(evidence), **bundle.data},
            "home": str(stage.home),
            "running": is_kept,
        },
        code,
    )
    return is_kept


def _typed(line: str, what: str) -> Generator[Answer, None, list[Answer]]:
    """Show a command line as a person would type it, and run that very line; returns what it has to say."""
    from passgate.faces.cli.main import build

    yield _said(f"$ {line}")
    given = shlex.split(line)[1:]
    with waiting(what):
        return list(build(given)(given, exit_on_error=False, print_error=False))


def _told(answers: list[Answer]) -> Generator[Answer, None, list[Answer]]:
    yield from (Answer([f"  {line}" for line in one.lines]) for one in answers)
    return answers


def _said(*lines: str) -> Answer:
    return Answer([part for line in lines for part in line.split("\n")])


def _decision(
    service: Service, slack: LabSlack, change: str, seen: list[Json], *, is_attended: bool
) -> Iterator[Answer]:
    """Wait for somebody's decision; when nobody takes it in time, click Approve as Bob."""
    with waiting("waiting for the message in Slack"):
        message = _until(lambda: slack.parent(change), f"{change} is shown in Slack")
    yield _said("Passgate has asked in Slack. Alice can't approve her own change; Bob and Carol can.")
    if is_attended:
        yield _said("Be Bob, and click Approve (or Deny, to see what that does):", f"  {slack.address(message)}")
        yield _said(f"In {PATIENCE_WITH_PEOPLE} s the demo clicks Approve as Bob.")
        _wait_for_people(service, slack, change, seen)
    else:
        yield _said("Bob sees it here, and may click Approve or Deny:", f"  {slack.address(message)}")
    if not _decisions(seen) and slack.click_approve(message):
        nobody = "Nobody clicked" if is_attended else "Nobody is at this terminal"
        yield _said(f"{nobody}, so the demo has clicked Approve as Bob. It went out over Slack's own websocket.")
    with waiting("waiting for the decision to be counted"):
        _until(
            lambda: _decisions(seen) or (_news(service, change, seen, 1.0) and _decisions(seen)),
            f"the click on {change} is counted",
        )


def _wait_for_people(service: Service, slack: LabSlack, change: str, seen: list[Json]) -> None:
    """Give people their time to click, and whoever has a dialog open the time to fill it in."""
    started = time.monotonic()
    with waiting("") as say:
        while not _decisions(seen) and (passed := time.monotonic() - started) < PATIENCE:
            left = PATIENCE_WITH_PEOPLE - passed
            if left <= 0 and not slack.has_open_dialog():
                return
            say(f"waiting for your click, {left:.0f} s" if left > 0 else "waiting for the dialog that is open in Slack")
            _news(service, change, seen, 1.0)


def _carried_out(service: Service, change: str, seen: list[Json]) -> Generator[Answer, None, Json]:
    """Show each step as it happens, until the evidence is written; returns the change as it ended."""
    shown = next(place for place, event in enumerate(seen) if event["type"] == "decision.recorded")
    deadline = time.monotonic() + PATIENCE
    while not any(event["type"] == "evidence.written" for event in seen):
        with waiting("working"):
            _news(service, change, seen, LOOK_SECONDS)
        yield _said(*(f"  {line}" for line in map(words.event_line, seen[shown:]) if line))
        shown = len(seen)
        if time.monotonic() > deadline:
            raise WorldError(f"{change} did not end within {PATIENCE:.0f} s.", hint=f"See `passgate show {change}`.")
    ended: Json = service.get("v1", "changes", change)["change"]
    return ended


def _news(service: Service, change: str, seen: list[Json], wait: float) -> list[Json]:
    """Wait that long for events that were not seen yet, and add them to those that were."""
    after = seen[-1]["seq"] if seen else 0
    new: list[Json] = service.get("v1", "changes", change, "events", after=after, wait=wait)["events"]
    seen += new
    return new


def _decisions(seen: Sequence[Json]) -> list[Json]:
    return [event for event in seen if event["type"] == "decision.recorded"]


def _until(look: Callable[[], T | None], what: str) -> T:
    """Look again and again until there is something, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        if time.monotonic() > deadline:
            raise WorldError(f"Waited {PATIENCE:.0f} s in vain until {what}.")
        time.sleep(LOOK_EVERY)
    return found


def _withdraw_leftovers(service: Service) -> None:
    """Take back what an interrupted demo left open, so that it does not wake up in this one."""
    for one in service.get("v1", "changes", state=OPEN)["changes"]:
        with suppress(PassgateError):  # one that has just begun goes on, and ends by itself
            service.post("v1", "changes", one["id"], "withdraw", body={"reason": "left over by an interrupted demo"})


def _guest_facts(seen: Sequence[Json]) -> list[Json]:
    """Return what the guest's own commands told of the stick."""
    return [
        device
        for event in seen
        if event["type"] == "guest.proof"
        for device in event["data"].get("facts", {}).get("guest_usb", ())
    ]


def _guest_lines(seen: Sequence[Json]) -> Iterator[str]:
    found = _guest_facts(seen)
    if not found:
        yield "Nothing: the change was not carried out."
        return
    yield "Get-PnpDevice and Get-Disk, run inside win-01 through VMware Tools:"
    for device in found:
        yield f"  device  {device['name']} ({device['vendor']:04x}:{device['product']:04x}), status {device['status']}"
        yield f"  serial  {device['serial']}"
        for disk in device["disks"]:
            yield f"  disk    {disk['name']}, {disk['size'] / 1e9:.1f} GB, {disk['state']}, {disk['where']}"


def _thread_lines(slack: LabSlack, change: str) -> list[str]:
    """Return the change's thread; chat follows the ledger, so its last message may need a moment."""

    def thread() -> list[str]:
        message = slack.parent(change)
        lines = list(slack.thread(message)) if message else []
        return lines if f"{change}.zip" in " ".join(lines) else []

    with waiting("waiting for the last message in Slack"):
        parent, *replies = _until(thread, f"the thread of {change} is complete")
    return [parent, *(f"  | {line}" for line in replies)]


def _where_next(slack: LabSlack, change: str, prefect: str, evidence: Path, *, is_kept: bool) -> Iterator[str]:
    """Say what to look at: pages only while they are up."""
    passgate = _program()
    message = slack.parent(change)
    if is_kept and message:
        yield f"  the thread in Slack   {slack.address(message)}"
        yield f"  the run in Prefect    {prefect}"
        yield f"  the change            {passgate} show {change}"
        yield f"  ask for another one   {passgate} usb list, {passgate} request usb-attach --help"
    else:
        yield f"  run it all again      {passgate} demo --keep, which leaves everything up to look around"
    yield f"  the evidence          {_near(evidence)}: the verify.py in it checks it without Passgate"
    yield f"  the documentation     {DOCS}"
    if is_kept:
        yield f"  stop everything       {passgate} down && {passgate} lab stop"


def _program() -> str:
    """Return how a person calls the `passgate` that runs here."""
    beside = Path(sys.executable).with_name("passgate")
    found = shutil.which("passgate")
    is_on_path = found is not None and beside.exists() and Path(found).samefile(beside)
    return "passgate" if is_on_path or not beside.exists() else shlex.quote(_near(beside))


def _near(path: Path) -> str:
    """Return the path as seen from here, where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)
