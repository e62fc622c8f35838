"""Ask for changes in Slack, over its real wires: the lab's Slack and vCenter, the real desk, forms that people fill in.

The runs that carry changes out have tests of their own: here nobody rings.
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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from passgate.engine.authority import ENGINE
from passgate.engine.desk import Desk
from passgate.engine.runtime import Runtime, open_runtime
from passgate.faces.chat.buttons import AGAIN
from passgate.faces.chat.service import Chat
from passgate.faces.service import chatting
from passgate.model.change import Change, State
from tests.faces.served import NoBell
from tests.lab_site import Lab

ROOT = Path(__file__).parents[2]
ALICE, BOB, CAROL, GUEST = "U0ALICE", "U0BOB", "U0CAROL", "U0GUEST"
CHANNEL = "C0PASSGATE"
Json = dict[str, Any]
FIELDS = {"vm": "win-01", "device": "18a5:0302", "reason": "Nightly backup", "ticket": "CHG123"}


@dataclass
class Site:
    """A lab, and the engine on it."""

    lab: Lab
    runtime: Runtime

    @asynccontextmanager
    async def chat(self) -> AsyncIterator[Chat]:
        """Run chat until the block ends."""
        async with chatting(self.runtime, Desk(self.runtime, NoBell())) as chat:
            assert chat is not None
            running = asyncio.create_task(chat.run())
            try:
                await until(lambda: chat.status()["connected_since"])
                yield chat
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async def act(self, kind: str, **act: Any) -> Json:
        """Act as a person of the workspace."""
        return await asyncio.to_thread(self.lab.control.slack, kind, **act)

    def state(self) -> Json:
        """Return what the workspace shows."""
        return self.lab.control.slack("state")

    def dialog(self, user: str = ALICE) -> Json | None:
        """Return the dialog that a person has open."""
        return next(iter(self.state()["modals"].get(user, [])[-1:]), None)

    async def shows(self, words: str, user: str = ALICE) -> Json:
        """Wait until the person's dialog holds these words."""
        return await until(lambda: (found := self.dialog(user)) and words in str(found) and found)

    async def form(self, user: str = ALICE, text: str = "usb-attach") -> Json:
        """Open a runbook's form by the slash command."""
        await self.act("slash", user=user, text=f"/passgate {text}")
        return await self.shows("Ask for it", user)

    def notes(self, user: str) -> list[str]:
        """Return what that person alone was told."""
        return [str(one) for one in self.state()["ephemerals"] if one["to"] == user]

    def changes(self) -> tuple[Change, ...]:
        """Return all changes."""
        return self.runtime.store.changes(limit=1000)

    def home(self, user: str) -> str:
        """Return all of a person's App Home as text."""
        return str(self.state()["homes"].get(user, ""))


