"""Chat as a whole, over real HTTP and a real websocket: the lab's Slack, the real store, and clicks of people.

The engine behind its facade is stood in for by `PlainDesk`, which decides with the real store: these tests are about
chat, and the engine's own rules have tests of their own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from passgate.connect.slack import SlackConnector
from passgate.engine.steps import Runbook
from passgate.errors import ConflictError, NotAuthorizedError
from passgate.faces.chat.clicks import Seal
from passgate.faces.chat.service import Chat
from passgate.lab.slack import SlackServer
from passgate.model.change import Actor, Change, Door, Event, EventType, State, StepState
from passgate.model.decision import PLAN, Decision, Terms, Verdict
from passgate.model.plan import Plan, PlannedStep, Risk
from passgate.model.review import Review, ReviewVerdict
from passgate.policy.opening import Holding
from passgate.policy.reviews import waits_for
from passgate.settings.people import People, Person
from passgate.store.store import Store

BOT, APP, CHANNEL = "xoxb-lab-bot", "xapp-lab-app", "C0PASSGATE"
ORIGIN = "passgate.example/test"
ALICE, ENGINE = Actor(person="alice", door=Door.CLI), Actor(person="passgate", door=Door.ENGINE)
PEOPLE = People(
    people=(
        Person(id="alice", name="Alice Archer", slack="U0ALICE"),
        Person(id="bob", name="Bob Berger", slack="U0BOB", groups=("operations",)),
        Person(id="carol", name="Carol Chen", slack="U0CAROL", groups=("operations",)),
        Person(id="greta", name="Greta Guest", slack="U0GUEST", groups=("operations",)),
    )
)
TERMS = Terms(policy="normal", approvals=1, groups=("operations",), voters=("bob", "carol"))
Json = dict[str, Any]


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def plan(vm: str = "win-01", steps: int = 3) -> Plan:
    """Return a plan whose steps are named in order."""
    return Plan(
        runbook="usb-attach",
        title="Attach a host USB device to a virtual machine",
        risk=Risk.DISRUPTIVE,
        target=vm,
        resources=("vm:vm-7",),
        checks=(),
        steps=tuple(
            PlannedStep(
                index=index, kind="power.Off", fields={}, title=f"Step {index} on {vm}", needed=True, mutates=True,
                before=f"{vm} is on", after=f"{vm} is off",
            )
            for index in range(steps)
        ),
        impact=(f"{vm} will be powered off",),
    )  # fmt: skip


class PlainDesk:
    """Decide with the real store, as the engine does: voters only, one approval or denial settles it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.asked = 0

    async def decide(
        self,
        change_id: str,
        actor: Actor,
        verdict: Verdict,
        reason: str = "",
        digest: str | None = None,
        *,
        gate: str = PLAN,
        standing_until: datetime | None = None,
    ) -> Change:
        """Record the decision and move the change on."""
        self.asked += 1
        change = self.store.change(change_id)
        if change.state is not State.WAITING:
            raise ConflictError(f"{change_id} is {change.state}; there is nothing to decide any more.")
        if change.terms is None or actor.person not in change.terms.voters:
            raise NotAuthorizedError(f"{actor.person} may not decide on {change_id}.", hint="Ask operations.")
        decision = Decision(
            change=change_id, digest=digest or "", person=actor.person, door=actor.door.value, verdict=verdict,
            reason=reason, at=now(), gate=gate, standing_until=standing_until,
        )  # fmt: skip
        self.store.decide(decision, actor)
        to = State.APPROVED if verdict is Verdict.APPROVE else State.DENIED
        return self.store.move(change_id, to, ENGINE, f"{verdict} by {actor.person}", now())

    async def retract(
        self, change_id: str, actor: Actor, reason: str = "", digest: str | None = None, *, gate: str = PLAN
    ) -> Change:
        """Take a decision back."""
        decision = Decision(
            change=change_id, digest=digest or "", person=actor.person, door=actor.door.value,
            verdict=Verdict.RETRACT, reason=reason, at=now(), gate=gate,
        )  # fmt: skip
        self.store.decide(decision, actor)
        return self.store.change(change_id)

    def runbooks(self) -> tuple[Runbook[Any], ...]:
        """Know no runbooks: asking has tests of its own."""
        return ()

    def wrong_fields(self, runbook: str, ask: Json) -> dict[str, str]:  # noqa: ARG002 - as the engine's
        """Find nothing wrong."""
        return {}

    async def request(self, runbook: str, ask: Json, actor: Actor, *, key: str = "") -> Change:
        """File nothing."""
        raise NotImplementedError

    async def again(self, change_id: str, actor: Actor, *, key: str = "") -> Change:
        """File nothing."""
        raise NotImplementedError

    def waits_for(self, change: Change, person: str) -> bool:
        """Say who may decide on a change that waits."""
        return change.state is State.WAITING and change.terms is not None and person in change.terms.voters

    async def reviews_for(self, person: str) -> tuple[Review, ...]:
        """Return the reviews that a person may close."""
        found = self.store.reviews.all(only_open=True)
        return tuple(one for one in found if waits_for(one, self.store.change(one.change), PEOPLE, person))

    def held_up(self, change: Change) -> tuple[Holding, ...]:  # noqa: ARG002 - as the engine's
        """Know no freeze."""
        return ()

    def may_override(self, change_id: str, person: str, freeze: str) -> None:
        """Know no freeze."""
        raise NotImplementedError

    async def override(self, change_id: str, actor: Actor, freeze: str, reason: str) -> Change:
        """Know no freeze."""
        raise NotImplementedError

    async def close_review(self, change_id: str, actor: Actor, verdict: ReviewVerdict, reason: str) -> Review:
        """Close a review, unless it is of the person's own change."""
        if actor.person == self.store.reviews.one(change_id).by:
            raise NotAuthorizedError(f"{actor.person} may not review {change_id}.", hint="Ask somebody else.")
        return self.store.reviews.close(change_id, verdict, reason, actor, now())


