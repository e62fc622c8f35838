"""Promise: who is bound to a Slack user group decides only while they are seen in it, whatever door they use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passgate.engine.catalogue import Catalogue
from passgate.engine.desk import Desk
from passgate.engine.estate import Estate
from passgate.engine.membership import FRESH, STALE
from passgate.engine.runtime import Runtime
from passgate.errors import ConfigError, PolicyError
from passgate.lab.slack import SlackServer
from passgate.ledger.signer import Signer
from passgate.model.change import Actor, Change, Door, State
from passgate.model.decision import Escalation, StandIn, Verdict
from passgate.policy.user_groups import Proof, members_only, proofs
from passgate.settings.load import load_config
from passgate.settings.people import People, Person
from passgate.settings.shape import Slack
from passgate.settings.values import FromFile
from passgate.store.store import Store
from tests.house import ROOT
from tests.record_story import AT, ORIGIN, PLAN, TERMS, waiting_change

BOT = "xoxb-lab-bot"
BOB, CAROL = Actor(person="bob", door=Door.CLI), Actor(person="carol", door=Door.SLACK)
PEOPLE = People(
    people=(
        Person(id="alice", name="Alice Archer", slack="U0ALICE"),
        Person(id="bob", name="Bob Berger", slack="U0BOB", groups=("operations",)),
        Person(id="carol", name="Carol Chen", slack="U0CAROL", groups=("operations", "managers")),
        Person(id="dave", name="Dave Diaz", slack="U0DAVE", groups=("managers",)),
    ),
    slack_groups={"operations": "S0OPS"},
)


def waiting(site: Site) -> Change:
    """File a change that waits for two approvals, so that it still waits after one."""
    store = site.runtime.store
    change = store.file_change("usb-attach", {"vm": "win-01"}, Actor(person="alice", door=Door.CLI), "backup", "", AT)
    asked = TERMS.requirements[0].model_copy(update={"needed": 2})
    terms = TERMS.model_copy(update={"requirements": (asked,)})
    store.save_plan(change.id, PLAN, terms, AT + timedelta(hours=8), AT)
    return store.move(change.id, State.WAITING, Actor(person="passgate", door=Door.ENGINE), "", AT)


class NoBell:
    """Ring for nobody: no run is made here."""

    async def start(self, change: Change) -> None:
        """Make none."""

    async def ring(self, change: Change) -> None:
        """Wake none."""


class Site:
    """Hold the engine on a real store and the lab's Slack, with a clock that the test sets."""

    def __init__(self, home: Path, slack: SlackServer, people: People = PEOPLE) -> None:
        self.now = AT
        (home / "token").write_text(BOT)
        chat = Slack(bot_token=FromFile(file="token"), app_token=FromFile(file="token"), channel="C0PASSGATE")
        shipped = load_config(ROOT / "config")
        config = shipped.model_copy(
            update={
                "people": people,
                "chat": shipped.chat.model_copy(update={"slack": chat.model_copy(update={"api_url": slack.api_url})}),
            }
        )
        store = Store(
            f"sqlite:///{home}/passgate.db", origin=ORIGIN, signer=Signer.load_or_create(home / "ledger.key"),
            anchors=home / "anchors.log",
        )  # fmt: skip
        store.migrate()
        self.slack = slack
        self.runtime = Runtime(home, config, store, Catalogue(ROOT), Estate(config, home), lambda: self.now)

    async def decide(self, change: Change, actor: Actor, verdict: Verdict = Verdict.APPROVE) -> Change:
        """Decide as the desk does for every door."""
        return await Desk(self.runtime, NoBell()).decide(change.id, actor, verdict, "a reason")

    async def order(self, **orders: Any) -> None:
        """Change the workspace."""
        await asyncio.to_thread(self.slack.order, **orders)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Lend the engine with a Slack of its own."""
    with SlackServer(bot_token=BOT, app_token="xapp-lab") as slack:
        one = Site(tmp_path, slack)
        yield one
        one.runtime.estate.close()
        one.runtime.store.close()


async def test_who_was_taken_out_of_the_user_group_decides_no_more_by_any_door(site: Site) -> None:
    """It is asked anew at the decision, on the command line too; who still is in it decides."""
    change = waiting(site)
    await site.order(group="S0OPS", users=["U0CAROL"])
    with pytest.raises(PolicyError, match="bob is not in the Slack user group of 'operations' any more"):
        await site.decide(change, BOB)
    assert site.runtime.store.decisions(change.id) == ()
    await site.decide(change, CAROL)
    assert [one.person for one in site.runtime.store.decisions(change.id)] == ["carol"]


async def test_what_was_read_before_is_no_proof_later(site: Site) -> None:
    """After some seconds a click asks Slack again: who was in the group when the change was filed may be no more."""
    change = waiting(site)
    assert site.runtime.config.people == await site.runtime.membership.people()
    await site.order(group="S0OPS", users=["U0CAROL"])
    site.now += FRESH
    with pytest.raises(PolicyError, match="any more"):
        await site.decide(change, BOB)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"error": "plan_upgrade_required"}, "its plan has none"),
        ({"status": 503}, "Slack failed"),
        ({"error": "missing_scope"}, "missing_scope"),
        ({"error": "no_such_subteam"}, "knows no user group S0OPS"),
    ],
)
async def test_where_slack_cant_say_nobody_decides_by_it(site: Site, fault: dict[str, Any], words: str) -> None:
    """The decision is refused in words that say why, and nothing is recorded; a list alone needs no Slack."""
    change = waiting(site)
    await asyncio.to_thread(site.slack.fail, "usergroups.users.list", times=5, **fault)
    with pytest.raises(PolicyError, match=words):
        await site.decide(change, BOB)
    assert site.runtime.store.decisions(change.id) == ()
    listed = PEOPLE.model_copy(update={"slack_groups": {}})
    runtime = site.runtime
    alone = Runtime(
        runtime.home, runtime.config.model_copy(update={"people": listed}), runtime.store, runtime.catalogue,
        runtime.estate, runtime.clock,
    )  # fmt: skip
    await Desk(alone, NoBell()).decide(change.id, BOB, Verdict.APPROVE)
    assert [one.person for one in runtime.store.decisions(change.id)] == ["bob"]


async def test_who_is_asked_is_known_from_memory_for_a_while(site: Site) -> None:
    """Members are read again once they are stale; a Slack that is down leaves what the list says."""
    groups = {one.id: one.groups for one in (await site.runtime.membership.people()).people}
    assert groups["bob"] == ("operations",)
    await site.order(group="S0OPS", users=[])
    site.now += STALE - timedelta(seconds=1)
    assert [one.groups for one in (await site.runtime.membership.people()).people][1] == ("operations",)
    site.now += timedelta(seconds=1)
    groups = {one.id: one.groups for one in (await site.runtime.membership.people()).people}
    assert (groups["bob"], groups["carol"]) == ((), ("managers",))
    await asyncio.to_thread(site.slack.fail, "usergroups.users.list", times=5, status=502)
    site.now += STALE
    assert await site.runtime.membership.people() == PEOPLE


def test_a_group_that_is_not_bound_needs_no_proof(tmp_path: Path) -> None:
    """Who counts by another group, or is named, is not asked of Slack; a stand-in needs it of who is away."""
    store = Store(f"sqlite:///{tmp_path}/passgate.db", origin=ORIGIN, signer=None)
    store.migrate()
    change = waiting_change(store)
    asked = TERMS.requirements[0]

    def need(person: str, **terms: Any) -> tuple[Proof, ...]:
        one = change.model_copy(update={"terms": TERMS.model_copy(update=terms)})
        return proofs(one, "plan", person, (), AT + timedelta(hours=1), PEOPLE)

    assert need("bob") == (Proof("bob", ("operations",)),)
    both = asked.model_copy(update={"groups": ("operations", "managers"), "voters": ("bob", "carol", "dave")})
    assert need("carol", requirements=(both,)) == ()
    assert need("alice", requirements=(asked.model_copy(update={"voters": ("alice", "bob")}),)) == ()
    away = StandIn(person="dave", of="bob", since=AT, until=AT + timedelta(days=1))
    assert need("dave", stand_ins=(away,)) == (Proof("bob", ("operations",)),)
    late = Escalation(after=timedelta(minutes=1), groups=("operations",), voters=("bob",))
    managers = asked.model_copy(update={"groups": ("managers",), "voters": ("dave",)})
    assert need("bob", requirements=(managers,), escalations=(late,)) == (Proof("bob", ("operations",)),)
    assert PLAN.runbook == change.runbook
    store.close()


ids = st.sampled_from([one.slack for one in PEOPLE.people])


@given(st.frozensets(ids))
def test_slack_only_ever_takes_away(members: frozenset[str]) -> None:
    """Whoever edits user groups in Slack makes nobody a member who is not listed, and touches no other group."""
    for before, after in zip(PEOPLE.people, members_only(PEOPLE, {"operations": members}).people, strict=True):
        lost = set(before.groups) - set(after.groups)
        assert set(after.groups) <= set(before.groups)
        assert lost == ({"operations"} & set(before.groups) if before.slack not in members else set())


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("slack_groups: {operatoins: S0OPS}", "nobody in people.yaml is in the group 'operatoins'"),
        ("slack_groups: {operations: ops}", "slack_groups"),
        ("slack_groups: {operations: S0OPS}\n", "bob is in the group 'operations' and has no `slack` id"),
    ],
)
def test_a_binding_that_cant_be_meant_is_refused_at_the_start(tmp_path: Path, written: str, words: str) -> None:
    """R6: with file, line and field."""
    config = tmp_path / "config"
    for source in (ROOT / "config").rglob("*"):
        if source.is_file() and source.suffix != ".json":
            target = config / source.relative_to(ROOT / "config")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    people = (config / "people.yaml").read_text()
    people = people.replace("    slack: U0BOB\n", "") if "\n" in written else people
    (config / "people.yaml").write_text(f"{people}\n{written}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(config)
    assert words in str(caught.value)
