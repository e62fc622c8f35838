"""Bind an approval to the meaning of each shipped runbook's plan: noise never voids it, any change that counts does.

R34: what was approved is what runs; a mismatch voids it and is shown. R35: no false void on replays of an unchanged
inventory; what is volatile is out by one table, tests/scenarios/noise.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from passgate.engine.planning import differences
from passgate.errors import PassgateError
from passgate.model.inventory import Inventory
from passgate.model.plan import Severity
from tests.scenarios.changes import IN_THE_WORLD, on_paper
from tests.scenarios.noise import FIELDS, replay, seeded
from tests.scenarios.paper import plan as planned_on_paper
from tests.scenarios.parts import parts
from tests.scenarios.plans import RUNBOOKS
from tests.scenarios.readings import Reading, read_examples
from tests.scenarios.test_checks import UNMET

pytestmark = pytest.mark.xdist_group("binding")
REPLAYS = 150
"""How often each runbook's reading is made again with noise: with all runbooks and estates on paper, thousands."""


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reading]:
    """Read the lab once for each runbook."""
    return {one.runbook.slug: one for one in read_examples(tmp_path_factory.mktemp("readings"))}


def test_each_field_of_a_reading_is_classed() -> None:
    """R35: what is volatile is out by schema. A new field is noise, or counts, or is looked into: somebody must say."""
    met: set[type[BaseModel]] = set()
    todo: list[type[BaseModel]] = [Inventory]
    while todo:
        model = todo.pop()
        met.add(model)
        found = {one for field in model.model_fields.values() for one in _models(field.annotation)}
        todo += found - met
    assert {model: set(model.model_fields) for model in met} == {model: set(names) for model, names in FIELDS.items()}


@pytest.mark.parametrize("slug", RUNBOOKS)
def test_noise_never_voids_what_was_approved(readings: dict[str, Reading], slug: str) -> None:
    """R35: another order, other numbers, and a life of their own for all others: the same digest, and no word."""
    one = readings[slug]
    for seed in range(REPLAYS):
        now = one.again(replay(one.site, one.plan, seeded(seed)))
        assert differences(one.plan, now) == (), f"with seeded({seed})"
        assert now.digest == one.digest


def test_noise_never_voids_a_plan_with_a_warning() -> None:
    """R35: the same for every estate on paper that can be approved although a check is not met: it is not met again."""
    for case in (one for one in UNMET if one.severity is Severity.WARNING and one.check is None):
        approved = planned_on_paper(case.site, runbook=case.runbook, **case.ask)
        for seed in range(3):
            now = planned_on_paper(replay(case.site, approved, seeded(seed)), runbook=case.runbook, **case.ask)
            assert differences(approved, now) == (), f"{case.code}, {case.why}, with seeded({seed})"
            assert now.digest == approved.digest


def test_each_field_that_counts_makes_another_plan_somewhere(readings: dict[str, Reading]) -> None:
    """R34: no field is called meaning in vain, and what differs is always said in words, never a silent mismatch."""
    wanted = {(model, name) for model, fields in FIELDS.items() for name, says in fields.items() if says.meaning}
    on_paper = (Reading.of(RUNBOOKS[case.runbook], _asked(case), case.site) for case in UNMET if case.check is None)
    for one in chain(readings.values(), on_paper):
        if not wanted:
            break
        for part in parts(one.site):
            if (part.model, part.name) not in wanted:
                continue
            for mutate in FIELDS[part.model][part.name].meaning:
                if (value := mutate(part.value)) == part.value:
                    continue
                if _voids(one, part.put(value)):
                    wanted.discard((part.model, part.name))
                    break
    assert {f"{model.__name__}.{name}" for model, name in wanted} == set()


@pytest.mark.parametrize("slug", RUNBOOKS)
def test_every_change_of_a_stored_plan_is_another_plan(readings: dict[str, Reading], slug: str) -> None:
    """R34: order, steps, each field of each step, impact, gate, risk, warnings: a digest of its own, and named."""
    approved, digest = readings[slug].plan, readings[slug].digest
    for how, other, said in on_paper(approved):
        assert other.digest != digest, how
        assert re.search(said, "; ".join(differences(approved, other))), how
        assert differences(other, approved), how


@pytest.mark.parametrize("why", IN_THE_WORLD)
def test_every_change_of_the_world_that_counts_voids_and_is_named(readings: dict[str, Reading], why: str) -> None:
    """R34: for each runbook that has to do with it, at each thing that its plan names."""
    change, seen = IN_THE_WORLD[why], 0
    for slug, one in readings.items():
        if re.search(change.runbooks, slug) is None:
            continue
        for site in change.made(one):
            seen += 1
            try:
                now = one.again(site)
            except PassgateError as error:
                said = f"{error.message} {error.hint}"
            else:
                assert now.digest != one.digest, slug
                said = "; ".join(differences(one.plan, now))
            assert re.search(change.said, said), f"{slug}: {said}"
    assert seen


def _voids(one: Reading, site: Inventory) -> bool:
    """Say whether the change would go void: it can't be planned any more, or differs, and then in words too."""
    try:
        now = one.again(site)
    except PassgateError:
        return True
    if now == one.plan:
        return False
    digest = now.digest
    assert bool(differences(one.plan, now)) == (digest != one.digest)
    return digest != one.digest


def _asked(case: Any) -> dict[str, Any]:
    usual = {"vm": "win-01", "device": "18a5:0302"}
    return {**{name: usual[name] for name in usual.keys() & RUNBOOKS[case.runbook].ask.model_fields.keys()}, **case.ask}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