async def until(true: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait until something is true and return it; the bound is only there to end a broken test."""
    async with asyncio.timeout(seconds):
        while not (found := await asyncio.to_thread(true)):  # noqa: ASYNC110 - what is looked at has no event to wait for
            await asyncio.sleep(0.02)
        return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run a lab."""
    with Lab.start(tmp_path_factory.mktemp("ask")) as found:
        yield found


@pytest.fixture
def site(lab: Lab) -> Iterator[Site]:
    """Run the engine on a fresh world; nobody has a dialog open."""
    lab.control.reset()
    for user in lab.control.slack("state")["modals"]:
        lab.control.slack("close", user=user)
    runtime = open_runtime(lab.home, ROOT, lab.config)
    yield Site(lab, runtime)
    runtime.estate.close()
    runtime.store.close()


async def test_a_change_is_asked_for_from_the_shortcut_to_the_message(site: Site) -> None:
    """R17, R31: The shortcut lists the runbooks, the form is the runbook's own, and the change waits in the channel."""
    before = len(site.changes())
    async with site.chat():
        await site.act("shortcut", user=ALICE, callback_id="passgate_request")
        listed = await site.shows("Choose a runbook")
        slugs = [one["value"] for one in listed["blocks"][1]["element"]["options"]]
        assert slugs == list(site.runtime.catalogue.runbooks)
        await site.act("submit", user=ALICE, fields={"runbook": "usb-attach"})
        form = await site.shows("Attach a host USB device")
        asked = [one["block_id"] for one in form["blocks"] if one["type"] == "input"]
        assert asked[:2] == ["vm", "device"]
        assert set(asked) == set(site.runtime.catalogue.runbook("usb-attach").ask.model_fields)
        told = await site.act("submit", user=ALICE, fields=FIELDS)
        assert told["acked"]
        assert "Waiting for a decision" in str(await site.shows("win-01*"))
        (change,) = site.changes()[: len(site.changes()) - before]
        assert (change.requester.person, change.requester.door) == ("alice", "slack")
        assert (change.reason, change.ticket, change.ask["vm"]) == ("Nightly backup", "CHG123", "win-01")
        await until(lambda: f"{change.id} · " in str(site.state()["messages"]))


async def test_bad_input_stands_beside_its_field(site: Site) -> None:
    """Bad input is refused at the door in the engine's own words, and nothing is kept of it."""
    before = len(site.changes())
    async with site.chat():
        await site.form()
        told = await site.act("submit", user=ALICE, fields={**FIELDS, "device": "the red one"})
        assert list(told["errors"]) == ["device"]
        assert "the red one" in told["errors"]["device"]
        assert "18a5:0302" in told["errors"]["device"]
        told = await site.act("submit", user=ALICE, fields={**FIELDS, "device": "no-such-name"})
        assert "config/devices.yaml" in told["errors"]["device"]
        assert site.runtime.store.inbox_open() == ()
        await site.act("submit", user=ALICE, fields={**FIELDS, "vm": "win-99"})
        form = await site.shows("Not asked for yet")
        places = [one.get("block_id") for one in form["blocks"]]
        beside = form["blocks"][places.index("vm") + 1]
        assert "win-99" in beside["elements"][0]["text"]
        assert form["blocks"][places.index("vm")]["element"]["initial_value"] == "win-99"
        # The same form takes the right name.
        await site.act("submit", user=ALICE, fields=FIELDS)
        await site.shows("Waiting for a decision")
    assert len(site.changes()) == before + 1


async def test_a_check_that_is_not_met_is_told_in_the_dialog(site: Site) -> None:
    """What forbids the plan comes back with what to do, the form stays filled in, and nothing was filed or touched."""
    before = len(site.changes())
    site.lab.control.set_vm("win-01", fault_tolerance=True)
    async with site.chat():
        await site.form()
        await site.act("submit", user=ALICE, fields=FIELDS)
        form = await site.shows("Nothing was filed")
        assert "USB-VM-" in str(form)
        assert "win-01" in [one["element"].get("initial_value") for one in form["blocks"] if one["type"] == "input"]
    assert len(site.changes()) == before
    assert site.lab.control.mutations() == []


async def test_commands_answer_privately(site: Site) -> None:
    """Help, list, show and waiting answer who used them alone; a mistake is told with what there is."""
    async with site.chat():
        await site.form(text="usb-attach vm=win-01 power-cycle=yes")
        given = (await site.shows("Ask for it"))["blocks"]
        assert "win-01" in [one["element"].get("initial_value") for one in given if one["type"] == "input"]
        assert [one["block_id"] for one in given if "initial_options" in str(one)] == ["power_cycle"]
        await site.act("submit", user=ALICE, fields=FIELDS)
        await site.shows("Waiting for a decision")
        change = site.changes()[0]
        for text, user, words in (
            ("help", ALICE, "/passgate show CHG-0042"),
            ("list", ALICE, change.id),
            (f"show {change.id.lower()}", BOB, "Impact of the plan"),
            ("waiting", BOB, change.id),
            ("waiting", ALICE, "Nothing waits"),
            ("show", ALICE, "Say which change"),
            ("show CHG-9999", ALICE, "There is no change CHG-9999"),
            ("usb-atach", ALICE, "usb-attach"),
            ("usb-attach win-01", ALICE, "vm=win-01"),
            ("usb-attach vmm=win-01 ticket=7", ALICE, "vmm: there is no such field. Did you mean"),
            ("usb-attach vmm=win-01 ticket=7", ALICE, "usb-attach vm=win-01 ticket=7"),
            ("usb-attach urgency=soon", ALICE, "usb-attach urgency=normal"),
            ("usb-attach vmotion=maybe", ALICE, "usb-attach vmotion=yes"),
            ("usb-attach vm=win-01 vm=win-02", ALICE, "vm is given twice, as"),
            ("help", GUEST, "does not know you"),
        ):
            seen = len(site.notes(user))
            told = await site.act("slash", user=user, text=f"/passgate {text}")
            assert told["acked"], text
            await until(lambda user=user, seen=seen: len(site.notes(user)) > seen)  # type: ignore[misc] # bound now
            assert words in site.notes(user)[-1], text


async def test_who_is_not_listed_is_told_how_to_be(site: Site) -> None:
    """A stranger's Home and shortcut say how to get listed, and show no change."""
    async with site.chat():
        await site.act("shortcut", user=GUEST, callback_id="passgate_request")
        await site.shows("config/people.yaml", GUEST)
        await site.act("home", user=GUEST)
        await until(lambda: "U0GUEST" in site.home(GUEST))
    assert "CHG-" not in site.home(GUEST)


async def test_the_home_shows_what_waits_and_takes_decisions(site: Site) -> None:
    """Bob's Home lists a change when it is filed, he approves there, takes it back, and is told in it what failed."""
    async with site.chat():
        await site.act("home", user=BOB)
        await site.act("home", user=ALICE)
        await until(lambda: "Waits for your decision" in site.home(BOB))
        await site.form()
        await site.act("submit", user=ALICE, fields=FIELDS)
        await site.shows("Waiting for a decision")
        change = site.changes()[0]
        block = f"decide:{change.id}:plan"
        await until(lambda: block in site.home(BOB) and f"|{change.id}>" in site.home(BOB))
        await until(lambda: change.id in site.home(ALICE))
        assert block not in site.home(ALICE)
        press = {"user": BOB, "home": True, "block_id": block, "confirm": True}
        await site.act("click", action_id="passgate_approve", **press)
        await until(lambda: "You decided, and it has not begun" in site.home(BOB))
        assert site.runtime.store.change(change.id).state == "approved"
        await site.act("click", action_id="passgate_retract", **press)
        await until(lambda: "is taken back" in site.home(BOB))
        assert site.runtime.store.change(change.id).state == "waiting"
        await site.act("click", action_id="passgate_deny", fields={"reason": "not today"}, **press)
        await until(lambda: site.runtime.store.change(change.id).state == "denied")
        await until(lambda: "Denied" in site.home(ALICE))


async def test_what_came_to_nothing_is_asked_for_again_by_a_button(site: Site) -> None:
    """R20, R23: Clicks of two people file one change in the place of the one that expired; a stranger's files none."""
    async with site.chat():
        await site.form()
        await site.act("submit", user=ALICE, fields=FIELDS)
        await site.shows("Waiting for a decision")
        old = site.changes()[0]
        site.runtime.store.move(old.id, State.EXPIRED, ENGINE, "nobody decided", datetime.now(UTC))

        def message() -> Json:
            return next((one for one in site.state()["messages"][CHANNEL] if f"{old.id} ·" in one["text"]), {})

        await until(lambda: AGAIN in str(message()))
        await site.act("home", user=ALICE)
        await until(lambda: f"again:{old.id}" in site.home(ALICE))
        click = {"message_ts": message()["ts"], "action_id": AGAIN, "confirm": True}
        for user in (GUEST, BOB, ALICE):
            assert (await site.act("click", user=user, **click))["acked"]
        await until(lambda: site.notes(GUEST) and site.runtime.store.inbox_open() == ())
        await until(lambda: AGAIN not in str(message()))
        await until(lambda: "again:" not in site.home(ALICE))
    new = site.changes()[0]
    assert (new.replaces, new.state, new.ask) == (old.id, State.WAITING, old.ask)
    assert [one.replaces for one in site.changes()].count(old.id) == 1
    assert f"It was asked for again as {new.id}" in str(message())
    assert "Waiting for a decision" in site.notes(BOB if new.requester.person == "bob" else ALICE)[-1]
    assert f"{new.id} asks for what {old.id} asked for already" in "".join(site.notes(ALICE) + site.notes(BOB))
    assert "does not know you" in site.notes(GUEST)[-1]


DYING = textwrap.dedent(
    """
    import asyncio, os, signal, sys
    from pathlib import Path
    from passgate.engine.desk import Desk
    from passgate.engine.runtime import open_runtime
    from passgate.faces.service import chatting
    from tests.faces.served import NoBell

    home, content, config, where = sys.argv[1:]
    runtime = open_runtime(Path(home), Path(content), Path(config))

    def dies(call):
        def called(*given, **named):
            answer = call(*given, **named)
            os.kill(os.getpid(), signal.SIGKILL)
            return answer
        return called

    setattr(runtime.store, where, dies(getattr(runtime.store, where)))

    async def main():
        async with chatting(runtime, Desk(runtime, NoBell())) as chat:
            await chat.run()

    asyncio.run(main())
    """
)
"""Run chat in a process that is killed right after a call of the store: as a power cut would."""


@pytest.mark.parametrize("where", ["inbox_put", "file_change", "save_plan", "move"])
async def test_kill_anywhere_files_one_change(site: Site, where: str) -> None:
    """R20, R21: A process killed after it kept a request, or while it files it, leaves one change, and it is told."""
    before = len(site.changes())
    async with site.chat():
        await site.form()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PASSGATE_HOME": str(site.lab.home)}
    words = [sys.executable, "-c", DYING, str(site.lab.home), str(ROOT), str(site.lab.config), where]
    await until(lambda: not site.state()["connected"])
    process = subprocess.Popen(words, env=environment)  # noqa: ASYNC220 - it returns at once
    await until(lambda: site.state()["connected"])
    await site.act("submit", user=ALICE, fields=FIELDS)
    assert await asyncio.to_thread(process.wait) == -signal.SIGKILL
    async with site.chat():
        await site.shows("Waiting for a decision")
        await until(lambda: site.runtime.store.inbox_open() == ())
    assert len(site.changes()) == before + 1
