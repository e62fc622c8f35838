"""The benchmark: what its figures mean, and that nothing is measured but the work itself, done."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from benchmarks.census import DEVICES, synthetic
from benchmarks.contenders import BARE, Contender, take_turn
from benchmarks.figures import TARGETS, Spread, compared, judged, ratios
from benchmarks.stage import GATED_VM, POLICY, VM, Stage, StageError
from passgate.model.census import Use, take_census
from passgate.model.plan import Risk
from passgate.model.target import Target
from passgate.policy.facts import Facts
from passgate.policy.terms import choose
from passgate.settings.load import load_config
from tests.lab_site import SHIPPED, Lab

NOSLEEP = "passgate_over_ansible_nosleep"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Run a lab; the peers need no service."""
    with Lab.start(tmp_path_factory.mktemp("bench")) as lab, httpx.Client() as no_service:
        bearer = {"Authorization": f"Bearer {lab.read('control.token')}"}
        with httpx.Client(base_url=lab.status.control, headers=bearer) as control:
            yield Stage(lab.home, control, no_service)


def test_ratios_are_taken_pair_by_pair() -> None:
    """A load that slowed one round slows both of a pair: the ratio of medians would hide or invent a difference."""
    assert ratios([1.0, 9.0, 1.0], [2.0, 18.0, 4.0]) == (0.5, 0.5, 0.25)


def test_a_slow_peer_is_paired_with_the_rounds_that_it_took_part_in() -> None:
    """Ansible with its sleep takes fewer turns than the others."""
    assert ratios([1.0, 2.0, 50.0], [10.0, 10.0]) == (0.1, 0.2)


def test_a_spread_says_how_many_and_how_far() -> None:
    """No figure goes without n and its extremes."""
    assert Spread.of([3.0, 1.0, 2.0]).as_data() == {"n": 3, "median": 2.0, "low": 1.0, "high": 3.0}


def test_a_target_whose_peer_is_missing_is_not_met() -> None:
    """Without Ansible nothing is claimed about it."""
    found = compared({"bare": [0.1], "passgate": [1.0]}, {"bare": [21], "passgate": [25]})
    assert NOSLEEP not in found
    verdict = judged(found)
    assert verdict[NOSLEEP]["median"] is None
    assert not verdict[NOSLEEP]["met"]
    assert verdict["round_trips_passgate_over_bare"]["met"]


@pytest.mark.parametrize(("seconds", "met"), [(0.5, True), (0.51, False)])
def test_a_target_is_met_up_to_its_bound(seconds: float, *, met: bool) -> None:
    """The issue's bound: at most half of Ansible's time without its sleep."""
    found = compared({"bare": [0.1], "passgate": [seconds], "ansible_nosleep": [1.0]}, {"bare": [1], "passgate": [1]})
    assert judged(found)[NOSLEEP]["met"] is met
    assert {one.name: one.at_most for one in TARGETS}[NOSLEEP] == 0.5


def test_policy_lets_the_measured_change_pass_and_holds_the_one_that_is_clicked(tmp_path: Path) -> None:
    """The measured change is a standard one, without approval; the click is a real one, at a gate that holds."""
    shutil.copytree(SHIPPED, tmp_path / "config")
    (tmp_path / "config/policies/05-bench.yaml").write_text(POLICY, encoding="utf-8")
    config = load_config(tmp_path / "config")
    passes = {
        vm: choose(
            config.policy,
            config.people,
            Facts(
                runbook="usb-controller-add",
                risk=Risk.DISRUPTIVE,
                targets=(Target(kind="vm", name=vm),),
                requester="alice",
                at=datetime(2026, 11, 25, tzinfo=UTC),
            ),
        ).pre_authorised
        for vm in (VM, GATED_VM)
    }
    assert passes == {VM: True, GATED_VM: False}


def test_the_bare_script_does_the_work_and_its_requests_are_counted_where_they_arrive(stage: Stage) -> None:
    """The base of all comparisons: it logs in once, calls three tasks, and awaits each with three requests."""
    before = stage.control.get("/calls").json()["calls"]
    turn = take_turn(BARE, stage)
    after = stage.control.get("/calls").json()["calls"]
    calls = {name: after[name] - before.get(name, 0) for name in after}
    assert calls["PowerOffVM_Task"] == calls["ReconfigVM_Task"] == calls["PowerOnVM_Task"] == 1
    assert turn.requests == sum(calls.values())
    waits = calls.pop("WaitForUpdatesEx")  # one per task where tasks end at once, more where they take their time
    assert waits >= 3
    assert sum(calls.values()) <= 19, calls


def test_a_turn_that_left_the_work_undone_gives_no_figure(stage: Stage) -> None:
    """What ended well without doing the work would be the fastest of all."""
    idle = Contender("idle", "a program that does nothing", lambda _: ["true"])
    with pytest.raises(StageError, match="the work was not done"):
        take_turn(idle, stage)


def test_a_turn_that_failed_says_why(stage: Stage) -> None:
    """A peer that breaks is named with its own words."""
    broken = Contender("broken", "a program that breaks", lambda _: ["sh", "-c", "echo out of memory; exit 3"])
    with pytest.raises(StageError, match="out of memory"):
        take_turn(broken, stage)


def test_the_estate_on_paper_is_judged_whole() -> None:
    """What the figure for 5,000 hosts is taken of is the work itself: a row for each device, failure and lost entry."""
    hosts, unread = 5000, 50
    estate = synthetic(hosts)

    census = take_census(estate)

    astray = sum(
        "0/9/9" in entry.pattern
        for vm in estate.vms
        for entry in vm.usb
        if int(vm.host.ref.removeprefix("host-")) % 100
    )
    assert (census.hosts, census.unread) == (hosts, unread)
    assert len(census.rows) == (hosts - unread) * DEVICES + unread + astray
    missing = [row for row in census.rows if row.use is Use.MISSING]
    assert len(missing) == astray > 0
