"""Let tags, environments and owners decide who is asked, on a vCenter; and let them be as they were when it begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from passgate.engine.beginning import begin
from passgate.engine.filing import file_change
from passgate.engine.gate import settle
from passgate.engine.runtime import Runtime
from passgate.errors import LoginError, PolicyError
from passgate.model.change import Actor, Change, Door, State
from passgate.model.decision import Decision, Terms, Verdict
from passgate.settings.calendar import Calendar
from passgate.settings.rules import Approval, PolicyRule
from passgate.settings.targets import Owners, Targets, Things
from tests.contract.vsphere_places import Place, lab
from tests.engine_room import ALICE, approved, engine_on

ASK = {"vm": "win-01"}
OWNED = PolicyRule(name="owned", environments=("production",), approval=(Approval(owners=True),))
TARGETS = Targets(
    environments={"production": Things(tags=("Environment/Production",))},
    owners=(Owners(vms=("win-*",), people=("dave",)),),
)


@contextmanager
def house(tmp_path: Path, *rules: PolicyRule, targets: Targets = TARGETS) -> Iterator[tuple[Place, Runtime]]:
    """Run an engine on a lab, with these rules beside the shipped ones, and no windows that would make it wait."""
    (tmp_path / "lab").mkdir()
    with lab(tmp_path / "lab") as place, engine_on(place, tmp_path / "home") as engine:
        policy = engine.config.policy
        more = policy.model_copy(update={"rules": (*policy.rules, *rules)})
        parts = {"policy": more, "targets": targets, "calendar": Calendar()}
        yield place, replace(engine, config=engine.config.model_copy(update=parts))


def tag(place: Place, *names: str) -> None:
    """Let win-01 bear these tags."""
    assert place.world is not None
    place.world.vm("win-01").tags[:] = names


async def test_who_is_asked_follows_from_tags_and_owners(tmp_path: Path) -> None:
    """A VM tagged as production needs its owner beside the others; what policy was told is frozen into the change."""
    with house(tmp_path, OWNED) as (place, engine):
        plain = await file_change(engine, "usb-controller-add", ASK, ALICE)
        tag(place, "Environment/Production", "Guest/Windows")
        owned = await file_change(engine, "usb-controller-add", ASK, ALICE)

    assert [one.voters for one in _terms(plain).requirements] == [("bob", "carol")]
    assert [one.voters for one in _terms(owned).requirements] == [("dave",)]
    vm = next(one for one in _terms(owned).targets if one.kind == "vm")
    assert (vm.name, vm.host, vm.cluster) == ("win-01", "esx-01.lab.example", "Cluster-01")
    assert (vm.tags, vm.environments, vm.owners) == (
        ("Environment/Production", "Guest/Windows"),
        ("production",),
        ("dave",),
    )


async def test_a_vm_that_became_production_meanwhile_voids_the_change(tmp_path: Path) -> None:
    """R34: its tag came after the approval, and policy asks its owner now: nothing is done, and the words say why."""
    with house(tmp_path, OWNED) as (place, engine):
        change = await approved(engine, "usb-controller-add", ASK)
        tag(place, "Environment/Production")
        ended = await begin(engine, change)

    assert ended is not None
    assert ended.state is State.VOID
    for words in ("win-01, tags: nothing -> Environment/Production", "1 approval by the owners of the VM"):
        assert words in ended.outcome
    assert place.world is not None
    assert place.world.mutations == []


async def test_facts_that_ask_for_nothing_more_are_noise(tmp_path: Path) -> None:
    """R35: another tag that no rule speaks of, or one that asks for less, voids nothing."""
    with house(tmp_path, OWNED) as (place, engine):
        tag(place, "Guest/Windows")
        change = await approved(engine, "usb-controller-add", ASK)
        tag(place, "Team/Backup")
        begun = await begin(engine, change)

    assert begun is not None
    assert begun.state is State.APPLYING, begun.outcome


async def test_a_rule_that_was_edited_since_voids_nothing(tmp_path: Path) -> None:
    """What was frozen stands: only what the change is about may void it, never a later edit of the rules."""
    with house(tmp_path) as (place, engine):
        change = await approved(engine, "usb-controller-add", ASK)
        tag(place, "Guest/Windows")
        everywhere = OWNED.model_copy(update={"environments": ("*",)})
        policy = engine.config.policy.model_copy(update={"rules": (*engine.config.policy.rules, everywhere)})
        later = replace(engine, config=engine.config.model_copy(update={"policy": policy}))
        begun = await begin(later, change)

    assert begun is not None
    assert begun.state is State.APPLYING, begun.outcome


async def test_tags_that_can_not_be_read_refuse_the_request(tmp_path: Path) -> None:
    """Never silently without tags: the request is refused in words, and nothing is filed."""
    with house(tmp_path, OWNED) as (_, engine):
        engine.estate.tags._password = lambda: "wrong"
        with pytest.raises(LoginError, match="tags can't be read"):
            await file_change(engine, "usb-controller-add", ASK, ALICE)
        assert engine.store.changes() == ()


async def test_tags_are_not_asked_for_where_nothing_speaks_of_them(tmp_path: Path) -> None:
    """Without a rule about tags, the second API is never called: it need not even be there."""
    with house(tmp_path, targets=Targets()) as (_, engine):
        engine.estate.tags._password = lambda: "wrong"
        change = await file_change(engine, "usb-controller-add", ASK, ALICE)
    assert {one.tags for one in _terms(change).targets} == {()}


async def test_a_standard_change_stays_one_only_while_all_of_it_fits(tmp_path: Path) -> None:
    """A rule that authorises test things in advance does not carry a VM through that is none, nor was one then."""
    standard = PolicyRule(name="tests", environments=("test",), pre_authorised=True)
    targets = Targets(environments={"test": Things(tags=("Environment/Test",), hosts=("esx-01*",))})
    with house(tmp_path, standard, targets=targets) as (place, engine):
        tag(place, "Environment/Test")
        change = await file_change(engine, "usb-controller-add", ASK, ALICE)
        assert _terms(change).pre_authorised, _terms(change).said
        assert change.state is State.APPROVED


async def test_owners_decide_and_nobody_else(tmp_path: Path) -> None:
    """Bob of operations does not own win-01: his approval does not count where the owner is asked."""
    with house(tmp_path, OWNED) as (place, engine):
        tag(place, "Environment/Production")
        change = await file_change(engine, "usb-controller-add", ASK, ALICE)
        for person in ("bob", "dave"):
            assert settle(engine, engine.store.change(change.id)).state is State.WAITING
            decision = Decision(change=change.id, digest=change.digest or "", person=person, door="cli",
                                verdict=Verdict.APPROVE, at=engine.clock())  # fmt: skip
            try:
                engine.store.decide(decision, Actor(person=person, door=Door.CLI))
            except PolicyError:
                assert person == "bob"
        assert settle(engine, engine.store.change(change.id)).state is State.APPROVED


def _terms(change: Change) -> Terms:
    assert change.terms is not None
    return change.terms
