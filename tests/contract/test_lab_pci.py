"""The lab's PCI passthrough follows vSphere's rules, on the wire: states, VMs, faults, guests (vsphere.md 2)."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim

from passgate.lab.esxi_commands import HostTools
from passgate.lab.guests import GuestMachines
from passgate.lab.hardware import LabHost
from passgate.lab.reboot import boot
from passgate.lab.snapshots import Schedule, Snapshot
from tests.contract.lab_vcenter import D, Lab, running_lab

CARD, STICK = "0000:05:00.0", "path:0/3/1"
Setting = vim.host.PciPassthruConfig


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Run a lab of the test's own."""
    with running_lab(tmp_path) as lab:
        yield lab


def host_of(lab: Lab, number: int) -> tuple[LabHost, Any]:
    """Return a host of the world and its managed object."""
    host = lab.world.hosts[number - 1]
    return host, vim.HostSystem(host.ref, lab.si._stub)


def states(lab: Lab, number: int) -> dict[str, tuple[bool, bool, bool]]:
    """Return capable, enabled and active of each function, as vCenter shows them."""
    _, host = host_of(lab, number)
    shown = host.configManager.pciPassthruSystem.pciPassthruInfo
    assert [one.id for one in host.config.pciPassthruInfo] == [one.id for one in shown]
    return {one.id: (one.passthruCapable, one.passthruEnabled, one.passthruActive) for one in shown}


def update(lab: Lab, number: int, *settings: Any) -> None:
    """Set passthrough over the wire."""
    _, host = host_of(lab, number)
    host.configManager.pciPassthruSystem.UpdatePassthruConfig(list(settings))


def on(address: str, **more: Any) -> Any:
    """Return the setting that enables a function."""
    return Setting(id=address, passthruEnabled=True, **more)


def off(address: str) -> Any:
    """Return the setting that disables a function."""
    return Setting(id=address, passthruEnabled=False)


def card(lab: Lab, **wrong: Any) -> Any:
    """Return the USB card of esx-02 as a device to add; `wrong` puts something else into its backing."""
    host, _ = host_of(lab, 2)
    facts = {"id": CARD, "deviceId": "15", "vendorId": 0x1912, "systemId": host.uuid, "deviceName": "USB card"} | wrong
    return D.VirtualPCIPassthrough(key=-1, backing=D.VirtualPCIPassthrough.DeviceBackingInfo(**facts))


def power_on(lab: Lab, name: str = "win-02") -> None:
    """Power a VM on."""
    WaitForTask(lab.vm(name).PowerOnVM_Task())


def give_card(lab: Lab, **wrong: Any) -> None:
    """Give win-02 the card, whose passthrough is in effect, with all its memory reserved."""
    host, _ = host_of(lab, 2)
    host.passthrough.enabled, host.passthrough.active = {CARD}, {CARD}
    lab.reconfigure("win-02", ("add", card(lab, **wrong)), memoryReservationLockedToMax=True)


def targets(lab: Lab, number: int) -> list[tuple[str, str]]:
    """Return what the host hands to VMs, with the system id."""
    _, host = host_of(lab, number)
    found = lab.vm("win-02").environmentBrowser.QueryConfigTarget(host).pciPassthrough
    return [(one.pciDevice.id, one.systemId) for one in found]


