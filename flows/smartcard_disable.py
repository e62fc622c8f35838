"""Take a smart-card reader away from a virtual machine, and give it back to the login to its host.

The VM is powered off, the reader and the setting that allowed it are removed, and the VM is powered on again if it ran.
pcscd gets back the startup policy that it had before smartcard-enable (the plan of that change says it), and is started
unless that policy is `off` or another VM on the host may take readers and needs pcscd stopped.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from passgate.engine.steps import Ask, Reads, Risk, Steps, UsbSelector, VmName, runbook
from passgate.model.inventory import ControllerKind, Inventory, Power
from tasks import access, arbitrator, host, pcscd, power, smartcard, smartcard_reader, usb, vm, vmotion
from tasks.pcscd import Method, Policy

PRIVILEGES = (
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.AdvancedConfig",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Interact.PowerOn",
)
HOST_PRIVILEGES = ("Host.Config.NetService",)


class Setting(StrEnum):
    """Name what the VM's setting becomes: none at all, as on a VM that never had a reader, or an explicit no."""

    ABSENT = "absent"
    NO = "FALSE"


class SmartcardDisable(Ask):
    """Ask for one reader that the VM has."""

    vm: VmName
    device: UsbSelector
    setting: Setting = Field(
        default=Setting.ABSENT,
        title="Setting",
        description="What usb.generic.allowCCID was before smartcard-enable: absent, or FALSE",
    )
    pcscd_policy: Policy = Field(
        default=Policy.ON,
        title="Policy of pcscd",
        description="Startup policy that pcscd had before smartcard-enable; with off it stays stopped",
    )
    method: Method = Field(
        default=Method.API,
        title="Method",
        description="api: through vSphere; vmx: setting and pcscd over SSH (VMX file, init scripts), the rest as api",
    )
    force_off: bool = Field(
        default=False, title="Power off at once", description="Power the VM off without shutting its guest down"
    )


@runbook(risk=Risk.DISRUPTIVE, reads=frozenset({Reads.USB}))
def smartcard_disable(ask: SmartcardDisable, site: Inventory) -> Steps:
    """Take a smart-card reader from a VM."""
    machine, home = site.vm_and_host(ask.vm)
    yield arbitrator.CanBeRead(home)
    device = smartcard_reader.as_known_to(machine, home.usb_device(ask.device))
    wanted = None if ask.setting is Setting.ABSENT else ask.setting.value

    yield access.HoldsPrivileges(machine, PRIVILEGES)
    if ask.method is Method.API:
        yield access.HoldsHostPrivileges(home, HOST_PRIVILEGES)
    yield host.IsConnected(home)
    yield vm.IsReachable(machine)
    yield vm.IsNotSuspended(machine)
    yield smartcard_reader.IsReader(device)
    yield smartcard_reader.DaemonKnown(home)
    yield smartcard_reader.OthersAllowed(machine, home)
    yield smartcard_reader.PolicyFitsMethod(home, ask.method, ask.pcscd_policy)
    yield smartcard_reader.VmxFileKnown(machine, ask.method)

    entry = machine.usb_entry(device)
    if entry or smartcard.value_of(machine) != wanted:
        yield vmotion.IsAtHome(machine)
        yield power.Off(machine, power.gentlest(machine, force=ask.force_off))
        kind = next((one.kind for one in machine.controllers if entry and one.key == entry.controller_key), None)
        yield usb.RemoveDevice(machine, device, kind or ControllerKind.XHCI, bool(entry and entry.hostname))
        yield smartcard.SetAllowed(
            machine, wanted, smartcard.value_of(machine), smartcard.key_of(machine), ask.method, machine.vmx_path
        )
    if not smartcard_reader.others_allowed(site, machine, home):
        yield pcscd.SetPolicy(home, ask.pcscd_policy, pcscd.policy_of(home), ask.method)
        if ask.pcscd_policy is not Policy.OFF:
            yield pcscd.Start(home, ask.method)
    if machine.power is Power.ON:
        yield power.On(machine)
