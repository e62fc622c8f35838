"""Say what VMs and hosts are to policies: environments and owners by names and tags, and what follows from them."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passgate.engine.targets import placed
from passgate.errors import ConfigError
from passgate.model.decision import GateTerms, Requirement, Terms
from passgate.model.target import Target
from passgate.policy.seats import can_fill, seated
from passgate.policy.stricter import asks_more
from passgate.policy.terms import seats_of
from passgate.settings.load import load_config
from passgate.settings.people import People, Person
from passgate.settings.rules import Selector
from passgate.settings.targets import Owners, Targets, Things

SHIPPED = Path(__file__).parents[2] / "config"
PEOPLE = People(
    people=(
        Person(id="bob", name="Bob", groups=("operations",)),
        Person(id="carol", name="Carol", groups=("operations",)),
        Person(id="dave", name="Dave", groups=("managers",)),
    )
)
VM = Target(kind="vm", name="lic-01", host="esx-02", cluster="Cluster-01", tags=("Team/Licences",))


@pytest.mark.parametrize(
    ("things", "fits"),
    [
        (Things(vms=("lic-*",)), True),
        (Things(vms=("LIC-*",)), False),
        (Things(hosts=("esx-02",)), True),
        (Things(hosts=("esx-03",)), False),
        (Things(clusters=("Cluster-0?",)), True),
        (Things(tags=("Team/*",)), True),
        (Things(tags=("team/licences",)), False),
        (Things(vms=("win-*",), tags=("Team/Licences",)), True),
    ],
)
def test_a_thing_is_in_an_environment_by_any_of_its_names(things: Things, fits: bool) -> None:
    """A VM by its name, host, cluster or tags; one pattern that fits is enough, and case counts."""
    found = placed(VM, Targets(environments={"production": things}), PEOPLE)
    assert found.environments == (("production",) if fits else ())


def test_a_host_is_not_in_an_environment_by_the_name_of_a_vm() -> None:
    """Patterns over VMs say nothing of hosts, even where both bear one name."""
    host = Target(kind="host", name="lic-01")
    assert placed(host, Targets(environments={"production": Things(vms=("*",))}), PEOPLE).environments == ()


def test_owners_are_the_people_of_all_entries_that_fit() -> None:
    """Named people and the members of named groups, each once, in the order of people.yaml."""
    targets = Targets(
        owners=(
            Owners(vms=("lic-*",), people=("dave",)),
            Owners(tags=("Team/*",), people=("dave",), groups=("operations",)),
            Owners(vms=("win-*",), people=("erin",)),
        )
    )
    assert placed(VM, targets, PEOPLE).owners == ("bob", "carol", "dave")


def test_tags_are_wanted_only_where_something_speaks_of_them() -> None:
    """A rule, a window, an environment or an owner with tags; never because there could be some."""
    assert not Targets(environments={"test": Things(vms=("test-*",))}).speaks_of_tags([Selector()])
    assert Targets().speaks_of_tags([Selector(tags=("Environment/*",))])
    assert Targets(environments={"test": Things(tags=("Environment/Test",))}).speaks_of_tags([Selector()])
    assert Targets(owners=(Owners(tags=("Team/*",), people=("bob",)),)).speaks_of_tags([])


MISTAKES = {
    "an owner that nobody is": ("owners: [{vms: [a], people: [eve]}]", "owners[0].people", "no person 'eve'"),
    "a group without members": ("owners: [{vms: [a], groups: [dba]}]", "owners[0].groups", "in the group 'dba'"),
    "owners of nothing": ("owners: [{people: [bob]}]", "owners[0]", "at least one of vms, hosts"),
    "nobody owns": ("owners: [{vms: [a]}]", "owners[0]", "at least one of people and groups"),
    "a field that is not there": ("environments: {test: {vm: [a]}}", "environments.test.vm", "Did you mean 'vms'?"),
    "a name that is none": ("environments: {Test: {vms: [a]}}", "environments.Test", "text that fits"),
}


@pytest.mark.parametrize("why", MISTAKES)
def test_a_mistake_in_targets_is_named_with_its_place(tmp_path: Path, why: str) -> None:
    """File, line and field, what was given and what is accepted; nothing is loaded."""
    text, field, words = MISTAKES[why]
    folder = tmp_path / "config"
    shutil.copytree(SHIPPED, folder)
    (folder / "targets.yaml").write_text(text + "\n")
    with pytest.raises(ConfigError) as refused:
        load_config(folder)
    assert f"{folder / 'targets.yaml'}, line 1: {field}" in refused.value.message
    assert words in refused.value.message


def test_a_rule_may_only_name_what_targets_have(tmp_path: Path) -> None:
    """An environment that is not there, and owners where nobody owns anything, are refused with file and line."""
    folder = tmp_path / "config"
    shutil.copytree(SHIPPED, folder)
    rule = "rules:\n  - name: licences\n    environments: [licencing]\n    approval: {owners: true}\n"
    (folder / "policies/40-own.yaml").write_text(rule)
    with pytest.raises(ConfigError) as refused:
        load_config(folder)
    assert "40-own.yaml, line 3: rules[0].environments: there is no environment 'licencing'" in refused.value.message
    assert "40-own.yaml, line 4: rules[0].approval: it asks the owners" in refused.value.message


NAMES = ("bob", "carol", "dave", "erin")
asked = st.lists(
    st.builds(
        Requirement,
        name=st.just("somebody"),
        rule=st.just("some"),
        needed=st.integers(1, 2),
        voters=st.lists(st.sampled_from(NAMES), min_size=2, unique=True).map(tuple),
    ),
    max_size=3,
).map(tuple)


@given(asked, asked, st.lists(st.sampled_from(NAMES), unique=True))
def test_who_satisfied_then_satisfies_now_unless_more_is_asked(
    then: tuple[Requirement, ...], now: tuple[Requirement, ...], approving: list[str]
) -> None:
    """Whatever people approved: if it was enough then, it is enough now, or it is said what is missing."""
    old, new = Terms(policy="then", requirements=then), Terms(policy="now", requirements=now)
    assert asks_more(old, old) == ()
    assert asks_more(old, Terms(policy="none")) == ()
    if not asks_more(old, new) and _is_met(then, approving):
        assert _is_met(now, approving)


def _is_met(asked: tuple[Requirement, ...], approving: list[str]) -> bool:
    sits = {person: places for person, places in seats_of(asked).items() if person in approving}
    return can_fill([one.needed for one in asked], sits)


def test_other_things_that_are_asked_for_are_told_too() -> None:
    """Fewer doors, a reason, a second gate, other people there: each in words."""
    gate = GateTerms(requirements=(), others=True, approve_within=timedelta(hours=1))
    now = Terms(policy="now", doors=("cli",), reason_required=True, gates={"host-reboot": gate})
    said = "; ".join(asks_more(Terms(policy="then"), now))
    for words in ("only by cli", "a reason", "at the gate host-reboot: other people"):
        assert words in said
    assert asks_more(now, now) == ()
    assert seated([1], {"bob": [0]}) == (1,)