@dataclass
class Place:
    """Hold the real parts that a test plays with."""

    slack: SlackServer
    store: Store
    desk: PlainDesk

    def waiting(self, vm: str = "win-01", reason: str = "Backup of the ledger") -> Change:
        """File a change and bring it to the gate."""
        change = self.store.file_change("usb-attach", {"vm": vm}, ALICE, reason, "CHG123", now())
        self.store.save_plan(change.id, plan(vm), TERMS, now() + timedelta(hours=8), now())
        return self.store.move(change.id, State.WAITING, ENGINE, "needs 1 approval", now())

    def carry_out(self, change_id: str) -> None:
        """Do the steps, as far as the records go."""
        steps = plan().steps
        self.store.move(change_id, State.APPLYING, ENGINE, "approved", now())
        self.store.begin_journal(change_id, steps)
        for step in steps:
            data = {"step": str(step.index), "title": step.title, "state": "intent", "attempt": "1"}
            begun = Event(type=EventType.STEP_INTENT, change=change_id, actor=ENGINE, at=now(), data=data)
            self.store.step(change_id, step.index, StepState.INTENT, begun, attempt=True)
            data = {"step": str(step.index), "title": step.title, "state": "done", "saw": "it is off"}
            done = Event(type=EventType.STEP_OUTCOME, change=change_id, actor=ENGINE, at=now(), data=data)
            self.store.step(change_id, step.index, StepState.DONE, done, saw="it is off")
        self.store.move(change_id, State.DONE, ENGINE, "all steps are done", now(), outcome="all steps are done")

    @asynccontextmanager
    async def chat(self, people: People = PEOPLE, **options: Any) -> AsyncIterator[Chat]:
        """Run chat until the block ends."""
        options = {"longest_pause": 0.3, "burst": 1000, **options}
        async with SlackConnector(bot_token=BOT, app_token=APP, api_url=self.slack.api_url, timeout=2) as connector:
            chat = Chat(connector, self.store, self.desk, people, CHANNEL, secret=BOT, origin=ORIGIN, **options)
            task = asyncio.create_task(chat.run())
            try:
                yield chat
                assert not task.done(), "chat must not end because of Slack"
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def click(self, user: str, action: str, **act: Any) -> Json:
        """Click as a person, off the event loop."""
        return await asyncio.to_thread(self.slack.click, user, action_id=action, **act)

    async def connected(self, chat: Chat) -> None:
        """Wait until chat listens."""
        await until(lambda: chat.status()["connected_since"])

    async def parent(self, change_id: str) -> Json:
        """Wait for the parent message of a change and return it."""
        found: Json = await until(lambda: next((m for m in self.parents() if change_id in m["text"]), None))
        return found

    def messages(self) -> list[Json]:
        """Return all messages of the channel, oldest first."""
        return list(self.slack.state()["messages"][CHANNEL])

    def parents(self) -> list[Json]:
        """Return the messages that stand in the channel itself."""
        return [one for one in self.messages() if one.get("thread_ts", one["ts"]) == one["ts"]]

    def thread(self) -> list[str]:
        """Return the texts of all replies, oldest first."""
        return [one["text"] for one in self.messages() if one.get("thread_ts", one["ts"]) != one["ts"]]

    def notes(self, user: str) -> list[str]:
        """Return the private notes that a person sees."""
        return [note["text"] for note in self.slack.state()["ephemerals"] if note["to"] == user]

    def shows(self, words: str) -> bool:
        """Say whether a parent shows these words and no button to decide by."""
        return any(words in str(parent) and "passgate_approve" not in str(parent) for parent in self.parents())

    async def told(self) -> None:
        """Wait until everything in the ledger is told."""
        await until(lambda: self.store.cursor("slack") == self.store.events()[-1].seq)


