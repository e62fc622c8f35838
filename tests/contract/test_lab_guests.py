"""The lab's guests miss what they are told to miss, and lose what real ones lose."""

from __future__ import annotations

import pytest
from pyVmomi import vim

from passgate.lab.hardware import Refusal, VirtualUsb
from passgate.lab.inventory_seed import seeded_world, usb_controller
from passgate.lab.vcenter.reconfigure import reconfigure
from passgate.lab.world import LabVm, World
from passgate.settings.shape import LabWorld

STICK = "path:0/1/3"
_D = vim.vm.device


@pytest.fixture
def world() -> World:
    """Return the lab's world with no delays."""
    return seeded_world(LabWorld(power_seconds=0, boot_seconds=0, reconfigure_seconds=0, connect_seconds=0))


def add(world: World, vm: LabVm, hostname: str | None = None) -> None:
    """Hot-add the stick."""
    vm.devices = [one for one in vm.devices if one.kind != "usb"]
    world.changed()
    vm.devices.append(VirtualUsb("usb", 41000, 14000, 41000, "USB", "", pattern=STICK, hostname=hostname))
    world.changed()


def sees(world: World, vm: LabVm) -> bool:
    """Say whether the guest sees the stick."""
    return [one.device.path for one in world.guest_devices(vm)] == ["0/1/3"]


@pytest.mark.parametrize(("blind", "at_once", "once_more", "booted"), [
    ("none", True, True, True), ("until-readd", False, True, True), ("until-reboot", False, False, True),
])  # fmt: skip
def test_a_guest_may_miss_what_is_hot_added(
    world: World, blind: str, *, at_once: bool, once_more: bool, booted: bool
) -> None:
    """The device is connected, but the guest sees it only when it is added once more, or at its boot (vswitchzero)."""
    vm = world.vm("lnx-01")
    vm.blind = blind
    vm.devices.append(usb_controller("xhci"))
    add(world, vm)
    assert (world.is_connected(vm.usb[0]), sees(world, vm)) == (True, at_once)
    add(world, vm)
    assert sees(world, vm) is once_more
    world.reboot_guest(vm)
    assert sees(world, vm) is booted


def test_a_device_that_is_there_at_boot_is_always_seen(world: World) -> None:
    """Blindness is about hot-adding: after a power-on the guest sees all that is connected."""
    vm = world.vm("lnx-01")
    vm.blind = "until-reboot"
    vm.devices.append(usb_controller("xhci"))
    world.set_power(vm, "poweredOff")
    add(world, vm)
    world.set_power(vm, "poweredOn")
    assert sees(world, vm)


def spec(**fields: object) -> vim.vm.ConfigSpec:
    """Return a spec of these fields."""
    return vim.vm.ConfigSpec(**fields)


@pytest.mark.parametrize("field", ["numCPUs", "memoryMB"])
def test_hot_adding_cuts_off_local_usb_only(world: World, field: str) -> None:
    """Locally backed devices are lost until they reconnect, and a mounted disk counts as pulled; vMotion backing stays.

    A VM that is not made ready for it is refused, and nothing happens.
    """
    vm = world.vm("lnx-01")
    vm.devices.append(usb_controller("xhci"))
    add(world, vm)
    world.guest_device(vm, STICK).mounts = ["/mnt/backup"]
    more = spec(**{field: 8192})
    with pytest.raises(Refusal, match="hot plug is not supported"):
        reconfigure(world, vm, more)
    assert vm.usb[0].device is not None
    vm.cpu_hot_add = vm.memory_hot_add = True
    with pytest.raises(Refusal, match="hot plug is not supported"):
        reconfigure(world, vm, spec(**{field: 1}))
    reconfigure(world, vm, more)
    assert (vm.usb[0].lost, vm.usb[0].device, sees(world, vm)) == (True, None, False)
    assert [(one.vm, one.where) for one in world.pulled] == [("lnx-01", "/mnt/backup")]
    add(world, vm, hostname=vm.host.name)
    reconfigure(world, vm, spec(**{field: 16384}))
    assert sees(world, vm)
    assert len(world.pulled) == 1


def test_hot_plug_follows_the_options(world: World) -> None:
    """Where plugAndPlay or hotRemoveSupported say no, a running VM is refused, and one that is off is not."""
    vm = world.vm("lnx-01")
    vm.devices.append(usb_controller("xhci"))
    backing = _D.VirtualUSB.USBBackingInfo(deviceName=STICK)
    adding = spec(deviceChange=[_D.VirtualDeviceSpec(
        operation="add", device=_D.VirtualUSB(key=-1, controllerKey=14000, connected=True, backing=backing))
    ])  # fmt: skip
    vm.hot_add = False
    with pytest.raises(Refusal) as refused:
        reconfigure(world, vm, adding)
    assert refused.value.fault == "DeviceHotPlugNotSupported"
    vm.hot_add, vm.hot_remove = True, False
    reconfigure(world, vm, adding)
    remove = spec(deviceChange=[_D.VirtualDeviceSpec(operation="remove", device=_D.VirtualUSB(
        key=vm.usb[0].key, connected=True))])  # fmt: skip
    with pytest.raises(Refusal) as refused:
        reconfigure(world, vm, remove)
    assert refused.value.fault == "DeviceHotPlugNotSupported"
    world.set_power(vm, "poweredOff")
    reconfigure(world, vm, remove)
    assert vm.usb == []


def test_a_power_cycle_is_no_pull(world: World) -> None:
    """A guest that shuts down unmounts its disks; what leaves with it was not pulled."""
    vm = world.vm("win-01")
    vm.devices.append(usb_controller("xhci"))
    add(world, vm)
    assert world.guest_device(vm, STICK).in_use(vm) == "E:"
    world.set_power(vm, "poweredOff")
    assert world.pulled == []
    world.set_power(vm, "poweredOn")
    world.stop_arbitrator(vm.host)
    assert [one.where for one in world.pulled] == ["E:"]
