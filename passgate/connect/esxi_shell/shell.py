"""Read a host's USB side through its ESXi shell, and start or stop its USB arbitrator."""

from __future__ import annotations

import ipaddress
import shlex
import threading
from collections.abc import Callable, Sequence

from passgate.connect.esxi_shell import parsers
from passgate.connect.esxi_shell.reading import ShellReading, ShellUsb
from passgate.connect.esxi_shell.vmx_file import VmxFile, batch
from passgate.connect.esxi_shell.wire import ShellAccess, Wire
from passgate.errors import InputError, NotAuthorizedError, RefusedError
from passgate.model.inventory import Arbitrator, HostId, VmId

STATUS = "/etc/init.d/usbarbitrator status"
AUTOSTART = "chkconfig usbarbitrator --list"
LSUSB = "lsusb -v 2>/dev/null || lsusb"
PASSTHROUGH = "hardware usb passthrough device list"
LSPCI = "lspci"
DISKS = "storage core device list"
TRY = 3
"""Seconds within which a TCP connection must open."""
NOT_FOUND = 127
"""Exit status of a shell that knows no such command."""
ROOT_HUB_MAKERS = (0x0E0F, 0x1D6B)
"""VMware's and the Linux Foundation's vendor ids: a hub of theirs at number 1 is a bus's own root hub."""


def refuse(action: str, subject: str) -> None:
    """Refuse every mutating call: what a shell that was made for reading does when it is asked to change something."""
    raise NotAuthorizedError(
        f"{action} on {subject} was not sent: this connection to the ESXi shell was made for reading.",
        hint="Changes go through an approved change: `passgate request`.",
        subject=subject,
    )


class EsxiShell:
    """Ask and change hosts through the ESXi shell; satisfies `passgate.engine.ports.HostShell`.

    Connections are kept and used again, one per host; safe to use from several threads. `authorize(action, subject)`
    is called as the last thing before a mutating command goes out, with `start_arbitrator` or `stop_arbitrator` and
    `host:<managed object id>`; it raises NotAuthorizedError to hold it back.
    """

    def __init__(self, access: ShellAccess, *, authorize: Callable[[str, str], None] = refuse) -> None:
        self._access = access
        self._authorize = authorize
        self._wires: dict[str, Wire] = {}
        self._lock = threading.Lock()

    def acting_under(self, authorize: Callable[[str, str], None]) -> EsxiShell:
        """Return the same shells, with the same connections, for acting under that authority."""
        acting = EsxiShell(self._access, authorize=authorize)
        acting._wires, acting._lock = self._wires, self._lock
        return acting

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            wires = tuple(self._wires.values())
            self._wires.clear()
        for wire in wires:
            wire.close()

    def forget(self, host: HostId) -> None:
        """Close the connection to that host, if there is one; for whoever asks many hosts once each."""
        with self._lock:
            wire = self._wires.pop(host.name, None)
        if wire:
            wire.close()

    def arbitrator(self, host: HostId) -> Arbitrator:
        """Say whether the USB arbitrator runs."""
        return parsers.arbitrator(self._wire(host).run(STATUS).out)

    def start_arbitrator(self, host: HostId) -> None:
        """Start the USB arbitrator (mutating)."""
        self._change(host, "start_arbitrator", "/etc/init.d/usbarbitrator start")

    def stop_arbitrator(self, host: HostId) -> None:
        """Stop the USB arbitrator (mutating); devices that VMs use are disconnected by that."""
        self._change(host, "stop_arbitrator", "/etc/init.d/usbarbitrator stop")

    def reaches(self, host: HostId, address: str, port: int) -> bool | None:
        """Try a TCP connection from the host to an IP address; None where its shell has no tool for that.

        Nothing is sent over the connection. Raises InputError for what is no address.
        """
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            raise InputError(
                f"{address!r} is no IP address to be reached from {host.name}.",
                hint="Accepted: an IPv4 or IPv6 address, as vCenter shows it for vmk0.",
                subject=host.name,
            ) from None
        answer = self._wire(host).run(f"nc -z -w {TRY} {ip} {int(port)}")
        if answer.status == NOT_FOUND or "usage" in answer.err.lower():
            return None
        return answer.status == 0

    def read_usb(self, host: HostId) -> ShellReading:
        """Read the arbitrator and all USB devices in one command line.

        Raises UnreachableError when the answer does not hold what was asked, even after a second try; what a host's
        tools say but can't be understood is None or UNKNOWN in the reading.
        """
        asked = (STATUS, AUTOSTART, LSUSB, _esxcli(PASSTHROUGH), _esxcli(DISKS), LSPCI)
        status, autostart, lsusb, passthrough, disks, lspci = batch(self._wire(host), host.name, asked)
        seen = parsers.lsusb(lsusb.out)
        devices = tuple(_joined(seen, parsers.passthrough(passthrough.out) or (), parsers.disks(disks.out)))
        hubs = tuple(one for one in devices if _is_root_hub(one))
        return ShellReading(
            host=HostId(ref=host.ref, name=host.name, uuid=host.uuid),
            arbitrator=parsers.arbitrator(status.out),
            autostart=parsers.autostart(autostart.out),
            devices=tuple(one for one in devices if not _is_root_hub(one)),
            root_hubs=hubs,
            buses=_controllers(hubs, parsers.lspci(lspci.out)),
        )

    def process_runs(self, host: HostId, name: str) -> bool | None:
        """Say whether the host's list of processes has one of that name; None when it gave no list."""
        (answer,) = batch(self._wire(host), host.name, ["ps"])  # a list that was cut off would say no
        return parsers.process_runs(answer.out, name)

    def start_service(self, host: HostId, name: str) -> None:
        """Start a service by its init script (mutating)."""
        self._change(host, "start_service", f"/etc/init.d/{shlex.quote(name)} start")

    def stop_service(self, host: HostId, name: str) -> None:
        """Stop a service by its init script (mutating)."""
        self._change(host, "stop_service", f"/etc/init.d/{shlex.quote(name)} stop")

    def set_service_policy(self, host: HostId, name: str, policy: str) -> None:
        """Let a service start at boot (`on`) or not (`off`) by chkconfig, which knows no third (mutating)."""
        self._change(host, "set_service_policy", f"chkconfig {shlex.quote(name)} {shlex.quote(policy)}")

    def vm_setting(self, vm: VmId, vmx_path: str, key: str) -> str | None:
        """Read one key of the VM's VMX file; None where it has none. `vmx_path` is as vCenter shows it."""
        return VmxFile(self._wire(vm.host), vm, vmx_path, self._authorize).read().get(key)

    def set_vm_setting(self, vm: VmId, vmx_path: str, key: str, value: str | None) -> None:
        """Give one key of the VM's VMX file that value, None removes it, and have hostd read the file (mutating)."""
        VmxFile(self._wire(vm.host), vm, vmx_path, self._authorize).set(key, value)

    def _wire(self, host: HostId) -> Wire:
        with self._lock:
            return self._wires.setdefault(host.name, Wire(self._access, host.name))

    def _change(self, host: HostId, action: str, line: str) -> None:
        answer = self._wire(host).run(line, lambda: self._authorize(action, f"host:{host.ref}"))
        if answer.status:
            said = " ".join((answer.err or answer.out).split())[:300] or "nothing"
            raise RefusedError(
                f"`{line}` on {host.name} ended with status {answer.status} and said: {said}",
                fault=f"exit status {answer.status}",
                hint="Log in to the host's shell, run the command by hand and look into /var/log/vmkernel.log.",
                subject=host.name,
            )


