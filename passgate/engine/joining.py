"""Put together what vCenter and a host's shell know of the same USB devices. Pure."""

from __future__ import annotations

from passgate.connect.esxi_shell.reading import ShellReading, ShellUsb
from passgate.model.inventory import Host, HostUsbDevice


def joined(host: Host, reading: ShellReading) -> Host:
    """Return the host with what its shell knows of the same devices.

    The API knows paths but no serials, the shell serials but no paths. Both are put together only where one device of
    these ids is on each side: with twins nothing says which is which, and a guess could take the wrong dongle. Devices
    that only the shell shows (the arbitrator is stopped, or keeps them) are listed without a path.
    """
    known = {(one.vendor, one.product) for one in host.usb}
    found = [_joined(one, _alike(reading, one), _sole(reading, one, host)) for one in host.usb]
    found += [_unseen(host, one) for one in reading.devices if (one.vendor, one.product) not in known]
    return host.model_copy(update={"arbitrator": reading.arbitrator, "usb": tuple(found), "buses": reading.buses})


def _sole(reading: ShellReading, device: HostUsbDevice, host: Host) -> ShellUsb | None:
    shell = _alike(reading, device)
    api = [one for one in host.usb if (one.vendor, one.product) == (device.vendor, device.product)]
    return shell[0] if len(shell) == len(api) == 1 else None


def _alike(reading: ShellReading, device: HostUsbDevice) -> list[ShellUsb]:
    return [one for one in reading.devices if (one.vendor, one.product) == (device.vendor, device.product)]


def _joined(device: HostUsbDevice, alike: list[ShellUsb], shell: ShellUsb | None) -> HostUsbDevice:
    if shell is None:
        # Of twins nobody knows which one ESXi boots from, so neither may be taken; a bus that they share is each one's.
        buses = {one.bus for one in alike}
        return device.model_copy(
            update={
                "boots_host": any(one.boots_host is not False for one in alike),
                "bus": buses.pop() if len(buses) == 1 else None,
            }
        )
    return device.model_copy(
        update={
            "serial": shell.serial,
            "bus": shell.bus,
            "device": shell.device,
            "boots_host": shell.boots_host is not False,
            "families": device.families or shell.families,
        }
    )


def _unseen(host: Host, shell: ShellUsb) -> HostUsbDevice:
    return HostUsbDevice(
        host=host.id,
        vendor=shell.vendor,
        product=shell.product,
        serial=shell.serial,
        name=shell.name,
        families=shell.families,
        boots_host=shell.boots_host is not False,
        bus=shell.bus,
        device=shell.device,
    )
