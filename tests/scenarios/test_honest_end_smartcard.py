"""Let smartcard-enable and -disable fail at every step and on their way back: the end claims what the lab shows.

The judge is `is_honest`, as in test_honest_end: what is named as left behind has its effect in the lab, what is said to
be taken back has none, and a change that is `done` or `undone` left the lab exactly so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from passgate.model.change import Change, EventType, State, StepState
from tests.house import House, until
from tests.scenarios.stage import Scenario, Stage
from tests.scenarios.steps_smartcard import READER, READY
from tests.workshop import Workshop

KEY = "usb.generic.allowCCID"
ENABLE, DISABLE = "smartcard-enable", "smartcard-disable"
RECONFIGURE, ON, START, STOP, POLICY = (
    "ReconfigVM_Task", "PowerOnVM_Task", "StartService", "StopService", "UpdateServicePolicy",
)  # fmt: skip
REFUSED = "NotSupported"


@dataclass(frozen=True)
class Fails:
    """Say which call of a method fails: the `nth`; over SSH `word` is one of the command line."""

    method: str
    nth: int = 1
    word: str = "*"
    fault: str = REFUSED


def ssh(word: str, nth: int = 1, fault: str = "exit 1") -> Fails:
    """Return a command line that fails."""
    return Fails("ssh:exec", nth, word, fault)


REFUSALS = {
    (ENABLE, "api"): [
        Fails("ShutdownGuest"), Fails(RECONFIGURE), Fails(STOP), Fails(POLICY), Fails(RECONFIGURE, 2),
        Fails(RECONFIGURE, 3), Fails(ON),
    ],
    (ENABLE, "vmx"): [ssh(">"), ssh("whole"), ssh("vmsvc/reload"), ssh("/etc/init.d/pcscd"), ssh("pcscd")],
    (DISABLE, "api"): [Fails(RECONFIGURE), Fails(RECONFIGURE, 2), Fails(POLICY), Fails(START), Fails(ON)],
}  # fmt: skip
"""Each mutating call of both runbooks, by method; `pcscd` alone stands in chkconfig's line, `whole` in the exchange.

Disabling by `vmx` takes the same steps with other values; tests/flows/test_smartcard.py goes that way whole.
"""


@pytest.mark.parametrize(
    ("runbook", "method", "fails"),
    [(runbook, method, one) for (runbook, method), faults in REFUSALS.items() for one in faults],
    ids=str,
)
def test_a_refusal_takes_everything_back(workshop: Workshop, runbook: str, method: str, fails: Fails) -> None:
    """A fault that repeating would not help ends the change as undone, and the lab is as it was."""
    with requested(workshop, runbook, method) as (change, before):
        order(workshop, [fails])
        workshop.decide("bob", change)
        ended = workshop.ends(change)
        assert ended.state is State.UNDONE, ended.outcome
        is_honest(workshop, ended, before)


LOST = {
    (ENABLE, "api"): [Fails(RECONFIGURE, nth) for nth in (1, 2, 3)] + [Fails(STOP), Fails(POLICY), Fails(ON)],
    (ENABLE, "vmx"): [ssh("whole"), ssh("vmsvc/reload"), ssh("/etc/init.d/pcscd"), ssh("pcscd")],
    (DISABLE, "api"): [Fails(RECONFIGURE), Fails(RECONFIGURE, 2), Fails(POLICY), Fails(START), Fails(ON)],
}


@pytest.mark.parametrize(("runbook", "method"), LOST)
def test_connections_lost_right_after_every_call_do_nothing_twice(
    workshop: Workshop, runbook: str, method: str
) -> None:
    """Every answer is lost, no act is: fresh looks find them, nothing is sent again, and the change gets done."""
    with requested(workshop, runbook, method) as (change, before):
        already = len(workshop.touched())
        faults = [Fails(one.method, one.nth, one.word, "DisconnectAfter") for one in LOST[runbook, method]]
        order(workshop, faults)
        workshop.decide("bob", change)
        ended = workshop.ends(change)
        assert ended.state is State.DONE, ended.outcome
        sent = [one["method"] for one in workshop.touched()[already:] if one["accepted"]]
        assert sent.count(STOP) + sent.count(START) <= 1
        assert sum("pcscd stop" in one or "pcscd start" in one for one in sent) <= 1
        assert sum(one.startswith("mv ") for one in sent) == (1 if method == "vmx" else 0)
        is_honest(workshop, ended, before)


BACK = {
    "enable: the devices": (ENABLE, "api", [Fails(ON), Fails(RECONFIGURE, 4)], ["Add OmniKey", "Add a USB 3"]),
    "enable: pcscd": (ENABLE, "api", [Fails(ON), Fails(POLICY, 2), Fails(START)], ["Stop pcscd", "Set the startup"]),
    "enable: the VM": (ENABLE, "api", [Fails(POLICY), Fails(RECONFIGURE, 2), Fails(ON)], ["Shut down", f"Set {KEY}"]),
    "enable: the file": (ENABLE, "vmx", [Fails(POLICY), ssh("pcscd"), ssh("whole", 2)], [f"Set {KEY}"]),
    "disable: pcscd": (DISABLE, "api", [Fails(ON), Fails(STOP)], ["Start pcscd", "Remove OmniKey"]),
    "disable: the VM": (DISABLE, "api", [Fails(POLICY), Fails(RECONFIGURE, 3), Fails(ON)],
                        [f"Remove {KEY}", "Shut down"]),
}  # fmt: skip
"""What is not taken back: the call that fails first, those of the way back that fail, and what is left then."""


@pytest.mark.parametrize("what", BACK)
def test_a_way_back_that_is_refused_stops_and_says_what_is_left(workshop: Workshop, what: str) -> None:
    """A person is needed, and learns exactly what is and what isn't so; the rest is taken back all the same."""
    runbook, method, faults, left = BACK[what]
    with requested(workshop, runbook, method) as (change, before):
        order(workshop, faults)
        workshop.decide("bob", change)
        ended = workshop.ends(change)
        assert ended.state is State.STOPPED, ended.outcome
        assert [title for title in left if title not in ended.outcome] == []
        assert "A person is needed" in ended.outcome
        is_honest(workshop, ended, before)