async def until(true: Callable[[], Any], seconds: float = 20) -> Any:
    """Wait until something is true and return it; the bound is only there to end a broken test."""
    async with asyncio.timeout(seconds):
        while not (found := await asyncio.to_thread(true)):  # noqa: ASYNC110 - what is looked at has no event to wait for
            await asyncio.sleep(0.01)
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Start the lab's Slack and make an empty store."""
    store = Store(f"sqlite:///{tmp_path}/passgate.db", origin=ORIGIN, signer=None)
    store.migrate()
    with SlackServer(bot_token=BOT, app_token=APP) as slack:
        yield Place(slack, store, PlainDesk(store))
    store.close()


async def test_an_approval_in_slack(place: Place) -> None:
    """A click on Approve reaches the desk with the person, and the outcome stands in place of the buttons."""
    async with place.chat() as chat:
        change = place.waiting()
        await place.connected(chat)
        await place.parent(change.id)
        assert (await place.click("U0BOB", "passgate_approve"))["acked"]
        await until(lambda: place.shows("Approved by Bob Berger in Slack"))
    decision = place.store.decisions(change.id)[0]
    assert (decision.person, decision.door, decision.digest) == ("bob", "slack", change.digest)
    assert place.store.inbox_open() == ()


async def test_a_denial_asks_for_its_reason(place: Place) -> None:
    """Deny opens a dialog; the reason goes into the decision and into the message."""
    async with place.chat() as chat:
        change = place.waiting()
        await place.connected(chat)
        await place.parent(change.id)
        assert (await place.click("U0CAROL", "passgate_deny", fields={"reason": "Not during month end"}))["acked"]
        await until(lambda: place.shows("Not during month end"))
        await place.told()
    assert place.store.decisions(change.id)[0].reason == "Not during month end"
    assert "<@U0ALICE>" in place.thread()[-1]


@pytest.mark.parametrize(
    ("user", "words"),
    [("U0ALICE", "may not decide"), ("U0DAVE", "does not know you"), ("U0GUEST", "Guests")],
)
async def test_who_may_not_decide_is_told_privately(place: Place, user: str, words: str) -> None:
    """The requester, people who are not listed and guests get a private note; nothing is recorded."""
    async with place.chat() as chat:
        change = place.waiting()
        await place.connected(chat)
        await place.parent(change.id)
        assert (await place.click(user, "passgate_approve"))["acked"]
        await until(lambda: any(words in note for note in place.notes(user)))
        await until(lambda: place.store.inbox_open() == ())
    assert place.store.decisions(change.id) == ()
    assert place.store.change(change.id).state is State.WAITING