def _esxcli(words: str) -> str:
    return f"esxcli --formatter=json {words} 2>/dev/null || esxcli {words} 2>/dev/null"


def _is_root_hub(device: ShellUsb) -> bool:
    return device.device == 1 and device.vendor in ROOT_HUB_MAKERS


def _controllers(hubs: Sequence[ShellUsb], functions: Sequence[parsers.Pci]) -> dict[int, str]:
    """Return bus -> controller where a root hub names one, and lspci of the same moment has a USB controller there."""
    known = {one.address for one in functions if one.is_usb_controller}
    named = parsers.buses((one.bus, one.serial) for one in hubs)
    return {bus: address for bus, address in named.items() if address in known}


def _joined(
    seen: Sequence[parsers.Seen], rows: Sequence[parsers.Passthrough], disks: Sequence[parsers.Disk] | None
) -> list[ShellUsb]:
    """Return the devices of lsusb with what esxcli says about each."""
    by_key = {row.key: row for row in rows}
    boot = _boot_devices(seen, by_key, disks)
    return [
        ShellUsb(
            bus=one.bus,
            device=one.device,
            vendor=one.vendor,
            product=one.product,
            name=one.name or (by_key[one.key].name if one.key in by_key else one.maker_and_model),
            serial=one.serial,
            families=one.families,
            enabled=by_key[one.key].enabled if one.key in by_key else None,
            can_connect=by_key[one.key].can_connect if one.key in by_key else "",
            boots_host=boot.get(one.key, False),
        )
        for one in seen
    ]


def _boot_devices(
    seen: Sequence[parsers.Seen],
    rows: dict[tuple[int, int, int, int], parsers.Passthrough],
    disks: Sequence[parsers.Disk] | None,
) -> dict[tuple[int, int, int, int], bool | None]:
    """Return which devices ESXi boots from, with None for those of which it can't be told.

    esxcli names the boot disk by SCSI strings, not by bus and number. It must be a storage device that the arbitrator
    does not offer; a single one is it, several are told apart by those strings.
    """
    boots = [disk for disk in disks or () if disk.is_usb and disk.boots_host]
    if disks is not None and not boots:
        return {}
    held = [
        one
        for one in seen
        if ("storage" in one.families or not one.families)
        and not (one.key in rows and rows[one.key].can_connect.startswith("yes"))
        and one.device != 1
    ]
    alike = [one for one in held if any(_alike(one, disk) for disk in boots)]
    likely = alike or held
    return {one.key: True if boots and len(likely) == 1 else None for one in likely}


def _alike(one: parsers.Seen, disk: parsers.Disk) -> bool:
    shown = f"{one.name} {one.maker_and_model}".lower()
    return bool(disk.maker_and_model) and all(word in shown for word in disk.maker_and_model.lower().split())
