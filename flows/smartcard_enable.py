"""Give a virtual machine a smart-card reader of its host.

ESXi keeps smart-card readers (CCID) for the login to the host itself. The VM is powered off and told that it may take
one, pcscd is stopped on the host and kept from starting at the next boot, the reader is added, and the VM is powered on
again; then the reader is looked for in vCenter, on the host and in the guest itself.

The method `vmx` is the article's alternative, for hosts without a vCenter: the VM's configuration file is edited over
SSH, and init scripts stop pcscd. Power and devices go through the API all the same, so it must be one that can be
written to. Known limit: readers that are keyboards too need `usb.quirks` on VM and host, which is not set here.
"""

from __future__ import annotations

from pydantic import Field

from passgate.engine.steps import Ask, Reads, Risk, Steps, UsbSelector, VmName, runbook
from passgate.model.inventory import Inventory
from tasks import access, arbitrator, host, pcscd, power, smartcard, smartcard_reader, usb, usb_device, vm, vmotion
from tasks.pcscd import Method, Policy

PRIVILEGES = (
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.HostUSBDevice",
    "VirtualMachine.Config.AdvancedConfig",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Interact.PowerOn",
    "VirtualMachine.GuestOperations.Execute",
    "VirtualMachine.GuestOperations.Modify",
    "VirtualMachine.GuestOperations.Query",
)
HOST_PRIVILEGES = ("Host.Config.NetService",)


class SmartcardEnable(Ask):
    """Ask for one reader on the host that the VM is on."""

    vm: VmName
    device: UsbSelector
    method: Method = Field(
        default=Method.API,
        title="Method",
        description="api: through vSphere; vmx: setting and pcscd over SSH (VMX file, init scripts), the rest as api",
    )
    force_off: bool = Field(
        default=False, title="Power off at once", description="Power the VM off without shutting its guest down"
    )


@runbook(risk=Risk.DISRUPTIVE, reads=frozenset({Reads.USB}))
def smartcard_enable(ask: SmartcardEnable, site: Inventory) -> Steps:
    """Give a VM a smart-card reader."""
    machine, home = site.vm_and_host(ask.vm)
    yield arbitrator.CanBeRead(home)
    device = home.usb_device(ask.device)
    kind = usb.controller_for(device, machine)

    yield access.ApiVersion(kind)
    yield access.HoldsPrivileges(machine, PRIVILEGES)
    if ask.method is Method.API:
        yield access.HoldsHostPrivileges(home, HOST_PRIVILEGES)
    yield host.IsConnected(home)
    yield host.VersionEnough(home, usb3=device.is_usb3)
    yield host.DevicesInUse(home, device)
    yield arbitrator.HostControllers(home, device)
    yield from vm.can_take(machine, device, kind)
    yield smartcard_reader.IsReader(device)
    yield smartcard_reader.IsOffered(device)
    yield smartcard_reader.DaemonKnown(home)
    yield smartcard_reader.VersionCovered(home)
    yield smartcard_reader.HostLogin(home)
    yield smartcard_reader.OthersAllowed(machine, home)
    yield smartcard_reader.PolicyFitsMethod(home, ask.method, Policy.OFF)
    yield smartcard_reader.VmxFileKnown(machine, ask.method)
    yield usb_device.IsFree(machine, device)
    yield usb_device.IsNotReserved(machine, device)
    yield usb_device.HasNoOtherBacking(machine, device, vmotion=False)

    yield arbitrator.Start(home)
    if not (usb.is_attached(machine, device, vmotion=False) and smartcard.is_allowed(machine)):
        yield vmotion.IsAtHome(machine)
        yield power.Off(machine, power.gentlest(machine, force=ask.force_off))
        yield smartcard.SetAllowed(
            machine,
            smartcard.ALLOWED,
            smartcard.value_of(machine),
            smartcard.key_of(machine),
            ask.method,
            machine.vmx_path,
        )
    yield pcscd.Stop(home, ask.method)
    yield pcscd.SetPolicy(home, Policy.OFF, pcscd.policy_of(home), ask.method)
    yield usb.AddController(machine, kind)
    yield usb.AddDevice(machine, device, kind)
    yield power.On(machine)
    yield usb.Connected(machine, device)
    yield smartcard.SeesReader(machine, device)
