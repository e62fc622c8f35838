"""Move a running virtual machine to another host while its USB devices stay attached.

The devices stay plugged into their own host; their data travels over the management network from then on. Both hosts
are looked at before anything is touched, vCenter is asked whether it would move the VM, and power management (DPM) is
kept from switching the devices' host off: that setting stays, because the devices stay in use there. After the move
each device must still be connected, and the guest must still see it; else the VM is moved back.

Known limits: while the VM is away from the host of its devices it must not be powered off or suspended: it would lose
them until it is brought home with usb-return-home, and Passgate refuses to power it off there. HA that starts it on
another host loses the devices too. TCP 902 between the hosts is tried from their shells where these answer; that the
port is the one that is used is the article's word, vendor documents name the management network only. A move to another
datacenter, fault tolerance, PCI passthrough and disks on local storage exclude it. Nothing keeps DRS from moving the VM
again, with its devices. An ESXi host without a vCenter can't do this.
"""

from __future__ import annotations

from pydantic import Field

from passgate.engine.steps import Ask, HostName, Reads, Risk, Steps, VmName, runbook
from passgate.model.inventory import Inventory
from tasks import access, arbitrator, away, cluster, guest, host, usb, vm, vmotion

PRIVILEGES = (
    "Resource.ColdMigrate",
    "Resource.HotMigrate",
    "VirtualMachine.GuestOperations.Execute",
    "VirtualMachine.GuestOperations.Modify",
    "VirtualMachine.GuestOperations.Query",
)


class UsbMigrate(Ask):
    """Ask for one VM and the host that it is to run on."""

    vm: VmName
    to: HostName = Field(title="Destination", description="Name of the host to move to, as vCenter shows it")


@runbook(risk=Risk.DISRUPTIVE, reads=frozenset({Reads.USB}))
def usb_migrate(ask: UsbMigrate, site: Inventory) -> Steps:
    """Move a VM to another host with its USB devices attached."""
    machine = site.vm(ask.vm)
    target = site.host(ask.to)
    homes = [site.host(name) for name in vmotion.homes(machine)]

    yield access.IsVCenter()
    yield access.HoldsPrivileges(machine, PRIVILEGES)
    yield host.IsConnected(target)
    yield vm.IsReachable(machine)
    yield vm.HasTools(machine)
    yield vm.NoFaultTolerance(machine)
    yield away.RunsWithDevices(machine)
    yield away.AllDevicesMove(machine)
    yield away.NoPciPassthrough(machine)
    yield away.SharedDisks(machine)
    yield away.SameDatacenter(machine, target)
    for home in homes:
        yield arbitrator.CanBeRead(home)
        yield away.OneAddressFamily(home, target)
        yield away.PortCanBeTried(home, target)
        if home.dpm:
            yield access.HoldsHostPrivileges(home, ("Host.Inventory.EditCluster",))

    for home in homes:
        if home.ref != target.ref and vmotion.can_try(home, target):
            yield vmotion.reaches(home, target)
    yield vmotion.Allowed(machine, target)
    for home in homes:
        yield cluster.keep_powered_on(home, site)
    yield vmotion.Move(machine, target)
    for device in away.devices_of(machine, site):
        yield usb.Connected(machine, device)
        yield guest.SeesUsb(machine, device)