async def test_a_person_of_another_workspace_may_not_decide(place: Place) -> None:
    """An account of another workspace that bears a listed id is refused."""
    place.slack.order(person="U0BOB", **{"is": {"team_id": "T0OTHER"}})
    async with place.chat() as chat:
        change = place.waiting()
        await place.connected(chat)
        await place.parent(change.id)
        await place.click("U0BOB", "passgate_approve")
        await until(lambda: any("another workspace" in note for note in place.notes("U0BOB")))
    assert place.store.decisions(change.id) == ()


@pytest.mark.parametrize(
    "account",
    [
        {"enterprise_user": {"enterprise_id": "E0OTHER"}},
        {"is_stranger": True},
        {"deleted": True},
        {"is_ultra_restricted": True},
    ],
    ids=lambda one: next(iter(one)),
)
async def test_accounts_that_are_not_full_members_decide_nothing(place: Place, account: Json) -> None:
    """Another enterprise's, Slack Connect's, a deactivated one, a guest of one channel: refused, and told privately."""
    place.slack.order(person="U0BOB", **{"is": account})
    async with place.chat() as chat:
        change = place.waiting()
        await place.connected(chat)
        await place.parent(change.id)
        await place.click("U0BOB", "passgate_approve")
        await until(lambda: place.notes("U0BOB"))
    assert place.desk.asked == 0
    assert place.store.decisions(change.id) == ()


async def test_the_thread_tells_every_step_in_order(place: Place) -> None:
    """The thread has the plan, each step's start and outcome, and the end with a mention of who asked."""
    async with place.chat():
        change = place.waiting()
        place.store.move(change.id, State.APPROVED, ENGINE, "approved", now())
        place.carry_out(change.id)
        await until(lambda: place.shows("*Done*"))
        await place.told()
    told = place.thread()
    steps = [line for line in told if "Step " in line]
    assert ["it is off" in line for line in steps] == [False, True] * 3
    assert [line.split("Step ")[1][0] for line in steps] == ["1", "1", "2", "2", "3", "3"]
    assert "<@U0ALICE>" in told[-1]
    assert len(place.parents()) == 1


async def test_slack_that_is_down_loses_nothing(place: Place) -> None:
    """While Slack is down changes go on; when it is back everything is told once and in order."""
    async with place.chat() as chat:
        await place.connected(chat)
        await asyncio.to_thread(place.slack.go_down, 60)
        change = place.waiting()
        place.store.move(change.id, State.APPROVED, ENGINE, "approved", now())
        place.carry_out(change.id)
        await until(lambda: chat.status()["trouble"])
        assert place.messages() == []
        await asyncio.to_thread(place.slack.clear_faults)
        await until(lambda: place.shows("*Done*"))
        await place.told()
        await place.connected(chat)
    assert_told_once(place, change)


def assert_told_once(place: Place, *changes: Change) -> None:
    """Check that each event that is told at all is in Slack once, in the ledger's order."""
    marks = [
        m["metadata"]["event_payload"] for m in place.messages() if m["metadata"]["event_type"] == "passgate_event"
    ]
    for change in changes:
        told = [mark["seq"] for mark in marks if mark["change"] == change.id]
        assert told == [event.seq for event in place.store.events(0, change.id)]
    assert len(place.parents()) == len(changes)


@pytest.mark.parametrize("fault", [{"hang": 2.5}, {"drop": True}, {"status": 502}, {"status": 503}, {"status": 504}])
async def test_a_lost_answer_does_not_post_twice(place: Place, fault: Json) -> None:
    """When Slack took a message but its answer was lost, the message is found and not posted again."""
    for skipped in (0, 2):
        place.slack.fail("chat.postMessage", after=True, **fault)
        async with place.chat():
            changes = [place.waiting(f"vm-{skipped}")]
            await place.told()
    assert_told_once(place, *place.store.changes()[::-1])
    assert changes


async def test_a_crash_after_posting_does_not_post_twice(place: Place) -> None:
    """R20: A process that ended between Slack's answer and its own note finds its messages when it starts again."""
    async with place.chat():
        change = place.waiting()
        await place.told()
    with place.store._database.writing() as connection:
        connection.exec_driver_sql("UPDATE cursors SET seq = seq - 1")
    async with place.chat():
        await place.told()
    assert_told_once(place, change)