@contextmanager
def requested(house: House, runbook: str, method: str) -> Iterator[tuple[Change, dict[str, Any]]]:
    """File the change for a running lnx-02, whose host keeps its reader or which has it already."""
    control = house.lab.control
    control.arbitrator("esx-03.lab.example", running=True)
    if runbook == DISABLE:
        stage = Stage(house.lab)
        given = stage.given(Scenario("", "lnx-02", READY[0], device=READER))
        for make in READY:
            stage.done(make(given))
        stage.close()
        control.service("esx-03.lab.example", "pcscd", policy="off")
    else:
        control.set_vm("lnx-02", power="poweredOn")
    until(lambda: control.vm("lnx-02")["tools_running"], "the guest has booted")
    before = lab_of(house)
    change = house.request(runbook=runbook, vm="lnx-02", device=READER, method=method)
    house.suspended(change)
    yield change, before
    control.clear_faults()


def order(house: House, faults: Sequence[Fails]) -> None:
    """Order the faults; calls of the same kind before and between them pass."""
    passed: dict[tuple[str, str], int] = {}
    for one in faults:
        kind = one.method, one.word
        for _ in range(one.nth - 1 - passed.get(kind, 0)):
            house.lab.control.fault(one.method, object=one.word)
        house.lab.control.fault(
            one.method, one.fault, object=one.word, in_task=one.method.endswith("_Task") and one.fault == REFUSED
        )
        passed[kind] = one.nth


def lab_of(house: House) -> dict[str, Any]:
    """Return what the lab says of lnx-02, its file and its host's pcscd, without what differs between moments."""
    vm, files = house.lab.control.vm("lnx-02"), house.lab.control.get("/files")
    return {
        "power": vm["power"],
        "controllers": vm["controllers"],
        "devices": [(one["pattern"], one["hostname"]) for one in vm["usb"]],
        "allowed": vm["extra"].get(KEY),
        "file": files["vmx"]["lnx-02"],
        "half": [name for name in files["others"] if name.endswith("-new")],
        "pcscd": house.lab.control.host("esx-03")["services"]["pcscd"],
    }


def is_honest(house: House, change: Change, before: dict[str, Any]) -> None:
    """Compare what the end and the journal claim with what the lab shows."""
    now = lab_of(house)
    enables = change.runbook == ENABLE
    effects = {
        "power.Off": now["power"] == "poweredOff",
        "smartcard.SetAllowed": (now["allowed"] == "TRUE" or f"{KEY} = " in now["file"]) is enables,
        "pcscd.Stop": not now["pcscd"][0],
        "pcscd.Start": now["pcscd"][0],
        "pcscd.SetPolicy": now["pcscd"][1] == ("off" if enables else "on"),
        "usb.AddController": bool(now["controllers"]),
        "usb.AddDevice": bool(now["devices"]),
        "usb.RemoveDevice": not now["devices"],
    }
    assert now["half"] == []
    for one in house.store.journal(change.id):
        if one.kind not in effects or one.state in {StepState.NOT_NEEDED, StepState.PENDING}:
            continue
        if change.state is State.STOPPED:
            assert (one.title in change.outcome.partition(": ")[2]) is effects[one.kind], (one.title, change.outcome)
        if one.state is StepState.UNDONE:
            assert not effects[one.kind], one.title
    if change.state is State.DONE:
        connected = [one["connected"] for one in house.lab.control.vm("lnx-02")["usb"]]
        assert (now["power"], connected) == ("poweredOn", [True] if enables else [])
        assert now["pcscd"] == ([False, "off"] if enables else [True, "on"])
        assert now["allowed"] == ("TRUE" if enables else None)
    if change.state is State.UNDONE:
        assert now == before
    until(lambda: EventType.EVIDENCE in {event.type for event in house.store.events(change=change.id)}, "evidence")
