"""Kill Passgate while a host reboots: the host is not rebooted twice, and everything on it is given back."""

from __future__ import annotations

from collections import Counter

from passgate.model.change import State
from tests.house import House, until

HOST, GATE = "esx-02.lab.example", "host-reboot"
ASK = {"host": HOST, "device": "0951:1666", "shut_down": True, "reason": "a test"}
ONCE = Counter({"EnterMaintenanceMode_Task": 1, "UpdatePassthruConfig": 1, "RebootHost_Task": 1,
                "ExitMaintenanceMode_Task": 1})  # fmt: skip


def of_the_host(house: House) -> Counter[str]:
    """Return the calls that changed the host, by method."""
    return Counter(one["method"] for one in house.touched() if one["object"] == HOST)


def test_a_host_is_rebooted_once_though_passgate_died_meanwhile(house: House) -> None:
    """The boot time of the plan tells the next process that the reboot happened, or is yet to come."""
    before = house.lab.control.host("esx-02")
    answer = house.call("alice", "POST", "/v1/changes", runbook="pci-enable", ask=ASK)
    assert answer.is_success, answer.text
    change = house.store.change(answer.json()["id"])
    house.suspended(change)
    house.decide("bob", change).raise_for_status()
    house.at_gate(change)
    house.lab.control.fault("RebootHost_Task", delay=2.0)
    house.decide("carol", change, gate=GATE).raise_for_status()
    until(lambda: "RebootHost_Task" in of_the_host(house), "the reboot is asked for", told=house.told(change))
    house.kill_service()

    house.up()
    ended = house.ends(change, within=120)

    assert ended.state is State.DONE, ended.outcome
    assert {name: times for name, times in of_the_host(house).items() if name in ONCE} == ONCE
    after = house.lab.control.host("esx-02")
    assert after["boot_time"] > before["boot_time"]
    assert (after["maintenance"], after["arbitrator"]) == (False, "running")
    assert house.lab.control.vm("lic-01")["power"] == "poweredOn"