async def test_an_edit_that_a_crash_took_away_is_made_at_the_next_start(place: Place) -> None:
    """Buttons do not stay alive on a change that ended while the edit was lost (R28)."""
    async with place.chat():
        change = place.waiting()
        await place.told()
    place.store.move(change.id, State.EXPIRED, ENGINE, "nobody decided in time", now())
    place.store.advance("slack", place.store.events()[-1].seq)
    async with place.chat():
        await until(lambda: place.shows("*Expired*"))


async def test_rate_limits_are_waited_out(place: Place) -> None:
    """HTTP 429 delays a report by what Slack asks for; nothing is lost and nothing doubled."""
    place.slack.fail("chat.postMessage", times=2, status=429, retry_after=0)
    async with place.chat():
        change = place.waiting()
        await place.told()
    assert_told_once(place, change)


async def test_a_message_that_slack_refuses_does_not_hold_up_the_rest(place: Place) -> None:
    """R22: `invalid_blocks` sends the text alone; the messages behind it go out as ever."""
    place.slack.fail("chat.postMessage", times=1, error="invalid_blocks")
    async with place.chat() as chat:
        change = place.waiting()
        await place.told()
        assert chat.status()["messages_cut_down"] == 1
    assert_told_once(place, change)


async def test_a_deleted_parent_is_posted_anew(place: Place) -> None:
    """Somebody deletes the message of a change: a new one takes its place, buttons and all."""
    async with place.chat():
        change = place.waiting()
        await place.told()
    place.slack._do(place.slack.workspace.messages[CHANNEL].clear)
    async with place.chat():
        place.store.move(change.id, State.APPROVED, ENGINE, "approved", now())
        await until(lambda: place.parents() and place.shows("Approved"))


async def test_doubled_and_late_clicks_are_one_decision(place: Place) -> None:
    """R23: Deliveries that come twice, and a second click after the decision, change nothing; the person is told."""
    place.slack.spoil("duplicate", times=1)
    async with place.chat() as chat:
        change = place.waiting()
        await place.connected(chat)
        parent = await place.parent(change.id)
        button = next(b for b in parent["blocks"] if b["type"] == "actions")["elements"][0]
        clicks = [place.click("U0BOB", "passgate_approve") for _ in range(5)]
        await asyncio.gather(*clicks, return_exceptions=True)
        await until(lambda: place.shows("Approved by Bob Berger"))
        await until(lambda: place.store.inbox_open() == ())
        late = {
            "type": "block_actions", "user": {"id": "U0CAROL", "team_id": "T0LAB"}, "channel": {"id": CHANNEL},
            "container": {"message_ts": parent["ts"]}, "actions": [button], "trigger_id": "late",
        }  # fmt: skip
        ack = await asyncio.to_thread(place.slack.run, place.slack.sockets.deliver("interactive", late))
        assert ack.acked
        await until(lambda: any("nothing to decide" in note for note in place.notes("U0CAROL")))
        await place.told()
    assert [one.person for one in place.store.decisions(change.id)] == ["bob"]
    assert sum("👍 Approved by" in line for line in place.thread()) == 1


async def test_a_forged_button_is_refused(place: Place) -> None:
    """A value that this Passgate did not seal decides nothing, even if it names a change rightly."""
    async with place.chat() as chat:
        change = place.waiting()
        await place.connected(chat)
        await place.parent(change.id)
        digest = (change.digest or "").removeprefix("sha256:")[:16]
        action = {"action_id": "passgate_approve", "value": f"{change.id}:{digest}:0000000000000000"}
        forged = {
            "type": "block_actions", "user": {"id": "U0BOB", "team_id": "T0LAB"}, "channel": {"id": CHANNEL},
            "actions": [action],
        }  # fmt: skip
        await asyncio.to_thread(place.slack.run, place.slack.sockets.deliver("interactive", forged))
        await until(lambda: any("not made by this Passgate" in note for note in place.notes("U0BOB")))
    assert place.store.inbox_open() == ()
    assert place.desk.asked == 0


