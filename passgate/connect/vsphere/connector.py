"""Change VMs: each method reads what it must, asks for authority, sends one call, and waits for its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from pyVmomi import vim

from passgate.connect.vsphere import specs
from passgate.connect.vsphere.hardware import Hardware
from passgate.connect.vsphere.migration import Migrating
from passgate.connect.vsphere.parsing import Props
from passgate.connect.vsphere.passing import PassingThrough
from passgate.connect.vsphere.reading import read_usb, read_vm
from passgate.connect.vsphere.waiting import wait_until
from passgate.errors import AmbiguousNameError, RefusedError, UnconfirmedError
from passgate.model.inventory import (
    ControllerKind,
    HostId,
    HostUsbDevice,
    Power,
    UsbId,
    Vm,
    VmId,
    VmUsbDevice,
    listed,
)
from passgate.model.usb import canonical_path

ONLY_WHILE_OFF = ("usb.generic.", "usb.quirks.")
"""How the advanced settings begin that a running VM must not be given (KB 323394; reference vSphere 1.7)."""


class VSphereConnector(Migrating, PassingThrough, Hardware):
    """Read and change VMs through one session, as `passgate.engine.ports.VSphere` says."""

    def vm(self, vm: VmId) -> Vm:
        """Read one VM anew, in one round trip."""
        return read_vm(self._session, vm)[0]

    def usb_devices(self, host: HostId) -> tuple[HostUsbDevice, ...]:
        """Read what the host's arbitrator offers now."""
        return read_usb(self._session, host)

    def power_on(self, vm: VmId) -> None:
        """Power the VM on; on already counts as done."""
        self._power("power_on", vm, f"power on {vm.name}", "poweredOn", lambda one: one.PowerOnVM_Task())

    def power_off(self, vm: VmId) -> None:
        """Power the VM off at once, like pulling the plug; off already counts as done."""
        self._power("power_off", vm, f"power off {vm.name}", "poweredOff", lambda one: one.PowerOffVM_Task())

    def suspend(self, vm: VmId) -> None:
        """Suspend the VM; suspended already counts as done."""
        self._power("suspend", vm, f"suspend {vm.name}", "suspended", lambda one: one.SuspendVM_Task())

    def shut_down_guest(self, vm: VmId, *, within: timedelta = timedelta(minutes=5)) -> None:
        """Ask VMware Tools to shut the guest down, and wait until the VM is off; off already counts as done."""
        doing = f"shut down the guest of {vm.name}"
        with already_so("poweredOff"):
            self._start("shut_down_guest", vm, doing, lambda one: one.ShutdownGuest())
        ref = vm.ref
        off = wait_until(
            self._session,
            {self._object(vm): ("runtime.powerState",)},
            lambda seen: True if seen.get(ref, {}).get("runtime.powerState") == "poweredOff" else None,
            within.total_seconds(),
            doing=doing,
            subject=vm.name,
        )
        if off is None:
            raise UnconfirmedError(
                f"The guest of {vm.name} was asked to shut down, but the VM is still on after {within}.",
                hint="Look at the guest's console; a program may hold it up. It can be powered off hard instead.",
                subject=vm.name,
            )

    def add_usb_controller(self, vm: VmId, kind: ControllerKind) -> None:
        """Add a virtual USB controller of that kind; one that is there already counts as done."""
        doing = f"add a {kind.label} controller to {vm.name}"
        self._session.require(specs.CONTROLLER_SINCE[kind], f"A {kind.label} controller", vm.name)
        now = self.vm(vm)
        if now.controller(kind) is None:
            self._reconfigure("add_usb_controller", vm, doing, specs.add_controller(now, kind))

    def remove_usb_controller(self, vm: VmId, kind: ControllerKind) -> None:
        """Remove the virtual USB controller of that kind; none there counts as done."""
        doing = f"remove the {kind.label} controller from {vm.name}"
        now, props = read_vm(self._session, vm)
        controller = now.controller(kind)
        if controller is None:
            return
        held = [entry.pattern for entry in now.usb if entry.controller_key == controller.key]
        if held:
            raise RefusedError(
                f"Could not {doing}: it still has USB devices ({', '.join(held)}).",
                fault="ControllerInUse",
                hint="Remove these devices from the VM first.",
                subject=vm.name,
            )
        self._reconfigure("remove_usb_controller", vm, doing, specs.remove(now, device_of(props, controller.key)))

    def add_usb_device(self, vm: VmId, device: UsbId, kind: ControllerKind, *, vmotion: bool) -> None:
        """Add the host's device to the VM, on its controller of that kind; the same entry there counts as done.

        The device is looked up anew at the host, so that never another one in the same port is attached.
        """
        doing = f"add {device.words} to {vm.name}"
        if vmotion:
            self._session.require(specs.VMOTION_SINCE, "USB with vMotion support", vm.name)
        now = self.vm(vm)
        if device.path is not None and self._is_there(now, now.usb_entry(device), device, doing, vmotion=vmotion):
            return
        if now.host.ref != device.host.ref:
            raise RefusedError(
                f"Could not {doing}: the VM is on {now.host.name} now, the device at {device.host.name}.",
                fault="DeviceOnOtherHost",
                hint="Move the VM to the device's host, or plan the change again.",
                subject=vm.name,
            )
        offered = self._offered(device, doing)
        if self._is_there(now, now.usb_entry(offered), device, doing, vmotion=vmotion):
            return
        if offered.used_by not in {None, vm.ref}:
            raise RefusedError(
                f"Could not {doing}: {offered.used_by_name or offered.used_by} uses it.",
                fault="DeviceInUse",
                hint="Detach it from that VM first.",
                subject=vm.name,
            )
        controller = now.controller(kind)
        if controller is None:
            raise RefusedError(
                f"Could not {doing}: the VM has no {kind.label} controller.",
                fault="DeviceControllerNotPresent",
                hint=f"Add a {kind.label} controller first.",
                subject=vm.name,
            )
        self._reconfigure("add_usb_device", vm, doing, specs.add_device(now, offered, controller, vmotion=vmotion))

    def remove_usb_device(self, vm: VmId, device: UsbId) -> None:
        """Remove the VM's entry for that device; none there counts as done."""
        doing = f"remove {device.words} from {vm.name}"
        now, props = read_vm(self._session, vm)
        entry = now.usb_entry(device) if device.path is not None else only_entry(now, device)
        if entry is not None:
            self._reconfigure("remove_usb_device", vm, doing, specs.remove(now, device_of(props, entry.key)))

    def set_extra_config(self, vm: VmId, key: str, value: str | None) -> None:
        """Give an advanced setting of the VM that value, None removes it; one that is so already counts as done."""
        doing = f"remove {key} from {vm.name}" if value is None else f"set {key} of {vm.name} to {value}"
        now = self.vm(vm)
        if key.lower().startswith(ONLY_WHILE_OFF) and now.power is not Power.OFF:
            raise RefusedError(
                f"Could not {doing}: the VM is {now.power}, and takes this only while it is off.",
                fault="InvalidPowerState",
                hint="Power the VM off first.",
                subject=vm.name,
            )
        said = next((said for one, said in now.extra.items() if one.lower() == key.lower()), None)
        if (said or None) != value:  # govmomi's simulator keeps what is removed as an empty one
            self._reconfigure("set_extra_config", vm, doing, specs.extra_config(now, key, value))

    def _is_there(self, vm: Vm, entry: VmUsbDevice | None, device: UsbId, doing: str, *, vmotion: bool) -> bool:
        wanted = device.host.name if vmotion else None
        if entry is None:
            return False
        if entry.hostname == wanted:
            return True
        kinds = [f"with vMotion support (host {name})" if name else "without vMotion support"
                 for name in (entry.hostname, wanted)]  # fmt: skip
        raise RefusedError(
            f"Could not {doing}: it has that device already, {kinds[0]}; asked was {kinds[1]}.",
            fault="OtherBacking",
            hint="Remove the device from the VM, then add it anew.",
            subject=vm.name,
        )

    def _offered(self, device: UsbId, doing: str) -> HostUsbDevice:
        """Return the one device that the arbitrator offers now and that is the one that was meant."""
        offered = self.usb_devices(device.host)
        found = [one for one in offered if device.is_same_device(one)]
        if len(found) == 1:
            return found[0]
        if found:
            raise AmbiguousNameError(
                f"Could not {doing}: {len(found)} devices at {device.host.name} are {device.vid_pid}.",
                hint=f"Name it by its path: {listed(found)}.",
                subject=device.vid_pid,
            )
        there = [one for one in offered if device.path and one.path == canonical_path(device.path)]
        raise RefusedError(
            f"Could not {doing}: "
            + (f"at that path there is another device now, {there[0].words}." if there else
               f"{device.host.name} does not offer it."),
            fault="DeviceNotOffered",
            hint=f"{device.host.name} offers: {listed(offered)}. Check the port, and that the USB arbitrator runs.",
            subject=device.vid_pid,
        )  # fmt: skip

    def _object(self, vm: VmId) -> Any:
        return self._session.object(vim.VirtualMachine, vm.ref)

    def _power(self, action: str, vm: VmId, doing: str, wanted: str, start: Callable[[Any], Any]) -> None:
        with already_so(wanted):
            self._run(action, vm, doing, start)

    def _reconfigure(self, action: str, vm: VmId, doing: str, spec: Any) -> None:
        self._run(action, vm, doing, lambda one: one.ReconfigVM_Task(spec))

    def _run(self, action: str, vm: VmId, doing: str, start: Callable[[Any], Any]) -> None:
        """Send a call that starts a task on the VM, and wait for its end."""
        task = self._start(action, vm, doing, start)
        self._await(task, vm=self._object(vm), doing=doing, subject=vm.name)

    def _start(self, action: str, vm: VmId, doing: str, start: Callable[[Any], Any]) -> Any:
        return self._send(action, f"vm:{vm.ref}", self._object(vm), start, doing=doing, subject=vm.name)


@contextmanager
def already_so(wanted: str) -> Iterator[None]:
    """Let a power call pass that vSphere refused only because the VM is in that power state already."""
    try:
        yield
    except RefusedError as error:
        fault = error.__cause__
        if not isinstance(fault, vim.fault.InvalidPowerState) or fault.existingState != wanted:
            raise


def device_of(props: Props, key: int) -> Any:
    """Return the virtual device with that key, as it was read."""
    return next(one for one in props["config.hardware.device"] if one.key == key)


def only_entry(vm: Vm, device: UsbId) -> VmUsbDevice | None:
    """Return the VM's one entry with these ids, for a device whose path is not known."""
    found = [one for one in vm.usb if (one.vendor, one.product) == (device.vendor, device.product)]
    if len(found) > 1:
        raise AmbiguousNameError(
            f"{vm.name} has {len(found)} USB devices {device.vid_pid}.",
            hint=f"Name it by its path: {', '.join(one.pattern for one in found)}.",
            subject=device.vid_pid,
        )
    return found[0] if found else None