class TestHosts:
    """What hosts do with their functions."""

    def test_functions_are_shown_with_bridges_and_signed_ids(self, lab: Lab) -> None:
        """Each function has its bridge, its class, and ids as signed shorts."""
        _, host = host_of(lab, 2)
        shown = {one.id: one for one in host.hardware.pciDevice}
        usb = [one for one in shown.values() if one.classId & 0xFFFF == 0x0C03]
        assert [(one.id, one.parentBridge) for one in usb] == [("0000:00:14.0", None), (CARD, "0000:00:1c.0")]
        assert shown["0000:00:14.0"].vendorId == -32634

    def test_nothing_is_capable_without_an_iommu_and_bridges_never_are(self, lab: Lab) -> None:
        """With VT-d off no function can be passed through, and to try is refused."""
        assert states(lab, 2)[CARD] == (True, False, False)
        assert not states(lab, 2)["0000:00:1c.0"][0]
        host_of(lab, 2)[0].passthrough.iommu = False
        assert not any(capable for capable, _, _ in states(lab, 2).values())
        with pytest.raises(vim.fault.HostConfigFault):
            update(lab, 2, on(CARD))

    def test_a_host_that_can_not_rebind_needs_a_reboot(self, lab: Lab) -> None:
        """Enabled is not active: the host says that it wants a reboot, and only then hands the function out."""
        host, shown = host_of(lab, 2)
        assert shown.capability.deviceRebindWithoutRebootSupported is False
        update(lab, 2, on(CARD, applyNow=True))
        assert states(lab, 2)[CARD] == (True, True, False)
        assert shown.summary.rebootRequired
        assert targets(lab, 2) == []
        boot(lab.world, host)
        assert states(lab, 2)[CARD] == (True, True, True)
        assert not shown.summary.rebootRequired
        assert targets(lab, 2) == [(CARD, host.uuid)]

    def test_a_host_that_can_rebind_does_it_at_once_unless_told_otherwise(self, lab: Lab) -> None:
        """Active flips with the call where applyNow is true or unset, and waits where it is false."""
        assert host_of(lab, 3)[1].capability.deviceRebindWithoutRebootSupported
        update(lab, 3, on("0000:00:14.0"))
        assert states(lab, 3)["0000:00:14.0"] == (True, True, True)
        update(lab, 3, off("0000:00:14.0"))
        assert states(lab, 3)["0000:00:14.0"] == (True, False, False)
        update(lab, 3, on("0000:00:14.0", applyNow=False))
        assert states(lab, 3)["0000:00:14.0"] == (True, True, False)

    def test_siblings_behind_one_dependent_device_change_together(self, lab: Lab) -> None:
        """The setting acts on the bridge: the FireWire port goes with the USB card, and is handed out too."""
        _, host = host_of(lab, 3)
        info = {one.id: one.dependentDevice for one in host.configManager.pciPassthruSystem.pciPassthruInfo}
        assert info["0000:07:00.0"] == info["0000:07:01.0"] == "0000:00:1e.0"
        update(lab, 3, on("0000:07:00.0", applyNow=True))
        assert {one for one, (_, _, active) in states(lab, 3).items() if active} == {"0000:07:00.0", "0000:07:01.0"}

    def test_passthrough_may_be_lost_at_a_reboot(self, lab: Lab) -> None:
        """The quirk of ESXi 7: after the boot it reads disabled, and set once more it is in effect at once."""
        host, _ = host_of(lab, 2)
        host.passthrough.forgets = True
        update(lab, 2, on(CARD))
        boot(lab.world, host)
        assert states(lab, 2)[CARD] == (True, False, False)
        update(lab, 2, on(CARD, applyNow=True))
        assert states(lab, 2)[CARD] == (True, True, True)

    def test_usb_behind_an_active_controller_leaves_the_host(self, lab: Lab) -> None:
        """The arbitrator, lsusb and esxcli of the host have nothing of it any more."""
        host, shown = host_of(lab, 2)
        browser, tools = lab.vm("win-02").environmentBrowser, HostTools(lab.world, host, "root")

        def offered() -> list[str]:
            return [one.physicalPath for one in browser.QueryConfigTarget(shown).usb]

        assert STICK in offered()
        assert "0951:1666" in tools.run("lsusb", lambda: "").out
        host.passthrough.enabled, host.passthrough.active = {CARD}, {CARD}
        assert STICK not in offered()
        said = tools.run("lsusb", lambda: "").out + tools.run("esxcli hardware usb passthrough device list", str).out
        assert "Kingston" not in said
        assert "Bus 003" not in said

    def test_root_hubs_name_their_controller_where_the_host_does(self, lab: Lab) -> None:
        """The serial of a bus's root hub is the address of its controller, unless switched off."""
        host, _ = host_of(lab, 2)
        tools = HostTools(lab.world, host, "root")
        assert f"iSerial                 3 {CARD}" in tools.run("lsusb -v", lambda: "").out
        host.passthrough.names_buses = False
        assert "0000:" not in tools.run("lsusb -v", lambda: "").out

    def test_lspci_names_every_function(self, lab: Lab) -> None:
        """Lspci prints address, class, name and the kernel's own name."""
        said = HostTools(lab.world, host_of(lab, 2)[0], "root").run("lspci", lambda: "").out.splitlines()
        assert f"{CARD} USB controller: Renesas Technology Corp. uPD720202 USB 3.0 Host Controller" in said
        assert any(line.startswith("0000:02:00.0 Ethernet controller:") and line.endswith("[vmnic0]") for line in said)

    def test_what_drives_network_and_storage_is_named_by_address(self, lab: Lab) -> None:
        """The management network's card and the boot drive's adapter have PCI addresses in the host's configuration."""
        _, host = host_of(lab, 2)
        network = host.config.network
        assert [(one.device, one.pci, one.key) for one in network.pnic] == [
            ("vmnic0", "0000:02:00.0", network.vswitch[0].pnic[0])
        ]
        assert [(one.device, one.pci) for one in host.config.storageDevice.hostBusAdapter] == [
            ("vmhba0", "0000:03:00.0")
        ]

    def test_a_function_in_use_by_a_running_vm_is_not_taken_away(self, lab: Lab) -> None:
        """Disabling is refused while a VM runs with it."""
        give_card(lab)
        power_on(lab)
        with pytest.raises(vim.fault.HostConfigFault, match="in use"):
            update(lab, 2, off(CARD))


