"""Knock at the doors of an engine without Prefect: people, schedules, and thieves inside its own process.

A clock is set, so that approvals run out, freezes begin and schedules come due while nobody waits.
"""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import hypothesis.strategies as st
import yaml
from hypothesis.stateful import initialize

from passgate.engine.authority import ENGINE
from passgate.engine.beginning import LEASE, begin
from passgate.engine.carrying import Attempt, Carrying
from passgate.engine.course import go_on
from passgate.engine.due import triggered
from passgate.engine.gate import settle
from passgate.errors import PassgateError
from passgate.faces.chat.clicks import Seal
from passgate.model.change import Change, State
from tests.doors import Time
from tests.house import PEOPLE, until
from tests.knocks import ANYBODY, GATE, KNOWN, Doors, act
from tests.oracle import GATED, LONGEST_STANDING, ROTA, TARGETS, VOTERS, Asked, Freeze, Machine
from tests.signed_slack import SignedSlack
from tests.slack_channel import ALICE, BOB, CAROL, DAVE
from tests.workshop import Asleep, HandRun, Workshop

UNAUTHORIZED = httpx.codes.UNAUTHORIZED
USERS = {"alice": ALICE, "bob": BOB, "carol": CAROL, "dave": DAVE}
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
AUTHOR = "alice"
HOURS = ("0.1", "2.1", "3.9", "4.1", "8.1", "freeze", "thaw")
"""How long to wait: right before and after each of the clocks, or until the freeze begins or ends."""


