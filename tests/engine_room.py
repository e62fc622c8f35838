"""Run the engine without Prefect: a runtime on a vCenter, and a change taken from the request to its first step."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from passgate.connect.esxi_shell import ShellAccess
from passgate.engine.beginning import LEASE, begin
from passgate.engine.carrying import Carrying
from passgate.engine.catalogue import Catalogue
from passgate.engine.estate import Estate
from passgate.engine.filing import file_change
from passgate.engine.gate import settle, stopped_at
from passgate.engine.runtime import Runtime, open_store, utc_now
from passgate.engine.second_gate import come_to, rest_is_as_approved
from passgate.model.change import Actor, Change, Door, State
from passgate.model.decision import Decision, Verdict
from passgate.model.plan import PlannedStep
from passgate.settings.load import load_config
from passgate.settings.shape import GuestLogin, Shell
from passgate.settings.values import FromFile
from tests.contract.vsphere_places import Place

ROOT = Path(__file__).parents[1]
ALICE = Actor(person="alice", door=Door.CLI)


def with_test_content(runtime: Runtime) -> Runtime:
    """Let the runtime know the runbooks and steps that are for tests of the engine alone: tests/content."""
    for name in ("flows", "tasks"):
        package, folder = importlib.import_module(name), str(ROOT / "tests/content" / name)
        if folder not in package.__path__:
            package.__path__.append(folder)
    for name in ("prove_gate", "prove_steps"):
        found = getattr(importlib.import_module(f"flows.{name}"), name)
        runtime.catalogue.runbooks[found.slug] = found
    return runtime


@contextmanager
def engine_on(
    place: Place, home: Path, shells: ShellAccess | None = None, guest: tuple[str, str] | None = None
) -> Iterator[Runtime]:
    """Open a runtime on that vCenter and these ESXi shells, with a home and a ledger of its own.

    `guest` is user and password in Linux guests.
    """
    home.mkdir()
    (home / "password").write_text(place.endpoint.password)
    shipped = load_config(ROOT / "config")
    vcenter = shipped.site.vcenter.model_copy(
        update={
            "url": place.endpoint.url,
            "ca": place.endpoint.ca,
            "user": place.endpoint.user,
            "password": FromFile(file="password"),
        }
    )
    parts = {
        "vcenter": vcenter,
        "shell": _shell(home, shells) if shells else None,
        "guests": (_login(home, *guest),) if guest else shipped.site.guests,
    }
    site = shipped.site.model_copy(update=parts)
    config = shipped.model_copy(update={"site": site})
    store = open_store(home, config)
    found = Runtime(home, config, store, Catalogue(ROOT), Estate(config, home), utc_now)
    try:
        yield found
    finally:
        found.estate.close()
        store.close()


def _shell(home: Path, access: ShellAccess) -> Shell:
    (home / "esxi.key").write_text(access.key or "")
    return Shell(
        user=access.user,
        key=FromFile(file="esxi.key"),
        known_hosts=access.known_hosts,
        addresses=json.dumps(dict(access.addresses)),
        timeout=access.timeout,
    )


def _login(home: Path, user: str, password: str) -> GuestLogin:
    (home / "guest.password").write_text(password)
    return GuestLogin(family="linux", user=user, password=FromFile(file="guest.password"))


async def approved(runtime: Runtime, runbook: str, ask: dict[str, Any]) -> Change:
    """File a change as Alice and approve it as Bob, unless policy authorised it beforehand."""
    change = await file_change(runtime, runbook, ask, ALICE)
    if change.state is not State.WAITING:
        return settle(runtime, change)
    decision = Decision(
        change=change.id, digest=change.digest or "", person="bob", door="cli", verdict=Verdict.APPROVE, at=utc_now()
    )
    runtime.store.decide(decision, Actor(person="bob", door=Door.CLI))
    return settle(runtime, change)


async def begun(runtime: Runtime, change: Change) -> Carrying:
    """Begin the change as its run does: leases, the plan made anew, the restore point, the journal."""
    assert change.plan is not None
    taken = await begin(runtime, change)
    assert taken is not None
    assert taken.state is State.APPLYING, taken.outcome
    tokens = runtime.store.take_leases(change.id, change.plan.resources, LEASE, utc_now())
    return Carrying(runtime, change.id, change.plan, tokens)


async def through_gate(runtime: Runtime, carrying: Carrying, planned: PlannedStep) -> None:
    """Pass the second gate before that step, if it has one, on Carol's word."""
    gate = await come_to(carrying, planned)
    if gate is None:
        return
    change = runtime.store.change(carrying.change)
    decision = Decision(
        change=change.id, digest=change.digest or "", gate=gate.name, person="carol", door="cli",
        verdict=Verdict.APPROVE, at=utc_now(),
    )  # fmt: skip
    runtime.store.decide(decision, Actor(person="carol", door=Door.CLI))
    settle(runtime, change)
    change = runtime.store.change(change.id)
    assert stopped_at(change) is None
    assert await rest_is_as_approved(carrying, change, planned)
