"""Describe what one look through a host's ESXi shell showed."""

from __future__ import annotations

from pydantic import Field

from passgate.model.frozen import Frozen
from passgate.model.inventory import Arbitrator, HostId
from passgate.model.usb import vid_pid


class ShellUsb(Frozen):
    """Hold one USB device as `lsusb -v` and esxcli show it; None stands for what could not be told.

    `families` are vSphere's words for the device's USB classes. `enabled` and `can_connect` are esxcli's columns on
    passthrough (`yes (passthrough enabled)`), empty when esxcli does not list the device. `boots_host` None means that
    ESXi boots from a USB disk and this may be it: treat it as yes.
    """

    bus: int
    device: int
    vendor: int
    product: int
    name: str = ""
    serial: str | None = None
    families: tuple[str, ...] = ()
    enabled: bool | None = None
    can_connect: str = ""
    boots_host: bool | None = False

    @property
    def vid_pid(self) -> str:
        """Return `18a5:0302`: both ids in hex, four digits each."""
        return vid_pid(self.vendor, self.product)

    @property
    def offered(self) -> bool:
        """Say whether esxcli says that a VM may have the device now."""
        return self.can_connect.split(" ")[0] == "yes"


class ShellReading(Frozen):
    """Hold one reading of a host: its arbitrator, whether that starts at boot, and its USB devices.

    `root_hubs` are kept apart from `devices`: their serial may name the PCI function of the bus (reference vSphere
    2.5), and `buses` holds where it does, bus -> address, of a USB controller that lspci lists. `autostart` is None
    when chkconfig did not say.
    """

    host: HostId
    arbitrator: Arbitrator = Arbitrator.UNKNOWN
    autostart: bool | None = None
    devices: tuple[ShellUsb, ...] = ()
    root_hubs: tuple[ShellUsb, ...] = ()
    buses: dict[int, str] = Field(default_factory=dict)