def configured(config: Path, freeze: Freeze) -> None:
    """Let clicks come by signed HTTP, and have a freeze again and again."""
    (config.parent / "slack.signing_secret").write_text(SECRET, encoding="utf-8")
    path = config / "chat.yaml"
    chat = yaml.safe_load(path.read_text(encoding="utf-8"))
    chat["slack"] |= {"transport": "http", "signing_secret": {"file": "slack.signing_secret"}}
    path.write_text(yaml.safe_dump(chat), encoding="utf-8")
    day = timedelta(days=1)
    begins = [freeze.first + n * freeze.every for n in range(day // freeze.every)]
    lasts = f"{freeze.lasts // timedelta(hours=1)}h"
    when = [{"start": f"{at:%Y-%m-%d %H:%M}", "duration": lasts, "rrule": "FREQ=DAILY"} for at in begins]
    vms = [vm for vm, target in TARGETS.items() if target.freezes]
    entry = {"name": "stop", "vms": vms, "zone": "UTC", "when": when, "override": ["operations"]}
    (config / "calendar/30-stop.yaml").write_text(yaml.safe_dump({"freezes": [entry]}), encoding="utf-8")


class Thieves(Doors):
    """The doors of an engine without Prefect, and what a thief in its process can reach."""

    house: Workshop
    freeze: Freeze

    def __init__(self, house: Workshop, time: Time, freeze: Freeze) -> None:
        super().__init__(house, time, freeze)
        self.slack = SignedSlack(house.url, SECRET, time)
        self.standing: dict[Machine, dict[str, datetime]] = {}
        """VM of the schedule as it was -> person -> until when their approval stands for runs with that plan."""

    @initialize(hours=st.sampled_from((3, 30)))
    def begin(self, hours: int) -> None:
        """Let two changes through: Carol's approval of one stands for later runs, the other is left at its gate."""
        self._let_stand(hours)
        gated = self.ask(AUTHOR, GATED)
        assert gated
        self.decide(gated, "bob", "approve", "slack", elsewhere=False)
        self.nothing_was_done_without_authority()
        assert gated.gate, f"{gated} was approved, and did not come to its gate"

    def teardown(self) -> None:
        """Rob all that is left; let approvals given in the freeze, and for longer, run out; and rob all again."""
        if self.sound:
            self._rob_all()
            for vm in ("lnx-02", "pair-02"):
                if own := self.ask("bob", vm):
                    self.decide(own, "bob", "approve", "api", elsewhere=False)
                    self.nothing_was_done_without_authority()
            self.wait("freeze")
            if late := self.ask(AUTHOR, "old-01"):
                self.decide(late, "bob", "approve", "api", elsewhere=False)
            self.nothing_was_done_without_authority()
            self._let_stand(3)
            self.wait("8.1")
            self.run_by_hand("dave")
            self._rob_all()

    def _let_stand(self, hours: int) -> None:
        """Have a new schedule, outside of the freeze, whose change is approved for longer and let through."""
        self.time.now = self.freeze.thaws(self.time.now) + timedelta(minutes=1)
        for asked in self.known.values():
            if asked.vm == ROTA:
                self.turn(asked, AUTHOR, "withdraw")
        self.end_what_stands(AUTHOR, anew=True)
        run = self.run_by_hand("dave")
        assert run, "the schedule could not be run"
        self.approve_for_longer(run, "carol", hours)
        self.nothing_was_done_without_authority()
        assert run.over, f"{run} was approved, and not carried out"

    def _rob_all(self) -> None:
        self.nothing_was_done_without_authority()
        for asked, how in product(tuple(self.known.values()), ("steal", "force")):
            self.rob(asked, how)
            self.nothing_was_done_without_authority()

    def rest(self) -> None:
        """Wait until nothing is under way."""
        until(lambda: self.house.bell.is_still, "all runs sleep")

    # Slack

    def click(self, asked: Asked, person: str, verdict: str, gate: str) -> None:
        """Click the button of a message, be it that of today or an old one."""
        assert self.slack.decide(USERS[person], self._button(asked, gate), verdict) == httpx.codes.OK
        self._worked_off()

    @act(asked=KNOWN, other=KNOWN, person=st.sampled_from(sorted(VOTERS)))
    def click_wrongly(self, asked: Asked, other: Asked, person: str) -> None:
        """Send what Slack did not sign, what it sent before, strangers' clicks, and buttons made for another change."""
        button, user = self._button(asked), USERS[person]
        assert self.slack.forge(user, button) == UNAUTHORIZED
        assert self.slack.replay() == UNAUTHORIZED
        self.slack.decide("U0GUEST", button, "approve")
        self.slack.decide("U0STRANGER", button, "approve")
        if other is not asked:
            self.slack.decide(user, button.replace(asked.id, other.id), "approve")
        self._worked_off()
        self.rest()

    def _button(self, asked: Asked, gate: str = "") -> str:
        """Return the value that the change's buttons have, by default at the gate where it waits."""
        config = self.house.runtime.config
        token = (self.house.home / "lab/slack.bot_token").read_text(encoding="utf-8").strip()
        seal = Seal(token, config.service.origin)
        return seal(self.change(asked), gate or (GATE if asked.at_gate else "plan"))

    def _worked_off(self) -> None:
        until(lambda: not self.house.store.inbox_open(), "what was clicked is worked off")

    # Schedules

    @act(person=ANYBODY)
    def run_by_hand(self, person: str) -> Asked | None:
        """File the schedule's change now: its author and who runs it stand behind it."""
        answer = self.house.call(person, "POST", "/v1/schedules/rota/run")
        if answer.is_error:
            return None  # its last change is open, or nobody would be left to approve it
        asked = self._of_schedule(answer.json(), AUTHOR, person)
        self.rest()
        return asked

    @act(asked=KNOWN, person=ANYBODY, hours=st.sampled_from((3, 30, 24 * 100)))
    def approve_for_longer(self, asked: Asked, person: str, hours: int) -> None:
        """Approve what a schedule asks for, for later runs too; for anything else, or for too long, that is refused."""
        day = self.time.now + timedelta(hours=hours)
        may_stand = asked.vm == ROTA and day <= self.time.now + LONGEST_STANDING
        if may_stand and asked.vote(person, "approve", self.time.now):
            self.standing.setdefault(asked.machine, {})[person] = day
        body = {"verdict": "approve", "standing_until": day.isoformat()}
        self.house.call(person, "POST", f"/v1/changes/{asked.id}/decisions", **body)
        self.goes_on(asked)
        self.rest()

    def take_back(self, asked: Asked, person: str) -> None:
        """End what stands with the vote that is taken back."""
        if asked.take_back(person, self.time.now) and asked.vm == ROTA:
            self.standing.get(asked.machine, {}).pop(person, None)

    @act(person=st.sampled_from(PEOPLE), anew=st.booleans())
    def end_what_stands(self, person: str, anew: bool) -> None:
        """Revoke what stands, as anybody may, or have another schedule of that name: nothing stands for it."""
        self.standing.clear()
        if anew:
            self._add_the_schedule()
            return
        for asked in self.known.values():
            asked.revoke(self.time.now)
        self.house.call(person, "POST", "/v1/schedules/rota/revoke").raise_for_status()
        self.rest()

    @act(often=3, hours=st.sampled_from(HOURS))
    def wait(self, hours: str) -> Asked | None:
        """Let time pass, and all that waits look; Prefect's scheduler rings, once with parameters of somebody's."""
        match hours:
            case "freeze":
                self.time.now = self.freeze.begins(self.time.now) + timedelta(minutes=1)
            case "thaw":
                self.time.now = self.freeze.thaws(self.time.now) + timedelta(minutes=1)
            case _:
                self.time.now += timedelta(hours=float(hours))
        runtime = self.house.runtime
        for asked in self.known.values():
            if not (change := settle(runtime, self.change(asked))).state.is_end:
                self.house.run(self.house.bell.ring(change))
        self.rest()
        schedule = runtime.store.schedules.one("rota").rule
        forged = triggered(runtime, schedule.runbook, "rota", {**schedule.ask, "vm": "lic-01"}, str(uuid4()))
        assert self.house.run(forged) is None
        found = self.house.run(triggered(runtime, schedule.runbook, "rota", schedule.ask, str(uuid4())))
        if not isinstance(found, Change):
            return None  # nothing is due, or the last one is open
        asked = self._of_schedule(found.model_dump(mode="json"), AUTHOR)
        self.house.run(self.house.bell.start(found))
        self.rest()
        return asked

    def _add_the_schedule(self) -> None:
        rota = TARGETS[ROTA]
        body = {
            "name": "rota", "runbook": rota.runbook, "ask": {"vm": ROTA, **rota.ask}, "zone": "UTC",
            "cron": "0 */2 * * *", "missed": "latest", "late": "12h",
        }  # fmt: skip
        if self.house.store.schedules.find("rota"):
            self.house.call(AUTHOR, "POST", "/v1/schedules/rota/remove").raise_for_status()
        self.house.call(AUTHOR, "POST", "/v1/schedules", **body).raise_for_status()

    def _of_schedule(self, filed: dict[str, Any], *behind: str) -> Asked:
        asked = self.filed(filed, ROTA, *behind)
        asked.rest_on(self.standing.get(asked.machine, {}), self.time.now)
        return asked

    # The calendar

    @act(asked=KNOWN, person=ANYBODY)
    def override(self, asked: Asked, person: str) -> None:
        """Let a change of somebody else through the freeze."""
        if person in VOTERS - asked.behind and not asked.acted:
            asked.overridden = True
        body = {"freeze": "stop", "reason": "it can't wait"}
        self.house.call(person, "POST", f"/v1/changes/{asked.id}/overrides", **body)
        self.rest()

    # Thieves

    @act(often=2, asked=KNOWN, how=st.sampled_from(("ring", "call_the_flow", "steal", "begin_it", "force")))
    def rob(self, asked: Asked, how: str) -> None:
        """Do what is in a thief's power: whatever needs no decision."""
        with contextlib.suppress(PassgateError, Asleep):
            getattr(self, f"_{how}")(asked, self.change(asked))
        self.rest()

    def _ring(self, _: Asked, change: Change) -> None:
        """Wake a run, as Prefect's resume, retry or forced state does."""
        self.house.run(self.house.bell.ring(change))

    def _call_the_flow(self, _: Asked, change: Change) -> None:
        """Run a change's course directly, beside its own run."""
        self.house.run(go_on(self.house.runtime, change, HandRun()))

    def _steal(self, asked: Asked, change: Change) -> None:
        """Take the leases of a change and carry its steps out, past gate, bell and course."""
        runtime = self.house.runtime
        if change.plan is None:
            return
        if asked.gate:
            asked.gate.disturbed = True
        tokens = runtime.store.take_leases(change.id, change.plan.resources, LEASE, self.time.now)
        runtime.store.begin_journal(change.id, change.plan.steps)
        carrying = Carrying(runtime, change.id, change.plan, tokens)
        for planned in change.plan.steps:
            with contextlib.suppress(PassgateError):
                self.house.run(carrying.step(planned, Attempt()))
        runtime.store.give_leases_back(change.id, self.time.now)

    def _begin_it(self, _: Asked, change: Change) -> None:
        """Begin a change whatever it is."""
        self.house.run(begin(self.house.runtime, change))

    def _force(self, asked: Asked, _: Change) -> None:
        """Push the state on where the store lets anybody, and wake the run."""
        self.house.store.move(asked.id, State.APPROVED, ENGINE, "forced", self.time.now)
        self.house.run(self.house.bell.ring(self.change(asked)))
