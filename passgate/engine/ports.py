"""Name what steps may ask of the systems outside. The connectors satisfy these by their shape.

All methods block; the engine calls them in threads. Reading methods are free. Mutating methods ask for authority as the
last thing before they send anything and raise NotAuthorizedError without it. They return when the task they started
has ended, raise the errors of `passgate.errors`, and never claim more than the other side said: `confirm` reads anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol, TypeVar

from pydantic import BaseModel

from passgate.model.census import EstateReading
from passgate.model.guest import GuestHardware, GuestPci, GuestUsb
from passgate.model.inventory import Arbitrator, ControllerKind, Host, HostId, HostUsbDevice, PciId, UsbId, Vm, VmId

M = TypeVar("M", bound=BaseModel)


class VSphere(Protocol):
    """Read and change VMs through a vCenter."""

    def vm(self, vm: VmId) -> Vm:
        """Read one VM anew, in one round trip."""

    def usb_devices(self, host: HostId) -> tuple[HostUsbDevice, ...]:
        """Read what the host's arbitrator offers now (environment browser)."""

    def power_on(self, vm: VmId) -> None:
        """Power the VM on (mutating)."""

    def power_off(self, vm: VmId) -> None:
        """Power the VM off at once, like pulling the plug (mutating)."""

    def suspend(self, vm: VmId) -> None:
        """Suspend the VM (mutating)."""

    def shut_down_guest(self, vm: VmId) -> None:
        """Ask VMware Tools to shut the guest down, and wait until the VM is off (mutating)."""

    def add_usb_controller(self, vm: VmId, kind: ControllerKind) -> None:
        """Add a virtual USB controller of that kind (mutating)."""

    def remove_usb_controller(self, vm: VmId, kind: ControllerKind) -> None:
        """Remove the virtual USB controller of that kind (mutating)."""

    def add_usb_device(self, vm: VmId, device: UsbId, kind: ControllerKind, *, vmotion: bool) -> None:
        """Add the host's device to the VM, on its controller of that kind (mutating)."""

    def remove_usb_device(self, vm: VmId, device: UsbId) -> None:
        """Remove the VM's entry for that device (mutating)."""

    def set_hardware(self, vm: VmId, *, cpus: int | None = None, memory_mb: int | None = None) -> None:
        """Set CPUs and memory in MiB; a running VM can only be given more (mutating)."""

    def reboot_guest(self, vm: VmId) -> None:
        """Ask VMware Tools to reboot the guest; returns when they have accepted (mutating)."""

    def relocate(self, vm: VmId, to: HostId) -> None:
        """Move the VM to that host; its disks stay where they are (mutating)."""

    def obstacles_to_migration(self, vm: VmId, to: HostId) -> tuple[str, ...] | None:
        """Return what vCenter says stands in the way of moving the VM; empty: nothing; None: it can't be asked."""

    def set_extra_config(self, vm: VmId, key: str, value: str | None) -> None:
        """Give an advanced setting of the VM that value; None removes it (mutating)."""

    def add_pci_function(self, vm: VmId, function: PciId, *, former: str) -> None:
        """Add the host's PCI function to the VM, and reserve all of its memory, in one change (mutating).

        `former` is what was reserved before: MiB, or `all`; it is kept in the VM's configuration.
        """

    def remove_pci_function(self, vm: VmId, function: PciId, *, reservation: str) -> None:
        """Remove the VM's entry for that function, and restore that reservation; empty leaves it (mutating)."""

    def obstacles_to_power_on(self, vm: VmId) -> tuple[str, ...] | None:
        """Return what vCenter says stands in the way of power-on; empty: nothing; None: it can't be asked."""


class Hosts(Protocol):
    """Read and change hosts and their clusters through a vCenter."""

    def host(self, host: HostId) -> Host:
        """Read one host anew, without its USB devices, in one round trip."""

    def enter_maintenance(self, host: HostId, *, within: timedelta) -> None:
        """Enter maintenance mode; give up after `within`, and name the VMs that did not leave (mutating)."""

    def exit_maintenance(self, host: HostId) -> None:
        """Leave maintenance mode (mutating)."""

    def reboot(self, host: HostId) -> None:
        """Ask the host to reboot, never by force; returns when it has accepted, not when it is back (mutating)."""

    def reconnect(self, host: HostId) -> None:
        """Let vCenter take hold again of a host that it let go (mutating)."""

    def start_service(self, host: HostId, key: str) -> None:
        """Start a service of the host, by its key such as `pcscd` (mutating)."""

    def stop_service(self, host: HostId, key: str) -> None:
        """Stop a service of the host (mutating)."""

    def set_service_policy(self, host: HostId, key: str, policy: str) -> None:
        """Say when a service starts by itself: `on`, `off` or `automatic` (mutating)."""

    def power_management(self, host: HostId) -> bool | None:
        """Read the host's own override of the cluster's power management (DPM); None: it has none."""

    def set_power_management(self, host: HostId, enabled: bool | None) -> None:
        """Override the cluster's power management (DPM) for the host; None takes the override away (mutating)."""

    def passthrough(self, host: HostId) -> Host:
        """Read one host anew with its PCI functions and the states of their passthrough."""

    def set_passthrough(self, host: HostId, functions: Sequence[PciId], *, enabled: bool, now: bool) -> None:
        """Enable or disable passthrough of those functions; `now` without a reboot (mutating)."""