class TestVms:
    """What VMs may have, and what they can't do then."""

    def test_a_guest_gets_the_function_and_the_usb_behind_it(self, lab: Lab) -> None:
        """The VM runs with the card; its guest finds the stick, which has no entry in the VM's configuration."""
        give_card(lab)
        power_on(lab)
        vm = lab.world.vm("win-02")
        assert [one.serial for one in lab.world.connected_usb(vm)] == ["E0D55EA573F1"]
        [device] = [one for one in lab.vm("win-02").config.hardware.device if isinstance(one, D.VirtualPCIPassthrough)]
        assert (device.key, device.controllerKey, device.backing.id) == (13000, 100, CARD)

    def test_guests_list_it_among_their_pci_devices(self, lab: Lab) -> None:
        """Windows and Linux guests show vendor and device id of the function."""
        guests, files = GuestMachines(lab.world), dict[str, bytes]()
        give_card(lab)
        power_on(lab)
        lab.world.vm("win-02").ready_at = 0.0
        line = "/c powershell -Command Get-PnpDevice -PresentOnly | ConvertTo-Json > C:\\out.txt"
        assert guests.run("win-02", "cmd.exe", line, files) == 0
        assert b"VEN_1912\\u0026DEV_0015" in files["C:\\out.txt"]
        assert b"VID_0951\\u0026PID_1666" in files["C:\\out.txt"]

    def test_linux_guests_list_it_in_sysfs(self, lab: Lab) -> None:
        """A Linux guest has vendor, device and class of each function in sysfs."""
        vm = lab.world.vm("lic-01")
        lab.world.set_power(vm, "poweredOff")
        host, _ = host_of(lab, 2)
        host.passthrough.enabled, host.passthrough.active = {CARD}, {CARD}
        lab.reconfigure("lic-01", ("add", card(lab)), memoryReservationLockedToMax=True)
        power_on(lab, "lic-01")
        vm.ready_at = 0.0
        files: MutableMapping[str, bytes] = {}
        script = 'cat "$PASSGATE_SYSFS"/bus/pci/devices/*/vendor > /tmp/vendors'
        assert GuestMachines(lab.world).run("lic-01", "/bin/sh", f"-c '{script}'", files) == 0
        assert b"0x1912\n" in files["/tmp/vendors"]  # noqa: S108 - the guest's own

    @pytest.mark.parametrize(
        "wrong", [{"systemId": "another"}, {"deviceId": "21"}, {"vendorId": -1}, {"id": "0000:99:00.0"}]
    )
    def test_wrong_ids_show_at_power_on_only(self, lab: Lab, wrong: dict[str, Any]) -> None:
        """A backing that does not fit the host is accepted, and power-on fails in vSphere's words."""
        give_card(lab, **wrong)
        with pytest.raises(vim.fault.GenericVmConfigFault, match="systemId does not match the current system"):
            power_on(lab)

    def test_a_function_that_is_not_active_shows_at_power_on(self, lab: Lab) -> None:
        """A function whose passthrough is not in effect can't be had."""
        give_card(lab)
        host_of(lab, 2)[0].passthrough.active = set()
        with pytest.raises(vim.fault.GenericVmConfigFault, match=r"Device 5:0\.0 is not a passthrough device"):
            power_on(lab)

    def test_all_memory_must_be_reserved(self, lab: Lab) -> None:
        """Without the lock power-on fails in vSphere's words; a full reservation will do as well."""
        give_card(lab)
        lab.reconfigure("win-02", memoryReservationLockedToMax=False, memoryAllocation=reservation(0))
        with pytest.raises(vim.fault.GenericVmConfigFault, match=r"should be equal to memsize\(4096\)"):
            power_on(lab)
        lab.reconfigure("win-02", memoryAllocation=reservation(4096))
        power_on(lab)
        assert lab.vm("win-02").config.memoryAllocation.reservation == 4096

    def test_the_host_must_have_that_memory(self, lab: Lab) -> None:
        """Reserved memory is real: a host that has less left refuses the power-on."""
        give_card(lab)
        host_of(lab, 2)[0].memory_mb = 6000
        with pytest.raises(vim.fault.InsufficientMemoryResourcesFault) as refused:
            power_on(lab)
        assert refused.value.requested == 4096 * 1024 * 1024

    def test_two_vms_can_not_run_with_one_function(self, lab: Lab) -> None:
        """The second one's power-on fails."""
        give_card(lab)
        power_on(lab)
        lab.world.set_power(lab.world.vm("lic-01"), "poweredOff")
        lab.reconfigure("lic-01", ("add", card(lab)), memoryReservationLockedToMax=True)
        with pytest.raises(vim.fault.GenericVmConfigFault, match="already in use"):
            power_on(lab, "lic-01")

    def test_a_running_vm_takes_and_loses_none_unless_hot_plug_is_on(self, lab: Lab) -> None:
        """Add and remove are refused while it runs; with fixedPassthruHotPlugEnabled, set while off, they are not."""
        give_card(lab)
        power_on(lab)
        [device] = [one for one in lab.vm("win-02").config.hardware.device if isinstance(one, D.VirtualPCIPassthrough)]
        with pytest.raises(vim.fault.InvalidPowerState):
            lab.reconfigure("win-02", ("remove", device))
        with pytest.raises(vim.fault.InvalidPowerState):
            lab.reconfigure("win-02", fixedPassthruHotPlugEnabled=True)
        lab.world.vm("win-02").pci_hot_plug = True
        lab.reconfigure("win-02", ("remove", device))
        lab.reconfigure("win-02", ("add", card(lab)))

    def test_no_suspend_and_no_snapshot_with_a_function(self, lab: Lab) -> None:
        """Both are refused at once, and without the function both work."""
        give_card(lab)
        power_on(lab)
        with pytest.raises(vim.fault.DeviceNotSupported, match="suspend"):
            lab.vm("win-02").SuspendVM_Task()
        with pytest.raises(vim.fault.DeviceNotSupported, match="snapshot"):
            lab.vm("win-02").CreateSnapshot_Task("before", "", memory=True, quiesce=False)
        WaitForTask(lab.vm("win-01").CreateSnapshot_Task("before", "", memory=True, quiesce=False))
        [node] = lab.vm("win-01").snapshot.rootSnapshotList
        assert (node.name, node.state) == ("before", "poweredOn")

    def test_no_move_while_it_runs(self, lab: Lab) -> None:
        """A running VM with a function stays where it is; off, it may be moved, and finds nothing there."""
        give_card(lab)
        power_on(lab)
        spec = vim.vm.RelocateSpec(host=host_of(lab, 1)[1], pool=vim.ResourcePool("resgroup-8", None))
        with pytest.raises(vim.fault.DisallowedMigrationDeviceAttached):
            WaitForTask(lab.vm("win-02").RelocateVM_Task(spec))
        lab.world.set_power(lab.world.vm("win-02"), "poweredOff")
        WaitForTask(lab.vm("win-02").RelocateVM_Task(spec))
        with pytest.raises(vim.fault.GenericVmConfigFault, match="systemId does not match"):
            power_on(lab)

    def test_a_snapshot_with_memory_and_fault_tolerance_keep_a_function_out(self, lab: Lab) -> None:
        """Both refuse the add; a snapshot of the disks alone does not."""
        vm = lab.world.vm("win-02")
        vm.snapshots = [Snapshot("snapshot-1", "cold")]
        give_card(lab)
        [device] = [one for one in lab.vm("win-02").config.hardware.device if isinstance(one, D.VirtualPCIPassthrough)]
        lab.reconfigure("win-02", ("remove", device))
        vm.snapshots = [Snapshot("snapshot-1", "cold", below=[Snapshot("snapshot-2", "hot", memory=True)])]
        with pytest.raises(vim.fault.DeviceNotSupported, match="snapshots that hold memory"):
            give_card(lab)
        vm.snapshots, vm.fault_tolerance = [], True
        with pytest.raises(vim.fault.DeviceNotSupported, match="fault tolerance"):
            give_card(lab)

    def test_an_id_that_is_no_short_can_not_even_be_read(self, lab: Lab) -> None:
        """The unsigned vendor id of Intel is refused as a request, as a server that reads xsd:short does."""
        with pytest.raises(Exception, match="out of range"):
            give_card(lab, vendorId=0x8086)

    def test_scheduled_tasks_are_listed_with_what_they_do(self, lab: Lab) -> None:
        """The scheduled snapshot of a VM names the VM and its method."""
        lab.world.vm("win-02").schedules = [Schedule("schedule-1", "nightly", "CreateSnapshot_Task")]
        [one] = lab.si.content.scheduledTaskManager.scheduledTask
        assert (one.info.name, one.info.entity._moId, one.info.action.name.info.wsdlName) == (
            "nightly", "vm-102", "CreateSnapshot_Task",
        )  # fmt: skip

    def test_dry_runs_say_what_would_be_refused_and_touch_nothing(self, lab: Lab) -> None:
        """CheckVmConfig and CheckPowerOn succeed as tasks, and what is wrong stands in their results."""
        checker, vm = lab.si.content.vmCompatibilityChecker, lab.vm("win-02")
        change = [D.VirtualDeviceSpec(operation="add", device=card(lab))]
        task = checker.CheckVmConfig_Task(vim.vm.ConfigSpec(deviceChange=change), vm)
        WaitForTask(task)
        assert [list(one.error) for one in task.info.result] == [[]]
        assert lab.world.vm("win-02").passed == []
        give_card(lab, systemId="another")
        task = checker.CheckPowerOn_Task(vm)
        WaitForTask(task)
        [result] = task.info.result
        assert [type(one).__name__ for one in result.error] == ["vim.fault.GenericVmConfigFault"]
        assert "CheckPowerOn_Task" not in {one.method for one in lab.world.mutations}


def reservation(megabytes: int) -> Any:
    """Return an allocation that reserves so much memory."""
    return vim.ResourceAllocationInfo(reservation=megabytes)
