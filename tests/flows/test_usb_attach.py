"""Attach a device, from the request to the evidence."""

from __future__ import annotations

from passgate.model.change import EventType, State, StepState
from tests.house import House
from tests.workshop import Workshop

STEPS_DONE = [
    "Shut down the guest of win-01",
    "Add a USB 3 (xHCI) controller to win-01",
    "Add Verbatim STORE N GO to win-01 with vMotion support",
    "Power on win-01",
    "See Verbatim STORE N GO connected to win-01",
    "See Verbatim STORE N GO in the guest of win-01",
]


def test_attaches_the_stick_after_an_approval_and_proves_it_in_the_guest(house: House) -> None:
    """What was asked for and approved is what the lab's own state shows afterwards, and the guest saw it."""
    change = house.request(vmotion=True)
    assert change.state is State.WAITING
    assert house.touched() == []

    assert house.decide("bob", change).is_success
    ended = house.ends(change)

    assert (ended.state, "STORE N GO" in ended.outcome) == (State.DONE, True), ended.outcome
    vm = house.lab.control.vm("win-01")
    assert vm["power"] == "poweredOn"
    assert [entry["connected"] for entry in vm["usb"]] == [True]
    journal = house.store.journal(change.id)
    assert [one.title for one in journal if one.state is StepState.DONE] == STEPS_DONE
    assert [one.title for one in journal if one.state is StepState.NOT_NEEDED] == [
        "Start the USB arbitrator on esx-01.lab.example"
    ]
    proof = [event for event in house.store.events(change=change.id) if event.type is EventType.GUEST_PROOF]
    assert "07A40901A2B3C4D5" in str(proof[-1].data["facts"])


def test_prefect_shows_the_run_by_id_and_target_with_its_steps_in_words(house: House) -> None:
    """Whoever looks at Prefect's own pages finds the change, its steps, its plan and its report."""
    change = house.request()
    house.decide("bob", change)
    ended = house.ends(change)
    run = house.prefect("GET", f"/flow_runs/{ended.flow_run}").json()
    assert run["name"] == f"{change.id} win-01"
    assert run["parameters"]["device"] == "18a5:0302"

    from tests.house import until

    def names() -> set[str]:
        runs = house.prefect("POST", "/task_runs/filter", flow_runs={"id": {"any_": [run["id"]]}}).json()
        return {one["name"] for one in runs}

    until(lambda: "Power on win-01" in names(), "Prefect knows the steps", told=lambda: str(names()))

    def artifacts() -> set[str]:
        found = house.prefect("POST", "/artifacts/filter", artifacts={"flow_run_id": {"any_": [run["id"]]}}).json()
        return {one["key"] for one in found}

    wanted = {f"{change.id.lower()}-plan", f"{change.id.lower()}-report"}
    until(lambda: artifacts() >= wanted, "Prefect has plan and report", told=lambda: str(artifacts()))


def test_starts_a_stopped_arbitrator_as_a_step(workshop: Workshop) -> None:
    """On a host whose arbitrator is stopped the device is found by its ids, and the arbitrator is started first."""
    change = workshop.request(vm="lnx-02", device="18a5:0302")
    workshop.decide("carol", change)
    ended = workshop.ends(change)

    assert ended.state is State.DONE, ended.outcome
    assert workshop.lab.control.host("esx-03")["arbitrator"] in {True, "running"}
    done = [one.title for one in workshop.store.journal(change.id) if one.state is StepState.DONE]
    assert done[0] == "Start the USB arbitrator on esx-03.lab.example"


def test_a_second_request_for_the_same_has_only_to_look(workshop: Workshop) -> None:
    """A device that is attached already is not attached again: the plan of a second change only looks."""
    first = workshop.request(vm="win-02", device="0529:0001,path:0/1/4")
    workshop.decide("bob", first)
    assert workshop.ends(first).state is State.DONE
    before = len(workshop.touched())

    second = workshop.request(vm="win-02", device="0529:0001,path:0/1/4")
    assert second.plan is not None
    assert [step.title for step in second.plan.todo if step.mutates] == []
    assert len(workshop.touched()) == before