class HostShell(Protocol):
    """Ask and change hosts through the ESXi shell."""

    def arbitrator(self, host: HostId) -> Arbitrator:
        """Say whether the USB arbitrator runs."""

    def start_arbitrator(self, host: HostId) -> None:
        """Start the USB arbitrator (mutating)."""

    def stop_arbitrator(self, host: HostId) -> None:
        """Stop the USB arbitrator (mutating)."""

    def process_runs(self, host: HostId, name: str) -> bool | None:
        """Say whether the host's list of processes has one of that name; None when it gave no list."""

    def start_service(self, host: HostId, name: str) -> None:
        """Start a service by its init script (mutating)."""

    def stop_service(self, host: HostId, name: str) -> None:
        """Stop a service by its init script (mutating)."""

    def set_service_policy(self, host: HostId, name: str, policy: str) -> None:
        """Let a service start at boot (`on`) or not (`off`) by chkconfig, which knows no third (mutating)."""

    def vm_setting(self, vm: VmId, vmx_path: str, key: str) -> str | None:
        """Read one key of the VM's VMX file; None where it has none. `vmx_path` is as vCenter shows it."""

    def set_vm_setting(self, vm: VmId, vmx_path: str, key: str, value: str | None) -> None:
        """Give one key of the VM's VMX file that value, None removes it, and have hostd read the file (mutating)."""

    def reaches(self, host: HostId, address: str, port: int) -> bool | None:
        """Say whether a TCP connection from the host to that address and port opens; None: it can't be tried."""


class Guest(Protocol):
    """Look into guests through VMware Tools, and take the disks of a device out of use there."""

    def usb(self, vm: VmId) -> tuple[GuestUsb, ...]:
        """Return the USB devices that the guest itself sees, virtual hubs and mice left out."""

    def pci(self, vm: VmId) -> tuple[GuestPci, ...]:
        """Return the PCI functions that the guest itself sees, the virtual ones too."""

    def release(self, vm: VmId, device: UsbId) -> None:
        """Take the device's disks out of use in the guest, never by force (mutating)."""

    def hardware(self, vm: VmId) -> GuestHardware:
        """Return how many CPUs and how much memory the guest itself counts."""

    def take_back(self, vm: VmId, device: UsbId, was: GuestUsb) -> None:
        """Bring the device's disks back into use in the guest, as that earlier reading shows them (mutating)."""


class LogNews(Protocol):
    """Hold what is new in one host's log."""

    @property
    def lines(self) -> tuple[str, ...]:
        """Return the lines; none when the log is only followed anew."""


class Logs(Protocol):
    """Follow the vmkernel.log of hosts; nothing here changes anything, and nothing waits."""

    def news(self, hosts: Sequence[HostId]) -> Mapping[str, LogNews]:
        """Return what is new in the logs of these hosts, by name; what is not followed yet is followed from now on."""

    def end(self) -> None:
        """Stop following."""


class Notes(Protocol):
    """Keep what a step must know again after a crash."""

    def recall(self, kind: type[M]) -> M | None:
        """Return what was kept last, by whichever process; None when there is nothing."""

    def keep(self, value: BaseModel) -> None:
        """Keep this in place of what was kept before. Raises RecordError when it can't be written."""

    def was_told(self, number: int) -> bool:
        """Say whether a message with that number in its facts (`message`) was told already, by an earlier process."""

    def all_told(self) -> None:
        """Note that whatever another process left to be told was dealt with."""


class Survey(Protocol):
    """Read many hosts at once; nothing here changes anything."""

    def read(self, hosts: Sequence[str] = (), *, shells: bool = True) -> EstateReading:
        """Read the hosts whose names fit one of these patterns (all without any), and the passthrough of all VMs.

        What one host does not tell is said in its own reading. Raises what vCenter itself raises.
        """