@pytest.mark.parametrize("action", ["passgate_approve", "passgate_deny"])
async def test_an_old_homes_button_does_not_speak_for_the_new_change_of_that_number(place: Place, action: str) -> None:
    """In a new home with the same bot token, the button of the old CHG-0001 decides nothing about the new CHG-0001."""
    async with place.chat() as chat:
        change = place.waiting()
        await place.connected(chat)
        await place.parent(change.id)
        earlier = change.model_copy(update={"created_at": change.created_at - timedelta(days=1)})
        old = {
            "type": "block_actions", "user": {"id": "U0BOB", "team_id": "T0LAB"}, "channel": {"id": CHANNEL},
            "actions": [{"action_id": action, "value": Seal(BOT, ORIGIN)(earlier)}],
        }  # fmt: skip
        await asyncio.to_thread(place.slack.run, place.slack.sockets.deliver("interactive", old))
        await until(lambda: any("not made by this Passgate" in note for note in place.notes("U0BOB")))
    assert place.store.inbox_open() == ()
    assert place.desk.asked == 0


async def test_a_refused_click_counts_once_the_reason_is_gone(place: Place) -> None:
    """Whoever was refused because they were not listed can click again after config lists them."""
    few = People(people=PEOPLE.people[:1])
    async with place.chat(people=few) as chat:
        change = place.waiting()
        await place.connected(chat)
        await place.parent(change.id)
        await place.click("U0BOB", "passgate_approve")
        await until(lambda: place.notes("U0BOB"))
        await until(lambda: place.store.inbox_open() == ())
    async with place.chat() as chat:
        await place.connected(chat)
        await place.click("U0BOB", "passgate_approve")
        await until(lambda: place.shows("Approved by Bob Berger"))


async def test_the_socket_comes_back(place: Place) -> None:
    """After Slack asks for a new socket, and after one breaks, clicks are heard again."""
    async with place.chat() as chat:
        change = place.waiting()
        await place.connected(chat)
        await place.parent(change.id)
        first = chat.status()["connected_since"]
        await asyncio.to_thread(place.slack.disconnect)
        await until(lambda: chat.status()["connected_since"] not in {None, first})
        second = chat.status()["connected_since"]
        await asyncio.to_thread(place.slack.run, place.slack.sockets.cut())
        await until(lambda: chat.status()["connected_since"] not in {None, first, second})
        assert (await place.click("U0BOB", "passgate_approve"))["acked"]
        await until(lambda: place.shows("Approved by Bob Berger"))


async def test_kill_between_store_and_ack_loses_no_click(place: Place, tmp_path: Path) -> None:
    """R20: A process that is killed right after it kept the click leaves it to the next one, which decides."""
    async with place.chat():
        change = place.waiting()
        await place.parent(change.id)
    listener = textwrap.dedent(
        """
        import asyncio, os, signal, sys
        from passgate.connect.slack import SlackConnector
        from passgate.faces.chat.service import Chat
        from passgate.settings.people import People
        from passgate.store.store import Store
        from tests.faces.test_chat import PlainDesk

        class Dying(Store):
            def inbox_put(self, *given):
                super().inbox_put(*given)
                os.kill(os.getpid(), signal.SIGKILL)

        async def main(url, api):
            store = Dying(url, origin="passgate.example/test", signer=None)
            async with SlackConnector(bot_token="xoxb-lab-bot", app_token="xapp-lab-app", api_url=api) as connector:
                people = People(people=())
                await Chat(
                    connector, store, PlainDesk(store), people, "C0PASSGATE", secret="xoxb-lab-bot", origin=store.origin
                ).run()

        asyncio.run(main(*sys.argv[1:]))
        """
    )
    database = f"sqlite:///{tmp_path}/passgate.db"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-c", listener, database, place.slack.api_url], env=environment)  # noqa: ASYNC220 - it returns at once
    await until(lambda: place.slack.sockets.open)
    assert not (await place.click("U0BOB", "passgate_approve"))["acked"]
    assert await asyncio.to_thread(process.wait) == -signal.SIGKILL
    assert place.store.decisions(change.id) == ()
    async with place.chat():
        await until(lambda: place.shows("Approved by Bob Berger"))
    assert [one.person for one in place.store.decisions(change.id)] == ["bob"]
