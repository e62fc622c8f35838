"""Scenarios of the steps about pcscd and the setting that lets a VM take smart-card readers."""

from __future__ import annotations

from passgate.engine.steps import Step
from passgate.model.inventory import ControllerKind
from tasks import arbitrator, pcscd, power, smartcard, usb
from tasks.pcscd import Method, Policy
from tests.scenarios.stage import Given, Scenario

READER = "076b:3031"
API, VMX = Method.API, Method.VMX


def allow(given: Given, value: str | None = "TRUE", method: Method = API) -> Step:
    """Set the VM's setting."""
    former, key = smartcard.value_of(given.vm), smartcard.key_of(given.vm)
    return smartcard.SetAllowed(given.vm, value, former, key, method, given.vm.vmx_path)


def stop(given: Given) -> Step:
    """Stop pcscd."""
    return pcscd.Stop(given.vm.host)


def policy(given: Given, wanted: Policy, method: Method = API) -> Step:
    """Set pcscd's policy."""
    return pcscd.SetPolicy(given.vm.host, wanted, pcscd.policy_of(given.host), method)


READY = (
    lambda one: arbitrator.Start(one.vm.host),
    stop,
    allow,
    lambda one: usb.AddController(one.vm, ControllerKind.XHCI),
    lambda one: usb.AddDevice(one.vm, one.device, ControllerKind.XHCI),
    lambda one: power.On(one.vm),
)
REFUSED = [("extra", {"vm": "lnx-02", "key": "usb.generic.allowccid", "value": "FALSE"})]

SCENARIOS = (
    Scenario("pcscd through vCenter", "lnx-02", stop),
    Scenario("pcscd by its init script", "lnx-02", lambda one: pcscd.Stop(one.vm.host, VMX)),
    Scenario("pcscd again through vCenter", "lnx-02", lambda one: pcscd.Start(one.vm.host), first=[stop]),
    Scenario("pcscd again by its init script", "lnx-02", lambda one: pcscd.Start(one.vm.host, VMX), first=[stop]),
    Scenario("off through vCenter", "lnx-02", lambda one: policy(one, Policy.OFF)),
    Scenario("automatic through vCenter", "lnx-02", lambda one: policy(one, Policy.AUTOMATIC)),
    Scenario("off by chkconfig", "lnx-02", lambda one: policy(one, Policy.OFF, VMX)),
    Scenario("allowed, absent before", "lnx-02", allow),
    Scenario("allowed, refused before", "lnx-02", allow, given=REFUSED),
    Scenario("no more allowed", "lnx-02", lambda one: allow(one, None), first=[allow]),
    Scenario("in the VMX file, absent before", "lnx-02", lambda one: allow(one, method=VMX)),
    Scenario("in the VMX file, refused before", "lnx-02", lambda one: allow(one, method=VMX),
             given=REFUSED),
    Scenario("out of the VMX file", "lnx-02", lambda one: allow(one, None, VMX), first=[allow]),
    Scenario("in Linux", "lnx-02", lambda one: smartcard.SeesReader(one.vm, one.device), first=READY, device=READER),
    Scenario("in Windows", "win-02", lambda one: smartcard.SeesReader(one.vm, one.device),
             first=[allow, lambda one: usb.AddDevice(one.vm, one.device, ControllerKind.XHCI),
                    lambda one: power.On(one.vm)],
             given=[("plug", {"host": "esx-02.lab.example", "path": "0/1/9", "vendor": 0x076B, "product": 0x3031,
                              "name": "OmniKey CardMan 3121", "families": ["smart_card"], "speeds": ["full"]})],
             device=READER),
)  # fmt: skip
