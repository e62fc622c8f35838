"""Scenarios of the steps about maintenance mode, reboots, power management, and VMs that move."""

from __future__ import annotations

from passgate.engine.steps import Step
from passgate.model.inventory import Host, Inventory
from tasks import arbitrator, cluster, evacuation, host, maintenance, power, vmotion
from tests.scenarios.stage import Given, Scenario
from tests.scenarios.steps_usb import attach, movable, xhci

STICK = "18a5:0302"
ESX_01, ESX_02 = "esx-01.lab.example", "esx-02.lab.example"
SUSPENDED = ("set_vm", {"vm": "win-01", "power": "suspended"})
DPM = ("dpm", {"on": True})


def other(site: Inventory) -> Host:
    """Return the host that VMs of the first one move to."""
    return site.host(ESX_02)


def enter(given: Given) -> Step:
    """Put the VM's host into maintenance mode."""
    return maintenance.Enter(given.host)


def move(given: Given) -> Step:
    """Move the VM to the other host."""
    return vmotion.Move(given.vm, other(given.site))


def aside(given: Given) -> Step:
    """Move the VM out of the way."""
    return vmotion.Aside(given.vm, other(given.site))


def home_of_win_01(given: Given) -> Host:
    """Return the host that win-01 is on when the lab starts."""
    return given.site.host(ESX_01)


def keep(given: Given) -> Step:
    """Keep the VM's host powered on."""
    return cluster.KeepPoweredOn(given.host)


def back(given: Given) -> Step:
    """Move win-01 back to where the plan found it."""
    return vmotion.Back(given.vm.id.model_copy(update={"host": home_of_win_01(given).id}))


def down(given: Given) -> Step:
    """Shut the VM down for a reboot."""
    return evacuation.StandDown(given.vm, power.How.GUEST)


def answers(given: Given) -> Step:
    """Try TCP 902 between the two hosts."""
    return vmotion.Reaches902(given.host, other(given.site), ("192.0.2.11", "192.0.2.12"))


BOTH = (ESX_01, ESX_02)

SCENARIOS = (
    Scenario("where nothing runs", "lnx-02", enter),
    Scenario("out of maintenance mode", "lnx-02", lambda one: maintenance.Exit(one.host), first=[enter]),
    Scenario("in maintenance mode", "lnx-02", lambda one: evacuation.reboot(one.host, one.site), first=[enter],
             of=host.Reboot),
    Scenario("before it is emptied", "lnx-02", lambda one: host.Ready(one.host)),
    Scenario("connected and open", "lnx-01", lambda one: host.Serves(one.host, ha=True)),
    Scenario("in maintenance mode as before", "lnx-02", lambda one: host.Serves(one.host, ha=False, maintenance=True),
             first=[enter]),
    Scenario("that did not start with its host", "lnx-02", lambda one: arbitrator.StartAgain(one.host)),
    Scenario("on a cluster that powers hosts off", "win-01", keep, given=[DPM]),
    Scenario("over an override that was on", "win-01", lambda one: cluster.KeepPoweredOn(one.host, former=True),
             given=[DPM, ("set_host", {"host": ESX_01, "dpm": True})]),
    Scenario("no override, as before", "win-01", lambda one: cluster.RestorePowerManagement(one.host), given=[DPM],
             first=[keep]),
    Scenario("an override that was on", "win-01", lambda one: cluster.RestorePowerManagement(one.host, former=True),
             given=[DPM], first=[keep]),
    Scenario("a running VM", "win-01", move, hosts=BOTH),
    Scenario("a VM that is off", "old-01", move, hosts=BOTH),
    Scenario("a suspended VM", "lnx-01", move,
             given=[("set_vm", {"vm": "lnx-01", "power": "suspended"})], hosts=BOTH),
    Scenario("with a USB device of its host", "lnx-01", move,
             first=[xhci, movable], device=STICK, hosts=BOTH),
    Scenario("out of the way", "win-01", aside, hosts=BOTH),
    Scenario("to where the plan found it", "win-01", back, given=[("set_vm", {"vm": "win-01", "host": ESX_02})],
             hosts=BOTH),
    Scenario("vCenter has nothing against it", "win-01", lambda one: vmotion.Allowed(one.vm, other(one.site))),
    Scenario("both ways", "win-01", answers),
    Scenario("for a reboot", "win-01", down),
    Scenario("that was suspended", "win-01", lambda one: power.Resume(one.vm), given=[SUSPENDED]),
    Scenario("as it was", "win-01", lambda one: power.Suspend(one.vm)),
    Scenario("after a reboot", "win-02", lambda one: evacuation.StandUp(one.vm)),
    Scenario("after its reboot", "lnx-01", lambda one: evacuation.ConnectedAgain(one.vm, one.device),
             first=[xhci, attach], device=STICK),
)  # fmt: skip
